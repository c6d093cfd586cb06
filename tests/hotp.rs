//! One-time passwords through the C interface: the values of RFC 4226, whose counter it is, and that no counter of a
//! key gives its password twice: not to threads, not to processes, not after a kill.

mod host;
mod hosts;
mod objects;
#[path = "store_support/postgres.rs"]
mod postgres;

use cryptoki_sys::*;
use host::{Module, Place, alone, at, call, given, len, mechanism, ok, steps};
use hosts::world::{World, may_change};
use objects::{Attr, bytes, flag, number, with};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::ptr::null_mut;
use std::thread;

/// RFC 4226, appendix D.
const KEY: &[u8] = b"12345678901234567890";
const PASSWORDS: [&str; 10] =
    ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
/// The same of the first three counters, with 8 digits.
const LONG: [&str; 3] = ["84755224", "94287082", "37359152"];

/// A parameter of a mechanism.
type Given = (CK_OTP_PARAM_TYPE, Vec<u8>);

fn counter(counter: u64) -> Given {
    (CK_OTP_COUNTER, counter.to_be_bytes().to_vec())
}

fn ulong(kind: CK_OTP_PARAM_TYPE, value: CK_ULONG) -> Given {
    (kind, value.to_ne_bytes().to_vec())
}

fn hotp(value: &[u8]) -> Vec<Attr> {
    vec![number(CKA_CLASS, CKO_OTP_KEY), number(CKA_KEY_TYPE, CKK_HOTP), bytes(CKA_VALUE, value)]
}

fn on_token() -> Vec<Attr> {
    with(hotp(KEY), &[flag(CKA_TOKEN, true), bytes(CKA_ID, b"otp")])
}

/// A password and the counter that it is of.
type Password = (String, u64);

/// What `C_Sign` gave, as a host reads it: by the addresses in it. Nothing of it lies outside.
fn read(signature: &[u8]) -> Password {
    // SAFETY: the structure lies in the buffer, where its addresses point as well: that is looked at first.
    unsafe {
        let info = signature.as_ptr().cast::<CK_OTP_SIGNATURE_INFO>().read_unaligned();
        let within = |start: usize, len: usize| {
            let from = signature.as_ptr().addr();
            assert!(start >= from && start + len <= from + signature.len(), "it points outside");
        };
        within(info.pParams.addr(), info.ulCount as usize * size_of::<CK_OTP_PARAM>());
        let params: Vec<_> = (0..info.ulCount as usize).map(|index| info.pParams.add(index).read_unaligned()).collect();
        let value = |kind| {
            let param = params.iter().find(|param| param.type_ == kind).expect("the parameter is there");
            within(param.pValue.addr(), param.ulValueLen as usize);
            std::slice::from_raw_parts(param.pValue.cast::<u8>(), param.ulValueLen as usize)
        };
        assert_eq!(params[0].type_, CK_OTP_VALUE);
        let password = String::from_utf8(value(CK_OTP_VALUE).to_vec()).unwrap();
        (password, u64::from_be_bytes(value(CK_OTP_COUNTER).try_into().unwrap()))
    }
}

/// Calls `init` with these parameters; none at all if there are none.
fn start(params: &[Given], init: impl FnOnce(*mut CK_MECHANISM) -> CK_RV) -> Result<(), CK_RV> {
    let param = |(kind, value): &Given| CK_OTP_PARAM { type_: *kind, pValue: at(value).cast(), ulValueLen: len(value) };
    let mut list: Vec<_> = params.iter().map(param).collect();
    let mut params = CK_OTP_PARAMS { pParams: list.as_mut_ptr(), ulCount: list.len() as CK_ULONG };
    let mut way = if list.is_empty() { mechanism(CKM_HOTP) } else { given(CKM_HOTP, &mut params) };
    host::check(init(&mut way))
}

/// The next password of a key, or the one that is asked for.
fn sign(
    module: Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    params: &[Given],
) -> Result<Password, CK_RV> {
    start(params, |way| call!(module, C_SignInit, session, way, key))?;
    let (mut signature, mut size) = ([0_u8; 200], 200);
    host::check(call!(module, C_Sign, session, null_mut(), 0, signature.as_mut_ptr(), &mut size))?;
    Ok(read(&signature[..size as usize]))
}

