//! Messages of a message-based encryption or decryption process (sections 5.9 and 5.11). An error ends the message
//! and not the process.

use super::{input, operation, output};
use crate::crypto::Direction;
use crate::error::{Cause, Result};
use crate::mechanism::{MessageParams, MessageShape, nonce_len};
use crate::session::{Kind, Session};
use cryptoki_sys::*;
use std::ffi::c_void;

/// The parameter of one message, and the caller's places for what the module makes of it.
struct Parameter {
    params: MessageParams,
    iv: *mut CK_BYTE,
    tag: *mut CK_BYTE,
}

/// The parameters of one of the mechanisms, told apart by their lengths.
///
/// # Safety
/// The parameter is null or good for its length, and so is what it points to.
unsafe fn parameter(parameter: *mut c_void, len: CK_ULONG) -> Result<Parameter> {
    let bad = |what: &'static str| Cause::MechanismParamInvalid.with(what);
    // SAFETY: a structure is read only if the length is its own; the caller promises that it, and what it points to,
    // can be read.
    unsafe {
        let iv = |iv, len| input::bytes(iv, len).map(<[u8]>::to_vec).map_err(|_| bad("IV or nonce"));
        match len as usize {
            GCM_LEN => {
                let gcm = input::value(parameter.cast::<CK_GCM_MESSAGE_PARAMS>())?;
                let params = MessageParams {
                    iv: iv(gcm.pIv, gcm.ulIvLen)?,
                    fixed_bits: gcm.ulIvFixedBits,
                    generator: gcm.ivGenerator,
                    tag_bits: gcm.ulTagBits,
                    shape: MessageShape::Gcm,
                };
                Ok(Parameter { params, iv: gcm.pIv, tag: gcm.pTag })
            }
            CCM_LEN => {
                let ccm = input::value(parameter.cast::<CK_CCM_MESSAGE_PARAMS>())?;
                let params = MessageParams {
                    iv: iv(ccm.pNonce, ccm.ulNonceLen)?,
                    fixed_bits: ccm.ulNonceFixedBits,
                    generator: ccm.nonceGenerator,
                    tag_bits: ccm.ulMACLen.checked_mul(8).ok_or_else(|| bad("ulMACLen"))?,
                    shape: MessageShape::Ccm { data_len: ccm.ulDataLen },
                };
                Ok(Parameter { params, iv: ccm.pNonce, tag: ccm.pMAC })
            }
            CHACHA20_LEN => {
                let chacha20 = input::value(parameter.cast::<CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS>())?;
                let params = MessageParams {
                    iv: iv(chacha20.pNonce, nonce_len(chacha20.ulNonceLen)?)?,
                    fixed_bits: 0,
                    generator: CKG_NO_GENERATE,
                    tag_bits: 128,
                    shape: MessageShape::ChaCha20Poly1305,
                };
                Ok(Parameter { params, iv: chacha20.pNonce, tag: chacha20.pTag })
            }
            _ => Err(bad("the parameters of no mechanism for messages")),
        }
    }
}

const GCM_LEN: usize = size_of::<CK_GCM_MESSAGE_PARAMS>();
const CCM_LEN: usize = size_of::<CK_CCM_MESSAGE_PARAMS>();
const CHACHA20_LEN: usize = size_of::<CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS>();

impl Parameter {
    /// The caller's tag.
    ///
    /// # Safety
    /// The tag is null or good for its length.
    unsafe fn tag(&self) -> Result<&[u8]> {
        let len = self.params.tag_len()? as CK_ULONG;
        // SAFETY: the caller's promise, passed on.
        unsafe { input::bytes(self.tag, len) }.map_err(|_| Cause::MechanismParamInvalid.with("a tag without memory"))
    }

    /// That there is a place for the tag.
    fn check_tag(&self) -> Result<()> {
        if self.tag.is_null() { Err(Cause::MechanismParamInvalid.with("no place for the tag")) } else { Ok(()) }
    }

    /// Writes what the module made.
    ///
    /// # Safety
    /// IV and tag are null or good for writing their lengths.
    unsafe fn write(&self, iv: Option<Vec<u8>>, tag: Option<Vec<u8>>) {
        for (made, place, len) in [(iv, self.iv, self.params.iv.len()), (tag, self.tag, usize::MAX)] {
            let Some(made) = made.filter(|made| made.len() <= len && !place.is_null()) else { continue };
            // SAFETY: not null, and good for so many bytes: an IV keeps its length, and a tag has the one that its
            // parameter gives.
            unsafe { std::ptr::copy_nonoverlapping(made.as_ptr(), place, made.len()) };
        }
    }
}

/// # Safety
/// The mechanism is null or good for reading.
pub(super) unsafe fn encrypt_init(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { init(session, Direction::Encrypt, mechanism, key) }
}

/// # Safety
/// The mechanism is null or good for reading.
pub(super) unsafe fn decrypt_init(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { init(session, Direction::Decrypt, mechanism, key) }
}

/// The parameter comes with each message. Here there may be one or none, and it is not read.
///
/// # Safety
/// The mechanism is null or good for reading.
unsafe fn init(
    session: &Session,
    direction: Direction,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let kind = match direction {
        Direction::Encrypt => Kind::MessageEncrypt,
        Direction::Decrypt => Kind::MessageDecrypt,
    };
    let start = |mechanism: &CK_MECHANISM| {
        let given = match (mechanism.ulParameterLen as usize, mechanism.mechanism) {
            (0, _) | (GCM_LEN, CKM_AES_GCM) | (CCM_LEN, CKM_AES_CCM) | (CHACHA20_LEN, CKM_CHACHA20_POLY1305) => Ok(()),
            _ => Err(Cause::MechanismParamInvalid.into()),
        };
        session.message_crypt_init(direction, mechanism.mechanism, given, key)
    };
    // SAFETY: the caller's promise, passed on.
    unsafe { operation::init(session, mechanism, kind, start) }
}

