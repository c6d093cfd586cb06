"""The Rust crate `cryptoki`: its own tests, unmodified, each in a process of its own."""

import packages
from harness import Differs, Skip
from tokens import Token

READ_ONLY = Differs(
    "the module answers CKR_ATTRIBUTE_READ_ONLY as section 4.1.1 says; the test wants CKR_ATTRIBUTE_TYPE_INVALID",
    r"assertion failed: matches!\(res,",
)

SENSITIVE = Differs(
    "its base key is sensitive, as every key whose template does not say otherwise, and the derived one is not to be",
    "conflicting attributes",
)
ALL_USAGES = Differs(
    "a usage that a template does not name is one that the key has, if its type allows it", r"left: Sign\(false\)"
)

IN_PARTS = Differs("it wants a digest to be refused that comes in several parts; the module takes it", r"result\.is_err\(\)")

# Tests that the module must fail, and why; one that passes is a failure, so that the list stays true.
DIFFERS = {
    "derive_key_concatenation_key_and_data": SENSITIVE,
    "derive_key_extract_from_key": SENSITIVE,
    "derive_key_xor_key_and_data": SENSITIVE,
    "kbkdf_additional_keys_counter_mode": ALL_USAGES,
    "kbkdf_additional_keys_feedback_mode": ALL_USAGES,
    "kbkdf_counter_mode": ALL_USAGES,
    "kbkdf_feedback_mode": ALL_USAGES,
    "generate_random_test": Differs("it seeds the random generator, which takes no seed", "Function::SeedRandom"),
    "get_slot_event": Differs(
        "it wants CKR_FUNCTION_NOT_SUPPORTED; the module has C_WaitForSlotEvent and answers CKR_NO_EVENT",
        r"unwrap_err\(\)` on an `Ok` value: None",
    ),
    "import_export": Differs(
        "the crate cannot read a CKA_ALLOWED_MECHANISMS that has mechanisms it does not know", "Error - Feature not supported"
    ),
    "unique_id": READ_ONLY,
    "validation": READ_ONLY,
    "ml_dsa_hash": IN_PARTS,
    "slh_dsa_hash": IN_PARTS,
}
# Tests that cannot be run, and why.
SKIPPED = {
    "wait_for_slot_event": "it wants CKR_FUNCTION_NOT_SUPPORTED of the blocking call, which blocks, as it should",
    "kbkdf_additional_keys_double_pipeline_mode": "ignored by the crate itself",
    "kbkdf_double_pipeline_mode": "ignored by the crate itself",
}


def run(suite, report):
    report.begin(suite.name, {}, suite.parent)
    programs = {}
    with report.test("build the crate's tests") as t:
        if suite.profile == "softhsm":
            raise Skip("the crate tests SoftHSM itself")
        programs |= packages.cryptoki_tests()
        t.true("there are test programs", {"basic", "wycheproof"} <= set(programs))
    # The tests initialise the token themselves, with a PIN of their own.
    token = Token(suite.profile, suite.module, suite.parent)
    token.env |= {"TEST_PKCS11_MODULE": token.module}
    report.begin(suite.name, token.env, token.root)
    for program, path in sorted(programs.items()):
        names = []
        with report.test(f"{program}: list of tests") as t:
            listed = t.run([path, "--list"]).out.splitlines()
            names += [line.removesuffix(": test") for line in listed if line.endswith(": test")]
            t.true("there are tests", names)
        for name in names:
            with report.test(f"{program}: {name}", differs=DIFFERS.get(name)) as t:
                if name in SKIPPED:
                    raise Skip(SKIPPED[name])
                t.run([path, "--exact", name], contains="test result: ok. 1 passed")