fn verify(
    module: Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    params: &[Given],
    password: &str,
) -> CK_RV {
    let password = password.as_bytes();
    match start(params, |way| call!(module, C_VerifyInit, session, way, key)) {
        Ok(()) => call!(module, C_Verify, session, null_mut(), 0, at(password), len(password)),
        Err(rv) => rv,
    }
}

/// The counter as the token has it.
fn stands_at(module: Module, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> u64 {
    u64::from_be_bytes(module.get(session, key, CKA_OTP_COUNTER).unwrap().try_into().unwrap())
}

fn the_key(module: Module, session: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
    module.find(session, &[(CKA_CLASS, &CKO_OTP_KEY.to_ne_bytes()), (CKA_ID, b"otp")])[0]
}

fn token() -> (Place, Module, CK_SESSION_HANDLE) {
    token_at(Place::embedded(""))
}

fn token_at(place: Place) -> (Place, Module, CK_SESSION_HANDLE) {
    let module = Module::start(&place.configuration());
    module.make_token(true);
    (place, module, module.enter())
}

#[test]
fn the_passwords_of_the_rfc_come_by_every_way() {
    if !alone("the_passwords_of_the_rfc_come_by_every_way") {
        return;
    }
    let (_place, module, session) = token();
    for template in [hotp(KEY), on_token()] {
        let key = module.create(session, &template);
        for (index, password) in PASSWORDS.iter().enumerate() {
            let made = match index % 2 {
                0 => sign(module, session, key, &[]),
                // In parts, of which none brings anything.
                _ => {
                    ok!(module, C_SignInit, session, &mut mechanism(CKM_HOTP), key);
                    ok!(module, C_SignUpdate, session, null_mut(), 0);
                    let (mut signature, mut size) = ([0_u8; 200], 200);
                    ok!(module, C_SignFinal, session, signature.as_mut_ptr(), &mut size);
                    Ok(read(&signature[..size as usize]))
                }
            };
            assert_eq!(made, Ok((password.to_string(), index as u64)));
            assert_eq!(stands_at(module, session, key), index as u64 + 1);
        }
        // Of a counter that is given the key's own knows nothing.
        for (index, password) in PASSWORDS.iter().enumerate().rev() {
            let index = index as u64;
            assert_eq!(sign(module, session, key, &[counter(index)]), Ok((password.to_string(), index)));
            assert_eq!(verify(module, session, key, &[counter(index)], password), CKR_OK);
            assert_eq!(verify(module, session, key, &[counter(index + 1)], password), CKR_SIGNATURE_INVALID);
        }
        for (index, password) in LONG.iter().enumerate() {
            let params = [counter(index as u64), ulong(CK_OTP_OUTPUT_LENGTH, 8)];
            assert_eq!(sign(module, session, key, &params), Ok((password.to_string(), index as u64)));
            assert_eq!(verify(module, session, key, &params, password), CKR_OK);
            assert_eq!(verify(module, session, key, &params[..1], password), CKR_SIGNATURE_LEN_RANGE);
            let password = password.as_bytes();
            start(&params, |way| call!(module, C_VerifySignatureInit, session, way, key, at(password), len(password)))
                .unwrap();
            ok!(module, C_VerifySignature, session, null_mut(), 0);
        }
        assert_eq!(stands_at(module, session, key), 10);
    }
    module.finalise();
}

/// Sign and verify as client and server do, each with a key and a counter of its own.
#[test]
fn a_password_is_good_once_and_only_ahead_of_the_counter() {
    if !alone("a_password_is_good_once_and_only_ahead_of_the_counter") {
        return;
    }
    let (_place, module, session) = token();
    let mut client = 0;
    let mut template: Vec<_> = [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)].to_vec();
    let mut native: Vec<_> = template.iter_mut().map(|(kind, value)| host::attr(*kind, value)).collect();
    ok!(module, C_GenerateKey, session, &mut mechanism(CKM_HOTP_KEY_GEN), native.as_mut_ptr(), 2, &mut client);
    let value = module.get(session, client, CKA_VALUE).unwrap();
    assert_eq!(value.len(), 20);
    let server = module.create(session, &with(hotp(&value), &[flag(CKA_TOKEN, true)]));
    let made: Vec<_> = (0..16).map(|_| sign(module, session, client, &[]).unwrap().0).collect();
    let is_good = |index: usize| {
        let rv = verify(module, session, server, &[], &made[index]);
        assert!(rv == CKR_OK || rv == CKR_SIGNATURE_INVALID, "{rv:#x}");
        rv == CKR_OK
    };
    assert!(is_good(0) && !is_good(0) && is_good(1));
    // Four may have been lost on the way, and no more.
    assert!(is_good(6) && !is_good(5) && !is_good(2) && !is_good(6));
    assert!(!is_good(12) && stands_at(module, session, server) == 7 && is_good(11) && is_good(15));
    assert_eq!(stands_at(module, session, server), 16);
    // What is wrong moves nothing, and what is given neither.
    assert_eq!(verify(module, session, server, &[], "12345"), CKR_SIGNATURE_LEN_RANGE);
    assert_eq!(verify(module, session, server, &[counter(3)], &made[3]), CKR_OK);
    assert_eq!(stands_at(module, session, server), 16);
    module.finalise();
}

