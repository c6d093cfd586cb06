//! SIGKILL at random moments of C_GenerateKeyPair, C_DestroyObject and C_SetPIN, while other processes list,
//! find and sign: no half pair, nothing lost that was acknowledged, nothing back that was destroyed, one PIN.

mod host;
mod hosts;

use hosts::{Host, OK, PIN, SO_PIN, compile};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PUBLIC: u8 = 2;
const PRIVATE: u8 = 3;

/// What a call may answer when its object was destroyed by another process meanwhile.
const GONE: [u64; 2] = [0x60, 0x82];

struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), program: compile("host") };
        let folder = place.folder.path();
        let text = format!(
            "[log]\nlevel = \"error\"\n[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\nkms = \"embedded:{}\"\nmax_pin_attempts = 0\n",
            place.store().display(),
            folder.join("kms.json").display()
        );
        std::fs::write(place.configuration(), text).unwrap();
        Host::make_token(&place.program, &place.configuration());
        place
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("datakey-pkcs11.toml")
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("token.db")
    }

    fn host(&self, pin: &str) -> Host {
        Host::logged_in(&self.program, &self.configuration(), pin)
    }

    /// What SQLite and a new process say of the store when all is over.
    fn assert_sound(&self) {
        let connection = rusqlite::Connection::open(self.store()).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}

