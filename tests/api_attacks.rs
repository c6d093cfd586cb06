//! Ways to talk a key's value out of a token with calls that are allowed one by one.

mod host;

use cryptoki_sys::*;
use host::{Module, Place, alone, attr, call, mechanism, steps};
use std::ptr::{from_mut, null_mut};

const YES: [u8; 1] = [CK_TRUE];
const NO: [u8; 1] = [CK_FALSE];
type Given<'a> = &'a [(CK_ATTRIBUTE_TYPE, &'a [u8])];

/// What an attacker may do: call the functions after login.
#[derive(Clone, Copy)]
struct Attacker {
    module: Module,
    session: CK_SESSION_HANDLE,
}

impl Attacker {
    fn create(self, key_type: CK_KEY_TYPE, value: &[u8], more: Given<'_>) -> CK_OBJECT_HANDLE {
        let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), key_type.to_ne_bytes());
        let own: Given<'_> = &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &key_type), (CKA_VALUE, value)];
        let mut template: Vec<_> = own.iter().chain(more).map(|(attribute, value)| attr(*attribute, value)).collect();
        let mut key = 0;
        let count = template.len() as CK_ULONG;
        assert_eq!(call!(self.module, C_CreateObject, self.session, template.as_mut_ptr(), count, &mut key), CKR_OK);
        key
    }

    /// A key as a template makes it that says nothing of its protection: sensitive, and not extractable.
    fn hidden(self, key_type: CK_KEY_TYPE) -> CK_OBJECT_HANDLE {
        self.create(key_type, &[0x5a; 32], &[])
    }

    /// Derives a generic secret of so many bytes; `open` asks for one whose value can be read.
    fn derive(
        self,
        mechanism: &mut CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        len: usize,
        open: bool,
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_GENERIC_SECRET.to_ne_bytes());
        let len = (len as CK_ULONG).to_ne_bytes();
        let mut template = vec![attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type), attr(CKA_VALUE_LEN, &len)];
        if open {
            template.extend([attr(CKA_SENSITIVE, &NO), attr(CKA_EXTRACTABLE, &YES)]);
        }
        let (first, count, mut derived) = (template.as_mut_ptr(), template.len() as CK_ULONG, 0);
        let rv = call!(self.module, C_DeriveKey, self.session, mechanism, base, first, count, &mut derived);
        host::check(rv).map(|()| derived)
    }
}

fn scene(test: &str) -> Option<(Attacker, Place)> {
    if !alone(test) {
        return None;
    }
    steps::limit(60);
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    Some((Attacker { module, session: module.enter() }, place))
}

fn with<T>(id: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    let mut mechanism = mechanism(id);
    mechanism.pParameter = from_mut(parameter).cast();
    mechanism.ulParameterLen = size_of::<T>() as CK_ULONG;
    mechanism
}

