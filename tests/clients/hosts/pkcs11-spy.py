"""docs/hosts/pkcs11-spy.md, and that the self test says the same through it."""

from hosts import selftest
from machine import MODULE, ready_machine
from pages import Page

SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"


def run(suite, report):
    page = Page(report, "pkcs11-spy")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with report.test("OpenSC is there") as t:
            page.found(t, machine.inside("dpkg-query", "--show", "opensc"), r"opensc\s+([\d.]+)")
        machine.generate(t, "EC:prime256v1", "01", "tls")
        with page.test("Trace a program") as t:
            page.recipe(machine, t, "Trace a program", contains=("Key pair generated", r"^\d+: C_GenerateKeyPair"))
        with page.test("Trace OpenSSL") as t:
            page.recipe(machine, t, "Trace OpenSSL", contains=r"^ +\d+ Returned: +0 CKR_OK")
        with report.test("pkcs11-tool --test --login says the same through it") as t:
            selftest.keys(machine, t)
            spied = {"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": machine.here("selftest.log")}
            selftest.compare(machine, t, SPY, env=spied)
            with open(machine.here("selftest.log"), encoding="utf-8", errors="replace") as log:
                t.true("calls in the log", log.read().count("Returned:") > 200)
        page.finish()
