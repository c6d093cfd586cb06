"""pkcs11-tool's own self tests. Their exit codes lie, so the text decides, beside that of the same run on SoftHSM."""

import re

from harness import Failure, Skip, complaints
from tokens import Token, ready_token, softhsm_module

KEYS = (("rsa:2048", "01"), ("rsa:3072", "02"), ("EC:prime256v1", "03"), ("EC:edwards25519", "04"))
MOZ = ("-z", "--session-rw", "--key-type", "rsa:2048", "--id", "77", "--label", "moz")
TEST_EC = ("--test-ec", "--session-rw", "--id", "90", "--label", "x", "--key-type")
# What a thread of --test-threads does: IN C_Initialize(NULL), IL with locking, GI C_GetInfo, SL slots, Tn C_GetTokenInfo.
RACES = (
    ("four times with locking", ("ILGISLT0",) * 4, ("--use-locking",)),
    ("ten times with locking", ("ILGISLT0",) * 10, ("--use-locking",)),
    ("with and without locking", ("INGISLT0", "ILGISLT0", "INGI", "ILSL"), ("--use-locking",)),
    ("readers of a library that is initialised by another thread", ("GISLT0",) * 3 + ("ILSLT0",), ()),
)


def run(suite, report):
    token = ready_token(suite, report)
    if token is None:
        return
    with report.test("generate the keys") as t:
        generate(token, t)
    reference = Reference(suite)
    self_test(token, reference, report)
    mozilla(token, reference, report)
    elliptic_curves(token, reference, report)
    forking(token, reference, report)
    threads(token, report)


def generate(token, t):
    for kind, key_id in KEYS:
        token.generate(t, kind, key_id, f"key {key_id}")


class Reference:
    """A SoftHSM token with the same keys. Where SoftHSM is missing nothing may be complained about at all."""

    def __init__(self, suite):
        self.suite, self.token = suite, None

    def complaints(self, t, words):
        if softhsm_module() is None:
            return set()
        if self.token is None:
            token = Token("softhsm", softhsm_module(), self.suite.parent)
            t.note("# the reference")
            with_env(t, token, token.initialise)
            with_env(t, token, lambda test: generate(token, test))
            self.token = token
        result = with_env(t, self.token, lambda test: test.run(self.token.user(*words), code=None))
        return {normal(line) for line in complaints(result.text)}


def with_env(t, token, action):
    """Runs steps of one test in another token's environment."""
    own, t.env = t.env, token.env
    try:
        return action(t)
    finally:
        t.env = own


def normal(line):
    """A complaint without what differs from run to run: numbers, addresses."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", line)


def judged(token, reference, t, words, contains, **options):
    """The self test says what it must, and complains of nothing that SoftHSM does not get to hear as well."""
    result = t.run(token.user(*words), contains=contains, **options)
    known = reference.complaints(t, words)
    fresh = [line for line in complaints(result.text) if normal(line) not in known]
    if fresh:
        raise Failure("a complaint that SoftHSM does not get: " + " | ".join(fresh))


def self_test(token, reference, report):
    said = (r"^C_SeedRandom\(\) and C_GenerateRandom\(\):\n(  seeding \(C_SeedRandom\) not supported\n)?  seems to be OK", "all 4 digest functions seem to work",
            "SHA-1: OK", "SHA256: OK")
    with report.test("--test: random numbers and digests") as t:
        judged(token, reference, t, ("--test",), said, code=None)
    with report.test("--test --allow-sw: signatures, verification, decryption", "OAEP with SHA-1 only") as t:
        rsa = [rf"^    {name}: OK$" for name in ("RSA-X-509", "RSA-PKCS", "SHA1-RSA-PKCS", "SHA256-RSA-PKCS")]
        oaep = r"^    RSA-PKCS-OAEP: (mgf not set, defaulting to MGF1-SHA256\n)?OK$"
        judged(token, reference, t, ("--test", "--allow-sw"), (*said, "all 4 signature functions seem to work", *rsa, oaep,
                                                               "^No errors$"))


def mozilla(token, reference, report):
    with report.test("--moz-cert: key pair, request and certificate as a browser makes them") as t:
        certificate = token.path("moz.der")
        t.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=moz", "-keyout", token.path("moz.key"),
               "-outform", "DER", "-out", certificate])
        words = (MOZ[0], certificate, *MOZ[1:])
        judged(token, reference, t, words, "==> OK, successful! Should work with Mozilla")


def elliptic_curves(token, reference, report):
    for curve in ("prime256v1", "secp384r1", "secp521r1"):
        with report.test(f"--test-ec {curve}", "no CKM_ECDSA_SHA1") as t:
            judged(token, reference, t, (*TEST_EC, "EC:" + curve), "==> OK")


def forking(token, reference, report):
    with report.test("--test-fork: C_Initialize in a child") as t:
        judged(token, reference, t, ("--test-fork",), "Calling C_Initialize in forked child process")
    with report.test("--test-fork with locking") as t:
        judged(token, reference, t, ("--use-locking", "--test-fork"), "Calling C_Initialize in forked child process")


def threads(token, report):
    for name, scripts, options in RACES:
        with report.test(f"--test-threads: {name}") as t:
            if token.on_softhsm:
                raise Skip("SoftHSM races in C_Initialize: this hangs, crashes or passes, as it happens")
            words = [word for script in scripts for word in ("--test-threads", script)]
            # The tool looks once whether all threads have ended, and then again after 30 s.
            text = t.run(token.tool("--token-label", token.label, *options, *words), seconds=75).text
            ended = re.findall(r"^test_threads thread:(\d+) state:-1, rv:(\w+)", text, re.MULTILINE)
            t.same("threads that ended", len({number for number, _ in ended}), len(scripts))
            # A reader may come before anybody initialised the library; that is what it must then be told.
            allowed = {"CKR_OK", "CKR_CRYPTOKI_ALREADY_INITIALIZED"} | ({"CKR_CRYPTOKI_NOT_INITIALIZED"} if not options else set())
            t.same("other results", {rv for _, rv in ended} - allowed, set())
            t.true("main thread", re.search(r"^Main C_Initialize.* rv:CKR_(OK|CRYPTOKI_ALREADY_INITIALIZED)$", text, re.MULTILINE))