/// # Safety
/// Each pointer is null or good for its length, and so is what the parameter points to.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn encrypt(
    session: &Session,
    given: *mut c_void,
    given_len: CK_ULONG,
    associated: *mut CK_BYTE,
    associated_len: CK_ULONG,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    out: *mut CK_BYTE,
    out_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let given = parameter(given, given_len).and_then(|given| given.check_tag().map(|()| given));
        let (associated, data) = (input::bytes(associated, associated_len), input::bytes(data, data_len));
        output::operation(
            out,
            out_len,
            || (),
            |room| {
                let params = given.as_ref().map(|given| given.params.clone()).map_err(Clone::clone);
                let made = session.encrypt_message(params, associated, data, room)?;
                if let Ok(given) = &given {
                    given.write(made.iv, made.tag);
                }
                Ok(made.outcome)
            },
        )
    }
}

/// # Safety
/// As for [`encrypt`].
pub(super) unsafe fn encrypt_begin(
    session: &Session,
    given: *mut c_void,
    given_len: CK_ULONG,
    associated: *mut CK_BYTE,
    associated_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let given = parameter(given, given_len);
        let params = given.as_ref().map(|given| given.params.clone()).map_err(Clone::clone);
        let associated = input::bytes(associated, associated_len);
        let iv = session.crypt_message_begin(Direction::Encrypt, params, associated)?;
        given?.write(iv, None);
    }
    Ok(())
}

/// # Safety
/// As for [`encrypt`].
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn encrypt_next(
    session: &Session,
    given: *mut c_void,
    given_len: CK_ULONG,
    part: *mut CK_BYTE,
    part_len: CK_ULONG,
    out: *mut CK_BYTE,
    out_len: *mut CK_ULONG,
    flags: CK_FLAGS,
) -> Result<()> {
    let last = flags & CKF_END_OF_MESSAGE != 0;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let part = input::bytes(part, part_len);
        let given = next_parameter(given, given_len).and_then(|given| match &given {
            Some(place) if last => place.check_tag().map(|()| given),
            _ => Ok(given),
        });
        output::operation(
            out,
            out_len,
            || session.cancel_message(Direction::Encrypt),
            |room| {
                let params = given.as_ref().map(|given| given.as_ref().map(|given| given.params.clone()));
                let made = session.encrypt_message_next(params.map_err(Clone::clone), part, room, last)?;
                if let Ok(Some(given)) = &given {
                    given.write(None, made.tag);
                }
                Ok(made.outcome)
            },
        )
    }
}

/// Parts before the last may come without the parameter that the message began with.
///
/// # Safety
/// As for [`parameter`].
unsafe fn next_parameter(given: *mut c_void, given_len: CK_ULONG) -> Result<Option<Parameter>> {
    if given_len == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { parameter(given, given_len) }.map(Some)
}

/// # Safety
/// As for [`encrypt`].
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn decrypt(
    session: &Session,
    given: *mut c_void,
    given_len: CK_ULONG,
    associated: *mut CK_BYTE,
    associated_len: CK_ULONG,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    out: *mut CK_BYTE,
    out_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let given = parameter(given, given_len);
        let (associated, data) = (input::bytes(associated, associated_len), input::bytes(data, data_len));
        output::operation(
            out,
            out_len,
            || (),
            |room| {
                let params = given.as_ref().map(|given| given.params.clone()).map_err(Clone::clone);
                let tag = given.as_ref().map_err(Clone::clone).and_then(|given| given.tag());
                session.decrypt_message(params, tag, associated, data, room)
            },
        )
    }
}

/// # Safety
/// As for [`encrypt`].
pub(super) unsafe fn decrypt_begin(
    session: &Session,
    given: *mut c_void,
    given_len: CK_ULONG,
    associated: *mut CK_BYTE,
    associated_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let params = parameter(given, given_len).map(|given| given.params);
        let associated = input::bytes(associated, associated_len);
        session.crypt_message_begin(Direction::Decrypt, params, associated).map(drop)
    }
}

/// # Safety
/// As for [`encrypt`].
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn decrypt_next(
    session: &Session,
    given: *mut c_void,
    given_len: CK_ULONG,
    part: *mut CK_BYTE,
    part_len: CK_ULONG,
    out: *mut CK_BYTE,
    out_len: *mut CK_ULONG,
    flags: CK_FLAGS,
) -> Result<()> {
    let last = flags & CKF_END_OF_MESSAGE != 0;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let part = input::bytes(part, part_len);
        let given = next_parameter(given, given_len);
        output::operation(
            out,
            out_len,
            || session.cancel_message(Direction::Decrypt),
            |room| {
                let params = given.as_ref().map(|given| given.as_ref().map(|given| given.params.clone()));
                let tag = last.then(|| match &given {
                    Ok(Some(given)) => given.tag(),
                    _ => Err(Cause::MechanismParamInvalid.into()),
                });
                session.decrypt_message_next(params.map_err(Clone::clone), tag, part, room)
            },
        )
    }
}

/// # Safety
/// Always safe.
pub(super) unsafe fn encrypt_final(session: &Session) -> Result<()> {
    session.message_crypt_final(Direction::Encrypt)
}

/// # Safety
/// Always safe.
pub(super) unsafe fn decrypt_final(session: &Session) -> Result<()> {
    session.message_crypt_final(Direction::Decrypt)
}
