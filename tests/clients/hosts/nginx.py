"""docs/hosts/nginx.md, and what a server on it goes through: reloads, an upgrade of nginx, dying workers."""

import os
import re
import signal
import time

from hosts.web import CLIENTS, CONNECTIONS, children, load, open_files, until
from machine import ready_machine
from pages import Page

PORT, FILE_PORT = 443, 8443
CERTIFICATE, LOG = "/etc/nginx/web.crt", "/var/log/nginx/error.log"
SHAKEN = r"Verify return code: 0 \(ok\)"
RELOADS, KILLED = 10, 3
# Who answered; and a second server, for the figures of a key in a file, that runs under a master of its own.
WATCHED = "add_header X-Worker $pid;\n"
FILE_KEY = f"""
user www-data;
worker_processes auto;
pid /run/file-key.pid;
error_log /var/log/nginx/file-key.log;
events {{ worker_connections 768; }}
http {{
    access_log off;
    {WATCHED}
    server {{
        listen {FILE_PORT} ssl;
        root /var/www/html;
        ssl_certificate /etc/nginx/file.crt;
        ssl_certificate_key /etc/nginx/file.key;
    }}
}}
"""


def run(suite, report):
    page = Page(report, "nginx")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        recipes(page, machine, report)
        credentials(machine, report)
        figures(machine, report)
        crashes(machine, report)
        page.finish()


def recipes(page, machine, report):
    with report.test("nginx is there") as t:
        page.found(t, machine.inside("nginx", "-v"), r"nginx/(\S+)")
        machine.generate(t, "EC:prime256v1", "01", "tls")
    with page.test("Certificate") as t:
        page.recipe(machine, t, "Certificate")
    with page.test("What the workers may read") as t:
        page.recipe(machine, t, "What the workers may read")
    with page.test("Server") as t:
        machine.put("/etc/nginx/conf.d/watched.conf", WATCHED)
        machine.forget_calls()
        page.recipe(machine, t, "Server", contains=("test is successful", "200 OK", "^hello$"))
        t.same("KMS calls of one handshake", machine.calls(), {"Decrypt": 1})
    with report.test("workers run without rights, and only they asked KMS") as t:
        workers = until("workers", lambda: children(master(machine)))
        users = {os.stat(f"/proc/{pid}").st_uid for pid in workers}
        t.true(f"users of the workers: {users}", 0 not in users)
    with page.test("Reload") as t:
        page.recipe(machine, t, "Reload")
    with page.test("Upgrade of nginx without a pause") as t:
        before = master(machine)
        page.recipe(machine, t, "Upgrade of nginx without a pause")
        t.true("another master", master(machine) != before)


def master(machine, pid_file="/run/nginx.pid"):
    """The pid of the master, or None while there is none."""
    text = machine.read(pid_file)
    return int(text) if text.strip() else None


def figures(machine, report):
    with report.test(f"{RELOADS} reloads and an upgrade under load lose no request: key on the token") as t:
        reload(master(machine))  # else some workers have opened the key already
        machine.forget_calls()
        counted = trial(machine, t, PORT, CERTIFICATE, "/run/nginx.pid")
        calls = machine.calls()
        print(f"    nginx, key on the token: {counted}; KMS calls {calls}", flush=True)
        t.same("failures", (counted.failures, counted.what), (0, []))
        t.true(f"more workers than {RELOADS}", len(counted.workers) > RELOADS)
        t.same("KMS calls, one for each worker", calls, {"Decrypt": len(counted.workers)})
    with report.test(f"{RELOADS} reloads and an upgrade under load lose no request: key in a file") as t:
        words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost")
        files = ("-addext", "subjectAltName=DNS:localhost", "-keyout", "/etc/nginx/file.key", "-out", "/etc/nginx/file.crt")
        machine.check_call("openssl", *words, *files)
        machine.put("/etc/nginx/file-key.conf", FILE_KEY)
        t.run(machine.inside("/usr/sbin/nginx", "-c", "/etc/nginx/file-key.conf"))
        counted = trial(machine, t, FILE_PORT, "/etc/nginx/file.crt", "/run/file-key.pid")
        print(f"    nginx, key in a file: {counted}", flush=True)
        t.same("failures", (counted.failures, counted.what), (0, []))
        os.kill(master(machine, "/run/file-key.pid"), signal.SIGQUIT)


