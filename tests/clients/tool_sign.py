"""pkcs11-tool: every signature and decryption mechanism it knows, cross-checked with OpenSSL in both directions."""

import os

from encoding import ecdsa_der, public_pem
from harness import Failure
from tokens import ready_token

# Names of a hash: in the tool's mechanisms, in its MGFs, in OpenSSL, digest length in bytes, and what SoftHSM lacks.
HASHES = (
    ("SHA1", "MGF1-SHA1", "sha1", 20, None), ("SHA224", "MGF1-SHA224", "sha224", 28, None),
    ("SHA256", "MGF1-SHA256", "sha256", 32, None), ("SHA384", "MGF1-SHA384", "sha384", 48, None),
    ("SHA512", "MGF1-SHA512", "sha512", 64, None), ("SHA3-224", "MGF1-SHA3_224", "sha3-224", 28, "no SHA-3"),
    ("SHA3-256", "MGF1-SHA3_256", "sha3-256", 32, "no SHA-3"), ("SHA3-384", "MGF1-SHA3_384", "sha3-384", 48, "no SHA-3"),
    ("SHA3-512", "MGF1-SHA3_512", "sha3-512", 64, "no SHA-3"),
)
SHA2 = HASHES[:5]
RSA_KEYS = (("rsa:2048", "21", 256), ("rsa:3072", "22", 384), ("rsa:4096", "23", 512))
EC_KEYS = (
    ("EC:prime256v1", "31", 64), ("EC:secp384r1", "32", 96), ("EC:secp521r1", "33", 132), ("EC:secp256k1", "34", 64),
)
ED_KEY = ("EC:edwards25519", "41", 64)
# PSS on a digest: the salt length as the tool takes it (-1: digest length, -2: the longest), and as OpenSSL does.
PSS_SALTS = (("-1", "digest"), ("0", "0"), ("20", "20"), ("-2", "max"))


def run(suite, report):
    token = ready_token(suite, report)
    if token is None:
        return
    bench = Bench(token)
    with report.test("generate the keys") as t:
        for kind, key_id, _ in (*RSA_KEYS, *EC_KEYS, ED_KEY):
            token.generate(t, kind, key_id, kind)
        bench.publish(t)
    if not bench.public:
        return
    rsa_signatures(bench, report)
    pss_signatures(bench, report)
    ec_signatures(bench, report)
    foreign_signatures(bench, report)
    decryption(bench, report)
    policy(bench, report)


class Bench:
    """The token with its public keys as files, data to sign, and the two directions of checking."""

    def __init__(self, token):
        self.token, self.public = token, {}
        self.message = self.file("message", os.urandom(200_000))  # more than one C_SignUpdate of the tool
        self.signature = token.path("signature")

    def file(self, name, content):
        path = self.token.path(name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def publish(self, t):
        found = {key_id: public_pem(self.token, t, key_id) for _, key_id, _ in (*RSA_KEYS, *EC_KEYS, ED_KEY)}
        self.public = found

    def digest(self, t, hash_name):
        path = self.token.path("digest-" + hash_name)
        t.run(["openssl", "dgst", "-" + hash_name, "-binary", "-out", path, self.message])
        return path

    def sign(self, t, mechanism, key_id, data, size, *options):
        """Signs on the token and checks the length; the signature lies in `self.signature`."""
        words = ("--sign", "-m", mechanism, "--id", key_id, "-i", data, "-o", self.signature, *options)
        if os.path.exists(self.signature):
            os.remove(self.signature)
        t.run(self.token.user(*words), lacks="error")
        with open(self.signature, "rb") as file:
            raw = file.read()
        t.same("signature length", len(raw), size)
        return raw

    def verify(self, t, mechanism, key_id, data, *options):
        """C_Verify accepts the signature, and refuses it once a bit is flipped."""
        words = ("--verify", "-m", mechanism, "--id", key_id, "-i", data)
        t.run(self.token.user(*words, "--signature-file", self.signature, *options), contains="Signature is valid")
        with open(self.signature, "rb") as file:
            raw = bytearray(file.read())
        raw[-1] ^= 1
        bad = self.file("signature-bad", raw)
        t.run(self.token.user(*words, "--signature-file", bad, *options), code=None, contains="Invalid signature|SIGNATURE_INVALID")

    def openssl(self, t, command, key_id, data, *options, signature=None):
        """OpenSSL accepts the signature: `command` is dgst (hashes the data itself) or pkeyutl."""
        signature = signature or self.signature
        if command == "dgst":
            words = ["openssl", "dgst", *options, "-verify", self.public[key_id], "-signature", signature, data]
            t.run(words, contains="Verified OK")
        else:
            words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.public[key_id], "-in", data]
            t.run([*words, "-sigfile", signature, *options], contains="Signature Verified Successfully")

    def recovers(self, t, key_id, data, padding):
        """OpenSSL gets the signed data back out of the RSA signature (`pkeyutl -verify` takes data up to 64 bytes only)."""
        words = ["openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", self.public[key_id], "-in", self.signature]
        recovered = t.run([*words, "-pkeyopt", "rsa_padding_mode:" + padding]).raw
        with open(data, "rb") as file:
            t.true("recovered data", recovered == file.read())