#[test]
fn what_a_key_does_not_allow_is_refused_and_counts_nothing() {
    if !alone("what_a_key_does_not_allow_is_refused_and_counts_nothing") {
        return;
    }
    let (_place, module, session) = token();
    let requiring =
        |requirement| module.create(session, &with(on_token(), &[number(CKA_OTP_COUNTER_REQUIREMENT, requirement)]));
    let optional = requiring(CK_OTP_PARAM_OPTIONAL);
    for wrong in [
        vec![(CK_OTP_COUNTER, vec![0; 7])],
        vec![counter(1), counter(1)],
        vec![ulong(CK_OTP_OUTPUT_LENGTH, 10)],
        vec![ulong(CK_OTP_OUTPUT_FORMAT, CK_OTP_FORMAT_HEXADECIMAL)],
        vec![ulong(CK_OTP_FLAGS, CKF_NEXT_OTP)],
        vec![ulong(CK_OTP_FLAGS, CKF_EXCLUDE_COUNTER)],
        vec![(CK_OTP_VALUE, b"755224".to_vec())],
        vec![ulong(8, 0)],
    ] {
        assert_eq!(sign(module, session, optional, &wrong), Err(CKR_MECHANISM_PARAM_INVALID), "{wrong:?}");
        assert_eq!(verify(module, session, optional, &wrong, PASSWORDS[0]), CKR_MECHANISM_PARAM_INVALID);
    }
    // Pointers to nothing, and a number of them that no memory holds.
    let mut param = CK_OTP_PARAM { type_: CK_OTP_COUNTER, pValue: null_mut(), ulValueLen: 8 };
    for params in [
        CK_OTP_PARAMS { pParams: null_mut(), ulCount: 1 },
        CK_OTP_PARAMS { pParams: &mut param, ulCount: 1 },
        CK_OTP_PARAMS { pParams: &mut param, ulCount: CK_ULONG::MAX },
    ] {
        let mut params = params;
        let rv = call!(module, C_SignInit, session, &mut given(CKM_HOTP, &mut params), optional);
        assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
    }
    let mut short = 0_u64;
    let rv = call!(module, C_SignInit, session, &mut given(CKM_HOTP, &mut short), optional);
    assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
    // Data, which a password is not of.
    for part in [true, false] {
        ok!(module, C_SignInit, session, &mut mechanism(CKM_HOTP), optional);
        let (mut out, mut size) = ([0; 200], 200);
        let rv = match part {
            true => call!(module, C_SignUpdate, session, at(b"x"), 1),
            false => call!(module, C_Sign, session, at(b"x"), 1, out.as_mut_ptr(), &mut size),
        };
        assert_eq!(rv, CKR_DATA_LEN_RANGE);
    }
    assert_eq!(stands_at(module, session, optional), 0);

    let friendly = [ulong(CK_OTP_FLAGS, CKF_USER_FRIENDLY_OTP)];
    let ignored_too = [(CK_OTP_PIN, b"1234".to_vec()), (CK_OTP_TIME, vec![]), (CK_OTP_CHALLENGE, vec![7; 300])];
    for params in [&friendly[..], &ignored_too] {
        assert!(sign(module, session, optional, params).is_ok());
    }
    let unfriendly = module.create(session, &with(hotp(KEY), &[flag(CKA_OTP_USER_FRIENDLY_MODE, false)]));
    assert_eq!(sign(module, session, unfriendly, &friendly), Err(CKR_MECHANISM_PARAM_INVALID));

    let mandatory = requiring(CK_OTP_PARAM_MANDATORY);
    assert_eq!(sign(module, session, mandatory, &[]), Err(CKR_MECHANISM_PARAM_INVALID));
    assert_eq!(verify(module, session, mandatory, &[], PASSWORDS[0]), CKR_MECHANISM_PARAM_INVALID);
    assert_eq!(sign(module, session, mandatory, &[counter(9)]), Ok((PASSWORDS[9].into(), 9)));
    let own = requiring(CK_OTP_PARAM_IGNORED);
    assert_eq!(sign(module, session, own, &[counter(9)]), Ok((PASSWORDS[0].into(), 0)));
    assert_eq!(verify(module, session, own, &[counter(0)], PASSWORDS[0]), CKR_SIGNATURE_INVALID);

    // The last counter of all has no password: nothing could come after it.
    let last = module.create(session, &with(on_token(), &[bytes(CKA_OTP_COUNTER, &(u64::MAX - 1).to_be_bytes())]));
    assert_eq!(sign(module, session, last, &[]).unwrap().1, u64::MAX - 1);
    assert_eq!(sign(module, session, last, &[]), Err(CKR_KEY_EXHAUSTED));
    assert_eq!(stands_at(module, session, last), u64::MAX);
    module.finalise();
}

