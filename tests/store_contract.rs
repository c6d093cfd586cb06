//! What every store must do, asked of each store through the trait alone.

#[cfg(feature = "dynamodb")]
#[path = "store_support/dynamodb.rs"]
mod dynamodb;
#[cfg(feature = "postgres")]
#[path = "store_support/postgres.rs"]
mod postgres;
#[cfg(feature = "dynamodb")]
mod support;

use datakey::config::{LoginMode, StoreLocation};
use datakey::error::Cause;
use datakey::store::record::decode_object;
use datakey::store::{
    Attributes, Cursor, FurtherSeal, ObjectId, ObjectRecord, Page, PinRecord, Query, SealForm, SealedKey, Store,
    TokenRecord, Visibility, open,
};
use std::sync::atomic::{AtomicUsize, Ordering};

const CLASS: u64 = 0x0;
const TOKEN: u64 = 0x1;
const PRIVATE: u64 = 0x2;
const LABEL: u64 = 0x3;
const VALUE: u64 = 0x11;
const SERIAL_NUMBER: u64 = 0x82;
const KEY_TYPE: u64 = 0x100;
const SUBJECT: u64 = 0x101;
const ID: u64 = 0x102;
const SIGN: u64 = 0x108;

/// Runs `test` on a fresh store of every kind. New kinds of store are added here.
fn each_store(test: fn(&dyn Store)) {
    #[cfg(feature = "dynamodb")]
    if dynamodb::in_child() {
        return in_dynamodb(test);
    }
    let directory = tempfile::tempdir().unwrap();
    let location = StoreLocation::Sqlite(directory.path().join("made/here/token.db"));
    test(&*open(&location).unwrap());
    #[cfg(feature = "postgres")]
    in_postgres(test);
}

/// In a table of each emulator that is not there yet, and in one where another token is.
#[cfg(feature = "dynamodb")]
fn in_dynamodb(test: fn(&dyn Store)) {
    for url in dynamodb::urls() {
        let table = dynamodb::new_name();
        let store = |token: &str| open(&dynamodb::location(&url, &table, token)).unwrap();
        test(&*store("first"));
        store("first").check().unwrap();
        // Not again where it takes long.
        if url == dynamodb::urls()[0] {
            test(&*store("second"));
            store("first").check().unwrap();
            store("second").check().unwrap();
        }
    }
}

/// How much is asked of a store: one over HTTP, of a few objects at once, is not asked for thousands.
fn size(store: &dyn Store, many: u64, few: u64) -> u64 {
    if store.most_at_once() == usize::MAX { many } else { few }
}

fn insert_all(store: &dyn Store, objects: &[ObjectRecord]) {
    objects.chunks(store.most_at_once()).for_each(|some| store.insert(some).unwrap());
}

#[cfg(feature = "postgres")]
fn in_postgres(test: fn(&dyn Store)) {
    // In a database without our tables, and in one where another token is, which must not notice.
    let server = postgres::server();
    let database = server.database();
    let store = |token: &str| open(&postgres::location(server.place(&database, token))).unwrap();
    test(&*store("first"));
    let before = listed(&*store("first"));
    test(&*store("second"));
    assert_eq!(listed(&*store("first")), before);
    store("first").check().unwrap();
    store("second").check().unwrap();
}

/// All that a store shows.
fn listed(store: &dyn Store) -> (Option<TokenRecord>, u64, Vec<Option<ObjectRecord>>) {
    let objects = all(store, &query(&[]), 1000).iter().map(|id| store.get(id).unwrap()).collect();
    (store.token().unwrap(), store.change_counter().unwrap(), objects)
}

