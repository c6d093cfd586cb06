//! The circumstances that a host can be in: at its end or under signals while calls wait, without threads, memory,
//! a root directory that can be written to or the root directory that it began with, with a user's environment
//! and the system's rights.

mod host;
mod hosts;

use cryptoki_sys::*;
use datakey::kms::embedded::{self, Fault, FaultKind, Server};
use host::{Kind, Module, Place, alone, call, ok};
use hosts::world::{NOBODY, World, give, may_change};
use hosts::{Host, OK, PIN, command, compile, furnish, run};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn serve(folder: &Path) -> Server {
    embedded::serve(([127, 0, 0, 1], 0).into(), &folder.join("keys.json"), true).unwrap()
}

/// How long `C_Finalize` may take whatever other threads wait for; on a machine that is busy besides.
const SOON: Duration = Duration::from_millis(1000);

/// A listener whose queue is full: connections to it are neither made nor refused.
fn full_queue() -> (SocketAddr, OwnedFd, Vec<TcpStream>) {
    // SAFETY: plain system calls on a socket of our own and an address of its own length.
    let (socket, port) = unsafe {
        let socket = OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0));
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
        let mut len = size_of_val(&address) as libc::socklen_t;
        assert_eq!(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len), 0);
        assert_eq!(libc::listen(socket.as_raw_fd(), 0), 0);
        assert_eq!(libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &mut len), 0);
        (socket, u16::from_be(address.sin_port))
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    (address, socket, waiting)
}

/// Starts `C_Sign` in some threads, waits until they wait, and ends the library: at once, and they with it.
fn end_while_signing(module: Module, what: &str, waits: impl Fn() -> bool) {
    let sessions: Vec<_> = (0..4).map(|_| module.open(false)).collect();
    let key = module.private_key(sessions[0], b"1");
    let (say, said) = mpsc::channel();
    std::thread::scope(|scope| {
        for session in sessions {
            let say = say.clone();
            scope.spawn(move || say.send(module.sign(session, key, CKM_ECDSA_SHA256, b"data")).unwrap());
        }
        let started = Instant::now();
        while !waits() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}: nobody waits");
            std::thread::sleep(Duration::from_millis(5));
        }
        let started = Instant::now();
        ok!(module, C_Finalize, null_mut());
        assert!(started.elapsed() < SOON, "{what}: C_Finalize took {:?}", started.elapsed());
        assert_eq!(call!(module, C_Finalize, null_mut()), CKR_CRYPTOKI_NOT_INITIALIZED);
        for _ in 0..4 {
            let rv = said.recv_timeout(2 * SOON).unwrap_or_else(|_| panic!("{what}: C_Sign still waits")).unwrap_err();
            // Who was looking at the store then is told that the session is gone.
            assert!([CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID].contains(&rv), "{what}: {rv:#x}");
        }
    });
    module.initialise();
}

#[test]
fn finalize_does_not_wait_for_kms() {
    if !alone("finalize_does_not_wait_for_kms") {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let server = serve(keys.path());
    let place = Place::at(&server.url(), embedded::DEFAULT_ALIAS, "login = \"none\"\ncache = { max_age = 0 }");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    module.generate(session, Kind::P256, b"1");
    let control = server.control();
    for fault in [FaultKind::Hang, FaultKind::Delay(60_000)] {
        for _ in 0..5 {
            // The key of a token without PINs is opened first, and by one for all.
            module.private_key(module.open(false), b"1");
            for _ in 0..8 {
                control.inject(Fault { operation: Some("Decrypt".to_owned()), fault: fault.clone() });
            }
            control.reset_calls();
            end_while_signing(module, &format!("{fault:?}"), || control.calls_of("Decrypt") > 0);
            control.clear_faults();
        }
    }
    // And it still works.
    let session = module.open(false);
    module.sign(session, module.private_key(session, b"1"), CKM_ECDSA_SHA256, b"data").unwrap();
    module.finalise();

    let (address, _socket, _waiting) = full_queue();
    let text = std::fs::read_to_string(place.configuration()).unwrap();
    std::fs::write(place.configuration(), text.replace(&server.url(), &format!("http://{address}"))).unwrap();
    module.initialise();
    for _ in 0..5 {
        let started = Instant::now();
        end_while_signing(module, "a connection that is not made", || started.elapsed() > Duration::from_millis(300));
    }
}

/// Holds the store's lock for some seconds, from another process.
fn lock_store(place: &Place) -> Child {
    let program = "import sqlite3, sys, time\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                   db.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\ntime.sleep(8)\n";
    let mut holder =
        Command::new("python3").args(["-c", program]).arg(place.store()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 7];
    holder.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"locked\n");
    holder
}

