"""docs/hosts/java.md, and programs of ours (java/) on every algorithm that SunPKCS11 makes of the module's mechanisms."""

import os
import re

from machine import ready_machine
from pages import Page
from tokens import write

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "java")
# C1 only and a small heap: a fraction of the start-up time, which is most of what keytool takes.
TUNING = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -Xmx128m -XX:+UseSerialGC -Duser.language=en"}
# The keys of the programs, made in each of the ways that there are: by a copy, on the token at once, in Java's memory.
KEYS = (
    ("rsa", "copy.conf", ("-keyalg", "RSA", "-keysize", "2048"), None),
    ("rsa3072", "tools.conf", ("-keyalg", "RSA", "-keysize", "3072"), "SunPKCS11-Keys"),
    ("p256", "copy.conf", ("-keyalg", "EC", "-groupname", "secp256r1"), "SunPKCS11-Web"),
    ("p384", "copy.conf", ("-keyalg", "EC", "-groupname", "secp384r1"), "SunPKCS11-Web"),
    ("p521", "tools.conf", ("-keyalg", "EC", "-groupname", "secp521r1"), "SunPKCS11-Keys"),
)
# What each way asks of KMS.
CALLS = {
    "SunPKCS11-Web": {"GenerateDataKeyPair": 1, "ReEncrypt": 1},
    "SunPKCS11-Keys": {"GenerateDataKeyPair": 1},
    None: {"Encrypt": 1},
}


def run(suite, report):
    page = Page(report, "java")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        report.env = machine.env | TUNING
        recipes(page, machine)
        entry_of_others(machine, report)
        programs(machine, report)
    page.finish()


def recipes(page, machine):
    with page.test("Provider") as t:
        page.found(t, machine.inside("java", "-version"), r'version "([^"]+)"')
        page.recipe(machine, t, "Provider", contains="contains 0 entries")
    with page.test("Key, request and certificate") as t:
        chain = ("Certificate chain length: 2", "CN=Authority")
        page.recipe(machine, t, "Key, request and certificate", contains=chain, lacks="Exception")
    with page.test("Keys by way of the session") as t:
        machine.forget_calls()
        page.recipe(machine, t, "Keys by way of the session", lacks="Exception")
        t.same("calls of KMS", machine.calls(), CALLS["SunPKCS11-Web"])
    with page.test("Signed archive") as t:
        page.recipe(machine, t, "Signed archive", contains=("jar signed", "jar verified", "CN=Signer"))
    with page.test("A program") as t:
        page.recipe(machine, t, "A program", contains="Verified OK")
    with page.test("TLS server") as t:
        machine.forget_calls()
        page.recipe(machine, t, "TLS server", contains=("Protocol version: TLSv1.3", "Verification: OK"), lacks="Exception")
        t.same("calls of KMS", machine.calls(), {"Decrypt": 1})
    with page.test("Rename and delete") as t:
        said = page.recipe(machine, t, "Rename and delete").out
        t.same("entries", set(re.findall(r"^(\w+), PrivateKeyEntry", said, re.MULTILINE)), {"release"})


def entry_of_others(machine, report):
    with report.test("a key and certificates that other programs stored are an entry with its chain") as t:
        machine.generate(t, "RSA:2048", "77", "theirs")
        t.run(machine.user("--read-object", "--type", "pubkey", "--id", "77", "--output-file", machine.here("theirs.pub")))
        words = ("-newkey", "rsa:2048", "-nodes", "-keyout", "their-ca.key", "-subj", "/CN=Their authority")
        t.run(machine.inside("openssl", "req", "-x509", *words, "-outform", "DER", "-out", "their-ca.crt"))
        words = ("-force_pubkey", "theirs.pub", "-CA", "their-ca.crt", "-CAkey", "their-ca.key", "-subj", "/CN=theirs")
        t.run(machine.inside("openssl", "x509", "-new", *words, "-outform", "DER", "-out", "theirs.crt"))
        for name, key_id in (("theirs", "77"), ("their-ca", "78")):
            words = ("--type", "cert", "--id", key_id, "--label", name)
            t.run(machine.user("--write-object", machine.here(f"{name}.crt"), *words), contains="Created certificate")
        said = t.run(machine.inside("keytool", "-conf", "tools.conf", "-list", "-v", "-alias", "theirs")).out
        t.true("an entry of two certificates", "Entry type: PrivateKeyEntry\nCertificate chain length: 2" in said)
        words = ("-certreq", "-alias", "theirs", "-file", "theirs.csr")
        t.run(machine.inside("keytool", "-conf", "tools.conf", *words))
        t.run(machine.inside("openssl", "req", "-in", "theirs.csr", "-noout", "-verify"), contains="verify OK")


