//! The vocabulary of the attribute rules.

use cryptoki_sys::*;

/// What a template says of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It must be named (footnotes 1 and 3).
    Must,
    /// It may be named.
    May,
    /// It must not be named (footnotes 2 and 4): the module sets it.
    Never,
}

/// What an attribute is when no template names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// `CK_TRUE`.
    True,
    /// `CK_FALSE`.
    False,
    /// A value of no bytes.
    Empty,
    /// A number.
    Number(CK_ULONG),
    /// So many bytes that are zero.
    Zeros(usize),
    /// The module computes it from the rest of the object.
    Computed,
    /// It stays away; reading it computes an answer or says that there is none.
    Absent,
}

/// How `C_SetAttributeValue` may change an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Never.
    Never,
    /// At will, while the object is modifiable (footnote 8).
    Free,
    /// To `CK_TRUE` and never back (footnote 11).
    OnceTrue,
    /// To `CK_FALSE` and never back (footnote 12).
    OnceFalse,
    /// To `CK_TRUE` by the security officer alone (footnote 10).
    Officer,
    /// To a value of no bytes, which takes it away.
    Erase,
    /// It follows from the object: any other value is wrong, and not merely read-only.
    Given,
}

/// The rule for one attribute in one class of objects.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The attribute.
    pub attribute: CK_ATTRIBUTE_TYPE,
    /// In a template of `C_CreateObject`.
    pub create: Say,
    /// In a template of `C_GenerateKey` or `C_GenerateKeyPair`.
    pub generate: Say,
    /// In a template of `C_UnwrapKey`, `C_DeriveKey` and their kin: the key arrives by a mechanism.
    pub arrive: Say,
    /// Without a template's word.
    pub default: Unsaid,
    /// Later.
    pub change: Change,
    /// In a template of `C_CopyObject`.
    pub copy: Change,
    /// Its value is secret: `CKR_ATTRIBUTE_SENSITIVE` for who asks (footnote 7).
    pub secret: bool,
    /// It tells how the key is sealed, and is not kept with the object: computed, or used up when a sealed key
    /// comes in.
    pub seal: bool,
    /// It moves when the key is used, and is read afresh each time.
    pub moves: bool,
    /// How the encryption context binds it.
    pub bound: Bound,
}

/// How the encryption context of a sealed key binds an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Not at all: it is a name, or follows from the key.
    No,
    /// By the digest in `datakey-pkcs11:policy`.
    Policy,
    /// By this word in `datakey-pkcs11:usage`.
    Usage(&'static str),
}

/// A key that arrives by a mechanism may say what a created one must: the mechanism often knows it.
pub(super) const fn rule(
    attribute: CK_ATTRIBUTE_TYPE,
    create: Say,
    generate: Say,
    default: Unsaid,
    change: Change,
) -> Rule {
    let arrive = if matches!(create, Say::Must) { Say::May } else { create };
    Rule {
        attribute,
        create,
        generate,
        arrive,
        default,
        change,
        copy: change,
        secret: false,
        seal: false,
        moves: false,
        bound: Bound::No,
    }
}

impl Rule {
    pub(super) const fn policy(mut self) -> Self {
        self.bound = Bound::Policy;
        self
    }

    pub(super) const fn usage(mut self, word: &'static str) -> Self {
        self.bound = Bound::Usage(word);
        self
    }

    pub(super) const fn moving(mut self) -> Self {
        self.moves = true;
        self
    }

    pub(super) const fn arriving(mut self, arrive: Say) -> Self {
        self.arrive = arrive;
        self
    }

    /// Later, when a template of `C_CopyObject` names it: what only copies may change.
    pub(super) const fn copying(mut self, copy: Change) -> Self {
        self.copy = copy;
        self
    }

    /// A secret part of a key, which only `C_CreateObject` takes.
    pub(super) const fn secret(attribute: CK_ATTRIBUTE_TYPE, create: Say) -> Self {
        Self { arrive: Say::Never, secret: true, ..rule(attribute, create, Say::Never, Unsaid::Absent, Change::Never) }
    }

    /// A word about a key's seal, which is no attribute of the object itself.
    pub(super) const fn of_seal(attribute: CK_ATTRIBUTE_TYPE, create: Say) -> Self {
        Self { seal: true, secret: false, ..Self::secret(attribute, create) }
    }
}
