//! The caller's pointers, read once and checked.

use super::derivation;
use crate::error::{Cause, Result};
use crate::mechanism::{Given as Parameter, LONGEST_OTP_VALUE, MOST_OTP_PARAMS, Needs, find, len_of_bits, nonce_len};
use crate::object::attribute::{Kind, kind};
use crate::object::nested;
use crate::object::template::Given;
use cryptoki_sys::*;
use std::ffi::c_void;
use std::ops::Deref;
use std::ptr;

/// A value of the caller's; `ArgumentsBad` for NULL.
///
/// # Safety
/// `pointer` is null or good for reading a `T`; alignment does not matter.
pub(super) unsafe fn value<T: Copy>(pointer: *const T) -> Result<T> {
    if pointer.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: not null, and good for a `T` as the caller promises.
    Ok(unsafe { pointer.read_unaligned() })
}

/// Bytes of the caller's. NULL is good for no bytes; `ArgumentsBad` otherwise, and for a length that no
/// memory can have.
///
/// # Safety
/// `pointer` is null or good for reading `len` bytes while the result lives.
pub(super) unsafe fn bytes<'a>(pointer: *const CK_BYTE, len: CK_ULONG) -> Result<&'a [u8]> {
    match usize::try_from(len) {
        Ok(0) => Ok(&[]),
        Ok(len) if !pointer.is_null() && isize::try_from(len).is_ok() => {
            // SAFETY: not null, and good for `len` bytes as the caller promises.
            Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
        }
        _ => Err(Cause::ArgumentsBad.into()),
    }
}

/// The most attributes that a template may have: far more than there are.
const MOST_ATTRIBUTES: CK_ULONG = 1024;

/// What a call's templates may hold together, with all that lies in them. Arrays may share their memory, so that a
/// few of them in one another, or one array for many keys, would be copied out to more than any memory has.
pub(super) struct Budget {
    attributes: usize,
    bytes: usize,
}

impl Default for Budget {
    /// Twice the largest record of a store, and as many attributes as nobody needs.
    fn default() -> Self {
        Self { attributes: 16 << 10, bytes: 32 << 20 }
    }
}

impl Budget {
    fn attributes(&mut self, count: CK_ULONG) -> Result<()> {
        Self::take(&mut self.attributes, count, "more attributes than a call may have")
    }

    fn value(&mut self, len: CK_ULONG) -> Result<()> {
        Self::take(&mut self.bytes, len, "values longer than a call's may be")
    }

    fn take(left: &mut usize, wanted: CK_ULONG, otherwise: &'static str) -> Result<()> {
        let wanted = usize::try_from(wanted).ok();
        *left = wanted
            .and_then(|wanted| left.checked_sub(wanted))
            .ok_or_else(|| Cause::AttributeValueInvalid.with(otherwise))?;
        Ok(())
    }
}

/// A template's attributes, as they lie in the caller's memory.
///
/// # Safety
/// `template` is null or good for `count` attributes.
pub(super) unsafe fn attributes(template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Result<Vec<CK_ATTRIBUTE>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if template.is_null() || count > MOST_ATTRIBUTES {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: not null, and good for `count` attributes as the caller promises.
    Ok((0..count as usize).map(|index| unsafe { template.add(index).read_unaligned() }).collect())
}

/// A template with its values.
pub(super) struct Template<'a> {
    given: Vec<Given<'a>>,
    /// What some of the values lie in: templates in templates, without their pointers.
    _nested: Vec<Vec<u8>>,
}

