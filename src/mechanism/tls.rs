//! The key derivations of TLS 1.2 (RFC 5246, RFC 7627, RFC 5705).

use super::derive_params::GivenDerivation;
use super::family::Family;
use super::params::hash;
use super::table::Mechanism;
use crate::crypto::{Hash, Secret, kdf};
use crate::error::{Cause, Result};
use cryptoki_sys::CK_ULONG;

/// `CK_SSL3_RANDOM_DATA`.
#[derive(Clone, Debug)]
pub struct Randoms {
    /// `pClientRandom`.
    pub client: Vec<u8>,
    /// `pServerRandom`.
    pub server: Vec<u8>,
}

/// How long each key of a connection is, and each initialisation vector, as the caller says it.
#[derive(Clone, Copy, Debug)]
pub struct GivenSizes {
    /// `ulMacSizeInBits`.
    pub mac_bits: CK_ULONG,
    /// `ulKeySizeInBits`.
    pub key_bits: CK_ULONG,
    /// `ulIVSizeInBits`.
    pub iv_bits: CK_ULONG,
}

/// A derivation of TLS with its checked parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The master secret, of the premaster secret.
    Master {
        /// Of the pseudo-random function.
        hash: Hash,
        /// Which of the two ways it is.
        label: &'static [u8],
        /// The randoms of both sides, or the hash of the session.
        seed: Vec<u8>,
        /// Whether the premaster secret begins with a version, as one that came by RSA does.
        versioned: bool,
    },
    /// The keys of a connection, of the master secret.
    Keys {
        /// Of the pseudo-random function.
        hash: Hash,
        /// The randoms of both sides.
        seed: Vec<u8>,
        /// Of each secret for MACs, in bytes.
        mac_len: usize,
        /// Of each key, in bytes.
        key_len: usize,
        /// Of each initialisation vector, in bytes.
        iv_len: usize,
    },
    /// Anything else, by a label.
    Labelled {
        /// Of the pseudo-random function.
        hash: Hash,
        /// What it is for.
        label: Vec<u8>,
        /// The randoms of both sides, and the context.
        seed: Vec<u8>,
    },
}

/// The length in bytes of a master secret, and of a premaster secret that came by RSA.
const MASTER_LEN: usize = 48;
/// The length in bytes of the random number of each side.
const RANDOM_LEN: usize = 32;
/// The longest MAC secret, key and vector, in bytes: more than any cipher suite has.
const LONGEST_PART: CK_ULONG = 128;
const MASTER: &[u8] = b"master secret";
const EXTENDED_MASTER: &[u8] = b"extended master secret";
const KEY_EXPANSION: &[u8] = b"key expansion";

impl Tls {
    /// `None` if the parameter is not the mechanism's.
    pub(super) fn check(mechanism: &Mechanism, given: &GivenDerivation) -> Option<Self> {
        Some(match (mechanism.family, given) {
            (Family::TlsMaster, GivenDerivation::TlsMaster { hash: said, randoms, .. }) => Self::Master {
                hash: hash(*said).ok()?,
                label: MASTER,
                seed: joined(&randoms.client, &randoms.server)?,
                versioned: true,
            },
            // There is no version to tell where the premaster secret comes of Diffie-Hellman.
            (Family::TlsMasterDh, GivenDerivation::TlsMaster { hash: said, randoms, wants_version: false }) => {
                Self::Master {
                    hash: hash(*said).ok()?,
                    label: MASTER,
                    seed: joined(&randoms.client, &randoms.server)?,
                    versioned: false,
                }
            }
            (
                family @ (Family::TlsExtendedMaster | Family::TlsExtendedMasterDh),
                GivenDerivation::TlsExtendedMaster { hash: said, session, wants_version },
            ) => {
                let versioned = family == Family::TlsExtendedMaster;
                if session.is_empty() || (*wants_version && !versioned) {
                    return None;
                }
                Self::Master { hash: hash(*said).ok()?, label: EXTENDED_MASTER, seed: session.clone(), versioned }
            }
            (
                family @ (Family::TlsKeys | Family::TlsKeysSafe),
                GivenDerivation::TlsKeys { hash: said, sizes, is_export: false, randoms },
            ) => {
                let len =
                    |bits: CK_ULONG| (bits.is_multiple_of(8) && bits / 8 <= LONGEST_PART).then_some(bits as usize / 8);
                Self::Keys {
                    hash: hash(*said).ok()?,
                    // The server's first, unlike everywhere else (RFC 5246, section 6.3).
                    seed: joined(&randoms.server, &randoms.client)?,
                    mac_len: len(sizes.mac_bits)?,
                    key_len: len(sizes.key_bits)?,
                    iv_len: if family == Family::TlsKeysSafe { 0 } else { len(sizes.iv_bits)? },
                }
            }
            (Family::TlsKdf, GivenDerivation::TlsKdf { hash: said, label, randoms, context }) => {
                if label.is_empty() {
                    return None;
                }
                let mut seed = joined(&randoms.client, &randoms.server)?;
                if let Some(context) = context {
                    seed.extend(u16::try_from(context.len()).ok()?.to_be_bytes());
                    seed.extend(context);
                }
                Self::Labelled { hash: hash(*said).ok()?, label: label.clone(), seed }
            }
            _ => return None,
        })
    }

