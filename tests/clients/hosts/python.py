"""docs/hosts/python.md."""

import os

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
            found.append(os.path.dirname(packages.python()))
        if not found:
            return
        report.env = machine.env | {"PATH": f"{found[0]}:{machine.env['PATH']}"}
        page = Page(report, "python")
        versions = dict(each.split("==") for each in packages.PYTHON_PACKAGES)
        page.version = ", ".join(f"{name} {versions[name]}" for name in ("python-pkcs11", "PyKCS11"))
        with page.test("Sign with python-pkcs11") as t:
            page.recipe(machine, t, "Sign with python-pkcs11", contains="^verified: True$")
        with page.test("Make and use an RSA key") as t:
            machine.forget_calls()
            page.recipe(machine, t, "Make and use an RSA key", contains=("^decrypted: b'hello'$", "^verified: True$"))
            # How often is not asked: the embedded KMS may be slow to find the primes, and is then asked once more.
            t.same("what KMS did", set(machine.calls()), {"GenerateDataKeyPair"})
        with page.test("Sign with PyKCS11") as t:
            page.recipe(machine, t, "Sign with PyKCS11", contains="^verified: True$")
        page.finish()
