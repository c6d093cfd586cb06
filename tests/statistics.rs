//! What tokens have done, in numbers, and the vendor interface: from Rust, from C, and in the file for Prometheus.

mod host;
mod hosts;

use cryptoki_sys::*;
use datakey::kms::embedded::{FaultKind, Server};
use host::{Kind, Module, Place, alone, call, ok};
use std::collections::BTreeMap;
use std::path::Path;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// `DATAKEY_FUNCTION_LIST`.
#[repr(C)]
struct Vendor {
    version: CK_VERSION,
    error_text: unsafe extern "C" fn(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG) -> CK_RV,
    statistics: unsafe extern "C" fn(CK_SLOT_ID, *mut CK_ULONG, CK_ULONG) -> CK_RV,
    flush_keys: unsafe extern "C" fn(CK_SLOT_ID) -> CK_RV,
}

impl Module {
    fn vendor(self) -> &'static Vendor {
        let mut found = null_mut();
        let name = c"Vendor datakey-pkcs11".as_ptr().cast_mut().cast();
        ok!(self, C_GetInterface, name, null_mut(), &mut found, 0);
        // SAFETY: the interface and its list stay as long as the library does.
        unsafe { &*(*found).pFunctionList.cast::<Vendor>() }
    }

    /// The statistics of slot 0, by the names that Prometheus has for them.
    fn statistics(self) -> BTreeMap<&'static str, u64> {
        use datakey::counters::Count;
        let mut numbers = [0; 17];
        let size = size_of_val(&numbers) as CK_ULONG;
        // SAFETY: the structure is as large as is said.
        assert_eq!(unsafe { (self.vendor().statistics)(0, numbers.as_mut_ptr(), size) }, CKR_OK);
        let names = Count::ALL.iter().map(|count| count.metric()).chain(["cached_keys", "p50", "p90", "p99"]);
        names.zip(numbers).collect()
    }

    fn error_text(self, session: CK_SESSION_HANDLE) -> String {
        let mut len = 0;
        // SAFETY: the length is there, and the text is as long as it says.
        unsafe {
            assert_eq!((self.vendor().error_text)(session, null_mut(), &mut len), CKR_OK);
            let mut text = vec![0; len as usize];
            assert_eq!((self.vendor().error_text)(session, text.as_mut_ptr(), &mut len), CKR_OK);
            String::from_utf8(text).unwrap()
        }
    }

    fn flush(self) {
        // SAFETY: it takes no pointer.
        assert_eq!(unsafe { (self.vendor().flush_keys)(0) }, CKR_OK);
    }
}

struct Scene {
    server: Server,
    place: Place,
    module: Module,
    session: CK_SESSION_HANDLE,
}

fn scene(more: &str) -> Scene {
    let (place, server) = Place::served(more);
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    Scene { server, place, module, session }
}

fn error(code: &str) -> FaultKind {
    FaultKind::Error { code: code.to_owned(), status: None, message: String::new() }
}

#[test]
fn what_happens_is_counted() {
    if !alone("what_happens_is_counted") {
        return;
    }
    let more = "cache = { max_keys = 2 }\ntimeouts = { attempt = \"300ms\", total = \"600ms\" }";
    let Scene { server, module, session, place: _place } = scene(more);
    let keys = [b"a", b"b", b"c"].map(|id| module.generate(session, Kind::P256, id).1);
    let sign = |key| module.sign(session, key, CKM_ECDSA_SHA256, b"data");
    let differs = |work: &dyn Fn()| {
        let before = module.statistics();
        work();
        let after = module.statistics();
        let changed = after.into_iter().filter(|(name, value)| name.contains("total") && before[name] != *value);
        changed.map(|(name, value)| (name, value - before[name])).collect::<Vec<_>>()
    };
    let first = module.statistics();
    assert_eq!((first["kms_calls_total"], first["evictions_total"], first["cached_keys"]), (3, 1, 2));
    assert!(first["p50"] > 0 && first["p50"] <= first["p99"], "{first:?}");

    assert_eq!(differs(&|| (0..5).for_each(|_| drop(sign(keys[2]).unwrap()))), [("cache_hits_total", 5)]);
    module.flush();
    assert_eq!(module.statistics()["cached_keys"], 0);
    let cold = [("kms_calls_total", 1), ("kms_requests_total", 1), ("unwraps_total", 1)];
    assert_eq!(differs(&|| drop(sign(keys[2]).unwrap())), cold);

    module.flush();
    server.control().inject_error("AccessDeniedException");
    let denied = [
        ("kms_calls_total", 1),
        ("kms_denials_total", 1),
        ("kms_failed_calls_total", 1),
        ("kms_requests_total", 1),
        ("unwrap_failures_total", 1),
    ];
    assert_eq!(differs(&|| assert_eq!(sign(keys[2]), Err(CKR_DEVICE_ERROR))), denied);
    server.control().inject_error("ThrottlingException");
    let throttled =
        [("kms_calls_total", 1), ("kms_requests_total", 2), ("kms_throttles_total", 1), ("unwraps_total", 1)];
    assert_eq!(differs(&|| drop(sign(keys[2]).unwrap())), throttled);

    module.flush();
    (0..100).for_each(|_| server.control().inject_any(FaultKind::Reset));
    (0..3).for_each(|_| assert_eq!(sign(keys[2]), Err(CKR_DEVICE_ERROR)));
    let at_once = [("kms_not_tried_total", 1), ("unwrap_failures_total", 1)];
    assert_eq!(differs(&|| assert_eq!(sign(keys[2]), Err(CKR_DEVICE_ERROR))), at_once);
    assert!(module.statistics()["kms_unanswered_total"] >= 3);
    module.finalise();
}

