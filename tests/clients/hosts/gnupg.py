"""docs/hosts/gnupg.md."""

from machine import PIN, ready_machine
from pages import Page

ASKED = ("(?i)(passphrase|pin).*:", PIN)


def run(suite, report):
    page = Page(report, "gnupg")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with page.test("Key and certificate") as t:
            page.found(t, machine.inside("gpg", "--version"), r"gpg \(GnuPG\) (\S+)")
            page.recipe(machine, t, "Key and certificate", contains="Key pair generated")
        with page.test("Daemon") as t:
            page.recipe(machine, t, "Daemon", contains="^S KEYPAIRINFO [0-9A-F]{40} ")
        with page.test("OpenPGP key") as t:
            page.recipe(machine, t, "OpenPGP key")
            t.run(machine.inside("gpg", "-K"), contains=["^sec>  rsa3072", "Alice <alice@web.example>"])
        with page.test("OpenPGP: sign and decrypt") as t:
            t.run(machine.inside("gpgconf", "--kill", "all"))  # its session is logged in
            machine.forget_calls()
            contains = ["Good signature from .Alice", "^hello$"]
            page.recipe(machine, t, "OpenPGP: sign and decrypt", typed=[ASKED], contains=contains)
            t.same("KMS calls, with one daemon for all", machine.calls(), {"Decrypt": 1})
        with page.test("S/MIME: sign and decrypt") as t:
            contains = ["Good signature from ./CN=Alice", "^hello$"]
            page.recipe(machine, t, "S/MIME: sign and decrypt", contains=contains)
        page.finish()
