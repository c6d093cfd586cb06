"""python-pkcs11: the tests of its source distribution, unmodified, those it keeps for SoftHSM, and a walk of ours."""

import os

from harness import Differs, Skip
from python_suite import own_tests, walk
from tokens import ready_token

SMALL_RSA = Differs("it generates RSA keys of 512 to 1024 bits; AWS KMS makes 2048 and more", "KeySizeRange")
NO_CURVE = Differs("the curve is not among the module's: CKR_CURVE_NOT_SUPPORTED", "Unmapped error code 0x140")
NO_GROUP = Differs("its prime of 2236 bits is none of RFC 7919 or RFC 3526", "AttributeValueInvalid")
TWO_SLOTS = Differs("it wants SoftHSM's spare slot", "1 != 2")

RSA = (
    "encrypt_oaep", "encrypt_too_much_data", "key_length", "key_wrap", "sign_default", "sign_pkcs_v15", "sign_pss",
    "sign_pss_undersized_buffer", "sign_stream", "sign_stream_interrupt_releases_operation", "sign_stream_undersized_buffer",
    "sign_stream_with_empty_blocks", "sign_stream_with_reauthentication", "sign_with_reauthentication",
    "verify_stream_interrupt_releases_operation",
)
# Tests that the module must fail, and why.
DIFFERS = {
    **{f"tests.test_rsa.RSATests.test_{name}": SMALL_RSA for name in RSA},
    "tests.test_public_key_external.ExternalPublicKeyTests.test_rsa": SMALL_RSA,
    "tests.test_public_key_external.ExternalPublicKeyTests.test_terrible_hybrid_file_encryption_app": SMALL_RSA,
    "tests.test_sessions.SessionTests.test_generate_keypair": SMALL_RSA,
    "tests.test_x509.X509Tests.test_self_sign_certificate": SMALL_RSA,
    "tests.test_x509.X509Tests.test_sign_csr": SMALL_RSA,
    "tests.test_x509.X509Tests.test_verify_certificate_rsa": Differs("its RSA key has 512 bits", "AttributeValueInvalid"),
    "tests.test_dh.DHTests.test_derive_key": NO_GROUP,
    "tests.test_ecc.ECCTests.test_derive_key": NO_CURVE,
    "tests.test_sessions.SessionTests.test_seed_random": Differs("the random generator takes no seed", "RandomSeedNotSupported"),
}
# What the package runs only on a library called libsofthsm2.so; the module passes all but the ones with a reason.
SOFTHSM_ONLY = {
    "tests.test_ecc.ECCTests.test_import_key_params": NO_CURVE,
    "tests.test_sessions.SessionTests.test_copy_object": None,
    "tests.test_sessions.SessionTests.test_init_pin": None,
    "tests.test_sessions.SessionTests.test_open_session_and_login_so": None,
    "tests.test_sessions.SessionTests.test_set_pin": None,
    "tests.test_slots_and_tokens.SlotsAndTokensTests.test_get_slots": TWO_SLOTS,
    "tests.test_slots_and_tokens.SlotsAndTokensTests.test_get_token": None,
    "tests.test_slots_and_tokens.SlotsAndTokensTests.test_get_tokens": TWO_SLOTS,
}


def run(suite, report):
    if suite.profile == "softhsm":
        report.begin(suite.name, {}, suite.parent)
        with report.test("all"):
            raise Skip("the package tests SoftHSM itself")
        return
    token = ready_token(suite, report)
    if token is None:
        return
    names = {"PKCS11_TOKEN_LABEL": token.label, "PKCS11_TOKEN_PIN": token.pin, "PKCS11_TOKEN_SO_PIN": token.so_pin}
    token.env |= names | {"PKCS11_MODULE": token.module}
    own_tests(report, token, "python-pkcs11", "tests", DIFFERS)
    named = token.path("libsofthsm2.so")
    os.symlink(token.module, named)
    token.env |= {"PKCS11_MODULE": named}
    own_tests(report, token, "python-pkcs11", "tests", SOFTHSM_ONLY, label="named as SoftHSM: ", only=SOFTHSM_ONLY)
    # Last, because the package's tests count the objects they find.
    walk(report, token, "python_pkcs11")
