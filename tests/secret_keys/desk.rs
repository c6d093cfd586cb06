//! A token on a KMS that counts, and a session with the operations of secret keys.

use super::host::{Module, Place, attr, call, check, mechanism, ok};
use super::parameters::Parameter;
use cryptoki_sys::*;
use datakey::kms::embedded::Server;
use std::collections::BTreeMap;
use std::ptr::null_mut;

/// A KMS that counts, a token on it, and the module.
pub(crate) struct Scene {
    server: Server,
    _place: Place,
    pub(crate) module: Module,
}

impl Scene {
    /// `more` is added to the token's configuration. The token is initialised; nobody is logged in.
    pub(crate) fn new(more: &str) -> Self {
        let (place, server) = Place::served(more);
        let module = Module::start(&place.configuration());
        module.make_token(true);
        Self { server, _place: place, module }
    }

    /// What `work` gives, if it makes these calls and no others.
    #[track_caller]
    pub(crate) fn expect<T>(&self, expected: &[(&str, u64)], work: impl FnOnce() -> T) -> T {
        self.server.control().reset_calls();
        let result = work();
        let calls: BTreeMap<String, u64> = self.server.control().calls();
        let calls: Vec<_> = calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(calls, expected);
        result
    }
}

/// Which way; each has four functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Encrypt,
    Decrypt,
}

/// How much room the caller has.
#[derive(Clone, Copy)]
pub(crate) enum Room {
    Null,
    Bytes(usize),
}

/// A session with the operations of secret keys.
#[derive(Clone, Copy)]
pub(crate) struct Desk {
    pub(crate) module: Module,
    pub(crate) session: CK_SESSION_HANDLE,
}

pub(crate) type Output = Result<Vec<u8>, (CK_RV, usize)>;

impl Desk {
    pub(crate) fn generate(
        self,
        mechanism_: CK_MECHANISM_TYPE,
        len: CK_ULONG,
        more: &[(CK_ATTRIBUTE_TYPE, &[u8])],
    ) -> CK_OBJECT_HANDLE {
        self.try_generate(mechanism_, len, more).unwrap()
    }

    pub(crate) fn try_generate(
        self,
        mechanism_: CK_MECHANISM_TYPE,
        len: CK_ULONG,
        more: &[(CK_ATTRIBUTE_TYPE, &[u8])],
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let len = len.to_ne_bytes();
        let mut template = vec![attr(CKA_VALUE_LEN, &len)];
        template.extend(more.iter().map(|(attribute, value)| attr(*attribute, value)));
        let (mut key, count) = (0, template.len() as CK_ULONG);
        let rv = call!(
            self.module,
            C_GenerateKey,
            self.session,
            &mut mechanism(mechanism_),
            template.as_mut_ptr(),
            count,
            &mut key
        );
        check(rv).map(|()| key)
    }

    /// A session object with this value.
    pub(crate) fn create(self, key_type: CK_KEY_TYPE, value: &[u8]) -> CK_OBJECT_HANDLE {
        self.create_with(key_type, value, &[])
    }

