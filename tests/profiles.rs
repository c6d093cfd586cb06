//! The mandatory test cases of the profiles that the module claims (PKCS#11 Profiles 3.2), with objects of our
//! own where the cases name theirs, and the objects that claim them.

mod host;
mod objects;

use cryptoki_sys::*;
use host::{Kind, Module, Place, USER_PIN, alone, attr, call, mechanism, ok};
use objects::{bytes, flag, number};
use std::ptr::null_mut;

/// The steps that all cases begin with: the library, the slot and a session with it.
fn begin(module: Module, flags: CK_FLAGS) -> (CK_SLOT_ID, CK_SESSION_HANDLE) {
    module.initialise();
    // SAFETY: a structure of numbers and strings.
    let mut info: CK_INFO = unsafe { std::mem::zeroed() };
    ok!(module, C_GetInfo, &mut info);
    assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor, info.flags), (3, 2, 0));
    let mut count = 0;
    ok!(module, C_GetSlotList, CK_TRUE, null_mut(), &mut count);
    let mut slots = vec![0; count as usize];
    ok!(module, C_GetSlotList, CK_TRUE, slots.as_mut_ptr(), &mut count);
    // SAFETY: as above.
    let (mut slot, mut token): (CK_SLOT_INFO, CK_TOKEN_INFO) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    ok!(module, C_GetSlotInfo, slots[0], &mut slot);
    assert_eq!(slot.flags & CKF_TOKEN_PRESENT, CKF_TOKEN_PRESENT);
    ok!(module, C_GetTokenInfo, slots[0], &mut token);
    let expected = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED;
    assert_eq!(token.flags & expected, expected);
    let mut session = 0;
    ok!(module, C_OpenSession, slots[0], CKF_SERIAL_SESSION | flags, null_mut(), None, &mut session);
    (slots[0], session)
}

fn end(module: Module, slot: CK_SLOT_ID, session: CK_SESSION_HANDLE) {
    ok!(module, C_CloseSession, session);
    ok!(module, C_CloseAllSessions, slot);
    module.finalise();
}

/// The only object that matches, asked for in one page of one.
fn one(module: Module, session: CK_SESSION_HANDLE, template: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> CK_OBJECT_HANDLE {
    let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
    let (mut object, mut count) = (0, 0);
    ok!(module, C_FindObjectsInit, session, template.as_mut_ptr(), template.len() as CK_ULONG);
    ok!(module, C_FindObjects, session, &mut object, 1, &mut count);
    assert_eq!(count, 1);
    ok!(module, C_FindObjectsFinal, session);
    object
}

/// The outer structure of a certificate, with single bytes for what lies deeper.
const CERTIFICATE: &[u8] = &[
    0x30, 0x1b, 0x30, 0x14, 0xa0, 3, 2, 1, 2, 0x02, 1, 0x05, 0x30, 0, 0x30, 1, 0x41, 0x30, 0, 0x30, 1, 0x42, 0x30, 0,
    0x30, 0x00, 0x03, 0x01, 0x00,
];

#[test]
fn the_cases_of_every_claimed_profile_pass() {
    if !alone("the_cases_of_every_claimed_profile_pass") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"id");
    assert_eq!(module.set(session, public, &[bytes(CKA_LABEL, b"testrsa-pub")]), CKR_OK);
    assert_eq!(module.set(session, private, &[bytes(CKA_LABEL, b"testrsa-pri")]), CKR_OK);
    let certificate = [
        number(CKA_CLASS, CKO_CERTIFICATE),
        number(CKA_CERTIFICATE_TYPE, CKC_X_509),
        flag(CKA_TOKEN, true),
        bytes(CKA_ID, b"id"),
        bytes(CKA_VALUE, CERTIFICATE),
    ];
    module.create(session, &certificate);
    module.finalise();
    let yes = [CK_TRUE];

    // BL-M-1-32.
    let (slot, session) = begin(module, 0);
    one(module, session, &[(CKA_TOKEN, &yes)]);
    end(module, slot, session);

    // EXT-M-1-32.
    let (slot, session) = begin(module, CKF_RW_SESSION);
    let mut count = 0;
    ok!(module, C_GetMechanismList, slot, null_mut(), &mut count);
    let mut list = vec![0; count as usize];
    ok!(module, C_GetMechanismList, slot, list.as_mut_ptr(), &mut count);
    for (id, flags) in [
        (CKM_SHA512, CKF_DIGEST),
        (CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR),
        (CKM_RSA_PKCS, CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY),
    ] {
        assert!(list.contains(&id));
        let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
        ok!(module, C_GetMechanismInfo, slot, id, &mut info);
        assert_eq!(info.flags & flags, flags);
    }
    module.login(session);
    one(module, session, &[(CKA_TOKEN, &yes)]);
    ok!(module, C_Logout, session);
    let (pin, pin_len) = (USER_PIN.as_ptr().cast_mut(), USER_PIN.len() as CK_ULONG);
    ok!(module, C_LoginUser, session, CKU_USER, pin, pin_len, null_mut(), 0);
    ok!(module, C_Logout, session);
    end(module, slot, session);

    // AUTH-M-1-32.
    let (slot, session) = begin(module, CKF_RW_SESSION);
    module.login(session);
    let class = CKO_PUBLIC_KEY.to_ne_bytes();
    let public = one(module, session, &[(CKA_TOKEN, &yes), (CKA_LABEL, b"testrsa-pub"), (CKA_CLASS, &class)]);
    let (modulus, exponent) = ([0_u8; 1024], [0_u8; 1024]);
    let mut wanted = [attr(CKA_MODULUS, &modulus), attr(CKA_PUBLIC_EXPONENT, &exponent)];
    ok!(module, C_GetAttributeValue, session, public, wanted.as_mut_ptr(), 2);
    assert_eq!(wanted.map(|attribute| attribute.ulValueLen), [256, 3]);
    let class = CKO_PRIVATE_KEY.to_ne_bytes();
    let private = one(module, session, &[(CKA_TOKEN, &yes), (CKA_LABEL, b"testrsa-pri"), (CKA_CLASS, &class)]);
    let mut rsa = mechanism(CKM_SHA256_RSA_PKCS);
    ok!(module, C_SignInit, session, &mut rsa, private);
    let (mut data, mut signature, mut len) = ([7_u8; 391], [0_u8; 256], 256);
    ok!(module, C_Sign, session, data.as_mut_ptr(), data.len() as CK_ULONG, signature.as_mut_ptr(), &mut len);
    assert_eq!(module.verify(session, public, CKM_SHA256_RSA_PKCS, &data, &signature), CKR_OK);
    ok!(module, C_Logout, session);
    end(module, slot, session);

    // CERT-M-1-32, and the conditions of the profile: nobody is logged in.
    let (slot, session) = begin(module, 0);
    assert!(module.find(session, &[(CKA_TOKEN, &yes)]).len() >= 2);
    let class = CKO_CERTIFICATE.to_ne_bytes();
    let certificate = one(module, session, &[(CKA_TOKEN, &yes), (CKA_CLASS, &class)]);
    assert_eq!(module.attribute(session, certificate, CKA_VALUE), CERTIFICATE);
    let id = module.attribute(session, certificate, CKA_ID);
    let class = CKO_PUBLIC_KEY.to_ne_bytes();
    one(module, session, &[(CKA_CLASS, &class), (CKA_ID, &id)]);
    end(module, slot, session);
}

