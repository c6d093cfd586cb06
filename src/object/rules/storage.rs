//! The rules of storage objects that hold no key: data, certificates, trust, domain parameters.

use super::rule::Change::{Erase, Free, Never as Fixed, Officer, OnceFalse, OnceTrue};
use super::rule::Say::{May, Must, Never};
use super::rule::Unsaid::{Computed, Empty, False, Number, True};
use super::rule::{Rule, rule};
use cryptoki_sys::*;

/// Every storage object (section 4.4).
pub(super) const STORAGE: &[Rule] = &[
    rule(CKA_CLASS, Must, May, Computed, Fixed).policy(),
    rule(CKA_TOKEN, May, May, False, Fixed).copying(Free).policy(),
    rule(CKA_MODIFIABLE, May, May, True, Fixed).copying(Free).policy(),
    rule(CKA_DESTROYABLE, May, May, True, Fixed).copying(Free).policy(),
    rule(CKA_LABEL, May, May, Empty, Free),
    rule(CKA_UNIQUE_ID, Never, Never, Computed, Fixed),
];

/// Storage objects that anybody may see and copy unless a template says otherwise. A copy never shows what
/// its original hides.
pub(super) const OPEN: &[Rule] =
    &[rule(CKA_PRIVATE, May, May, False, Fixed).copying(OnceTrue), rule(CKA_COPYABLE, May, May, True, OnceFalse)];

/// Private keys: hidden before login. Those on the token are not copyable by default, because clients
/// that cache keys would otherwise copy each one into each session before using it.
pub(super) const HIDDEN: &[Rule] = &[
    rule(CKA_PRIVATE, May, May, True, Fixed).copying(OnceTrue).policy(),
    rule(CKA_COPYABLE, May, May, Computed, OnceFalse).policy(),
];

/// Data objects (section 4.5).
pub(super) const DATA: &[Rule] = &[
    rule(CKA_APPLICATION, May, Never, Empty, Free),
    rule(CKA_OBJECT_ID, May, Never, Empty, Free),
    rule(CKA_VALUE, May, Never, Empty, Free),
];

/// Every certificate (section 4.6.2).
pub(super) const CERTIFICATE: &[Rule] = &[
    rule(CKA_CERTIFICATE_TYPE, Must, Never, Computed, Fixed),
    rule(CKA_TRUSTED, May, Never, False, Officer),
    rule(CKA_CERTIFICATE_CATEGORY, May, Never, Number(CK_CERTIFICATE_CATEGORY_UNSPECIFIED), Fixed),
    rule(CKA_CHECK_VALUE, May, Never, Computed, Erase),
    rule(CKA_START_DATE, May, Never, Empty, Fixed),
    rule(CKA_END_DATE, May, Never, Empty, Fixed),
    rule(CKA_PUBLIC_KEY_INFO, May, Never, Computed, Fixed),
    rule(CKA_VALUE, Must, Never, Empty, Fixed),
];

/// Where a certificate is, if it is not here, and whose keys it is about.
pub(super) const ELSEWHERE: &[Rule] = &[
    rule(CKA_URL, May, Never, Empty, Fixed),
    rule(CKA_HASH_OF_SUBJECT_PUBLIC_KEY, May, Never, Empty, Fixed),
    rule(CKA_HASH_OF_ISSUER_PUBLIC_KEY, May, Never, Empty, Fixed),
    rule(CKA_NAME_HASH_ALGORITHM, May, Never, Number(CKM_SHA_1), Fixed),
];

/// X.509 public-key certificates (section 4.6.3).
pub(super) const X_509: &[Rule] = &[
    rule(CKA_SUBJECT, May, Never, Computed, Fixed),
    rule(CKA_ID, May, Never, Empty, Free),
    rule(CKA_ISSUER, May, Never, Computed, Free),
    rule(CKA_SERIAL_NUMBER, May, Never, Computed, Free),
    rule(CKA_JAVA_MIDP_SECURITY_DOMAIN, May, Never, Number(CK_SECURITY_DOMAIN_UNSPECIFIED), Fixed),
];

/// WTLS public-key certificates (section 4.6.4).
pub(super) const WTLS: &[Rule] =
    &[rule(CKA_SUBJECT, Must, Never, Empty, Fixed), rule(CKA_ISSUER, May, Never, Empty, Free)];

/// X.509 attribute certificates (section 4.6.5).
pub(super) const ATTRIBUTE_CERTIFICATE: &[Rule] = &[
    rule(CKA_OWNER, Must, Never, Empty, Fixed),
    rule(CKA_AC_ISSUER, May, Never, Empty, Free),
    rule(CKA_SERIAL_NUMBER, May, Never, Empty, Free),
    rule(CKA_ATTR_TYPES, May, Never, Empty, Free),
];

/// Trust objects (section 4.7).
pub(super) const TRUST: &[Rule] = &[
    rule(CKA_ISSUER, Must, Never, Empty, Fixed),
    rule(CKA_SERIAL_NUMBER, Must, Never, Empty, Fixed),
    rule(CKA_HASH_OF_CERTIFICATE, May, Never, Empty, Fixed),
    rule(CKA_NAME_HASH_ALGORITHM, May, Never, Number(CKM_SHA_1), Fixed),
    rule(CKA_TRUST_SERVER_AUTH, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
    rule(CKA_TRUST_CLIENT_AUTH, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
    rule(CKA_TRUST_CODE_SIGNING, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
    rule(CKA_TRUST_EMAIL_PROTECTION, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
    rule(CKA_TRUST_IPSEC_IKE, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
    rule(CKA_TRUST_TIME_STAMPING, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
    rule(CKA_TRUST_OCSP_SIGNING, May, Never, Number(CKT_TRUST_UNKNOWN as CK_ULONG), Free),
];

/// Every set of domain parameters (section 4.12).
pub(super) const DOMAIN: &[Rule] = &[
    rule(CKA_KEY_TYPE, Must, Never, Computed, Fixed),
    rule(CKA_LOCAL, Never, Never, False, Fixed),
    rule(CKA_PRIME, Must, Never, Empty, Fixed),
    rule(CKA_BASE, Must, Never, Empty, Fixed),
    rule(CKA_PRIME_BITS, Never, Never, Computed, Fixed),
];

/// Those of DSA and X9.42 Diffie-Hellman, which have a subprime (sections 6.2.4 and 6.4.6).
pub(super) const SUBPRIME: &[Rule] = &[rule(CKA_SUBPRIME, Must, Never, Empty, Fixed)];

/// Of those, X9.42 tells the length of the subprime as well.
pub(super) const SUBPRIME_BITS: &[Rule] = &[rule(CKA_SUBPRIME_BITS, Never, Never, Computed, Fixed)];

/// Profile objects (section 4.13). The token has them; nobody makes them.
pub(super) const PROFILE: &[Rule] = &[rule(CKA_PROFILE_ID, Never, Never, Computed, Fixed)];

/// Mechanism objects (section 4.14). The token has them; nobody makes them.
pub(super) const MECHANISM: &[Rule] = &[rule(CKA_MECHANISM_TYPE, Never, Never, Computed, Fixed)];
