//! What a token's role must be allowed to do with the KMS key: one table, for `doctor` and `policy`.

use crate::config::{GenerateMode, KmsConfig, LoginMode, TokenConfig};
use crate::kms::Trial;

/// What somebody may want to do with a token beyond making key pairs and using keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Extra {
    /// Generate secret keys
    SecretKeys,
    /// Import keys, and make the key pairs that KMS does not make (ML-DSA, SLH-DSA, X25519, X448, Ed448, DH)
    Import,
    /// Copy keys and change what they may do
    Change,
    /// Open keys by additional_kms_keys where kms_key_id cannot be had
    Failover,
}

/// When a permission is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// For everything.
    Always,
    /// To initialise the token, and then no more.
    ToInitialise,
    /// To use private keys: a host may be meant to make them only.
    ToUse,
    /// For something that not everybody does.
    For(Extra),
}

/// One permission.
pub(super) struct Permission {
    /// The actions in the words of IAM.
    pub(super) actions: &'static [&'static str],
    /// How to find out.
    pub(super) trial: Trial,
    /// What it is for, after "to".
    pub(super) purpose: &'static str,
    need: fn(&TokenConfig) -> Option<Need>,
}

/// A permission that a token has a need for.
pub(super) struct Needed {
    pub(super) permission: &'static Permission,
    pub(super) need: Need,
}

fn sees_plaintext(token: &TokenConfig) -> bool {
    token.generate == GenerateMode::WithPlaintext
}

fn has_pins(token: &TokenConfig) -> bool {
    token.login == LoginMode::Pin
}

const TABLE: &[Permission] = &[
    Permission {
        actions: &["kms:GenerateDataKeyPair"],
        trial: Trial::GenerateDataKeyPair,
        purpose: "make key pairs",
        need: |token| sees_plaintext(token).then_some(Need::Always),
    },
    Permission {
        actions: &["kms:GenerateDataKeyPairWithoutPlaintext"],
        trial: Trial::GenerateDataKeyPairWithoutPlaintext,
        purpose: "make key pairs",
        need: |token| (!sees_plaintext(token)).then_some(Need::Always),
    },
    Permission {
        actions: &["kms:Decrypt"],
        trial: Trial::Decrypt,
        purpose: "use private keys",
        // Without PINs the token key is opened first, for whatever is made as well.
        need: |token| Some(if sees_plaintext(token) || !has_pins(token) { Need::Always } else { Need::ToUse }),
    },
    Permission {
        actions: &["kms:GenerateDataKey"],
        trial: Trial::GenerateDataKey,
        purpose: "initialise a token without PINs",
        need: |token| (!has_pins(token)).then_some(Need::ToInitialise),
    },
    Permission {
        actions: &["kms:GenerateDataKey"],
        trial: Trial::GenerateDataKey,
        purpose: "generate secret keys",
        need: |token| sees_plaintext(token).then_some(Need::For(Extra::SecretKeys)),
    },
    Permission {
        actions: &["kms:GenerateDataKeyWithoutPlaintext"],
        trial: Trial::GenerateDataKeyWithoutPlaintext,
        purpose: "generate secret keys",
        need: |token| (!sees_plaintext(token)).then_some(Need::For(Extra::SecretKeys)),
    },
    Permission {
        actions: &["kms:Encrypt"],
        trial: Trial::Encrypt,
        purpose: "import keys and make ML-DSA, SLH-DSA, X25519, X448 and Ed448 key pairs",
        need: |_| Some(Need::For(Extra::Import)),
    },
    Permission {
        actions: &["kms:ReEncryptFrom", "kms:ReEncryptTo"],
        trial: Trial::ReEncrypt,
        purpose: "copy keys and change what they may do",
        need: |_| Some(Need::For(Extra::Change)),
    },
];

/// On a KMS key of `additional_kms_keys`.
const ON_ADDITIONAL: &[Permission] = &[
    Permission {
        actions: &["kms:Encrypt"],
        trial: Trial::Encrypt,
        purpose: "seal new keys by it as well",
        need: |token| sees_plaintext(token).then_some(Need::Always),
    },
    Permission {
        actions: &["kms:ReEncryptTo"],
        trial: Trial::ReEncrypt,
        purpose: "seal new keys by it as well",
        need: |token| (!sees_plaintext(token)).then_some(Need::Always),
    },
    Permission {
        actions: &["kms:Decrypt"],
        trial: Trial::Decrypt,
        purpose: "open keys where the KMS key before it cannot be had",
        need: |_| Some(Need::For(Extra::Failover)),
    },
];

/// One to which `ReEncrypt` leads from the wrapping key.
static CHANGE_BESIDE: Permission = Permission {
    actions: &["kms:ReEncryptTo"],
    trial: Trial::ReEncrypt,
    purpose: "copy keys and change what they may do",
    need: |_| Some(Need::For(Extra::Change)),
};
/// One that is elsewhere.
static CHANGE_ELSEWHERE: Permission = Permission {
    actions: &["kms:ReEncryptFrom", "kms:ReEncryptTo"],
    trial: Trial::ReEncrypt,
    purpose: "copy keys and change what they may do",
    need: |_| Some(Need::For(Extra::Change)),
};
/// On the wrapping key, where new keys are led from it to another.
static LEAD: Permission = Permission {
    actions: &["kms:ReEncryptFrom"],
    trial: Trial::ReEncrypt,
    purpose: "have new keys sealed by additional_kms_keys as well",
    need: |token| (!sees_plaintext(token) && !token.kms.additional.is_empty()).then_some(Need::Always),
};

fn of<'a>(
    token: &'a TokenConfig,
    table: impl Iterator<Item = &'static Permission> + 'a,
) -> impl Iterator<Item = Needed> + 'a {
    table.filter_map(|permission| Some(Needed { permission, need: (permission.need)(token)? }))
}

/// The permissions on the wrapping key that matter to a token.
pub(super) fn needed(token: &TokenConfig) -> impl Iterator<Item = Needed> {
    of(token, TABLE.iter().chain(std::iter::once(&LEAD)))
}

/// The permissions on one of its additional keys.
pub(super) fn needed_of_additional(token: &TokenConfig, kms: &KmsConfig) -> impl Iterator<Item = Needed> {
    let change = if token.kms.is_beside(kms) { &CHANGE_BESIDE } else { &CHANGE_ELSEWHERE };
    of(token, ON_ADDITIONAL.iter().chain(std::iter::once(change)))
}