#[test]
fn finalize_does_not_wait_for_the_store() {
    if !alone("finalize_does_not_wait_for_the_store") {
        return;
    }
    let place = Place::embedded("login = \"none\"");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    let mut holder = lock_store(&place);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| module.try_generate(session, Kind::P256, b"1", &mut (0, 0)));
        std::thread::sleep(Duration::from_millis(500));
        let started = Instant::now();
        ok!(module, C_Finalize, null_mut());
        assert!(started.elapsed() < SOON, "C_Finalize took {:?}", started.elapsed());
        let rv = waiting.join().unwrap();
        assert_ne!(rv, CKR_OK, "the store was locked all the time");
        assert!(started.elapsed() < Duration::from_secs(7), "C_GenerateKeyPair took {:?}", started.elapsed());
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    module.initialise();
    let session = module.open(true);
    module.generate(session, Kind::P256, b"1");
}

#[test]
fn finalize_ends_every_wait_for_a_slot() {
    if !alone("finalize_ends_every_wait_for_a_slot") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    for round in 0..100 {
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..6).map(|_| scope.spawn(|| call!(module, C_WaitForSlotEvent, 0, &mut 0, null_mut()))).collect();
            // Some of them have not begun to wait.
            std::thread::sleep(Duration::from_micros(round * 50));
            let started = Instant::now();
            ok!(module, C_Finalize, null_mut());
            for thread in waiting {
                assert_eq!(thread.join().unwrap(), CKR_CRYPTOKI_NOT_INITIALIZED);
            }
            assert!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
        });
        module.initialise();
    }
}

#[test]
fn signals_to_every_thread_break_nothing() {
    let keys = tempfile::tempdir().unwrap();
    let server = serve(keys.path());
    let url = format!("http://localhost:{}", server.address().port());
    let more = "login = \"none\"\ncache = { max_age = 0 }\ntimeouts = { attempt = \"30s\", total = \"60s\" }";
    let place = Place::at(&url, embedded::DEFAULT_ALIAS, more);
    furnish(&place.configuration(), "none");
    server.control().reset_calls();
    let said = run(command(&compile("storm"), &place.configuration()).arg("8"));
    let numbers: Vec<u64> =
        said[0].split(' ').map(|number| number.parse().unwrap_or_else(|_| panic!("{said:?}"))).collect();
    println!("{} calls under {} signals", numbers[0], numbers[1]);
    assert!(numbers[0] > 100 && numbers[1] >= 3000, "{said:?}");
    assert!(server.control().calls_of("GenerateDataKeyPair") > 3);
}

/// Counted where threads are made, so that none is too short-lived to be seen.
#[test]
fn a_host_that_forbids_threads_has_none() {
    let keys = tempfile::tempdir().unwrap();
    let server = serve(keys.path());
    let url = format!("http://localhost:{}", server.address().port());
    let embedded = Place::embedded("login = \"none\"\ncache = { max_age = \"5ms\" }");
    let network = Place::at(&url, embedded::DEFAULT_ALIAS, "login = \"none\"\ncache = { max_age = \"5ms\" }");
    let program = compile("odd");
    for place in [embedded, network] {
        furnish(&place.configuration(), "none");
        let threads = |argument: &str| {
            let said = run(command(&program, &place.configuration()).args(["threads", argument]));
            u64::from_str_radix(said[0].strip_prefix("threads ").expect(&said[0]), 16).unwrap()
        };
        assert_eq!(threads("forbidden"), 0);
        // The control: where it may, it makes some, to wipe what has grown old and to look up names.
        assert!(threads("") > 0);
    }
}

/// What a host holds: descriptors, threads, and anonymous memory in KiB.
fn resources(host: &Host) -> (usize, usize, u64) {
    let count = |what| std::fs::read_dir(format!("/proc/{}/{what}", host.pid())).unwrap().count();
    (count("fd"), count("task"), status(host, "RssAnon:"))
}

