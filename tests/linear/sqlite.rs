//! Tokens in SQLite files, and such files that are broken.

use super::client::Dice;
use super::run::{LOCAL, Plan, run, seconds};
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn stores(folder: &Path) -> [String; 2] {
    ["objects", "lock"].map(|name| format!("sqlite:{}", folder.join(format!("{name}.db")).display()))
}

pub(crate) fn is_linearizable() {
    let folder = tempfile::tempdir().unwrap();
    let stores = |_| stores(folder.path());
    let plan = Plan { clients: 6, faults: LOCAL.to_vec(), longest: 1500, ..Plan::calm(seconds(4), &stores) };
    run("SQLite", plan).expect_sound();
    for name in ["objects.db", "lock.db"] {
        crate::store_support::assert_sound(&folder.path().join(name));
    }
}

/// What somebody remembers of the records of a file: their versions and bytes, by number.
type Rows = HashMap<i64, (i64, Vec<u8>)>;

/// Puts back what some records were before they were changed last: a file whose changes are acknowledged and lost.
fn put_back(file: &Path, known: &mut Rows, dice: &mut Dice) {
    let mut connection = Connection::open(file).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let write = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let mut select = write.prepare("SELECT seq, version, record FROM object JOIN record USING (seq)").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
    let now: Rows = rows.map(Result::unwrap).collect();
    drop(select);
    for (seq, (version, record)) in &now {
        let before = known.get(seq).filter(|(before, _)| before < version && dice.roll(3) == 0);
        let Some((before, old)) = before else {
            known.insert(*seq, (*version, record.clone()));
            continue;
        };
        write.execute("UPDATE record SET record = ?2 WHERE seq = ?1", params![seq, old]).unwrap();
        write.execute("UPDATE object SET version = ?2 WHERE seq = ?1", params![seq, before]).unwrap();
    }
    write.commit().unwrap();
}

pub(crate) fn broken_ones_are_caught() {
    let what = "writes that are lost";
    caught(what, |folder, seconds| {
        let stores = |_| stores(folder);
        let (mut known, mut dice) = (Rows::new(), Dice(1));
        let lose = || put_back(&folder.join("objects.db"), &mut known, &mut dice);
        run(what, Plan { meanwhile: Box::new(lose), ..Plan::calm(seconds, &stores) }).is_caught(what)
    });
    let what = "a copy of the file that is some seconds old";
    caught(what, |folder, seconds| {
        let stores = |_| stores(folder);
        let mut copied = Instant::now();
        let copy = || {
            let (new, old) = (folder.join("new"), folder.join("old.db"));
            let from = Connection::open(folder.join("objects.db")).unwrap();
            from.execute("VACUUM INTO ?1", [new.to_str().unwrap()]).unwrap();
            fs::rename(new, &old).unwrap();
        };
        let again = || {
            if copied.elapsed() > Duration::from_millis(2500) {
                copy();
                copied = Instant::now();
            }
        };
        let replica = Some([format!("sqlite:{}", folder.join("old.db").display()), stores(None)[1].clone()]);
        let (prepare, meanwhile) = (Box::new(copy), Box::new(again));
        let plan = Plan { replica, prepare, meanwhile, ..Plan::calm(seconds, &stores) };
        run(what, plan).is_caught(what)
    });
}

/// Runs longer and longer until it is caught.
pub(crate) fn caught(what: &str, mut attempt: impl FnMut(&Path, u64) -> bool) {
    let found = [1, 2, 4, 8, 16].into_iter().any(|seconds| {
        let folder = tempfile::tempdir().unwrap();
        attempt(folder.path(), seconds)
    });
    assert!(found, "{what}: not caught");
}
