"""JDK 17's SunPKCS11: keytool and jarsigner."""

import os
import re
import shutil
import zipfile

from harness import Skip
from tokens import ready_token, write

KEYS = (
    ("rsa", ("-keyalg", "RSA", "-keysize", "2048"), "SHA256withRSA"),
    ("pss", ("-keyalg", "RSA", "-keysize", "3072"), "SHA384withRSA"),
    ("p256", ("-keyalg", "EC", "-groupname", "secp256r1"), "SHA256withECDSA"),
    ("p384", ("-keyalg", "EC", "-groupname", "secp384r1"), "SHA384withECDSA"),
    ("p521", ("-keyalg", "EC", "-groupname", "secp521r1"), "SHA512withECDSA"),
)


def run(suite, report):
    if not (shutil.which("java") and shutil.which("keytool")):
        report.begin(suite.name, {}, suite.parent)
        with report.test("all"):
            raise Skip("no JDK")
        return
    token = ready_token(suite, report)
    if token is None:
        return
    report.begin(suite.name, token.env, token.root)
    config = configure(token, report)
    for alias, options, algorithm in KEYS:
        keytool(token, report, config, alias, options, algorithm)
    with report.test("keytool -list in a new process finds all entries") as t:
        text = t.run(store(token, config, "keytool", "-list")).out
        t.same("entries", set(re.findall(r"^(\w+), PrivateKeyEntry", text, re.MULTILINE)), {alias for alias, *_ in KEYS})
    archive(token, report, config)
    with report.test("keytool -changealias, -delete") as t:
        t.run(store(token, config, "keytool", "-changealias", "-alias", "p384", "-destalias", "renamed"))
        t.run(store(token, config, "keytool", "-delete", "-alias", "p521"))
        text = t.run(store(token, config, "keytool", "-list")).out
        t.true("renamed and deleted", "renamed, PrivateKeyEntry" in text and "p521" not in text and "p384" not in text)


def configure(token, report):
    """A provider configuration; keys are generated on the token, because C_CopyObject is not to be needed for it."""
    config = token.path("pkcs11.cfg")
    slot = "slotListIndex = 0"  # the token; SoftHSM's spare slot comes after it
    write(config, f"name = Test\nlibrary = {token.module}\n{slot}\nattributes(generate,CKO_PRIVATE_KEY,*) = {{\n  CKA_TOKEN = true\n}}\n")
    return config


def store(token, config, program, *words):
    """keytool or jarsigner on the token."""
    where = ["-keystore", "NONE", "-storetype", "PKCS11", "-storepass", token.pin]
    provider = ["-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", config]
    # C1 only and a small heap: a fraction of the start-up time, which is most of what these tests take.
    tuning = ["-J-XX:TieredStopAtLevel=1", "-J-Xmx128m", "-J-Duser.language=en"]
    return [program, *tuning, *words, *where, *provider]


def keytool(token, report, config, alias, options, algorithm):
    with report.test(f"keytool -genkeypair, -certreq, -exportcert: {alias}") as t:
        names = ("-alias", alias, "-dname", f"CN={alias}", "-sigalg", algorithm, "-validity", "30")
        words = ("-genkeypair", *options, *names, "-providerName", "SunPKCS11-Test")
        t.run(store(token, config, "keytool", *words), lacks="Exception")
        request, certificate = token.path("request.pem"), token.path(f"{alias}.pem")
        t.run(store(token, config, "keytool", "-certreq", "-alias", alias, "-sigalg", algorithm, "-file", request), lacks="Exception")
        t.run(["openssl", "req", "-in", request, "-noout", "-verify"], contains="verify OK")
        t.run(store(token, config, "keytool", "-exportcert", "-rfc", "-alias", alias, "-file", certificate), lacks="Exception")
        t.run(["openssl", "verify", "-CAfile", certificate, certificate], contains=": OK$")


def archive(token, report, config):
    for alias in ("rsa", "p256"):
        with report.test(f"jarsigner signs, and verifies without the token: {alias}") as t:
            if not shutil.which("jarsigner"):
                raise Skip("no jarsigner")
            path = token.path(f"{alias}.jar")
            with zipfile.ZipFile(path, "w") as jar:
                jar.writestr("content.txt", os.urandom(1000))
            words = store(token, config, "jarsigner")
            t.run([*words, path, alias], contains="jar signed")
            t.run(["jarsigner", "-verify", path], contains="jar verified")
