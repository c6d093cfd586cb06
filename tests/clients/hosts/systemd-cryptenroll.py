"""docs/hosts/systemd-cryptenroll.md, on a volume in a plain file."""

from machine import ready_machine
from pages import Page


def run(suite, report):
    page = Page(report, "systemd-cryptenroll")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with page.test("Key and certificate") as t:
            page.found(t, machine.inside("systemd-cryptenroll", "--version"), r"systemd (\d+)")
            page.recipe(machine, t, "Key and certificate", contains="Key pair generated")
        with page.test("Enrol") as t:
            machine.forget_calls()
            page.recipe(machine, t, "Enrol", contains=["enrolled as key slot 1", "1 pkcs11"])
            t.same("KMS calls, as only the certificate is used", machine.calls(), {})
        with page.test("Unlock") as t:
            contains = ["Successfully decrypted key with security token", "^Command successful"]
            page.recipe(machine, t, "Unlock", contains=contains)
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
        with report.test("a list of tokens shows hardware only") as t:
            # Other modules, which may have tokens of their own.
            machine.check_call("find", "/usr/share/p11-kit/modules", "-name", "*.module", "!", "-name", "datakey*", "-delete")
            t.run(machine.inside("systemd-cryptenroll", "--pkcs11-token-uri=list"), contains="No suitable PKCS#11 tokens found")
        with report.test("a wrong PIN does not unlock") as t:
            words = ["cryptsetup", "open", "--test-passphrase", "--token-only", "data.img"]
            t.run(machine.inside(*words), stdin=b"000000", code="bad", contains="PIN for token .web. is incorrect")
        page.finish()
