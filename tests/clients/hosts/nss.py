"""docs/hosts/nss.md, and what of NSS's other programs can be seen to agree with."""

import re

from machine import ready_machine
from pages import Page


def run(suite, report):
    page = Page(report, "nss")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        recipes(page, machine)
        with report.test("mail that OpenSSL encrypted is decrypted, and its signature is one that OpenSSL verifies") as t:
            for name in ("alice", "ca"):
                t.run(machine.inside("certutil", "-L", "-d", "sql:nssdb", "-n", f"web:{name}", "-a", "-o", f"{name}.crt"))
            words = ("-verify", "-in", "signed.p7", "-inform", "DER", "-CAfile", "ca.crt", "-purpose", "any")
            t.run(machine.inside("openssl", "cms", *words), contains="hello")
            words = ("-encrypt", "-aes256", "-in", "mail.txt", "-outform", "DER", "-out", "theirs.p7", "alice.crt")
            t.run(machine.inside("openssl", "cms", *words))
            machine.forget_calls()
            words = ("-D", "-d", "sql:nssdb", "-f", "pin.txt", "-i", "theirs.p7")
            t.run(machine.inside("cmsutil", *words), contains="^hello")
            t.same("calls of KMS", machine.calls(), {"Decrypt": 1})
    page.finish()


def recipes(page, machine):
    with page.test("Module") as t:
        page.found(t, machine.inside("dpkg-query", "-W", "-f", "${Version}", "libnss3"), r"(?:\d+:)?([\d.]+)")
        page.recipe(machine, t, "Module", contains=("Slot: datakey-pkcs11 slot 0: web", "Token Name: +web"))
    with page.test("Key, request and certificate") as t:
        text = page.recipe(machine, t, "Key, request and certificate", contains="certificate is valid").out
        t.same("keys", sorted(re.findall(r"^<.*?> ec .* web:(\w+)$", text, re.MULTILINE)), ["ca", "tls"])
        trust = dict(re.findall(r"^web:(\w+) +([\w,]+)", text, re.MULTILINE))
        t.same("certificates and their trust", trust, {"ca": "CTu,Cu,Cu", "tls": "u,u,u"})
    with page.test("Signed and encrypted mail") as t:
        text = page.recipe(machine, t, "Signed and encrypted mail", lacks="ERROR|problem").out
        t.same("what was decoded", re.findall("^hello$", text, re.MULTILINE), ["hello", "hello"])
    with page.test("Signed archive") as t:
        page.recipe(machine, t, "Signed archive", contains=("signed successfully", "verified +file.txt"))
    with page.test("TLS server") as t:
        page.recipe(machine, t, "TLS server", contains="subject DN: CN=localhost")
    with page.test("Key from a PKCS #12 file") as t:
        machine.forget_calls()
        said = page.recipe(machine, t, "Key from a PKCS #12 file", contains="IMPORT SUCCESSFUL").out
        (key_id,) = re.findall(r"> rsa +([0-9a-f]+) +old$", said, re.MULTILINE)
        t.same("calls of KMS", machine.calls(), {"Encrypt": 1})
        signature, data = machine.here("hello.sig"), machine.here("mail.txt")
        key = ("--id", key_id, "--mechanism", "SHA256-RSA-PKCS", "--input-file", data, "--output-file", signature)
        t.run(machine.user("--sign", *key))
        t.run(machine.inside("openssl", "x509", "-in", "old.crt", "-noout", "-pubkey", "-out", "old.pub"))
        words = ("-sha256", "-verify", "old.pub", "-signature", signature, data)
        t.run(machine.inside("openssl", "dgst", *words), contains="Verified OK")
    with page.test("Delete") as t:
        text = page.recipe(machine, t, "Delete").out
        t.true("the key is gone with its certificate", "old" not in text)
        t.true("the certificate alone is gone", "web:tls" not in text and re.search(r"ec .*\(orphan\)", text))
