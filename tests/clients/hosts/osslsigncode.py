"""docs/hosts/osslsigncode.md, with a program of our own making to sign."""

from machine import ready_machine
from pages import Page
from portable_executable import WINDOWS, portable_executable

VERIFIED = ["^Signature verification: ok", "Number of verified signatures: 1", "^Succeeded"]


def run(suite, report):
    page = Page(report, "osslsigncode")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with open(machine.here("app.exe"), "wb") as file:
            file.write(portable_executable(WINDOWS))
        with page.test("Code signing certificate") as t:
            page.found(t, machine.inside("osslsigncode", "--version"), r"osslsigncode (\S+?),? ")
            page.recipe(machine, t, "Code signing certificate", contains="Key pair generated")
        for section in ("Sign and verify", "Certificate on the token"):
            with page.test(section) as t:
                machine.forget_calls()
                page.recipe(machine, t, section, contains=VERIFIED)
                t.same("KMS calls", machine.calls(), {"Decrypt": 1})
        page.finish()
