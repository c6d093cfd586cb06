//! What holds for every function of a kind: lists, the rules of objects and searches, and PINs that run out
//! of tries.

mod host;

use cryptoki_sys::*;
use host::{Kind, Module, Place, SO_PIN, USER_PIN, alone, attr, call, check, mechanism, ok};
use std::ptr::null_mut;

/// A token on the embedded KMS with a session, the user logged in.
fn scene(more: &str) -> (Place, Module, CK_SESSION_HANDLE) {
    let place = Place::embedded(more);
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    (place, module, session)
}

/// The rule of output buffers for lists: `ask` takes the array and its room.
fn list(name: &str, ask: &dyn Fn(*mut CK_ULONG, *mut CK_ULONG) -> CK_RV) {
    let mut count = 0;
    assert_eq!(ask(null_mut(), null_mut()), CKR_ARGUMENTS_BAD, "{name}");
    assert_eq!(ask(null_mut(), &mut count), CKR_OK, "{name}");
    let exact = count;
    assert!(exact > 0 && exact < 500, "{name}: {exact}");
    for room in [0, exact - 1, exact, exact + 1, 500] {
        let mut array = [CK_ULONG::MAX; 501];
        count = room;
        let rv = ask(array.as_mut_ptr(), &mut count);
        assert_eq!(rv, if room < exact { CKR_BUFFER_TOO_SMALL } else { CKR_OK }, "{name}: {room}");
        assert_eq!(count, exact, "{name}");
        let written = if room < exact { 0 } else { exact as usize };
        assert!(array[..written].iter().all(|value| *value != CK_ULONG::MAX), "{name}");
        assert!(array[written..].iter().all(|value| *value == CK_ULONG::MAX), "{name} wrote beyond its list");
    }
}

#[test]
fn every_list_obeys_the_rule_of_buffers() {
    if !alone("every_list_obeys_the_rule_of_buffers") {
        return;
    }
    let (_place, module, _) = scene("");
    list("C_GetSlotList", &|array, count| call!(module, C_GetSlotList, CK_TRUE, array, count));
    list("C_GetMechanismList", &|array, count| call!(module, C_GetMechanismList, 0, array, count));
    // Each of its entries has three words.
    list("C_GetInterfaceList", &|array, count| {
        const WORDS: CK_ULONG = 3;
        // SAFETY: the pointer is null or good for a number.
        let count = unsafe { count.as_mut() };
        let Some(count) = count else { return call!(module, C_GetInterfaceList, array.cast(), null_mut()) };
        *count /= WORDS;
        let rv = call!(module, C_GetInterfaceList, array.cast(), count);
        *count *= WORDS;
        rv
    });
    assert_eq!(call!(module, C_GetMechanismList, 7, null_mut(), &mut 0), CKR_SLOT_ID_INVALID);

    // What is in the list can be asked about, and does what it says.
    let (mut mechanisms, mut count) = ([0; 500], 500);
    ok!(module, C_GetMechanismList, 0, mechanisms.as_mut_ptr(), &mut count);
    for mechanism in &mechanisms[..count as usize] {
        let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
        ok!(module, C_GetMechanismInfo, 0, *mechanism, &mut info);
        assert!(info.flags != 0 && info.ulMinKeySize <= info.ulMaxKeySize, "{mechanism:#x}");
    }
    let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
    assert_eq!(call!(module, C_GetMechanismInfo, 0, CKM_DES_CBC, &mut info), CKR_MECHANISM_INVALID);
}

impl Object<'_> {
    fn create(&self, session: CK_SESSION_HANDLE, template: Given<'_>) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let mut object = 0;
        let count = template.len() as CK_ULONG;
        check(call!(self.0, C_CreateObject, session, template.as_mut_ptr(), count, &mut object))?;
        Ok(object)
    }

    fn set(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attribute: CK_ATTRIBUTE_TYPE,
        value: &[u8],
    ) -> CK_RV {
        call!(self.0, C_SetAttributeValue, session, object, &mut attr(attribute, value), 1)
    }

    fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
        call!(self.0, C_DestroyObject, session, object)
    }
}

/// A template as the tests write it.
type Given<'a> = &'a [(CK_ATTRIBUTE_TYPE, &'a [u8])];

/// The module, for what is done to objects.
struct Object<'a>(&'a Module);

const DATA: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_CLASS, &CKO_DATA.to_ne_bytes());
const YES: &[u8] = &[CK_TRUE];
const NO: &[u8] = &[CK_FALSE];

