//! A key of the token as the signer of certificates and requests.

use super::super::object::Key;
use super::super::output::Failure;
use super::super::pin::UserPin;
use crate::crypto::{Curve, KeyKind, MlDsaSet, PublicKey, SlhDsaSet};
use crate::mechanism::Given;
use crate::object::Look;
use crate::session::{Outcome, Room, Session, Who};
use cryptoki_sys::*;
use der::asn1::{Any, BitString, UintRef};
use der::{Document, Encode};
use signature::Keypair;
use spki::{AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey, ObjectIdentifier};
use x509_cert::builder::Builder;

/// How keys of one kind sign.
struct Scheme {
    mechanism: CK_MECHANISM_TYPE,
    oid: ObjectIdentifier,
    /// Whether the algorithm has NULL for a parameter, as those of PKCS#1 do.
    null: bool,
    /// Whether PKCS#11 has two numbers side by side where X.509 has them in a SEQUENCE.
    numbers: bool,
}

const fn scheme(mechanism: CK_MECHANISM_TYPE, oid: &str) -> Scheme {
    Scheme { mechanism, oid: ObjectIdentifier::new_unwrap(oid), null: false, numbers: false }
}

const fn ecdsa(mechanism: CK_MECHANISM_TYPE, oid: &str) -> Scheme {
    Scheme { numbers: true, ..scheme(mechanism, oid) }
}

const RSA: Scheme = Scheme { null: true, ..scheme(CKM_SHA256_RSA_PKCS, "1.2.840.113549.1.1.11") };
const ECDSA_SHA256: Scheme = ecdsa(CKM_ECDSA_SHA256, "1.2.840.10045.4.3.2");
const ECDSA_SHA384: Scheme = ecdsa(CKM_ECDSA_SHA384, "1.2.840.10045.4.3.3");
const ECDSA_SHA512: Scheme = ecdsa(CKM_ECDSA_SHA512, "1.2.840.10045.4.3.4");
const ED25519: Scheme = scheme(CKM_EDDSA, "1.3.101.112");
const ED448: Scheme = scheme(CKM_EDDSA, "1.3.101.113");
const ML_DSA_44: Scheme = scheme(CKM_ML_DSA, "2.16.840.1.101.3.4.3.17");
const ML_DSA_65: Scheme = scheme(CKM_ML_DSA, "2.16.840.1.101.3.4.3.18");
const ML_DSA_87: Scheme = scheme(CKM_ML_DSA, "2.16.840.1.101.3.4.3.19");

/// Each in the order of the object identifiers.
const SLH_DSA: &[(SlhDsaSet, Scheme)] = &[
    (SlhDsaSet::Sha2_128s, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.20")),
    (SlhDsaSet::Sha2_128f, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.21")),
    (SlhDsaSet::Sha2_192s, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.22")),
    (SlhDsaSet::Sha2_192f, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.23")),
    (SlhDsaSet::Sha2_256s, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.24")),
    (SlhDsaSet::Sha2_256f, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.25")),
    (SlhDsaSet::Shake_128s, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.26")),
    (SlhDsaSet::Shake_128f, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.27")),
    (SlhDsaSet::Shake_192s, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.28")),
    (SlhDsaSet::Shake_192f, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.29")),
    (SlhDsaSet::Shake_256s, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.30")),
    (SlhDsaSet::Shake_256f, scheme(CKM_SLH_DSA, "2.16.840.1.101.3.4.3.31")),
];

/// How keys of this kind sign; `None` if they do not.
fn scheme_of(kind: KeyKind) -> Option<&'static Scheme> {
    Some(match kind {
        KeyKind::Rsa { .. } => &RSA,
        KeyKind::Ec(Curve::P256 | Curve::Secp256k1) => &ECDSA_SHA256,
        KeyKind::Ec(Curve::P384) => &ECDSA_SHA384,
        KeyKind::Ec(Curve::P521) => &ECDSA_SHA512,
        KeyKind::Ed25519 => &ED25519,
        KeyKind::MlDsa(MlDsaSet::MlDsa44) => &ML_DSA_44,
        KeyKind::MlDsa(MlDsaSet::MlDsa65) => &ML_DSA_65,
        KeyKind::MlDsa(MlDsaSet::MlDsa87) => &ML_DSA_87,
        KeyKind::Ed448 => &ED448,
        KeyKind::SlhDsa(set) => &SLH_DSA.iter().find(|row| row.0 == set)?.1,
        KeyKind::X25519 | KeyKind::X448 | KeyKind::MlKem(_) | KeyKind::Dh(_) => return None,
    })
}

/// A private key of the token that signs certificates.
pub(super) struct Signer<'a> {
    session: &'a Session,
    pin: &'a UserPin,
    handle: CK_OBJECT_HANDLE,
    each_use: bool,
    scheme: &'static Scheme,
    public: Spki,
    kind: KeyKind,
}

impl<'a> Signer<'a> {
    pub(super) fn new(session: &'a Session, pin: &'a UserPin, key: &Key) -> Result<Self, Failure> {
        let private = key.private.as_ref().filter(|private| private.class() == CKO_PRIVATE_KEY);
        let private = private.ok_or_else(|| Failure::new("that is no private key, and signs nothing"))?;
        let kind = PublicKey::from_spki(private.public_key())?.kind();
        let scheme = scheme_of(kind).ok_or_else(|| Failure::new("keys of this type sign nothing"))?;
        let each_use = private.record.attributes.is(CKA_ALWAYS_AUTHENTICATE);
        let public = Spki(private.public_key().to_vec());
        Ok(Self { session, pin, handle: private.handle, each_use, scheme, public, kind })
    }

    pub(super) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public key, as certificates have it.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public.0
    }

    /// Has the key sign what is to be built. In two steps, so that an error of KMS is told as one.
    pub(super) fn build<B: Builder>(&self, mut builder: B) -> Result<B::Output, Failure> {
        let unsigned = builder.finalize(self).map_err(|error| Failure::new(error.to_string()))?;
        let signature = self.sign(&unsigned)?;
        let signature = BitString::from_bytes(&signature).map_err(|error| Failure::new(error.to_string()))?;
        builder.assemble(signature, self).map_err(|error| Failure::new(error.to_string()))
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, Failure> {
        self.session.sign_init(self.scheme.mechanism, || Ok(Given::Nothing), self.handle)?;
        if self.each_use {
            self.session.login(Who::Context, self.pin.get()?.expose())?;
        }
        let Outcome::Done(signature) = self.session.sign(Ok(data), Room::Bytes(usize::MAX))? else {
            return Err(Failure::new("the signature was not made"));
        };
        let signature = signature.expose();
        if !self.scheme.numbers {
            return Ok(signature.to_vec());
        }
        in_sequence(signature).map_err(|error| Failure::new(error.to_string()))
    }
}

/// `ECDSA-Sig-Value` of two numbers side by side.
fn in_sequence(numbers: &[u8]) -> der::Result<Vec<u8>> {
    let (r, s) = numbers.split_at(numbers.len() / 2);
    vec![UintRef::new(r)?, UintRef::new(s)?].to_der()
}

/// A public key in DER.
#[derive(Clone)]
pub(super) struct Spki(Vec<u8>);

impl EncodePublicKey for Spki {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.as_slice())?)
    }
}

impl Keypair for Signer<'_> {
    type VerifyingKey = Spki;

    fn verifying_key(&self) -> Spki {
        self.public.clone()
    }
}

impl DynSignatureAlgorithmIdentifier for Signer<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: self.scheme.oid, parameters: self.scheme.null.then(Any::null) })
    }
}
