"""OpenSSL 3.0 through the engine of libp11 0.4.12: export, requests, certificates, signatures, CMS."""

import os

from encoding import public_der
from harness import Failure
from tokens import ready_token, write

ENGINE = "/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so"
KEYS = (("rsa:2048", "10"), ("rsa:4096", "11"), ("EC:prime256v1", "20"), ("EC:secp384r1", "21"), ("EC:secp521r1", "22"))
USE = ("-engine", "pkcs11", "-keyform", "engine")
# For the steps that check results: no engine, which also changes what OpenSSL does with keys that are not on the token.
PLAIN = {"OPENSSL_CONF": "/dev/null"}


def configure(token):
    """Writes an openssl.cnf that knows the engine and the module; returns the environment that selects it."""
    conf = token.path("openssl.cnf")
    write(conf, f"""openssl_conf = start
[start]
engines = engines
[engines]
pkcs11 = pkcs11_engine
[pkcs11_engine]
engine_id = pkcs11
dynamic_path = {ENGINE}
MODULE_PATH = {token.module}
init = 0
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth,clientAuth
[mail]
keyUsage = digitalSignature,keyEncipherment,keyAgreement
extendedKeyUsage = emailProtection
""")
    token.env["OPENSSL_CONF"] = conf


def run(suite, report):
    token = ready_token(suite, report)
    if token is None:
        return
    configure(token)
    report.begin(suite.name, token.env, token.root)
    with report.test("generate the keys") as t:
        if not os.path.exists(ENGINE):
            raise Failure("not installed: libengine-pkcs11-openssl")
        for kind, key_id in KEYS:
            token.generate(t, kind, key_id, kind)
        write(token.path("message"), "a message\n" * 1000)
    for kind, key_id in KEYS:
        export(token, report, kind, key_id)
        certify(token, report, kind, key_id)
        digests(token, report, kind, key_id)
        cms(token, report, kind, key_id)
    for kind, key_id in KEYS[:2]:
        padding(token, report, kind, key_id)
    refusals(token, report)


def export(token, report, kind, key_id):
    for half in ("private", "public"):
        with report.test(f"export the public key of the {half} half: {kind}") as t:
            # The public half opens without a PIN.
            uri = token.uri(half, key_id, with_pin=half == "private")
            source = ("-pubin", "-inform", "engine") if half == "public" else ("-inform", "engine")
            words = ["openssl", "pkey", "-engine", "pkcs11", *source, "-in", uri, "-pubout", "-outform", "DER"]
            result = t.run([*words, "-out", token.path("exported.der")], lacks="error")
            with open(token.path("exported.der"), "rb") as file:
                t.same("public key", file.read(), public_der(token, t, key_id))
            t.true("engine loaded", 'Engine "pkcs11" set.' in result.err)


def certify(token, report, kind, key_id):
    uri, request, certificate = token.uri("private", key_id), token.path(f"{key_id}.csr"), token.path(f"{key_id}.crt")
    with report.test(f"certificate request: {kind}") as t:
        t.run(["openssl", "req", "-new", *USE, "-key", uri, "-subj", f"/O=Test/CN={kind[-8:]}", "-out", request])
        t.run(["openssl", "req", "-in", request, "-noout", "-verify"], contains="verify OK", env=PLAIN)
    with report.test(f"self-signed certificate: {kind}") as t:
        words = ["openssl", "req", "-x509", "-new", *USE, "-key", uri, "-subj", f"/O=Test/CN={kind[-8:]}", "-days", "30"]
        # Not -config: it would configure the engine a second time, which libp11 refuses. OPENSSL_CONF has the sections.
        t.run([*words, "-extensions", "mail", "-out", certificate])
        t.run(["openssl", "verify", "-CAfile", certificate, certificate], contains=": OK$", env=PLAIN)
        t.run(["openssl", "x509", "-in", certificate, "-noout", "-text"], lacks="Field Type: prime-field")
        words = ["openssl", "x509", "-in", certificate, "-noout", "-pubkey"]
        found = t.run(["openssl", "pkey", "-pubin", "-outform", "DER"], stdin=t.run(words, env=PLAIN).raw, env=PLAIN).raw
        t.same("public key of the certificate", found, public_der(token, t, key_id))


