//! Attributes that are templates themselves.

use crate::host::{Module, Place, alone, attr, call};
use cryptoki_sys::*;
use std::ptr::null_mut;

#[test]
fn templates_in_templates_come_back_as_they_were_given() {
    if !alone("nested::templates_in_templates_come_back_as_they_were_given") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let (yes, class) = ([CK_TRUE], CKO_SECRET_KEY.to_ne_bytes());
    let inner = [attr(CKA_SENSITIVE, &yes), attr(CKA_CLASS, &class)];
    let size = size_of::<CK_ATTRIBUTE>();
    let outer = |inner: &[CK_ATTRIBUTE]| CK_ATTRIBUTE {
        type_: CKA_UNWRAP_TEMPLATE,
        pValue: inner.as_ptr().cast_mut().cast(),
        ulValueLen: size_of_val(inner) as CK_ULONG,
    };
    let (key_type, value) = (CKK_AES.to_ne_bytes(), [7; 16]);
    let create = |outer: CK_ATTRIBUTE, object: &mut CK_OBJECT_HANDLE| {
        let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type), attr(CKA_VALUE, &value), outer];
        call!(module, C_CreateObject, session, template.as_mut_ptr(), 4, object)
    };
    let mut key = 0;
    assert_eq!(create(outer(&inner), &mut key), CKR_OK);

    // First the length, then the types and lengths, then the values.
    let null = null_mut();
    let mut wanted = CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: null, ulValueLen: 0 };
    let read = |wanted: &mut CK_ATTRIBUTE| call!(module, C_GetAttributeValue, session, key, wanted, 1);
    assert_eq!(read(&mut wanted), CKR_OK);
    assert_eq!(wanted.ulValueLen as usize, 2 * size);
    let mut entries = [CK_ATTRIBUTE { type_: 0, pValue: null, ulValueLen: 0 }; 2];
    wanted.pValue = entries.as_mut_ptr().cast();
    wanted.ulValueLen -= 1;
    assert_eq!(read(&mut wanted), CKR_BUFFER_TOO_SMALL);
    assert_eq!(wanted.ulValueLen, CK_ULONG::MAX);
    wanted.ulValueLen = 2 * size as CK_ULONG;
    assert_eq!(read(&mut wanted), CKR_OK);
    assert_eq!(entries.map(|entry| (entry.type_, entry.ulValueLen)), [(CKA_CLASS, 8), (CKA_SENSITIVE, 1)]);
    let (mut first, mut second) = ([0_u8; 8], [0_u8; 1]);
    entries[0].pValue = first.as_mut_ptr().cast();
    entries[1].pValue = second.as_mut_ptr().cast();
    entries[0].ulValueLen = 7;
    wanted.pValue = entries.as_mut_ptr().cast();
    assert_eq!(read(&mut wanted), CKR_BUFFER_TOO_SMALL);
    assert_eq!((entries[0].ulValueLen, entries[1].ulValueLen), (CK_ULONG::MAX, 1));
    entries[0].ulValueLen = 8;
    wanted.pValue = entries.as_mut_ptr().cast();
    assert_eq!(read(&mut wanted), CKR_OK);
    assert_eq!((first, second), (class, yes));

    let mut none = 0;
    let deep = [outer(&inner)];
    let deeper = [outer(&deep)];
    assert_eq!(create(outer(&deep), &mut none), CKR_OK);
    assert_eq!(create(outer(&deeper), &mut none), CKR_OK);
    assert_eq!(create(outer(&[outer(&deeper)]), &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(create(outer(&[attr(CKA_CLASS, &yes)]), &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(create(outer(&[attr(0x1234_5678, &yes)]), &mut none), CKR_ATTRIBUTE_TYPE_INVALID);
    let mut odd = outer(&inner);
    odd.ulValueLen -= 1;
    assert_eq!(create(odd, &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    let empty = CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: null, ulValueLen: size as CK_ULONG };
    assert_eq!(create(empty, &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    module.finalise();
}

#[test]
fn arrays_that_share_their_memory_are_refused_before_they_are_copied() {
    if !alone("nested::arrays_that_share_their_memory_are_refused_before_they_are_copied") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    // 1024 times 1024 times 1024 labels, out of 72 KiB.
    let array = |elements: &[CK_ATTRIBUTE]| {
        let value = elements.as_ptr().cast_mut().cast();
        vec![CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: value, ulValueLen: size_of_val(elements) as CK_ULONG }]
    };
    let labels = vec![attr(CKA_LABEL, b"x"); 1024];
    let inner = array(&labels).repeat(1024);
    let outer = array(&inner).repeat(1024);
    let mut template = array(&outer);
    let found = call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), 1);
    assert_eq!(found, CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(call!(module, C_CreateObject, session, template.as_mut_ptr(), 1, &mut 0), CKR_ATTRIBUTE_VALUE_INVALID);
    // One long value, named often.
    let long = vec![b'x'; 1 << 20];
    let mut template = vec![attr(CKA_LABEL, &long); 1024];
    let found = call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), template.len() as CK_ULONG);
    assert_eq!(found, CKR_ATTRIBUTE_VALUE_INVALID);

    // One template for each of many keys.
    let (mut labels, mut key) = (labels, 0);
    let further = CK_DERIVED_KEY { pTemplate: labels.as_mut_ptr(), ulAttributeCount: 1024, phKey: &mut key };
    for (count, expected) in [(1, CKR_KEY_HANDLE_INVALID), (256, CKR_ATTRIBUTE_VALUE_INVALID)] {
        let mut further = vec![further; count];
        let mut parameter = CK_SP800_108_KDF_PARAMS {
            prfType: CKM_SHA256_HMAC,
            ulNumberOfDataParams: 0,
            pDataParams: null_mut(),
            ulAdditionalDerivedKeys: count as CK_ULONG,
            pAdditionalDerivedKeys: further.as_mut_ptr(),
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_SP800_108_COUNTER_KDF,
            pParameter: (&raw mut parameter).cast(),
            ulParameterLen: size_of_val(&parameter) as CK_ULONG,
        };
        let rv = call!(module, C_DeriveKey, session, &mut mechanism, 0, null_mut(), 0, &mut 0);
        assert_eq!(rv, expected, "{count}");
    }
    module.finalise();
}
