//! A host that signs: only what every module has had since PKCS#11 2.40.

use cryptoki_sys::*;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PIN: &[u8] = b"bench-pin-1";

/// A loaded module with a token of ours, to which the user is logged in.
pub(crate) struct Host {
    functions: &'static CK_FUNCTION_LIST,
    slot: CK_SLOT_ID,
    session: CK_SESSION_HANDLE,
}

/// Calls a function of the list.
macro_rules! call {
    ($host:expr, $function:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: the arguments are what the function wants, and live until it returns.
        unsafe { ($host.functions.$function.expect("every function is there"))($($argument),*) }
    };
}

/// Calls a function that must succeed.
macro_rules! ok {
    ($host:expr, $function:ident $(, $argument:expr)* $(,)?) => {
        assert_eq!(call!($host, $function $(, $argument)*), CKR_OK, stringify!($function))
    };
}

/// The kinds of keys that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
    Secp256k1,
    Ed25519,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Secp256k1,
        Self::Ed25519,
    ];

    /// How a key pair is generated: mechanism, and the attribute that says which.
    fn generation(self) -> (CK_MECHANISM_TYPE, CK_ATTRIBUTE_TYPE, Vec<u8>) {
        let rsa = |bits: CK_ULONG| (CKM_RSA_PKCS_KEY_PAIR_GEN, CKA_MODULUS_BITS, bits.to_ne_bytes().to_vec());
        let ec = |oid: &[u8]| (CKM_EC_KEY_PAIR_GEN, CKA_EC_PARAMS, oid.to_vec());
        match self {
            Self::Rsa2048 => rsa(2048),
            Self::Rsa3072 => rsa(3072),
            Self::Rsa4096 => rsa(4096),
            Self::P256 => ec(&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
            Self::P384 => ec(&[6, 5, 0x2b, 0x81, 4, 0, 34]),
            Self::P521 => ec(&[6, 5, 0x2b, 0x81, 4, 0, 35]),
            Self::Secp256k1 => ec(&[6, 5, 0x2b, 0x81, 4, 0, 10]),
            Self::Ed25519 => (CKM_EC_EDWARDS_KEY_PAIR_GEN, CKA_EC_PARAMS, b"\x13\x0cedwards25519".to_vec()),
        }
    }

    /// A mechanism that signs 32 bytes, and is in every module.
    fn signs(self) -> CK_MECHANISM_TYPE {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => CKM_SHA256_RSA_PKCS,
            Self::P256 | Self::P384 | Self::P521 | Self::Secp256k1 => CKM_ECDSA,
            Self::Ed25519 => CKM_EDDSA,
        }
    }
}

