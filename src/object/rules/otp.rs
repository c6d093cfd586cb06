//! The rules of one-time-password keys (section 6.53.2).

use super::rule::Change::{Never as Fixed, OnceTrue};
use super::rule::Say::{May, Never};
use super::rule::Unsaid::{Computed, Empty, False, Number, True, Zeros};
use super::rule::{Rule, rule};
use cryptoki_sys::*;

/// Hidden before login, as other keys are, and never copied: the copy would count for itself, and both would give the
/// same passwords.
pub(super) const UNIQUE: &[Rule] = &[
    rule(CKA_PRIVATE, May, May, True, Fixed).copying(OnceTrue).policy(),
    rule(CKA_COPYABLE, May, May, False, Fixed).policy(),
];

/// Every one-time-password key. The counter moves with each password, too often for KMS to bind it: the MAC of the
/// record does.
pub(super) const OTP: &[Rule] = &[
    rule(CKA_OTP_FORMAT, May, May, Number(CK_OTP_FORMAT_DECIMAL), Fixed).policy(),
    rule(CKA_OTP_LENGTH, May, May, Number(6), Fixed).policy(),
    rule(CKA_OTP_USER_FRIENDLY_MODE, May, May, True, Fixed).policy(),
    rule(CKA_OTP_CHALLENGE_REQUIREMENT, May, May, Number(CK_OTP_PARAM_IGNORED), Fixed).policy(),
    rule(CKA_OTP_TIME_REQUIREMENT, May, May, Number(CK_OTP_PARAM_IGNORED), Fixed).policy(),
    rule(CKA_OTP_COUNTER_REQUIREMENT, May, May, Number(CK_OTP_PARAM_OPTIONAL), Fixed).policy(),
    rule(CKA_OTP_PIN_REQUIREMENT, May, May, Number(CK_OTP_PARAM_IGNORED), Fixed).policy(),
    rule(CKA_OTP_COUNTER, May, May, Zeros(8), Fixed).moving(),
    rule(CKA_OTP_TIME, May, May, Empty, Fixed).policy(),
    rule(CKA_OTP_USER_IDENTIFIER, May, May, Empty, Fixed),
    rule(CKA_OTP_SERVICE_IDENTIFIER, May, May, Empty, Fixed),
    rule(CKA_OTP_SERVICE_LOGO, May, May, Empty, Fixed),
    rule(CKA_OTP_SERVICE_LOGO_TYPE, May, May, Empty, Fixed),
];

/// HOTP keys, of several lengths. The mechanism that generates them contributes one (section 6.53.6.2).
pub(super) const HOTP_LEN: &[Rule] = &[rule(CKA_VALUE_LEN, Never, May, Computed, Fixed).arriving(May)];
