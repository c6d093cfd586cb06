//! Operations: digest, sign, verify, encrypt, decrypt (sections 5.8 to 5.14), by the one rule of their ends
//! (section 5.2).

use super::{Judged, Model, one_of};
use cryptoki_sys::*;
use sha2::Digest;

/// The kinds of operation of which a session has one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Digest,
    Sign,
    Verify,
    Encrypt,
    Decrypt,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Digest, Self::Sign, Self::Verify, Self::Encrypt, Self::Decrypt];

    /// Its flag, as mechanisms and `C_SessionCancel` have it.
    pub(crate) fn flag(self) -> CK_FLAGS {
        match self {
            Self::Digest => CKF_DIGEST,
            Self::Sign => CKF_SIGN,
            Self::Verify => CKF_VERIFY,
            Self::Encrypt => CKF_ENCRYPT,
            Self::Decrypt => CKF_DECRYPT,
        }
    }

    /// The class of key that it uses.
    fn class(self) -> Option<CK_OBJECT_CLASS> {
        match self {
            Self::Digest => None,
            Self::Sign | Self::Decrypt => Some(CKO_PRIVATE_KEY),
            Self::Verify | Self::Encrypt => Some(CKO_PUBLIC_KEY),
        }
    }
}

/// A mechanism of the sequences.
pub(crate) struct Mechanism {
    pub(crate) id: CK_MECHANISM_TYPE,
    flags: CK_FLAGS,
    key_type: CK_KEY_TYPE,
    /// The length of what it makes.
    pub(crate) len: usize,
}

const SIGNS: CK_FLAGS = CKF_SIGN | CKF_VERIFY;
const CRYPTS: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;

/// A number that is no mechanism's.
pub(crate) const NO_MECHANISM: CK_MECHANISM_TYPE = CKM_VENDOR_DEFINED | 0x4E6F;

/// The mechanisms of the sequences.
pub(crate) const MECHANISMS: [Mechanism; 7] = [
    Mechanism { id: CKM_SHA256, flags: CKF_DIGEST, key_type: 0, len: 32 },
    Mechanism { id: CKM_SHA512, flags: CKF_DIGEST, key_type: 0, len: 64 },
    Mechanism { id: CKM_ECDSA_SHA256, flags: SIGNS, key_type: CKK_EC, len: 64 },
    Mechanism { id: CKM_ECDSA_SHA384, flags: SIGNS, key_type: CKK_EC, len: 64 },
    Mechanism { id: CKM_SHA256_RSA_PKCS, flags: SIGNS, key_type: CKK_RSA, len: 256 },
    Mechanism { id: CKM_RSA_PKCS_OAEP, flags: CRYPTS, key_type: CKK_RSA, len: 256 },
    Mechanism { id: NO_MECHANISM, flags: 0, key_type: 0, len: 0 },
];

/// The longest plaintext of `CKM_RSA_PKCS_OAEP` here: RSA-2048 with SHA-256.
const MOST_PLAINTEXT: usize = 256 - 2 * 32 - 2;

/// Whether an operation is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Active,
    /// The specification leaves it open; the next answer tells.
    Doubtful,
}

/// An operation under way.
pub(crate) struct Operation {
    pub(crate) life: Life,
    pub(crate) mechanism: &'static Mechanism,
    /// The number of the key pair.
    pub(crate) pair: usize,
    /// Data came in parts.
    in_parts: bool,
    data: Vec<u8>,
    /// Its key wants a login for each use, which has not been.
    pub(crate) waits_for_login: bool,
    /// A login or logout came in between, or whoever was logged in is not any more.
    pub(crate) ciphertext: Option<usize>,
}

