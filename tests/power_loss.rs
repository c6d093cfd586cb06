//! The power fails, at every moment of what is done to a store: all that was acknowledged is there afterwards, and what
//! was under way is there as a whole or not at all.
//!
//! A library that is preloaded (`hosts/disk.c`) keeps what the module writes and when it has it made durable. Of that
//! the folder is made anew, as it may be found: after each write, with what was not durable lost, or there, or there in
//! part. `DATAKEY_TEST_FAULTS=all` does so in more ways, and for a longer life.

#[path = "power_loss/events.rs"]
mod events;
mod host;
mod hosts;
#[path = "disk_faults/places.rs"]
mod places;

use datakey::config::StoreLocation;
use datakey::store::{self, ObjectId, Raw, Sink};
use events::{Events, Fate, Syncs, files};
use hosts::disk::Disk;
use hosts::{Host, command, compile};
use places::{Base, Place, Start};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// All that a store holds, a line for each record.
#[derive(Default, PartialEq, Eq, Clone, Debug)]
struct Contents(Vec<String>);

impl Sink for Contents {
    fn token(&mut self, token: &Raw) -> datakey::error::Result<()> {
        self.0.push(format!("token {token:x?}"));
        Ok(())
    }

    fn objects(&mut self, objects: Vec<(ObjectId, Raw)>) -> datakey::error::Result<()> {
        self.0.extend(objects.iter().map(|(id, raw)| format!("{id} {raw:x?}")));
        Ok(())
    }
}

impl Contents {
    /// Of the file at `path`, as the module and SQLite read it.
    fn of(path: &Path) -> Result<Self, String> {
        let store = store::open(&StoreLocation::Sqlite(path.to_owned())).unwrap();
        let mut contents = Self::default();
        if store.token().map_err(|error| error.to_string())?.is_none() {
            return Ok(contents);
        }
        store.export(&mut contents).map_err(|error| error.to_string())?;
        store.check().map_err(|error| error.to_string())?;
        Ok(contents)
    }

    /// Of a folder in use: a copy of all its files is looked at, made while nobody writes.
    fn of_copy(place: &Place) -> Self {
        let copy = tempfile::tempdir_in(place.path("")).unwrap();
        for (name, bytes) in files(&place.disk()) {
            fs::write(copy.path().join(&name), bytes).unwrap();
        }
        Self::of(&copy.path().join("token.db")).unwrap()
    }
}

/// What was done, and what the store held whenever something was acknowledged: the number of the last event by then.
struct Life {
    place: Place,
    before: BTreeMap<String, Vec<u8>>,
    log: std::path::PathBuf,
    held: Vec<(usize, Contents)>,
}

impl Life {
    fn new(base: &Base) -> Self {
        let place = base.place();
        let before = files(&place.disk());
        let log = place.path("log");
        fs::File::create(&log).unwrap();
        let held = vec![(0, Contents::of_copy(&place))];
        Self { place, before, log, held }
    }

    fn events(&self) -> Events {
        Events::read(&self.log, &self.before)
    }

    fn acknowledged(&mut self) {
        self.held.push((self.events().len(), Contents::of_copy(&self.place)));
    }

    /// Lets a host live that does this and ends well.
    fn host(&mut self, program: &Path, commands: &[&str]) {
        let disk = Disk::new(&self.place.disk(), &self.place.path("orders"), Some(&self.log));
        let mut command = command(program, &self.place.configuration());
        disk.under(&mut command);
        let mut host = Host::spawn(command);
        for command in commands {
            host.ok(command);
            self.acknowledged();
        }
    }

