//! The attribute rules of each object class, as data.
//!
//! One row per attribute: whether a template must, may or must not name it, what it is when no
//! template names it, how it may change later, and whether the seal binds it. The footnotes are those
//! of PKCS#11 3.2, section 4.1, table 13. The engine that reads these rows is in `engine.rs`.

mod otp;
mod rule;
mod storage;

pub use rule::{Bound, Change, Rule, Say, Unsaid};

use super::vendor::*;
use cryptoki_sys::*;
use otp::*;
use rule::Change::{Erase, Free, Given, Never as Fixed, Officer, OnceFalse, OnceTrue};
use rule::Say::{May, Must, Never};
use rule::Unsaid::{Absent, Computed, Empty, False, Number, True};
use rule::rule;
use storage::*;

/// Every key (section 4.7).
const KEY: &[Rule] = &[
    rule(CKA_KEY_TYPE, Must, May, Computed, Fixed).policy(),
    rule(CKA_ID, May, May, Empty, Free),
    rule(CKA_START_DATE, May, May, Empty, Free),
    rule(CKA_END_DATE, May, May, Empty, Free),
    rule(CKA_LOCAL, Never, Never, Computed, Fixed).policy(),
    rule(CKA_KEY_GEN_MECHANISM, Never, Never, Computed, Fixed).policy(),
    rule(CKA_ALLOWED_MECHANISMS, May, May, Absent, Fixed).policy(),
];

/// Every public key (section 4.8).
const PUBLIC: &[Rule] = &[
    rule(CKA_SUBJECT, May, May, Empty, Free),
    rule(CKA_TRUSTED, May, May, False, Officer),
    rule(CKA_WRAP_TEMPLATE, May, May, Empty, Fixed),
    rule(CKA_ENCAPSULATE_TEMPLATE, May, May, Empty, Fixed),
    rule(CKA_PUBLIC_KEY_INFO, May, Never, Computed, Fixed),
];

/// Every private key (section 4.9).
const PRIVATE: &[Rule] = &[
    rule(CKA_SUBJECT, May, May, Empty, Free),
    rule(CKA_SENSITIVE, May, May, True, OnceTrue).policy(),
    rule(CKA_EXTRACTABLE, May, May, False, OnceFalse).policy(),
    rule(CKA_ALWAYS_SENSITIVE, Never, Never, Computed, Fixed).policy(),
    rule(CKA_NEVER_EXTRACTABLE, Never, Never, Computed, Fixed).policy(),
    rule(CKA_WRAP_WITH_TRUSTED, May, May, False, OnceTrue).policy(),
    rule(CKA_UNWRAP_TEMPLATE, May, May, Empty, Fixed).policy(),
    rule(CKA_DERIVE_TEMPLATE, May, May, Empty, Fixed).policy(),
    rule(CKA_DECAPSULATE_TEMPLATE, May, May, Empty, Fixed).policy(),
    rule(CKA_ALWAYS_AUTHENTICATE, May, May, False, Fixed).policy(),
    rule(CKA_PUBLIC_KEY_INFO, May, Never, Computed, Given),
];

/// How a private or secret key is sealed, and keys that come sealed by another client of KMS.
const SEALED: &[Rule] = &[
    Rule::of_seal(CKA_DATAKEY_CIPHERTEXT_BLOB, May),
    Rule::of_seal(CKA_DATAKEY_ENCRYPTION_CONTEXT, May),
    Rule::of_seal(CKA_DATAKEY_KMS_KEY_ARN, Never),
    Rule::of_seal(CKA_DATAKEY_SPEC, Never),
];

/// What key types are for, by default.
#[derive(Clone, Copy)]
struct Good {
    /// Signatures.
    signs: bool,
    /// Encryption, wrapping, and signatures that give their data back.
    encrypts: bool,
    /// Key agreement.
    derives: bool,
    /// Key encapsulation.
    encapsulates: bool,
}

const NOTHING: Good = Good { signs: false, encrypts: false, derives: false, encapsulates: false };
const RSA: Good = Good { signs: true, encrypts: true, ..NOTHING };
const EC: Good = Good { signs: true, derives: true, ..NOTHING };
const EDWARDS: Good = Good { signs: true, ..NOTHING };
/// And finite-field Diffie-Hellman.
const MONTGOMERY: Good = Good { derives: true, ..NOTHING };
const ML_KEM: Good = Good { encapsulates: true, ..NOTHING };
/// And SLH-DSA.
const ML_DSA: Good = Good { signs: true, ..NOTHING };

