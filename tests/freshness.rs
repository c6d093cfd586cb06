//! How soon one host sees what another changed, and how long keys go on when their store is lost: the bounds of
//! docs/stores.md, on each store. How long it took is printed and not asserted.

mod host;
#[path = "store_support/postgres.rs"]
mod postgres;
mod store_support;
mod support;

use cryptoki_sys::*;
use host::{Kind, Module, SO_PIN, at, attr, call, len, ok};
use postgres::Server;
use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::ptr::null_mut;
use std::time::{Duration, Instant};
use store_support::command;
use support::ANY_CREDENTIALS;
use support::emulators::Emulator;

fn main() {
    store_support::main(
        &[
            ("what_one_host_changes_another_sees_in_time", what_one_host_changes_another_sees_in_time),
            ("what_is_held_is_as_old_as_it_may_be", what_is_held_is_as_old_as_it_may_be),
            ("keys_outlive_their_store_for_a_while_and_say_so", keys_outlive_their_store_for_a_while_and_say_so),
        ],
        &[("host", serve), ("furnish", furnish)],
    );
}

/// How old what a handle shows may be.
const BOUND: Duration = Duration::from_secs(1);
const PIN: &str = "user-pin-1";

/// Makes both tokens.
fn furnish(configuration: &Path, _: &[String]) {
    let module = Module::start(configuration);
    for slot in [0, 1] {
        ok!(module, C_InitToken, slot, at(SO_PIN), len(SO_PIN), at(&[b' '; 32]));
    }
    let session = open(module, 1);
    assert_eq!(module.try_login(session, CKU_SO, SO_PIN), CKR_OK);
    ok!(module, C_InitPIN, session, at(PIN.as_bytes()), len(PIN.as_bytes()));
}

fn open(module: Module, slot: CK_SLOT_ID) -> CK_SESSION_HANDLE {
    let mut session = 0;
    ok!(module, C_OpenSession, slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null_mut(), None, &mut session);
    session
}

/// A host that does what it is told, line by line, with the one object that it holds.
fn serve(configuration: &Path, _: &[String]) {
    host::steps::limit(300);
    let module = Module::start(configuration);
    let (session, lock) = (open(module, 0), open(module, 1));
    let held = Cell::new(0);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        let found = |label: &str| {
            let mut template = [attr(CKA_LABEL, label.as_bytes())];
            let begun = call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), 1);
            if begun != CKR_OK {
                return Err(begun);
            }
            let (mut page, mut count) = ([0; 8], 0);
            let rv = call!(module, C_FindObjects, session, page.as_mut_ptr(), 8, &mut count);
            call!(module, C_FindObjectsFinal, session);
            if rv == CKR_OK { Ok(page[..count as usize].to_vec()) } else { Err(rv) }
        };
        let set = |kind, value: &[u8]| {
            let mut template = [attr(kind, value)];
            call!(module, C_SetAttributeValue, session, held.get(), template.as_mut_ptr(), 1)
        };
        let label = |object| {
            let mut value = [0_u8; 64];
            let mut wanted = CK_ATTRIBUTE { type_: CKA_LABEL, pValue: value.as_mut_ptr().cast(), ulValueLen: 64 };
            let rv = call!(module, C_GetAttributeValue, session, object, &mut wanted, 1);
            (
                rv,
                if rv == CKR_OK {
                    String::from_utf8_lossy(&value[..wanted.ulValueLen as usize]).into_owned()
                } else {
                    String::new()
                },
            )
        };
        let (rv, said) = match words.as_slice() {
            ["make", name] => {
                let (yes, no, class) = ([CK_TRUE], [CK_FALSE], CKO_DATA.to_ne_bytes());
                let mut template = [
                    attr(CKA_CLASS, &class),
                    attr(CKA_TOKEN, &yes),
                    attr(CKA_PRIVATE, &no),
                    attr(CKA_LABEL, name.as_bytes()),
                ];
                (call!(module, C_CreateObject, session, template.as_mut_ptr(), 4, held.as_ptr()), String::new())
            }
            ["key"] => {
                held.set(module.generate(session, Kind::P256, b"1").1);
                (set(CKA_LABEL, b"key"), String::new())
            }
            ["find", name] => match found(name) {
                Ok(found) => (CKR_OK, found.len().to_string()),
                Err(rv) => (rv, String::new()),
            },
            ["hold", name] => {
                held.set(found(name).unwrap()[0]);
                (CKR_OK, String::new())
            }
            ["label"] => label(held.get()),
            ["copy"] => {
                let (mut template, mut copy) = ([attr(CKA_TOKEN, &[CK_FALSE])], 0);
                match call!(module, C_CopyObject, session, held.get(), template.as_mut_ptr(), 1, &mut copy) {
                    CKR_OK => label(copy),
                    rv => (rv, String::new()),
                }
            }
            ["rename", name] => (set(CKA_LABEL, name.as_bytes()), String::new()),
            ["forbid"] => (set(CKA_SIGN, &[CK_FALSE]), String::new()),
            ["allow"] => (set(CKA_SIGN, &[CK_TRUE]), String::new()),
            ["destroy"] => (call!(module, C_DestroyObject, session, held.get()), String::new()),
            ["sign"] => {
                let made = module.sign(session, held.get(), CKM_ECDSA_SHA256, b"data");
                (made.err().unwrap_or(CKR_OK), format!("{:#x}", module.device_error(session)))
            }
            ["login", pin] => {
                let rv = module.try_login(lock, CKU_USER, pin.as_bytes());
                call!(module, C_Logout, lock);
                (rv, String::new())
            }
            ["set-pin", old, new] => {
                let (old, new) = (old.as_bytes(), new.as_bytes());
                (call!(module, C_SetPIN, lock, at(old), len(old), at(new), len(new)), String::new())
            }
            ["locked"] => {
                let mut info = CK_TOKEN_INFO::default();
                let rv = call!(module, C_GetTokenInfo, 1, &mut info);
                (rv, (info.flags & CKF_USER_PIN_LOCKED != 0).to_string())
            }
            other => panic!("{other:?}"),
        };
        println!("{rv} {said}");
    }
}

