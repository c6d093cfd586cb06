//! Wrapping and unwrapping keys (section 5.18).

use super::{input, output};
use crate::crypto::random;
use crate::error::{Cause, Result};
use crate::mechanism::Given;
use crate::object::Template;
use crate::session::{Outcome, Room, Session};
use cryptoki_sys::*;

/// # Safety
/// The mechanism is null or good for reading, and its parameter for its length, with all that it points to;
/// `wrapped_len` is null or good for writing, and `wrapped` null or good for so many bytes.
pub(super) unsafe fn wrap(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    wrapped_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let parameter = || input::parameter(&mechanism);
        output::operation(
            wrapped,
            wrapped_len,
            || {},
            |room| session.wrap_key(mechanism.mechanism, parameter, wrapping_key, key, room),
        )
    }
}

/// # Safety
/// The mechanism is null or good for reading, and its parameter for its length, with all that it points to; the wrapped
/// key is null or good for its length, and the template for its count; the handle is null or good for writing.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn unwrap(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    wrapped_len: CK_ULONG,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let wrapped = input::bytes(wrapped, wrapped_len)?;
        let given = input::template(template, count)?;
        let template = || Template::parse(&given);
        let parameter = || input::parameter(&mechanism);
        let made = session.unwrap_key(mechanism.mechanism, parameter, unwrapping_key, wrapped, template)?;
        output::value(key, made)
    }
}

/// `C_WrapKeyAuthenticated`: what is wrapped and its tag go to different places.
///
/// # Safety
/// As for [`wrap`]; the parameter's initialisation vector and tag are good for writing, and the associated data is null
/// or good for its length.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn wrap_authenticated(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    associated: *mut CK_BYTE,
    associated_len: CK_ULONG,
    wrapped: *mut CK_BYTE,
    wrapped_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let associated = input::bytes(associated, associated_len)?;
        let sealing = Sealing::read(&mechanism)?;
        let mut iv = input::bytes(sealing.iv, sealing.iv_len).map_err(|_| bad())?.to_vec();
        if !wrapped.is_null() {
            sealing.generate(&mut iv)?;
        }
        let tag_len = sealing.tag_len();
        let mut tag = None;
        let given = || Ok(sealing.given(iv.clone(), associated.to_vec()));
        output::operation(
            wrapped,
            wrapped_len,
            || {},
            |room| {
                let room = match room {
                    Room::Bytes(room) => Room::Bytes(room.saturating_add(tag_len)),
                    Room::Query => Room::Query,
                };
                let without = |len: usize| len.saturating_sub(tag_len);
                Ok(match session.wrap_key(mechanism.mechanism, given, wrapping_key, key, room)? {
                    Outcome::Size(len) => Outcome::Size(without(len)),
                    Outcome::TooSmall(len) => Outcome::TooSmall(without(len)),
                    Outcome::Done(mut sealed) => {
                        tag = Some(sealed.expose()[without(sealed.len())..].to_vec());
                        sealed.truncate(without(sealed.len()));
                        Outcome::Done(sealed)
                    }
                    structure => structure,
                })
            },
        )?;
        if let Some(tag) = tag {
            std::ptr::copy_nonoverlapping(iv.as_ptr(), sealing.iv, iv.len());
            std::ptr::copy_nonoverlapping(tag.as_ptr(), sealing.tag, tag.len());
        }
        Ok(())
    }
}

/// `C_UnwrapKeyAuthenticated`.
///
/// # Safety
/// As for [`unwrap`]; the associated data is null or good for its length.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn unwrap_authenticated(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    wrapped_len: CK_ULONG,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    associated: *mut CK_BYTE,
    associated_len: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let associated = input::bytes(associated, associated_len)?;
        let wrapped = input::bytes(wrapped, wrapped_len)?;
        let attributes = input::template(template, count)?;
        let template = || Template::parse(&attributes);
        let sealing = Sealing::read(&mechanism)?;
        let iv = input::bytes(sealing.iv, sealing.iv_len).map_err(|_| bad())?;
        let tag = input::bytes(sealing.tag, sealing.tag_len() as CK_ULONG).map_err(|_| bad())?;
        let sealed = [wrapped, tag].concat();
        let given = || Ok(sealing.given(iv.to_vec(), associated.to_vec()));
        let made = session.unwrap_key(mechanism.mechanism, given, unwrapping_key, &sealed, template)?;
        output::value(key, made)
    }
}

