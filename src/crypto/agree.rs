//! Key agreement: Diffie-Hellman on our curves with the key derivation functions that belong to it, and ML-KEM.
#![forbid(unsafe_code)]

use super::aws_lc::spki::Parsed;
use super::aws_lc::{self, digest::Digester, ec::EcKey, x25519};
use super::ml_kem::SHARED_SECRET_LEN;
use super::private::{Inner, array};
use super::stack::{AGREE, KEM, SIGN, SIGN_GENERIC, WipedAfter};
use super::{Curve, Hash, PrivateKey, PublicKey, PublicParts, Secret, curve448, random};
use crate::error::{Cause, Error, Result};
use zeroize::Zeroizing;

impl PrivateKey {
    /// The secret shared with whoever has the private key of `peer`: the x-coordinate of the common point (SEC 1,
    /// section 3.3.1), as long as the field. No curve here has a cofactor, so it is the cofactor variant's too.
    ///
    /// `peer` is an encoded point, uncompressed or compressed, not wrapped in an OCTET STRING; of X25519, 32 bytes, of
    /// X448, 56.
    /// [`Cause::MechanismParamInvalid`] if it is none of the key's curve, or of small order.
    pub fn ecdh(&self, peer: &[u8]) -> Result<Secret> {
        match self.key()? {
            Inner::Ec(curve, key) => ec(*curve, key, &EcKey::from_point(*curve, peer).map_err(of_peer)?),
            Inner::X25519(private) => {
                let peer = peer.try_into().map_err(|_| Cause::MechanismParamInvalid.with("X25519 point length"))?;
                x25519_secret(array(private)?, peer)
            }
            Inner::X448(private) => {
                let peer = peer.try_into().map_err(|_| Cause::MechanismParamInvalid.with("X448 point length"))?;
                x448_secret(array(private)?, peer)
            }
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }
}

impl PublicKey {
    /// The other side of [`PrivateKey::ecdh`] for somebody who has no key pair: makes one, agrees with this key, and
    /// forgets the private half. Gives the encoded point that this key's owner needs, uncompressed, and the secret.
    pub fn ecdh_ephemeral(&self) -> Result<(Vec<u8>, Secret)> {
        match self.parts()? {
            PublicParts::Ec { curve, point } => {
                let peer = EcKey::from_point(curve, &point)?;
                let scope = aws_lc::enter_key_scope()?;
                let ephemeral = EcKey::generate(curve);
                drop(scope);
                let ephemeral = ephemeral?;
                Ok((ephemeral.point(curve)?, ec(curve, &ephemeral, &peer)?))
            }
            PublicParts::X25519 { point } => {
                let mut ephemeral = Zeroizing::new([0; 32]);
                random::fill(ephemeral.as_mut_slice())?;
                let secret = x25519_secret(&ephemeral, &point)?;
                Ok((x25519::public_of(&ephemeral).to_vec(), secret))
            }
            PublicParts::X448 { point } => {
                let mut ephemeral = Zeroizing::new([0; curve448::X448_LEN]);
                random::fill(ephemeral.as_mut_slice())?;
                let secret = x448_secret(&ephemeral, &point)?;
                Ok((curve448::x448_public_of(&ephemeral).to_vec(), secret))
            }
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }
}

impl PublicKey {
    /// Makes a secret that only the owner of this ML-KEM key can find out: the ciphertext that tells it to him, as
    /// long as the parameter set says, and the secret, 32 bytes.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, Secret)> {
        let _wiped = WipedAfter::<KEM>;
        let Parsed::MlKem(key) = self.parsed() else { return Err(Cause::KeyTypeInconsistent.into()) };
        let (mut ciphertext, mut secret) = (vec![0; key.set().ciphertext_len()], Secret::zeroed(SHARED_SECRET_LEN));
        key.encapsulate(&mut ciphertext, secret.expose_mut())?;
        Ok((ciphertext, secret))
    }
}

impl PrivateKey {
    /// The secret that [`PublicKey::encapsulate`] put into a ciphertext, 32 bytes. A ciphertext that was not made for
    /// this ML-KEM key gives another secret, always the same (implicit rejection); one of another length,
    /// [`Cause::EncryptedDataLenRange`].
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret> {
        let _wiped = WipedAfter::<KEM>;
        let Inner::MlKem(key) = self.key()? else { return Err(Cause::KeyTypeInconsistent.into()) };
        if ciphertext.len() != key.set().ciphertext_len() {
            return Err(Cause::EncryptedDataLenRange.into());
        }
        let mut secret = Secret::zeroed(SHARED_SECRET_LEN);
        key.decapsulate(ciphertext, secret.expose_mut())?;
        Ok(secret)
    }
}

fn ec(curve: Curve, key: &EcKey, peer: &EcKey) -> Result<Secret> {
    let mut shared = Secret::zeroed(curve.field_len());
    let agreed = key.agree(peer, shared.expose_mut());
    match curve {
        Curve::Secp256k1 => drop(WipedAfter::<SIGN_GENERIC>),
        Curve::P256 | Curve::P384 | Curve::P521 => drop(WipedAfter::<AGREE>),
    }
    agreed.map(|()| shared)
}

fn x25519_secret(private: &[u8; 32], peer: &[u8; 32]) -> Result<Secret> {
    let _wiped = WipedAfter::<SIGN>;
    let mut shared = Zeroizing::new([0; 32]);
    x25519::agree(private, peer, &mut shared)?;
    Ok(Secret::new(shared.to_vec()))
}

fn x448_secret(private: &[u8; curve448::X448_LEN], peer: &[u8; curve448::X448_LEN]) -> Result<Secret> {
    let mut shared = Secret::zeroed(curve448::X448_LEN);
    curve448::x448_agree(private, peer, shared.expose_mut())?;
    Ok(shared)
}

/// The peer's public key is a parameter of the mechanism.
fn of_peer(error: Error) -> Error {
    match error.cause() {
        Cause::AttributeValueInvalid => Cause::MechanismParamInvalid.with("the other party's public key"),
        _ => error,
    }
}

/// How a key is derived from a shared secret (`CK_EC_KDF_TYPE`): by hashing it with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedSecretKdf {
    /// The secret stands before the counter: ANSI X9.63, also in SEC 1, section 3.6.1.
    X963(Hash),
    /// The counter stands before the secret: the one-step function of SP 800-56A (and SP 800-56C, section 4.1).
    OneStep(Hash),
}

impl SharedSecretKdf {
    /// Derives `len` bytes from the secret and what both parties say beside it. [`Cause::KeySizeRange`] for more than
    /// 65535 digests' length, which nobody needs.
    pub fn derive(self, secret: &[u8], shared_info: &[u8], len: usize) -> Result<Secret> {
        let _wiped = WipedAfter::<SIGN>;
        let (Self::X963(hash) | Self::OneStep(hash)) = self;
        if u16::try_from(len.div_ceil(hash.len())).is_err() {
            return Err(Cause::KeySizeRange.into());
        }
        let mut out = Secret::zeroed(len);
        for (counter, block) in (1u32..).zip(out.expose_mut().chunks_mut(hash.len())) {
            let counter = counter.to_be_bytes();
            let [first, second] = match self {
                Self::X963(_) => [secret, &counter],
                Self::OneStep(_) => [&counter[..], secret],
            };
            let mut digester = Digester::new(hash);
            digester.update(first);
            digester.update(second);
            digester.update(shared_info);
            let digest = Zeroizing::new(digester.finish());
            block.copy_from_slice(&digest[..block.len()]);
        }
        Ok(out)
    }
}
