//! Tokens in PostgreSQL among processes: many that write, some that are killed, servers that crash, connections that
//! are cut in the middle of a commit, forks, and servers that are not who they should be.

#[path = "store_support/cutter.rs"]
mod cutter;
#[path = "store_support/measure.rs"]
mod measure;
#[path = "store_support/postgres.rs"]
mod postgres;
#[path = "store_postgres/servers.rs"]
mod servers;
mod store_support;

use cutter::{Cut, Cutter};
use datakey::config::{KmsBackend, LoginMode, PostgresConfig, PostgresHost, TokenConfig};
use datakey::error::Cause;
use datakey::net::HostRules;
use datakey::store::{Query, Store, copy, open};
use datakey::token::{Token, User};
use postgres::{PASSWORD, Server, location, server};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store_support::*;

fn main() {
    store_support::main(
        &[
            ("eight_processes_lose_nothing", eight_processes_lose_nothing),
            ("one_of_many_creators_wins", one_of_many_creators_wins),
            ("killed_at_any_moment_no_pair_is_halved", killed_at_any_moment_no_pair_is_halved),
            ("a_server_that_crashes_loses_nothing_that_was_acknowledged", a_server_that_crashes),
            ("a_lost_answer_to_a_commit_is_looked_for", a_lost_answer_to_a_commit_is_looked_for),
            ("what_cannot_be_found_out_is_said", what_cannot_be_found_out_is_said),
            ("who_does_not_answer_is_asked_by_one_caller_at_a_time", servers::who_does_not_answer_is_asked_by_one),
            ("a_child_forgets_its_parents_connections", a_child_forgets_its_parents_connections),
            ("no_thread_stays_behind_a_call", no_thread_stays_behind_a_call),
            ("wrong_pins_are_counted_across_processes", wrong_pins_are_counted_across_processes),
            ("who_asks_is_known_by_password", servers::who_asks_is_known_by_password),
            ("who_answers_is_known_by_certificate", servers::who_answers_is_known_by_certificate),
            ("servers_are_tried_in_turn", servers::servers_are_tried_in_turn),
            ("what_is_missing_is_named", what_is_missing_is_named),
            ("tampered_tables_show_nothing_that_records_deny", tampered_tables),
            ("a_backup_is_the_token_and_goes_back_into_a_database", a_backup_is_the_token),
            ("a_copy_that_was_broken_off_is_gone_on_with", a_copy_that_was_broken_off_is_gone_on_with),
        ],
        &[
            ("write", write),
            ("create", create),
            ("insert-forever", insert_forever),
            ("try-pins", try_pins),
            ("copy", copy_from_file),
            ("measure", measure),
        ],
    );
}

/// A store that a role is told of by its arguments.
fn store_of(folder: &Path, arguments: &[String]) -> Box<dyn Store> {
    open(&location(postgres::place(folder, arguments[0].parse().unwrap(), &arguments[1], "t"))).unwrap()
}

fn start_on(role: &str, server: &Server, database: &str, more: &[&str]) -> Child {
    let port = server.port.to_string();
    start(role, &server.folder, &[&[port.as_str(), database], more].concat())
}

fn store_in(server: &Server, database: &str) -> Box<dyn Store> {
    open(&location(server.place(database, "t"))).unwrap()
}

/// A token in a database of its own.
fn initialised_in(server: &Server) -> (String, Box<dyn Store>) {
    let database = server.database();
    let store = store_in(server, &database);
    store.initialise(&token(), None).unwrap();
    (database, store)
}

