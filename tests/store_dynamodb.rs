//! Tokens in DynamoDB: many that write, requests that are cut off, limits, and what it refuses.
#![cfg(feature = "dynamodb")]

#[path = "store_support/cutter.rs"]
mod cutter;
#[path = "store_support/dynamodb.rs"]
mod dynamodb;
mod store_support;
mod support;
mod tool;

use cutter::{Cut, Cutter};

use datakey::config::StoreLocation;
use datakey::error::{Cause, Error};
use datakey::store::{Query, Store, copy, open};
use dynamodb::{in_child, location, new_name, urls};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use store_support::{ID, LABEL, all, by, pair, token};

const TABLE: &str = "datakey-test";

fn store_at(url: &str, name: &str) -> Box<dyn Store> {
    open(&location(url, TABLE, name)).unwrap()
}

/// A token of its own in each emulator.
fn each(test: impl Fn(&str, &str, &dyn Store)) {
    for url in urls() {
        let name = new_name();
        let store = store_at(&url, &name);
        store.initialise(&token(), None).unwrap();
        test(&url, &name, &*store);
    }
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, cause: Cause) -> String {
    let error = result.err().expect("it is refused");
    assert_eq!(error.cause(), cause, "{error}");
    error.to_string()
}

#[test]
fn writers_that_do_not_know_of_each_other_lose_nothing() {
    if !in_child() {
        return;
    }
    const WRITERS: u32 = 3;
    const PAIRS: u32 = 8;
    each(|url, name, store| {
        // moto answers two transactions at once with status 500, and may do half of each.
        if url != urls()[0] {
            return;
        }
        // Each with a client of its own, as in a process of its own.
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    let store = store_at(url, name);
                    for number in 0..PAIRS {
                        store.insert(&pair(writer, number)).unwrap();
                        store.delete(&pair(writer, number)[1].id, Some(1)).unwrap();
                        loop {
                            let mut token = store.token().unwrap().unwrap();
                            token.changed += 1;
                            match store.update_token(&token) {
                                Ok(_) => break,
                                Err(e) => assert_eq!(e.cause(), Cause::StoreConflict),
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(all(store, &Query::default()).len() as u32, WRITERS * PAIRS);
        let token = store.token().unwrap().unwrap();
        assert_eq!(token.changed, u64::from(WRITERS * PAIRS));
        assert_eq!(store.change_counter().unwrap(), 1 + u64::from(WRITERS * PAIRS * 4));
        assert_eq!(store.check().unwrap(), u64::from(WRITERS * PAIRS));
    });
}

#[test]
fn a_lost_answer_to_a_change_is_looked_for() {
    if !in_child() {
        return;
    }
    each(|url, name, direct| {
        let cutter = Cutter::to(url.rsplit(':').next().unwrap().parse().unwrap(), "TransactWriteItems");
        let store = store_at(&format!("http://127.0.0.1:{}", cutter.port()), name);
        assert!(store.token().unwrap().is_some());
        for (number, cut) in (0..).zip([Cut::Before, Cut::After, Cut::Late]) {
            let (before, cuts) = (direct.change_counter().unwrap(), cutter.cuts());
            let pair = pair(1, number);
            cutter.next(cut);
            store.insert(&pair).unwrap();
            assert_eq!(cutter.cuts(), cuts + 1, "{cut:?}");
            assert_eq!(all(direct, &by(ID, &pair[0].attributes[&ID])), [pair[0].id, pair[1].id], "{cut:?}");
            cutter.next(cut);
            assert_eq!(store.update(&pair[0]).unwrap(), 2, "{cut:?}");
            let seen = direct.token().unwrap().unwrap();
            cutter.next(cut);
            assert_eq!(store.update_token(&seen).unwrap(), seen.version + 1, "{cut:?}");
            cutter.next(cut);
            store.delete(&pair[1].id, Some(1)).unwrap();
            assert_eq!(cutter.cuts(), cuts + 4, "{cut:?}");
            // What arrives late finds another counter and does nothing.
            std::thread::sleep(Duration::from_millis(if cut == Cut::Late { 1500 } else { 0 }));
            assert_eq!(direct.change_counter().unwrap(), before + 5, "{cut:?}");
            assert_eq!(direct.get(&pair[0].id).unwrap().unwrap().version, 2, "{cut:?}");
            assert_eq!(direct.get(&pair[1].id), Ok(None));
        }
        direct.check().unwrap();
    });
}

#[test]
fn what_a_token_held_before_is_gone_and_cleared_away() {
    if !in_child() {
        return;
    }
    each(|url, name, store| {
        (0..4).for_each(|number| store.insert(&pair(0, number)).unwrap());
        let neighbour = store_at(url, &new_name());
        neighbour.initialise(&token(), None).unwrap();
        neighbour.insert(&pair(0, 0)).unwrap();
        let other = store_at(url, name);
        assert_eq!(all(&*other, &by(LABEL, b"writer 0")).len(), 8);
        store.initialise(&token(), Some(1)).unwrap();
        assert!(all(&*other, &Query::default()).is_empty());
        assert_eq!(other.get(&pair(0, 0)[0].id), Ok(None));
        other.insert(&pair(0, 0)).unwrap();
        assert_eq!(store.check(), Ok(2));
        assert_eq!(neighbour.check(), Ok(2));
    });
}

#[test]
fn what_does_not_fit_is_said() {
    if !in_child() {
        return;
    }
    each(|_, _, store| {
        let most = store.most_at_once();
        let many: Vec<_> = (0..).flat_map(|number| pair(0, number)).take(most + 8).collect();
        let said = refused(store.insert(&many), Cause::StoreFull);
        assert!(said.contains("objects at once"), "{said}");
        assert!(all(store, &Query::default()).is_empty());
        store.insert(&many[..most]).unwrap();
        let mut long = pair(1, 1)[0].clone();
        long.attributes.insert(0x11, vec![7; 500 << 10]);
        let said = refused(store.insert(&[long]), Cause::StoreFull);
        assert!(said.contains("400 KB"), "{said}");
    });
}

#[test]
fn a_token_goes_there_and_back_byte_for_byte() {
    if !in_child() {
        return;
    }
    let (_directory, path) = store_support::initialised();
    let file = store_support::store(&path);
    (0..30).for_each(|number| file.insert(&pair(0, number)).unwrap());
    file.update(&pair(0, 3)[1]).unwrap();
    for url in urls() {
        let table = store_at(&url, &new_name());
        assert_eq!(copy::copy(&*file, &*table).unwrap().objects, 60);
        assert_eq!(copy::copy(&*file, &*table).unwrap().present, 60);
        let folder = tempfile::tempdir().unwrap();
        let back = folder.path().join("back.db");
        table.back_up(&back).unwrap();
        let back = store_support::store(&back);
        assert_eq!(back.token(), file.token());
        assert_eq!(all(&*back, &Query::default()), all(&*file, &Query::default()));
        assert_eq!(back.get(&pair(0, 3)[1].id), file.get(&pair(0, 3)[1].id));
    }
}

#[test]
fn a_child_forgets_its_parents_connections() {
    if !in_child() {
        return;
    }
    each(|_, _, store| {
        for round in 0..2 {
            // SAFETY: the child uses what is being tested, the allocator, and no lock of another thread.
            let pid = unsafe { libc::fork() };
            assert!(pid >= 0);
            if pid == 0 {
                let refused = store.token().is_err_and(|error| error.cause() == Cause::NotInitialized);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(i32::from(!refused)) };
            }
            let mut status = 0;
            // SAFETY: `status` is ours, `pid` a child of ours.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
            store.insert(&pair(1, round)).unwrap();
        }
    });
}

/// A store that does not wait for long.
fn soon(url: &str) -> Box<dyn Store> {
    let StoreLocation::DynamoDb(mut place) = location(url, TABLE, "t") else { unreachable!("it is in a table") };
    place.access.timeouts.attempt = Duration::from_millis(500);
    place.access.timeouts.total = Duration::from_secs(2);
    open(&StoreLocation::DynamoDb(place)).unwrap()
}

/// A store whose every request gets this answer.
fn answered(status: u16, body: &str) -> Box<dyn Store> {
    soon(&tool::answering(status, "content-type: application/x-amz-json-1.0\r\n", body))
}

#[test]
fn what_dynamodb_refuses_has_its_cause() {
    if !in_child() {
        return;
    }
    let said = |code: &str| format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"why\"}}");
    for (status, code, cause) in [
        (400, "AccessDeniedException", Cause::StoreDenied),
        (400, "ProvisionedThroughputExceededException", Cause::StoreThrottled),
        (400, "ExpiredTokenException", Cause::CredentialsRejected),
        (400, "ValidationException", Cause::StoreSetup),
        (500, "InternalServerError", Cause::StoreUnreachable),
    ] {
        let error = refused(answered(status, &said(code)).token(), cause);
        assert!(error.contains(code) && error.contains("dynamodb:GetItem"), "{error}");
    }
    let missing = answered(400, &said("ResourceNotFoundException"));
    assert_eq!(missing.token(), Ok(None));
    assert_eq!(missing.find(&Query::default(), None, 10).unwrap().ids, []);
    refused(missing.insert(&pair(0, 0)), Cause::TokenNotRecognized);
    refused(answered(200, "<html>").token(), Cause::StoreUnreachable);
    refused(soon(&tool::nobody()).token(), Cause::StoreUnreachable);
}

/// How long a call that is refused at once takes at most, on a busy machine. One that waits takes two seconds.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn a_server_that_does_not_answer_is_asked_by_one_caller_at_a_time() {
    if !in_child() {
        return;
    }
    let body = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException\",\"message\":\"why\"}";
    let (url, silent) = tool::answering_if_not_silent(400, "content-type: application/x-amz-json-1.0\r\n", body);
    let store = soon(&url);
    assert_eq!(store.token(), Ok(None));
    silent.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let error = refused(store.token(), Cause::StoreUnreachable);
        assert!(error.contains("no answer within"), "{error}");
    }
    let (begun, waited, spared) = (Instant::now(), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while begun.elapsed() < Duration::from_secs(3) {
                    let asked = Instant::now();
                    let error = refused(store.token(), Cause::StoreUnreachable);
                    if error.contains("not asked, tried again in") {
                        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
                        spared.fetch_add(1, Ordering::Relaxed);
                    } else {
                        waited.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
    // One after a second, and perhaps one two seconds after that has ended.
    let (waited, spared) = (waited.into_inner(), spared.into_inner());
    assert!((1..=2).contains(&waited) && spared > 100, "{waited} waited, {spared} did not");
    // It is noticed that it is back.
    silent.store(false, Ordering::Relaxed);
    let back = Instant::now();
    while store.token().is_err() {
        assert!(back.elapsed() < Duration::from_secs(8), "it is not noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(store.token(), Ok(None));
}