/// Random numbers that differ between runs; a failure says which seed it was.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        println!("seed {seed}");
        Self(seed | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// All objects: classes by id.
fn list(host: &mut Host) -> BTreeMap<String, BTreeSet<u8>> {
    let mut all = BTreeMap::<String, BTreeSet<u8>>::new();
    for object in host.ok("list").split_whitespace() {
        let (class, id) = object.split_once(':').unwrap();
        assert!(all.entry(id.to_owned()).or_default().insert(class.parse().unwrap()), "{object} is there twice");
    }
    all
}

/// Kills its victims at random moments of a call, and learns how long the call takes here and now from what
/// came of it, so that about half of them die before it has taken effect.
struct Killer {
    dice: Dice,
    usual: Duration,
    /// How many calls had no effect and how many had.
    outcomes: [u32; 2],
}

impl Killer {
    /// `usual` is a first guess, in milliseconds.
    fn new(usual: u64) -> Self {
        Self { dice: Dice::new(), usual: Duration::from_millis(usual), outcomes: [0, 0] }
    }

    /// The victim dies in the middle of `command`. What it acknowledged, if it lived long enough.
    fn kill_during(&mut self, victim: &mut Host, command: &str) -> bool {
        let until = Instant::now() + self.usual.mul_f64(self.dice.below(2000) as f64 / 1000.0);
        victim.send(command);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        victim.kill();
        let said = victim.answer();
        assert!(said.as_ref().is_none_or(|(_, rv)| *rv == OK), "{command}: {said:x?}");
        said.is_some()
    }

    fn learn(&mut self, had_effect: bool) {
        self.usual = self.usual.mul_f64(if had_effect { 0.8 } else { 1.25 });
        self.outcomes[usize::from(had_effect)] += 1;
    }

    fn assert_good_aim(&self) {
        let [early, late] = self.outcomes;
        println!("killed before the effect {early} times, after it {late} times; {:?}", self.usual);
        assert!(early.min(late) * 5 > early + late, "killed too early or too late: {:?}", self.outcomes);
    }
}

/// Lists, finds and signs until it is told to stop. An object may go away under its hands, nothing else.
fn read_on(place: &Place, stop: &AtomicBool, signed: &AtomicU64) {
    let mut host = place.host(PIN);
    while !stop.load(Ordering::Relaxed) {
        let pairs: Vec<_> = list(&mut host).into_iter().filter(|(_, classes)| classes.len() == 2).collect();
        for (id, _) in pairs.iter().rev().take(3) {
            let (_, rv) = host.ask(&format!("use p256 {id}"));
            assert!(rv == OK || GONE.contains(&rv), "use of {id}: {rv:#x}");
            signed.fetch_add(u64::from(rv == OK), Ordering::Relaxed);
        }
        // The victims, too, need the machine.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `work` while readers read.
fn among_readers(place: &Place, work: impl FnOnce()) {
    // One test at a time: on a small machine the readers of three would leave nothing for the victims.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (stop, signed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_on(place, &stop, &signed))).collect();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(signed.load(Ordering::Relaxed) > 10, "the readers found nothing to do");
}

#[test]
fn a_pair_is_whole_or_not_there() {
    let (place, mut killer) = (Place::new(), Killer::new(20));
    let mut checker = place.host(PIN);
    checker.ok("generate p256 first");
    let mut alive = BTreeSet::from(["first".to_owned()]);
    among_readers(&place, || {
        for number in 0..130 {
            let (mut victim, id) = (place.host(PIN), format!("pair-{number}"));
            let acknowledged = killer.kill_during(&mut victim, &format!("generate p256 {id}"));
            let now = list(&mut checker);
            for (id, classes) in &now {
                assert_eq!(*classes, BTreeSet::from([PUBLIC, PRIVATE]), "{id} is half a pair");
            }
            let is_there = now.contains_key(&id);
            assert!(is_there || !acknowledged, "{id} was acknowledged and is lost");
            if is_there {
                checker.ok(&format!("use p256 {id}"));
                alive.insert(id);
            }
            killer.learn(is_there);
            assert!(now.into_keys().eq(alive.iter().cloned()), "other objects came or went");
        }
    });
    killer.assert_good_aim();
    place.assert_sound();
}

#[test]
fn what_was_destroyed_stays_destroyed() {
    let (place, mut killer) = (Place::new(), Killer::new(10));
    let mut checker = place.host(PIN);
    for number in 0..75 {
        checker.ok(&format!("generate p256 pair-{number}"));
    }
    let mut alive = list(&mut checker);
    among_readers(&place, || {
        for number in 0..150 {
            let (class, id) = ([PUBLIC, PRIVATE][number % 2], format!("pair-{}", number / 2));
            let mut victim = place.host(PIN);
            let acknowledged = killer.kill_during(&mut victim, &format!("destroy {class} {id}"));
            let now = list(&mut checker);
            let is_there = now.get(&id).is_some_and(|classes| classes.contains(&class));
            assert!(!(is_there && acknowledged), "{class} of {id} is back");
            if !is_there {
                alive.get_mut(&id).unwrap().remove(&class);
                alive.retain(|_, classes| !classes.is_empty());
            }
            killer.learn(!is_there);
            assert_eq!(now, alive, "other objects came or went");
        }
    });
    killer.assert_good_aim();
    place.assert_sound();
}

#[test]
fn exactly_one_pin_is_right() {
    let (place, mut killer) = (Place::new(), Killer::new(100));
    let mut checker = place.host(PIN);
    checker.ok("generate p256 key");
    let mut current = PIN.to_owned();
    among_readers(&place, || {
        for number in 0..40 {
            let (mut victim, new) = (place.host(&current), format!("{PIN}-{number}"));
            let acknowledged = killer.kill_during(&mut victim, &format!("set-pin {current} {new}"));
            let mut host = Host::start(&place.program, &place.configuration());
            host.ok("initialise");
            host.ok("open");
            let (_, with_new) = host.ask(&format!("login {new}"));
            if with_new == OK {
                host.ok("use p256 key");
                host.ok("logout");
            }
            let (_, with_old) = host.ask(&format!("login {current}"));
            if with_old == OK {
                host.ok("use p256 key");
            }
            assert_eq!([with_old, with_new].iter().filter(|rv| **rv == OK).count(), 1, "{with_old:#x} {with_new:#x}");
            assert!([with_old, with_new].contains(&0xa0), "CKR_PIN_INCORRECT for the other");
            assert!(with_new == OK || !acknowledged, "the new PIN was acknowledged and is not right");
            killer.learn(with_new == OK);
            if with_new == OK {
                current = new;
            }
        }
    });
    killer.assert_good_aim();
    // The officer's PIN opens the same token key all the while.
    let mut officer = Host::start(&place.program, &place.configuration());
    officer.ok("initialise");
    officer.ok("open");
    officer.ok(&format!("login-so {SO_PIN}"));
    officer.ok(&format!("init-pin {PIN}"));
    place.host(PIN).ok("use p256 key");
    place.assert_sound();
}
