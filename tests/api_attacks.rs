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
