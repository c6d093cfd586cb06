//! Actions on operations.

use super::actions::{Action, Pick, Room};
use super::drive::World;
use super::operations::{Kind, MECHANISMS, Made, Mechanism, Output};
use super::{Judged, same};
use crate::host::{call, mechanism};
use cryptoki_sys::*;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use sha2::Digest;
use std::ptr::null_mut;

/// Data that is digested, signed and encrypted; `None` is NULL with a length.
const DATA: [Option<&[u8]>; 6] =
    [Some(b"some data"), Some(b""), Some(&[7; 64]), Some(&[0; 190]), Some(&[0xff; 500]), None];

impl World {
    /// `C_…Init` of a kind; `id` is `None` for NULL.
    pub(super) fn call_init(
        &mut self,
        session: CK_SESSION_HANDLE,
        kind: Kind,
        id: Option<CK_MECHANISM_TYPE>,
        key: CK_OBJECT_HANDLE,
    ) -> CK_RV {
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: null_mut(),
            ulSourceDataLen: 0,
        };
        let mut given = mechanism(id.unwrap_or_default());
        if id == Some(CKM_RSA_PKCS_OAEP) {
            given.pParameter = (&raw mut oaep).cast();
            given.ulParameterLen = size_of_val(&oaep) as CK_ULONG;
        }
        let given = if id.is_some() { &raw mut given } else { null_mut() };
        let module = self.module;
        let (name, rv) = match kind {
            Kind::Digest => ("C_DigestInit", call!(module, C_DigestInit, session, given)),
            Kind::Sign => ("C_SignInit", call!(module, C_SignInit, session, given, key)),
            Kind::Verify => ("C_VerifyInit", call!(module, C_VerifyInit, session, given, key)),
            Kind::Encrypt => ("C_EncryptInit", call!(module, C_EncryptInit, session, given, key)),
            Kind::Decrypt => ("C_DecryptInit", call!(module, C_DecryptInit, session, given, key)),
        };
        self.note(name, rv)
    }

    /// A mechanism: mostly one that the operation has.
    fn mechanism(kind: Kind, pick: u8) -> &'static Mechanism {
        let fitting: &[usize] = match kind {
            Kind::Digest => &[0, 1],
            Kind::Sign | Kind::Verify => &[2, 2, 3, 4],
            Kind::Encrypt | Kind::Decrypt => &[5],
        };
        let pick = usize::from(pick);
        &MECHANISMS[if pick < 216 { fitting[pick % fitting.len()] } else { pick % MECHANISMS.len() }]
    }

    /// A key: mostly one that fits.
    fn key(&self, kind: Kind, mechanism: &Mechanism, pick: Pick) -> CK_OBJECT_HANDLE {
        let class = if matches!(kind, Kind::Sign | Kind::Decrypt) { CKO_PRIVATE_KEY } else { CKO_PUBLIC_KEY };
        let fits = |handle: CK_OBJECT_HANDLE| {
            let object = self.model.object(handle).map(|object| &self.model.objects[object]);
            object.is_some_and(|object| {
                object.number(CKA_CLASS) == Some(class)
                    && (object.number(CKA_KEY_TYPE) == Some(CKK_RSA)) == (mechanism.len == 256)
            })
        };
        let fitting: Vec<_> = self.model.handles.iter().map(|known| known.0).filter(|handle| fits(*handle)).collect();
        if pick >= 216 || fitting.is_empty() { self.handle(pick) } else { fitting[usize::from(pick) % fitting.len()] }
    }

    pub(super) fn perform_operation(&mut self, action: &Action) -> Judged {
        let module = self.module;
        match action {
            Action::Init { session, kind, mechanism, key } => {
                let session = self.session(*session);
                let mechanism = Self::mechanism(*kind, *mechanism);
                let key = self.key(*kind, mechanism, *key);
                let rv = self.call_init(session, *kind, Some(mechanism.id), key);
                self.model.operation_begun(session, *kind, Some(mechanism), key, rv)
            }
            Action::CancelByNull { session, kind } => {
                let session = self.session(*session);
                let rv = self.call_init(session, *kind, None, 0);
                self.model.operation_begun(session, *kind, None, 0, rv)
            }
            // RSA encryption has no parts.
            Action::Update { kind: Kind::Encrypt | Kind::Decrypt, .. }
            | Action::Final { kind: Kind::Encrypt | Kind::Decrypt, .. } => Ok(()),
            Action::Update { session, kind, data } => {
                let session = self.session(*session);
                let data = DATA[usize::from(*data) % DATA.len()];
                let (part, len) = raw(data);
                let (name, rv) = match kind {
                    Kind::Digest => ("C_DigestUpdate", call!(module, C_DigestUpdate, session, part, len)),
                    Kind::Sign => ("C_SignUpdate", call!(module, C_SignUpdate, session, part, len)),
                    _ => ("C_VerifyUpdate", call!(module, C_VerifyUpdate, session, part, len)),
                };
                self.note(name, rv);
                self.model.updated(session, *kind, data, rv)
            }
            Action::Whole { session, kind: Kind::Verify, data, .. } => self.verify(self.session(*session), Some(*data)),
            Action::Final { session, kind: Kind::Verify, data, room } => {
                let exact = if matches!(room, Room::OneShort) { 1 } else { 0 };
                self.verify_final(self.session(*session), *data, exact)
            }
            Action::Whole { session, kind: Kind::Decrypt, data, room } => {
                self.decrypt(self.session(*session), *data, *room)
            }
            Action::Whole { session, kind, data, room } => {
                let session = self.session(*session);
                let data = DATA[usize::from(*data) % (DATA.len() - 1)].unwrap_or_default();
                let (bytes, len) = raw(Some(data));
                let (mut buffer, room) = self.buffer(session, *kind, *room);
                let (out, mut out_len) = place(&mut buffer, room);
                let out_len = &mut out_len;
                let (name, rv) = match kind {
                    Kind::Digest => ("C_Digest", call!(module, C_Digest, session, bytes, len, out, out_len)),
                    Kind::Sign => ("C_Sign", call!(module, C_Sign, session, bytes, len, out, out_len)),
                    _ => ("C_Encrypt", call!(module, C_Encrypt, session, bytes, len, out, out_len)),
                };
                self.note(name, rv);
                let output = Output { room, len: *out_len, buffer: &buffer };
                let made = self.model.ended(session, *kind, Some(data), &output, rv)?;
                self.check_signature(made)
            }
            Action::Final { session, kind, room, .. } => {
                let session = self.session(*session);
                let (mut buffer, room) = self.buffer(session, *kind, *room);
                let (out, mut out_len) = place(&mut buffer, room);
                let (name, rv) = match kind {
                    Kind::Digest => ("C_DigestFinal", call!(module, C_DigestFinal, session, out, &mut out_len)),
                    _ => ("C_SignFinal", call!(module, C_SignFinal, session, out, &mut out_len)),
                };
                self.note(name, rv);
                let output = Output { room, len: out_len, buffer: &buffer };
                let made = self.model.ended(session, *kind, None, &output, rv)?;
                self.check_signature(made)
            }
            _ => unreachable!("no action on operations"),
        }
    }

    /// A buffer, and the room in it that the caller speaks of.
    fn buffer(&self, session: CK_SESSION_HANDLE, kind: Kind, room: Room) -> (Vec<u8>, Option<usize>) {
        let operation = self.model.sessions.get(&session).and_then(|session| session.operations.get(&kind));
        let exact = operation.map_or(64, |operation| operation.mechanism.len);
        let room = match room {
            Room::Query => None,
            Room::Zero => Some(0),
            Room::OneShort => Some(exact - 1),
            Room::Exact => Some(exact),
            Room::Plenty => Some(1024),
        };
        (vec![0xa5; 1024], room)
    }

    /// The signature to be verified: the last one of this key, also when data or mechanism are others; it may
    /// be altered.
    fn signature(&self, session: CK_SESSION_HANDLE, alter: u8) -> Vec<u8> {
        let operation = self.model.sessions.get(&session).and_then(|session| session.operations.get(&Kind::Verify));
        let Some(operation) = operation else { return vec![1; 64] };
        let last = self.model.signatures.iter().rev().find(|made| made.pair == operation.pair);
        let mut signature = last.map_or_else(|| vec![1; operation.mechanism.len], |made| made.bytes.clone());
        match alter {
            1 => drop(signature.pop()),
            2 => signature[10] ^= 1,
            _ => {}
        }
        signature
    }

    fn verify(&mut self, session: CK_SESSION_HANDLE, pick: Option<u8>) -> Judged {
        let pick = pick.unwrap_or_default();
        let data = DATA[usize::from(pick) % (DATA.len() - 1)].unwrap_or_default();
        let signature = self.signature(session, pick / 5 % 8);
        let (bytes, len) = raw(Some(data));
        let (signed, signed_len) = raw(Some(&signature));
        let rv = call!(self.module, C_Verify, session, bytes, len, signed, signed_len);
        self.note("C_Verify", rv);
        self.model.verified(session, Some(data), &signature, rv)
    }

    fn verify_final(&mut self, session: CK_SESSION_HANDLE, pick: u8, short: u8) -> Judged {
        let signature = self.signature(session, if short == 1 { 1 } else { pick % 8 });
        let (signed, signed_len) = raw(Some(&signature));
        let rv = call!(self.module, C_VerifyFinal, session, signed, signed_len);
        self.note("C_VerifyFinal", rv);
        self.model.verified(session, None, &signature, rv)
    }

    fn decrypt(&mut self, session: CK_SESSION_HANDLE, pick: u8, room: Room) -> Judged {
        let operation = self.model.sessions.get(&session).and_then(|session| session.operations.get(&Kind::Decrypt));
        let count = self.model.ciphertexts.len();
        let again = operation.and_then(|operation| operation.ciphertext);
        let ciphertext = again.or((pick < 200 && count > 0).then(|| count - 1 - usize::from(pick) % count));
        let garbage = [0; 256];
        let bytes = ciphertext.map_or(&garbage[..], |number| &self.model.ciphertexts[number].bytes).to_vec();
        let (data, len) = raw(Some(&bytes));
        let (mut buffer, room) = self.buffer(session, Kind::Decrypt, room);
        let room = room.map(|room| if room == 255 { usize::from(pick) } else { room });
        let (out, mut out_len) = place(&mut buffer, room);
        let rv = call!(self.module, C_Decrypt, session, data, len, out, &mut out_len);
        self.note("C_Decrypt", rv);
        self.model.decrypted(session, ciphertext, &Output { room, len: out_len, buffer: &buffer }, rv)
    }

    /// Another implementation's opinion of a signature.
    fn check_signature(&self, made: Option<Made>) -> Judged {
        let Some(made) = made else { return Ok(()) };
        let Some(key) = self.points.get(&made.pair) else { return Ok(()) };
        let digest = match made.mechanism {
            CKM_ECDSA_SHA256 => sha2::Sha256::digest(&made.data).to_vec(),
            _ => sha2::Sha384::digest(&made.data).to_vec(),
        };
        let signature = p256::ecdsa::Signature::from_slice(&made.bytes).map_err(|error| error.to_string())?;
        same("another opinion of the signature", key.verify_prehash(&digest, &signature).is_ok(), true)
    }
}

/// Data in C's form.
fn raw(data: Option<&[u8]>) -> (*mut CK_BYTE, CK_ULONG) {
    data.map_or((null_mut(), 5), |data| (data.as_ptr().cast_mut(), data.len() as CK_ULONG))
}

/// An output in C's form.
fn place(buffer: &mut [u8], room: Option<usize>) -> (*mut CK_BYTE, CK_ULONG) {
    (if room.is_some() { buffer.as_mut_ptr() } else { null_mut() }, room.unwrap_or(0) as CK_ULONG)
}