def digests(token, report, kind, key_id):
    uri, message, signature = token.uri("private", key_id), token.path("message"), token.path("signature")
    settings = [("", ())]
    if kind.startswith("rsa"):
        pss = ("-sigopt", "rsa_padding_mode:pss", "-sigopt")
        settings += [(" PSS, salt of digest length", (*pss, "rsa_pss_saltlen:digest")), (" PSS, longest salt", (*pss, "rsa_pss_saltlen:max"))]
    for hash_name in ("sha1", "sha256", "sha384", "sha512"):
        for name, options in settings:
            with report.test(f"dgst -{hash_name}{name}: {kind}") as t:
                words = ["openssl", "dgst", "-" + hash_name, *options]
                t.run([*words, *USE, "-sign", uri, "-out", signature, message])
                public = token.path("public.pem")
                t.run(["openssl", "pkey", "-pubin", "-inform", "DER", "-out", public], stdin=public_der(token, t, key_id))
                t.run([*words, "-verify", public, "-signature", signature, message], contains="Verified OK", env=PLAIN)


def cms(token, report, kind, key_id):
    uri, certificate, message = token.uri("private", key_id), token.path(f"{key_id}.crt"), token.path("message")
    signed, encrypted = token.path("signed.cms"), token.path("encrypted.cms")
    with report.test(f"CMS sign and verify: {kind}") as t:
        words = ["openssl", "cms", "-sign", "-in", message, "-signer", certificate, "-inkey", uri, *USE]
        t.run([*words, "-md", "sha256", "-outform", "DER", "-out", signed, "-nodetach", "-binary"])
        verify = ["openssl", "cms", "-verify", "-in", signed, "-inform", "DER", "-CAfile", certificate, "-binary"]
        result = t.run(verify, contains="CMS Verification successful|Verification successful", env=PLAIN)
        t.true("content", result.out == "a message\n" * 1000)
    if not kind.startswith("rsa"):
        return
    for name, options in (("RSA-PKCS", ()), ("OAEP", ("-keyopt", "rsa_padding_mode:oaep"))):
        with report.test(f"CMS decrypt {name}: {kind}") as t:
            words = ["openssl", "cms", "-encrypt", "-aes256", "-in", message, "-binary", "-outform", "DER", "-out", encrypted]
            t.run([*words, "-recip", certificate, *options], env=PLAIN)
            words = ["openssl", "cms", "-decrypt", "-in", encrypted, "-inform", "DER", "-recip", certificate, "-inkey", uri, *USE]
            t.true("content", t.run([*words, "-binary"]).out == "a message\n" * 1000)


def padding(token, report, kind, key_id):
    """`pkeyutl -decrypt`; for OAEP with SHA-2, libp11 0.4.12 takes CKM_RSA_X_509 and unpads itself."""
    uri, secret, encrypted = token.uri("private", key_id), token.path("secret"), token.path("encrypted")
    for name, options in (
        ("pkcs1", ("rsa_padding_mode:pkcs1",)), ("none", ("rsa_padding_mode:none",)), ("oaep", ("rsa_padding_mode:oaep",)),
        ("oaep sha256", ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256")),
    ):
        with report.test(f"pkeyutl -decrypt {name}: {kind}") as t:
            size = int(kind.split(":")[1]) // 8 if name == "none" else 32
            plain = b"\0" + os.urandom(size - 1)
            with open(secret, "wb") as file:
                file.write(plain)
            choice = [word for option in options for word in ("-pkeyopt", option)]
            public = token.path("public.der")
            with open(public, "wb") as file:
                file.write(public_der(token, t, key_id))
            words = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public, "-in", secret]
            t.run([*words, *choice, "-out", encrypted], env=PLAIN)
            result = t.run(["openssl", "pkeyutl", "-decrypt", *USE, "-inkey", uri, "-in", encrypted, *choice])
            t.same("plaintext", result.raw, plain)


def refusals(token, report):
    lack = "crashes in C_CloseAllSessions when the host's exit handlers call it"
    with report.test("a wrong PIN and an unknown key end in an error, not in a crash", lack) as t:
        base = token.uri("private", "10", with_pin=False)
        words = ["openssl", "dgst", "-sha256", *USE, "-out", token.path("signature"), "-sign"]
        t.run([*words, base + "?pin-value=000000", token.path("message")], code="bad")
        t.run([*words, token.uri("private", "99"), token.path("message")], code="bad")
        t.run([*words, token.uri("private", "10"), token.path("message")])