/// A process that serves.
struct Host {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Host {
    fn start(configuration: &Path) -> Self {
        let mut command = command("host", configuration, &[]);
        let mut child = command.envs(ANY_CREDENTIALS).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, commands, answers }
    }

    fn ask(&mut self, what: &str) -> (CK_RV, String) {
        self.send(what);
        self.answer(what)
    }

    fn send(&mut self, what: &str) {
        writeln!(self.commands, "{what}").unwrap();
    }

    fn answer(&mut self, what: &str) -> (CK_RV, String) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let (rv, said) = line.trim_end_matches('\n').split_once(' ').unwrap_or_else(|| panic!("{what}: it died"));
        (rv.parse().unwrap(), said.to_owned())
    }

    #[track_caller]
    fn ok(&mut self, what: &str) -> String {
        let (rv, said) = self.ask(what);
        assert_eq!(rv, CKR_OK, "{what}: {rv:#x} {said}");
        said
    }

    /// Asks until it is answered so; that must be when the bound is over. How long it took.
    #[track_caller]
    fn comes_to(&mut self, what: &str, wanted: (CK_RV, &str)) -> Duration {
        self.comes_within(BOUND, what, wanted)
    }

    fn comes_within(&mut self, bound: Duration, what: &str, wanted: (CK_RV, &str)) -> Duration {
        let begun = Instant::now();
        loop {
            let is_over = begun.elapsed() >= bound;
            let (rv, said) = self.ask(what);
            if rv == wanted.0 && (wanted.1.is_empty() || said == wanted.1) {
                return begun.elapsed();
            }
            assert!(!is_over, "{what}: {rv:#x} {said}, and the bound is over");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration of two tokens, on an embedded KMS.
fn configure(folder: &Path, stores: &[String; 2], cache: &str) -> PathBuf {
    let (keys, log) = (folder.join("kms.json"), folder.join("log"));
    let mut text = format!("[log]\ntarget = \"file:{}\"\n", log.display());
    for (label, store, more) in [
        ("objects", &stores[0], format!("login = \"none\"\ncache = {{ {cache} }}")),
        ("lock", &stores[1], "max_pin_attempts = 3\npin_hash = { memory = \"1M\", passes = 1 }".to_owned()),
    ] {
        let kms = keys.display();
        text += &format!("[[token]]\nlabel = \"{label}\"\nstore = \"{store}\"\nkms = \"embedded:{kms}\"\n{more}\n");
    }
    let path = folder.join("datakey-pkcs11.toml");
    fs::write(&path, text).unwrap();
    let mut furnish = command("furnish", &path, &[]);
    assert!(furnish.envs(ANY_CREDENTIALS).status().unwrap().success());
    path
}

fn in_files(folder: &Path) -> [String; 2] {
    ["objects", "lock"].map(|name| format!("sqlite:{}", folder.join(format!("{name}.db")).display()))
}

fn in_postgres(server: &Server) -> [String; 2] {
    let (folder, port, database) = (server.folder.display(), server.port, server.database());
    ["objects", "lock"]
        .map(|token| format!("postgres://dk@/{database}?host={folder}&port={port}&sslmode=disable&token={token}"))
}

fn in_dynamodb(emulator: &Emulator) -> [String; 2] {
    let url = emulator.url();
    ["objects", "lock"].map(|token| format!("dynamodb:freshness/{token}?region=us-east-1&endpoint_url={url}"))
}

fn what_one_host_changes_another_sees_in_time() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let files = tempfile::tempdir().unwrap();
            sees_in_time("SQLite", &in_files(files.path()));
        });
        scope.spawn(|| sees_in_time("PostgreSQL", &in_postgres(postgres::server())));
        scope.spawn(|| {
            let emulator = Emulator::ministack();
            sees_in_time("DynamoDB", &in_dynamodb(&emulator));
        });
    });
}