    /// The length in bytes of a key whose template names none.
    pub(super) fn natural_len(&self) -> Option<usize> {
        match self {
            Self::Master { .. } => Some(MASTER_LEN),
            Self::Keys { .. } | Self::Labelled { .. } => None,
        }
    }

    /// The keys that it makes, if it says itself which: their lengths in bytes, and whether they are for MACs.
    pub fn parts(&self) -> Option<Vec<(usize, bool)>> {
        let Self::Keys { mac_len, key_len, .. } = self else { return None };
        let all = [(*mac_len, true), (*mac_len, true), (*key_len, false), (*key_len, false)];
        Some(all.into_iter().filter(|part| part.0 > 0).collect())
    }

    /// Derives keys of these lengths, and what is no key: the version in a premaster secret, or the initialisation
    /// vectors, the client's first.
    pub(super) fn derive(&self, base: &[u8], lens: &[usize]) -> Result<(Vec<Secret>, Option<Secret>)> {
        match self {
            Self::Master { hash, label, seed, versioned } => {
                if lens != [MASTER_LEN] {
                    return Err(Cause::KeySizeRange.with("a master secret has 48 bytes"));
                }
                if *versioned && base.len() != MASTER_LEN {
                    return Err(Cause::KeyTypeInconsistent.with("a premaster secret with a version has 48 bytes"));
                }
                let version = versioned.then(|| base.get(..2).map(|version| Secret::new(version.to_vec()))).flatten();
                Ok((vec![kdf::tls_prf(*hash, base, label, seed, MASTER_LEN)?], version))
            }
            Self::Keys { hash, seed, iv_len, .. } => {
                let all = lens.iter().sum::<usize>() + 2 * iv_len;
                let block = kdf::tls_prf(*hash, base, KEY_EXPANSION, seed, all)?;
                let mut rest = block.expose();
                let mut next = |len: usize| {
                    let (part, after) = rest.split_at_checked(len).ok_or(Cause::KeySizeRange)?;
                    rest = after;
                    Ok(Secret::new(part.to_vec()))
                };
                let keys = lens.iter().map(|len| next(*len)).collect::<Result<_>>()?;
                let vectors = next(2 * iv_len)?;
                Ok((keys, (*iv_len > 0).then_some(vectors)))
            }
            Self::Labelled { hash, label, seed } => match lens {
                [len] => Ok((vec![kdf::tls_prf(*hash, base, label, seed, *len)?], None)),
                _ => Err(Cause::MechanismParamInvalid.with("one key at a time")),
            },
        }
    }
}

/// The random numbers of both sides.
fn joined(first: &[u8], second: &[u8]) -> Option<Vec<u8>> {
    (first.len() == RANDOM_LEN && second.len() == RANDOM_LEN).then(|| [first, second].concat())
}