def pairs(option, *values):
    """`-pkeyopt a -pkeyopt b …` for OpenSSL."""
    return [word for value in values for word in (option, value)]


def rsa_signatures(bench, report):
    for kind, key_id, size in RSA_KEYS:
        for name, _, hash_name, _, lack in HASHES if kind == "rsa:2048" else HASHES[2:3]:
            with report.test(f"sign {name}-RSA-PKCS {kind}", lack) as t:
                bench.sign(t, f"{name}-RSA-PKCS", key_id, bench.message, size)
                bench.openssl(t, "dgst", key_id, bench.message, "-" + hash_name)
                bench.verify(t, f"{name}-RSA-PKCS", key_id, bench.message)
        with report.test(f"sign RSA-PKCS {kind}") as t:
            for data in (bench.digest(t, "sha256"), bench.file("longest", os.urandom(size - 11))):
                bench.sign(t, "RSA-PKCS", key_id, data, size)
                bench.recovers(t, key_id, data, "pkcs1")
                bench.verify(t, "RSA-PKCS", key_id, data)
        with report.test(f"sign RSA-X-509 {kind}") as t:
            block = bench.file("block", b"\x00" + os.urandom(size - 1))
            bench.sign(t, "RSA-X-509", key_id, block, size)
            bench.recovers(t, key_id, block, "none")
            bench.verify(t, "RSA-X-509", key_id, block)


def pss_signatures(bench, report):
    for kind, key_id, size in RSA_KEYS:
        for name, _, hash_name, length, lack in HASHES if kind == "rsa:2048" else HASHES[2:3]:
            with report.test(f"sign {name}-RSA-PKCS-PSS {kind}", lack) as t:
                bench.sign(t, f"{name}-RSA-PKCS-PSS", key_id, bench.message, size)
                options = pairs("-sigopt", "rsa_padding_mode:pss", f"rsa_pss_saltlen:{length}")
                bench.openssl(t, "dgst", key_id, bench.message, "-" + hash_name, *options)
                bench.verify(t, f"{name}-RSA-PKCS-PSS", key_id, bench.message)
    key_id, size = "21", 256
    for name, mgf, hash_name, _, _ in SHA2:
        for salt, openssl_salt in PSS_SALTS:
            with report.test(f"sign RSA-PKCS-PSS {name}, salt length {openssl_salt}") as t:
                pss_on_digest(bench, t, key_id, size, (name, hash_name), (mgf, hash_name), (salt, openssl_salt))
    for (name, _, hash_name, _, _), (_, mgf, mgf_hash, _, _) in ((SHA2[2], SHA2[0]), (SHA2[4], SHA2[2])):
        # SoftHSM checks that MGF and hash agree and answers CKR_ARGUMENTS_BAD; the specification lets them differ.
        with report.test(f"sign RSA-PKCS-PSS {name} with {mgf}", "hash and MGF must be the same") as t:
            pss_on_digest(bench, t, key_id, size, (name, hash_name), (mgf, mgf_hash), ("32", "32"))


def pss_on_digest(bench, t, key_id, size, hash_names, mgf_names, salts):
    tool_name = hash_names[0].replace("SHA1", "SHA-1")
    digest = bench.digest(t, hash_names[1])
    options = ["--hash-algorithm", tool_name, "--mgf", mgf_names[0], "--salt-len", salts[0]]
    bench.sign(t, "RSA-PKCS-PSS", key_id, digest, size, *options)
    checked = ("rsa_padding_mode:pss", f"digest:{hash_names[1]}", f"rsa_mgf1_md:{mgf_names[1]}", f"rsa_pss_saltlen:{salts[1]}")
    bench.openssl(t, "pkeyutl", key_id, digest, *pairs("-pkeyopt", *checked))
    if salts[0] == "-2":  # to the tool, -2 means another thing when verifying
        options[-1] = str(size - os.path.getsize(digest) - 2)
    bench.verify(t, "RSA-PKCS-PSS", key_id, digest, *options)


