//! Hosts that treat the library badly, within their rights: the module survives them, and they it.

mod host;
mod hosts;

use cryptoki_sys::*;
use datakey::kms::embedded::{self, FaultKind};
use host::{Kind, Module, Place, alone, call, ok};
use hosts::{command, compile, compile_library, furnish, run};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

fn embedded() -> Place {
    let place = Place::embedded("login = \"none\"");
    furnish(&place.configuration(), "none");
    place
}

/// Runs the odd host in one of its modes. What it said, line by line.
fn odd(program: &Path, place: &Place, arguments: &[&str]) -> Vec<String> {
    run(command(program, &place.configuration()).args(arguments))
}

#[test]
fn a_library_that_is_closed_under_threads_that_signed_stays() {
    let place = embedded();
    assert_eq!(odd(&compile("odd"), &place, &["reload", "1000"]), ["reload 0"]);
}

#[test]
fn a_handler_at_exit_can_still_sign_and_finalise() {
    let place = embedded();
    // By then the thread's own variables are gone, the library's among them.
    assert_eq!(odd(&compile("odd"), &place, &["end-by-handler"]), ["sign 0", "C_Finalize 0", "sign 190"]);
}

#[test]
fn destructors_of_other_libraries_may_call_before_and_after_the_end() {
    let place = embedded();
    let (program, shim) = (compile("odd"), compile_library("shim"));
    let shim = shim.to_str().unwrap();
    let alive = ["sign 0", "C_Finalize 0", "sign 190"];
    // After its own end the library answers, and does nothing else.
    let ended = ["sign 190", "C_Finalize 190", "sign 190"];
    // Which of two libraries that do not know of each other ends first is libc's to say: one of them is
    // loaded before the module and one after it, so one of them ends before it and one after it.
    let mut said = ["end-by-earlier-library", "end-by-later-library"].map(|mode| odd(&program, &place, &[mode, shim]));
    said.sort();
    assert_eq!(said, [alive, ended]);
}

#[test]
fn a_process_may_end_while_its_threads_sign() {
    let (place, program) = (embedded(), compile("odd"));
    for round in 0..60 {
        let microseconds = (round * 997).to_string();
        assert_eq!(odd(&program, &place, &["end-among-threads", &microseconds]), [""; 0], "round {round}");
    }
}

/// Every line of the log goes to standard error, and there is none: no line may land in the store or at KMS.
#[test]
fn without_standard_descriptors_nothing_is_mistaken_for_one() {
    let keys = tempfile::tempdir().unwrap();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true).unwrap();
    let more = "login = \"none\"\ncache = { max_age = 0 }\n[log]\nlevel = \"trace\"";
    let place = Place::at(&server.url(), embedded::DEFAULT_ALIAS, more);
    furnish(&place.configuration(), "none");
    assert_eq!(odd(&compile("odd"), &place, &["closed-descriptors"]), ["closed 0"]);
    let sound: String = rusqlite::Connection::open(place.store())
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    let calls = server.control().calls();
    assert!(calls.keys().all(|name| !name.is_empty()), "KMS was told what it does not know: {calls:?}");
}

#[test]
fn too_few_descriptors_are_an_error_and_no_more() {
    let keys = tempfile::tempdir().unwrap();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true).unwrap();
    let place = Place::at(&server.url(), embedded::DEFAULT_ALIAS, "login = \"none\"\n[log]\nlevel = \"off\"");
    furnish(&place.configuration(), "none");
    let said = odd(&compile("odd"), &place, &["few-descriptors"]);
    let failed = u64::from_str_radix(said[0].strip_prefix("failed ").expect(&said[0]), 16).unwrap();
    // Some numbers were too small, and some were enough.
    assert!((1..37).contains(&failed), "{failed} of 37 failed");
}

/// Takes connections and resets each in the middle of a request, or of an answer.
fn slammer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let mut stream = stream;
            // Often at once, so that the request is written to a connection that is gone already.
            if number % 2 == 1 {
                let _ = stream.read(&mut vec![0; if number % 4 == 1 { 1 } else { 4096 }]);
            }
            if number % 6 == 1 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{");
            }
            reset(&stream);
        }
    });
    url
}

fn reset(stream: &TcpStream) {
    let option = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the descriptor is open and the option's value is of its type and length.
    unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const option).cast(), len) };
}

