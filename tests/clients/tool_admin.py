"""pkcs11-tool: what a token says about itself, PINs, key generation, listing, digests, random numbers."""

import hashlib
import re

from encoding import parse_objects, pick, public_der
from tokens import Token, ready_token

# The kinds of KMS; the head line of the public key that pkcs11-tool prints for each.
KINDS = (
    ("rsa:2048", "RSA 2048 bits"), ("rsa:3072", "RSA 3072 bits"), ("rsa:4096", "RSA 4096 bits"),
    ("EC:prime256v1", "EC_POINT 256 bits"), ("EC:secp384r1", "EC_POINT 384 bits"),
    ("EC:secp521r1", "EC_POINT 52[18] bits"), ("EC:secp256k1", "EC_POINT 256 bits"),
    ("EC:edwards25519", "EC_EDWARDS  EC_POINT 25[56] bits"),
)
# The tool's name of a digest, and hashlib's; then why SoftHSM cannot.
DIGESTS = (
    ("SHA-1", "sha1", None), ("SHA224", "sha224", None), ("SHA256", "sha256", None), ("SHA384", "sha384", None),
    ("SHA512", "sha512", None), ("SHA3-224", "sha3_224", "no SHA-3"), ("SHA3-256", "sha3_256", "no SHA-3"),
    ("SHA3-384", "sha3_384", "no SHA-3"), ("SHA3-512", "sha3_512", "no SHA-3"),
)
PRIVATE_ACCESS = {"sensitive", "always sensitive", "never extractable", "local"}


def run(suite, report):
    fresh(suite, report)
    token = ready_token(suite, report)
    if token is None:
        return
    information(token, report)
    generation(token, report)
    listing(token, report)
    refusals(token, report)
    digests_and_random(token, report)
    pins(token, report)


def fresh(suite, report):
    """The life of a token before and through its initialisation."""
    token = Token(suite.profile, suite.module, suite.parent)
    report.begin(suite.name, token.env, token.root)
    with report.test("an uninitialised token is listed") as t:
        t.run(token.tool("-L"), contains="uninitialized", quiet=True)
    with report.test("keys cannot be made on an uninitialised token") as t:
        t.run(token.tool("--login", "--pin", token.pin, "--keypairgen", "--key-type", "rsa:2048"), code="bad")
    with report.test("init-token refuses a wrong SO PIN of an initialised token") as t:
        token.initialise(t)
        wrong = ("--init-token", "--label", token.label, "--so-pin", "00000000")
        t.run(token.tool("--token-label", token.label, *wrong), code="bad", contains="CKR_PIN_INCORRECT")
    with report.test("init-token again destroys the objects and keeps working") as t:
        token.generate(t, "EC:prime256v1", "01", "old")
        again = ("--init-token", "--label", token.label, "--so-pin", token.so_pin)
        t.run(token.tool("--token-label", token.label, *again), contains="successfully initialized")
        so = ("--login", "--login-type", "so", "--so-pin", token.so_pin)
        t.run(token.tool("--token-label", token.label, *so, "--init-pin", "--pin", "another1"), contains="initialized")
        token.pin = "another1"
        t.same("objects", t.run(token.user("-O")).out.strip(), "")
        token.generate(t, "EC:prime256v1", "01", "new")


def information(token, report):
    with report.test("show-info") as t:
        t.run(token.tool("--show-info"), contains=(r"^Cryptoki version [23]\.\d+$", r"^Library .+\(ver \d+\.\d+\)$"), quiet=True)
    with report.test("list-slots and list-token-slots") as t:
        flags = "token flags +: login required, rng, token initialized, PIN initialized"
        for option in ("-L", "-T"):
            text = t.run(token.tool(option), contains=(flags, r"serial num +: \S+", rf"token label +: {token.label}")).out
            t.true("one token by this label", len(re.findall(rf"token label +: {token.label}\b", text)) == 1)
    with report.test("list-interfaces", "no PKCS#11 3.0") as t:
        t.run(token.tool("--list-interfaces"), contains=r"'PKCS 11'\n  version: 3\.2", quiet=True)
    with report.test("list-mechanisms: flags and sizes") as t:
        check_mechanisms(t, t.run(token.tool("--token-label", token.label, "-M"), quiet=True).out)


def check_mechanisms(t, text):
    """Every row names at least one operation; sizes rise; key mechanisms give sizes in the range of their type."""
    rows = [line.strip().split(", ") for line in text.splitlines() if line.startswith("  ")]
    t.true("mechanisms are listed", len(rows) > 10)
    verbs = {"encrypt", "decrypt", "sign", "verify", "wrap", "unwrap", "digest", "derive", "generate", "generate_key_pair"}
    names = set()
    for name, *traits in rows:
        t.true(f"{name} is listed twice", name not in names)
        names.add(name)
        # Operations that the tool has no word for (key encapsulation) are among its "other flags".
        t.true(f"{name} has no operation", verbs & set(traits) or any(one.startswith("other flags=") for one in traits))
        t.true(f"{name} claims hardware", "hw" not in traits)
        size = next((trait for trait in traits if trait.startswith("keySize=")), None)
        if "-KEY-PAIR-GEN" in name or re.search(r"RSA-PKCS|RSA-X-509|ECDSA|EDDSA", name):
            low, high = map(int, re.fullmatch(r"keySize=\{(\d+),(\d+)\}", size or "").groups())
            t.true(f"{name}: sizes {low} to {high}", 0 < low <= high <= 16384)
    needed = {"RSA-PKCS-KEY-PAIR-GEN", "ECDSA-KEY-PAIR-GEN", "RSA-PKCS", "RSA-X-509", "RSA-PKCS-OAEP", "RSA-PKCS-PSS",
              "SHA256-RSA-PKCS", "SHA256-RSA-PKCS-PSS", "ECDSA", "EDDSA", "SHA256"}
    t.same("missing mechanisms", needed - names, set())


