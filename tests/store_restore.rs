//! A copy of a token put in the place of the one that is in a database: at one moment, with what was there kept, and
//! nothing lost that others wrote meanwhile, also where it is killed.
#![cfg(all(feature = "dynamodb", feature = "postgres"))]

#[path = "store_support/dynamodb.rs"]
mod dynamodb;
#[path = "store_support/postgres.rs"]
mod postgres;
mod store_support;
mod support;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use datakey::config::{DynamoDbConfig, StoreLocation};
use datakey::error::{Cause, Error};
use datakey::store::{ObjectId, Query, Store, open};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store_support::{all, by, pair, store, token};

const TABLE: &str = "datakey-restore";

/// A token's place, as a child process is told of it.
enum Place {
    Postgres(String),
    DynamoDb { url: String, name: String },
}

impl Place {
    fn location(&self) -> StoreLocation {
        match self {
            Self::Postgres(database) => postgres::location(postgres::server().place(database, "t")),
            Self::DynamoDb { url, name } => dynamodb::location(url, TABLE, name),
        }
    }

    fn open(&self) -> Box<dyn Store> {
        open(&self.location()).unwrap()
    }

    /// Whether it stands two transactions at once.
    fn takes_many(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::DynamoDb { url, .. } => *url == dynamodb::urls()[0],
        }
    }

    /// This test again, in a process that restores `from` there and ends.
    fn restore_elsewhere(&self, test: &str, from: &Path, beside: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let place = match self {
            Self::Postgres(database) => {
                let server = postgres::server();
                format!("{} {} {database}", server.folder.display(), server.port)
            }
            Self::DynamoDb { url, name } => format!("{url} {name}"),
        };
        command.args(["--exact", test]).env(PLACE, place).env(FROM, from).env(BESIDE, beside);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

const PLACE: &str = "DATAKEY_TEST_PLACE";
const FROM: &str = "DATAKEY_TEST_FROM";
const BESIDE: &str = "DATAKEY_TEST_BESIDE";

/// In a process of [`Place::restore_elsewhere`], does that. Whether this was one.
fn restores() -> bool {
    let Ok(place) = std::env::var(PLACE) else { return false };
    let words: Vec<_> = place.split(' ').collect();
    let location = match words[..] {
        [folder, port, database] => {
            postgres::location(postgres::place(Path::new(folder), port.parse().unwrap(), database, "t"))
        }
        _ => dynamodb::location(words[0], TABLE, words[1]),
    };
    let path = |name| PathBuf::from(std::env::var_os(name).unwrap());
    open(&location).unwrap().restore(&path(FROM), &path(BESIDE)).unwrap();
    true
}

/// In a database of its own, and in a table of each emulator; with a folder.
fn each(test: impl Fn(&Place, &Path)) {
    let mut places = vec![Place::Postgres(postgres::server().database())];
    places.extend(dynamodb::urls().into_iter().map(|url| Place::DynamoDb { url, name: dynamodb::new_name() }));
    for place in places {
        test(&place, tempfile::tempdir().unwrap().path());
    }
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, cause: Cause) {
    assert_eq!(result.err().map(|error| error.cause()), Some(cause));
}

fn ids(store: &dyn Store) -> BTreeSet<ObjectId> {
    all(store, &Query::default()).into_iter().collect()
}

/// All items of a token in a table, but for the changes that are remembered.
fn items(config: &DynamoDbConfig) -> usize {
    let client = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.access.region.clone().unwrap()))
        .endpoint_url(config.endpoint_url.clone().unwrap())
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .build();
    let client = aws_sdk_dynamodb::Client::from_conf(client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut count, mut from) = (0, None);
        loop {
            let page = client.scan().table_name(&config.table).set_exclusive_start_key(from).send().await.unwrap();
            let keys = page.items().iter().map(|item| item["pk"].as_s().unwrap());
            let mine = keys.filter(|key| key.ends_with(&format!("#{}", config.token)) && !key.starts_with("change#"));
            count += mine.count();
            from = page.last_evaluated_key;
            if from.as_ref().is_none_or(|key| key.is_empty()) {
                return count;
            }
        }
    })
}

