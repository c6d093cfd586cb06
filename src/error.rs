//! One error for the whole house, by cause.
//!
//! [`Cause`] has a variant for each thing that can go wrong, and the one table below gives each its
//! return value for the caller, its number in `CK_SESSION_INFO.ulDeviceError` (0 where the return
//! value says it all) and a sentence for the log. The numbers are stable and listed for C callers
//! in `include/datakey_pkcs11.h`.

use cryptoki_sys::*;
use std::borrow::Cow;
use std::fmt;

/// The result of everything that can fail in this crate.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident $ckr:ident $number:literal $text:literal;)*) => {
        /// Why a call failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$doc])* #[doc = $text] $name,)* }

        impl Cause {
            /// Every cause, in the order of the table.
            pub const ALL: &[Cause] = &[$(Cause::$name,)*];

            /// The return value that the caller sees.
            pub fn ckr(self) -> CK_RV {
                match self { $(Cause::$name => $ckr,)* }
            }

            /// The name of the return value, for the log.
            pub fn ckr_name(self) -> &'static str {
                match self { $(Cause::$name => stringify!($ckr),)* }
            }

            /// The stable number for `CK_SESSION_INFO.ulDeviceError`; 0 where there is none.
            pub fn device_error(self) -> u32 {
                match self { $(Cause::$name => $number,)* }
            }

            /// The name of the cause, as the header file spells it in upper case.
            pub fn name(self) -> &'static str {
                match self { $(Cause::$name => stringify!($name),)* }
            }

            /// One sentence for the log: what happened and, where there is one, what to do.
            pub fn text(self) -> &'static str {
                match self { $(Cause::$name => $text,)* }
            }
        }
    };
}