def generation(token, report):
    for number, (kind, head) in enumerate(KINDS, 1):
        key_id = f"{number:02x}"
        with report.test(f"keypairgen {kind}") as t:
            objects = parse_objects(token.generate(t, kind, key_id, f"key {number}"))
            t.same("objects", len(objects), 2)
            private, public = pick(objects, "Private Key", key_id), pick(objects, "Public Key", key_id)
            t.true(f"public key: {public['head']}", re.search(head, public["head"]))
            t.same("label", private["label"], f"key {number}")
            t.same("access", set(private["access"].split(", ")), PRIVATE_ACCESS)
            t.true("may sign", "sign" in private["usage"].split(", "))
            t.run(["openssl", "pkey", "-pubin", "-inform", "DER", "-noout"], stdin=public_der(token, t, key_id))
    with report.test("keypairgen without ID and label") as t:
        t.run(token.user("--keypairgen", "--key-type", "EC:prime256v1"), contains="Key pair generated")

def listing(token, report):
    with report.test("list-objects without login shows public keys only") as t:
        heads = [each["head"] for each in parse_objects(t.run(token.tool("--token-label", token.label, "-O")).out)]
        t.same("public keys", len(heads), len(KINDS) + 1)
        t.true("only public keys", all(head.startswith("Public Key") for head in heads))
    with report.test("list-objects with login shows both halves") as t:
        heads = [each["head"] for each in parse_objects(t.run(token.user("-O"), lacks="error").out)]
        for half in ("Public Key", "Private Key"):
            t.same(half, sum(head.startswith(half) for head in heads), len(KINDS) + 1)
    with report.test("list-objects by type") as t:
        for kind, count in (("privkey", len(KINDS) + 1), ("pubkey", len(KINDS) + 1), ("cert", 0), ("data", 0), ("secrkey", 0)):
            found = parse_objects(t.run(token.user("-O", "--type", kind)).out)
            t.same(kind, len(found), count)


def refusals(token, report):
    with report.test("keypairgen rsa:1024, which KMS has not, leaves nothing behind", "makes it") as t:
        before = len(parse_objects(t.run(token.user("-O")).out))
        t.run(token.user("--keypairgen", "--key-type", "rsa:1024", "--id", "66"), code="bad", contains="CKR_")
        t.same("objects", len(parse_objects(t.run(token.user("-O")).out)), before)


def digests_and_random(token, report):
    data = token.path("data")
    content = bytes(range(256)) * 1000  # more than one C_DigestUpdate of the tool
    with open(data, "wb") as file:
        file.write(content)
    for name, of_hashlib, lack in DIGESTS:
        with report.test(f"hash {name}", lack) as t:
            target = token.path("digest")
            t.run(token.tool("--token-label", token.label, "--hash", "-m", name, "-i", data, "-o", target))
            with open(target, "rb") as file:
                t.same("digest", file.read(), hashlib.new(of_hashlib, content).digest())
    with report.test("generate-random") as t:
        words = token.tool("--token-label", token.label, "--generate-random")
        first, second = (t.run([*words, "32"]).raw for _ in range(2))
        t.true("32 bytes each, not the same", len(first) == len(second) == 32 and first != second)
        t.same("large request", len(t.run([*words, "100000"]).raw), 100000)


def pins(token, report):
    public = token.tool("--token-label", token.label)
    so = [*public, "--login", "--login-type", "so", "--so-pin"]
    with report.test("a wrong user PIN is refused, and seen in the token flags") as t:
        t.run([*public, "--login", "--pin", "999999", "-O"], code="bad", contains="CKR_PIN_INCORRECT")
        t.run(token.tool("-T"), contains="user PIN count low")
        t.run(token.user("-O", "--type", "privkey"), contains="Private Key Object")
        t.run(token.tool("-T"), lacks="user PIN count low")
    with report.test("change-pin (user): keys stay usable, the old PIN does not") as t:
        old, token.pin = token.pin, "new pin äöü 32 characters long"
        t.run([*public, "--login", "--pin", old, "--change-pin", "--new-pin", token.pin], contains="successfully changed")
        t.run([*public, "--login", "--pin", old, "-O"], code="bad", contains="CKR_PIN_INCORRECT")
        t.run(token.user("--sign", "-m", "SHA256-RSA-PKCS", "--id", "01", "-i", token.path("data"), "-o", token.path("sig")))
    with report.test("change-pin refuses a wrong old PIN and a PIN that is too short") as t:
        t.run([*public, "--login", "--pin", "000000", "--change-pin", "--new-pin", "777777"], code="bad", contains="PIN_INCORRECT")
        t.run(token.user("--change-pin", "--new-pin", "1"), code="bad", contains="CKR_PIN_LEN_RANGE")
    with report.test("change-pin (SO), then init-pin: keys stay usable") as t:
        t.run([*so, token.so_pin, "--change-pin", "--new-pin", "87654321"], contains="successfully changed")
        t.run([*so, token.so_pin, "--init-pin", "--pin", "222222"], code="bad", contains="CKR_PIN_INCORRECT")
        token.so_pin, token.pin = "87654321", "222222"
        t.run([*so, token.so_pin, "--init-pin", "--pin", token.pin], contains="successfully initialized")
        t.run(token.user("--sign", "-m", "SHA256-RSA-PKCS", "--id", "01", "-i", token.path("data"), "-o", token.path("sig")))