/// A signature that the module made.
pub(crate) struct Signature {
    pub(crate) pair: usize,
    mechanism: CK_MECHANISM_TYPE,
    data: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// A ciphertext that the module made.
pub(crate) struct Ciphertext {
    pair: usize,
    plaintext: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// The caller's output: whether there is a buffer, its room, and what the module said.
pub(crate) struct Output<'a> {
    /// `None`: the length is asked for.
    pub(crate) room: Option<usize>,
    pub(crate) len: CK_ULONG,
    pub(crate) buffer: &'a [u8],
}

impl Model {
    /// `C_…Init`; `mechanism` is `None` for NULL, which cancels.
    pub(crate) fn operation_begun(
        &mut self,
        session: CK_SESSION_HANDLE,
        kind: Kind,
        mechanism: Option<&'static Mechanism>,
        key: CK_OBJECT_HANDLE,
        rv: CK_RV,
    ) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        let life = known.operations.get(&kind).map(|operation| operation.life);
        let Some(mechanism) = mechanism else {
            // Nothing says what cancelling nothing answers.
            let right: &[CK_RV] = match life {
                Some(Life::Active) => &[CKR_OK],
                _ => &[CKR_OK, CKR_OPERATION_NOT_INITIALIZED],
            };
            self.operation_over(session, kind);
            return one_of(rv, right);
        };
        match life {
            Some(Life::Active) => return one_of(rv, &[CKR_OPERATION_ACTIVE]),
            Some(Life::Doubtful) if rv == CKR_OPERATION_ACTIVE => {
                self.operation(session, kind).expect("it has a life").life = Life::Active;
                return Ok(());
            }
            Some(Life::Doubtful) => self.operation_over(session, kind),
            None => {}
        }
        if mechanism.flags & kind.flag() == 0 {
            return one_of(rv, &[CKR_MECHANISM_INVALID]);
        }
        let (mut pair, mut waits_for_login) = (0, false);
        if let Some(class) = kind.class() {
            let Some(object) = self.object(key) else { return one_of(rv, &[CKR_KEY_HANDLE_INVALID]) };
            let object = &self.objects[object];
            let Some(number) = object.pair else { return one_of(rv, &[CKR_KEY_HANDLE_INVALID]) };
            let mut faults = Vec::new();
            if object.number(CKA_CLASS) != Some(class) {
                // The other half of a pair: three codes describe that.
                faults.extend([CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID]);
            }
            if object.number(CKA_KEY_TYPE) != Some(mechanism.key_type) {
                faults.push(CKR_KEY_TYPE_INCONSISTENT);
                if matches!(kind, Kind::Encrypt | Kind::Decrypt) {
                    // Nor has a key on a curve the attribute that permits it.
                    faults.push(CKR_KEY_FUNCTION_NOT_PERMITTED);
                }
            }
            let is_free = !object.is(CKA_TOKEN) && !object.is(CKA_PRIVATE);
            if class == CKO_PRIVATE_KEY && !is_free && self.user != Some(super::User::User) {
                // One that anybody sees: its use still needs the user, as its making did.
                faults.push(CKR_USER_NOT_LOGGED_IN);
            }
            (pair, waits_for_login) = (number, object.is(CKA_ALWAYS_AUTHENTICATE));
            if !super::judge(rv, &faults)? {
                return Ok(());
            }
        }
        one_of(rv, &[CKR_OK])?;
        let operation = Operation {
            life: Life::Active,
            mechanism,
            pair,
            in_parts: false,
            data: Vec::new(),
            waits_for_login,
            ciphertext: None,
        };
        self.sessions.get_mut(&session).expect("looked up above").operations.insert(kind, operation);
        Ok(())
    }

    fn operation(&mut self, session: CK_SESSION_HANDLE, kind: Kind) -> Option<&mut Operation> {
        self.sessions.get_mut(&session)?.operations.get_mut(&kind)
    }

