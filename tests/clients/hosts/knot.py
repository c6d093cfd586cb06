"""docs/hosts/knot.md: what Knot DNS signed is verified by ldns."""

from machine import ready_machine
from pages import Page

ZONE = """
$ORIGIN web.example.
$TTL 3600
@ SOA ns hostmaster 1 3600 900 86400 300
@ NS ns
ns A 192.0.2.1
www A 192.0.2.2
"""


def run(suite, report):
    page = Page(report, "knot")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with page.test("Sign a zone") as t:
            page.found(t, machine.inside("kzonesign", "--version"), r"version (\S+)")
            machine.put("/var/lib/knot/web.example.zone", ZONE)
            contains = ["KSK ECDSAP256SHA256", "ZSK ECDSAP256SHA256", "Zone is verified and complete"]
            page.recipe(machine, t, "Sign a zone", contains=contains)
            t.same("key pairs made by KMS", machine.calls()["GenerateDataKeyPair"], 2)
            machine.forget_calls()
            again = machine.inside("kzonesign", "--config", "/etc/knot/knot.conf", "--outdir", "signed", "web.example")
            t.run(again, contains="Next signing: ")
            t.same("KMS calls when a zone is signed again", machine.calls(), {"Decrypt": 2})
        page.finish()