impl Host {
    /// Loads a module and makes a token under `folder`, or wherever the environment says that it is.
    pub(crate) fn with_token(module: &Path, folder: &Path) -> Self {
        configure(module, folder);
        // SAFETY: the caller of this program trusts the module, which is never unloaded.
        let library = Box::leak(Box::new(unsafe { libloading::Library::new(module) }.expect("the module loads")));
        let mut list = null_mut();
        // SAFETY: the symbol has this type in every PKCS#11 module, and its list lives as long as that does.
        let functions = unsafe {
            let entry: libloading::Symbol<'_, unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV> =
                library.get(b"C_GetFunctionList").expect("C_GetFunctionList is exported");
            assert_eq!(entry(&mut list), CKR_OK);
            &*list
        };
        let mut host = Self { functions, slot: 0, session: 0 };
        let mut arguments = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..Default::default() };
        ok!(host, C_Initialize, (&raw mut arguments).cast());
        host.slot = host.first_slot();
        let (pin, len) = (PIN.as_ptr().cast_mut(), PIN.len() as CK_ULONG);
        ok!(host, C_InitToken, host.slot, pin, len, b"bench                           ".as_ptr().cast_mut());
        // SoftHSM2 gives an initialised token another slot.
        host.slot = host.first_slot();
        let session = host.open();
        ok!(host, C_Login, session, CKU_SO, pin, len);
        ok!(host, C_InitPIN, session, pin, len);
        ok!(host, C_CloseSession, session);
        host.session = host.open();
        ok!(host, C_Login, host.session, CKU_USER, pin, len);
        host
    }

    fn first_slot(&self) -> CK_SLOT_ID {
        let (mut slots, mut count) = ([0; 16], 16);
        ok!(self, C_GetSlotList, CK_TRUE, slots.as_mut_ptr(), &mut count);
        assert!(count > 0, "the module has no token");
        slots[0]
    }

    fn open(&self) -> CK_SESSION_HANDLE {
        let mut session = 0;
        ok!(self, C_OpenSession, self.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null_mut(), None, &mut session);
        session
    }

    /// The private key of a new pair on the token; `None` if the module has no such keys.
    pub(crate) fn generate(&self, kind: Kind) -> Option<CK_OBJECT_HANDLE> {
        let (mechanism, attribute, value) = kind.generation();
        let mut mechanism = plain(mechanism);
        let (yes, exponent) = ([CK_TRUE], [1, 0, 1]);
        let mut public = vec![attr(CKA_TOKEN, &yes), attr(CKA_VERIFY, &yes), attr(attribute, &value)];
        if attribute == CKA_MODULUS_BITS {
            public.push(attr(CKA_PUBLIC_EXPONENT, &exponent));
        }
        let mut private = [attr(CKA_TOKEN, &yes), attr(CKA_PRIVATE, &yes), attr(CKA_SIGN, &yes)];
        let (mut public_key, mut private_key) = (0, 0);
        let made = call!(
            self,
            C_GenerateKeyPair,
            self.session,
            &mut mechanism,
            public.as_mut_ptr(),
            public.len() as CK_ULONG,
            private.as_mut_ptr(),
            private.len() as CK_ULONG,
            &mut public_key,
            &mut private_key,
        );
        (made == CKR_OK).then_some(private_key)
    }

    /// Signs in so many threads, each in a session of its own: how many signatures were made, and how long
    /// it really took.
    pub(crate) fn sign_for(
        &self,
        kind: Kind,
        key: CK_OBJECT_HANDLE,
        threads: usize,
        time: Duration,
    ) -> (u64, Duration) {
        let (start, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let signers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let session = self.open();
                        // The first one may find everything cold.
                        self.sign(session, kind, key);
                        start.wait();
                        let mut count = 0;
                        while !stop.load(Ordering::Relaxed) {
                            self.sign(session, kind, key);
                            count += 1;
                        }
                        ok!(self, C_CloseSession, session);
                        count
                    })
                })
                .collect();
            start.wait();
            let started = Instant::now();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            let count = signers.into_iter().map(|signer| signer.join().expect("a signer that failed")).sum();
            (count, started.elapsed())
        })
    }

    fn sign(&self, session: CK_SESSION_HANDLE, kind: Kind, key: CK_OBJECT_HANDLE) {
        let (data, mut mechanism) = ([0x5a; 32], plain(kind.signs()));
        let (mut signature, mut len) = ([0; 512], 512);
        ok!(self, C_SignInit, session, &mut mechanism, key);
        ok!(self, C_Sign, session, data.as_ptr().cast_mut(), data.len() as CK_ULONG, signature.as_mut_ptr(), &mut len);
    }
}

/// Writes the configurations that are known here, and names them in the environment.
fn configure(module: &Path, folder: &Path) {
    let name = module.file_name().unwrap_or_default().to_string_lossy();
    let (variable, text) = if name.contains("datakey") {
        let kms = folder.join("kms.json");
        let store = folder.join("token.db");
        let text = format!(
            "[[token]]\nlabel = \"bench\"\nkms = \"embedded:{}\"\nstore = \"sqlite:{}\"\n",
            kms.display(),
            store.display()
        );
        ("DATAKEY_PKCS11_CONF", text)
    } else if name.contains("softhsm") {
        ("SOFTHSM2_CONF", format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.display()))
    } else {
        return;
    };
    let file = folder.join("configuration");
    std::fs::write(&file, text).expect("the folder is ours");
    // SAFETY: this process has one thread yet.
    unsafe { std::env::set_var(variable, file) };
}

fn plain(mechanism: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 }
}

fn attr(attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_: attribute, pValue: value.as_ptr().cast_mut().cast(), ulValueLen: value.len() as CK_ULONG }
}

/// The processor time that this process has used.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours to write.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