/// Clulow's and Tookan's way by pieces small enough to be tried out, and the same by chaining.
#[test]
fn no_piece_of_a_hidden_key_can_be_had() {
    let Some((attacker, _place)) = scene("no_piece_of_a_hidden_key_can_be_had") else { return };
    let secret = attacker.hidden(CKK_GENERIC_SECRET);
    for (bit, len) in [(0, 1), (0, 16), (128, 16), (0, 31)] {
        let mut bit: CK_EXTRACT_PARAMS = bit;
        let mut piece = with(CKM_EXTRACT_KEY_FROM_KEY, &mut bit);
        assert_eq!(attacker.derive(&mut piece, secret, len, false), Err(CKR_KEY_SIZE_RANGE), "{bit} {len}");
    }
    let mut known = [0_u8; 15];
    let mut data = CK_KEY_DERIVATION_STRING_DATA { pData: known.as_mut_ptr(), ulLen: 15 };
    let mut prefix = with(CKM_CONCATENATE_DATA_AND_BASE, &mut data);
    assert_eq!(attacker.derive(&mut prefix, secret, 16, false), Err(CKR_KEY_SIZE_RANGE));
    let whole = attacker.derive(&mut prefix, secret, 47, false).unwrap();
    let mut bit: CK_EXTRACT_PARAMS = 0;
    let mut piece = with(CKM_EXTRACT_KEY_FROM_KEY, &mut bit);
    assert_eq!(attacker.derive(&mut piece, whole, 16, false), Err(CKR_KEY_SIZE_RANGE));
    // Neither is what contains the whole, or serves in its place, less protected than it is.
    assert_eq!(attacker.derive(&mut prefix, secret, 47, true), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(
        attacker.derive(&mut mechanism(CKM_SHA256_KEY_DERIVATION), secret, 32, true),
        Err(CKR_TEMPLATE_INCONSISTENT)
    );
}

/// CMAC under a key that the attacker knows can be computed backwards.
#[test]
fn a_hidden_key_among_the_data_of_a_known_one_stays_hidden() {
    let Some((attacker, _place)) = scene("a_hidden_key_among_the_data_of_a_known_one_stays_hidden") else { return };
    let known = attacker.create(CKK_AES, &[1; 16], &[(CKA_SENSITIVE, &NO), (CKA_EXTRACTABLE, &YES)]);
    let mut hidden = attacker.create(CKK_AES, &[0x5a; 16], &[]);
    let mut counter = CK_SP800_108_COUNTER_FORMAT { bLittleEndian: CK_FALSE, ulWidthInBits: 8 };
    let mut fields = [
        CK_PRF_DATA_PARAM {
            type_: CK_SP800_108_ITERATION_VARIABLE,
            pValue: from_mut(&mut counter).cast(),
            ulValueLen: size_of::<CK_SP800_108_COUNTER_FORMAT>() as CK_ULONG,
        },
        CK_PRF_DATA_PARAM {
            type_: CK_SP800_108_KEY_HANDLE,
            pValue: from_mut(&mut hidden).cast(),
            ulValueLen: size_of::<CK_OBJECT_HANDLE>() as CK_ULONG,
        },
    ];
    let mut parameters = CK_SP800_108_KDF_PARAMS {
        prfType: CKM_AES_CMAC,
        ulNumberOfDataParams: 2,
        pDataParams: fields.as_mut_ptr(),
        ulAdditionalDerivedKeys: 0,
        pAdditionalDerivedKeys: null_mut(),
    };
    let mut function = with(CKM_SP800_108_COUNTER_KDF, &mut parameters);
    assert_eq!(attacker.derive(&mut function, known, 16, true), Err(CKR_TEMPLATE_INCONSISTENT));
    let derived = attacker.derive(&mut function, known, 16, false).unwrap();
    let (module, session) = (attacker.module, attacker.session);
    assert_eq!(module.attribute(session, derived, CKA_SENSITIVE), YES);
    assert_eq!(module.attribute(session, derived, CKA_EXTRACTABLE), NO);
    assert_eq!(module.attribute(session, derived, CKA_ALWAYS_SENSITIVE), NO);
}

impl Attacker {
    fn wrap(self, id: CK_MECHANISM_TYPE, with: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, CK_RV> {
        let (mut wrapped, mut len, mut iv) = (vec![0; 4096], 4096, [0_u8; 16]);
        let mut way = mechanism(id);
        if id == CKM_AES_CBC_PAD {
            (way.pParameter, way.ulParameterLen) = (iv.as_mut_ptr().cast(), 16);
        }
        let rv = call!(self.module, C_WrapKey, self.session, &mut way, with, key, wrapped.as_mut_ptr(), &mut len);
        wrapped.truncate(len as usize);
        host::check(rv).map(|()| wrapped)
    }

    /// Unwraps a secret key.
    fn unwrap(
        self,
        id: CK_MECHANISM_TYPE,
        with: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        more: Given<'_>,
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes());
        let own: Given<'_> = &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &key_type)];
        let mut template: Vec<_> = own.iter().chain(more).map(|(attribute, value)| attr(*attribute, value)).collect();
        let (mut key, mut iv, mut way) = (0, [0_u8; 16], mechanism(id));
        if id == CKM_AES_CBC_PAD {
            (way.pParameter, way.ulParameterLen) = (iv.as_mut_ptr().cast(), 16);
        }
        let (from, len) = (wrapped.as_ptr().cast_mut(), wrapped.len() as CK_ULONG);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let rv = call!(self.module, C_UnwrapKey, self.session, &mut way, with, from, len, first, count, &mut key);
        host::check(rv).map(|()| key)
    }

    fn set(self, key: CK_OBJECT_HANDLE, attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> CK_RV {
        call!(self.module, C_SetAttributeValue, self.session, key, &mut attr(attribute, value), 1)
    }

    fn copy(self, key: CK_OBJECT_HANDLE, attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> CK_RV {
        call!(self.module, C_CopyObject, self.session, key, &mut attr(attribute, value), 1, &mut 0)
    }

    fn value(self, key: CK_OBJECT_HANDLE) -> CK_RV {
        let mut value = [0; 64];
        let mut wanted = attr(CKA_VALUE, &value);
        wanted.pValue = value.as_mut_ptr().cast();
        call!(self.module, C_GetAttributeValue, self.session, key, &mut wanted, 1)
    }
}

/// Clulow's first: wrap a key, and decrypt what comes out. Also with the two done one after the other, by a copy, and
/// by a second handle on the same bytes.
#[test]
fn what_wraps_a_hidden_key_does_not_decrypt_it() {
    let Some((attacker, _place)) = scene("what_wraps_a_hidden_key_does_not_decrypt_it") else { return };
    let hidden = attacker.create(CKK_AES, &[0x5a; 16], &[(CKA_SENSITIVE, &YES), (CKA_EXTRACTABLE, &YES)]);
    let both = attacker.create(CKK_AES, &[1; 32], &[(CKA_COPYABLE, &YES)]);
    for way in [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP, CKM_AES_CBC_PAD] {
        assert_eq!(attacker.wrap(way, both, hidden), Err(CKR_KEY_NOT_WRAPPABLE), "{way:#x}");
    }
    let wraps = attacker.create(CKK_AES, &[1; 32], &[(CKA_DECRYPT, &NO), (CKA_COPYABLE, &YES)]);
    let wrapped = attacker.wrap(CKM_AES_KEY_WRAP, wraps, hidden).unwrap();
    // A way that the key encrypts data by gives it away without decrypting.
    assert_eq!(attacker.wrap(CKM_AES_CBC_PAD, wraps, hidden), Err(CKR_KEY_NOT_WRAPPABLE));
    assert_eq!(attacker.set(wraps, CKA_DECRYPT, &YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(attacker.copy(wraps, CKA_DECRYPT, &YES), CKR_ATTRIBUTE_READ_ONLY);
    // Come in again it is as hidden as it was, whoever asks.
    assert_eq!(
        attacker.unwrap(CKM_AES_KEY_WRAP, wraps, &wrapped, &[(CKA_SENSITIVE, &NO)]),
        Err(CKR_TEMPLATE_INCONSISTENT)
    );
    let back = attacker.unwrap(CKM_AES_KEY_WRAP, wraps, &wrapped, &[(CKA_EXTRACTABLE, &YES)]).unwrap();
    assert_eq!(attacker.value(back), CKR_ATTRIBUTE_SENSITIVE);
    assert_eq!(attacker.set(back, CKA_SENSITIVE, &NO), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(attacker.copy(back, CKA_SENSITIVE, &NO), CKR_ATTRIBUTE_READ_ONLY);
}

/// Vaudenay's: what unwraps by padding decrypts, one question at a time.
#[test]
fn unwrapping_is_no_padding_oracle() {
    let Some((attacker, _place)) = scene("unwrapping_is_no_padding_oracle") else { return };
    let no_decrypt = attacker.create(CKK_AES, &[1; 32], &[(CKA_DECRYPT, &NO)]);
    for block in [[0_u8; 32], [0x5a; 32]] {
        assert_eq!(
            attacker.unwrap(CKM_AES_CBC_PAD, no_decrypt, &block, &[]),
            Err(CKR_KEY_FUNCTION_NOT_PERMITTED),
            "for all blocks the same"
        );
    }
    // Who may decrypt learns nothing new.
    let decrypts = attacker.create(CKK_AES, &[1; 32], &[]);
    assert_eq!(attacker.unwrap(CKM_AES_CBC_PAD, decrypts, &[0; 32], &[]), Err(CKR_WRAPPED_KEY_INVALID));
}

/// The ways around "not extractable" and "only under a trusted key".
#[test]
fn what_may_not_leave_does_not_leave() {
    let Some((attacker, _place)) = scene("what_may_not_leave_does_not_leave") else { return };
    let wraps = attacker.create(CKK_AES, &[1; 32], &[(CKA_DECRYPT, &NO)]);
    let stays = attacker.hidden(CKK_AES);
    for way in [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP] {
        assert_eq!(attacker.wrap(way, wraps, stays), Err(CKR_KEY_UNEXTRACTABLE));
    }
    assert_eq!(attacker.set(stays, CKA_EXTRACTABLE, &YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_ne!(attacker.copy(stays, CKA_EXTRACTABLE, &YES), CKR_OK);

    let guarded: Given<'_> = &[(CKA_EXTRACTABLE, &YES), (CKA_WRAP_WITH_TRUSTED, &YES), (CKA_COPYABLE, &YES)];
    let guarded = attacker.create(CKK_AES, &[0x5a; 32], guarded);
    assert_eq!(attacker.wrap(CKM_AES_KEY_WRAP, wraps, guarded), Err(CKR_KEY_NOT_WRAPPABLE));
    assert_eq!(attacker.set(guarded, CKA_WRAP_WITH_TRUSTED, &NO), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(attacker.copy(guarded, CKA_WRAP_WITH_TRUSTED, &NO), CKR_ATTRIBUTE_READ_ONLY);
    // Nobody but the security officer says what is to be trusted.
    assert_eq!(attacker.set(wraps, CKA_TRUSTED, &YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_ne!(attacker.copy(wraps, CKA_TRUSTED, &YES), CKR_OK);
    let (class, key_type, value) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes(), [1; 32]);
    let mut known =
        [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type), attr(CKA_VALUE, &value), attr(CKA_TRUSTED, &YES)];
    let made = call!(attacker.module, C_CreateObject, attacker.session, known.as_mut_ptr(), 4, &mut 0);
    assert_eq!(made, CKR_ATTRIBUTE_READ_ONLY);
    // A derived key is as guarded as what it is derived from.
    let mut data = [0_u8; 1];
    let mut string = CK_KEY_DERIVATION_STRING_DATA { pData: data.as_mut_ptr(), ulLen: 1 };
    let mut prefix = with(CKM_CONCATENATE_DATA_AND_BASE, &mut string);
    let derived = attacker.derive(&mut prefix, guarded, 33, false).unwrap();
    assert_eq!(attacker.module.attribute(attacker.session, derived, CKA_WRAP_WITH_TRUSTED), YES);
}