def ec_signatures(bench, report):
    for kind, key_id, size in EC_KEYS:
        for name, _, hash_name, _, lack in HASHES if kind == "EC:prime256v1" else SHA2:
            with report.test(f"sign ECDSA-{name} {kind}", lack or "no ECDSA with a hash") as t:
                raw = bench.sign(t, f"ECDSA-{name}", key_id, bench.message, size)
                signature = bench.file("signature-der", ecdsa_der(raw))
                bench.openssl(t, "dgst", key_id, bench.message, "-" + hash_name, signature=signature)
                bench.verify(t, f"ECDSA-{name}", key_id, bench.message)
        with report.test(f"sign ECDSA {kind}, digests of 20 to 64 bytes") as t:
            for hash_name in ("sha1", "sha256", "sha512"):
                digest = bench.digest(t, hash_name)
                signature = bench.file("signature-der", ecdsa_der(bench.sign(t, "ECDSA", key_id, digest, size)))
                bench.openssl(t, "pkeyutl", key_id, digest, signature=signature)
                bench.verify(t, "ECDSA", key_id, digest)
    with report.test("sign ECDSA in OpenSSL's format") as t:
        digest = bench.digest(t, "sha256")
        t.run(bench.token.user("--sign", "-m", "ECDSA", "--id", "31", "-i", digest, "-o", bench.signature, "-f", "openssl"))
        bench.openssl(t, "pkeyutl", "31", digest)
    # From 1025 bytes on, the tool signs by C_SignUpdate and C_SignFinal.
    for size, lack in ((1, None), (1000, None), (2000, "no C_SignUpdate for EdDSA")):
        with report.test(f"sign EDDSA EC:edwards25519, {size} bytes", lack) as t:
            message = bench.file("short", os.urandom(size))
            bench.sign(t, "EDDSA", ED_KEY[1], message, ED_KEY[2])
            bench.openssl(t, "pkeyutl", ED_KEY[1], message, "-rawin")
            bench.verify(t, "EDDSA", ED_KEY[1], message)


def foreign_signatures(bench, report):
    """Signatures that OpenSSL made, with its own keys, verify on the token by C_Verify with a written public key."""
    token = bench.token
    kinds = (
        ("51", "RSA", ("rsa_keygen_bits:2048",)), ("52", "EC", ("ec_paramgen_curve:prime256v1",)),
        ("53", "EC", ("ec_paramgen_curve:secp384r1",)), ("54", "EC", ("ec_paramgen_curve:secp521r1",)),
        ("55", "EC", ("ec_paramgen_curve:secp256k1",)),
    )
    for key_id, algorithm, options in kinds:
        with report.test(f"verify what OpenSSL signed: {algorithm} {options[0]}") as t:
            private, public = token.path(f"own-{key_id}.pem"), token.path(f"own-{key_id}.der")
            t.run(["openssl", "genpkey", "-algorithm", algorithm, *pairs("-pkeyopt", *options), "-out", private])
            t.run(["openssl", "pkey", "-in", private, "-pubout", "-outform", "DER", "-out", public])
            t.run(token.user("--write-object", public, "--type", "pubkey", "--id", key_id, "--label", "own"))
            if algorithm == "EC":
                digest = bench.digest(t, "sha256")
                t.run(["openssl", "pkeyutl", "-sign", "-inkey", private, "-in", digest, "-out", bench.signature])
                verify_der(bench, t, key_id, digest)
                continue
            sign = ["openssl", "dgst", "-sha256", "-sign", private, "-out", bench.signature]
            t.run([*sign, bench.message])
            bench.verify(t, "SHA256-RSA-PKCS", key_id, bench.message)
            t.run([*sign, *pairs("-sigopt", "rsa_padding_mode:pss", "rsa_pss_saltlen:32"), bench.message])
            bench.verify(t, "SHA256-RSA-PKCS-PSS", key_id, bench.message)


def verify_der(bench, t, key_id, digest):
    words = ("--verify", "-m", "ECDSA", "--id", key_id, "-f", "openssl", "--signature-file", bench.signature, "-i")
    t.run(bench.token.user(*words, digest), contains="Signature is valid")
    t.run(bench.token.user(*words, bench.digest(t, "sha384")), code=None, contains="Invalid signature|SIGNATURE_INVALID")