/// Two keys that count from the same place would give the same passwords: there is no way to make one of the other.
#[test]
fn a_key_that_counts_is_not_set_back_copied_or_wrapped() {
    if !alone("a_key_that_counts_is_not_set_back_copied_or_wrapped") {
        return;
    }
    let (_place, module, session) = token();
    let open = [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)];
    for template in [hotp(KEY), on_token()] {
        let key = module.create(session, &with(template.clone(), &open));
        sign(module, session, key, &[]).unwrap();
        for counter in [0_u64, 2, 5] {
            let set = [bytes(CKA_OTP_COUNTER, &counter.to_be_bytes())];
            assert_eq!(module.set(session, key, &set), CKR_ATTRIBUTE_READ_ONLY);
        }
        assert_eq!(module.set(session, key, &[bytes(CKA_LABEL, b"named while it counts")]), CKR_OK);
        let mut copy = 0;
        for more in [&[][..], &[flag(CKA_TOKEN, false)], &[bytes(CKA_OTP_COUNTER, &[9; 8])]] {
            assert_eq!(module.try_copy(session, key, more, &mut copy), CKR_ACTION_PROHIBITED);
        }
        assert_eq!(module.set(session, key, &[flag(CKA_COPYABLE, true)]), CKR_ATTRIBUTE_READ_ONLY);
        let copyable = with(template, &[flag(CKA_COPYABLE, true)]);
        assert_eq!(module.creating(session, &copyable), CKR_ATTRIBUTE_VALUE_INVALID);
        let under = module.create(session, &objects::secret_key(CKK_AES, &[9; 32]));
        let (mut wrapped, mut size) = ([0; 200], 200);
        let mut kwp = mechanism(CKM_AES_KEY_WRAP_KWP);
        let rv = call!(module, C_WrapKey, session, &mut kwp, under, key, wrapped.as_mut_ptr(), &mut size);
        assert_eq!(rv, CKR_KEY_NOT_WRAPPABLE);
        assert_eq!(sign(module, session, key, &[]), Ok((PASSWORDS[1].into(), 1)));
        // It is for nothing else either.
        for other in [CKM_SHA_1_HMAC, CKM_SHA256_HMAC, CKM_AES_CMAC] {
            assert_eq!(call!(module, C_SignInit, session, &mut mechanism(other), key), CKR_KEY_TYPE_INCONSISTENT);
        }
        ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA256));
        assert_eq!(call!(module, C_DigestKey, session, key), CKR_KEY_INDIGESTIBLE);
        ok!(module, C_SessionCancel, session, CKF_DIGEST);
        // Gone in the midst of an operation.
        ok!(module, C_SignInit, session, &mut mechanism(CKM_HOTP), key);
        ok!(module, C_DestroyObject, session, key);
        let rv = call!(module, C_Sign, session, null_mut(), 0, wrapped.as_mut_ptr(), &mut 200);
        assert_eq!(rv, CKR_KEY_HANDLE_INVALID);
    }
    module.finalise();
}

