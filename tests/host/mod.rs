//! A host for the module, as its tests need one: loads the shared library and calls it through its
//! function list, like any other program.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]

pub(crate) mod steps;

use cryptoki_sys::*;
use datakey::kms::embedded::{self, Server};
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// The loaded module. It is never unloaded.
#[derive(Clone, Copy)]
pub(crate) struct Module(pub(crate) &'static CK_FUNCTION_LIST_3_2);

/// The PINs of test tokens.
pub(crate) const SO_PIN: &[u8] = b"so-pin-1";
pub(crate) const USER_PIN: &[u8] = b"user-pin-1";

/// Calls a function of the list and returns its `CK_RV`.
macro_rules! call {
    ($module:expr, $function:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: the arguments are those of the function, and what they point to lives as long as the call.
        unsafe { ($module.0.$function.expect("every function is there"))($($argument),*) }
    };
}
pub(crate) use call;

/// Calls a function that must succeed.
macro_rules! ok {
    ($module:expr, $function:ident $(, $argument:expr)* $(,)?) => {
        assert_eq!($crate::host::call!($module, $function $(, $argument)*), CKR_OK, stringify!($function))
    };
}
pub(crate) use ok;

/// The shared library under test: `DATAKEY_TEST_MODULE`, or the release build.
pub(crate) fn library() -> PathBuf {
    let path = std::env::var_os("DATAKEY_TEST_MODULE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/libdatakey_pkcs11.so"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is not there: run make first", path.display());
    path
}

type GetInterface = unsafe extern "C" fn(*mut CK_UTF8CHAR, *mut CK_VERSION, *mut *mut CK_INTERFACE, CK_FLAGS) -> CK_RV;

/// The module that is linked into the test program, for those that want one of the same build: set before it is loaded.
pub(crate) static LINKED: OnceLock<GetInterface> = OnceLock::new();

impl Module {
    /// Loads the library; the caller still has to initialise it.
    pub(crate) fn load() -> Self {
        if let Some(entry) = LINKED.get() {
            return Self::of(*entry);
        }
        // SAFETY: the library is ours and has no constructors.
        let library = unsafe { libloading::Library::new(library()) }.expect("the module loads");
        let library = Box::leak(Box::new(library));
        // SAFETY: the symbol has this type in every PKCS#11 3 module.
        unsafe {
            let entry: libloading::Symbol<'_, GetInterface> =
                library.get(b"C_GetInterface").expect("C_GetInterface is exported");
            Self::of(*entry)
        }
    }

    fn of(entry: GetInterface) -> Self {
        let mut interface = null_mut();
        // SAFETY: the interface of a module, whose function list lives as long as the process.
        unsafe {
            assert_eq!(entry(null_mut(), null_mut(), &mut interface, 0), CKR_OK);
            Self(&*(*interface).pFunctionList.cast::<CK_FUNCTION_LIST_3_2>())
        }
    }

    /// Loads and initialises it under this configuration, for hosts that allow threads.
    pub(crate) fn start(configuration: &Path) -> Self {
        // SAFETY: the test program sets its environment before it starts threads.
        unsafe { std::env::set_var("DATAKEY_PKCS11_CONF", configuration) };
        let module = Self::load();
        module.initialise();
        module
    }

    /// `C_Initialize` with `CKF_OS_LOCKING_OK`.
    pub(crate) fn initialise(self) {
        let mut arguments = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..Default::default() };
        ok!(self, C_Initialize, (&raw mut arguments).cast());
    }

    /// Initialises the token in slot 0, and its user PIN where it has PINs.
    pub(crate) fn make_token(self, with_pin: bool) {
        ok!(
            self,
            C_InitToken,
            0,
            SO_PIN.as_ptr().cast_mut(),
            SO_PIN.len() as CK_ULONG,
            b"test                            ".as_ptr().cast_mut()
        );
        if with_pin {
            let session = self.open(true);
            ok!(self, C_Login, session, CKU_SO, SO_PIN.as_ptr().cast_mut(), SO_PIN.len() as CK_ULONG);
            ok!(self, C_InitPIN, session, USER_PIN.as_ptr().cast_mut(), USER_PIN.len() as CK_ULONG);
            ok!(self, C_CloseSession, session);
        }
    }

    /// Opens a session with slot 0.
    pub(crate) fn open(self, read_write: bool) -> CK_SESSION_HANDLE {
        let mut session = 0;
        let flags = CKF_SERIAL_SESSION | if read_write { CKF_RW_SESSION } else { 0 };
        ok!(self, C_OpenSession, 0, flags, null_mut(), None, &mut session);
        session
    }

    /// Logs the user in.
    pub(crate) fn login(self, session: CK_SESSION_HANDLE) {
        ok!(self, C_Login, session, CKU_USER, USER_PIN.as_ptr().cast_mut(), USER_PIN.len() as CK_ULONG);
    }

    /// Generates a key pair on the token and returns (public, private).
    pub(crate) fn generate(
        self,
        session: CK_SESSION_HANDLE,
        kind: Kind,
        id: &[u8],
    ) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        let mut pair = (0, 0);
        assert_eq!(self.try_generate(session, kind, id, &mut pair), CKR_OK, "C_GenerateKeyPair {kind:?}");
        pair
    }

    /// The same, with whatever comes of it.
    pub(crate) fn try_generate(
        self,
        session: CK_SESSION_HANDLE,
        kind: Kind,
        id: &[u8],
        pair: &mut (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    ) -> CK_RV {
        let (generation, attribute, value) = kind.parameters();
        let mut mechanism = mechanism(generation);
        let yes = [CK_TRUE];
        let mut public = [attr(CKA_TOKEN, &yes), attr(CKA_ID, id), attr(attribute, &value)];
        let mut private = [attr(CKA_TOKEN, &yes), attr(CKA_ID, id)];
        call!(
            self,
            C_GenerateKeyPair,
            session,
            &mut mechanism,
            public.as_mut_ptr(),
            public.len() as CK_ULONG,
            private.as_mut_ptr(),
            private.len() as CK_ULONG,
            &mut pair.0,
            &mut pair.1,
        )
    }

    /// The objects that match a template.
    pub(crate) fn find(
        self,
        session: CK_SESSION_HANDLE,
        template: &[(CK_ATTRIBUTE_TYPE, &[u8])],
    ) -> Vec<CK_OBJECT_HANDLE> {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        ok!(self, C_FindObjectsInit, session, template.as_mut_ptr(), template.len() as CK_ULONG);
        let mut found = Vec::new();
        loop {
            let (mut page, mut count) = ([0; 64], 0);
            ok!(self, C_FindObjects, session, page.as_mut_ptr(), page.len() as CK_ULONG, &mut count);
            if count == 0 {
                break;
            }
            found.extend_from_slice(&page[..count as usize]);
        }
        ok!(self, C_FindObjectsFinal, session);
        found
    }

    /// The private key with this `CKA_ID`.
    pub(crate) fn private_key(self, session: CK_SESSION_HANDLE, id: &[u8]) -> CK_OBJECT_HANDLE {
        let found = self.find(session, &[(CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes()), (CKA_ID, id)]);
        assert_eq!(found.len(), 1, "one private key with id {id:02x?}");
        found[0]
    }

    /// One attribute.
    pub(crate) fn attribute(
        self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attribute: CK_ATTRIBUTE_TYPE,
    ) -> Vec<u8> {
        let mut wanted = CK_ATTRIBUTE { type_: attribute, pValue: null_mut(), ulValueLen: 0 };
        ok!(self, C_GetAttributeValue, session, object, &mut wanted, 1);
        let mut value = vec![0; wanted.ulValueLen as usize];
        wanted.pValue = value.as_mut_ptr().cast();
        ok!(self, C_GetAttributeValue, session, object, &mut wanted, 1);
        value
    }

    /// Signs `data` in one part.
    pub(crate) fn sign(
        self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        mechanism_: CK_MECHANISM_TYPE,
        data: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let mut mechanism = mechanism(mechanism_);
        check(call!(self, C_SignInit, session, &mut mechanism, key))?;
        let mut signature = vec![0; 5000];
        let mut len = signature.len() as CK_ULONG;
        check(call!(
            self,
            C_Sign,
            session,
            data.as_ptr().cast_mut(),
            data.len() as CK_ULONG,
            signature.as_mut_ptr(),
            &mut len
        ))?;
        signature.truncate(len as usize);
        Ok(signature)
    }

    /// Verifies the signature of `data` with a public key on the token.
    pub(crate) fn verify(
        self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        mechanism_: CK_MECHANISM_TYPE,
        data: &[u8],
        signature: &[u8],
    ) -> CK_RV {
        let mut mechanism = mechanism(mechanism_);
        ok!(self, C_VerifyInit, session, &mut mechanism, key);
        call!(
            self,
            C_Verify,
            session,
            data.as_ptr().cast_mut(),
            data.len() as CK_ULONG,
            signature.as_ptr().cast_mut(),
            signature.len() as CK_ULONG
        )
    }

    /// `CK_SESSION_INFO.ulDeviceError`.
    pub(crate) fn device_error(self, session: CK_SESSION_HANDLE) -> CK_ULONG {
        let mut info = CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
        ok!(self, C_GetSessionInfo, session, &mut info);
        info.ulDeviceError
    }
}

/// The kinds of key pairs that sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa(CK_ULONG),
    P256,
    P384,
    P521,
    Secp256k1,
    Ed25519,
    MlDsa(CK_ML_DSA_PARAMETER_SET_TYPE),
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Rsa(2048),
        Self::Rsa(3072),
        Self::Rsa(4096),
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Secp256k1,
        Self::Ed25519,
        Self::MlDsa(CKP_ML_DSA_44),
        Self::MlDsa(CKP_ML_DSA_65),
        Self::MlDsa(CKP_ML_DSA_87),
    ];

    fn parameters(self) -> (CK_MECHANISM_TYPE, CK_ATTRIBUTE_TYPE, Vec<u8>) {
        let oid: &[u8] = match self {
            Self::Rsa(bits) => return (CKM_RSA_PKCS_KEY_PAIR_GEN, CKA_MODULUS_BITS, bits.to_ne_bytes().to_vec()),
            Self::P256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Self::P384 => &[6, 5, 0x2b, 0x81, 4, 0, 34],
            Self::P521 => &[6, 5, 0x2b, 0x81, 4, 0, 35],
            Self::Secp256k1 => &[6, 5, 0x2b, 0x81, 4, 0, 10],
            Self::Ed25519 => return (CKM_EC_EDWARDS_KEY_PAIR_GEN, CKA_EC_PARAMS, vec![6, 3, 0x2b, 0x65, 0x70]),
            Self::MlDsa(set) => return (CKM_ML_DSA_KEY_PAIR_GEN, CKA_PARAMETER_SET, set.to_ne_bytes().to_vec()),
        };
        (CKM_EC_KEY_PAIR_GEN, CKA_EC_PARAMS, oid.to_vec())
    }

    /// A mechanism that signs any data with such a key.
    pub(crate) fn signs(self) -> CK_MECHANISM_TYPE {
        match self {
            Self::Rsa(_) => CKM_SHA256_RSA_PKCS,
            Self::Ed25519 => CKM_EDDSA,
            Self::MlDsa(_) => CKM_ML_DSA,
            _ => CKM_ECDSA_SHA256,
        }
    }
}