#[track_caller]
fn refused<T>(result: Result<T, datakey::error::Error>, cause: Cause) -> String {
    let error = result.err().expect("it is refused");
    assert_eq!(error.cause(), cause, "{error}");
    let said = error.to_string();
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

const WRITERS: u32 = 8;
const PAIRS: u32 = 40;

fn eight_processes_lose_nothing() {
    let (database, store) = initialised_in(server());
    let children: Vec<_> = (0..WRITERS).map(|n| start_on("write", server(), &database, &[&n.to_string()])).collect();
    children.into_iter().for_each(succeeds);
    assert_eq!(all(&*store, &Query::default()).len() as u32, WRITERS * PAIRS);
    // Each wrote the token PAIRS times, by compare-and-swap.
    let token = store.token().unwrap().unwrap();
    assert_eq!(token.changed, u64::from(WRITERS * PAIRS));
    assert_eq!(token.version, u64::from(WRITERS * PAIRS) + 1);
    assert_eq!(store.check().unwrap(), u64::from(WRITERS * PAIRS));
    assert_eq!(store.change_counter().unwrap(), 1 + u64::from(WRITERS * PAIRS * 4));
}

fn write(folder: &Path, arguments: &[String]) {
    let (store, writer) = (store_of(folder, arguments), arguments[2].parse().unwrap());
    write_pairs(&*store, writer, PAIRS);
}

fn one_of_many_creators_wins() {
    for _ in 0..5 {
        let database = server().database();
        let children: Vec<_> = (0..8).map(|_| start_on("create", server(), &database, &[])).collect();
        let mut codes: Vec<_> = children.into_iter().filter_map(|mut child| child.wait().unwrap().code()).collect();
        codes.sort();
        assert_eq!(codes, [10, 11, 11, 11, 11, 11, 11, 11]);
        let store = store_in(server(), &database);
        assert!(store.token().unwrap().is_some());
        assert_eq!(store.change_counter(), Ok(1));
    }
}

fn create(folder: &Path, arguments: &[String]) {
    let store = store_of(folder, arguments);
    create_and_exit(&*store);
}

/// What a writer says of the pairs that were acknowledged.
fn acknowledged(output: BufReader<impl std::io::Read>) -> u32 {
    output.lines().map_while(Result::ok).filter(|line| !line.is_empty()).count() as u32
}

/// Starts a writer that inserts until it is killed.
fn writer(server: &Server, database: &str, number: u32) -> (Child, BufReader<std::process::ChildStdout>) {
    let port = server.port.to_string();
    let mut command = command("insert-forever", &server.folder, &[&port, database, &number.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    (child, output)
}

fn killed_at_any_moment_no_pair_is_halved() {
    const KILLS: u32 = 60;
    let (database, reader) = initialised_in(server());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let ids = all(&*reader, &Query::default());
                    assert_eq!(ids.len() % 2, 0, "half a pair was seen");
                    assert!(ids.chunks(2).all(|two| two[0].as_bytes()[..8] == two[1].as_bytes()[..8]));
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        for number in 0..KILLS {
            let (mut child, output) = writer(server(), &database, number);
            std::thread::sleep(Duration::from_micros(u64::from(number) * 7919 % 12_000));
            child.kill().unwrap();
            child.wait().unwrap();
            let acknowledged = acknowledged(output) + 1;
            // What was sent before the end is done or not, at the latest when the server has noticed it.
            let found = all(&*reader, &by(LABEL, format!("writer {number}").as_bytes())).len() as u32;
            assert!(found == 2 * acknowledged || found == 2 * acknowledged + 2, "{found} of {acknowledged} pairs");
            for object in (0..acknowledged).flat_map(|n| pair(number, n)) {
                assert_eq!(reader.get(&object.id).unwrap().unwrap().attributes, object.attributes);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    reader.check().unwrap();
}

/// Says the number of each pair in one write, after it was acknowledged.
fn insert_forever(folder: &Path, arguments: &[String]) {
    let (store, writer) = (store_of(folder, arguments), arguments[2].parse().unwrap());
    for number in 0.. {
        store.insert(&pair(writer, number)).unwrap();
        let line = format!("{number}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

fn a_server_that_crashes() {
    let mut server = Server::start(false);
    let (database, store) = initialised_in(&server);
    for round in 0..4 {
        let (mut child, output) = writer(&server, &database, round);
        std::thread::sleep(Duration::from_millis(u64::from(round) * 37 + 50));
        // The writer goes on when it is back, and says the number of no pair twice or in vain.
        server.crash();
        std::thread::sleep(Duration::from_millis(1500));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = acknowledged(output) + 1;
        let found = all(&*store, &by(LABEL, format!("writer {round}").as_bytes())).len() as u32;
        assert!(found == 2 * acknowledged || found == 2 * acknowledged + 2, "{found} of {acknowledged} pairs");
    }
    store.check().unwrap();
    server.stop();
    refused(store.get(&pair(0, 0)[0].id), Cause::StoreUnreachable);
    server.start_again();
    assert!(store.get(&pair(0, 0)[0].id).unwrap().is_some());
}

/// The whole statement: each transaction begins with `READ COMMITTED`.
const COMMIT: &str = "COMMIT\0";

/// The same database over a listener, with the password that the server asks for there.
fn over(cutter: &Cutter, database: &str) -> PostgresConfig {
    let mut config = server().place(database, "t");
    config.hosts = vec![(PostgresHost::Name("127.0.0.1".into()), cutter.port())];
    config.password = Some(PASSWORD.to_owned().into());
    config
}

fn a_lost_answer_to_a_commit_is_looked_for() {
    let (database, direct) = initialised_in(server());
    let cutter = Cutter::to(server().port, COMMIT);
    let store = open(&location(over(&cutter, &database))).unwrap();
    assert!(store.token().unwrap().is_some());
    for (number, cut) in (0..).zip([Cut::Before, Cut::After, Cut::Late, Cut::Before, Cut::Late, Cut::After]) {
        let (before, cuts) = (direct.change_counter().unwrap(), cutter.cuts());
        let pair = pair(1, number);
        cutter.next(cut);
        store.insert(&pair).unwrap();
        assert_eq!(cutter.cuts(), cuts + 1, "{cut:?}");
        assert_eq!(all(&*direct, &by(ID, &pair[0].attributes[&ID])), [pair[0].id, pair[1].id], "{cut:?}");
        assert_eq!(direct.change_counter().unwrap(), before + 2, "{cut:?}: inserted twice");

        cutter.next(cut);
        assert_eq!(store.update(&pair[0]).unwrap(), 2, "{cut:?}");
        assert_eq!(direct.get(&pair[0].id).unwrap().unwrap().version, 2, "{cut:?}");

        let seen = direct.token().unwrap().unwrap();
        cutter.next(cut);
        assert_eq!(store.update_token(&seen).unwrap(), seen.version + 1, "{cut:?}");
        assert_eq!(direct.token().unwrap().unwrap().version, seen.version + 1);

        cutter.next(cut);
        store.delete(&pair[1].id, Some(1)).unwrap();
        assert_eq!(direct.get(&pair[1].id), Ok(None));
        assert_eq!(direct.change_counter().unwrap(), before + 5, "{cut:?}");
        assert_eq!(cutter.cuts(), cuts + 4, "{cut:?}");
    }
    // Another took the place of what was not done: that is a conflict, not a success.
    let mut ours = pair(1, 0)[0].clone();
    ours.version = 2;
    cutter.next(Cut::Before);
    direct.update(&ours).unwrap();
    refused(store.update(&ours), Cause::StoreConflict);
    direct.check().unwrap();
}

fn what_cannot_be_found_out_is_said() {
    let mut server = Server::start(false);
    let (database, direct) = initialised_in(&server);
    let cutter = Cutter::to(server.port, COMMIT);
    let mut config = server.place(&database, "t");
    config.hosts = vec![(PostgresHost::Name("127.0.0.1".into()), cutter.port())];
    config.password = Some(PASSWORD.to_owned().into());
    let store = open(&location(config)).unwrap();
    assert!(store.token().unwrap().is_some());
    // Its commit is on its way when the server stops to answer, for longer than the call has time.
    cutter.next(Cut::Late);
    std::thread::scope(|scope| {
        let inserting = scope.spawn(|| store.insert(&pair(0, 0)));
        while cutter.cuts() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.pause(true);
        refused(inserting.join().unwrap(), Cause::StoreInDoubt);
    });
    server.pause(false);
    assert_eq!(direct.check().unwrap() % 2, 0);
}

fn a_child_forgets_its_parents_connections() {
    let (_, store) = initialised_in(server());
    store.insert(&pair(0, 0)).unwrap();
    for round in 0..3 {
        // SAFETY: the child uses what is being tested, the allocator, and no lock of another thread.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let refused = store.token().is_err_and(|error| error.cause() == Cause::NotInitialized)
                && store.insert(&pair(9, 9)).is_err_and(|error| error.cause() == Cause::NotInitialized);
            if round == 1 {
                drop(store);
            }
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!refused)) };
        }
        let mut status = 0;
        // SAFETY: `status` is ours, `pid` a child of ours.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
        // The parent's connection is as it was.
        store.insert(&pair(1, round)).unwrap();
        assert_eq!(store.get(&pair(1, round)[0].id).unwrap().unwrap(), pair(1, round)[0]);
    }
}

fn no_thread_stays_behind_a_call() {
    let (database, _) = initialised_in(server());
    let mut config = server().place(&database, "t");
    config.hosts = vec![(PostgresHost::Name("localhost".into()), server().port)];
    config.password = Some(PASSWORD.to_owned().into());
    let store = open(&location(config)).unwrap();
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    store.insert(&pair(0, 0)).unwrap();
    assert_eq!(threads(), before);
    drop(store);
    assert_eq!(threads(), before);
}

/// A token with PINs in a database, its keys sealed by an embedded KMS.
fn token_with_pins(folder: &Path, port: u16, database: &str, keys: &Path) -> Token {
    let mut config = TokenConfig {
        label: "t".into(),
        kms: datakey::config::KmsConfig { backend: KmsBackend::Embedded(keys.to_owned()), ..Default::default() },
        store: location(postgres::place(folder, port, database, "t")),
        login: LoginMode::Pin,
        generate: Default::default(),
        cache: Default::default(),
        max_pin_attempts: 10,
        pin_hash: Default::default(),
    };
    config.pin_hash.memory_kib = 1024;
    config.pin_hash.passes = 1;
    Token::new(config, HostRules { threads_allowed: true, secure_mode: false })
}

fn wrong_pins_are_counted_across_processes() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.json");
    let database = server().database();
    let token = token_with_pins(&server().folder, server().port, &database, &keys);
    token.initialise(b"so-pin", "t").unwrap();
    token.check_pin(User::So, b"so-pin").unwrap();
    // Four processes, five wrong tries each, at once. Who is overtaken by the lock is not told whether the PIN was right.
    let keys = keys.to_str().unwrap();
    let children: Vec<_> = (0..4).map(|_| start_on("try-pins", server(), &database, &[keys])).collect();
    let told = children.into_iter().filter_map(|mut child| child.wait().unwrap().code());
    assert_eq!(told.sum::<i32>(), 10);
    refused(token.check_pin(User::So, b"so-pin"), Cause::PinLocked);
    let record = token.record().unwrap().unwrap();
    assert!(token.pin_flags(&record, User::So).locked);
    assert_eq!(record.so_pin.as_ref().unwrap().failed_attempts, 10);
}

fn try_pins(folder: &Path, arguments: &[String]) {
    let token = token_with_pins(folder, arguments[0].parse().unwrap(), &arguments[1], Path::new(&arguments[2]));
    let tries = (0..5).map(|_| token.check_pin(User::So, b"wrong!").err().unwrap().cause());
    let told =
        tries.filter(|cause| *cause != Cause::PinLocked).inspect(|cause| assert_eq!(*cause, Cause::PinIncorrect));
    std::process::exit(told.count() as i32);
}

fn what_is_missing_is_named() {
    let store = store_in(server(), "nosuchdatabase");
    let said = refused(store.token(), Cause::StoreUnavailable);
    assert!(said.contains("nosuchdatabase") && said.contains("3D000"), "{said}");
    let (database, store) = initialised_in(server());
    server().sql(&database, "UPDATE datakey_store SET format = 2");
    refused(store.token(), Cause::StoreNewer);
    refused(store.get(&pair(0, 0)[0].id).and_then(|_| store.insert(&pair(0, 0))), Cause::StoreNewer);
    refused(store.find(&Query::default(), None, 1), Cause::StoreNewer);
    refused(store.initialise(&token(), Some(1)), Cause::StoreNewer);
    refused(store.create(), Cause::StoreNewer);
    server().sql(&database, "UPDATE datakey_store SET format = 1");
    store.create().unwrap();
    server().sql(&database, "DROP TABLE datakey_lookup; CREATE TABLE datakey_lookup (token TEXT)");
    refused(store.insert(&pair(0, 0)), Cause::StoreCorrupt);
}

fn tampered_tables() {
    let (database, store) = initialised_in(server());
    let [first, second] = pair(0, 0);
    store.insert(&[first.clone(), second.clone()]).unwrap();
    let sql = |sql: &str| server().sql(&database, sql);
    sql("UPDATE datakey_lookup SET value = 'other' WHERE type = 3");
    assert!(all(&*store, &by(LABEL, b"other")).is_empty());
    refused(store.check(), Cause::StoreCorrupt);
    // Records in each other's place.
    sql("UPDATE datakey_object o SET record = (SELECT record FROM datakey_object p WHERE p.seq <> o.seq)");
    refused(store.get(&first.id), Cause::RecordCorrupt);
    sql("UPDATE datakey_object SET record = 'nothing of ours'");
    refused(store.get(&first.id), Cause::RecordCorrupt);
    refused(store.check(), Cause::StoreCorrupt);
    // They cannot be excluded from a search, and can be deleted and written.
    assert_eq!(all(&*store, &by(ID, &first.attributes[&ID])), [first.id, second.id]);
    store.delete(&first.id, Some(1)).unwrap();
    store.update(&second).unwrap();
    assert_eq!(all(&*store, &by(ID, &second.attributes[&ID])), [second.id]);
    assert_eq!(store.check(), Ok(1));
}

fn a_backup_is_the_token() {
    let (_, store) = initialised_in(server());
    for number in 0..300 {
        store.insert(&pair(0, number)).unwrap();
    }
    store.update(&pair(0, 7)[0]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup.db");
    store.back_up(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    refused(store.back_up(&file), Cause::StoreUnavailable);
    let copy = store_support::store(&file);
    assert_eq!(copy.token(), store.token());
    assert_eq!(all(&*copy, &Query::default()), all(&*store, &Query::default()));
    assert_eq!(copy.get(&pair(0, 7)[0].id).unwrap().unwrap().version, 2);

    // Also while others write: it is one moment of the store.
    let (done, again) = (AtomicBool::new(false), directory.path().join("again.db"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                store.insert(&pair(2, number)).unwrap();
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        store.back_up(&again).unwrap();
        done.store(true, Ordering::Relaxed);
    });
    let moment = all(&*store_support::store(&again), &Query::default());
    assert!(moment.len() > 600 && moment.len().is_multiple_of(2));
    assert_eq!(moment, all(&*store, &Query::default())[..moment.len()]);

    let back = store_in(server(), &server().database());
    assert_eq!(back.restore(&file, &directory.path().join("web")), Ok(None));
    assert_eq!(back.token(), copy.token());
    assert_eq!(all(&*back, &Query::default()), all(&*copy, &Query::default()));
    assert_eq!(back.get(&pair(0, 7)[0].id), store.get(&pair(0, 7)[0].id));
    assert_eq!(back.check(), Ok(600));
}

fn a_copy_that_was_broken_off_is_gone_on_with() {
    let (_directory, path) = initialised();
    let source = store(&path);
    for first in (0..6000).step_by(1000) {
        source.insert(&(first..first + 1000).flat_map(|number| pair(0, number)).collect::<Vec<_>>()).unwrap();
    }
    let database = server().database();
    let file = path.to_str().unwrap();
    let mut unfinished = 0;
    for kill in 1..=5 {
        let mut child = start_on("copy", server(), &database, &[file]);
        std::thread::sleep(Duration::from_millis(60 * kill));
        unfinished += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(unfinished > 1, "the copy was over before it was broken off");
    let target = store_in(server(), &database);
    let copied = copy::copy(&*source, &*target).unwrap();
    assert_eq!(copied.objects, 12_000);
    assert!(copied.present > 0);
    assert_eq!(target.check(), Ok(12_000));
    assert_eq!(all(&*target, &Query::default()), all(&*source, &Query::default()));
    assert_eq!(copy::copy(&*source, &*target).unwrap().present, 12_000);
}

fn copy_from_file(folder: &Path, arguments: &[String]) {
    copy::copy(&*store(Path::new(&arguments[2])), &*store_of(folder, arguments)).unwrap();
}

/// `role:measure FOLDER PORT DATABASE OBJECTS`: how long things take with so many objects. Not a test.
fn measure(folder: &Path, arguments: &[String]) {
    let server = (folder == Path::new("own")).then(|| Server::start(false));
    let (store, count): (Box<dyn Store>, u32) = match &server {
        Some(server) => (store_in(server, &server.database()), arguments[2].parse().unwrap()),
        None => (store_of(folder, arguments), arguments[2].parse().unwrap()),
    };
    measure::measure(&*store, count);
}