#[test]
fn what_is_there_is_replaced_and_kept() {
    if restores() || !dynamodb::in_child() {
        return;
    }
    each(|place, folder| {
        let open = place.open();
        open.initialise(&token(), None).unwrap();
        (0..30).for_each(|number| open.insert(&pair(0, number)).unwrap());
        let [object, gone] = pair(0, 0);
        let (copy, beside) = (folder.join("copy.db"), folder.join("web"));
        open.back_up(&copy).unwrap();
        let held = ids(&*open);
        open.delete(&gone.id, None).unwrap();
        open.insert(&pair(1, 0)).unwrap();
        for _ in 0..3 {
            let seen = open.get(&object.id).unwrap().unwrap();
            open.update(&seen).unwrap();
        }
        let (seen, seen_token) = (open.get(&object.id).unwrap().unwrap(), open.token().unwrap().unwrap());
        let (before, counter) = (ids(&*open), open.change_counter().unwrap());

        let other = place.open();
        assert_eq!(open.restore(&copy, &beside), Ok(Some(folder.join("web.before-restore"))));
        assert_eq!((ids(&*other), other.check()), (held.clone(), Ok(60)));
        assert_eq!(ids(&*store(&folder.join("web.before-restore"))), before);
        // A change that was begun before does not fit.
        assert!(other.change_counter().unwrap() > counter);
        refused(other.update(&seen), Cause::StoreConflict);
        refused(other.update_token(&seen_token), Cause::StoreConflict);
        // All is found, changed and made as ever, and what is new comes last.
        let back = other.get(&gone.id).unwrap().unwrap();
        assert_eq!(back.attributes, gone.attributes);
        assert_eq!(all(&*other, &by(store_support::ID, &object.attributes[&store_support::ID])), [object.id, gone.id]);
        assert_eq!(other.update(&back), Ok(back.version + 1));
        other.delete(&gone.id, None).unwrap();
        other.insert(&pair(2, 0)).unwrap();
        assert_eq!(all(&*other, &Query::default()).last(), Some(&pair(2, 0)[1].id));
        assert_eq!(other.check(), Ok(61));
        let now = other.token().unwrap().unwrap();
        assert_eq!(other.update_token(&now), Ok(now.version + 1));

        // And there is a way back.
        let kept = folder.join("web.before-restore");
        assert_eq!(open.restore(&kept, &beside), Ok(Some(folder.join("web.before-restore-2"))));
        assert_eq!(ids(&*other), before);
        if let StoreLocation::DynamoDb(config) = place.location() {
            // Each object and its place, its place under each of five attributes, and the token.
            let each = items(&config) - 1;
            assert_eq!(each % before.len(), 0, "{each} items of {} objects: something was left", before.len());
        }
        // What is no copy changes nothing.
        std::fs::write(folder.join("text"), "no database. ".repeat(1000)).unwrap();
        refused(open.restore(&folder.join("text"), &beside), Cause::StoreCorrupt);
        assert_eq!(ids(&*other), before);
    });
}

#[test]
fn what_others_write_meanwhile_is_in_one_place_or_the_other() {
    if restores() || !dynamodb::in_child() {
        return;
    }
    each(|place, folder| {
        if !place.takes_many() {
            return;
        }
        let open = place.open();
        open.initialise(&token(), None).unwrap();
        (0..10).for_each(|number| open.insert(&pair(0, number)).unwrap());
        let (copy, beside) = (folder.join("copy.db"), folder.join("web"));
        open.back_up(&copy).unwrap();
        let held = ids(&*open);
        let done = AtomicBool::new(false);
        let (mut restored, mut written) = (0, BTreeSet::new());
        let mut kept = Vec::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let (store, mut written) = (place.open(), BTreeSet::new());
                for number in 0.. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    let pair = pair(1, number);
                    store.insert(&pair).unwrap();
                    written.extend(pair.map(|object| object.id));
                    std::thread::sleep(Duration::from_millis(u64::from(number) * 37 % 400));
                }
                written
            });
            for _ in 0..4 {
                match open.restore(&copy, &beside) {
                    Ok(file) => {
                        kept.extend(file);
                        restored += 1;
                    }
                    // Somebody was always faster.
                    Err(error) => assert_eq!(error.cause(), Cause::StoreConflict, "{error}"),
                }
            }
            done.store(true, Ordering::SeqCst);
            written = writer.join().unwrap();
        });
        println!("{restored} of 4 restores were done");
        assert!(restored > 0);
        let mut found = ids(&*open);
        assert!(found.is_superset(&held));
        kept.iter().for_each(|kept| found.extend(ids(&*store(kept))));
        assert!(found.is_superset(&written), "what was acknowledged is somewhere");
        open.check().unwrap();
    });
}

#[test]
fn a_restore_that_is_killed_has_done_all_or_nothing() {
    if restores() || !dynamodb::in_child() {
        return;
    }
    each(|place, folder| {
        let open = place.open();
        open.initialise(&token(), None).unwrap();
        (0..20).for_each(|number| open.insert(&pair(0, number)).unwrap());
        let copy = folder.join("copy.db");
        open.back_up(&copy).unwrap();
        let held = ids(&*open);
        let (mut early, mut late) = (0, 0);
        for round in 0..if place.takes_many() { 5 } else { 2 } {
            open.insert(&pair(1, round)).unwrap();
            let before = ids(&*open);
            let beside = folder.join(format!("round-{round}"));
            let test = "a_restore_that_is_killed_has_done_all_or_nothing";
            let mut child = place.restore_elsewhere(test, &copy, &beside).spawn().unwrap();
            // When what is there was copied, it is being replaced.
            let kept = folder.join(format!("round-{round}.before-restore"));
            while !kept.exists() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(u64::from(round * round * 5)));
            child.kill().unwrap();
            child.wait().unwrap();
            let after = ids(&*open);
            assert!(after == before || after == held, "{} of {} objects", after.len(), before.len());
            if after == before {
                early += 1
            } else {
                late += 1
            }
            open.check().unwrap();
        }
        println!("killed before it was done {early} times, after it {late} times");
        assert!(early > 0);
        open.restore(&copy, &folder.join("web")).unwrap();
        assert_eq!((ids(&*open), open.check()), (held.clone(), Ok(40)));
        if let StoreLocation::DynamoDb(config) = place.location() {
            let each = items(&config) - 1;
            assert_eq!(each % held.len(), 0, "{each} items of {} objects: something was left", held.len());
        }
    });
}
