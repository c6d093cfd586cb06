"""OpenSSH 9.2: `ssh-keygen -D` lists public keys and signs certificates."""

import os
import re
import shutil

from encoding import public_pem
from harness import Skip
from tokens import ready_token, write

KEYS = (("rsa:2048", "01", "ssh-rsa"), ("EC:prime256v1", "02", "ecdsa-sha2-nistp256"),
        ("EC:secp384r1", "03", "ecdsa-sha2-nistp384"), ("EC:secp521r1", "04", "ecdsa-sha2-nistp521"))


def run(suite, report):
    if not shutil.which("ssh-keygen"):
        report.begin(suite.name, {}, suite.parent)
        with report.test("all"):
            raise Skip("no ssh-keygen")
        return
    exercise(suite, report, "pin")
    if suite.profile != "softhsm":  # SoftHSM has no tokens without PINs
        exercise(suite, report, "none")


def exercise(suite, report, login):
    token = ready_token(suite, report, login)
    if token is None:
        return
    # ssh-keygen asks for the PIN by a program; on a token without PINs nobody must be asked.
    asker = token.path("askpass")
    write(asker, f"#!/bin/sh\necho asked >>{token.path('asked')}\necho {token.pin}\n")
    os.chmod(asker, 0o700)
    token.env |= {"SSH_ASKPASS": asker, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    report.begin(suite.name, token.env, token.root)
    kind = "with PINs" if login == "pin" else "without PINs"
    public = {}
    with report.test(f"ssh-keygen -D lists RSA and EC keys: token {kind}") as t:
        for name, key_id, _ in KEYS:
            token.generate(t, name, key_id, f"key-{key_id}")
        text = t.run(["ssh-keygen", "-D", token.module]).out
        found = {(line.split()[0], line.split()[-1]): line for line in text.splitlines()}
        t.same("keys", set(found), {(name, f"key-{key_id}") for _, key_id, name in KEYS})
        for _, key_id, name in KEYS:
            path = token.path(f"{key_id}.pub")
            write(path, found[name, f"key-{key_id}"] + "\n")
            exported = t.run(["ssh-keygen", "-e", "-m", "PKCS8", "-f", path]).out
            with open(public_pem(token, t, key_id), encoding="utf-8") as file:
                t.same("public key", exported.strip(), file.read().strip())
            public[key_id] = path
        t.true("listing asks for no PIN", not os.path.exists(token.path("asked")))
    for name, key_id, _ in KEYS if public else ():
        with report.test(f"ssh-keygen -s -D signs a certificate: {name}, token {kind}") as t:
            user = token.path(f"user-{key_id}")
            t.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", user])
            words = ["ssh-keygen", "-D", token.module, "-s", public[key_id], "-I", "somebody", "-n", "root", "-V", "+1d"]
            t.run([*words, user + ".pub"], contains="Signed user key")
            fingerprint = t.run(["ssh-keygen", "-l", "-f", public[key_id]]).out.split()[1]
            shown = t.run(["ssh-keygen", "-L", "-f", user + "-cert.pub"]).out
            t.true("signed by the key", re.search("Signing CA: .*" + re.escape(fingerprint), shown))
            t.same("PIN asked for", os.path.exists(token.path("asked")), login == "pin")
