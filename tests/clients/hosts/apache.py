"""docs/hosts/apache.md, and graceful restarts under load with both MPMs."""

import os
import time

from hosts.web import children, load, open_files, until
from machine import ready_machine
from pages import Page

PORT, CERTIFICATE, PID_FILE = 443, "/etc/apache2/web.crt", "/run/apache2/apache2.pid"
RESTARTS = 5
# A log of who answered, and few children, which stay.
WATCHED = """
LogFormat "%P %>s" watched
GlobalLog /var/log/apache2/watched.log watched
StartServers 2
<IfModule mpm_prefork_module>
MinSpareServers 2
MaxSpareServers 8
</IfModule>
"""


def run(suite, report):
    page = Page(report, "apache")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        # Else apachectl would have the systemd of the real machine start its Apache.
        machine.env["APACHE_STARTED_BY_SYSTEMD"] = "true"
        report.begin(suite.name, machine.env, machine.folder)
        recipes(page, machine, report)
        page.finish()


def recipes(page, machine, report):
    with report.test("Apache is there") as t:
        page.found(t, machine.inside("apache2", "-v"), r"Apache/(\S+)")
        machine.generate(t, "EC:prime256v1", "01", "tls")
        machine.check_call("sh", "-c", "a2dismod -q mpm_prefork mpm_worker; a2enmod -q mpm_event; a2dissite -q 000-default")
        machine.put("/etc/apache2/conf-enabled/watched.conf", WATCHED)
    with page.test("Certificate") as t:
        page.recipe(machine, t, "Certificate")
    with page.test("What the children may read") as t:
        page.recipe(machine, t, "What the children may read")
    with page.test("Server") as t:
        machine.forget_calls()
        page.recipe(machine, t, "Server", contains=("200 OK", "^hello$"))
        t.same("KMS calls of one handshake", machine.calls(), {"Decrypt": 1})
    with page.test("Graceful restart") as t:
        before = children(parent(machine))
        page.recipe(machine, t, "Graceful restart")
        until("other children", lambda: not children(parent(machine)) & before)
    restarts(machine, report, "event")
    with page.test("Prefork") as t:
        page.recipe(machine, t, "Prefork")
        until("prefork", lambda: len(children(parent(machine))) >= 2)
    restarts(machine, report, "prefork")
    with report.test("apachectl stop, after which the log tells of no crash") as t:
        pid = parent(machine)
        t.run(machine.inside("apachectl", "stop"))
        until("the end of the parent", lambda: not os.path.exists(f"/proc/{pid}"))
        log = machine.read("/var/log/apache2/error.log")
        t.note(log[-4000:])
        t.true("no crash", "exit signal" not in log)


def parent(machine):
    text = machine.read(PID_FILE)
    return int(text) if text.strip() else None


def restarts(machine, report, name):
    with report.test(f"{RESTARTS} graceful restarts under load lose no request: {name}") as t:
        machine.check_call("truncate", "-s", "0", "/var/log/apache2/watched.log")
        machine.forget_calls()
        files = []
        with load(machine, t, PORT, CERTIFICATE) as counted:
            for _ in range(RESTARTS):
                old = children(parent(machine))
                t.run(machine.inside("apachectl", "graceful"))
                until("the end of the old children", lambda old=old: not children(parent(machine)) & old)
                time.sleep(0.4)
                files.append(open_files(parent(machine)))
            time.sleep(0.5)
        calls = machine.calls()
        counted.workers = {line.split()[0] for line in machine.read("/var/log/apache2/watched.log").splitlines()}
        print(f"    Apache, {name}: {counted}; KMS calls {calls}", flush=True)
        t.same("failures", (counted.failures, counted.what), (0, []))
        t.same("KMS calls, one for each child", calls, {"Decrypt": len(counted.workers)})
        t.true(f"the parent keeps no more files open with each restart: {files}", files[-1] <= files[1])
