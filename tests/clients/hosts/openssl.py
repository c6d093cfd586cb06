"""docs/hosts/openssl.md."""

from machine import ready_machine
from pages import Page


def run(suite, report):
    page = Page(report, "openssl")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with report.test("a key") as t:
            page.found(t, machine.inside("openssl", "version"), r"OpenSSL (\S+)")
            machine.generate(t, "EC:prime256v1", "01", "tls")
        with page.test("Certificate request") as t:
            page.recipe(machine, t, "Certificate request", contains="verify OK")
        page.finish()