causes! {
    // Bad calls: the specification's own code for each, no device error.
    ActionProhibited          CKR_ACTION_PROHIBITED                0 "the object forbids this action";
    AeadDecryptFailed         CKR_AEAD_DECRYPT_FAILED              0 "the message or what belongs to it was tampered with";
    AlreadyInitialized        CKR_CRYPTOKI_ALREADY_INITIALIZED     0 "C_Initialize was called before";
    ArgumentsBad              CKR_ARGUMENTS_BAD                    0 "an argument is missing or contradicts another";
    AttributeReadOnly         CKR_ATTRIBUTE_READ_ONLY              0 "the attribute cannot be set here";
    AttributeSensitive        CKR_ATTRIBUTE_SENSITIVE              0 "the attribute is sensitive";
    AttributeTypeInvalid      CKR_ATTRIBUTE_TYPE_INVALID           0 "the object has no such attribute";
    AttributeValueInvalid     CKR_ATTRIBUTE_VALUE_INVALID          0 "the attribute's value is not valid";
    BufferTooSmall            CKR_BUFFER_TOO_SMALL                 0 "the output buffer is too small";
    CantLock                  CKR_CANT_LOCK                        0 "application-supplied mutexes are not used; set CKF_OS_LOCKING_OK";
    CurveNotSupported         CKR_CURVE_NOT_SUPPORTED              0 "the curve is none that KMS makes key pairs on";
    DataInvalid               CKR_DATA_INVALID                     0 "the data is not valid for the mechanism";
    DataLenRange              CKR_DATA_LEN_RANGE                   0 "the data's length is out of range for the mechanism";
    EncryptedDataInvalid      CKR_ENCRYPTED_DATA_INVALID           0 "the ciphertext does not decrypt";
    EncryptedDataLenRange     CKR_ENCRYPTED_DATA_LEN_RANGE         0 "the ciphertext's length is out of range for the key";
    FunctionNotParallel       CKR_FUNCTION_NOT_PARALLEL            0 "no function runs in parallel";
    FunctionNotSupported      CKR_FUNCTION_NOT_SUPPORTED           0 "this function is not supported";
    HostMemory                CKR_HOST_MEMORY                      0 "out of memory";
    KeyExhausted              CKR_KEY_EXHAUSTED                    0 "the key's counter has come to its end";
    KeyFunctionNotPermitted   CKR_KEY_FUNCTION_NOT_PERMITTED       0 "the key's attributes do not permit this use";
    KeyHandleInvalid          CKR_KEY_HANDLE_INVALID               0 "no key has this handle";
    KeyIndigestible           CKR_KEY_INDIGESTIBLE                 0 "the key's value cannot be digested";
    KeyNotNeeded              CKR_KEY_NOT_NEEDED                   0 "the saved state needs no such key";
    KeyNotWrappable           CKR_KEY_NOT_WRAPPABLE                0 "the key cannot be wrapped like this";
    KeySizeRange              CKR_KEY_SIZE_RANGE                   0 "KMS makes no key of this size";
    KeyTypeInconsistent       CKR_KEY_TYPE_INCONSISTENT            0 "the key is of another type than the mechanism needs";
    KeyUnextractable          CKR_KEY_UNEXTRACTABLE                0 "the key is not extractable";
    MechanismInvalid          CKR_MECHANISM_INVALID                0 "the mechanism is unknown or not allowed here";
    MechanismParamInvalid     CKR_MECHANISM_PARAM_INVALID          0 "the mechanism's parameter is not valid";
    NoEvent                   CKR_NO_EVENT                         0 "no slot event";
    NotInitialized            CKR_CRYPTOKI_NOT_INITIALIZED         0 "C_Initialize has not been called in this process";
    ObjectHandleInvalid       CKR_OBJECT_HANDLE_INVALID            0 "no object has this handle";
    OperationActive           CKR_OPERATION_ACTIVE                 0 "another operation of this kind is active in the session";
    OperationNotInitialized   CKR_OPERATION_NOT_INITIALIZED        0 "no operation of this kind is active in the session";
    ParameterSetNotSupported  CKR_PARAMETER_SET_NOT_SUPPORTED      0 "the parameter set is unknown";
    PinIncorrect              CKR_PIN_INCORRECT                    0 "the PIN is wrong";
    PinLenRange               CKR_PIN_LEN_RANGE                    0 "the PIN is too short or too long";
    PinLocked                 CKR_PIN_LOCKED                       0 "the PIN is locked after too many wrong tries";
    RandomSeedNotSupported    CKR_RANDOM_SEED_NOT_SUPPORTED        0 "the random generator takes no seed";
    SavedStateInvalid         CKR_SAVED_STATE_INVALID              0 "this is no state that was saved with this token in the same state of a session";
    SessionAsyncNotSupported  CKR_SESSION_ASYNC_NOT_SUPPORTED      0 "asynchronous sessions are not supported";
    SessionExists             CKR_SESSION_EXISTS                   0 "a session with the token is open";
    SessionHandleInvalid      CKR_SESSION_HANDLE_INVALID           0 "no session has this handle";
    SessionParallelNotSupported CKR_SESSION_PARALLEL_NOT_SUPPORTED 0 "CKF_SERIAL_SESSION must be set";
    SessionReadOnly           CKR_SESSION_READ_ONLY                0 "the session is read-only";
    SessionReadOnlyExists     CKR_SESSION_READ_ONLY_EXISTS         0 "a read-only session is open, so the SO cannot log in";
    SessionReadWriteSoExists  CKR_SESSION_READ_WRITE_SO_EXISTS     0 "the SO is logged in, so no read-only session can be opened";
    SignatureInvalid          CKR_SIGNATURE_INVALID                0 "the signature does not verify";
    SignatureLenRange         CKR_SIGNATURE_LEN_RANGE              0 "the signature's length is wrong for the key";
    SlotIdInvalid             CKR_SLOT_ID_INVALID                  0 "no slot has this number";
    StateUnsaveable           CKR_STATE_UNSAVEABLE                 0 "the operation's state cannot be saved";
    TemplateIncomplete        CKR_TEMPLATE_INCOMPLETE              0 "the template lacks an attribute";
    TemplateInconsistent      CKR_TEMPLATE_INCONSISTENT            0 "the template contradicts itself";
    TokenNotRecognized        CKR_TOKEN_NOT_RECOGNIZED             0 "the token is not initialised; call C_InitToken";
    UserAlreadyLoggedIn       CKR_USER_ALREADY_LOGGED_IN           0 "the user is logged in already";
    UserAnotherAlreadyLoggedIn CKR_USER_ANOTHER_ALREADY_LOGGED_IN  0 "another user is logged in";
    UserNotLoggedIn           CKR_USER_NOT_LOGGED_IN               0 "this needs the right user to be logged in";
    UserPinNotInitialized     CKR_USER_PIN_NOT_INITIALIZED         0 "the user PIN has not been set; the SO calls C_InitPIN";
    UserTypeInvalid           CKR_USER_TYPE_INVALID                0 "there is no such user type";
    UnwrappingKeyHandleInvalid CKR_UNWRAPPING_KEY_HANDLE_INVALID   0 "no key to unwrap with has this handle";
    UnwrappingKeyTypeInconsistent CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT 0 "the key to unwrap with is of another type than the mechanism needs";
    WrappedKeyInvalid         CKR_WRAPPED_KEY_INVALID              0 "the wrapped key is not valid";
    WrappedKeyLenRange        CKR_WRAPPED_KEY_LEN_RANGE            0 "the wrapped key has another length than is asked for";
    WrappingKeyHandleInvalid  CKR_WRAPPING_KEY_HANDLE_INVALID      0 "no key to wrap with has this handle";
    WrappingKeyTypeInconsistent CKR_WRAPPING_KEY_TYPE_INCONSISTENT 0 "the key to wrap with is of another type than the mechanism needs";

    // 0x1xx: KMS, its network and its credentials.
    KmsThrottled          CKR_FUNCTION_FAILED 0x101 "KMS throttled the call and all its retries; ask for a higher request quota, or call again later";
    KmsTimeout            CKR_DEVICE_ERROR    0x102 "KMS did not answer before the deadline; check network and endpoint, or raise the timeouts";
    KmsUnreachable        CKR_DEVICE_ERROR    0x103 "KMS cannot be reached; check name resolution, route, proxy, TLS and endpoint_url";
    KmsAccessDenied       CKR_DEVICE_ERROR    0x104 "KMS denied access; the role needs the action on the KMS key, by key policy, IAM policy or grant";
    KmsKeyNotFound        CKR_DEVICE_ERROR    0x105 "the KMS key does not exist in this account and Region; check kms_key_id and region";
    KmsKeyDisabled        CKR_DEVICE_ERROR    0x106 "the KMS key is disabled; enable it to use the keys under it";
    KmsKeyInvalidState    CKR_DEVICE_ERROR    0x107 "the KMS key's state forbids its use (pending deletion or import); cancel the deletion before the keys under it are lost";
    KmsKeyUnavailable     CKR_DEVICE_ERROR    0x108 "the KMS key is temporarily unavailable; call again later";
    KmsInvalidKeyUsage    CKR_DEVICE_ERROR    0x109 "the KMS key is not a symmetric encryption key; kms_key_id must name one";
    KmsUnsupported        CKR_DEVICE_ERROR    0x10A "KMS does not support the operation here (key spec not in this Region, or the KMS key is in a custom key store)";
    KmsInvalidGrantToken  CKR_DEVICE_ERROR    0x10B "KMS refused a grant token; check grant_tokens";
    KmsInternal           CKR_DEVICE_ERROR    0x10C "KMS failed internally; call again later";
    KmsBadResponse        CKR_DEVICE_ERROR    0x10D "KMS, or what answers in its place, sent an answer that makes no sense; check endpoint_url and proxy";
    KmsRejected           CKR_DEVICE_ERROR    0x10E "KMS rejected the request as invalid; check kms_key_id and encryption_context";
    KmsNotTried           CKR_DEVICE_ERROR    0x10F "KMS was not asked, because it did not answer the calls before; call again later (it is tried every few seconds), and check network and endpoint";
    CredentialsMissing    CKR_DEVICE_ERROR    0x110 "no AWS credentials were found; set them in the environment, a profile, or a role of the host";
    CredentialsRejected   CKR_DEVICE_ERROR    0x111 "AWS rejected the credentials (expired, unknown, or the clock is wrong); renew them or set the clock";
    RegionMissing         CKR_DEVICE_ERROR    0x112 "no AWS Region is set; set region in the configuration, or AWS_REGION";
    KmsSetup              CKR_DEVICE_ERROR    0x113 "the KMS client cannot be set up; check the token's configuration";
    AttestationUnavailable CKR_DEVICE_ERROR   0x114 "the Nitro Security Module gives no attestation document; run inside an enclave as a user who may open its device, or take `attestation` out of the configuration";
    AttestationBypassed   CKR_DEVICE_ERROR    0x115 "the answer holds a key in plaintext that was to be encrypted for this enclave; what answers is not KMS, or does not know of attestation: check endpoint_url and proxy";
    AttestationAnswer     CKR_DEVICE_ERROR    0x116 "what was encrypted for this enclave does not open; it was altered, or is for another key than the attestation document was asked for: check endpoint_url and the device";

    // 0x2xx: the seal. Something that decides what a key is or may do is not what it was.
    SealBroken            CKR_DEVICE_ERROR    0x201 "the sealed key does not open under this object's encryption context: the blob or an attribute bound to it was altered";
    SealWrongKey          CKR_DEVICE_ERROR    0x202 "the sealed key was made under another KMS key than kms_key_id";
    SealKeyMismatch       CKR_DEVICE_ERROR    0x203 "the unwrapped private key does not belong to the stored public key";
    SealKeyMalformed      CKR_DEVICE_ERROR    0x204 "what KMS unwrapped is not a private key of the object's kind";
    SealTokenKey          CKR_DEVICE_ERROR    0x205 "the sealed key was altered or moved: it does not open under the token key";
    RecordCorrupt         CKR_DEVICE_ERROR    0x206 "a stored record is damaged";
    SealRecord            CKR_DEVICE_ERROR    0x207 "a name or another part of a stored record was altered: its MAC is missing or not the token's";

    // 0x3xx: the store.
    StoreUnavailable      CKR_DEVICE_ERROR    0x301 "the store cannot be opened or read; check path, permissions and file system";
    StoreBusy             CKR_FUNCTION_FAILED 0x302 "the store stayed locked by another process; call again";
    StoreFull             CKR_DEVICE_MEMORY   0x303 "the store is full; free space on its file system";
    StoreReadOnly         CKR_TOKEN_WRITE_PROTECTED 0x304 "the store is read-only";
    StoreCorrupt          CKR_DEVICE_ERROR    0x305 "the store is damaged; restore it from a backup";
    StoreNewer            CKR_DEVICE_ERROR    0x306 "the store was written by a newer version of this module; upgrade the module";
    StoreConflict         CKR_FUNCTION_FAILED 0x307 "another process changed the record at the same time; call again";
    StoreUnsafe           CKR_DEVICE_ERROR    0x308 "the store belongs to another user, or everybody can write to it; see chown and chmod";
    StoreUnreachable      CKR_DEVICE_ERROR    0x309 "the store's server cannot be reached or did not answer in time; check that it runs, its name, the network, proxy and TLS";
    StoreDenied           CKR_DEVICE_ERROR    0x30A "the store's server denied access; check user, password or credentials, and what they are allowed";
    StoreThrottled        CKR_FUNCTION_FAILED 0x30B "the store's server throttled the call and all its retries; raise its capacity, or call again later";
    StoreSetup            CKR_DEVICE_ERROR    0x30C "the client of the store cannot be set up; check the store's settings and its root certificates";
    StoreInDoubt          CKR_DEVICE_ERROR    0x30D "whether a change was made is not known, for its answer was lost or the disk failed; look before you make it again";

    // 0x4xx: configuration.
    ConfigInvalid         CKR_FUNCTION_FAILED 0x401 "the configuration is not valid";
    ConfigUnsafe          CKR_FUNCTION_FAILED 0x402 "the configuration file can be written by others; remove group and world write permission";
    ConfigUnreadable      CKR_FUNCTION_FAILED 0x403 "the configuration file cannot be read";

    // 0x5xx: this process.
    ForkedWhileBusy       CKR_DEVICE_ERROR    0x501 "this process was forked while the store was in use; fork again or start anew";
    FaultDetected         CKR_DEVICE_ERROR    0x502 "a signature just made does not verify: the machine is faulty";
    CryptoLibrary         CKR_DEVICE_ERROR    0x503 "the crypto library refused an operation it should have done";
    Panic                 CKR_GENERAL_ERROR   0x5FF "a defect of this module; please report it";
}

