//! Message-based encryption and decryption: many messages with one AES key.

mod host;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use cryptoki_sys::*;
use host::{Module, Place, alone, at, attr, call, check, len, mechanism, ok};
use std::collections::HashSet;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A token on the embedded KMS with a session, the user logged in.
fn scene() -> (Place, Module, CK_SESSION_HANDLE) {
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    (place, module, session)
}

fn aes_key(module: Module, session: CK_SESSION_HANDLE, value: &[u8]) -> CK_OBJECT_HANDLE {
    let (class, kind) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes());
    let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &kind), attr(CKA_VALUE, value)];
    let mut key = 0;
    ok!(module, C_CreateObject, session, template.as_mut_ptr(), 3, &mut key);
    key
}

/// The parameters of messages, with the memory that they point to.
struct Gcm {
    iv: Vec<u8>,
    tag: Vec<u8>,
    params: CK_GCM_MESSAGE_PARAMS,
}

impl Gcm {
    fn new(iv: &[u8], generator: CK_GENERATOR_FUNCTION, fixed_bits: CK_ULONG) -> Box<Self> {
        let (mut iv, mut tag) = (iv.to_vec(), vec![0; 16]);
        let params = CK_GCM_MESSAGE_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: iv.len() as CK_ULONG,
            ulIvFixedBits: fixed_bits,
            ivGenerator: generator,
            pTag: tag.as_mut_ptr(),
            ulTagBits: 128,
        };
        Box::new(Self { iv, tag, params })
    }

    fn at(&mut self) -> *mut c_void {
        (&raw mut self.params).cast()
    }
}

const GCM: CK_ULONG = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
const CCM: CK_ULONG = size_of::<CK_CCM_MESSAGE_PARAMS>() as CK_ULONG;
const NONE: CK_RV = CKR_OPERATION_NOT_INITIALIZED;
const BAD: CK_RV = CKR_MECHANISM_PARAM_INVALID;

/// An encrypting and a decrypting process; `n` is the length of the parameters.
struct Process {
    module: Module,
    session: CK_SESSION_HANDLE,
    n: CK_ULONG,
}

