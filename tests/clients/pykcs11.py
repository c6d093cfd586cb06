"""PyKCS11: the tests of its source distribution, unmodified, and a walk through what they leave out."""

from harness import Differs, Skip
from python_suite import own_tests, walk
from tokens import ready_token

SMALL_RSA = Differs("it generates an RSA key of 1024 bits; AWS KMS makes 2048 and more", "CKR_KEY_SIZE_RANGE")
SAYS_SOFTHSM = Differs("it wants SoftHSM's name where the module says its own", "SoftHSM")

RSA = (
    "RSA_OAEP", "RSA_OAEPwithAAD", "RSA_PSS_SHA1", "RSA_PSS_SHA256", "encrypt_PKCS", "encrypt_X509", "pubKey", "sign_PKCS",
    "sign_PKCS_SHA256", "sign_X509", "sign_integer",
)
# Tests that the module must fail, and why; a plain text is the reason why a test cannot be run.
DIFFERS = {
    **{f"test_asymetric.TestUtil.test_{name}": SMALL_RSA for name in RSA},
    "test_LowLevel.TestUtil.test_LowLevel": SAYS_SOFTHSM,
    "test_info.TestUtil.test_getInfo": SAYS_SOFTHSM,
    "test_info.TestUtil.test_getSlotInfo": SAYS_SOFTHSM,
    "test_info.TestUtil.test_getTokenInfo": SAYS_SOFTHSM,
    "test_gc.TestUtil.test_gc": Differs("it logs out with nobody logged in", "CKR_USER_NOT_LOGGED_IN"),
    "test_init.TestUtil.test_initToken":
        "PyKCS11 does not pad the label to the 32 bytes that C_InitToken reads: what follows it is chance",
    "test_pin.TestUtil.test_null": Differs("a PIN of NULL is an empty one, which never logs in", "160 != 7"),
    "test_random.TestUtil.test_seedRandom": Differs("the random generator takes no seed", "CKR_RANDOM_SEED_NOT_SUPPORTED"),
    "test_symetric.TestUtil.test_multi_part_aead": Differs(
        "told that C_DecryptUpdate puts out nothing, PyKCS11 passes NULL once more, asking for the size: the data never arrives",
        "CKR_ENCRYPTED_DATA_LEN_RANGE",
    ),
}


def run(suite, report):
    if suite.profile == "softhsm":
        report.begin(suite.name, {}, suite.parent)
        with report.test("all"):
            raise Skip("the package tests SoftHSM itself")
        return
    # The tests have these PINs built in.
    token = ready_token(suite, report, pin="1234", so_pin="123456")
    if token is None:
        return
    token.env |= {"PYKCS11LIB": token.module}
    own_tests(report, token, "PyKCS11", "test", DIFFERS)
    walk(report, token, "pykcs11")
