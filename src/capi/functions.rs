//! The one list of every PKCS#11 function.
//!
//! From it come the exported symbols, the function lists of all three versions, the guards, and the
//! table of functions for the documents. Each row says who handles the call:
//!
//! - `always`: without `C_Initialize` too;
//! - `module`: the loaded library;
//! - `session`: the session whose handle is the first argument, which the row leaves out;
//! - `missing`: nobody yet; the answer is `CKR_FUNCTION_NOT_SUPPORTED`.

use super::{general, guard, kem, key, message, message_crypt, object, operation, random, session, slot, wrap};
use cryptoki_sys::*;
use std::ffi::c_void;

macro_rules! functions {
    (
        v2_40 { $($two:ident($($two_args:tt)*) = $two_kind:ident $($two_handler:path)?;)* }
        v3_0 { $($three:ident($($three_args:tt)*) = $three_kind:ident $($three_handler:path)?;)* }
        v3_2 { $($new:ident($($new_args:tt)*) = $new_kind:ident $($new_handler:path)?;)* }
    ) => {
        $(functions!(@$two_kind $two [$($two_handler)?] $($two_args)*);)*
        $(functions!(@$three_kind $three [$($three_handler)?] $($three_args)*);)*
        $(functions!(@$new_kind $new [$($new_handler)?] $($new_args)*);)*

        /// The function list of PKCS#11 2.40.
        pub(super) static LIST_2_40: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            $($two: Some($two),)*
        };

        /// The function list of PKCS#11 3.0.
        pub(super) static LIST_3_0: CK_FUNCTION_LIST_3_0 = CK_FUNCTION_LIST_3_0 {
            version: CK_VERSION { major: 3, minor: 0 },
            $($two: Some($two),)*
            $($three: Some($three),)*
        };

        /// The function list of PKCS#11 3.2.
        pub(super) static LIST_3_2: CK_FUNCTION_LIST_3_2 = CK_FUNCTION_LIST_3_2 {
            version: CK_VERSION { major: 3, minor: 2 },
            $($two: Some($two),)*
            $($three: Some($three),)*
            $($new: Some($new),)*
        };

        /// Every function: its name, the version that brought it, and whether it is there.
        pub const FUNCTIONS: &[(&str, &str, bool)] = &[
            $((stringify!($two), "2.40", functions!(?$two_kind)),)*
            $((stringify!($three), "3.0", functions!(?$three_kind)),)*
            $((stringify!($new), "3.2", functions!(?$new_kind)),)*
        ];
    };

    (@always $name:ident [$handler:path] $($arg:ident: $type:ty),*) => {
        #[doc = concat!("PKCS#11 `", stringify!($name), "`.")]
        /// # Safety
        /// Pointers are null, or good for the lengths that go with them.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> CK_RV {
            // SAFETY: the caller's promise, passed on.
            guard::always(stringify!($name), || unsafe { $handler($($arg),*) })
        }
    };
    (@module $name:ident [$handler:path] $($arg:ident: $type:ty),*) => {
        #[doc = concat!("PKCS#11 `", stringify!($name), "`.")]
        /// # Safety
        /// Pointers are null, or good for the lengths that go with them.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> CK_RV {
            // SAFETY: the caller's promise, passed on.
            guard::module(stringify!($name), |module| unsafe { $handler(module, $($arg),*) })
        }
    };
    (@session $name:ident [$handler:path] $($arg:ident: $type:ty),*) => {
        #[doc = concat!("PKCS#11 `", stringify!($name), "`.")]
        /// # Safety
        /// Pointers are null, or good for the lengths that go with them.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        #[allow(clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name(handle: CK_SESSION_HANDLE, $($arg: $type),*) -> CK_RV {
            // SAFETY: the caller's promise, passed on.
            guard::session(stringify!($name), handle, |session| unsafe { $handler(session, $($arg),*) })
        }
    };
    (@missing $name:ident [] $($arg:ident: $type:ty),*) => {
        #[doc = concat!("PKCS#11 `", stringify!($name), "`, not in this version.")]
        /// # Safety
        /// Always safe: no argument is looked at.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        #[allow(clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name(_handle: CK_SESSION_HANDLE, $(_: $type),*) -> CK_RV {
            guard::missing(stringify!($name))
        }
    };
    (?missing) => { false };
    (?$kind:ident) => { true };
}