const THREADS: usize = 4;
const EACH: usize = 25;

/// All passwords that so many threads get.
fn storm(module: Module, key: CK_OBJECT_HANDLE) -> Vec<Password> {
    let one = || {
        let session = module.open(false);
        (0..EACH).map(|_| sign(module, session, key, &[]).expect("a password")).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Threads of several processes draw passwords from one key. Each counter comes once, and none is left out.
fn each_counter_comes_once(test: &str, place: impl FnOnce() -> Place) {
    if steps::step().is_some() {
        let module = Module::start_step();
        let session = module.enter();
        let all = storm(module, the_key(module, session));
        let said: Vec<_> = all.iter().map(|(password, counter)| format!("{counter}:{password}")).collect();
        steps::say(said.join(" "));
        return module.finalise();
    }
    if !alone(test) {
        return;
    }
    let (place, module, session) = token_at(place());
    let own = storm(module, module.create(session, &hotp(KEY)));
    let counters: BTreeSet<_> = own.iter().map(|(_, counter)| *counter).collect();
    assert!(own.len() == THREADS * EACH && counters.into_iter().eq(0..(THREADS * EACH) as u64));

    let key = module.create(session, &on_token());
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut child = steps::command(test, "storm", &place.configuration());
            child.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut all: Vec<_> =
        storm(module, key).into_iter().map(|(password, counter)| format!("{counter}:{password}")).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("says: ")).expect("what the process got");
        all.extend(said.split(' ').map(str::to_owned));
    }
    let parsed = all.iter().map(|text| text.split_once(':').unwrap());
    let counters: BTreeSet<u64> = parsed.clone().map(|(counter, _)| counter.parse().unwrap()).collect();
    let expected = 4 * THREADS * EACH;
    assert!(all.len() == expected && counters.into_iter().eq(0..expected as u64), "{all:?}");
    for (counter, password) in parsed {
        if let Some(known) = PASSWORDS.get(counter.parse::<usize>().unwrap()) {
            assert_eq!(*known, password);
        }
    }
    assert_eq!(stands_at(module, session, key), expected as u64);
    module.finalise();
}

#[test]
fn no_two_threads_or_processes_get_the_same_password() {
    each_counter_comes_once("no_two_threads_or_processes_get_the_same_password", || Place::embedded(""));
}

#[test]
fn no_two_hosts_of_a_fleet_get_the_same_password() {
    each_counter_comes_once("no_two_hosts_of_a_fleet_get_the_same_password", || {
        let server = postgres::server();
        let (folder, database, port) = (server.folder.display(), server.database(), server.port);
        Place::stored(&format!("postgres://dk@/{database}?host={folder}&port={port}&sslmode=disable"), "")
    });
}

