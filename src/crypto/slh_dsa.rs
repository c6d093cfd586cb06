//! SLH-DSA (FIPS 205), which AWS-LC does not have. It is built of hash functions alone: what is secret goes through
//! them as data, and decides no branch and no address.
#![forbid(unsafe_code)]

use super::aws_lc::spki::Parsed;
use super::foreign::Foreign;
use super::private::Inner;
use super::public::check_digest_len;
use super::stack::{SLH_DSA_128, SLH_DSA_192, SLH_DSA_256, WipedAfter};
use super::{Hash, PrivateKey, PublicKey, Secret, mac, random};
use crate::error::{Cause, Result};
use slh_dsa::{ParameterSet, Signature, SigningKey, VerifyingKey};
use zeroize::Zeroize;

/// Signs the concatenation of the parts of a message, hedged with random bytes if there are any.
type Sign = fn(&[u8], &[&[u8]], Option<&[u8]>) -> Result<Vec<u8>>;
/// Verifies a signature of the concatenation of the parts of a message.
type Verify = fn(&[u8], &[&[u8]], &[u8]) -> Result<()>;

/// What is done differently with each parameter set.
struct Functions {
    /// The private key with these three seeds.
    expand: fn([&[u8]; 3]) -> Secret,
    /// A signature that verifies.
    sign: Sign,
    verify: Verify,
}

macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident $params:ident $oid:literal $n:literal $signature:literal;)*) => {
        /// A parameter set of SLH-DSA (FIPS 205, section 11).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "these are the names of the standard, as good as spelt out")]
        pub enum SlhDsaSet { $($(#[$doc])* $name,)* }

        impl SlhDsaSet {
            /// Every parameter set.
            pub const ALL: &[SlhDsaSet] = &[$(SlhDsaSet::$name,)*];

            /// The security parameter n: the length in bytes of each part of a key.
            fn n(self) -> usize {
                match self { $(SlhDsaSet::$name => $n,)* }
            }

            /// The length of a signature in bytes.
            pub fn signature_len(self) -> usize {
                match self { $(SlhDsaSet::$name => $signature,)* }
            }

            /// The content octets of its object identifier (RFC 9909, section 3).
            pub(super) fn oid(self) -> &'static [u8] {
                match self { $(SlhDsaSet::$name => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, $oid],)* }
            }

            fn functions(self) -> Functions {
                match self {
                    $(SlhDsaSet::$name => Functions {
                        expand: expand::<slh_dsa::$params>,
                        sign: sign::<slh_dsa::$params>,
                        verify: verify::<slh_dsa::$params>,
                    },)*
                }
            }
        }
    };
}

sets! {
    /// SLH-DSA-SHA2-128s.
    Sha2_128s  Sha2_128s 20 16 7856;
    /// SLH-DSA-SHA2-128f.
    Sha2_128f  Sha2_128f 21 16 17088;
    /// SLH-DSA-SHA2-192s.
    Sha2_192s  Sha2_192s 22 24 16224;
    /// SLH-DSA-SHA2-192f.
    Sha2_192f  Sha2_192f 23 24 35664;
    /// SLH-DSA-SHA2-256s.
    Sha2_256s  Sha2_256s 24 32 29792;
    /// SLH-DSA-SHA2-256f.
    Sha2_256f  Sha2_256f 25 32 49856;
    /// SLH-DSA-SHAKE-128s.
    Shake_128s Shake128s 26 16 7856;
    /// SLH-DSA-SHAKE-128f.
    Shake_128f Shake128f 27 16 17088;
    /// SLH-DSA-SHAKE-192s.
    Shake_192s Shake192s 28 24 16224;
    /// SLH-DSA-SHAKE-192f.
    Shake_192f Shake192f 29 24 35664;
    /// SLH-DSA-SHAKE-256s.
    Shake_256s Shake256s 30 32 29792;
    /// SLH-DSA-SHAKE-256f.
    Shake_256f Shake256f 31 32 49856;
}

impl SlhDsaSet {
    /// The length of a public key in bytes.
    pub fn public_key_len(self) -> usize {
        2 * self.n()
    }

    /// The length of a private key in bytes: two secret seeds and the public key.
    pub fn private_key_len(self) -> usize {
        4 * self.n()
    }

    /// Wipes as much of the stack as making a key or a signature used.
    fn wipe_stack(self) {
        match self.n() {
            16 => drop(WipedAfter::<SLH_DSA_128>),
            24 => drop(WipedAfter::<SLH_DSA_192>),
            _ => drop(WipedAfter::<SLH_DSA_256>),
        }
    }

    /// A new private key.
    pub(super) fn generate(self) -> Result<Secret> {
        let mut seeds = Secret::zeroed(3 * self.n());
        random::fill(seeds.expose_mut())?;
        Ok(self.expand(seeds.expose()))
    }