functions! {
    v2_40 {
        C_Initialize(arguments: *mut c_void) = always general::initialize;
        C_Finalize(reserved: *mut c_void) = always general::finalize;
        C_GetInfo(info: *mut CK_INFO) = module general::info;
        C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) = always general::function_list;
        C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) = module slot::list;
        C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) = module slot::info;
        C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) = module slot::token_info;
        C_GetMechanismList(slot: CK_SLOT_ID, mechanisms: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG) = module slot::mechanisms;
        C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO) = module slot::mechanism_info;
        C_InitToken(slot: CK_SLOT_ID, pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG, label: *mut CK_UTF8CHAR) = module slot::init_token;
        C_InitPIN(pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG) = session session::init_pin;
        C_SetPIN(old: *mut CK_UTF8CHAR, old_len: CK_ULONG, new: *mut CK_UTF8CHAR, new_len: CK_ULONG) = session session::set_pin;
        C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE) = module session::open;
        C_CloseSession(session: CK_SESSION_HANDLE) = module session::close;
        C_CloseAllSessions(slot: CK_SLOT_ID) = module session::close_all;
        C_GetSessionInfo(info: *mut CK_SESSION_INFO) = session session::info;
        C_GetOperationState(state: *mut CK_BYTE, state_len: *mut CK_ULONG) = session session::operation_state;
        C_SetOperationState(state: *mut CK_BYTE, state_len: CK_ULONG, encryption_key: CK_OBJECT_HANDLE, authentication_key: CK_OBJECT_HANDLE) = session session::set_operation_state;
        C_Login(user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG) = session session::login;
        C_Logout(session: CK_SESSION_HANDLE) = module session::logout;
        C_CreateObject(template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE) = session object::create;
        C_CopyObject(object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, copy: *mut CK_OBJECT_HANDLE) = session object::copy;
        C_DestroyObject(object: CK_OBJECT_HANDLE) = session object::destroy;
        C_GetObjectSize(object: CK_OBJECT_HANDLE, size: *mut CK_ULONG) = session object::size;
        C_GetAttributeValue(object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) = session object::attributes;
        C_SetAttributeValue(object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) = session object::set_attributes;
        C_FindObjectsInit(template: *mut CK_ATTRIBUTE, count: CK_ULONG) = session object::find_init;
        C_FindObjects(objects: *mut CK_OBJECT_HANDLE, most: CK_ULONG, count: *mut CK_ULONG) = session object::find;
        C_FindObjectsFinal() = session object::find_final;
        C_EncryptInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::encrypt_init;
        C_Encrypt(data: *mut CK_BYTE, data_len: CK_ULONG, encrypted: *mut CK_BYTE, encrypted_len: *mut CK_ULONG) = session operation::encrypt;
        C_EncryptUpdate(part: *mut CK_BYTE, part_len: CK_ULONG, encrypted: *mut CK_BYTE, encrypted_len: *mut CK_ULONG) = session operation::encrypt_update;
        C_EncryptFinal(last: *mut CK_BYTE, last_len: *mut CK_ULONG) = session operation::encrypt_final;
        C_DecryptInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::decrypt_init;
        C_Decrypt(encrypted: *mut CK_BYTE, encrypted_len: CK_ULONG, data: *mut CK_BYTE, data_len: *mut CK_ULONG) = session operation::decrypt;
        C_DecryptUpdate(encrypted: *mut CK_BYTE, encrypted_len: CK_ULONG, part: *mut CK_BYTE, part_len: *mut CK_ULONG) = session operation::decrypt_update;
        C_DecryptFinal(last: *mut CK_BYTE, last_len: *mut CK_ULONG) = session operation::decrypt_final;
        C_DigestInit(mechanism: *mut CK_MECHANISM) = session operation::digest_init;
        C_Digest(data: *mut CK_BYTE, data_len: CK_ULONG, digest: *mut CK_BYTE, digest_len: *mut CK_ULONG) = session operation::digest;
        C_DigestUpdate(part: *mut CK_BYTE, part_len: CK_ULONG) = session operation::digest_update;
        C_DigestKey(key: CK_OBJECT_HANDLE) = session operation::digest_key;
        C_DigestFinal(digest: *mut CK_BYTE, digest_len: *mut CK_ULONG) = session operation::digest_final;
        C_SignInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::sign_init;
        C_Sign(data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, signature_len: *mut CK_ULONG) = session operation::sign;
        C_SignUpdate(part: *mut CK_BYTE, part_len: CK_ULONG) = session operation::sign_update;
        C_SignFinal(signature: *mut CK_BYTE, signature_len: *mut CK_ULONG) = session operation::sign_final;
        C_SignRecoverInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::sign_recover_init;
        C_SignRecover(input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session operation::sign_recover;
        C_VerifyInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::verify_init;
        C_Verify(data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, signature_len: CK_ULONG) = session operation::verify;
        C_VerifyUpdate(part: *mut CK_BYTE, part_len: CK_ULONG) = session operation::verify_update;
        C_VerifyFinal(signature: *mut CK_BYTE, signature_len: CK_ULONG) = session operation::verify_final;
        C_VerifyRecoverInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::verify_recover_init;
        C_VerifyRecover(input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session operation::verify_recover;
        C_DigestEncryptUpdate(input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session operation::digest_encrypt_update;
        C_DecryptDigestUpdate(input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session operation::decrypt_digest_update;
        C_SignEncryptUpdate(input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session operation::sign_encrypt_update;
        C_DecryptVerifyUpdate(input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session operation::decrypt_verify_update;
        C_GenerateKey(mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) = session key::generate;
        C_GenerateKeyPair(mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE, public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG, public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE) = session key::generate_pair;
        C_WrapKey(mechanism: *mut CK_MECHANISM, wrapping_key: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, wrapped_len: *mut CK_ULONG) = session wrap::wrap;
        C_UnwrapKey(mechanism: *mut CK_MECHANISM, unwrapping_key: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, wrapped_len: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) = session wrap::unwrap;
        C_DeriveKey(mechanism: *mut CK_MECHANISM, base_key: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) = session key::derive;
        C_SeedRandom(seed: *mut CK_BYTE, seed_len: CK_ULONG) = session random::seed;
        C_GenerateRandom(out: *mut CK_BYTE, out_len: CK_ULONG) = session random::generate;
        C_GetFunctionStatus(session: CK_SESSION_HANDLE) = module general::not_parallel;
        C_CancelFunction(session: CK_SESSION_HANDLE) = module general::not_parallel;
        C_WaitForSlotEvent(flags: CK_FLAGS, slot: *mut CK_SLOT_ID, reserved: *mut c_void) = module slot::wait_for_event;
    }
    v3_0 {
        C_GetInterfaceList(interfaces: *mut CK_INTERFACE, count: *mut CK_ULONG) = always general::interface_list;
        C_GetInterface(name: *mut CK_UTF8CHAR, version: *mut CK_VERSION, interface: *mut *mut CK_INTERFACE, flags: CK_FLAGS) = always general::interface_;
        C_LoginUser(user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG, name: *mut CK_UTF8CHAR, name_len: CK_ULONG) = session session::login_user;
        C_SessionCancel(flags: CK_FLAGS) = session session::cancel;
        C_MessageEncryptInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session message_crypt::encrypt_init;
        C_EncryptMessage(parameter: *mut c_void, parameter_len: CK_ULONG, associated: *mut CK_BYTE, associated_len: CK_ULONG, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session message_crypt::encrypt;
        C_EncryptMessageBegin(parameter: *mut c_void, parameter_len: CK_ULONG, associated: *mut CK_BYTE, associated_len: CK_ULONG) = session message_crypt::encrypt_begin;
        C_EncryptMessageNext(parameter: *mut c_void, parameter_len: CK_ULONG, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG, flags: CK_FLAGS) = session message_crypt::encrypt_next;
        C_MessageEncryptFinal() = session message_crypt::encrypt_final;
        C_MessageDecryptInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session message_crypt::decrypt_init;
        C_DecryptMessage(parameter: *mut c_void, parameter_len: CK_ULONG, associated: *mut CK_BYTE, associated_len: CK_ULONG, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) = session message_crypt::decrypt;
        C_DecryptMessageBegin(parameter: *mut c_void, parameter_len: CK_ULONG, associated: *mut CK_BYTE, associated_len: CK_ULONG) = session message_crypt::decrypt_begin;
        C_DecryptMessageNext(parameter: *mut c_void, parameter_len: CK_ULONG, input: *mut CK_BYTE, input_len: CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG, flags: CK_FLAGS) = session message_crypt::decrypt_next;
        C_MessageDecryptFinal() = session message_crypt::decrypt_final;
        C_MessageSignInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::message_sign_init;
        C_SignMessage(parameter: *mut c_void, parameter_len: CK_ULONG, data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, signature_len: *mut CK_ULONG) = session message::sign;
        C_SignMessageBegin(parameter: *mut c_void, parameter_len: CK_ULONG) = session message::sign_begin;
        C_SignMessageNext(parameter: *mut c_void, parameter_len: CK_ULONG, data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, signature_len: *mut CK_ULONG) = session message::sign_next;
        C_MessageSignFinal() = session operation::message_sign_final;
        C_MessageVerifyInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) = session operation::message_verify_init;
        C_VerifyMessage(parameter: *mut c_void, parameter_len: CK_ULONG, data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, signature_len: CK_ULONG) = session message::verify;
        C_VerifyMessageBegin(parameter: *mut c_void, parameter_len: CK_ULONG) = session message::verify_begin;
        C_VerifyMessageNext(parameter: *mut c_void, parameter_len: CK_ULONG, data: *mut CK_BYTE, data_len: CK_ULONG, signature: *mut CK_BYTE, signature_len: CK_ULONG) = session message::verify_next;
        C_MessageVerifyFinal() = session operation::message_verify_final;
    }
    v3_2 {
        C_EncapsulateKey(mechanism: *mut CK_MECHANISM, public_key: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, ciphertext: *mut CK_BYTE, ciphertext_len: *mut CK_ULONG, key: *mut CK_OBJECT_HANDLE) = session kem::encapsulate;
        C_DecapsulateKey(mechanism: *mut CK_MECHANISM, private_key: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, ciphertext: *mut CK_BYTE, ciphertext_len: CK_ULONG, key: *mut CK_OBJECT_HANDLE) = session kem::decapsulate;
        C_VerifySignatureInit(mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE, signature: *mut CK_BYTE, signature_len: CK_ULONG) = session operation::verify_signature_init;
        C_VerifySignature(part: *mut CK_BYTE, part_len: CK_ULONG) = session operation::verify_signature;
        C_VerifySignatureUpdate(part: *mut CK_BYTE, part_len: CK_ULONG) = session operation::verify_signature_update;
        C_VerifySignatureFinal() = session operation::verify_signature_final;
        C_GetSessionValidationFlags(kind: CK_SESSION_VALIDATION_FLAGS_TYPE, flags: *mut CK_FLAGS) = session session::validation_flags;
        C_AsyncComplete(function: *mut CK_UTF8CHAR, result: *mut CK_ASYNC_DATA) = missing;
        C_AsyncGetID(function: *mut CK_UTF8CHAR, id: *mut CK_ULONG) = missing;
        C_AsyncJoin(function: *mut CK_UTF8CHAR, id: CK_ULONG, data: *mut CK_BYTE, data_len: CK_ULONG) = missing;
        C_WrapKeyAuthenticated(mechanism: *mut CK_MECHANISM, wrapping_key: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, associated: *mut CK_BYTE, associated_len: CK_ULONG, wrapped: *mut CK_BYTE, wrapped_len: *mut CK_ULONG) = session wrap::wrap_authenticated;
        C_UnwrapKeyAuthenticated(mechanism: *mut CK_MECHANISM, unwrapping_key: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, wrapped_len: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, associated: *mut CK_BYTE, associated_len: CK_ULONG, key: *mut CK_OBJECT_HANDLE) = session wrap::unwrap_authenticated;
    }
}
