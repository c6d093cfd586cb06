"""docs/hosts/pesign.md, with a program of our own making to sign; what it signed is verified by `sbverify`."""

from machine import PIN, ready_machine
from pages import Page
from portable_executable import UEFI, portable_executable


def run(suite, report):
    page = Page(report, "pesign")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with open(machine.here("boot.efi"), "wb") as file:
            file.write(portable_executable(UEFI))
        with page.test("Certificate and database") as t:
            page.found(t, ["dpkg-query", "-W", "pesign"], r"pesign\s(\S+?)-")
            page.recipe(machine, t, "Certificate and database", contains="Key pair generated")
        with page.test("Sign") as t:
            machine.forget_calls()
            typed = [("Enter Password or Pin for .web.:", PIN)]
            page.recipe(machine, t, "Sign", typed=typed, contains="The signer's common name is Secure Boot")
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
            t.run(machine.inside("openssl", "x509", "-inform", "DER", "-in", "boot.der", "-out", "boot.crt"))
            t.run(machine.inside("sbverify", "--cert", "boot.crt", "boot-signed.efi"), contains="^Signature verification OK")
        page.finish()
