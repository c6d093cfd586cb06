//! What tests of objects share: templates in short, and what becomes of them.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use crate::host::{Module, attr, call};
use cryptoki_sys::*;
use std::ptr::null_mut;

/// An attribute and its value.
pub(crate) type Attr = (CK_ATTRIBUTE_TYPE, Vec<u8>);

/// The outer structure of a certificate, with single bytes for what lies deeper.
pub(crate) const CERTIFICATE: &[u8] = &[
    0x30, 0x1b, 0x30, 0x14, 0xa0, 3, 2, 1, 2, 0x02, 1, 0x05, 0x30, 0, 0x30, 1, 0x41, 0x30, 0, 0x30, 1, 0x42, 0x30, 0,
    0x30, 0x00, 0x03, 0x01, 0x00,
];

/// A `CK_BBOOL`.
pub(crate) fn flag(attribute: CK_ATTRIBUTE_TYPE, value: bool) -> Attr {
    (attribute, vec![u8::from(value)])
}

/// A `CK_ULONG`.
pub(crate) fn number(attribute: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Attr {
    (attribute, value.to_ne_bytes().to_vec())
}

/// Bytes.
pub(crate) fn bytes(attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Attr {
    (attribute, value.to_vec())
}

/// A secret key of this type and value.
pub(crate) fn secret_key(key_type: CK_KEY_TYPE, value: &[u8]) -> Vec<Attr> {
    vec![number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, key_type), bytes(CKA_VALUE, value)]
}

/// The template with more in it; what it names already is replaced.
pub(crate) fn with(mut template: Vec<Attr>, more: &[Attr]) -> Vec<Attr> {
    for (attribute, value) in more {
        template.retain(|(named, _)| named != attribute);
        template.push((*attribute, value.clone()));
    }
    template
}

fn native(template: &[Attr]) -> Vec<CK_ATTRIBUTE> {
    template.iter().map(|(attribute, value)| attr(*attribute, value)).collect()
}

impl Module {
    pub(crate) fn try_create(
        self,
        session: CK_SESSION_HANDLE,
        template: &[Attr],
        object: &mut CK_OBJECT_HANDLE,
    ) -> CK_RV {
        let mut template = native(template);
        call!(self, C_CreateObject, session, template.as_mut_ptr(), template.len() as CK_ULONG, object)
    }

    #[track_caller]
    pub(crate) fn create(self, session: CK_SESSION_HANDLE, template: &[Attr]) -> CK_OBJECT_HANDLE {
        let mut object = 0;
        assert_eq!(self.try_create(session, template, &mut object), CKR_OK, "C_CreateObject {template:02x?}");
        object
    }

    /// What creating it answers; the object is destroyed at once, if it lets itself be.
    pub(crate) fn creating(self, session: CK_SESSION_HANDLE, template: &[Attr]) -> CK_RV {
        let mut object = 0;
        let rv = self.try_create(session, template, &mut object);
        if rv == CKR_OK {
            let forbidden = template.contains(&flag(CKA_DESTROYABLE, false));
            let expected = if forbidden { CKR_ACTION_PROHIBITED } else { CKR_OK };
            assert_eq!(call!(self, C_DestroyObject, session, object), expected, "C_DestroyObject");
        }
        rv
    }

    pub(crate) fn try_copy(
        self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[Attr],
        copy: &mut CK_OBJECT_HANDLE,
    ) -> CK_RV {
        let mut template = native(template);
        call!(self, C_CopyObject, session, object, template.as_mut_ptr(), template.len() as CK_ULONG, copy)
    }

    #[track_caller]
    pub(crate) fn copy(
        self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[Attr],
    ) -> CK_OBJECT_HANDLE {
        let mut copy = 0;
        assert_eq!(self.try_copy(session, object, template, &mut copy), CKR_OK, "C_CopyObject");
        copy
    }

    pub(crate) fn set(self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: &[Attr]) -> CK_RV {
        let mut template = native(template);
        call!(self, C_SetAttributeValue, session, object, template.as_mut_ptr(), template.len() as CK_ULONG)
    }

    /// One attribute, with whatever comes of it.
    pub(crate) fn get(
        self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attribute: CK_ATTRIBUTE_TYPE,
    ) -> Result<Vec<u8>, CK_RV> {
        let mut wanted = CK_ATTRIBUTE { type_: attribute, pValue: null_mut(), ulValueLen: 0 };
        let rv = call!(self, C_GetAttributeValue, session, object, &mut wanted, 1);
        if rv != CKR_OK {
            assert_eq!(wanted.ulValueLen, CK_ULONG::MAX);
            return Err(rv);
        }
        let mut value = vec![0; wanted.ulValueLen as usize];
        wanted.pValue = value.as_mut_ptr().cast();
        let rv = call!(self, C_GetAttributeValue, session, object, &mut wanted, 1);
        if rv != CKR_OK {
            return Err(rv);
        }
        assert_eq!(wanted.ulValueLen as usize, value.len());
        Ok(value)
    }

    /// Whether a boolean attribute is true.
    #[track_caller]
    pub(crate) fn is(self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, attribute: CK_ATTRIBUTE_TYPE) -> bool {
        self.get(session, object, attribute).unwrap() == [CK_TRUE]
    }
}
