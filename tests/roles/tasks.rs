//! What hosts are asked to do, each in a session of its own.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use crate::host::steps::say;
use crate::host::{Module, SO_PIN, USER_PIN, attr, call, check, mechanism, ok};
use crate::objects::{self, Attr, bytes, flag, number};
use cryptoki_sys::*;
use std::path::PathBuf;

/// What the hosts share beside the store: the data of a request for a certificate, whose key it is for, and the
/// signature.
pub(crate) const REQUEST: &str = "request.der";
pub(crate) const PUBLIC_KEY: &str = "public-key.der";
pub(crate) const SIGNATURE: &str = "signature";

/// A process with an access key does its tasks (`ACCESSKEY TASK TASK …`) and says of each `CKR DEVICE-ERROR`, or what it
/// was asked for. `C_InitToken` has no session that could hold a device error.
pub(crate) fn host(step: &str) {
    let (access_key, tasks) = step.split_once(' ').unwrap();
    // SAFETY: nothing else in this process reads or changes the environment now.
    unsafe { std::env::set_var("AWS_ACCESS_KEY_ID", access_key) };
    let module = Module::start_step();
    let mut logged_in = None;
    for task in tasks.split(' ') {
        if task == "initialise" {
            say(format!("{:#x}", initialise(module)));
            continue;
        }
        // The login holds as long as its session.
        logged_in.get_or_insert_with(|| module.enter());
        let host = Host { module, session: module.open(true) };
        let (what, id) = task.split_once(':').unwrap_or((task, ""));
        let done = match what {
            "pair" => host.pair(id),
            "request" => host.request(id.as_bytes()),
            "sign" => host.sign(id.as_bytes()),
            "verify" => host.verify(id.as_bytes()),
            "decrypt" => host.decrypt(id.as_bytes()),
            "unwrap" => host.unwrap(id.as_bytes()),
            "secret" => host.secret(),
            "import" => host.import(),
            "change" => host.change(id.as_bytes()),
            "count" => {
                say(module.find(host.session, &[]).len());
                continue;
            }
            "serial" => {
                say(String::from_utf8_lossy(&token_info(module).serialNumber));
                continue;
            }
            _ => panic!("nobody knows how to {task}"),
        };
        let rv = done.err().unwrap_or(CKR_OK);
        say(format!("{rv:#x} {:#x}", module.device_error(host.session)));
    }
    module.finalise();
}

fn token_info(module: Module) -> CK_TOKEN_INFO {
    // SAFETY: the structure is all numbers and bytes.
    let mut info = unsafe { std::mem::zeroed() };
    ok!(module, C_GetTokenInfo, 0, &mut info);
    info
}

/// The token, and the user's PIN if it has PINs.
fn initialise(module: Module) -> CK_RV {
    let label = b"test                            ".as_ptr().cast_mut();
    let (pin, len) = (SO_PIN.as_ptr().cast_mut(), SO_PIN.len() as CK_ULONG);
    let rv = call!(module, C_InitToken, 0, pin, len, label);
    if rv == CKR_OK && token_info(module).flags & CKF_LOGIN_REQUIRED != 0 {
        let session = module.open(true);
        ok!(module, C_Login, session, CKU_SO, pin, len);
        ok!(module, C_InitPIN, session, USER_PIN.as_ptr().cast_mut(), USER_PIN.len() as CK_ULONG);
        ok!(module, C_CloseSession, session);
    }
    rv
}

/// A file that hosts share.
fn shared(name: &str) -> PathBuf {
    let configuration = std::env::var_os("DATAKEY_PKCS11_CONF").unwrap();
    PathBuf::from(configuration).with_file_name(name)
}

struct Host {
    module: Module,
    session: CK_SESSION_HANDLE,
}

/// The template in C, which lasts as long as the one in Rust.
fn native(template: &[Attr]) -> Vec<CK_ATTRIBUTE> {
    template.iter().map(|(attribute, value)| attr(*attribute, value)).collect()
}

impl Host {
    fn key(&self, class: CK_OBJECT_CLASS, id: &[u8]) -> CK_OBJECT_HANDLE {
        let found = self.module.find(self.session, &[(CKA_CLASS, &class.to_ne_bytes()), (CKA_ID, id)]);
        assert_eq!(found.len(), 1, "one key of class {class} with id {id:02x?}");
        found[0]
    }

    /// A key pair on the token for these usages alone (`ID:USAGES`): on P-256 if it is to sign alone, else RSA.
    fn pair(&self, id_and_usages: &str) -> Result<(), CK_RV> {
        let (id, usages) = id_and_usages.split_once(':').unwrap();
        let uses = |usage: &str| usages.split(',').any(|named| named == usage);
        const USAGES: [(CK_ATTRIBUTE_TYPE, &str); 5] = [
            (CKA_SIGN, "sign"),
            (CKA_DECRYPT, "decrypt"),
            (CKA_SIGN_RECOVER, "sign-recover"),
            (CKA_UNWRAP, "unwrap"),
            (CKA_DERIVE, "derive"),
        ];
        const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let (generation, params) = match usages {
            "sign" => (CKM_EC_KEY_PAIR_GEN, bytes(CKA_EC_PARAMS, P256)),
            _ => (CKM_RSA_PKCS_KEY_PAIR_GEN, number(CKA_MODULUS_BITS, 2048)),
        };
        let both = [bytes(CKA_ID, id.as_bytes()), flag(CKA_TOKEN, true)];
        let public = [&both[..], &[params]].concat();
        let mut private = both.to_vec();
        private.extend(USAGES.map(|(attribute, usage)| flag(attribute, uses(usage))));
        let (mut public, mut private) = (native(&public), native(&private));
        let counts = (public.len() as CK_ULONG, private.len() as CK_ULONG);
        let (first, second) = (public.as_mut_ptr(), private.as_mut_ptr());
        let (module, session, mut pair) = (self.module, self.session, (0, 0));
        let mut mechanism = mechanism(generation);
        let handles = (&raw mut pair.0, &raw mut pair.1);
        check(call!(
            module,
            C_GenerateKeyPair,
            session,
            &mut mechanism,
            first,
            counts.0,
            second,
            counts.1,
            handles.0,
            handles.1
        ))
    }