fn ulong(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn id(number: u64) -> ObjectId {
    ObjectId::from_bytes((u128::from(number) << 64 | 0xA5).to_be_bytes())
}

fn object(number: u64, attributes: &[(u64, &[u8])]) -> ObjectRecord {
    let attributes: Attributes = attributes.iter().map(|(kind, value)| (*kind, value.to_vec())).collect();
    ObjectRecord { id: id(number), version: 1, attributes, sealed: None, mac: None }
}

fn token() -> TokenRecord {
    let pin = |salt, failed_attempts| PinRecord {
        salt: [salt; 16],
        memory_kib: 19456,
        iterations: 2,
        lanes: 1,
        wrapped_token_key: vec![salt; 60],
        failed_attempts,
    };
    TokenRecord {
        version: 1,
        serial: "0123456789abcdef".into(),
        label: "wéb".into(),
        login: LoginMode::Pin,
        so_pin: Some(pin(1, 0)),
        user_pin: Some(pin(2, 3)),
        sealed_token_key: Some(sealed()),
        mac: Some([0x4e; 32]),
        created: 1_700_000_000,
        changed: 1_700_000_001,
    }
}

fn sealed() -> SealedKey {
    SealedKey {
        form: SealForm::Kms,
        blob: (0..=255).collect(),
        context_version: 1,
        user_context: vec![("app".into(), "web".into()), ("stage".into(), "ünïcode".into())],
        kms_key_arn: "arn:aws:kms:eu-central-1:111122223333:key/1234".into(),
        further: vec![FurtherSeal {
            kms_key_arn: "arn:aws:kms:eu-west-1:111122223333:key/5678".into(),
            blob: vec![9; 200],
        }],
    }
}

fn query(equal: &[(u64, &[u8])]) -> Query {
    Query { equal: equal.iter().map(|(kind, value)| (*kind, value.to_vec())).collect(), private: Visibility::All }
}

/// All that a query finds, page by page.
fn all(store: &dyn Store, query: &Query, limit: usize) -> Vec<ObjectId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let Page { ids: more, next, .. } = store.find(query, after, limit).unwrap();
        assert!(more.len() <= limit);
        ids.extend(more);
        after = next;
        if after.is_none() {
            return ids;
        }
    }
}

#[track_caller]
fn refused<T>(result: Result<T, datakey::error::Error>, cause: Cause) {
    assert_eq!(result.err().map(|e| e.cause()), Some(cause));
}

fn initialised(store: &dyn Store) {
    store.initialise(&token(), None).unwrap();
}

#[test]
fn nothing_is_there_before_the_token_is_initialised() {
    each_store(|store| {
        assert_eq!(store.token(), Ok(None));
        assert_eq!(store.find(&query(&[]), None, 10), Ok(Page::default()));
        assert_eq!(store.get(&id(1)), Ok(None));
        assert_eq!(store.change_counter(), Ok(0));
        assert!(!store.read_only());
        refused(store.insert(&[object(1, &[])]), Cause::TokenNotRecognized);
        refused(store.update(&object(1, &[])), Cause::ObjectHandleInvalid);
        refused(store.delete(&id(1), None), Cause::ObjectHandleInvalid);
        refused(store.update_token(&token()), Cause::StoreConflict);
        refused(store.initialise(&token(), Some(1)), Cause::StoreConflict);
        assert_eq!(store.token(), Ok(None));
    });
}

#[test]
fn the_token_is_compared_and_swapped() {
    each_store(|store| {
        initialised(store);
        let mut seen = store.token().unwrap().unwrap();
        assert_eq!(seen, token());
        refused(store.initialise(&token(), None), Cause::StoreConflict);
        seen.login = LoginMode::None;
        seen.so_pin = None;
        seen.sealed_token_key = None;
        assert_eq!(store.update_token(&seen), Ok(2));
        refused(store.update_token(&seen), Cause::StoreConflict);
        seen.version = 2;
        assert_eq!(store.token(), Ok(Some(seen)));
    });
}

#[test]
fn to_initialise_again_destroys_the_objects() {
    each_store(|store| {
        initialised(store);
        store.insert(&[object(1, &[(LABEL, b"a")]), object(2, &[(LABEL, b"b")])]).unwrap();
        let before = store.change_counter().unwrap();
        refused(store.initialise(&token(), Some(7)), Cause::StoreConflict);
        assert_eq!(all(store, &query(&[]), 10).len(), 2);
        store.initialise(&token(), Some(1)).unwrap();
        assert_eq!(store.token().unwrap().unwrap().version, 2);
        assert!(store.change_counter().unwrap() > before);
        assert!(all(store, &query(&[]), 10).is_empty());
        assert!(all(store, &query(&[(LABEL, b"a")]), 10).is_empty());
        assert_eq!(store.get(&id(1)), Ok(None));
        // The same ids may be used again.
        store.insert(&[object(1, &[(LABEL, b"c")])]).unwrap();
        assert_eq!(all(store, &query(&[(LABEL, b"c")]), 10), [id(1)]);
    });
}

