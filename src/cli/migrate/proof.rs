//! Whether a key that was moved is the key that it was.

use crate::crypto::{EdVariant, Hash, Key, KeyKind, PublicKey, SlhDsaMessage};
use crate::error::{Cause, Error, Result};
use crate::object::policy;
use crate::store::ObjectRecord;
use crate::token::Token;

/// What is signed, and never leaves this process.
const MESSAGE: &[u8] = b"datakey-pkcs11 migrate";

/// What a key is compared with.
pub(super) enum Old<'a> {
    /// The public key that it had.
    Public(&'a PublicKey),
    /// The value of a secret key.
    Value(&'a [u8]),
}

/// Has KMS open the key as it is stored, and compares it. One call of KMS.
pub(super) fn prove(token: &Token, object: &ObjectRecord, old: &Old<'_>) -> Result<()> {
    let blob = object.sealed.as_ref().map_or(&[][..], |sealed| &sealed.blob);
    // What the cache holds was never sealed.
    token.forget_key(object.id);
    let opened = token.key(object, policy::seal_tag(&object.attributes, blob));
    token.forget_key(object.id);
    compare(&opened?.key, old)
}

fn compare(key: &Key, old: &Old<'_>) -> Result<()> {
    let another = || Error::from(Cause::SealKeyMismatch);
    match old {
        Old::Value(value) if key.secret()?.expose()? == *value => Ok(()),
        Old::Value(_) => Err(another()),
        Old::Public(public) => works_with(key, public).map_err(|error| match error.cause() {
            Cause::SignatureInvalid | Cause::KeyTypeInconsistent | Cause::SignatureLenRange => another(),
            _ => error,
        }),
    }
}

/// Whether what the private key does, the old public key undoes.
fn works_with(key: &Key, public: &PublicKey) -> Result<()> {
    let private = key.private()?;
    match public.kind() {
        KeyKind::Rsa { .. } => {
            let digest = Hash::Sha256.digest(MESSAGE);
            let signature = private.sign_pkcs1(Some(Hash::Sha256), digest.as_ref())?;
            public.verify_pkcs1(Some(Hash::Sha256), digest.as_ref(), &signature)
        }
        KeyKind::Ec(_) => {
            let digest = Hash::Sha256.digest(MESSAGE);
            public.verify_ecdsa(digest.as_ref(), &private.ecdsa_sign(digest.as_ref())?)
        }
        KeyKind::Ed25519 | KeyKind::Ed448 => {
            let signature = private.eddsa_sign(EdVariant::Pure, MESSAGE)?;
            public.verify_eddsa(EdVariant::Pure, MESSAGE, &signature)
        }
        KeyKind::MlDsa(_) => {
            let mut mu = public.ml_dsa_mu(&[])?;
            mu.update(MESSAGE);
            let mu = mu.finish();
            public.verify_ml_dsa(&mu, &private.ml_dsa_sign(&mu, true)?)
        }
        KeyKind::SlhDsa(_) => {
            let signature = private.slh_dsa_sign(SlhDsaMessage::Pure(MESSAGE), &[], true)?;
            public.verify_slh_dsa(SlhDsaMessage::Pure(MESSAGE), &[], &signature)
        }
        KeyKind::MlKem(_) => {
            let (ciphertext, secret) = public.encapsulate()?;
            match private.decapsulate(&ciphertext)?.expose() == secret.expose() {
                true => Ok(()),
                false => Err(Cause::SignatureInvalid.into()),
            }
        }
        // It signs nothing; its public key follows from it.
        KeyKind::X25519 | KeyKind::X448 | KeyKind::Dh(_) if private.public_key() == public => Ok(()),
        KeyKind::X25519 | KeyKind::X448 | KeyKind::Dh(_) => Err(Cause::SignatureInvalid.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Curve, PrivateComponents, PrivateKey, Secret, SecretKey};

    fn keys(byte: u8) -> Vec<PrivateKey> {
        let secret = |len| Secret::new(vec![byte; len]);
        let (mut all, seed) = (Vec::new(), |len| Some(Secret::new(vec![byte; len])));
        for components in [
            PrivateComponents::Ec { curve: Curve::P384, scalar: secret(48) },
            PrivateComponents::Ed25519 { seed: secret(32) },
            PrivateComponents::X25519 { scalar: secret(32) },
            PrivateComponents::MlKem { set: crate::crypto::MlKemSet::MlKem768, seed: seed(64), expanded: None },
            PrivateComponents::MlDsa { set: crate::crypto::MlDsaSet::MlDsa44, seed: seed(32), expanded: None },
        ] {
            all.push(PrivateKey::from_components(&components).unwrap());
        }
        all
    }

    #[test]
    fn a_key_is_told_from_every_other() {
        let (ours, others) = (keys(7), keys(9));
        for (at, key) in ours.into_iter().enumerate() {
            let (own, key) = (key.public_key().clone(), Key::Private(key));
            compare(&key, &Old::Public(&own)).unwrap();
            for other in &others {
                let wrong = compare(&key, &Old::Public(other.public_key())).unwrap_err();
                assert_eq!(wrong.cause(), Cause::SealKeyMismatch, "{at}");
            }
        }
        let secret = Key::Secret(SecretKey::new(&[1, 2]).unwrap());
        compare(&secret, &Old::Value(&[1, 2])).unwrap();
        for wrong in [&[][..], &[1], &[1, 3], &[1, 2, 3]] {
            assert_eq!(compare(&secret, &Old::Value(wrong)).unwrap_err().cause(), Cause::SealKeyMismatch);
        }
    }
}