def trial(machine, t, port, certificate, pid_file):
    """Reloads and one upgrade, each under load; answers what was counted."""
    with load(machine, t, port, certificate) as counted:
        files = []
        for _ in range(RELOADS):
            reload(master(machine, pid_file))
            files.append(open_files(master(machine, pid_file)))
        t.true(f"the master keeps no more files open with each reload: {files}", files[-1] <= files[2])
        upgrade(machine, pid_file)
        time.sleep(0.7)
    return counted


def reload(pid):
    """HUP, and the time it takes until the old workers are gone and every new one can have been asked something."""
    old = children(pid)
    os.kill(pid, signal.SIGHUP)
    until("new workers", lambda: children(pid) - old)
    until("the end of the old workers", lambda: not children(pid) & old)
    time.sleep(0.3)


def upgrade(machine, pid_file):
    old = master(machine, pid_file)
    os.kill(old, signal.SIGUSR2)
    new = until("a new master", lambda: (pid := master(machine, pid_file)) and pid != old and pid)
    until("its workers", lambda: children(new))
    os.kill(old, signal.SIGQUIT)
    until("the end of the old master", lambda: not os.path.exists(f"/proc/{old}"))


def credentials(machine, report):
    """nginx takes away the variables that no `env` names."""
    configuration = "/etc/nginx/modules-enabled/90-pkcs11.conf"
    shake = machine.inside("openssl", "s_client", "-connect", f"localhost:{PORT}", "-CAfile", CERTIFICATE)
    written = machine.read(configuration)
    without = written.replace("env AWS_", "# env AWS_")
    with report.test("a worker without credentials says so in nginx's log, and serves as soon as it has some") as t:
        machine.put(configuration, without)
        reload(master(machine))
        machine.check_call("truncate", "-s", "0", LOG)
        t.run(shake, code="bad")
        log = machine.read(LOG)
        t.note(log[-4000:])
        t.true("the log names the credentials", re.search(r"datakey-pkcs11\[\d+\].*credentials", log))
        machine.put(configuration, written)
        reload(master(machine))
        t.run(shake, contains=SHAKEN)
    with report.test("workers take their credentials from a file that they may read") as t:
        path = "/etc/datakey-pkcs11/credentials"
        machine.put(path, "[default]\naws_access_key_id = test\naws_secret_access_key = test\n", mode="640")
        machine.check_call("chgrp", "www-data", path)
        machine.put(configuration, f"{without}env AWS_SHARED_CREDENTIALS_FILE={path};\n")
        reload(master(machine))
        t.run(shake, contains=SHAKEN)
        machine.put(configuration, written)
        reload(master(machine))


def crashes(machine, report):
    with report.test("a worker that is killed under load is replaced, and only what it was doing is lost") as t:
        reload(master(machine))
        machine.forget_calls()
        with load(machine, t, PORT, CERTIFICATE) as counted:
            for _ in range(KILLED):
                time.sleep(0.3)
                before = children(master(machine))
                os.kill(min(before), signal.SIGKILL)
                until("a new worker", lambda old=before: children(master(machine)) - old)
            time.sleep(0.7)
        # At most one request was under way on each connection.
        t.true(f"failures: {counted.failures} {counted.what}", counted.failures <= KILLED * CLIENTS * CONNECTIONS)
        # A worker may have opened the key and died before it answered anything.
        calls, workers = machine.calls(), len(counted.workers)
        t.true(f"KMS calls, one for each worker: {calls}, {workers}", workers <= calls.pop("Decrypt") <= workers + KILLED and not calls)
    with report.test("SIGQUIT ends master and workers") as t:
        pid = master(machine)
        os.kill(pid, signal.SIGQUIT)
        until("the end of the master", lambda: not os.path.exists(f"/proc/{pid}"))
        log = machine.read(LOG)
        t.note(log[-4000:])
        t.true("no worker crashed by itself", "exited on signal 11" not in log and "exited on signal 6" not in log)