    fn operation_over(&mut self, session: CK_SESSION_HANDLE, kind: Kind) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.operations.remove(&kind);
        }
    }

    /// The operation that a call is for. With none, the call has been judged. One in doubt ends here if the
    /// answer says so.
    fn active(&mut self, session: CK_SESSION_HANDLE, kind: Kind, rv: CK_RV) -> Result<Option<&mut Operation>, String> {
        if self.session(session, rv)?.is_none() {
            return Ok(None);
        }
        match self.operation(session, kind).map(|operation| operation.life) {
            None => return one_of(rv, &[CKR_OPERATION_NOT_INITIALIZED]).map(|()| None),
            Some(Life::Doubtful) => {
                // If it lived on, the key that it was started with may be out of reach.
                if matches!(rv, CKR_OPERATION_NOT_INITIALIZED | CKR_USER_NOT_LOGGED_IN) {
                    self.operation_over(session, kind);
                    return Ok(None);
                }
            }
            Some(Life::Active) => {}
        }
        let operation = self.operation(session, kind).expect("it has a life");
        operation.life = Life::Active;
        Ok(Some(operation))
    }

    /// `C_DigestUpdate`, `C_SignUpdate`, `C_VerifyUpdate`; `None` for data is NULL with a length.
    pub(crate) fn updated(&mut self, session: CK_SESSION_HANDLE, kind: Kind, data: Option<&[u8]>, rv: CK_RV) -> Judged {
        let Some(operation) = self.active(session, kind, rv)? else { return Ok(()) };
        match data {
            Some(data) => {
                one_of(rv, &[CKR_OK])?;
                operation.in_parts = true;
                operation.data.extend_from_slice(data);
                Ok(())
            }
            None => {
                self.operation_over(session, kind);
                one_of(rv, &[CKR_ARGUMENTS_BAD])
            }
        }
    }

    /// `C_Digest`, `C_Sign`, `C_Encrypt` with `data`, or `C_DigestFinal`, `C_SignFinal` without. Returns the
    /// data of an output that was made, with its pair and mechanism.
    pub(crate) fn ended(
        &mut self,
        session: CK_SESSION_HANDLE,
        kind: Kind,
        data: Option<&[u8]>,
        output: &Output<'_>,
        rv: CK_RV,
    ) -> Result<Option<Made>, String> {
        let Some(operation) = self.active(session, kind, rv)? else { return Ok(None) };
        if data.is_some() && operation.in_parts {
            // 5.2 ends it as every error does; 5.13.2 says that the call cannot end such an operation.
            operation.life = Life::Doubtful;
            return one_of(rv, &[CKR_OPERATION_ACTIVE]).map(|()| None);
        }
        let needed = operation.mechanism.len;
        let over = match output.room {
            None => {
                if operation.waits_for_login && rv == CKR_USER_NOT_LOGGED_IN {
                    true
                } else {
                    one_of(rv, &[CKR_OK])?;
                    at_least(output.len, needed)?;
                    false
                }
            }
            Some(room) if room < needed => {
                if operation.waits_for_login && rv == CKR_USER_NOT_LOGGED_IN {
                    true
                } else {
                    one_of(rv, &[CKR_BUFFER_TOO_SMALL])?;
                    at_least(output.len, needed)?;
                    false
                }
            }
            Some(_) => {
                if operation.waits_for_login {
                    one_of(rv, &[CKR_USER_NOT_LOGGED_IN])?;
                } else if kind == Kind::Encrypt && data.is_some_and(|data| data.len() > MOST_PLAINTEXT) {
                    one_of(rv, &[CKR_DATA_LEN_RANGE])?;
                } else {
                    one_of(rv, &[CKR_OK])?;
                    super::same("output length", output.len, needed as CK_ULONG)?;
                }
                true
            }
        };
        if !over {
            return Ok(None);
        }
        let mut ended =
            self.sessions.get_mut(&session).and_then(|known| known.operations.remove(&kind)).expect("active");
        if rv != CKR_OK {
            return Ok(None);
        }
        ended.data.extend_from_slice(data.unwrap_or_default());
        let bytes = output.buffer[..needed].to_vec();
        match kind {
            Kind::Digest => super::same("digest", bytes, hash(ended.mechanism.id, &ended.data)).map(|()| None),
            Kind::Encrypt => {
                self.ciphertexts.push(Ciphertext { pair: ended.pair, plaintext: ended.data, bytes });
                Ok(None)
            }
            _ => {
                let mechanism = ended.mechanism.id;
                let made = Made { pair: ended.pair, mechanism, data: ended.data.clone(), bytes: bytes.clone() };
                self.signatures.push(Signature { pair: ended.pair, mechanism, data: ended.data, bytes });
                Ok(Some(made))
            }
        }
    }

    /// `C_Verify` with `data`, or `C_VerifyFinal` without. It is over whatever comes of it.
    pub(crate) fn verified(
        &mut self,
        session: CK_SESSION_HANDLE,
        data: Option<&[u8]>,
        signature: &[u8],
        rv: CK_RV,
    ) -> Judged {
        let Some(operation) = self.active(session, Kind::Verify, rv)? else { return Ok(()) };
        if data.is_some() && operation.in_parts {
            operation.life = Life::Doubtful;
            return one_of(rv, &[CKR_OPERATION_ACTIVE]);
        }
        operation.data.extend_from_slice(data.unwrap_or_default());
        let (pair, mechanism, data) = (operation.pair, operation.mechanism, std::mem::take(&mut operation.data));
        self.operation_over(session, Kind::Verify);
        if signature.len() != mechanism.len {
            return one_of(rv, &[CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID]);
        }
        let right = |made: &Signature| {
            made.pair == pair && made.mechanism == mechanism.id && made.data == data && made.bytes == signature
        };
        one_of(rv, if self.signatures.iter().any(right) { &[CKR_OK] } else { &[CKR_SIGNATURE_INVALID] })
    }

    /// `C_Decrypt` of the ciphertext with this number, or of bytes that are none.
    pub(crate) fn decrypted(
        &mut self,
        session: CK_SESSION_HANDLE,
        ciphertext: Option<usize>,
        output: &Output<'_>,
        rv: CK_RV,
    ) -> Judged {
        let Some(operation) = self.active(session, Kind::Decrypt, rv)? else { return Ok(()) };
        let modulus = operation.mechanism.len;
        let pair = operation.pair;
        // A caller that was told of too little room comes again with the same data.
        if rv == CKR_BUFFER_TOO_SMALL {
            operation.ciphertext = ciphertext;
        }
        let plaintext = ciphertext.map(|number| &self.ciphertexts[number]).filter(|one| one.pair == pair);
        let least = plaintext.map_or(0, |one| one.plaintext.len());
        match output.room {
            None => {
                one_of(rv, &[CKR_OK])?;
                at_least(output.len, least)?;
                return at_most(output.len, modulus);
            }
            // Room for what the plaintext could be is always enough; with less, the token need not know
            // before it has decrypted (5.2).
            Some(room) if room < modulus && rv == CKR_BUFFER_TOO_SMALL => {
                at_least(output.len, least.max(room + 1))?;
                return at_most(output.len, modulus);
            }
            Some(_) => {}
        }
        let result = match plaintext {
            None => one_of(rv, &[CKR_ENCRYPTED_DATA_INVALID]),
            Some(_) if output.room < Some(least) => one_of(rv, &[CKR_BUFFER_TOO_SMALL]),
            Some(one) => one_of(rv, &[CKR_OK]).and_then(|()| {
                super::same("plaintext length", output.len, least as CK_ULONG)?;
                super::same("plaintext", &output.buffer[..least], one.plaintext.as_slice())
            }),
        };
        self.operation_over(session, Kind::Decrypt);
        result
    }

    /// `C_GetOperationState` (5.6.5), of which the sequences only ask the length.
    pub(crate) fn state_asked(&self, session: CK_SESSION_HANDLE, rv: CK_RV) -> Judged {
        if super::is_missing("C_GetOperationState") {
            return one_of(rv, &[CKR_FUNCTION_NOT_SUPPORTED]);
        }
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        let lives: Vec<_> = known.operations.values().map(|operation| operation.life).collect();
        let search = known.search.as_ref().map(|search| search.life);
        let mut right = Vec::new();
        if !lives.contains(&Life::Active) {
            right.push(CKR_OPERATION_NOT_INITIALIZED);
        }
        // A search is an operation too; its state, and those of operations with keys, the token may refuse.
        let digest_alone = known.operations.contains_key(&Kind::Digest) && lives.len() == 1 && search.is_none();
        if !lives.is_empty() {
            right.push(CKR_OK);
        }
        if search.is_some() || (!lives.is_empty() && !digest_alone) {
            right.push(CKR_STATE_UNSAVEABLE);
        }
        one_of(rv, &right)
    }

    /// What an `Init` with an impossible mechanism tells of an operation: whether it is there.
    pub(crate) fn probed(&mut self, session: CK_SESSION_HANDLE, kind: Kind, rv: CK_RV) -> Judged {
        let none = &MECHANISMS[MECHANISMS.len() - 1];
        self.operation_begun(session, kind, Some(none), 0, rv)
    }
}

/// A signature that is to be checked by another implementation.
pub(crate) struct Made {
    pub(crate) pair: usize,
    pub(crate) mechanism: CK_MECHANISM_TYPE,
    pub(crate) data: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

fn hash(mechanism: CK_MECHANISM_TYPE, data: &[u8]) -> Vec<u8> {
    match mechanism {
        CKM_SHA256 => sha2::Sha256::digest(data).to_vec(),
        _ => sha2::Sha512::digest(data).to_vec(),
    }
}

fn at_least(len: CK_ULONG, least: usize) -> Judged {
    if len as usize >= least { Ok(()) } else { Err(format!("length {len}, at least {least} are needed")) }
}

fn at_most(len: CK_ULONG, most: usize) -> Judged {
    if len as usize <= most { Ok(()) } else { Err(format!("length {len}, at most {most} can be needed")) }
}
