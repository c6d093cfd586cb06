//! What a token's role must be allowed to do with the KMS key: one table, for `doctor` and `policy`.

use crate::config::{GenerateMode, LoginMode, TokenConfig};
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

/// The permissions that matter to a token.
pub(super) fn needed(token: &TokenConfig) -> impl Iterator<Item = Needed> {
    TABLE.iter().filter_map(|permission| Some(Needed { permission, need: (permission.need)(token)? }))
}