#[test]
fn profiles_and_mechanisms_are_found_by_their_class_alone() {
    if !alone("profiles_and_mechanisms_are_found_by_their_class_alone") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.open(true);
    let of_class = |class: CK_OBJECT_CLASS| module.find(session, &[(CKA_CLASS, &class.to_ne_bytes())]);
    let profiles = of_class(CKO_PROFILE);
    let mut ids: Vec<_> = profiles
        .iter()
        .map(|profile| CK_ULONG::from_ne_bytes(module.attribute(session, *profile, CKA_PROFILE_ID).try_into().unwrap()))
        .collect();
    ids.sort_unstable();
    let claimed =
        [CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER, CKP_AUTHENTICATION_TOKEN, CKP_PUBLIC_CERTIFICATES_TOKEN];
    assert_eq!(ids, claimed);
    assert_eq!(of_class(CKO_PROFILE), profiles, "the same handles");
    let mut count = 0;
    ok!(module, C_GetMechanismList, 0, null_mut(), &mut count);
    assert_eq!(of_class(CKO_MECHANISM).len(), count as usize);
    let sha256 = CKM_SHA256.to_ne_bytes();
    let class = CKO_MECHANISM.to_ne_bytes();
    let found = module.find(session, &[(CKA_CLASS, &class), (CKA_MECHANISM_TYPE, &sha256)]);
    assert_eq!(module.attribute(session, found[0], CKA_LABEL), b"CKM_SHA256");
    assert!(of_class(CKO_VALIDATION).is_empty() && module.find(session, &[]).is_empty());
    for profile in profiles {
        assert!(module.is(session, profile, CKA_TOKEN) && !module.is(session, profile, CKA_PRIVATE));
        assert_eq!(module.set(session, profile, &[bytes(CKA_LABEL, b"mine")]), CKR_ACTION_PROHIBITED);
        assert_eq!(call!(module, C_DestroyObject, session, profile), CKR_ACTION_PROHIBITED);
        assert_eq!(module.try_copy(session, profile, &[], &mut 0), CKR_ACTION_PROHIBITED);
    }
    let made = [number(CKA_CLASS, CKO_PROFILE)];
    assert_eq!(module.creating(session, &made), CKR_ATTRIBUTE_VALUE_INVALID);
    // A handle outlives the time for which what was read is believed.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(module.attribute(session, found[0], CKA_MECHANISM_TYPE), sha256);
    module.finalise();
}