impl Process {
    fn output(work: impl FnOnce(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) -> Result<Vec<u8>, CK_RV> {
        let (mut out, mut len) = (vec![0; 1024], 1024);
        check(work(out.as_mut_ptr(), &mut len))?;
        out.truncate(len as usize);
        Ok(out)
    }

    fn encrypt(&self, params: *mut c_void, aad: &[u8], data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        let (aad, a, data, d) = (at(aad), len(aad), at(data), len(data));
        Self::output(|out, room| {
            call!(self.module, C_EncryptMessage, self.session, params, self.n, aad, a, data, d, out, room)
        })
    }

    fn decrypt(&self, params: *mut c_void, aad: &[u8], data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        let (aad, a, data, d) = (at(aad), len(aad), at(data), len(data));
        Self::output(|out, room| {
            call!(self.module, C_DecryptMessage, self.session, params, self.n, aad, a, data, d, out, room)
        })
    }

    fn encrypt_begin(&self, params: *mut c_void, aad: &[u8]) -> CK_RV {
        call!(self.module, C_EncryptMessageBegin, self.session, params, self.n, at(aad), len(aad))
    }

    fn decrypt_begin(&self, params: *mut c_void, aad: &[u8]) -> CK_RV {
        call!(self.module, C_DecryptMessageBegin, self.session, params, self.n, at(aad), len(aad))
    }

    fn encrypt_next(&self, params: *mut c_void, part: &[u8], flags: CK_FLAGS) -> Result<Vec<u8>, CK_RV> {
        let (part, p) = (at(part), len(part));
        Self::output(|out, room| {
            call!(self.module, C_EncryptMessageNext, self.session, params, self.n, part, p, out, room, flags)
        })
    }

    fn decrypt_next(&self, params: *mut c_void, part: &[u8], flags: CK_FLAGS) -> Result<Vec<u8>, CK_RV> {
        let (part, p) = (at(part), len(part));
        Self::output(|out, room| {
            call!(self.module, C_DecryptMessageNext, self.session, params, self.n, part, p, out, room, flags)
        })
    }

    fn finish(&self) -> (CK_RV, CK_RV) {
        (
            call!(self.module, C_MessageEncryptFinal, self.session),
            call!(self.module, C_MessageDecryptFinal, self.session),
        )
    }
}

const LAST: CK_FLAGS = CKF_END_OF_MESSAGE;

#[test]
fn gcm_messages_are_theirs() {
    if !alone("gcm_messages_are_theirs") {
        return;
    }
    let (_place, module, session) = scene();
    let value = [0x42; 32];
    let key = aes_key(module, session, &value);
    let process = Process { module, session, n: GCM };
    let theirs = Aes256Gcm::new(&Key::<Aes256Gcm>::from(value));
    let sealed = |iv: &[u8], aad: &[u8], msg: &[u8]| {
        let iv: [u8; 12] = iv.try_into().unwrap();
        theirs.encrypt(&iv.into(), Payload { msg, aad }).unwrap()
    };
    let (aad, data) = (b"who and when", b"a message of more than one block of sixteen");
    let mut gcm = Gcm::new(&[9; 12], CKG_NO_GENERATE, 0);
    // The parameter of the mechanism is not looked at: it comes with each message.
    let mut with = mechanism(CKM_AES_GCM);
    with.pParameter = gcm.at();
    with.ulParameterLen = GCM;
    ok!(module, C_MessageEncryptInit, session, &mut with, key);
    ok!(module, C_MessageDecryptInit, session, &mut mechanism(CKM_AES_GCM), key);

    for generator in [CKG_NO_GENERATE, CKG_GENERATE, CKG_GENERATE_RANDOM, CKG_GENERATE_COUNTER] {
        let mut gcm = Gcm::new(&[9; 12], generator, 32);
        let whole = process.encrypt(gcm.at(), aad, data).unwrap();
        assert_eq!([&whole[..], &gcm.tag].concat(), sealed(&gcm.iv, aad, data), "{generator}");
        assert_eq!(gcm.iv[..4], [9; 4], "the fixed bits");
        assert_eq!(gcm.iv == [9; 12], generator == CKG_NO_GENERATE);
        assert_eq!(process.decrypt(gcm.at(), aad, &whole).unwrap(), data);

        let mut gcm = Gcm::new(&[8; 12], generator, 0);
        assert_eq!(process.encrypt_begin(gcm.at(), aad), CKR_OK);
        let mut parts = process.encrypt_next(gcm.at(), &data[..7], 0).unwrap();
        parts.extend(process.encrypt_next(gcm.at(), b"", 0).unwrap());
        assert_eq!(parts.len(), 7, "what can come out does");
        parts.extend(process.encrypt_next(gcm.at(), &data[7..], LAST).unwrap());
        assert_eq!([&parts[..], &gcm.tag].concat(), sealed(&gcm.iv, aad, data), "{generator}");
        assert_eq!(process.decrypt_begin(gcm.at(), aad), CKR_OK);
        assert_eq!(process.decrypt_next(gcm.at(), &parts[..20], 0).unwrap(), b"", "nothing before the tag");
        assert_eq!(process.decrypt_next(gcm.at(), &parts[20..], LAST).unwrap(), data);
    }

    // Tampering with anything is found out; the process goes on.
    let mut gcm = Gcm::new(&[1; 12], CKG_NO_GENERATE, 0);
    let good = process.encrypt(gcm.at(), aad, data).unwrap();
    let refused = Err(CKR_AEAD_DECRYPT_FAILED);
    assert_eq!(process.decrypt(gcm.at(), b"other", &good), refused);
    assert_eq!(process.decrypt(gcm.at(), aad, &good[1..]), refused);
    gcm.tag[0] ^= 1;
    assert_eq!(process.decrypt(gcm.at(), aad, &good), refused);
    assert_eq!(process.decrypt_begin(gcm.at(), aad), CKR_OK);
    assert_eq!(process.decrypt_next(gcm.at(), &good, LAST), refused);
    assert_eq!(process.decrypt_next(gcm.at(), &good, LAST), Err(NONE));
    gcm.tag[0] ^= 1;
    gcm.iv[0] ^= 1;
    assert_eq!(process.decrypt(gcm.at(), aad, &good), refused);
    gcm.iv[0] ^= 1;
    assert_eq!(process.decrypt(gcm.at(), aad, &good).unwrap(), data);
    assert_eq!((process.finish(), process.finish()), ((CKR_OK, CKR_OK), (NONE, NONE)));
}

#[test]
fn vectors_never_come_twice() {
    if !alone("vectors_never_come_twice") {
        return;
    }
    let (_place, module, session) = scene();
    let key = aes_key(module, session, &[0x42; 32]);
    let process = Process { module, session, n: GCM };
    let mut seen = HashSet::new();
    let start = || ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), key);
    start();
    // The counter begins at zero.
    let mut first = Gcm::new(&[7; 12], CKG_GENERATE_COUNTER, 32);
    process.encrypt(first.at(), b"", b"data").unwrap();
    assert_eq!(first.iv, [7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    seen.insert(first.iv.clone());
    for round in 0..4 {
        for generator in [CKG_GENERATE_COUNTER, CKG_GENERATE, CKG_GENERATE_RANDOM] {
            for _ in 0..20 {
                let mut gcm = Gcm::new(&[7; 12], generator, 32);
                process.encrypt(gcm.at(), b"", b"data").unwrap();
                assert!(seen.insert(gcm.iv.clone()), "{:02x?} again, in round {round}", gcm.iv);
            }
        }
        // Nor after a message that failed, in a new process, in another session, after another login.
        let mut gcm = Gcm::new(&[7; 12], CKG_GENERATE_COUNTER, 32);
        assert_eq!(process.encrypt_begin(gcm.at(), b""), CKR_OK);
        assert!(seen.insert(gcm.iv.clone()));
        let rv = call!(module, C_EncryptMessageNext, session, gcm.at(), GCM, null_mut(), 9, null_mut(), null_mut(), 0);
        assert_eq!((rv, process.encrypt_next(gcm.at(), b"", LAST)), (CKR_ARGUMENTS_BAD, Err(NONE)));
        ok!(module, C_MessageEncryptFinal, session);
        start();
    }
    // A length that is asked for makes none.
    let mut gcm = Gcm::new(&[7; 12], CKG_GENERATE_COUNTER, 32);
    let mut room = 0;
    let ask = |params, out, room| {
        call!(module, C_EncryptMessage, session, params, GCM, null_mut(), 0, at(b"data"), 4, out, room)
    };
    for _ in 0..3 {
        assert_eq!((ask(gcm.at(), null_mut(), &mut room), room), (CKR_OK, 4));
        room = 3;
        assert_eq!((ask(gcm.at(), at(&[0; 3]), &mut room), room), (CKR_BUFFER_TOO_SMALL, 4));
    }
    assert_eq!(gcm.iv, [7; 12]);
    process.encrypt(gcm.at(), b"", b"data").unwrap();
    let made = u64::from_be_bytes(gcm.iv[4..].try_into().unwrap());
    assert_eq!(made, seen.len() as u64, "as many as there were messages");

    // What is under the counter stays; a place of a few bits is used up.
    let mut gcm = Gcm::new(&[0x55; 12], CKG_GENERATE_COUNTER_XOR, 32);
    process.encrypt(gcm.at(), b"", b"data").unwrap();
    assert_ne!(gcm.iv, [0x55; 12]);
    assert_eq!(process.encrypt(gcm.at(), b"", b"data"), Err(BAD), "the caller left the last one there");
    let mut gcm = Gcm::new(&[0x55; 12], CKG_GENERATE_COUNTER, 92);
    assert_eq!(process.encrypt(gcm.at(), b"", b"data"), Err(BAD));
    assert_eq!(gcm.iv, [0x55; 12]);
    ok!(module, C_MessageEncryptFinal, session);

    // A copy has the same key, and so the same counter.
    let (mut copy, mut sealed) = (0, 0);
    ok!(module, C_CopyObject, session, key, null_mut(), 0, &mut copy);
    ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), copy);
    let mut gcm = Gcm::new(&[7; 12], CKG_GENERATE_COUNTER, 32);
    process.encrypt(gcm.at(), b"", b"data").unwrap();
    assert!(u64::from_be_bytes(gcm.iv[4..].try_into().unwrap()) > made, "{:02x?}", gcm.iv);
    ok!(module, C_MessageEncryptFinal, session);
    // A sealed key has users who do not know of each other's counters.
    ok!(module, C_CopyObject, session, key, [attr(CKA_TOKEN, &[1])].as_mut_ptr(), 1, &mut sealed);
    ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), sealed);
    for (generator, result) in [
        (CKG_GENERATE_COUNTER, Err(BAD)),
        (CKG_GENERATE_COUNTER_XOR, Err(BAD)),
        (CKG_GENERATE, Ok(4)),
        (CKG_GENERATE_RANDOM, Ok(4)),
    ] {
        let mut gcm = Gcm::new(&[7; 12], generator, 32);
        assert_eq!(process.encrypt(gcm.at(), b"", b"data").map(|data| data.len()), result, "{generator}");
        assert_eq!(gcm.iv == [7; 12], result.is_err());
    }
}