/// `CK_GCM_MESSAGE_PARAMS` or `CK_CCM_MESSAGE_PARAMS`.
struct Sealing {
    iv: *mut CK_BYTE,
    iv_len: CK_ULONG,
    /// How many bits of the vector are the caller's.
    fixed_bits: CK_ULONG,
    generator: CK_GENERATOR_FUNCTION,
    tag: *mut CK_BYTE,
    length: Length,
}

/// Of the tag, as each structure counts it.
enum Length {
    Gcm { bits: CK_ULONG },
    Ccm { bytes: CK_ULONG, data_len: CK_ULONG },
}

fn bad() -> crate::error::Error {
    Cause::MechanismParamInvalid.with("parameter of an authenticated wrapping")
}

impl Sealing {
    /// `MechanismInvalid` for a mechanism that authenticates nothing.
    ///
    /// # Safety
    /// The parameter is null or good for its length.
    unsafe fn read(mechanism: &CK_MECHANISM) -> Result<Self> {
        // SAFETY: the caller's promise, passed on.
        let sealing = unsafe {
            match mechanism.mechanism {
                CKM_AES_GCM => {
                    let gcm: CK_GCM_MESSAGE_PARAMS = input::structure(mechanism).ok_or_else(bad)?;
                    Self {
                        iv: gcm.pIv,
                        iv_len: gcm.ulIvLen,
                        fixed_bits: gcm.ulIvFixedBits,
                        generator: gcm.ivGenerator,
                        tag: gcm.pTag,
                        length: Length::Gcm { bits: gcm.ulTagBits },
                    }
                }
                CKM_AES_CCM => {
                    let ccm: CK_CCM_MESSAGE_PARAMS = input::structure(mechanism).ok_or_else(bad)?;
                    Self {
                        iv: ccm.pNonce,
                        iv_len: ccm.ulNonceLen,
                        fixed_bits: ccm.ulNonceFixedBits,
                        generator: ccm.nonceGenerator,
                        tag: ccm.pMAC,
                        length: Length::Ccm { bytes: ccm.ulMACLen, data_len: ccm.ulDataLen },
                    }
                }
                other => return Err(Cause::MechanismInvalid.with(format!("{other:#x} authenticates nothing"))),
            }
        };
        if sealing.tag.is_null() || sealing.iv.is_null() || sealing.tag_len() > 16 {
            return Err(bad());
        }
        Ok(sealing)
    }

    /// In bytes.
    fn tag_len(&self) -> usize {
        let len = match self.length {
            Length::Gcm { bits } => bits / 8,
            Length::Ccm { bytes, .. } => bytes,
        };
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Puts random bits behind those that are the caller's, if the token is to make the vector. Counters would need
    /// a memory that no crash and no second process confuses: they are refused.
    fn generate(&self, iv: &mut [u8]) -> Result<()> {
        match self.generator {
            CKG_NO_GENERATE => return Ok(()),
            CKG_GENERATE | CKG_GENERATE_RANDOM => {}
            _ => return Err(Cause::MechanismParamInvalid.with("a generator of initialisation vectors")),
        }
        let fixed = usize::try_from(self.fixed_bits).unwrap_or(usize::MAX);
        // 96 random bits is what GCM needs; less than 64 would soon repeat.
        if iv.len().saturating_mul(8) < fixed.saturating_add(64) {
            return Err(Cause::MechanismParamInvalid.with("too few bits of the vector are left to generate"));
        }
        let mut random_bits = vec![0; iv.len()];
        random::fill(&mut random_bits)?;
        for (index, (byte, random)) in iv.iter_mut().zip(random_bits).enumerate() {
            let own = fixed.saturating_sub(8 * index).min(8);
            let mask = (0xff_u16 >> own) as u8;
            *byte = (*byte & !mask) | (random & mask);
        }
        Ok(())
    }

    fn given(&self, iv: Vec<u8>, aad: Vec<u8>) -> Given {
        match self.length {
            Length::Gcm { bits } => Given::Gcm { iv, aad, tag_bits: bits },
            Length::Ccm { bytes, data_len } => Given::Ccm { data_len, nonce: iv, aad, mac_len: bytes },
        }
    }
}