/// Stands before KMS and lets one answer pass on each connection, as if it would be kept. Then it closes it
/// and resets it: who writes to it next gets EPIPE, and SIGPIPE where that is not prevented.
fn impatient(upstream: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut kms = TcpStream::connect(upstream)?;
                let mut buffer = vec![0; 1 << 16];
                kms.set_read_timeout(Some(Duration::from_millis(5)))?;
                client.set_read_timeout(Some(Duration::from_millis(5)))?;
                // What is short comes in one piece, or nearly so.
                for _ in 0..2000 {
                    if let Ok(len @ 1..) = client.read(&mut buffer) {
                        kms.write_all(&buffer[..len])?;
                    }
                    if let Ok(len @ 1..) = kms.read(&mut buffer) {
                        client.write_all(&buffer[..len])?;
                        break;
                    }
                }
                // Not before the client has left the call: there it would see the end coming.
                std::thread::sleep(Duration::from_millis(20));
                client.shutdown(std::net::Shutdown::Write)?;
                std::thread::sleep(Duration::from_millis(2));
                reset(&client);
                Ok(())
            });
        }
    });
    url
}

#[test]
fn connections_that_are_reset_raise_no_signal() {
    let keys = tempfile::tempdir().unwrap();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true).unwrap();
    let place = Place::at(&server.url(), embedded::DEFAULT_ALIAS, "login = \"none\"\ncache = { max_age = 0 }");
    furnish(&place.configuration(), "none");
    // The token key is opened; from then on every other connection is reset, and tried again.
    for _ in 0..20 {
        server.control().inject_any(FaultKind::Delay(0));
        server.control().inject_any(FaultKind::Reset);
    }
    let mut expected = vec!["sign 0"; 20];
    expected.push("signals 0");
    assert_eq!(odd(&compile("odd"), &place, &["signals"]), expected);

    let text = std::fs::read_to_string(place.configuration()).unwrap();
    let at = |url: &str| std::fs::write(place.configuration(), text.replace(&server.url(), url)).unwrap();
    at(&impatient(server.address()));
    assert_eq!(odd(&compile("odd"), &place, &["signals", "100000"]), expected);

    at(&slammer());
    expected[..20].fill("sign 30");
    assert_eq!(odd(&compile("odd"), &place, &["signals"]), expected);
}

#[test]
fn a_bad_configuration_is_told_by_file_and_line() {
    let place = Place::embedded("kms_key = \"alias/x\"");
    let mut host = command(&compile("host"), &place.configuration());
    let mut host = host.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    host.stdin.take().unwrap().write_all(b"initialise\n").unwrap();
    let output = host.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let file = place.configuration().display().to_string();
    let text = std::fs::read_to_string(place.configuration()).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("kms_key = ")).unwrap();
    let told = log.lines().find(|line| line.contains("ERROR C_Initialize")).unwrap_or_else(|| panic!("{log}"));
    for part in [&*file, &format!("line {line}"), "kms_key_id", "CKR_FUNCTION_FAILED"] {
        assert!(told.contains(part), "{told} lacks {part}");
    }
}

/// Finalised and initialised again and again under threads that sign.
#[test]
fn finalize_may_come_while_threads_sign() {
    if !alone("finalize_may_come_while_threads_sign") {
        return;
    }
    let place = Place::embedded("login = \"none\"");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    module.generate(session, Kind::P256, b"1");
    let (stop, signed) = (AtomicBool::new(false), AtomicU32::new(0));
    let allowed = [
        CKR_CRYPTOKI_NOT_INITIALIZED,
        CKR_SESSION_HANDLE_INVALID,
        CKR_KEY_HANDLE_INVALID,
        CKR_OBJECT_HANDLE_INVALID,
        CKR_OPERATION_NOT_INITIALIZED,
    ];
    // One life of a thread: it takes any refusal that a library which has just gone may answer.
    let use_key = || -> Result<(), CK_RV> {
        let mut session = 0;
        host::check(call!(module, C_OpenSession, 0, CKF_SERIAL_SESSION, null_mut(), None, &mut session))?;
        let class = CKO_PRIVATE_KEY.to_ne_bytes();
        let mut template = [host::attr(CKA_CLASS, &class)];
        host::check(call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), 1))?;
        let (mut key, mut count) = (0, 0);
        host::check(call!(module, C_FindObjects, session, &mut key, 1, &mut count))?;
        host::check(call!(module, C_FindObjectsFinal, session))?;
        assert_eq!(count, 1, "the key is there as long as the library is");
        loop {
            assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data")?.len(), 64);
            signed.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let rv = use_key().unwrap_err();
                    assert!(allowed.contains(&rv), "{rv:#x}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        for round in 0..100 {
            let before = signed.load(Ordering::Relaxed);
            // Some rounds end early, some when the threads are at work.
            for _ in 0..(round % 3) * 500 {
                if signed.load(Ordering::Relaxed) > before + 20 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            ok!(module, C_Finalize, null_mut());
            module.initialise();
        }
        stop.store(true, Ordering::Relaxed);
        ok!(module, C_Finalize, null_mut());
    });
    assert!(signed.into_inner() > 500, "the threads hardly ever signed");
}
