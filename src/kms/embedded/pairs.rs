//! Data key pairs, in the formats of KMS: SPKI and PKCS#8, DER.

use super::exception::Exception;
use crate::host::gate;
use crate::kms::KeyPairSpec;
use ed25519_dalek::pkcs8::KeypairBytes;
use rsa::Generate;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey};
use zeroize::Zeroizing;

/// A fresh key pair: public key as SPKI, private key as PKCS#8.
pub(super) fn generate(spec: KeyPairSpec) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Exception> {
    // Inside the gate: the first of a curve makes its tables for the whole process.
    macro_rules! curve {
        ($curve:ident) => {
            gate::inside(|| {
                let private = $curve::SecretKey::try_generate().map_err(failed)?;
                encode(&private.public_key(), &private)
            })
        };
    }
    // The private key is in the seed form, 64 bytes, as KMS gives it.
    macro_rules! kem {
        ($parameters:ident) => {{
            let private = ml_kem::DecapsulationKey::<ml_kem::$parameters>::try_generate().map_err(failed)?;
            encode(private.encapsulation_key(), &private)
        }};
    }
    match spec {
        KeyPairSpec::Rsa2048 => rsa(2048),
        KeyPairSpec::Rsa3072 => rsa(3072),
        KeyPairSpec::Rsa4096 => rsa(4096),
        KeyPairSpec::EccNistP256 => curve!(p256),
        KeyPairSpec::EccNistP384 => curve!(p384),
        KeyPairSpec::EccNistP521 => curve!(p521),
        KeyPairSpec::EccSecgP256k1 => curve!(k256),
        KeyPairSpec::EccNistEdwards25519 => edwards(),
        KeyPairSpec::MlKem512 => kem!(MlKem512),
        KeyPairSpec::MlKem768 => kem!(MlKem768),
        KeyPairSpec::MlKem1024 => kem!(MlKem1024),
    }
}

fn rsa(bits: usize) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Exception> {
    let private = rsa::PrivateKey::new(&mut getrandom::SysRng, bits).map_err(failed)?;
    encode(&private.to_public_key(), &private)
}

fn edwards() -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Exception> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(failed)?;
    let private = ed25519_dalek::SigningKey::from_bytes(&seed);
    // Version 1, without the public key: the form that every reader accepts.
    let bytes = KeypairBytes { secret_key: *seed, public_key: None };
    encode(&private.verifying_key(), &bytes)
}

fn encode(
    public: &impl EncodePublicKey,
    private: &impl EncodePrivateKey,
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Exception> {
    let public = public.to_public_key_der().map_err(failed)?.into_vec();
    Ok((public, private.to_pkcs8_der().map_err(failed)?.to_bytes()))
}

fn failed(error: impl std::fmt::Display) -> Exception {
    Exception::new("KMSInternalException", format!("key generation failed: {error}"))
}