/// The usages of a public key, each true for the key types that allow it.
const fn public_usages(good: Good) -> [Rule; 6] {
    [
        rule(CKA_ENCRYPT, May, May, on(good.encrypts), Free),
        rule(CKA_VERIFY, May, May, on(good.signs), Free),
        rule(CKA_VERIFY_RECOVER, May, May, on(good.encrypts), Free),
        rule(CKA_WRAP, May, May, on(good.encrypts), Free),
        rule(CKA_DERIVE, May, May, on(good.derives), Free),
        rule(CKA_ENCAPSULATE, May, May, on(good.encapsulates), Free),
    ]
}

/// The usages of a private key, likewise; the encryption context names those that it has.
const fn private_usages(good: Good) -> [Rule; 6] {
    [
        rule(CKA_DECRYPT, May, May, on(good.encrypts), Free).usage("decrypt"),
        rule(CKA_SIGN, May, May, on(good.signs), Free).usage("sign"),
        rule(CKA_SIGN_RECOVER, May, May, on(good.encrypts), Free).usage("sign-recover"),
        rule(CKA_UNWRAP, May, May, on(good.encrypts), Free).usage("unwrap"),
        rule(CKA_DERIVE, May, May, on(good.derives), Free).usage("derive"),
        rule(CKA_DECAPSULATE, May, May, on(good.encapsulates), Free).usage("decapsulate"),
    ]
}

const fn on(yes: bool) -> Unsaid {
    if yes { True } else { False }
}

static RSA_PUBLIC_USAGES: [Rule; 6] = public_usages(RSA);
static EC_PUBLIC_USAGES: [Rule; 6] = public_usages(EC);
static EDWARDS_PUBLIC_USAGES: [Rule; 6] = public_usages(EDWARDS);
static MONTGOMERY_PUBLIC_USAGES: [Rule; 6] = public_usages(MONTGOMERY);
static ML_KEM_PUBLIC_USAGES: [Rule; 6] = public_usages(ML_KEM);
static ML_DSA_PUBLIC_USAGES: [Rule; 6] = public_usages(ML_DSA);
static RSA_PRIVATE_USAGES: [Rule; 6] = private_usages(RSA);
static EC_PRIVATE_USAGES: [Rule; 6] = private_usages(EC);
static EDWARDS_PRIVATE_USAGES: [Rule; 6] = private_usages(EDWARDS);
static MONTGOMERY_PRIVATE_USAGES: [Rule; 6] = private_usages(MONTGOMERY);
static ML_KEM_PRIVATE_USAGES: [Rule; 6] = private_usages(ML_KEM);
static ML_DSA_PRIVATE_USAGES: [Rule; 6] = private_usages(ML_DSA);

/// RSA public keys (section 6.1.2).
const RSA_PUBLIC: &[Rule] = &[
    rule(CKA_MODULUS, Must, Never, Computed, Fixed),
    rule(CKA_MODULUS_BITS, Never, Must, Computed, Fixed),
    rule(CKA_PUBLIC_EXPONENT, Must, May, Computed, Fixed),
];

/// RSA private keys (section 6.1.3).
const RSA_PRIVATE: &[Rule] = &[
    rule(CKA_MODULUS, Must, Never, Computed, Fixed).arriving(Never),
    rule(CKA_PUBLIC_EXPONENT, Must, Never, Computed, Fixed).arriving(Never),
    Rule::secret(CKA_PRIVATE_EXPONENT, Must),
    Rule::secret(CKA_PRIME_1, May),
    Rule::secret(CKA_PRIME_2, May),
    Rule::secret(CKA_EXPONENT_1, May),
    Rule::secret(CKA_EXPONENT_2, May),
    Rule::secret(CKA_COEFFICIENT, May),
];

/// Elliptic-curve public keys of every kind (sections 6.3.3 and 6.3.5).
const EC_PUBLIC: &[Rule] =
    &[rule(CKA_EC_PARAMS, Must, Must, Computed, Fixed), rule(CKA_EC_POINT, Must, Never, Computed, Fixed)];

/// Elliptic-curve private keys of every kind (sections 6.3.4 and 6.3.6).
const EC_PRIVATE: &[Rule] =
    &[rule(CKA_EC_PARAMS, Must, May, Computed, Fixed).arriving(Never), Rule::secret(CKA_VALUE, Must)];