#[test]
fn an_object_comes_back_as_it_was_put_in() {
    each_store(|store| {
        initialised(store);
        let mut key = object(1, &[(CLASS, &ulong(3)), (LABEL, b""), (u64::MAX, &[7; 5000]), (0x8000_0000, &[0xff])]);
        key.sealed = Some(sealed());
        key.version = 99;
        store.insert(std::slice::from_ref(&key)).unwrap();
        key.version = 1;
        assert_eq!(store.get(&id(1)), Ok(Some(key.clone())));
        key.attributes.insert(LABEL, b"named".to_vec());
        key.sealed = None;
        assert_eq!(store.update(&key), Ok(2));
        refused(store.update(&key), Cause::StoreConflict);
        key.version = 2;
        assert_eq!(store.get(&id(1)), Ok(Some(key.clone())));
        assert_eq!(all(store, &query(&[(LABEL, b"named")]), 10), [id(1)]);
        assert!(all(store, &query(&[(LABEL, b"")]), 10).is_empty());
        refused(store.delete(&id(1), Some(1)), Cause::StoreConflict);
        store.delete(&id(1), Some(2)).unwrap();
        refused(store.delete(&id(1), None), Cause::ObjectHandleInvalid);
        refused(store.update(&key), Cause::ObjectHandleInvalid);
        assert_eq!(store.get(&id(1)), Ok(None));
        assert!(all(store, &query(&[(LABEL, b"named")]), 10).is_empty());
    });
}

#[test]
fn of_many_objects_all_are_inserted_or_none() {
    each_store(|store| {
        initialised(store);
        store.insert(&[object(3, &[(LABEL, b"old")])]).unwrap();
        let before = store.change_counter().unwrap();
        refused(store.insert(&[object(1, &[]), object(2, &[]), object(3, &[])]), Cause::StoreConflict);
        refused(store.insert(&[object(1, &[]), object(1, &[])]), Cause::StoreConflict);
        assert_eq!(all(store, &query(&[]), 10), [id(3)]);
        assert_eq!(store.change_counter(), Ok(before));
        store.insert(&[object(2, &[]), object(1, &[])]).unwrap();
        assert_eq!(all(store, &query(&[]), 10), [id(3), id(2), id(1)]);
    });
}

#[test]
fn every_committed_change_moves_the_counter_and_nothing_else_does() {
    each_store(|store| {
        let mut last = store.change_counter().unwrap();
        let mut moved = |store: &dyn Store, expected: bool| {
            let now = store.change_counter().unwrap();
            assert_eq!(now > last, expected);
            assert!(now >= last);
            last = now;
        };
        initialised(store);
        moved(store, true);
        store.insert(&[object(1, &[])]).unwrap();
        moved(store, true);
        store.update(&object(1, &[(LABEL, b"x")])).unwrap();
        moved(store, true);
        store.update_token(&token()).unwrap();
        moved(store, true);
        refused(store.update(&object(1, &[])), Cause::StoreConflict);
        all(store, &query(&[]), 10);
        moved(store, false);
        store.delete(&id(1), None).unwrap();
        moved(store, true);
    });
}

/// Objects of mixed kinds, every seventh private.
fn crowd(count: u64) -> Vec<ObjectRecord> {
    (0..count)
        .map(|n| {
            let class = ulong(n % 4);
            let long = [n as u8; 100];
            let private = [u8::from(n % 7 == 0)];
            let label = format!("label {}", n % 50);
            let mut attributes: Vec<(u64, &[u8])> = vec![(TOKEN, &[1]), (PRIVATE, &private), (SIGN, &[1])];
            let mut more: Vec<(u64, &[u8])> = vec![(CLASS, &class), (LABEL, label.as_bytes())];
            let (key_type, serial) = (ulong(n % 3), n.to_be_bytes());
            match n % 4 {
                1 => more.extend([(VALUE, &long[..]), (SUBJECT, &long[..]), (SERIAL_NUMBER, &serial[..])]),
                0 => more.push((VALUE, b"data")),
                _ => more.push((KEY_TYPE, &key_type)),
            }
            if n % 5 != 0 {
                more.push((ID, &serial));
            }
            attributes.append(&mut more);
            object(n, &attributes)
        })
        .collect()
}