#[test]
fn templates_are_judged() {
    if !alone("templates_are_judged") {
        return;
    }
    let (_place, module, session) = scene("");
    let object = Object(&module);
    let refused: &[(&str, CK_RV, Given<'_>)] = &[
        ("nothing", CKR_TEMPLATE_INCOMPLETE, &[]),
        ("no class", CKR_TEMPLATE_INCOMPLETE, &[(CKA_LABEL, b"x")]),
        ("an identity", CKR_ATTRIBUTE_READ_ONLY, &[DATA, (CKA_UNIQUE_ID, b"x")]),
        ("another class's attribute", CKR_TEMPLATE_INCONSISTENT, &[DATA, (CKA_SENSITIVE, YES)]),
        ("two labels", CKR_TEMPLATE_INCONSISTENT, &[DATA, (CKA_LABEL, b"x"), (CKA_LABEL, b"y")]),
        ("a flag of two bytes", CKR_ATTRIBUTE_VALUE_INVALID, &[DATA, (CKA_TOKEN, b"12")]),
        ("a class of four bytes", CKR_ATTRIBUTE_VALUE_INVALID, &[(CKA_CLASS, &[0; 4])]),
        ("an unknown class", CKR_ATTRIBUTE_VALUE_INVALID, &[(CKA_CLASS, &0x77_u64.to_ne_bytes())]),
        (
            "no certificate",
            CKR_ATTRIBUTE_VALUE_INVALID,
            &[
                (CKA_CLASS, &CKO_CERTIFICATE.to_ne_bytes()),
                (CKA_CERTIFICATE_TYPE, &CKC_X_509.to_ne_bytes()),
                (CKA_VALUE, b"x"),
            ],
        ),
    ];
    for (what, rv, template) in refused {
        assert_eq!(object.create(session, template), Err(*rv), "{what}");
    }
    object.create(session, &[DATA, (CKA_LABEL, b"x"), (CKA_LABEL, b"x")]).expect("the same twice is once");

    let p256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let brainpool: &[u8] = &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7];
    let bits = 1024_u64.to_ne_bytes();
    let refused: &[(CK_RV, CK_MECHANISM_TYPE, [Given<'_>; 2])] = &[
        (CKR_TEMPLATE_INCOMPLETE, CKM_EC_KEY_PAIR_GEN, [&[], &[]]),
        (CKR_TEMPLATE_INCOMPLETE, CKM_RSA_PKCS_KEY_PAIR_GEN, [&[], &[]]),
        (CKR_CURVE_NOT_SUPPORTED, CKM_EC_KEY_PAIR_GEN, [&[(CKA_EC_PARAMS, brainpool)], &[]]),
        (CKR_KEY_SIZE_RANGE, CKM_RSA_PKCS_KEY_PAIR_GEN, [&[(CKA_MODULUS_BITS, &bits)], &[]]),
        (CKR_MECHANISM_INVALID, CKM_ECDSA, [&[(CKA_EC_PARAMS, p256)], &[]]),
        (CKR_ATTRIBUTE_READ_ONLY, CKM_EC_KEY_PAIR_GEN, [&[(CKA_EC_PARAMS, p256)], &[(CKA_LOCAL, YES)]]),
        (CKR_ATTRIBUTE_READ_ONLY, CKM_EC_KEY_PAIR_GEN, [&[(CKA_EC_PARAMS, p256)], &[(CKA_NEVER_EXTRACTABLE, YES)]]),
        (CKR_TEMPLATE_INCONSISTENT, CKM_EC_KEY_PAIR_GEN, [&[(CKA_EC_PARAMS, p256)], &[(CKA_VERIFY, YES)]]),
        (CKR_TEMPLATE_INCONSISTENT, CKM_EC_KEY_PAIR_GEN, [&[(CKA_EC_PARAMS, p256), DATA], &[]]),
    ];
    for (index, (rv, id, [public, private])) in refused.iter().enumerate() {
        let template = |half: Given<'_>| -> Vec<CK_ATTRIBUTE> {
            let on_token = [(CKA_TOKEN, YES)];
            half.iter().chain(&on_token).map(|(attribute, value)| attr(*attribute, value)).collect()
        };
        let (mut public, mut private, mut pair) = (template(public), template(private), (0, 0));
        let (publics, privates) = (public.len() as CK_ULONG, private.len() as CK_ULONG);
        let (public, private) = (public.as_mut_ptr(), private.as_mut_ptr());
        let mut mechanism = mechanism(*id);
        let made = call!(
            module,
            C_GenerateKeyPair,
            session,
            &mut mechanism,
            public,
            publics,
            private,
            privates,
            &mut pair.0,
            &mut pair.1
        );
        assert_eq!(made, *rv, "pair {index}");
    }
    assert_eq!(module.find(session, &[(CKA_TOKEN, YES)]).len(), 0, "a refused pair left something");
}

#[test]
fn objects_obey_their_own_rules_and_their_sessions() {
    if !alone("objects_obey_their_own_rules_and_their_sessions") {
        return;
    }
    let (_place, module, session) = scene("");
    let object = Object(&module);
    let fixed = object.create(session, &[DATA, (CKA_TOKEN, YES), (CKA_MODIFIABLE, NO)]).unwrap();
    assert_eq!(object.set(session, fixed, CKA_LABEL, b"x"), CKR_ACTION_PROHIBITED);
    assert_eq!(object.destroy(session, fixed), CKR_OK);
    assert_eq!(object.destroy(session, fixed), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(object.set(session, fixed, CKA_LABEL, b"x"), CKR_OBJECT_HANDLE_INVALID);
    let lasting = object.create(session, &[DATA, (CKA_TOKEN, YES), (CKA_DESTROYABLE, NO)]).unwrap();
    assert_eq!(object.destroy(session, lasting), CKR_ACTION_PROHIBITED);
    assert_eq!(object.set(session, lasting, CKA_DESTROYABLE, YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(object.set(session, lasting, CKA_UNIQUE_ID, b"x"), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(object.set(session, lasting, CKA_VALUE, b"new"), CKR_OK);
    assert_eq!(module.attribute(session, lasting, CKA_VALUE), b"new");

    // Identities are each one's own.
    let others: Vec<_> = (0..20).map(|_| object.create(session, &[DATA]).unwrap()).collect();
    let ids: std::collections::BTreeSet<_> =
        others.iter().chain([&lasting]).map(|one| module.attribute(session, *one, CKA_UNIQUE_ID)).collect();
    assert_eq!(ids.len(), 21);

    // A session's objects are everybody's while it is open; a read-only session may make them.
    let reading = module.open(false);
    assert_eq!(object.create(reading, &[DATA, (CKA_TOKEN, YES)]), Err(CKR_SESSION_READ_ONLY));
    assert_eq!(object.set(reading, lasting, CKA_LABEL, b"x"), CKR_SESSION_READ_ONLY);
    assert_eq!(object.destroy(reading, lasting), CKR_SESSION_READ_ONLY);
    let open = object.create(reading, &[DATA, (CKA_LABEL, b"open")]).unwrap();
    let hidden = object.create(reading, &[DATA, (CKA_LABEL, b"hidden"), (CKA_PRIVATE, YES)]).unwrap();
    assert_eq!(module.find(session, &[(CKA_LABEL, b"open")]), [open]);
    assert_eq!(module.find(session, &[(CKA_LABEL, b"hidden")]), [hidden]);
    ok!(module, C_Logout, session);
    assert_eq!(object.create(session, &[DATA, (CKA_PRIVATE, YES)]), Err(CKR_USER_NOT_LOGGED_IN));
    module.login(session);
    assert_eq!(module.find(session, &[(CKA_LABEL, b"hidden")]), [0; 0], "a logout ends private session objects");
    ok!(module, C_CloseSession, reading);
    assert_eq!(module.find(session, &[(CKA_LABEL, b"open")]), [0; 0], "a session ends with its objects");
    assert_eq!(object.set(session, open, CKA_LABEL, b"x"), CKR_OBJECT_HANDLE_INVALID);
}

#[test]
fn searches_are_exact_and_see_what_may_be_seen() {
    if !alone("searches_are_exact_and_see_what_may_be_seen") {
        return;
    }
    let (_place, module, session) = scene("");
    let object = Object(&module);
    let made: Vec<_> = (0..10_u8)
        .map(|n| object.create(session, &[DATA, (CKA_TOKEN, YES), (CKA_LABEL, b"many"), (CKA_VALUE, &[n])]).unwrap())
        .collect();
    let (public, private) = module.generate(session, Kind::P256, b"1");
    assert_eq!(module.find(session, &[(CKA_LABEL, b"many")]), made);
    assert_eq!(module.find(session, &[(CKA_LABEL, b"man")]), [0; 0]);
    assert_eq!(module.find(session, &[(CKA_VALUE, &[7])]), [made[7]]);
    assert_eq!(module.find(session, &[(CKA_VALUE, &[7]), (CKA_LABEL, b"many")]), [made[7]]);
    assert_eq!(module.find(session, &[(CKA_VALUE, &[7]), (CKA_LABEL, b"few")]), [0; 0]);
    // Numbers and flags in other lengths are no object's.
    assert_eq!(module.find(session, &[(CKA_CLASS, &(CKO_DATA as u32).to_ne_bytes())]), [0; 0]);
    assert_eq!(module.find(session, &[(CKA_TOKEN, &[1, 0])]), [0; 0]);
    assert_eq!(module.find(session, &[]).len(), 12);

    // Page by page; a page of none is no end. What is made meanwhile comes at most once, what is destroyed is gone.
    ok!(module, C_FindObjectsInit, session, &mut attr(CKA_LABEL, b"many"), 1);
    let mut found = Vec::new();
    for step in 0.. {
        let (mut page, mut count) = ([0; 3], CK_ULONG::MAX);
        ok!(module, C_FindObjects, session, page.as_mut_ptr(), 0, &mut count);
        assert_eq!(count, 0);
        ok!(module, C_FindObjects, session, page.as_mut_ptr(), 3, &mut count);
        if count == 0 {
            break;
        }
        found.extend_from_slice(&page[..count as usize]);
        if step == 0 {
            assert_eq!(object.destroy(session, made[9]), CKR_OK);
            object.create(session, &[DATA, (CKA_TOKEN, YES), (CKA_LABEL, b"many")]).unwrap();
        }
    }
    ok!(module, C_FindObjectsFinal, session);
    assert_eq!(found[..9], made[..9]);
    assert!(found.len() <= 11 && found[9..].iter().all(|handle| !made[..9].contains(handle)), "{found:?}");

    // Without a login the private half is neither found nor reached by its handle.
    ok!(module, C_Logout, session);
    assert_eq!(module.find(session, &[(CKA_ID, b"1")]), [public]);
    assert_eq!(module.find(session, &[(CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes())]), [0; 0]);
    let mut sign = mechanism(CKM_ECDSA_SHA256);
    assert_eq!(call!(module, C_SignInit, session, &mut sign, private), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn pins_run_out_of_tries() {
    if !alone("pins_run_out_of_tries") {
        return;
    }
    let (_place, module, session) = scene("max_pin_attempts = 3");
    ok!(module, C_Logout, session);
    let flags = || {
        // SAFETY: the structure is all numbers and bytes.
        let mut info: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
        ok!(module, C_GetTokenInfo, 0, &mut info);
        info.flags
    };
    let user = |flags| flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
    let so = |flags| flags & (CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY | CKF_SO_PIN_LOCKED);
    let wrong = |who| module.try_login(session, who, b"wrong");
    assert_eq!((user(flags()), so(flags())), (0, 0));
    assert_eq!(wrong(CKU_USER), CKR_PIN_INCORRECT);
    assert_eq!(user(flags()), CKF_USER_PIN_COUNT_LOW);
    assert_eq!(wrong(CKU_USER), CKR_PIN_INCORRECT);
    assert_eq!(user(flags()), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY);
    // A right one counts from zero again.
    module.login(session);
    assert_eq!(user(flags()), 0);
    ok!(module, C_Logout, session);
    for _ in 0..3 {
        assert_eq!(wrong(CKU_USER), CKR_PIN_INCORRECT);
    }
    assert_eq!(user(flags()), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED);
    assert_eq!(module.try_login(session, CKU_USER, USER_PIN), CKR_PIN_LOCKED);

    // Another process, too. The officer gives a new one.
    module.finalise();
    module.initialise();
    let session = module.open(true);
    assert_eq!(module.try_login(session, CKU_USER, USER_PIN), CKR_PIN_LOCKED);
    assert_eq!(module.try_login(session, CKU_SO, SO_PIN), CKR_OK);
    let new = b"another-pin";
    ok!(module, C_InitPIN, session, new.as_ptr().cast_mut(), new.len() as CK_ULONG);
    ok!(module, C_Logout, session);
    assert_eq!(user(flags()), 0);
    assert_eq!(module.try_login(session, CKU_USER, USER_PIN), CKR_PIN_INCORRECT);
    assert_eq!(module.try_login(session, CKU_USER, new), CKR_OK);
    ok!(module, C_Logout, session);

    for left in
        [CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_LOCKED]
    {
        assert_eq!(module.try_login(session, CKU_SO, b"wrong"), CKR_PIN_INCORRECT);
        assert_eq!(so(flags()), left);
    }
    assert_eq!(module.try_login(session, CKU_SO, SO_PIN), CKR_PIN_LOCKED);
}