fn sees_in_time(name: &str, stores: &[String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let configuration = configure(folder.path(), stores, "");
    let (mut a, mut b) = (Host::start(&configuration), Host::start(&configuration));
    let mut times = Vec::new();
    let mut took = |what: &str, time: Duration| times.push(format!("{what} {} ms", time.as_millis()));

    // At once: a search, a copy, a change.
    a.ok("make one");
    assert_eq!(b.ok("find one"), "1", "{name}");
    b.ok("hold one");
    assert_eq!(b.ok("label"), "one");
    a.ok("rename two");
    assert_eq!([b.ok("find two"), b.ok("find one")], ["1", "0"], "{name}");
    assert_eq!(b.ok("copy"), "two", "{name}");
    a.ok("rename three");
    took("C_GetAttributeValue", b.comes_to("label", (CKR_OK, "three")));
    a.ok("rename four");
    b.ok("rename five");
    // Its own changes at once, also through what it holds.
    assert_eq!(b.ok("label"), "five", "{name}");
    a.ok("destroy");
    assert_eq!(b.ok("find five"), "0", "{name}");
    assert_eq!(b.ask("rename six").0, CKR_OBJECT_HANDLE_INVALID, "{name}");

    // A key that is open.
    a.ok("key");
    b.ok("hold key");
    b.ok("sign");
    a.ok("forbid");
    took("C_SignInit, CKA_SIGN taken away", b.comes_to("sign", (CKR_KEY_FUNCTION_NOT_PERMITTED, "")));
    a.ok("allow");
    took("given back", b.comes_to("sign", (CKR_OK, "")));
    a.ok("destroy");
    took("destroyed", b.comes_to("sign", (CKR_KEY_HANDLE_INVALID, "")));

    // PINs, their counters and their lock, at once; what is shown of them, in time.
    a.ok(&format!("set-pin {PIN} user-pin-2"));
    assert_eq!(b.ask(&format!("login {PIN}")).0, CKR_PIN_INCORRECT, "{name}");
    b.ok("login user-pin-2");
    assert_eq!(a.ask("login wrong-pin").0, CKR_PIN_INCORRECT, "{name}");
    assert_eq!(b.ask("login wrong-pin").0, CKR_PIN_INCORRECT, "{name}");
    assert_eq!(b.ok("locked"), "false", "{name}");
    assert_eq!(a.ask("login wrong-pin").0, CKR_PIN_INCORRECT, "{name}");
    assert_eq!(b.ask("login user-pin-2").0, CKR_PIN_LOCKED, "{name}");
    took("C_GetTokenInfo, locked", a.comes_to("locked", (CKR_OK, "true")));
    println!("     {name}: {}", times.join(", "));
}

fn what_is_held_is_as_old_as_it_may_be() {
    for (cache, sees) in [("max_object_age = \"1h\"", "one"), ("max_object_age = 0", "two")] {
        let folder = tempfile::tempdir().unwrap();
        let configuration = configure(folder.path(), &in_files(folder.path()), cache);
        let (mut a, mut b) = (Host::start(&configuration), Host::start(&configuration));
        a.ok("make one");
        b.ok("hold one");
        assert_eq!(b.ok("label"), "one");
        a.ok("rename two");
        assert_eq!(b.ok("label"), sees, "{cache}");
        // What others changed is never overwritten unseen, and one's own changes count at once.
        assert_eq!(b.ok("copy"), "two", "{cache}");
        b.ok("rename three");
        assert_eq!(b.ok("label"), "three", "{cache}");
    }
}

/// A server that was away is asked once in four seconds whether it is back, where somebody wants something of it.
const NOTICED: Duration = Duration::from_secs(8);

/// How long a key may be used, in these tests.
const CACHE: &str = "max_age = \"6s\"";

/// Has the store go away and come back under a host with an open key.
fn outlives(name: &str, folder: &Path, stores: &[String; 2], lose: impl FnOnce(), regain: impl FnOnce()) {
    let configuration = configure(folder, stores, CACHE);
    let (mut host, mut other) = (Host::start(&configuration), Host::start(&configuration));
    host.ok("key");
    host.ok("sign");
    assert_eq!(other.ok("find key"), "1", "{name}");
    // Long enough for what it read to be looked at again.
    std::thread::sleep(BOUND);
    host.ok("sign");
    lose();
    other.send("find key");
    std::thread::sleep(BOUND);
    let begun = Instant::now();
    let (mut made, mut lasted) = (0, Duration::ZERO);
    let (rv, number) = loop {
        match host.ask("sign") {
            (CKR_OK, _) => (made, lasted) = (made + 1, begun.elapsed()),
            failed => break failed,
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}: it signs for ever");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(made > 0, "{name}: a key that was open did not sign: {rv:#x} {number}");
    assert_eq!(rv, CKR_DEVICE_ERROR, "{name}: {number}");
    assert!(["0x301", "0x309"].contains(&number.as_str()), "{name}: {number}");
    // Nothing but the use of keys goes on.
    assert_eq!(other.answer("find key").0, CKR_DEVICE_ERROR, "{name}");
    regain();
    host.comes_within(NOTICED, "find key", (CKR_OK, "1"));
    host.ok("sign");
    let log = fs::read_to_string(folder.join("log")).unwrap();
    let said =
        log.lines().find(|line| line.contains("the store does not answer")).unwrap_or_else(|| panic!("{name}: {log}"));
    println!(
        "     {name}: {made} signatures without the store, the last {:.1} s after it was lost ({CACHE})",
        (BOUND + lasted).as_secs_f64()
    );
    println!("     {said}");
}

fn keys_outlive_their_store_for_a_while_and_say_so() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let folder = tempfile::tempdir().unwrap();
            let (there, away) = (folder.path().join("there"), folder.path().join("away"));
            fs::create_dir(&there).unwrap();
            // As if its file system were not mounted any more.
            let (lose, regain) = (|| fs::rename(&there, &away).unwrap(), || fs::rename(&away, &there).unwrap());
            outlives("SQLite", folder.path(), &in_files(&there), lose, regain);
        });
        scope.spawn(|| {
            let folder = tempfile::tempdir().unwrap();
            let server = std::sync::Mutex::new(Server::start(false));
            let stores = in_postgres(&server.lock().unwrap());
            let (lose, regain) = (|| server.lock().unwrap().stop(), || server.lock().unwrap().start_again());
            outlives("PostgreSQL", folder.path(), &stores, lose, regain);
        });
        scope.spawn(|| {
            let folder = tempfile::tempdir().unwrap();
            let emulator = Emulator::ministack();
            // It takes connections all the while, and says nothing.
            outlives(
                "DynamoDB",
                folder.path(),
                &in_dynamodb(&emulator),
                || emulator.pause(true),
                || emulator.pause(false),
            );
        });
    });
}