/// A number of `/proc/PID/status`.
fn status(host: &Host, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_thousand_lives_cost_what_ten_do() {
    let program = compile("host");
    for (network, login) in [(true, "pin"), (true, "none"), (false, "none")] {
        let keys = tempfile::tempdir().unwrap();
        let server = serve(keys.path());
        let login_line = format!("login = \"{login}\"");
        let place = match network {
            true => Place::at(&server.url(), embedded::DEFAULT_ALIAS, &login_line),
            false => Place::embedded(&login_line),
        };
        furnish(&place.configuration(), login);
        let mut host = Host::start(&program, &place.configuration());
        let pin = if login == "pin" { PIN } else { "" };
        host.ok(&format!("lives 10 {pin}"));
        settle(&host);
        let ten = resources(&host);
        let started = Instant::now();
        host.ok(&format!("lives 990 {pin}"));
        let took = started.elapsed();
        settle(&host);
        let thousand = resources(&host);
        println!("network {network}, login {login}: {ten:?} after 10, {thousand:?} after 1000; {took:?}");
        assert_eq!((ten.0, ten.1), (thousand.0, thousand.1), "descriptors and threads");
        // The allocator's own unrest; a life that left a kilobyte would be a thousand of them.
        assert!(thousand.2 < ten.2 + 700, "{} KiB grew to {}", ten.2, thousand.2);
    }
}

/// Waits for threads that end by themselves.
fn settle(host: &Host) {
    let started = Instant::now();
    while resources(host).1 > 1 && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_locked_memory_it_works_and_says_so() {
    if !may_change("without_locked_memory_it_works_and_says_so") {
        return;
    }
    let place = Place::embedded("login = \"none\"");
    furnish(&place.configuration(), "none");
    give(place.folder(), NOBODY);
    let log = place.folder().join("stderr");
    let mut command = command(&compile("host"), &place.configuration());
    command.stderr(std::fs::File::create(&log).unwrap());
    let mut host = Host::spawn(command);
    host.ok("limit memlock 0");
    host.ok(&format!("become {NOBODY}"));
    host.ok("initialise");
    host.ok("open");
    for _ in 0..3 {
        host.ok("use p256 1");
    }
    assert_eq!(status(&host, "VmLck:"), 0);
    host.ok("finalise");
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("locked").count(), 1, "{log}");
}

/// With every size of what address space is left: an error or success, and success when there is more again. The
/// thread has used the module before, and there is no other: glibc and AWS-LC end the process when they have no
/// memory for what each thread has of its own.
#[test]
fn too_little_memory_is_an_error_and_no_more() {
    const USE: [&str; 4] = ["initialise no-threads", "open", "use p256 1", "finalise"];
    const MORE: [&str; 7] =
        ["initialise no-threads", "open", "use p256 1", "list", "generate p256 2", "random", "finalise"];
    let keys = tempfile::tempdir().unwrap();
    let server = serve(keys.path());
    let place = Place::at(&server.url(), embedded::DEFAULT_ALIAS, "login = \"none\"\n[log]\nlevel = \"off\"");
    furnish(&place.configuration(), "none");
    let program = compile("host");
    let (mut failed, mut worked) = (0, 0);
    for step in 0..20 {
        let left = (1_u64 << (step / 2)) * if step % 2 == 0 { 16 } else { 24 };
        let mut host = Host::start(&program, &place.configuration());
        for command in USE {
            host.ok(command);
        }
        host.ok(&format!("limit as {left}"));
        for command in MORE {
            host.send(command);
            let Some((_, rv)) = host.answer() else { panic!("{left} KiB are left, and {command} ends the host") };
            if rv == OK {
                worked += 1
            } else {
                failed += 1
            }
            assert_ne!(rv, CKR_GENERAL_ERROR, "{left} KiB are left: {command}");
        }
        host.ok("limit as none");
        for command in USE {
            let (_, rv) = host.ask(command);
            assert_eq!(rv, OK, "{command} after {left} KiB");
        }
    }
    println!("{worked} calls worked, {failed} failed");
    assert!(failed > 10 && worked > 50, "{worked} worked, {failed} failed");
}

#[test]
fn on_a_read_only_root_keys_are_used() {
    if !may_change("on_a_read_only_root_keys_are_used") {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let server = serve(keys.path());
    for (network, login) in [(true, "pin"), (false, "pin"), (true, "none"), (false, "none")] {
        let login_line = format!("login = \"{login}\"");
        let place = match network {
            true => Place::at(&server.url(), embedded::DEFAULT_ALIAS, &login_line),
            false => Place::embedded(&login_line),
        };
        furnish(&place.configuration(), login);
        let world = World { read_only: vec!["/".into(), place.folder().into()], ..World::default() };
        let mut command = command(&compile("host"), &place.configuration());
        world.around(&mut command);
        let mut host = Host::spawn(command);
        for _ in 0..3 {
            host.ok("initialise");
            host.ok("open");
            if login == "pin" {
                host.ok(&format!("login {PIN}"));
            }
            host.ok("use p256 1");
            assert_eq!(host.ask("generate p256 2").1, CKR_TOKEN_WRITE_PROTECTED);
            assert_eq!(host.ask("destroy 3 1").1, CKR_TOKEN_WRITE_PROTECTED);
            host.ok("use p256 1");
            // That nobody may write comes before that this session may not.
            host.ok("open reading");
            assert_eq!(host.ask("generate p256 2").1, CKR_TOKEN_WRITE_PROTECTED);
            assert_eq!(host.ask("destroy 3 1").1, CKR_TOKEN_WRITE_PROTECTED);
            host.ok("use p256 1");
            host.ok("finalise");
        }
    }
}