/// Public keys of ML-DSA (section 6.67.2), ML-KEM (section 6.68.2) and SLH-DSA (section 6.69.2).
const LATTICE_PUBLIC: &[Rule] =
    &[rule(CKA_PARAMETER_SET, Must, Must, Computed, Fixed), rule(CKA_VALUE, Must, Never, Computed, Fixed)];

/// Private keys of ML-DSA (section 6.67.3) and ML-KEM (section 6.68.3): by seed, by value, or by both.
const LATTICE_PRIVATE: &[Rule] = &[
    rule(CKA_PARAMETER_SET, Must, May, Computed, Fixed).arriving(Never),
    Rule::secret(CKA_SEED, May),
    Rule::secret(CKA_VALUE, May),
];

/// Private keys of SLH-DSA (section 6.69.3).
const SLH_DSA_PRIVATE: &[Rule] =
    &[rule(CKA_PARAMETER_SET, Must, May, Computed, Fixed).arriving(Never), Rule::secret(CKA_VALUE, Must)];

/// Public keys of finite-field Diffie-Hellman (section 6.4.1).
const DH_PUBLIC: &[Rule] = &[
    rule(CKA_PRIME, Must, Must, Computed, Fixed),
    rule(CKA_BASE, Must, Must, Computed, Fixed),
    rule(CKA_VALUE, Must, Never, Computed, Fixed),
];

/// Private keys of finite-field Diffie-Hellman (section 6.4.2).
const DH_PRIVATE: &[Rule] = &[
    rule(CKA_PRIME, Must, May, Computed, Fixed).arriving(Never),
    rule(CKA_BASE, Must, May, Computed, Fixed).arriving(Never),
    Rule::secret(CKA_VALUE, Must),
    rule(CKA_VALUE_BITS, Never, May, Absent, Fixed),
];

/// Every secret key (section 4.10).
const SECRET: &[Rule] = &[
    rule(CKA_SENSITIVE, May, May, True, OnceTrue).policy(),
    rule(CKA_EXTRACTABLE, May, May, False, OnceFalse).policy(),
    rule(CKA_ALWAYS_SENSITIVE, Never, Never, Computed, Fixed).policy(),
    rule(CKA_NEVER_EXTRACTABLE, Never, Never, Computed, Fixed).policy(),
    rule(CKA_WRAP_WITH_TRUSTED, May, May, False, OnceTrue).policy(),
    rule(CKA_TRUSTED, May, May, False, Officer).policy(),
    rule(CKA_WRAP_TEMPLATE, May, May, Empty, Fixed).policy(),
    rule(CKA_UNWRAP_TEMPLATE, May, May, Empty, Fixed).policy(),
    rule(CKA_DERIVE_TEMPLATE, May, May, Empty, Fixed).policy(),
    rule(CKA_CHECK_VALUE, May, May, Absent, Erase),
    Rule::secret(CKA_VALUE, Must),
];

/// Secret keys of several lengths.
const ANY_LEN: &[Rule] = &[rule(CKA_VALUE_LEN, Never, Must, Computed, Fixed).arriving(May)];

/// ChaCha20 keys (section 6.58.2), which have one length: no template need say it.
const CHACHA20_LEN: &[Rule] = &[rule(CKA_VALUE_LEN, Never, May, Number(32), Fixed).arriving(May)];

/// The usages of a secret key, each true for the key types that allow it.
const fn secret_usages(ciphers: bool, wraps: bool, macs: bool, derives: bool) -> [Rule; 7] {
    [
        rule(CKA_ENCRYPT, May, May, on(ciphers), Free).usage("encrypt"),
        // A key that wrapped sensitive keys must not decrypt them afterwards.
        rule(CKA_DECRYPT, May, May, on(ciphers), OnceFalse).usage("decrypt"),
        rule(CKA_SIGN, May, May, on(macs), Free).usage("sign"),
        rule(CKA_VERIFY, May, May, on(macs), Free).usage("verify"),
        rule(CKA_WRAP, May, May, on(wraps), Free).usage("wrap"),
        rule(CKA_UNWRAP, May, May, on(wraps), Free).usage("unwrap"),
        rule(CKA_DERIVE, May, May, on(derives), Free).usage("derive"),
    ]
}