    /// Runs the operator's tool.
    fn tool(&mut self, arguments: &[&str]) {
        let disk = Disk::new(&self.place.disk(), &self.place.path("orders"), Some(&self.log));
        let mut command = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        command.args(arguments).env("DATAKEY_PKCS11_CONF", self.place.configuration()).stdin(Stdio::null());
        disk.under(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.acknowledged();
    }

    /// Has the power fail after every event, in every way. What is wrong, and how many ways there were.
    fn fail(
        &self,
        fates: &[Fate],
        syncs: Syncs,
        also: impl Fn(&Path, bool) -> Result<(), String>,
    ) -> (Vec<String>, usize) {
        let events = self.events();
        let (mut wrong, mut ways) = (Vec::new(), 0);
        for count in 0..=events.len() {
            // What was acknowledged by then, and what is under way.
            let at = self.held.iter().rposition(|(by, _)| *by <= count).unwrap();
            let is_over = self.held[at].0 == count;
            let allowed = &self.held[at..self.held.len().min(at + if is_over { 1 } else { 2 })];
            for fate in fates {
                let folder = tempfile::tempdir_in(self.place.path("")).unwrap();
                let left = folder.path().join("disk");
                // Each moment in a way of its own.
                let fate = match fate {
                    Fate::Torn(seed) => Fate::Torn(seed + 1000 * count as u64),
                    other => *other,
                };
                let last = events.leave(count, fate, syncs, &left);
                ways += 1;
                let found = Contents::of(&left.join("token.db"));
                let right = match &found {
                    Ok(found) => allowed.iter().position(|(_, held)| held == found),
                    Err(_) => None,
                };
                let verdict = match right {
                    Some(which) => also(&left, allowed[which].1 != self.held[0].1),
                    None => Err(match found {
                        Ok(found) => format!(
                            "{} records, allowed are {:?}",
                            found.0.len(),
                            allowed.iter().map(|(_, held)| held.0.len()).collect::<Vec<_>>()
                        ),
                        Err(error) => error,
                    }),
                };
                if let Err(why) = verdict {
                    wrong.push(format!("after event {count} ({last}), {fate:?}: {why}"));
                }
            }
        }
        (wrong, ways)
    }
}

fn all() -> bool {
    std::env::var_os("DATAKEY_TEST_FAULTS").is_some_and(|value| value == "all")
}

fn fates() -> Vec<Fate> {
    let torn = if all() { 40 } else { 3 };
    [Fate::Lost, Fate::Kept].into_iter().chain((0..torn).map(Fate::Torn)).collect()
}

fn nothing_more(_: &Path, _: bool) -> Result<(), String> {
    Ok(())
}

#[test]
fn what_a_host_was_told_is_done_stays_done() {
    let program = compile("host");
    let mut life = Life::new(&Base::new(Start::Nothing, &program));
    let first = [
        "initialise",
        "init-token so-pin-1",
        "open",
        "login-so so-pin-1",
        "init-pin user-pin-1",
        "logout",
        "login user-pin-1",
        "generate p256 key",
        "generate p256 gone",
        "create box",
        "set-id 3 key renamed",
        "destroy 3 gone",
        "set-pin user-pin-1 new-pin",
        "finalise",
    ];
    life.host(&program, &first);
    let more: Vec<String> = (0..if all() { 120 } else { 2 }).map(|number| format!("generate p256 {number}")).collect();
    let second: Vec<&str> = ["initialise", "open", "login new-pin", "destroy 2 gone"]
        .into_iter()
        .chain(more.iter().map(String::as_str))
        .chain(["set-pin new-pin newer-pin", "finalise"])
        .collect();
    life.host(&program, &second);
    let (wrong, ways) = life.fail(&fates(), Syncs::AsTheyAre, nothing_more);
    println!(
        "{} events, {} acknowledged, {ways} states after a power failure, {} wrong",
        life.events().len(),
        life.held.len() - 1,
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The control: a disk that says of the log that it is durable, and it is not, is found out.
    let (wrong, _) = life.fail(&[Fate::Lost], Syncs::LieAbout("-wal"), nothing_more);
    println!("a disk that lies about the log: {} states are wrong", wrong.len());
    assert!(wrong.len() > 20, "{wrong:?}");
}

#[test]
fn a_migration_loses_nothing() {
    let program = compile("host");
    let mut life = Life::new(&Base::new(Start::Older, &program));
    life.host(&program, &["initialise", "open", "finalise"]);
    // As it was before, an older module reads it.
    let backup_is_whole = |folder: &Path, _: bool| {
        let backup = folder.join("token.db.backup-v1");
        match backup.exists() {
            true => Contents::of(&backup).map(drop),
            false => Ok(()),
        }
    };
    let (wrong, ways) = life.fail(&fates(), Syncs::AsTheyAre, backup_is_whole);
    println!("{} events, {ways} states after a power failure, {} wrong", life.events().len(), wrong.len());
    assert!(wrong.is_empty() && ways > 50, "{wrong:#?}");
}

#[test]
fn a_restore_is_done_or_not_and_keeps_what_was_there() {
    let program = compile("host");
    for start in [Start::Closed, Start::Killed] {
        let base = Base::new(start, &program);
        let copy = Base::new(Start::Counted, &program);
        let mut life = Life::new(&base);
        let file = copy.place();
        let file = file.store();
        life.tool(&["restore", file.to_str().unwrap(), "--replace", "--force"]);
        let was = &life.held[0].1;
        let kept = |folder: &Path, is_restored: bool| {
            let kept = folder.join("token.db.before-restore");
            match (is_restored, kept.exists()) {
                (_, true) if Contents::of(&kept)? != *was => Err("what is kept is not what was there".to_owned()),
                (true, false) => Err("what was there is gone".to_owned()),
                _ => Ok(()),
            }
        };
        let (wrong, ways) = life.fail(&fates(), Syncs::AsTheyAre, kept);
        println!("{} events, {ways} states after a power failure, {} wrong", life.events().len(), wrong.len());
        assert!(wrong.is_empty() && ways > 50, "{wrong:#?}");
    }
}

#[test]
fn a_backup_has_its_name_when_it_is_whole() {
    let program = compile("host");
    let mut life = Life::new(&Base::new(Start::Killed, &program));
    let copy = life.place.disk().join("copy.db");
    life.tool(&["backup", copy.to_str().unwrap()]);
    let events = life.events().len();
    let was = &life.held[0].1;
    let whole = |folder: &Path, _: bool| {
        let copy = folder.join("copy.db");
        // The name is taken first, by an empty file.
        match copy.metadata() {
            Ok(about) if about.len() > 0 && Contents::of(&copy)? != *was => Err("the copy is not whole".to_owned()),
            _ => Ok(()),
        }
    };
    let (wrong, ways) = life.fail(&fates(), Syncs::AsTheyAre, whole);
    println!("{events} events, {ways} states after a power failure, {} wrong", wrong.len());
    assert!(wrong.is_empty() && ways > 50, "{wrong:#?}");
}