impl<'a> Deref for Template<'a> {
    type Target = [Given<'a>];

    fn deref(&self) -> &Self::Target {
        &self.given
    }
}

/// A template with its values.
///
/// # Safety
/// As for [`attributes`], and each value is null or good for its length while the result lives; in that of
/// an attribute array the same is true of each element.
pub(super) unsafe fn template<'a>(template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Result<Template<'a>> {
    // SAFETY: the caller's promise, passed on.
    unsafe { template_within(&mut Budget::default(), template, count) }
}

/// One of several templates of a call, which share a budget. `AttributeValueInvalid` beyond it.
///
/// # Safety
/// As for [`template`].
pub(super) unsafe fn template_within<'a>(
    budget: &mut Budget,
    template: *const CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<Template<'a>> {
    // SAFETY: the caller's promise, passed on.
    let attributes = unsafe { attributes(template, count) }?;
    budget.attributes(count)?;
    let mut read = Template { given: Vec::with_capacity(attributes.len()), _nested: Vec::new() };
    for attribute in attributes {
        // SAFETY: the caller's promise, passed on.
        let mut value = unsafe { value_of(&attribute, budget) }?;
        if kind(attribute.type_) == Some(Kind::Template) {
            // SAFETY: as above.
            let encoding = unsafe { encoded(&attribute, 1, budget) }?;
            // SAFETY: the bytes lie on the heap, where they stay unchanged until the result is dropped.
            value = unsafe { std::slice::from_raw_parts(encoding.as_ptr(), encoding.len()) };
            read._nested.push(encoding);
        }
        read.given.push((attribute.type_, value));
    }
    Ok(read)
}

/// # Safety
/// The value is null or good for its length while the result lives.
unsafe fn value_of<'a>(attribute: &CK_ATTRIBUTE, budget: &mut Budget) -> Result<&'a [u8]> {
    // SAFETY: the caller's promise, passed on.
    let value = unsafe { bytes(attribute.pValue.cast(), attribute.ulValueLen) };
    let value = value.map_err(|_| Cause::AttributeValueInvalid.with("a value without memory"))?;
    budget.value(attribute.ulValueLen)?;
    Ok(value)
}

/// The value of an attribute that is an array of attributes, as [`nested`] lays it out.
///
/// # Safety
/// The value is null or good for its length, and in it the same is true of each element.
unsafe fn encoded(attribute: &CK_ATTRIBUTE, depth: usize, budget: &mut Budget) -> Result<Vec<u8>> {
    let len = attribute.ulValueLen as usize;
    let count = len / size_of::<CK_ATTRIBUTE>();
    if depth > nested::DEEPEST || !len.is_multiple_of(size_of::<CK_ATTRIBUTE>()) {
        return Err(Cause::AttributeValueInvalid.with("an array of attributes"));
    }
    budget.attributes(count as CK_ULONG)?;
    // SAFETY: the value has room for so many attributes.
    let elements = unsafe { attributes(attribute.pValue.cast(), count as CK_ULONG) }
        .map_err(|_| Cause::AttributeValueInvalid.with("an array of attributes without memory"))?;
    let mut values = Vec::with_capacity(count);
    for element in elements {
        // SAFETY: the caller's promise, passed on.
        let value = unsafe {
            match kind(element.type_) {
                Some(Kind::Template) => encoded(&element, depth + 1, budget)?,
                _ => value_of(&element, budget)?.to_vec(),
            }
        };
        values.push((element.type_, value));
    }
    nested::encode(values)
}

/// A mechanism; `None` for NULL, which cancels an operation.
///
/// # Safety
/// `mechanism` is null or good for reading a `CK_MECHANISM`.
pub(super) unsafe fn mechanism(mechanism: *const CK_MECHANISM) -> Option<CK_MECHANISM> {
    // SAFETY: the caller's promise, passed on.
    unsafe { value(mechanism) }.ok()
}

/// One byte more than the longest initialisation vector that stands alone.
const LONGEST_IV: usize = 17;