def decryption(bench, report):
    # Hash, MGF hash; SoftHSM 2.6.1 knows OAEP with SHA-1 only.
    oaep = (("SHA1", "SHA1", None), ("SHA224", "SHA224", "SHA-1 only"), ("SHA256", "SHA256", "SHA-1 only"),
            ("SHA384", "SHA384", "SHA-1 only"), ("SHA512", "SHA512", "SHA-1 only"), ("SHA256", "SHA1", "SHA-1 only"))
    secret = bench.file("secret", b"a secret of 32 bytes, no more... "[:32])
    for kind, key_id, size in RSA_KEYS:
        with report.test(f"decrypt RSA-PKCS {kind}") as t:
            decrypts(bench, t, key_id, secret, ("rsa_padding_mode:pkcs1",), "RSA-PKCS")
        with report.test(f"decrypt RSA-X-509 {kind}") as t:
            block = bench.file("block", b"\x00" + os.urandom(size - 1))
            decrypts(bench, t, key_id, block, ("rsa_padding_mode:none",), "RSA-X-509")
        for name, mgf, lack in oaep:
            with report.test(f"decrypt RSA-PKCS-OAEP {name} MGF1-{mgf} {kind}", lack) as t:
                padding = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{name.lower()}", f"rsa_mgf1_md:{mgf.lower()}")
                options = ("--hash-algorithm", name.replace("SHA1", "SHA-1"), "--mgf", f"MGF1-{mgf}")
                decrypts(bench, t, key_id, secret, padding, "RSA-PKCS-OAEP", *options)
    with report.test("decrypt RSA-PKCS-OAEP refuses a changed ciphertext") as t:
        encrypted = bench.token.path("encrypted")
        encrypt(bench, t, "21", secret, ("rsa_padding_mode:oaep",), encrypted)
        with open(encrypted, "r+b") as file:
            file.seek(100)
            octet = file.read(1)[0]
            file.seek(100)
            file.write(bytes([octet ^ 1]))
        words = ("--decrypt", "-m", "RSA-PKCS-OAEP", "--id", "21", "-i", encrypted, "--hash-algorithm", "SHA-1")
        t.run(bench.token.user(*words), code="bad", contains="C_Decrypt(Update|Final)? failed: rv = CKR_")


def encrypt(bench, t, key_id, plain, padding, target):
    words = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", bench.public[key_id], "-in", plain, "-out", target]
    t.run([*words, *pairs("-pkeyopt", *padding)])


def decrypts(bench, t, key_id, plain, padding, mechanism, *options):
    encrypted, result = bench.token.path("encrypted"), bench.token.path("decrypted")
    encrypt(bench, t, key_id, plain, padding, encrypted)
    t.run(bench.token.user("--decrypt", "-m", mechanism, "--id", key_id, "-i", encrypted, "-o", result, *options))
    with open(result, "rb") as got, open(plain, "rb") as wanted:
        if got.read() != wanted.read():
            raise Failure("decrypted to something else")


def policy(bench, report):
    token = bench.token
    with report.test("allowed-mechanisms of a key are kept") as t:
        token.generate(t, "rsa:2048", "61", "limited", "--allowed-mechanisms", "SHA256-RSA-PKCS,RSA-PKCS-PSS")
        bench.sign(t, "SHA256-RSA-PKCS", "61", bench.message, 256)
        words = ("--sign", "-m", "SHA512-RSA-PKCS", "--id", "61", "-i", bench.message, "-o", bench.signature)
        t.run(token.user(*words), code="bad", contains="C_SignInit failed: rv = CKR_MECHANISM_INVALID")
    with report.test("an RSA key does not do ECDSA", "C_SignInit accepts it, C_Sign fails") as t:
        words = ("--sign", "-m", "ECDSA", "--id", "21", "-i", bench.digest(t, "sha256"), "-o", bench.signature)
        t.run(token.user(*words), code="bad", contains="C_SignInit failed: rv = CKR_KEY_TYPE_INCONSISTENT")
    with report.test("always-auth: each signature asks for the PIN") as t:
        token.generate(t, "rsa:2048", "62", "careful", "--always-auth")
        for _ in range(2):
            bench.sign(t, "SHA256-RSA-PKCS", "62", bench.message, 256)