    pub(crate) fn create_with(
        self,
        key_type: CK_KEY_TYPE,
        value: &[u8],
        more: &[(CK_ATTRIBUTE_TYPE, &[u8])],
    ) -> CK_OBJECT_HANDLE {
        let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), key_type.to_ne_bytes());
        let mut template = vec![attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type), attr(CKA_VALUE, value)];
        template.extend(more.iter().map(|(attribute, value)| attr(*attribute, value)));
        let mut key = 0;
        ok!(self.module, C_CreateObject, self.session, template.as_mut_ptr(), template.len() as CK_ULONG, &mut key);
        key
    }

    pub(crate) fn init(self, way: Way, parameter: &Parameter, key: CK_OBJECT_HANDLE) -> CK_RV {
        parameter.with(|mechanism| match way {
            Way::Encrypt => call!(self.module, C_EncryptInit, self.session, mechanism, key),
            Way::Decrypt => call!(self.module, C_DecryptInit, self.session, mechanism, key),
        })
    }

    pub(crate) fn whole(self, way: Way, data: &[u8], room: Room) -> Output {
        with_room(room, |buffer, len| {
            let (at, data_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            match way {
                Way::Encrypt => call!(self.module, C_Encrypt, self.session, at, data_len, buffer, len),
                Way::Decrypt => call!(self.module, C_Decrypt, self.session, at, data_len, buffer, len),
            }
        })
    }

    pub(crate) fn update(self, way: Way, data: &[u8], room: Room) -> Output {
        with_room(room, |buffer, len| {
            let (at, data_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            match way {
                Way::Encrypt => call!(self.module, C_EncryptUpdate, self.session, at, data_len, buffer, len),
                Way::Decrypt => call!(self.module, C_DecryptUpdate, self.session, at, data_len, buffer, len),
            }
        })
    }

    pub(crate) fn last(self, way: Way, room: Room) -> Output {
        with_room(room, |buffer, len| match way {
            Way::Encrypt => call!(self.module, C_EncryptFinal, self.session, buffer, len),
            Way::Decrypt => call!(self.module, C_DecryptFinal, self.session, buffer, len),
        })
    }

    /// In one part, with more than enough room.
    pub(crate) fn run(
        self,
        way: Way,
        parameter: &Parameter,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        check(self.init(way, parameter, key))?;
        self.whole(way, data, Room::Bytes(data.len() + 64)).map_err(|(rv, _)| rv)
    }

    /// In parts of so many bytes, each buffer as large as it was said to be needed.
    pub(crate) fn run_in_parts(
        self,
        way: Way,
        parameter: &Parameter,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        step: usize,
    ) -> Vec<u8> {
        assert_eq!(self.init(way, parameter, key), CKR_OK);
        let mut out = Vec::new();
        for part in data.chunks(step) {
            let needed = self.update(way, part, Room::Null).unwrap_err().1;
            if needed > 0 {
                assert_eq!(self.update(way, part, Room::Bytes(needed - 1)), Err((CKR_BUFFER_TOO_SMALL, needed)));
            }
            out.extend(self.update(way, part, Room::Bytes(needed)).unwrap());
        }
        let needed = self.last(way, Room::Null).unwrap_err().1;
        out.extend(self.last(way, Room::Bytes(needed)).unwrap());
        out
    }

    /// Whether there is an operation, which is over after this.
    pub(crate) fn is_active(self, way: Way) -> bool {
        let active = self.last(way, Room::Null) != Err((CKR_OPERATION_NOT_INITIALIZED, 0));
        match way {
            Way::Encrypt => call!(self.module, C_EncryptInit, self.session, null_mut(), 0),
            Way::Decrypt => call!(self.module, C_DecryptInit, self.session, null_mut(), 0),
        };
        active
    }

    pub(crate) fn sign(self, parameter: &Parameter, key: CK_OBJECT_HANDLE, data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        check(parameter.with(|mechanism| call!(self.module, C_SignInit, self.session, mechanism, key)))?;
        let (at, data_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        with_room(Room::Bytes(64), |buffer, len| call!(self.module, C_Sign, self.session, at, data_len, buffer, len))
            .map_err(|(rv, _)| rv)
    }

    pub(crate) fn sign_in_parts(self, parameter: &Parameter, key: CK_OBJECT_HANDLE, data: &[u8]) -> Vec<u8> {
        parameter.with(|mechanism| ok!(self.module, C_SignInit, self.session, mechanism, key));
        for part in data.chunks(7) {
            ok!(self.module, C_SignUpdate, self.session, part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        }
        let last = |room| with_room(room, |buffer, len| call!(self.module, C_SignFinal, self.session, buffer, len));
        let needed = last(Room::Null).unwrap_err().1;
        assert_eq!(last(Room::Bytes(needed - 1)), Err((CKR_BUFFER_TOO_SMALL, needed)));
        last(Room::Bytes(needed)).unwrap()
    }

    pub(crate) fn verify(self, parameter: &Parameter, key: CK_OBJECT_HANDLE, data: &[u8], mac: &[u8]) -> CK_RV {
        parameter.with(|mechanism| ok!(self.module, C_VerifyInit, self.session, mechanism, key));
        let (at, len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        call!(self.module, C_Verify, self.session, at, len, mac.as_ptr().cast_mut(), mac.len() as CK_ULONG)
    }

    pub(crate) fn verify_in_parts(
        self,
        parameter: &Parameter,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        mac: &[u8],
    ) -> CK_RV {
        parameter.with(|mechanism| ok!(self.module, C_VerifyInit, self.session, mechanism, key));
        for part in data.chunks(11) {
            ok!(self.module, C_VerifyUpdate, self.session, part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        }
        call!(self.module, C_VerifyFinal, self.session, mac.as_ptr().cast_mut(), mac.len() as CK_ULONG)
    }

    pub(crate) fn cancel_verify(self) {
        ok!(self.module, C_VerifyInit, self.session, null_mut(), 0);
    }

    pub(crate) fn number(self, key: CK_OBJECT_HANDLE, attribute: CK_ATTRIBUTE_TYPE) -> CK_ULONG {
        CK_ULONG::from_ne_bytes(self.module.attribute(self.session, key, attribute).try_into().unwrap())
    }
}

/// Calls a function with a buffer for its output. What it wrote; or its error and the length that it named, `CKR_OK`
/// for a question.
pub(crate) fn with_room(room: Room, call: impl FnOnce(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) -> Output {
    const BEHIND: u8 = 0xb7;
    let (mut buffer, mut len) = match room {
        Room::Null => (Vec::new(), 0),
        Room::Bytes(room) => (vec![BEHIND; room + 16], room as CK_ULONG),
    };
    let at = if matches!(room, Room::Null) { null_mut() } else { buffer.as_mut_ptr() };
    let rv = call(at, &mut len);
    match (rv, room) {
        (CKR_OK, Room::Bytes(room)) => {
            assert!(buffer[room..].iter().all(|byte| *byte == BEHIND), "written behind the buffer");
            assert!(len as usize <= room);
            buffer.truncate(len as usize);
            Ok(buffer)
        }
        (CKR_OK | CKR_BUFFER_TOO_SMALL, _) => Err((rv, len as usize)),
        _ => Err((rv, 0)),
    }
}
