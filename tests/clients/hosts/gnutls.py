"""docs/hosts/gnutls.md."""

from machine import ready_machine
from pages import Page

CHECKS = {
    "Keys": ("Label: tls", "Label: ca", "ok$"),
    "Request and certificate": "Verified. The certificate is trusted",
    "Certificates on the token": ("Label: tls", "Label: ca", "subject=CN = web.example", "issuer=CN = Web CA"),
    "TLS server and client": ("Handshake was completed", "Status: The certificate is trusted", "HTTP/1.0 200 OK"),
}


def run(suite, report):
    page = Page(report, "gnutls")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        with report.test("GnuTLS is there") as t:
            page.found(t, machine.inside("p11tool", "--version"), r"p11tool (\S+)")
            machine.generate(t, "EC:prime256v1", "01", "tls")
        for section, contains in CHECKS.items():
            with page.test(section) as t:
                machine.forget_calls()
                page.recipe(machine, t, section, contains=contains, lacks="rror:|failed", seconds=150)
                t.note(f"KMS calls: {machine.calls()}")
        page.finish()