/// Processes that are killed while they sign. What one of them said is never said again.
#[test]
fn a_kill_gives_no_password_back() {
    const TEST: &str = "a_kill_gives_no_password_back";
    if steps::step().is_some() {
        let module = Module::start_step();
        let session = module.enter();
        let key = the_key(module, session);
        loop {
            steps::say(sign(module, session, key, &[]).unwrap().1);
        }
    }
    if !alone(TEST) {
        return;
    }
    let (place, module, session) = token();
    let key = module.create(session, &on_token());
    let mut next = 0;
    for round in 0..6_usize {
        let mut child = steps::command(TEST, "sign", &place.configuration());
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut heard = |lines: &mut dyn Iterator<Item = String>| {
            for line in lines {
                // The pipe may end in the midst of a number, which is not looked at.
                let Some(counter) = line.strip_prefix("says: ").and_then(|said| said.parse::<u64>().ok()) else {
                    continue;
                };
                assert!(counter >= next, "{counter} after {next}");
                next = counter + 1;
            }
        };
        heard(&mut lines.by_ref().take(4 * (3 + 5 * round)));
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may be cut: only whole ones count, and those that were written are all below the counter.
        let rest: Vec<_> = lines.collect();
        heard(&mut rest[..rest.len().saturating_sub(1)].iter().cloned());
        let (_, here) = sign(module, session, key, &[]).unwrap();
        assert!(here >= next, "{here} after {next}");
        next = here + 1;
    }
    assert!(next > 6);
    module.finalise();
}

/// The MAC of the record vouches for the counter. An old copy of the record has an old MAC, which is good.
#[test]
fn a_counter_that_was_edited_is_refused_and_an_old_record_is_not_known() {
    if !alone("a_counter_that_was_edited_is_refused_and_an_old_record_is_not_known") {
        return;
    }
    use datakey::config::StoreLocation;
    use datakey::store::{self, Query};
    let (place, module, session) = token();
    let key = module.create(session, &on_token());
    sign(module, session, key, &[]).unwrap();
    let store = store::open(&StoreLocation::Sqlite(place.store())).unwrap();
    let id = store.find(&Query { equal: vec![(CKA_ID, b"otp".to_vec())], ..Query::default() }, None, 2).unwrap().ids[0];
    let old = store.get(&id).unwrap().unwrap();
    assert_eq!(sign(module, session, key, &[]).unwrap().1, 1);

    let mut edited = store.get(&id).unwrap().unwrap();
    edited.attributes.insert(CKA_OTP_COUNTER, 0_u64.to_be_bytes().to_vec());
    let genuine = store.get(&id).unwrap().unwrap();
    store.update(&edited).unwrap();
    let refused = sign(module, session, key, &[]);
    assert_eq!((refused, module.device_error(session)), (Err(CKR_DEVICE_ERROR), 0x207));
    let put_back = |record: &store::ObjectRecord| {
        let version = store.get(&id).unwrap().unwrap().version;
        store.update(&store::ObjectRecord { version, ..record.clone() }).unwrap();
    };
    put_back(&genuine);
    assert_eq!(sign(module, session, key, &[]).unwrap().1, 2);
    // docs/tampering.md says so.
    put_back(&old);
    assert_eq!(sign(module, session, key, &[]).unwrap().1, 1);
    module.finalise();
}

/// Where nothing can be written no counter moves, and so no password leaves; what needs no counter goes on.
#[test]
fn a_store_that_is_read_only_gives_no_password() {
    const TEST: &str = "a_store_that_is_read_only_gives_no_password";
    if steps::step().is_some() {
        let module = Module::start_step();
        let session = module.open(false);
        module.login(session);
        let key = the_key(module, session);
        assert_eq!(sign(module, session, key, &[]), Err(CKR_TOKEN_WRITE_PROTECTED));
        assert_eq!(verify(module, session, key, &[], PASSWORDS[0]), CKR_TOKEN_WRITE_PROTECTED);
        assert_eq!(verify(module, session, key, &[], "000000"), CKR_SIGNATURE_INVALID);
        assert_eq!(verify(module, session, key, &[counter(0)], PASSWORDS[0]), CKR_OK);
        assert_eq!(sign(module, session, key, &[counter(0)]), Ok((PASSWORDS[0].into(), 0)));
        assert_eq!(stands_at(module, session, key), 0);
        return module.finalise();
    }
    if !may_change(TEST) || !alone(TEST) {
        return;
    }
    let (place, module, session) = token();
    module.create(session, &on_token());
    module.finalise();
    let mut command = steps::command(TEST, "sign", &place.configuration());
    World { read_only: vec![place.folder().into()], ..World::default() }.around(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