#[test]
fn ccm_messages_are_the_published_ones() {
    if !alone("ccm_messages_are_the_published_ones") {
        return;
    }
    let (_place, module, session) = scene();
    // SP 800-38C, example 1.
    let value: Vec<u8> = (0x40..0x50).collect();
    let (mut nonce, aad): (Vec<u8>, Vec<u8>) = ((0x10..0x17).collect(), (0..8).collect());
    let (data, expected) = ([0x20, 0x21, 0x22, 0x23], [0x71, 0x62, 0x01, 0x5b]);
    let mut mac = [0; 4];
    let mut ccm = CK_CCM_MESSAGE_PARAMS {
        ulDataLen: 4,
        pNonce: nonce.as_mut_ptr(),
        ulNonceLen: 7,
        ulNonceFixedBits: 0,
        nonceGenerator: CKG_NO_GENERATE,
        pMAC: mac.as_mut_ptr(),
        ulMACLen: 4,
    };
    let params: *mut c_void = (&raw mut ccm).cast();
    let key = aes_key(module, session, &value);
    let process = Process { module, session, n: CCM };
    ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_CCM), key);
    ok!(module, C_MessageDecryptInit, session, &mut mechanism(CKM_AES_CCM), key);
    assert_eq!(process.encrypt(params, &aad, &data).unwrap(), expected);
    assert_eq!(mac, [0x4d, 0xac, 0x25, 0x5d]);
    assert_eq!(process.decrypt(params, &aad, &expected).unwrap(), data);
    mac = [0; 4];
    assert_eq!(process.encrypt_begin(params, &aad), CKR_OK);
    assert_eq!(process.encrypt_next(params, &data[..3], 0).unwrap(), b"");
    assert_eq!(process.encrypt_next(params, &data[3..], LAST).unwrap(), expected);
    assert_eq!(mac, [0x4d, 0xac, 0x25, 0x5d]);
    assert_eq!(process.decrypt_begin(params, &aad), CKR_OK);
    assert_eq!(process.decrypt_next(params, &expected[..1], 0).unwrap(), b"");
    assert_eq!(process.decrypt_next(params, &expected[1..], LAST).unwrap(), data);
    // Another length than was said.
    assert_eq!(process.encrypt(params, &aad, b"five!"), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(process.decrypt(params, &aad, b"five!"), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
    assert_eq!(process.decrypt(params, &aad, &data), Err(CKR_AEAD_DECRYPT_FAILED));
    // The parameters of the other mechanism.
    let mut gcm = Gcm::new(&[0; 12], CKG_NO_GENERATE, 0);
    let other = Process { module, session, n: GCM };
    assert_eq!(other.encrypt(gcm.at(), &aad, &data), Err(BAD));
    assert_eq!(process.finish(), (CKR_OK, CKR_OK));
}

#[test]
fn what_is_wrong_ends_no_more_than_its_message() {
    if !alone("what_is_wrong_ends_no_more_than_its_message") {
        return;
    }
    let (_place, module, session) = scene();
    let key = aes_key(module, session, &[0x42; 16]);
    let process = Process { module, session, n: GCM };
    let mut gcm = Gcm::new(&[1; 12], CKG_NO_GENERATE, 0);
    let params = gcm.at();
    let over = || {
        assert_eq!(process.encrypt(params, b"", b"data"), Err(NONE));
        assert_eq!(process.decrypt(params, b"", b"data"), Err(NONE));
        assert_eq!((process.encrypt_begin(params, b""), process.decrypt_begin(params, b"")), (NONE, NONE));
        assert_eq!(process.encrypt_next(params, b"", 0), Err(NONE));
        assert_eq!(process.decrypt_next(params, b"", LAST), Err(NONE));
        assert_eq!(process.finish(), (NONE, NONE));
    };
    over();
    let (mut cbc, mut good) = (mechanism(CKM_SHA256), mechanism(CKM_AES_GCM));
    assert_eq!(call!(module, C_MessageEncryptInit, session, &mut cbc, key), CKR_MECHANISM_INVALID);
    assert_eq!(call!(module, C_MessageEncryptInit, session, &mut good, 999_999), CKR_KEY_HANDLE_INVALID);
    let mut odd = mechanism(CKM_AES_GCM);
    (odd.pParameter, odd.ulParameterLen) = (params, 5);
    assert_eq!(call!(module, C_MessageDecryptInit, session, &mut odd, key), BAD);
    over();

    ok!(module, C_MessageEncryptInit, session, &mut good, key);
    ok!(module, C_MessageDecryptInit, session, &mut good, key);
    assert_eq!(call!(module, C_MessageEncryptInit, session, &mut good, key), CKR_OPERATION_ACTIVE);
    assert_eq!(call!(module, C_MessageDecryptInit, session, &mut good, key), CKR_OPERATION_ACTIVE);
    for (change, what) in [
        (&|p: &mut CK_GCM_MESSAGE_PARAMS| p.ulTagBits = 127, "tag bits"),
        (&|p| p.ulTagBits = 136, "tag too long"),
        (&|p| p.ulTagBits = CK_ULONG::MAX, "tag bits overflow"),
        (&|p| p.pTag = null_mut(), "no tag"),
        (&|p| p.pIv = null_mut(), "no IV"),
        (&|p| p.ulIvLen = 0, "empty IV"),
        (&|p| p.ivGenerator = 77, "generator"),
        (&|p| (p.ivGenerator, p.ulIvFixedBits) = (CKG_GENERATE, 97), "fixed bits"),
        (&|p| (p.ivGenerator, p.ulIvFixedBits) = (CKG_GENERATE_COUNTER, CK_ULONG::MAX), "fixed bits overflow"),
    ] as [(&dyn Fn(&mut CK_GCM_MESSAGE_PARAMS), &str); 9]
    {
        let mut gcm = Gcm::new(&[1; 12], CKG_NO_GENERATE, 0);
        change(&mut gcm.params);
        assert_eq!(process.encrypt(gcm.at(), b"", b"data"), Err(BAD), "{what}");
    }
    assert_eq!(Process { module, session, n: 5 }.encrypt(params, b"", b"data"), Err(BAD));
    assert_eq!(Process { module, session, n: 5 }.encrypt_begin(params, b""), BAD);
    let rv = call!(module, C_EncryptMessageBegin, session, params, GCM, null_mut(), 4);
    assert_eq!(rv, CKR_ARGUMENTS_BAD);

    // In the middle of a message neither another message nor the end; another tag ends it.
    assert_eq!(
        (process.encrypt_begin(params, b""), process.encrypt_begin(params, b"")),
        (CKR_OK, CKR_OPERATION_ACTIVE)
    );
    assert_eq!(
        (process.decrypt_begin(params, b""), process.decrypt_begin(params, b"")),
        (CKR_OK, CKR_OPERATION_ACTIVE)
    );
    assert_eq!(process.encrypt(params, b"", b"data"), Err(CKR_OPERATION_ACTIVE));
    assert_eq!(process.decrypt(params, b"", b"data"), Err(CKR_OPERATION_ACTIVE));
    assert_eq!(process.finish(), (CKR_OPERATION_ACTIVE, CKR_OPERATION_ACTIVE));
    let none = Process { module, session, n: 0 };
    assert_eq!(none.encrypt_next(null_mut(), b"da", 0).unwrap().len(), 2, "before the last it may be left out");
    assert_eq!(none.encrypt_next(null_mut(), b"ta", LAST), Err(BAD));
    assert_eq!(process.encrypt_next(params, b"ta", LAST), Err(NONE));
    let mut other = Gcm::new(&[1; 12], CKG_NO_GENERATE, 0);
    other.params.ulTagBits = 96;
    assert_eq!(process.decrypt_next(other.at(), b"data", LAST), Err(BAD));
    assert_eq!(process.decrypt_next(params, b"data", LAST), Err(NONE));
    assert_eq!(process.finish(), (CKR_OK, CKR_OK));
    over();

    // Cancelled with its message, by either way, and by the end of the login.
    let start = || {
        ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), key);
        ok!(module, C_MessageDecryptInit, session, &mut mechanism(CKM_AES_GCM), key);
        assert_eq!((process.encrypt_begin(params, b""), process.decrypt_begin(params, b"")), (CKR_OK, CKR_OK));
    };
    start();
    ok!(module, C_MessageEncryptInit, session, null_mut(), key);
    ok!(module, C_MessageDecryptInit, session, null_mut(), key);
    over();
    start();
    ok!(module, C_SessionCancel, session, CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT);
    over();
    start();
    ok!(module, C_Logout, session);
    over();
}