def programs(machine, report):
    classes = machine.path("classes")
    sources = [os.path.join(SOURCES, name) for name in sorted(os.listdir(SOURCES))]

    def program(t, name, *words, seconds=150, env=None):
        argv = machine.inside("java", "-cp", classes, name, "web.cfg", machine.pin, *words)
        return t.run(argv, seconds=seconds, env=env, lacks="Exception").out

    with report.test("keys made in each way, and the calls of KMS it costs") as t:
        with open(machine.here("tools.conf"), encoding="utf-8") as file:
            by_way_of_the_session = file.read().replace("keys.cfg", "web.cfg")
        write(machine.here("copy.conf"), by_way_of_the_session)
        for alias, conf, options, provider in KEYS:
            words = ["-genkeypair", "-alias", alias, "-dname", f"CN={alias}", *options]
            machine.forget_calls()
            t.run(machine.inside("keytool", "-conf", conf, *words, *(("-providerName", provider) if provider else ())))
            calls, wanted = machine.calls(), CALLS[provider]
            if alias == "rsa3072":  # the embedded KMS may be slow to find the primes, and is then asked once more
                calls, wanted = set(calls), set(wanted)
            t.same(f"calls of KMS for {alias}", calls, wanted)
    with report.test("the programs compile without a warning") as t:
        t.run(machine.inside("javac", "-Xlint:all", "-Werror", "-d", classes, *sources))
    with report.test("every signature algorithm with every key, against Java's own") as t:
        said = program(t, "Signatures")
        for algorithm in ("SHA256withRSA", "RSASSA-PSS", "NONEwithECDSA", "SHA512withECDSA", "SHA3-256withRSA"):
            t.true(algorithm, re.search(rf"^{algorithm} ", said, re.MULTILINE))
    with report.test("decryption and unwrapping with RSA, and every cipher, MAC and hash, against Java's own") as t:
        said = program(t, "Ciphers")
        for line in ("RSA rsa3072", "AES/GCM/NoPadding", "AES/CBC/PKCS5Padding", "HmacSHA256", "SHA-256", "new key for AES"):
            t.true(line, line in said.splitlines())
    with report.test("key agreement, against Java's own") as t:
        t.same("curves", re.findall(r"^ECDH (\w+)$", program(t, "Agreement"), re.MULTILINE), ["p256", "p384", "p521"])
    with report.test("TLS 1.3 and 1.2, the keys of server and client on the token; KMS opens each key once") as t:
        for server, client in (("p256", "rsa"), ("rsa", "p384"), ("p521", "p256")):
            machine.forget_calls()
            said = program(t, "Tls", server, client, "5").splitlines()
            t.same("protocols", said, [f"TLSv1.3 {server} and {client}", f"TLSv1.2 {server} and {client}"])
            t.same("calls of KMS", machine.calls(), {"Decrypt": 2})
    for alias, algorithm, each in (("p256", "SHA256withECDSA", 10_000), ("rsa", "SHA256withRSA", 500)):
        with report.test(f"8 threads, {each} signatures of each: {algorithm}") as t:
            machine.forget_calls()
            # Not TUNING: Java's own share is to be as small as it is for a server.
            said = program(t, "Threads", alias, algorithm, 8, each, env={"JAVA_TOOL_OPTIONS": "-Xmx256m"}).strip()
            t.same("calls of KMS", machine.calls(), {"Decrypt": 1})
            t.true("all are done", said.startswith(f"8 x {each} signatures, {8 * each // 50} verified"))
            print(f"   {said}", flush=True)