#[test]
fn the_text_of_an_error_is_the_log_s_and_its_session_s() {
    if !alone("the_text_of_an_error_is_the_log_s_and_its_session_s") {
        return;
    }
    let Scene { server, place, module, session } = scene("cache = { max_age = 0 }");
    let (_, key) = module.generate(session, Kind::P256, b"1");
    let other = module.open(false);
    assert_eq!((module.error_text(session), module.error_text(other)), (String::new(), String::new()));
    server.control().inject_any(error("AccessDeniedException"));
    module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap_err();
    let text = module.error_text(session);
    for part in
        ["CKR_DEVICE_ERROR: KMS denied access; the role needs", "kms:Decrypt: AccessDeniedException", "request "]
    {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!((module.error_text(other), module.error_text(0)), (String::new(), text.clone()));
    // Errors of the caller's own have no text here, like they have no number, and do not hide the one that has.
    let mut len = 1;
    let mut byte = [0];
    // SAFETY: the text has room for one byte, as is said.
    let rv = unsafe { (module.vendor().error_text)(session, byte.as_mut_ptr(), &mut len) };
    assert_eq!((rv, len as usize), (CKR_BUFFER_TOO_SMALL, text.len()));
    assert_eq!(call!(module, C_SignFinal, session, null_mut(), &mut len), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(module.error_text(session), text);
    // What has no session: the token cannot be initialised while it cannot be opened.
    module.finalise();
    std::fs::write(place.store(), "no database").unwrap();
    module.initialise();
    assert_ne!(call!(module, C_GetTokenInfo, 0, &mut token_info()), CKR_OK);
    assert!(module.error_text(0).contains("the store"), "{}", module.error_text(0));
}

fn token_info() -> CK_TOKEN_INFO {
    // SAFETY: numbers and characters may all be zero.
    unsafe { std::mem::zeroed() }
}

/// Calls until the file says what is wanted of it.
fn until(module: Module, file: &Path, wanted: &str) -> String {
    let begun = Instant::now();
    loop {
        ok!(module, C_GetInfo, &mut info());
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().any(|line| line == wanted) {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no {wanted} in\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn info() -> CK_INFO {
    // SAFETY: numbers and characters may all be zero.
    unsafe { std::mem::zeroed() }
}

#[test]
fn the_file_is_whole_and_young() {
    if !alone("the_file_is_whole_and_young") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("all.prom"), folder.path().join("of-{pid}.prom"));
    let Scene { server: _server, place, module, session } = scene(&format!("[log]\nmetrics = \"{}\"", file.display()));
    let (_, key) = module.generate(session, Kind::P256, b"1");
    std::thread::scope(|scope| {
        // Whoever reads meanwhile sees whole files only.
        let reading = scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(7) {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(text.contains("kms_latency_seconds_count{token=\"test\"}") && text.ends_with('\n'), "{text}");
            }
        });
        while !reading.is_finished() {
            module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
        }
        reading.join().unwrap();
    });
    let (hits, requests) = (module.statistics()["cache_hits_total"], module.statistics()["kms_requests_total"]);
    let text = until(module, &file, &format!("datakey_pkcs11_cache_hits_total{{token=\"test\"}} {hits}"));
    let all = format!("datakey_pkcs11_kms_latency_seconds_bucket{{token=\"test\",le=\"+Inf\"}} {requests}");
    assert!(text.lines().any(|line| line == all), "{text}");
    // Moved there, and nothing left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    module.finalise();

    // One file for each process, which goes with it.
    let text = std::fs::read_to_string(place.configuration()).unwrap();
    let text = text.replace(&file.display().to_string(), &own.display().to_string());
    std::fs::write(place.configuration(), text).unwrap();
    module.initialise();
    let id = std::process::id();
    let mine = folder.path().join(format!("of-{id}.prom"));
    until(module, &mine, &format!("datakey_pkcs11_cache_hits_total{{token=\"test\",pid=\"{id}\"}} 0"));
    module.finalise();
    assert!(!mine.exists() && file.exists());

    // A file that cannot be written is no reason to fail.
    std::fs::create_dir(&mine).unwrap();
    module.initialise();
    let session = module.enter();
    let key = module.private_key(session, b"1");
    module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
    module.finalise();
}

#[test]
fn a_c_program_uses_the_interface_with_the_header_alone() {
    let place = Place::embedded("");
    let said = hosts::run(&mut hosts::command(&hosts::compile("vendor"), &place.configuration()));
    let zeros = "0 hits 0 unwraps 0 failures 0 stale 0 evictions 0 calls 0 failed 0 not tried 0 requests 0 throttles 0 \
                 denials 0 unanswered 0 keys 0 latency 1";
    assert_eq!(said, ["1.0", "0x190 0x190 0x190", zeros, "0 1 1", "0 1", "0x7 0x3 0x3 0xb3", "0 0 0x7"]);
}
