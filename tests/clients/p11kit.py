"""p11-kit 0.24 and GnuTLS 3.7: the module found by its module file, p11tool, certtool, remoting."""

import contextlib
import os
import re

from encoding import public_pem
from harness import Skip
from tokens import PIN, ready_token, write

SYSTEM_MODULES = "/usr/share/p11-kit/modules"
CLIENT_PATHS = ("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib64/pkcs11/p11-kit-client.so",
                "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so")
PACKAGED = os.path.join(os.path.dirname(__file__), "..", "..", "packaging", "p11-kit", "datakey-pkcs11.module")
# p11tool's options for a key, ID, label, and why SoftHSM cannot.
KINDS = (
    (("--generate-privkey=rsa", "--bits=2048"), "a1", "one", None),
    (("--generate-privkey=rsa", "--bits=4096"), "a2", "two", None),
    (("--generate-privkey=ecdsa", "--curve=secp256r1"), "a3", "three", None),
    (("--generate-privkey=ecdsa", "--curve=secp384r1"), "a4", "four", None),
    # GnuTLS 3.7 names CKM_EDDSA as the generation mechanism.
    (("--generate-privkey=ed25519",), "a5", "five", "no generation by CKM_EDDSA"),
)


def run(suite, report):
    token = ready_token(suite, report)
    if token is None:
        return
    token.env["GNUTLS_PIN"] = PIN
    report.begin(suite.name, token.env, token.root)
    with module_file(token) as name:
        listings(token, report, name)
        for options, key_id, label, lack in KINDS:
            generate(token, report, options, key_id, label, lack)
        object_listings(token, report)
        for options, key_id, label, lack in KINDS:
            certify(token, report, key_id, label, lack)
        certificates(token, report)
    remoting(token, report)


@contextlib.contextmanager
def module_file(token):
    """Makes p11-kit load the module; yields the name it goes by. For root p11-kit reads system directories only."""
    if token.on_softhsm:
        yield "softhsm2"  # its package brings the file
        return
    text = f"module: {token.module}\n"
    if os.path.exists(PACKAGED):  # what is shipped, with the path of the library under test
        with open(PACKAGED, encoding="utf-8") as file:
            text = re.sub(r"^module:.*$", f"module: {token.module}", file.read(), flags=re.MULTILINE)
    directory = SYSTEM_MODULES
    if os.getuid() != 0:
        home = os.path.join(token.env["HOME"], ".config", "pkcs11")
        directory = os.path.join(home, "modules")
        os.makedirs(directory)
        write(os.path.join(home, "pkcs11.conf"), "user-config: only\n")
    path = os.path.join(directory, "datakey-pkcs11-test.module")
    write(path, text)
    os.chmod(path, 0o644)
    try:
        yield "datakey-pkcs11-test"
    finally:
        os.remove(path)


def listings(token, report, name):
    with report.test("p11-kit list-modules shows module and token") as t:
        expected = (rf"^{name}: ", rf"^    token: {token.label}$", "^ +rng$", "^ +login-required$", "^ +user-pin-initialized$",
                    "^ +token-initialized$")
        t.run(["p11-kit", "list-modules"], contains=expected, lacks="couldn't|failed")
    with report.test("p11tool lists token and mechanisms") as t:
        t.run(["p11tool", "--list-token-urls"], contains=rf"token={token.label}$", lacks="rror")
        t.run(["p11tool", "--list-mechanisms", f"pkcs11:token={token.label}"], contains=("CKM_RSA_PKCS", "CKM_ECDSA"))
    for command in ("list-tokens", "list-objects"):
        with report.test(f"p11-kit {command}") as t:
            if command not in t.run(["p11-kit", "--help"], code=None).text:
                raise Skip("this p11-kit does not have it (0.25 does)")
            t.run(["p11-kit", command, f"pkcs11:token={token.label}"], lacks="rror")
    with report.test("p11tool: an empty token has no objects") as t:
        t.run(["p11tool", "--login", "--list-all", f"pkcs11:token={token.label}"], contains="No matching objects found", code=None)


def generate(token, report, options, key_id, label, lack):
    with report.test("p11tool " + " ".join(options), lack) as t:
        path = token.path(f"{label}.pem")
        words = ["p11tool", "--login", *options, f"--id={key_id}", f"--label={label}", f"--outfile={path}"]
        t.run([*words, f"pkcs11:token={token.label}"], lacks="rror", seconds=120)
        t.run(["openssl", "pkey", "-pubin", "-in", path, "-noout"])
        exported = token.path("exported.pem")
        t.run(["p11tool", "--export-pubkey", f"--outfile={exported}", token.uri("private", key_id)])
        with open(path, encoding="utf-8") as first, open(exported, encoding="utf-8") as second:
            t.same("public key", second.read(), first.read())


def object_listings(token, report):
    base = f"pkcs11:token={token.label}"
    labels = [label for _, _, label, lack in KINDS if not (lack and token.on_softhsm)]
    with report.test("p11tool --list-all without login shows public keys only") as t:
        text = t.run(["p11tool", "--list-all", base]).out
        t.same("labels", sorted(re.findall(r"Label: (\w+)", text)), sorted(labels))
        t.true("no private keys", "Private key" not in text)
    with report.test("p11tool --list-privkeys --login") as t:
        text = t.run(["p11tool", "--login", "--list-privkeys", base]).out
        t.same("labels", sorted(re.findall(r"Label: (\w+)", text)), sorted(labels))
        t.same("flags", len(re.findall("CKA_PRIVATE; .*CKA_NEVER_EXTRACTABLE; .*CKA_SENSITIVE", text)), len(labels))
    with report.test("p11tool --list-all --login names each object by a URL that finds it") as t:
        urls = re.findall(r"URL: (\S+)", t.run(["p11tool", "--login", "--list-all", base]).out)
        t.same("objects", len(urls), 2 * len(labels))
        for url in urls:
            t.run(["p11tool", "--login", "--info", url], contains=r"^Object 0:")