/// A mechanism's parameter, read as the structure that the mechanism takes.
///
/// `MechanismParamInvalid` if it has another length, or points to nothing.
///
/// # Safety
/// The parameter is null or good for its length, and so is what it points to.
pub(super) unsafe fn parameter(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    let Some(row) = find(mechanism.mechanism) else { return Ok(Parameter::Other) };
    if mechanism.ulParameterLen == 0 {
        return Ok(Parameter::Nothing);
    }
    let bad = || Cause::MechanismParamInvalid.with(row.name);
    // SAFETY: the structures that follow are read only if the length is theirs; the caller promises
    // that they, and what they point to, can be read.
    unsafe {
        Ok(match row.needs() {
            Needs::Nothing | Needs::Password => Parameter::Other,
            Needs::Pss => {
                let pss: CK_RSA_PKCS_PSS_PARAMS = structure(mechanism).ok_or_else(bad)?;
                Parameter::Pss { hash: pss.hashAlg, mgf: pss.mgf, salt_len: pss.sLen }
            }
            Needs::Oaep => structure(mechanism).and_then(|params| oaep(&params)).ok_or_else(bad)?,
            Needs::EddsaOrNothing => {
                let eddsa: CK_EDDSA_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let context = bytes(eddsa.pContextData, eddsa.ulContextDataLen).map_err(|_| bad())?;
                Parameter::Eddsa { prehash: eddsa.phFlag != CK_FALSE, context: context.to_vec() }
            }
            Needs::SignContextOrNothing => {
                let given: CK_SIGN_ADDITIONAL_CONTEXT = structure(mechanism).ok_or_else(bad)?;
                let context = bytes(given.pContext, given.ulContextLen).map_err(|_| bad())?;
                Parameter::SignContext { hedge: given.hedgeVariant, context: context.to_vec(), hash: None }
            }
            Needs::HashSignContext => {
                let given: CK_HASH_SIGN_ADDITIONAL_CONTEXT = structure(mechanism).ok_or_else(bad)?;
                let context = bytes(given.pContext, given.ulContextLen).map_err(|_| bad())?;
                Parameter::SignContext { hedge: given.hedgeVariant, context: context.to_vec(), hash: Some(given.hash) }
            }
            Needs::Iv | Needs::HalfBlockOrNothing | Needs::QuarterBlockOrNothing => {
                let iv = bytes(mechanism.pParameter.cast(), mechanism.ulParameterLen).map_err(|_| bad())?;
                // Longer than any of them: not worth a copy.
                let iv = iv.get(..iv.len().min(LONGEST_IV)).unwrap_or_default();
                Parameter::Bytes(iv.to_vec())
            }
            Needs::RsaAesKeyWrap => {
                let wrap: CK_RSA_AES_KEY_WRAP_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let oaep = oaep(&value(wrap.pOAEPParams).map_err(|_| bad())?).ok_or_else(bad)?;
                Parameter::RsaAesKeyWrap { key_bits: wrap.ulAESKeyBits, oaep: Box::new(oaep) }
            }
            Needs::EcdhAesKeyWrap => {
                let wrap: CK_ECDH_AES_KEY_WRAP_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let shared = bytes(wrap.pSharedData, wrap.ulSharedDataLen).map_err(|_| bad())?;
                Parameter::EcdhAesKeyWrap { key_bits: wrap.ulAESKeyBits, kdf: wrap.kdf, shared: shared.to_vec() }
            }
            Needs::Derivation => Parameter::Derivation(derivation::parameter(row, mechanism)?),
            Needs::MacLength => Parameter::Number(structure::<CK_MAC_GENERAL_PARAMS>(mechanism).ok_or_else(bad)?),
            Needs::TlsMac => {
                let mac: CK_TLS_MAC_PARAMS = structure(mechanism).ok_or_else(bad)?;
                Parameter::TlsMac { hash: mac.prfHashMechanism, len: mac.ulMacLength, side: mac.ulServerOrClient }
            }
            Needs::OtpOrNothing => otp(&structure(mechanism).ok_or_else(bad)?).ok_or_else(bad)?,
            Needs::Ctr => {
                let ctr: CK_AES_CTR_PARAMS = structure(mechanism).ok_or_else(bad)?;
                Parameter::Ctr { counter_bits: ctr.ulCounterBits, block: ctr.cb }
            }
            Needs::ChaCha20 => {
                let chacha20: CK_CHACHA20_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let counter_len = len_of_bits(chacha20.blockCounterBits)?;
                let counter = bytes(chacha20.pBlockCounter, counter_len).map_err(|_| bad())?;
                let nonce = bytes(chacha20.pNonce, len_of_bits(chacha20.ulNonceBits)?).map_err(|_| bad())?;
                Parameter::ChaCha20 { counter: counter.to_vec(), nonce: nonce.to_vec() }
            }
            Needs::ChaCha20Poly1305 => {
                let aead: CK_SALSA20_CHACHA20_POLY1305_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let nonce = bytes(aead.pNonce, nonce_len(aead.ulNonceLen)?).map_err(|_| bad())?;
                let aad = bytes(aead.pAAD, aead.ulAADLen).map_err(|_| bad())?;
                Parameter::ChaCha20Poly1305 { nonce: nonce.to_vec(), aad: aad.to_vec() }
            }
            Needs::Gcm => {
                let gcm: CK_GCM_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let iv = bytes(gcm.pIv.cast(), gcm.ulIvLen).map_err(|_| bad())?;
                let aad = bytes(gcm.pAAD.cast(), gcm.ulAADLen).map_err(|_| bad())?;
                Parameter::Gcm { iv: iv.to_vec(), aad: aad.to_vec(), tag_bits: gcm.ulTagBits }
            }
            Needs::Ccm => {
                let ccm: CK_CCM_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let nonce = bytes(ccm.pNonce.cast(), ccm.ulNonceLen).map_err(|_| bad())?;
                let aad = bytes(ccm.pAAD.cast(), ccm.ulAADLen).map_err(|_| bad())?;
                Parameter::Ccm {
                    data_len: ccm.ulDataLen,
                    nonce: nonce.to_vec(),
                    aad: aad.to_vec(),
                    mac_len: ccm.ulMACLen,
                }
            }
        })
    }
}