#[test]
fn a_search_finds_what_a_look_at_every_object_finds() {
    each_store(|store| {
        initialised(store);
        let objects = crowd(size(store, 700, 140));
        objects.chunks(70).for_each(|some| insert_all(store, some));
        let (class_1, class_2, key_type, long) = (ulong(1), ulong(2), ulong(1), [9_u8; 100]);
        let mut other_long = long;
        other_long[99] = 8;
        let number = 111_u64.to_be_bytes();
        let parts: [(u64, &[u8]); 14] = [
            (CLASS, &class_1),
            (CLASS, &class_2),
            (CLASS, &class_1[4..]),
            (LABEL, b"label 9"),
            (LABEL, b"label"),
            (KEY_TYPE, &key_type),
            (SUBJECT, &long),
            (SUBJECT, &other_long),
            (VALUE, &long),
            (VALUE, b"data"),
            (ID, &number),
            (TOKEN, &[1]),
            (TOKEN, &[0]),
            (0x8000_1234, b"unknown"),
        ];
        for first in 0..parts.len() {
            for second in (first..parts.len()).step_by(size(store, 1, 4) as usize) {
                for private in [Visibility::All, Visibility::PublicOnly] {
                    let mut asked = query(&[parts[first], parts[second]]);
                    asked.private = private;
                    let wanted: Vec<ObjectId> = objects
                        .iter()
                        .filter(|o| asked.equal.iter().all(|(kind, value)| o.attributes.get(kind) == Some(value)))
                        .filter(|o| private == Visibility::All || o.attributes[&PRIVATE] != [1])
                        .map(|o| o.id)
                        .collect();
                    assert_eq!(all(store, &asked, 1000), wanted, "{asked:?}");
                    let page = size(store, 3, 30) as usize;
                    assert_eq!(all(store, &asked, page), wanted, "{asked:?} in pages");
                }
            }
        }
        let public = Query { equal: vec![], private: Visibility::PublicOnly };
        assert_eq!(all(store, &public, 97).len(), objects.len() * 6 / 7);
        assert_eq!(all(store, &query(&[]), 97).len(), objects.len());
        assert!(store.find(&query(&[]), None, 0).unwrap().ids.is_empty());
    });
}

#[test]
fn what_a_search_for_few_objects_read_comes_with_it() {
    each_store(|store| {
        initialised(store);
        let labelled = |n, label: &[u8]| object(n, &[(LABEL, label), (CLASS, &ulong(3))]);
        let all: Vec<_> = (0..4).map(|n| labelled(n, b"few")).chain((10..15).map(|n| labelled(n, b"many"))).collect();
        insert_all(store, &all);
        store.update(&object(1, &[(LABEL, b"few"), (VALUE, b"new")])).unwrap();
        for asked in [query(&[(LABEL, b"few")]), query(&[(CLASS, &ulong(3)), (LABEL, b"few")])] {
            let page = store.find(&asked, None, 10).unwrap();
            let read = page.records.iter().map(|(id, raw)| decode_object(id, raw.version, &raw.record).unwrap());
            let got = page.ids.iter().map(|id| store.get(id).unwrap().unwrap());
            assert!(!page.ids.is_empty() && read.eq(got), "{asked:?}");
        }
        // Else a search through a whole token would carry all of it.
        for asked in [query(&[(LABEL, b"many")]), query(&[(CLASS, &ulong(3))]), query(&[])] {
            let page = store.find(&asked, None, 10).unwrap();
            assert!(page.ids.len() > 4 && page.records.is_empty(), "{asked:?}");
        }
    });
}