def certify(token, report, key_id, label, lack):
    template, uri = token.path("template"), token.uri("private", key_id)
    write(template, f"cn = {label}\nca\ncert_signing_key\nexpiration_days = 30\nserial = 1\n")
    # Ed25519 signs with its own SHA-512, and GnuTLS refuses any other name for it.
    for hash_name in ("SHA512",) if label == "five" else ("SHA256", "SHA512"):
        with report.test(f"certtool: request and certificate by {label}, {hash_name}", lack) as t:
            request, certificate = token.path("request.pem"), token.path(f"{label}.crt")
            words = ["certtool", "--load-privkey", uri, "--template", template, f"--hash={hash_name}", "--outfile"]
            t.run([*words, request, "--generate-request"])
            t.run(["openssl", "req", "-in", request, "-noout", "-verify"], contains="verify OK")
            t.run([*words, certificate, "--generate-self-signed"])
            t.run(["openssl", "verify", "-CAfile", certificate, certificate], contains=": OK$")
    if label == "one":
        with report.test("certtool: certificate signed with RSA-PSS") as t:
            certificate = token.path("pss.crt")
            words = ["certtool", "--load-privkey", uri, "--template", template, "--sign-params=RSA-PSS", "--hash=SHA256"]
            t.run([*words, "--outfile", certificate, "--generate-self-signed"])
            t.run(["openssl", "verify", "-CAfile", certificate, certificate], contains=": OK$")
            t.run(["openssl", "x509", "-in", certificate, "-noout", "-text"], contains="rsassaPss")


def certificates(token, report):
    base = f"pkcs11:token={token.label}"
    with report.test("p11tool writes, exports and deletes a certificate") as t:
        certificate = token.path("one.crt")
        words = ["p11tool", "--login", "--write", f"--load-certificate={certificate}", "--id=a1", "--label=one"]
        t.run([*words, base], lacks="rror")
        exported = t.run(["p11tool", "--export", token.uri("cert", "a1", with_pin=False)]).out
        with open(certificate, encoding="utf-8") as file:
            t.true("certificate", exported.strip() in file.read())
        t.run(["p11tool", "--login", "--batch", "--delete", token.uri("cert", "a1")], contains="1 objects deleted")
    with report.test("p11tool renames a key (--set-label, --set-id)") as t:
        t.run(["p11tool", "--login", "--set-label=renamed", token.uri("private", "a3")])
        t.run(["p11tool", "--login", "--set-id=b3", token.uri("private", "a3")])
        t.run(["p11tool", "--login", "--list-privkeys", base], contains=("Label: renamed", "ID: b3"))
    with report.test("p11tool --test-sign") as t:
        for key_id in ("a1", "a4"):
            t.run(["p11tool", "--login", "--test-sign", token.uri("private", key_id)], contains="ok", lacks="rror|fail")
    with report.test("p11tool: a wrong PIN is refused") as t:
        uri = token.uri("private", "a1", with_pin=False) + "?pin-value=000000"
        t.run(["p11tool", "--login", "--test-sign", uri], code="bad", env={"GNUTLS_PIN": "000000"})


def remoting(token, report):
    client = next((path for path in CLIENT_PATHS if os.path.exists(path)), None)
    socket_path = token.path("p11")
    with report.test("p11-kit server and p11-kit-client.so: list, sign, generate") as t:
        t.true("p11-kit-client.so is installed (p11-kit-modules)", client)
        server = ["p11-kit", "server", "--foreground", "--provider", token.module, "-n", socket_path, f"pkcs11:token={token.label}"]
        remote = ["pkcs11-tool", "--module", client, "--login", "--pin", token.pin]
        env = {"P11_KIT_SERVER_ADDRESS": f"unix:path={socket_path}", "XDG_RUNTIME_DIR": token.root}
        message, signature = token.path("message"), token.path("signature")
        write(message, "a message\n")
        # p11-kit 0.24 answers SIGTERM with 255.
        with t.background(server, env=env, ready=lambda: os.path.exists(socket_path), codes=(0, 255)):
            t.run([*remote, "-O"], env=env, contains="Private Key Object; RSA")
            words = ["--sign", "--id", "a1", "-i", message, "-o", signature, "-m"]
            t.run([*remote, *words, "SHA256-RSA-PKCS"], env=env, lacks="error")
            check = ["openssl", "dgst", "-sha256", "-verify", public_pem(token, t, "a1"), "-signature", signature, message]
            t.run(check, contains="Verified OK")
            t.run([*remote, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "c1"], env=env, contains="Key pair generated")
            t.run([*remote, "--sign", "-m", "ECDSA", "--id", "c1", "-i", message, "-o", signature, "-f", "openssl"], env=env)
            check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public_pem(token, t, "c1"), "-in", message]
            t.run([*check, "-sigfile", signature], contains="Verified Successfully")