impl Cause {
    /// This cause, with what is known beyond it: the object, the file, the AWS error, the request id.
    /// Never a secret, a PIN or a response body.
    pub fn with(self, detail: impl Into<Cow<'static, str>>) -> Error {
        Error { cause: self, detail: detail.into() }
    }
}

/// A cause and what is known of the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    cause: Cause,
    detail: Cow<'static, str>,
}

impl Error {
    /// Why it failed.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What is known of the case; may be empty.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// This error, after which nobody knows whether a change was made.
    #[must_use]
    pub fn leaves_in_doubt(self, what: impl fmt::Display) -> Self {
        Cause::StoreInDoubt.with(format!("{what}: {self}"))
    }

    /// The same error with more known about the case, put in front.
    #[must_use]
    pub fn context(self, more: impl fmt::Display) -> Self {
        let detail = if self.detail.is_empty() { more.to_string() } else { format!("{more}: {}", self.detail) };
        Self { cause: self.cause, detail: detail.into() }
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self { cause, detail: Cow::Borrowed("") }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.text())?;
        if !self.detail.is_empty() {
            write!(f, " [{}]", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn device_error_numbers_are_unique() {
        let mut seen = HashSet::new();
        for cause in Cause::ALL.iter().filter(|c| c.device_error() != 0) {
            assert!(seen.insert(cause.device_error()), "{cause:?} shares its number");
        }
    }

    #[test]
    fn only_our_own_defect_is_a_general_error() {
        for cause in Cause::ALL {
            assert_eq!(cause.ckr() == CKR_GENERAL_ERROR, *cause == Cause::Panic, "{cause:?}");
        }
    }

    #[test]
    fn environment_failures_have_numbers() {
        for cause in Cause::ALL {
            let environment = matches!(cause.ckr(), CKR_DEVICE_ERROR | CKR_FUNCTION_FAILED | CKR_DEVICE_MEMORY);
            assert!(!environment || cause.device_error() != 0, "{cause:?}");
        }
    }
}