#[test]
fn a_cursor_stays_good_while_objects_come_and_go() {
    each_store(|store| {
        initialised(store);
        let labelled = |n| object(n, &[(LABEL, b"same"), (CLASS, &ulong(3))]);
        insert_all(store, &(0..10).map(labelled).collect::<Vec<_>>());
        for asked in [query(&[]), query(&[(LABEL, b"same")]), query(&[(LABEL, b"same"), (CLASS, &ulong(3))])] {
            let Page { ids, next, .. } = store.find(&asked, None, 4).unwrap();
            assert_eq!(ids, [0, 1, 2, 3].map(id));
            let cursor: Cursor = next.unwrap();
            // The object that the page ended with, one before it and one behind it.
            for gone in [3, 1, 5] {
                store.delete(&id(gone), None).unwrap();
            }
            store.update(&labelled(7)).unwrap();
            store.insert(&[labelled(100)]).unwrap();
            let rest = store.find(&asked, Some(cursor), 100).unwrap();
            assert_eq!(rest.ids, [4, 6, 7, 8, 9, 100].map(id));
            assert_eq!(rest.next, None);
            assert_eq!(store.find(&asked, Some(cursor), 2).unwrap().ids, [4, 6].map(id));
            // As it was, in the old order.
            for n in (0..10).chain([100]) {
                let _ = store.delete(&id(n), None);
            }
            insert_all(store, &(0..10).map(labelled).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_search_through_many_candidates_ends() {
    each_store(|store| {
        initialised(store);
        // Two long lists that interleave and hardly ever meet, and one attribute that no index has.
        let count = size(store, 12_000, 210);
        let objects: Vec<_> = (0..count)
            .map(|n| {
                let class = ulong(if n == count - 1 { 2 } else { 2 + n % 2 });
                let label: &[u8] = if n % 2 == 1 { b"odd" } else { b"even" };
                let sign = [u8::from(n == count - 2)];
                object(n, &[(CLASS, &class), (LABEL, label), (SIGN, &sign)])
            })
            .collect();
        insert_all(store, &objects);
        assert_eq!(all(store, &query(&[(CLASS, &ulong(2)), (LABEL, b"odd")]), 100), [id(count - 1)]);
        assert_eq!(all(store, &query(&[(SIGN, &[1])]), 100), [id(count - 2)]);
        assert_eq!(all(store, &query(&[(LABEL, b"even"), (SIGN, &[1])]), 100), [id(count - 2)]);
    });
}

#[test]
fn of_racing_changes_to_one_record_one_wins() {
    each_store(|store| {
        initialised(store);
        store.insert(&[object(1, &[])]).unwrap();
        for round in 1..=20_u64 {
            let won = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for thread in 0..6_u64 {
                    let won = &won;
                    scope.spawn(move || {
                        let mut changed = object(1, &[(LABEL, &thread.to_be_bytes())]);
                        changed.version = round;
                        match store.update(&changed) {
                            Ok(version) => {
                                assert_eq!(version, round + 1);
                                won.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(e) => assert_eq!(e.cause(), Cause::StoreConflict),
                        }
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
        }
    });
}

#[test]
fn a_record_that_no_store_could_hold_is_refused() {
    each_store(|store| {
        initialised(store);
        refused(store.insert(&[object(1, &[(VALUE, &vec![0; 17 << 20])])]), Cause::StoreFull);
        assert!(all(store, &query(&[]), 10).is_empty());
        // DynamoDB takes items of 400 KB.
        let longest = size(store, 1 << 20, 395 << 10) as usize;
        store.insert(&[object(1, &[(VALUE, &vec![7; longest])])]).unwrap();
        assert_eq!(store.get(&id(1)).unwrap().unwrap().attributes[&VALUE], vec![7; longest]);
        if longest < 1 << 20 {
            refused(store.insert(&[object(2, &[(VALUE, &vec![7; 401 << 10])])]), Cause::StoreFull);
            refused(store.update(&object(1, &[(VALUE, &vec![7; 401 << 10])])), Cause::StoreFull);
        }
    });
}

#[test]
fn a_sound_store_is_said_to_be_and_its_objects_are_counted() {
    each_store(|store| {
        assert_eq!(store.check().unwrap(), 0, "where nothing was ever written");
        store.initialise(&token(), None).unwrap();
        assert_eq!(store.check().unwrap(), 0);
        store.insert(&[object(1, &[(LABEL, b"a")]), object(2, &[(LABEL, b"b")])]).unwrap();
        assert_eq!(store.check().unwrap(), 2);
        store.delete(&id(1), None).unwrap();
        assert_eq!(store.check().unwrap(), 1);
    });
}