    /// The private key that begins with these seeds, of n bytes each.
    fn expand(self, seeds: &[u8]) -> Secret {
        let n = self.n();
        let key = (self.functions().expand)([&seeds[..n], &seeds[n..2 * n], &seeds[2 * n..3 * n]]);
        self.wipe_stack();
        key
    }

    /// Checks a private key: its length, and that its root is that of its seeds, which makes all of it right.
    pub(super) fn check(self, key: &[u8]) -> Result<()> {
        let seeds = key.get(..3 * self.n()).filter(|_| key.len() == self.private_key_len());
        let seeds = seeds.ok_or_else(|| Cause::SealKeyMalformed.with("SLH-DSA private key length"))?;
        match mac::constant_time_eq(self.expand(seeds).expose(), key) {
            true => Ok(()),
            false => Err(Cause::SealKeyMalformed.with("the root of the SLH-DSA key is not its seeds'")),
        }
    }

    /// The public half of a private key.
    pub(super) fn public_of(self, key: &[u8]) -> Result<&[u8]> {
        key.get(2 * self.n()..).ok_or_else(|| Cause::CryptoLibrary.into())
    }
}

fn expand<P: ParameterSet>([secret, prf, public]: [&[u8]; 3]) -> Secret {
    let key = SigningKey::<P>::slh_keygen_internal(secret, prf, public);
    let mut bytes = key.to_bytes();
    let copy = Secret::new(bytes.to_vec());
    bytes.as_mut_slice().zeroize();
    copy
}

fn key_of<P: ParameterSet>(key: &[u8]) -> Result<SigningKey<P>> {
    SigningKey::try_from(key).map_err(|_| Cause::CryptoLibrary.into())
}

fn sign<P: ParameterSet>(key: &[u8], message: &[&[u8]], random: Option<&[u8]>) -> Result<Vec<u8>> {
    let key = key_of::<P>(key)?;
    let signature = Box::new(key.slh_sign_internal(message, random));
    // A faulty signature tells enough to forge others.
    let public: &VerifyingKey<P> = key.as_ref();
    public.slh_verify_internal(message, &signature).map_err(|_| Cause::FaultDetected)?;
    Ok(signature.to_vec())
}

fn verify<P: ParameterSet>(key: &[u8], message: &[&[u8]], signature: &[u8]) -> Result<()> {
    let key = VerifyingKey::<P>::try_from(key).map_err(|_| Cause::CryptoLibrary)?;
    let signature = Box::new(Signature::<P>::try_from(signature).map_err(|_| Cause::SignatureLenRange)?);
    key.slh_verify_internal(message, &signature).map_err(|_| Cause::SignatureInvalid.into())
}

/// What a signature is of.
#[derive(Clone, Copy)]
pub enum SlhDsaMessage<'a> {
    /// This message.
    Pure(&'a [u8]),
    /// The message with this digest (HashSLH-DSA).
    Hashed(Hash, &'a [u8]),
}

impl SlhDsaMessage<'_> {
    /// Calls `work` with the parts of what is signed (FIPS 205, algorithms 22 and 23).
    fn parts<T>(self, context: &[u8], work: impl FnOnce(&[&[u8]]) -> Result<T>) -> Result<T> {
        let len = u8::try_from(context.len());
        let len = len.map_err(|_| Cause::MechanismParamInvalid.with("SLH-DSA context length"))?;
        match self {
            Self::Pure(message) => work(&[&[0, len], context, message]),
            Self::Hashed(hash, digest) => {
                check_digest_len(hash, digest)?;
                let oid = hash.oid();
                // The DER of an object identifier; all of them are short.
                work(&[&[1, len], context, &[0x06, oid.len() as u8], oid, digest])
            }
        }
    }
}

impl PrivateKey {
    /// Signs with SLH-DSA and a context of at most 255 bytes: hedged with fresh random bytes, or always alike.
    pub fn slh_dsa_sign(&self, message: SlhDsaMessage<'_>, context: &[u8], hedged: bool) -> Result<Vec<u8>> {
        let Inner::SlhDsa(set, key) = self.key()? else { return Err(Cause::KeyTypeInconsistent.into()) };
        let mut fresh = [0; 32];
        let fresh = &mut fresh[..set.n()];
        if hedged {
            random::fill(fresh)?;
        }
        let random = hedged.then_some(&*fresh);
        let signed = message.parts(context, |parts| (set.functions().sign)(key.expose(), parts, random));
        set.wipe_stack();
        signed
    }
}

impl PublicKey {
    /// Verifies a signature of SLH-DSA.
    pub fn verify_slh_dsa(&self, message: SlhDsaMessage<'_>, context: &[u8], signature: &[u8]) -> Result<()> {
        let Parsed::Foreign(Foreign::SlhDsa(set, key)) = self.parsed() else {
            return Err(Cause::KeyTypeInconsistent.into());
        };
        if signature.len() != set.signature_len() {
            return Err(Cause::SignatureLenRange.into());
        }
        message.parts(context, |parts| (set.functions().verify)(key, parts, signature))
    }
}