    /// The data of a request for a certificate (RFC 2986), which needs the public key alone.
    fn request(&self, id: &[u8]) -> Result<(), CK_RV> {
        fn der(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
            let contents = contents.concat();
            assert!(contents.len() < 0x80);
            [&[tag, contents.len() as u8], &contents[..]].concat()
        }
        const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];
        let name = der(0x30, &[COMMON_NAME, &der(0x0c, &[b"www.example.com"])]);
        let name = der(0x30, &[&der(0x31, &[&name])]);
        let key = self.module.get(self.session, self.key(CKO_PUBLIC_KEY, id), CKA_PUBLIC_KEY_INFO)?;
        let info = [&der(2, &[&[0]]), &name, &key, &der(0xa0, &[])].map(Vec::as_slice).concat();
        let info = [&[0x30, 0x81, u8::try_from(info.len()).unwrap()], &info[..]].concat();
        std::fs::write(shared(PUBLIC_KEY), key).unwrap();
        std::fs::write(shared(REQUEST), info).unwrap();
        Ok(())
    }

    fn sign(&self, id: &[u8]) -> Result<(), CK_RV> {
        let data = std::fs::read(shared(REQUEST)).unwrap();
        let key = self.key(CKO_PRIVATE_KEY, id);
        let signature = self.module.sign(self.session, key, CKM_ECDSA_SHA256, &data)?;
        std::fs::write(shared(SIGNATURE), signature).unwrap();
        Ok(())
    }

    fn verify(&self, id: &[u8]) -> Result<(), CK_RV> {
        let [data, signature] = [REQUEST, SIGNATURE].map(|name| std::fs::read(shared(name)).unwrap());
        let key = self.key(CKO_PUBLIC_KEY, id);
        check(self.module.verify(self.session, key, CKM_ECDSA_SHA256, &data, &signature))
    }

    fn decrypt(&self, id: &[u8]) -> Result<(), CK_RV> {
        let (module, session, data) = (self.module, self.session, b"some data");
        let (mut encrypted, mut len) = ([0; 256], 256);
        let (some, n) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        ok!(module, C_EncryptInit, session, &mut mechanism(CKM_RSA_PKCS), self.key(CKO_PUBLIC_KEY, id));
        ok!(module, C_Encrypt, session, some, n, encrypted.as_mut_ptr(), &mut len);
        check(call!(module, C_DecryptInit, session, &mut mechanism(CKM_RSA_PKCS), self.key(CKO_PRIVATE_KEY, id)))?;
        let (mut back, mut back_len) = ([0; 256], 256);
        check(call!(module, C_Decrypt, session, encrypted.as_mut_ptr(), 256, back.as_mut_ptr(), &mut back_len))?;
        assert_eq!(back[..back_len as usize], data[..]);
        Ok(())
    }

    fn unwrap(&self, id: &[u8]) -> Result<(), CK_RV> {
        let (module, session) = (self.module, self.session);
        let open = [flag(CKA_EXTRACTABLE, true)];
        let key = module.create(session, &objects::with(objects::secret_key(CKK_AES, &[7; 16]), &open));
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let (mut wrapped, mut len) = ([0; 256], 256);
        let (under, with) = (self.key(CKO_PUBLIC_KEY, id), self.key(CKO_PRIVATE_KEY, id));
        ok!(module, C_WrapKey, session, &mut rsa, under, key, wrapped.as_mut_ptr(), &mut len);
        let template = [number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_AES)];
        let mut template = native(&template);
        let first = template.as_mut_ptr();
        check(call!(module, C_UnwrapKey, session, &mut rsa, with, wrapped.as_mut_ptr(), 256, first, 2, &mut 0))
    }

    /// A secret key that KMS makes.
    fn secret(&self) -> Result<(), CK_RV> {
        let template = [number(CKA_VALUE_LEN, 32), flag(CKA_TOKEN, true)];
        let mut template = native(&template);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        check(call!(self.module, C_GenerateKey, self.session, &mut mechanism(CKM_AES_KEY_GEN), first, count, &mut 0))
    }

    /// A secret key that this host knows.
    fn import(&self) -> Result<(), CK_RV> {
        let known = objects::with(objects::secret_key(CKK_AES, &[7; 16]), &[flag(CKA_TOKEN, true)]);
        check(self.module.try_create(self.session, &known, &mut 0))
    }

    /// Another usage for a private key, which goes into its encryption context.
    fn change(&self, id: &[u8]) -> Result<(), CK_RV> {
        check(self.module.set(self.session, self.key(CKO_PRIVATE_KEY, id), &[flag(CKA_DERIVE, true)]))
    }
}