/// # Safety
/// The label is null or good for its length.
unsafe fn oaep(params: &CK_RSA_PKCS_OAEP_PARAMS) -> Option<Parameter> {
    // SAFETY: the caller's promise, passed on.
    let label = unsafe { bytes(params.pSourceData.cast(), params.ulSourceDataLen) }.ok()?.to_vec();
    Some(Parameter::Oaep { hash: params.hashAlg, mgf: params.mgf, source: params.source, label })
}

/// # Safety
/// The parameters are null or good for their number, and so is each value for its length.
unsafe fn otp(params: &CK_OTP_PARAMS) -> Option<Parameter> {
    if params.ulCount > MOST_OTP_PARAMS || (params.pParams.is_null() && params.ulCount != 0) {
        return None;
    }
    let param = |index| {
        // SAFETY: not null, and good for so many parameters as the caller promises.
        let param = unsafe { params.pParams.add(index).read_unaligned() };
        // SAFETY: as above.
        let value = unsafe { bytes(param.pValue.cast(), param.ulValueLen) }.ok()?;
        // Longer than any that is looked at: not worth a copy.
        Some((param.type_, value.get(..value.len().min(LONGEST_OTP_VALUE))?.to_vec()))
    };
    (0..params.ulCount as usize).map(param).collect::<Option<_>>().map(Parameter::Otp)
}

/// The parameter as a `T`, if it has a `T`'s length.
///
/// # Safety
/// The parameter is null or good for its length.
pub(super) unsafe fn structure<T: Copy>(mechanism: &CK_MECHANISM) -> Option<T> {
    if mechanism.ulParameterLen as usize != size_of::<T>() {
        return None;
    }
    // SAFETY: the length is that of a `T`.
    unsafe { value(mechanism.pParameter.cast::<T>()) }.ok()
}

/// Checks that an argument which is reserved is NULL. It is never read: callers pass wild pointers here.
pub(super) fn reserved(pointer: *mut c_void) -> Result<()> {
    if ptr::eq(pointer, ptr::null_mut()) { Ok(()) } else { Err(Cause::ArgumentsBad.with("pReserved must be NULL")) }
}
