//! The module's own attributes: how a key is sealed, and keys that come sealed.
//!
//! `include/datakey_pkcs11.h` lists them for C callers.

use super::keypair::{describe_private, spec_of};
use super::{Look, Template, attribute, secret_key};
use crate::crypto::{KeyKind, PrivateKey, PublicKey, Secret};
use crate::error::{Cause, Result};
use crate::kms::EncryptionContext;
use crate::store::Attributes;
use cryptoki_sys::*;
use std::collections::BTreeMap;

/// The `CiphertextBlob` of a private or secret key, as KMS made it.
pub const CKA_DATAKEY_CIPHERTEXT_BLOB: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x0044_4b01;
/// The encryption context that opens the blob: a JSON object of strings, in UTF-8.
pub const CKA_DATAKEY_ENCRYPTION_CONTEXT: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x0044_4b02;
/// The ARN of the KMS key that sealed it.
pub const CKA_DATAKEY_KMS_KEY_ARN: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x0044_4b03;
/// The kind of key as KMS names it, as in `ECC_NIST_P256`.
pub const CKA_DATAKEY_SPEC: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x0044_4b04;

/// What a private data object has in the store in place of `CKA_VALUE`; callers never see it.
pub const SEALED_VALUE: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x0044_4bff;

/// Whether the object's value is encrypted: that of a private data object on the token. One that stands in the
/// store in clear was put there behind the module's back.
pub fn has_sealed_value(object: &Attributes) -> bool {
    object.number(CKA_CLASS) == Some(CKO_DATA) && object.is(CKA_TOKEN) && object.is(CKA_PRIVATE)
}

/// A key as another client of KMS sealed it.
#[derive(Debug)]
pub struct ForeignSeal {
    /// The `CiphertextBlob`.
    pub blob: Vec<u8>,
    /// What it was sealed under.
    pub context: EncryptionContext,
}

impl ForeignSeal {
    /// What a template says of it; `None` if it has no blob.
    ///
    /// `AttributeValueInvalid` for a context that is none, and for one with pairs of this module: a key that it
    /// sealed is bound to what it may do, and does not come back as another.
    pub fn of(template: &Template) -> Result<Option<Self>> {
        let Some(blob) = template.get(CKA_DATAKEY_CIPHERTEXT_BLOB) else { return Ok(None) };
        let pairs: BTreeMap<String, String> = match template.get(CKA_DATAKEY_ENCRYPTION_CONTEXT) {
            None | Some([]) => BTreeMap::new(),
            Some(json) => serde_json::from_slice(json).map_err(|error| {
                Cause::AttributeValueInvalid.with(format!("CKA_DATAKEY_ENCRYPTION_CONTEXT: {error}"))
            })?,
        };
        let context = EncryptionContext::new(&pairs)
            .map_err(|error| Cause::AttributeValueInvalid.with(error.detail().to_owned()))?;
        Ok(Some(Self { blob: blob.to_vec(), context }))
    }
}

/// An encryption context as `CKA_DATAKEY_ENCRYPTION_CONTEXT` has it, sorted by key.
pub fn context_json(context: &EncryptionContext) -> Vec<u8> {
    let text = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    let pairs: Vec<_> = context.pairs().iter().map(|(key, value)| format!("{}:{}", text(key), text(value))).collect();
    format!("{{{}}}", pairs.join(",")).into_bytes()
}

/// The value of `CKA_DATAKEY_SPEC`; empty for what is no key.
pub fn spec(object: &Attributes) -> Vec<u8> {
    spec_of(object).unwrap_or_default().into_bytes()
}

/// Whether a key that comes sealed has to be opened once, because nobody says what it is.
pub fn is_unknown(key: &Attributes) -> bool {
    match key.is_secret_key() {
        true => !key.contains_key(&CKA_VALUE_LEN),
        false => key.bytes(CKA_PUBLIC_KEY_INFO).is_empty(),
    }
}

/// Adds what follows from the public key that a template names, or the length of a secret key. What a seal
/// opens to is compared with it at the first use.
pub fn believe(key: &mut Attributes) -> Result<()> {
    if key.is_secret_key() {
        let len = key.number(CKA_VALUE_LEN).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
        return secret_key::check_length(key.number(CKA_KEY_TYPE).unwrap_or_default(), len);
    }
    let public = PublicKey::from_spki(key.bytes(CKA_PUBLIC_KEY_INFO))
        .map_err(|error| Cause::AttributeValueInvalid.with(format!("CKA_PUBLIC_KEY_INFO: {}", error.detail())))?;
    describe(key, &public)
}

/// Adds what follows from the key itself.
pub fn learn(key: &mut Attributes, plaintext: &Secret) -> Result<()> {
    if key.is_secret_key() {
        return secret_key::complete(key, plaintext);
    }
    let private = PrivateKey::from_pkcs8(plaintext.expose())
        .map_err(|error| Cause::AttributeValueInvalid.with(format!("the sealed key: {}", error.detail())))?;
    describe(key, private.public_key())
}

fn describe(key: &mut Attributes, public: &PublicKey) -> Result<()> {
    if key.number(CKA_KEY_TYPE) != Some(key_type(public.kind())) {
        return Err(Cause::TemplateInconsistent.with(attribute::name(CKA_KEY_TYPE)));
    }
    describe_private(key, public)
}

/// The type of a key.
pub fn key_type(kind: KeyKind) -> CK_KEY_TYPE {
    match kind {
        KeyKind::Rsa { .. } => CKK_RSA,
        KeyKind::Ec(_) => CKK_EC,
        KeyKind::Ed25519 | KeyKind::Ed448 => CKK_EC_EDWARDS,
        KeyKind::X25519 | KeyKind::X448 => CKK_EC_MONTGOMERY,
        KeyKind::MlKem(_) => CKK_ML_KEM,
        KeyKind::MlDsa(_) => CKK_ML_DSA,
        KeyKind::SlhDsa(_) => CKK_SLH_DSA,
        KeyKind::Dh(_) => CKK_DH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(context: &[u8]) -> Result<Option<ForeignSeal>> {
        let given: &[(_, &[u8])] = &[(CKA_DATAKEY_CIPHERTEXT_BLOB, b"blob"), (CKA_DATAKEY_ENCRYPTION_CONTEXT, context)];
        ForeignSeal::of(&Template::parse(given)?)
    }

    #[test]
    fn a_context_reads_back_as_it_is_told() {
        let json = br#"{"a":"1","b \"\\":"\u00fc \n"}"#;
        let context = seal(json).unwrap().unwrap().context;
        assert_eq!(context.pairs()["b \"\\"], "\u{fc} \n");
        let told = context_json(&context);
        assert_eq!(seal(&told).unwrap().unwrap().context, context);
        for none in [&b""[..], b"{}"] {
            assert!(seal(none).unwrap().unwrap().context.pairs().is_empty());
        }
        assert!(ForeignSeal::of(&Template::default()).unwrap().is_none());
    }

    #[test]
    fn what_this_module_sealed_does_not_come_back_as_another() {
        for bad in [&br#"{"datakey-pkcs11:token":"x"}"#[..], br#"{"":"x"}"#, br#"{"a":1}"#, b"[]", b"{", b"\xff"] {
            assert_eq!(seal(bad).unwrap_err().cause(), Cause::AttributeValueInvalid);
        }
    }
}