static AES_USAGES: [Rule; 7] = secret_usages(true, true, true, true);
static CHACHA20_USAGES: [Rule; 7] = secret_usages(true, false, false, false);
static GENERIC_USAGES: [Rule; 7] = secret_usages(false, false, true, true);
static HMAC_USAGES: [Rule; 7] = secret_usages(false, false, true, false);
static HKDF_USAGES: [Rule; 7] = secret_usages(false, false, false, true);

const fn secret_class(kind: CK_KEY_TYPE, groups: &'static [&'static [Rule]]) -> Class {
    Class { class: CKO_SECRET_KEY, kind: Some(kind), groups }
}

const AES_SECRET: &[&[Rule]] = &[STORAGE, HIDDEN, KEY, SEALED, SECRET, ANY_LEN, &AES_USAGES];
const CHACHA20_SECRET: &[&[Rule]] = &[STORAGE, HIDDEN, KEY, SEALED, SECRET, CHACHA20_LEN, &CHACHA20_USAGES];
const GENERIC_SECRET: &[&[Rule]] = &[STORAGE, HIDDEN, KEY, SEALED, SECRET, ANY_LEN, &GENERIC_USAGES];
const HMAC_SECRET: &[&[Rule]] = &[STORAGE, HIDDEN, KEY, SEALED, SECRET, ANY_LEN, &HMAC_USAGES];
const HKDF_SECRET: &[&[Rule]] = &[STORAGE, HIDDEN, KEY, SEALED, SECRET, ANY_LEN, &HKDF_USAGES];

/// A class of objects, down to the kind of key or certificate.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// `CKA_CLASS`.
    pub class: CK_OBJECT_CLASS,
    /// `CKA_KEY_TYPE` or `CKA_CERTIFICATE_TYPE`, for classes that have one.
    pub kind: Option<CK_ULONG>,
    groups: &'static [&'static [Rule]],
}

/// Every class that objects can be of.
pub static CLASSES: &[Class] = &[
    Class { class: CKO_DATA, kind: None, groups: &[STORAGE, OPEN, DATA] },
    Class { class: CKO_CERTIFICATE, kind: Some(CKC_X_509), groups: &[STORAGE, OPEN, CERTIFICATE, ELSEWHERE, X_509] },
    Class { class: CKO_CERTIFICATE, kind: Some(CKC_WTLS), groups: &[STORAGE, OPEN, CERTIFICATE, ELSEWHERE, WTLS] },
    Class {
        class: CKO_CERTIFICATE,
        kind: Some(CKC_X_509_ATTR_CERT),
        groups: &[STORAGE, OPEN, CERTIFICATE, ATTRIBUTE_CERTIFICATE],
    },
    Class { class: CKO_TRUST, kind: None, groups: &[STORAGE, OPEN, TRUST] },
    Class { class: CKO_PROFILE, kind: None, groups: &[STORAGE, OPEN, PROFILE] },
    Class { class: CKO_MECHANISM, kind: None, groups: &[STORAGE, OPEN, MECHANISM] },
    Class { class: CKO_DOMAIN_PARAMETERS, kind: Some(CKK_DH), groups: &[STORAGE, OPEN, DOMAIN] },
    Class { class: CKO_DOMAIN_PARAMETERS, kind: Some(CKK_DSA), groups: &[STORAGE, OPEN, DOMAIN, SUBPRIME] },
    Class {
        class: CKO_DOMAIN_PARAMETERS,
        kind: Some(CKK_X9_42_DH),
        groups: &[STORAGE, OPEN, DOMAIN, SUBPRIME, SUBPRIME_BITS],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_RSA),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, RSA_PUBLIC, &RSA_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_EC),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, EC_PUBLIC, &EC_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_EC_EDWARDS),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, EC_PUBLIC, &EDWARDS_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_EC_MONTGOMERY),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, EC_PUBLIC, &MONTGOMERY_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_ML_KEM),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, LATTICE_PUBLIC, &ML_KEM_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_ML_DSA),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, LATTICE_PUBLIC, &ML_DSA_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_SLH_DSA),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, LATTICE_PUBLIC, &ML_DSA_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PUBLIC_KEY,
        kind: Some(CKK_DH),
        groups: &[STORAGE, OPEN, KEY, PUBLIC, DH_PUBLIC, &MONTGOMERY_PUBLIC_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_RSA),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, RSA_PRIVATE, &RSA_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_EC),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, EC_PRIVATE, &EC_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_EC_EDWARDS),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, EC_PRIVATE, &EDWARDS_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_EC_MONTGOMERY),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, EC_PRIVATE, &MONTGOMERY_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_ML_KEM),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, LATTICE_PRIVATE, &ML_KEM_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_ML_DSA),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, LATTICE_PRIVATE, &ML_DSA_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_SLH_DSA),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, SLH_DSA_PRIVATE, &ML_DSA_PRIVATE_USAGES],
    },
    Class {
        class: CKO_PRIVATE_KEY,
        kind: Some(CKK_DH),
        groups: &[STORAGE, HIDDEN, KEY, SEALED, PRIVATE, DH_PRIVATE, &MONTGOMERY_PRIVATE_USAGES],
    },
    secret_class(CKK_AES, AES_SECRET),
    secret_class(CKK_CHACHA20, CHACHA20_SECRET),
    secret_class(CKK_GENERIC_SECRET, GENERIC_SECRET),
    secret_class(CKK_HKDF, HKDF_SECRET),
    secret_class(CKK_SHA_1_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA224_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA256_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA384_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA512_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA512_224_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA512_256_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA3_224_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA3_256_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA3_384_HMAC, HMAC_SECRET),
    secret_class(CKK_SHA3_512_HMAC, HMAC_SECRET),
    Class {
        class: CKO_OTP_KEY,
        kind: Some(CKK_HOTP),
        groups: &[STORAGE, UNIQUE, KEY, SEALED, SECRET, HOTP_LEN, OTP, &HMAC_USAGES],
    },
];

