//! How a case of Project Wycheproof becomes calls.

pub(crate) mod ciphers;
pub(crate) mod derivations;
pub(crate) mod kem;
pub(crate) mod ml_dsa;
pub(crate) mod signatures;

use crate::host::{Module, attr, call, mechanism};
use cryptoki_sys::*;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ptr::null_mut;

/// What came of a case.
pub(crate) enum Outcome {
    Right,
    /// The module does not have it, or PKCS#11 has no way to say it.
    Cannot,
    Wrong(String),
}

/// A template.
pub(crate) type Template<'a> = &'a [(CK_ATTRIBUTE_TYPE, &'a [u8])];

/// A session, the mechanisms there are, and the keys of the present group.
pub(crate) struct Bench {
    pub(crate) module: Module,
    pub(crate) session: CK_SESSION_HANDLE,
    mechanisms: BTreeSet<CK_MECHANISM_TYPE>,
    /// The last key that was made, with what it was made from.
    key: RefCell<Option<(String, Result<CK_OBJECT_HANDLE, CK_RV>)>>,
    /// Every object of the group.
    made: RefCell<Vec<CK_OBJECT_HANDLE>>,
}

impl Bench {
    pub(crate) fn new(module: Module) -> Self {
        let session = module.enter();
        let (mut list, mut count) = ([0; 500], 500);
        assert_eq!(call!(module, C_GetMechanismList, 0, list.as_mut_ptr(), &mut count), CKR_OK);
        let mechanisms = list[..count as usize].iter().copied().collect();
        Self { module, session, mechanisms, key: RefCell::default(), made: RefCell::default() }
    }

    /// Whether the module has a mechanism.
    pub(crate) fn has(&self, mechanism: CK_MECHANISM_TYPE) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    /// Creates a session object.
    pub(crate) fn create(&self, template: Template<'_>) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let mut object = 0;
        let count = template.len() as CK_ULONG;
        match call!(self.module, C_CreateObject, self.session, template.as_mut_ptr(), count, &mut object) {
            CKR_OK => {
                self.made.borrow_mut().push(object);
                Ok(object)
            }
            rv => Err(rv),
        }
    }

    /// A key that a whole group uses: made once.
    pub(crate) fn shared(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<CK_OBJECT_HANDLE, CK_RV>,
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        if let Some((known, key)) = &*self.key.borrow()
            && known == name
        {
            return *key;
        }
        let key = make();
        *self.key.borrow_mut() = Some((name.to_owned(), key));
        key
    }

    /// A secret key with this value, whose value can be read.
    pub(crate) fn secret(&self, key_type: CK_KEY_TYPE, value: &[u8]) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        self.create(&[
            (CKA_CLASS, &CKO_SECRET_KEY.to_ne_bytes()),
            (CKA_KEY_TYPE, &key_type.to_ne_bytes()),
            (CKA_VALUE, value),
        ])
    }

    /// Destroys what was made for a group.
    pub(crate) fn forget_keys(&self) {
        *self.key.borrow_mut() = None;
        for object in self.made.borrow_mut().drain(..) {
            assert_eq!(call!(self.module, C_DestroyObject, self.session, object), CKR_OK);
        }
    }

    /// Notes an object that a call made.
    pub(crate) fn keep(&self, object: CK_OBJECT_HANDLE) {
        self.made.borrow_mut().push(object);
    }

    /// Encrypts or decrypts in one part.
    pub(crate) fn crypt(
        &self,
        encrypt: bool,
        mechanism: &mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let (module, session) = (self.module, self.session);
        let rv = match encrypt {
            true => call!(module, C_EncryptInit, session, mechanism, key),
            false => call!(module, C_DecryptInit, session, mechanism, key),
        };
        crate::host::check(rv)?;
        let mut output = vec![0; data.len() + 1024];
        let mut len = output.len() as CK_ULONG;
        let (bytes, bytes_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        let rv = match encrypt {
            true => call!(module, C_Encrypt, session, bytes, bytes_len, output.as_mut_ptr(), &mut len),
            false => call!(module, C_Decrypt, session, bytes, bytes_len, output.as_mut_ptr(), &mut len),
        };
        crate::host::check(rv)?;
        output.truncate(len as usize);
        Ok(output)
    }
}

/// Bytes of a field in hexadecimal digits.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default().as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hexadecimal digit") as u8;
    text.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A number in hexadecimal digits, without leading zeros.
pub(crate) fn number(value: &Value) -> Vec<u8> {
    let bytes = bytes(value);
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

/// A number of a group or case.
pub(crate) fn count(value: &Value) -> usize {
    value.as_u64().expect("a number") as usize
}

/// Compares what the module said with what is right: `right` are the codes that refuse such a case.
pub(crate) fn judge(case: &Value, said: CK_RV, right: &[CK_RV]) -> Outcome {
    let good = match case["result"].as_str() {
        Some("valid") => said == CKR_OK,
        Some("invalid") => right.contains(&said),
        _ => said == CKR_OK || right.contains(&said),
    };
    if good { Outcome::Right } else { Outcome::Wrong(format!("{} and answered {said:#x}", case["result"])) }
}

/// The same for an output, which must be `expected` if there is one.
pub(crate) fn judge_output(case: &Value, said: Result<Vec<u8>, CK_RV>, expected: &[u8], right: &[CK_RV]) -> Outcome {
    match said {
        Ok(output) if output == expected => judge(case, CKR_OK, right),
        // Something else, where nothing is right.
        Ok(_) => Outcome::Wrong(format!("{}, and made another output", case["result"])),
        Err(rv) => judge(case, rv, right),
    }
}

/// A mechanism with this parameter.
pub(crate) fn with<T>(id: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    let mut mechanism = mechanism(id);
    mechanism.pParameter = std::ptr::from_mut(parameter).cast();
    mechanism.ulParameterLen = size_of::<T>() as CK_ULONG;
    mechanism
}

/// The pointer to some bytes; NULL for none.
pub(crate) fn pointer(bytes: &[u8]) -> *mut CK_BYTE {
    if bytes.is_empty() { null_mut() } else { bytes.as_ptr().cast_mut() }
}

/// A hash by its name in the files: its mechanism, its MGF, its HMAC.
pub(crate) fn hash(name: &Value) -> Option<(CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE)> {
    Some(match name.as_str()? {
        "SHA-1" => (CKM_SHA_1, CKG_MGF1_SHA1),
        "SHA-224" => (CKM_SHA224, CKG_MGF1_SHA224),
        "SHA-256" => (CKM_SHA256, CKG_MGF1_SHA256),
        "SHA-384" => (CKM_SHA384, CKG_MGF1_SHA384),
        "SHA-512" => (CKM_SHA512, CKG_MGF1_SHA512),
        "SHA3-224" => (CKM_SHA3_224, CKG_MGF1_SHA3_224),
        "SHA3-256" => (CKM_SHA3_256, CKG_MGF1_SHA3_256),
        "SHA3-384" => (CKM_SHA3_384, CKG_MGF1_SHA3_384),
        "SHA3-512" => (CKM_SHA3_512, CKG_MGF1_SHA3_512),
        _ => return None,
    })
}

/// The object identifier of a curve of the module, and the length of its field, by its name in the files.
pub(crate) fn curve(name: &Value) -> Option<(&'static [u8], usize)> {
    Some(match name.as_str()? {
        "secp256r1" => (&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32),
        "secp384r1" => (&[6, 5, 0x2b, 0x81, 4, 0, 34], 48),
        "secp521r1" => (&[6, 5, 0x2b, 0x81, 4, 0, 35], 66),
        "secp256k1" => (&[6, 5, 0x2b, 0x81, 4, 0, 10], 32),
        _ => return None,
    })
}
