"""docs/hosts/sbsigntool.md, with a program of our own making to sign."""

from machine import ready_machine
from pages import Page
from portable_executable import UEFI, portable_executable


def run(suite, report):
    page = Page(report, "sbsigntool")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with open(machine.here("boot.efi"), "wb") as file:
            file.write(portable_executable(UEFI))
        with page.test("Certificate") as t:
            page.found(t, machine.inside("sbsign", "--version"), r"sbsign (\S+)")
            page.recipe(machine, t, "Certificate", contains="Key pair generated")
        with page.test("Sign and verify") as t:
            machine.forget_calls()
            page.recipe(machine, t, "Sign and verify", contains="^Signature verification OK")
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
        page.finish()
