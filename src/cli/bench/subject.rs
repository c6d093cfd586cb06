//! A key that is measured.

use super::super::desk::Desk;
use super::super::key::Kind;
use super::super::object::{Key, attribute};
use super::super::output::Failure;
use crate::crypto::{Curve, KeyKind, PublicKey};
use crate::mechanism::{Given, find};
use crate::object::Look;
use crate::session::{Outcome, Room, Session};
use crate::store::ObjectId;
use cryptoki_sys::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is signed.
const MESSAGE: &[u8; 32] = &[0x42; 32];
/// How many signatures are made between two looks at the clock.
const AT_ONCE: u64 = 8;

const YES: &[u8] = &[CK_TRUE];
const NO: &[u8] = &[CK_FALSE];

/// Whether keys of this kind sign as certificates are signed.
pub(super) fn signs(kind: &Kind) -> bool {
    matches!(kind.key_type, CKK_RSA | CKK_EC | CKK_EC_EDWARDS | CKK_ML_DSA | CKK_SLH_DSA)
}

/// Whether KMS makes key pairs of this kind.
pub(super) fn is_made_by_kms(kind: &Kind) -> bool {
    // Of the Edwards curves it has one.
    matches!(kind.key_type, CKK_RSA | CKK_EC) || kind.name == "ed25519"
}

/// How keys of one kind sign.
fn mechanism(kind: KeyKind) -> Option<CK_MECHANISM_TYPE> {
    Some(match kind {
        KeyKind::Rsa { .. } => CKM_SHA256_RSA_PKCS,
        KeyKind::Ec(Curve::P256 | Curve::Secp256k1) => CKM_ECDSA_SHA256,
        KeyKind::Ec(Curve::P384) => CKM_ECDSA_SHA384,
        KeyKind::Ec(Curve::P521) => CKM_ECDSA_SHA512,
        KeyKind::Ed25519 | KeyKind::Ed448 => CKM_EDDSA,
        KeyKind::MlDsa(_) => CKM_ML_DSA,
        KeyKind::SlhDsa(_) => CKM_SLH_DSA,
        KeyKind::X25519 | KeyKind::X448 | KeyKind::MlKem(_) | KeyKind::Dh(_) => return None,
    })
}

/// A private key to sign with.
pub(super) struct Subject {
    session: Arc<Session>,
    private: CK_OBJECT_HANDLE,
    id: ObjectId,
    mechanism: CK_MECHANISM_TYPE,
    /// The halves of a pair that was made to be measured.
    own: Vec<CK_OBJECT_HANDLE>,
}

/// So many signatures in this time.
pub(super) struct Signed {
    pub(super) count: u64,
    pub(super) time: Duration,
}

impl Subject {
    /// A new key pair, of the session.
    pub(super) fn new(session: &Arc<Session>, kind: &Kind) -> Result<Self, Failure> {
        let (parameter, value) = kind.attribute();
        let public = [(CKA_TOKEN, NO), (CKA_LABEL, &b"bench"[..]), (parameter, &value)];
        let private = [(CKA_TOKEN, NO), (CKA_LABEL, &b"bench"[..]), (CKA_SIGN, YES)];
        let (public, private) = session.generate_key_pair(kind.mechanism, || Ok(Given::Nothing), &public, &private)?;
        Self::with(session, private, vec![public, private])
    }

    /// A key of the token.
    pub(super) fn of_key(session: &Arc<Session>, key: &Key) -> Result<Self, Failure> {
        let private = key.private.as_ref().filter(|private| private.class() == CKO_PRIVATE_KEY);
        let private = private.ok_or_else(|| Failure::new("that is no private key, and signs nothing"))?;
        if private.record.attributes.is(CKA_ALWAYS_AUTHENTICATE) {
            return Err(Failure::new(
                "each use of this key needs the PIN anew (CKA_ALWAYS_AUTHENTICATE): it is not measured",
            ));
        }
        Self::with(session, private.handle, Vec::new())
    }

    fn with(session: &Arc<Session>, private: CK_OBJECT_HANDLE, own: Vec<CK_OBJECT_HANDLE>) -> Result<Self, Failure> {
        let public = PublicKey::from_spki(&attribute(session, private, CKA_PUBLIC_KEY_INFO)?)?;
        let mechanism = mechanism(public.kind()).ok_or_else(|| Failure::new("keys of this type sign nothing"))?;
        let id = attribute(session, private, CKA_UNIQUE_ID)?;
        let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Failure::new("the key has no unique id"))?;
        Ok(Self { session: Arc::clone(session), private, id, mechanism, own })
    }

    pub(super) fn mechanism_name(&self) -> &'static str {
        find(self.mechanism).map_or("", |row| row.name)
    }

    /// Wipes the open key: the next use has KMS open it.
    pub(super) fn close(&self) {
        self.session.slot.token.forget_key(self.id);
    }

    /// One signature.
    pub(super) fn sign(&self, session: &Session) -> Result<(), Failure> {
        session.sign_init(self.mechanism, || Ok(Given::Nothing), self.private)?;
        match session.sign(Ok(MESSAGE), Room::Bytes(usize::MAX))? {
            Outcome::Done(_) => Ok(()),
            _ => Err(Failure::new("the signature was not made")),
        }
    }

    /// Signatures by so many threads, each in a session of its own, for this time, and never more than `most`.
    pub(super) fn sign_for(&self, desk: &Desk, threads: usize, time: Duration, most: u64) -> Result<Signed, Failure> {
        let sessions = (0..threads).map(|_| desk.session()).collect::<Result<Vec<_>, _>>()?;
        // What each makes once is made before the clock runs.
        sessions.iter().try_for_each(|session| self.sign(session))?;
        let most = most.saturating_sub(threads as u64);
        let (begun, stop, promised) = (Instant::now(), AtomicBool::new(false), AtomicU64::new(0));
        let work = |session: &Arc<Session>| {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                if promised.fetch_add(AT_ONCE, Ordering::Relaxed).saturating_add(AT_ONCE) > most
                    || begun.elapsed() >= time
                {
                    break;
                }
                for _ in 0..AT_ONCE {
                    self.sign(session).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                    made += 1;
                }
            }
            Ok::<u64, Failure>(made)
        };
        let results = std::thread::scope(|scope| {
            let started: Vec<_> = sessions.iter().map(|session| scope.spawn(|| work(session))).collect();
            started.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        });
        let time = begun.elapsed();
        let mut count = 0;
        for result in results {
            count += result.unwrap_or_else(|_| Err(Failure::new("a thread that signed panicked")))?;
        }
        Ok(Signed { count, time })
    }

    /// The key goes, if it was made to be measured.
    pub(super) fn destroy(self) -> Result<(), Failure> {
        for handle in &self.own {
            self.session.destroy_object(*handle)?;
        }
        self.close();
        Ok(())
    }
}
