"""docs/hosts/openssl.md."""

from machine import ready_machine
from pages import Page

CHECKS = {
    "Keys": "Key pair generated",
    "Certificate request": ("verify OK", "subject=CN = web.example"),
    "Small CA": "^web.crt: OK$",
    "TLS server and client": (r"Verify return code: 0 \(ok\)", "HTTP/1.0 200 ok", "Client certificate"),
    "CMS signature": "CMS Verification successful",
    "S/MIME": ("^Dear reader", "CMS Verification successful"),
    "RSA-PSS and RSA-OAEP": ("^Verified OK$", "^secret$"),
    "ECDH": "^the same secret$",
}


def run(suite, report):
    page = Page(report, "openssl")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        with report.test("OpenSSL is there") as t:
            page.found(t, machine.inside("openssl", "version"), r"OpenSSL (\S+)")
            machine.generate(t, "EC:prime256v1", "01", "tls")
        for section, contains in CHECKS.items():
            with page.test(section) as t:
                page.recipe(machine, t, section, contains=contains, seconds=120)
        page.finish()