/// A mechanism without a parameter.
pub(crate) fn mechanism(mechanism: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 }
}

/// An attribute of a template.
pub(crate) fn attr(attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: attribute,
        pValue: value.as_ptr().cast_mut().cast::<c_void>(),
        ulValueLen: value.len() as CK_ULONG,
    }
}

/// Where bytes are that a function reads.
pub(crate) fn at(bytes: &[u8]) -> *mut CK_BYTE {
    bytes.as_ptr().cast_mut()
}

/// How many they are.
pub(crate) fn len(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// A mechanism with a parameter, which must live until the call is over.
pub(crate) fn given<T>(id: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    let len = size_of::<T>() as CK_ULONG;
    CK_MECHANISM { mechanism: id, pParameter: std::ptr::from_mut(parameter).cast(), ulParameterLen: len }
}

/// A `CK_RV` as a result.
pub(crate) fn check(rv: CK_RV) -> Result<(), CK_RV> {
    if rv == CKR_OK { Ok(()) } else { Err(rv) }
}

/// The keys of an embedded KMS, in the folder of its token.
pub(crate) const KEYS: &str = "kms.json";

/// A folder with the configuration of one token in it; gone when dropped.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A token on the embedded KMS in this process. `more` is added to its `[[token]]`.
    pub(crate) fn embedded(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kms = Self::kms_in(&folder);
        Self::with(folder, &kms, more)
    }

    /// The same, in a store at this URL.
    pub(crate) fn stored(store: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kms = Self::kms_in(&folder);
        Self::with_store(folder, store, &kms, more)
    }

    /// A token on a KMS at this URL: a listener of the embedded one, or an emulator.
    pub(crate) fn at(url: &str, key: &str, more: &str) -> Self {
        Self::with(tempfile::tempdir().unwrap(), &Self::kms_at(url, key), more)
    }

    /// A token on a listener of the embedded KMS, which counts its calls and takes orders for faults.
    pub(crate) fn served(more: &str) -> (Self, Server) {
        let folder = tempfile::tempdir().unwrap();
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path().join(KEYS), true).unwrap();
        (Self::with(folder, &Self::kms_at(&server.url(), embedded::DEFAULT_ALIAS), more), server)
    }

    fn kms_in(folder: &tempfile::TempDir) -> String {
        format!("kms = \"embedded:{}\"", folder.path().join(KEYS).display())
    }

    fn kms_at(url: &str, key: &str) -> String {
        format!("kms_key_id = \"{key}\"\nregion = \"us-east-1\"\nendpoint_url = \"{url}\"")
    }

    fn with(folder: tempfile::TempDir, kms: &str, more: &str) -> Self {
        let store = format!("sqlite:{}", folder.path().join("token.db").display());
        Self::with_store(folder, &store, kms, more)
    }

    fn with_store(folder: tempfile::TempDir, store: &str, kms: &str, more: &str) -> Self {
        let text = format!("[[token]]\nlabel = \"test\"\nstore = \"{store}\"\n{kms}\n{more}\n");
        let place = Self { folder };
        std::fs::write(place.configuration(), text).unwrap();
        place
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("datakey-pkcs11.toml")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("token.db")
    }
}

const MARK: &str = "DATAKEY_TEST_ALONE";

/// Runs one test of this program alone in a child process: what it does to the process (the module is
/// loaded once per process) touches no other test. True in the child, which goes on to do the work;
/// false in the parent, after the child has passed.
pub(crate) fn alone(test: &str) -> bool {
    if std::env::var_os(MARK).is_some_and(|name| name == test) {
        // What hangs fails, also on a slow and busy machine.
        steps::limit(300);
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    print!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{test} failed in its own process, see above");
    false
}
