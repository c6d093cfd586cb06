"""docs/hosts/node.md."""

import os
import re

import packages
from machine import ready_machine
from pages import Page


def run(suite, report):
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        found = []
        with report.test("the packages, and a key") as t:
            machine.generate(t, "EC:prime256v1", "01", "tls")
            found.append(packages.node())
        if not found:
            return
        os.symlink(found[0], machine.here("node_modules"))
        page = Page(report, "node")
        page.version = ", ".join(each.replace("@", " ") for each in packages.NODE_PACKAGES)
        with page.test("Sign with graphene-pk11") as t:
            page.recipe(machine, t, "Sign with graphene-pk11", contains="^verified: true$")
        with page.test("Make and use a key with pkcs11js") as t:
            said = page.recipe(machine, t, "Make and use a key with pkcs11js").out
            t.true("a signature of 256 bytes", re.fullmatch("[0-9a-f]{512}\n", said))
            t.run(machine.user("--list-objects", "--type", "privkey"), contains="tls", lacks="RSA")
        page.finish()