impl Class {
    /// The class with this `CKA_CLASS` and this key or certificate type.
    pub fn of(class: CK_OBJECT_CLASS, kind: Option<CK_ULONG>) -> Option<&'static Self> {
        CLASSES.iter().find(|row| row.class == class && row.kind == kind)
    }

    /// The attribute that carries `kind`.
    pub fn kind_attribute(class: CK_OBJECT_CLASS) -> Option<CK_ATTRIBUTE_TYPE> {
        match class {
            CKO_CERTIFICATE => Some(CKA_CERTIFICATE_TYPE),
            CKO_PUBLIC_KEY | CKO_PRIVATE_KEY | CKO_SECRET_KEY | CKO_OTP_KEY | CKO_DOMAIN_PARAMETERS => {
                Some(CKA_KEY_TYPE)
            }
            _ => None,
        }
    }

    /// All its rules.
    pub fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// The rule for one attribute; `None` if objects of the class do not have it.
    pub fn rule(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<&'static Rule> {
        self.rules().find(|rule| rule.attribute == attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{SEALED_CLASSES, attribute};

    #[test]
    fn every_rule_is_for_a_known_attribute_and_stands_once_in_its_class() {
        for class in CLASSES {
            let mut seen = std::collections::HashSet::new();
            for rule in class.rules() {
                assert!(attribute::kind(rule.attribute).is_some());
                assert!(seen.insert(rule.attribute), "{} twice", attribute::name(rule.attribute));
            }
        }
    }

    #[test]
    fn everything_that_decides_what_a_key_may_do_is_bound() {
        let names = [
            CKA_LABEL,
            CKA_ID,
            CKA_SUBJECT,
            CKA_START_DATE,
            CKA_END_DATE,
            CKA_UNIQUE_ID,
            CKA_OTP_USER_IDENTIFIER,
            CKA_OTP_SERVICE_IDENTIFIER,
            CKA_OTP_SERVICE_LOGO,
            CKA_OTP_SERVICE_LOGO_TYPE,
        ];
        let follows_from_the_key = [
            CKA_MODULUS,
            CKA_PUBLIC_EXPONENT,
            CKA_EC_PARAMS,
            CKA_PARAMETER_SET,
            CKA_PRIME,
            CKA_BASE,
            CKA_VALUE_BITS,
            CKA_PUBLIC_KEY_INFO,
            CKA_VALUE_LEN,
            CKA_CHECK_VALUE,
        ];
        let is_sealed = |class: &&Class| SEALED_CLASSES.contains(&class.class);
        for class in CLASSES.iter().filter(is_sealed) {
            for rule in
                class.rules().filter(|rule| !rule.secret && !rule.seal && !rule.moves && rule.bound == Bound::No)
            {
                assert!(
                    names.contains(&rule.attribute) || follows_from_the_key.contains(&rule.attribute),
                    "{} is not bound",
                    attribute::name(rule.attribute)
                );
            }
        }
    }
}