#[test]
fn messages_end_when_the_key_permits_them_no_more() {
    if !alone("messages_end_when_the_key_permits_them_no_more") {
        return;
    }
    let (_place, module, session) = scene();
    let process = Process { module, session, n: GCM };
    let (class, kind) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes());
    let template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &kind), attr(CKA_VALUE, &[5; 32])];
    let mut template = [&template[..], &[attr(CKA_TOKEN, &[1])]].concat();
    let mut key = 0;
    ok!(module, C_CreateObject, session, template.as_mut_ptr(), 4, &mut key);
    let message = || {
        let mut gcm = Gcm::new(&[0; 12], CKG_GENERATE_RANDOM, 0);
        process.encrypt(gcm.at(), b"", b"data").map(|data| data.len())
    };
    let start = || ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), key);
    let set = |attribute, value: &[u8]| {
        ok!(module, C_SetAttributeValue, session, key, [attr(attribute, value)].as_mut_ptr(), 1);
    };
    start();
    // Another change is none that ends it.
    set(CKA_LABEL, b"new");
    assert_eq!((message(), message()), (Ok(4), Ok(4)));
    set(CKA_ENCRYPT, &[0]);
    assert_eq!((message(), message()), (Err(CKR_KEY_FUNCTION_NOT_PERMITTED), Err(NONE)));
    set(CKA_ENCRYPT, &[1]);
    start();
    assert_eq!(message(), Ok(4));
    ok!(module, C_DestroyObject, session, key);
    assert_eq!((message(), message()), (Err(CKR_KEY_HANDLE_INVALID), Err(NONE)));
}
