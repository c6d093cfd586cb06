//! What the processes of this benchmark do, each with the module loaded anew.

use crate::host::{Kind, attr, call, mechanism};
use crate::module::Host;
use cryptoki_sys::*;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many sessions fill the token.
const FILLERS: usize = 8;
/// How often each thing is done, at most; and how long, where each takes long.
const ROUNDS: u32 = 500;
const PATIENCE: Duration = Duration::from_secs(10);
/// How often each kind of search is made, for other keys, before it is measured.
const WARM: u32 = 1000;

/// What [`measure`] prints, in this order; "-" for what a module cannot do.
pub(crate) const COLUMNS: [&str; 16] = [
    "load_ms",
    "login_ms",
    "first_ms",
    "by_id",
    "by_label",
    "by_unique",
    "by_point",
    "absent",
    "used",
    "read",
    "sign",
    "create",
    "destroy",
    "list_us/obj",
    "rss_MiB",
    "listed_MiB",
];

/// Initialises the token.
pub(crate) fn make(configuration: &Path) {
    Host::start(configuration).make_token();
}

fn label(number: u32) -> String {
    format!("key {number}")
}

/// Makes the pairs from one number to another.
pub(crate) fn fill(configuration: &Path, from: u32, to: u32) {
    let host = Host::start(configuration);
    host.module.login(host.open(true));
    let next = AtomicU32::new(from);
    std::thread::scope(|scope| {
        for _ in 0..FILLERS {
            scope.spawn(|| {
                let session = host.open(true);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        break;
                    }
                    pair(host, session, number);
                }
            });
        }
    });
}

fn pair(host: Host, session: CK_SESSION_HANDLE, number: u32) {
    let (id, label, yes) = (number.to_be_bytes(), label(number), [CK_TRUE]);
    let names = [attr(CKA_TOKEN, &yes), attr(CKA_ID, &id), attr(CKA_LABEL, label.as_bytes())];
    let curve = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let mut public = [names[0], names[1], names[2], attr(CKA_EC_PARAMS, &curve), attr(CKA_VERIFY, &yes)];
    let mut private = [names[0], names[1], names[2], attr(CKA_SIGN, &yes)];
    let mut mechanism = mechanism(CKM_EC_KEY_PAIR_GEN);
    let (mut public_key, mut private_key) = (0, 0);
    let made = call!(
        host.module,
        C_GenerateKeyPair,
        session,
        &mut mechanism,
        public.as_mut_ptr(),
        public.len() as CK_ULONG,
        private.as_mut_ptr(),
        private.len() as CK_ULONG,
        &mut public_key,
        &mut private_key,
    );
    assert_eq!(made, CKR_OK, "C_GenerateKeyPair");
}

/// Creates a data object.
fn create(host: Host, session: CK_SESSION_HANDLE, name: &str) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (class, yes) = (CKO_DATA.to_ne_bytes(), [CK_TRUE]);
    let mut template =
        [attr(CKA_CLASS, &class), attr(CKA_TOKEN, &yes), attr(CKA_LABEL, name.as_bytes()), attr(CKA_VALUE, b"value")];
    let mut object = 0;
    let made =
        call!(host.module, C_CreateObject, session, template.as_mut_ptr(), template.len() as CK_ULONG, &mut object);
    if made == CKR_OK { Ok(object) } else { Err(made) }
}

fn destroy(host: Host, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    call!(host.module, C_DestroyObject, session, object)
}

/// How long one thing takes.
fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let done = work();
    let took = begun.elapsed();
    drop(done);
    took
}

/// The median of how long something takes, in microseconds.
fn median<T>(mut work: impl FnMut(u32) -> T) -> f64 {
    let begun = Instant::now();
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        times.push(time(|| work(round)));
        if begun.elapsed() > PATIENCE {
            break;
        }
    }
    middle(times)
}

/// The median of some times, in microseconds.
fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Makes a search as often as warms it, or for as long as one has patience.
fn warm<T>(mut work: impl FnMut(u32) -> T) {
    let begun = Instant::now();
    (0..WARM).take_while(|_| begun.elapsed() < PATIENCE / 10).for_each(|round| drop(work(round)));
}

/// Measures a token with so many pairs, of which `among` are asked for, and prints what [`COLUMNS`] names.
pub(crate) fn measure(configuration: &Path, pairs: u32, among: u32, listed: bool) {
    let among = among.min(pairs).max(1);
    // Numbers that come in no order, each once in a while, from everywhere.
    let pick = |round: u32| (round.wrapping_add(1).wrapping_mul(2_654_435_761)) % among * (pairs / among);
    let private = CKO_PRIVATE_KEY.to_ne_bytes();
    let public = CKO_PUBLIC_KEY.to_ne_bytes();
    let begun = Instant::now();
    let host = Host::start(configuration);
    let module = host.module;
    let session = host.open(true);
    let load = begun.elapsed();
    module.login(session);
    let login = begun.elapsed() - load;
    let wanted = label(pick(777));
    let key = module.find(session, &[(CKA_CLASS, &private), (CKA_LABEL, wanted.as_bytes())]);
    assert_eq!(key.len(), 1, "{wanted}");
    let raw_or_hashed = if host.has(session, key[0], CKA_UNIQUE_ID) { Kind::P256.signs() } else { CKM_ECDSA };
    module.sign(session, key[0], raw_or_hashed, &[1; 32]).expect("a signature");
    let first = begun.elapsed() - load - login;

    let one = |template: &[(CK_ATTRIBUTE_TYPE, &[u8])]| {
        let found = module.find(session, template);
        assert_eq!(found.len(), 1, "{template:?}");
        found[0]
    };
    let read = |object, attribute| module.attribute(session, object, attribute);
    let of_id = |number: u32| one(&[(CKA_CLASS, &private), (CKA_ID, &number.to_be_bytes())]);
    let of_label = |number: u32| one(&[(CKA_CLASS, &private), (CKA_LABEL, label(number).as_bytes())]);
    let of_point = |point: &[u8]| one(&[(CKA_CLASS, &public), (CKA_EC_POINT, point)]);
    let of_unique = |id: &[u8]| one(&[(CKA_UNIQUE_ID, id)]);
    // Between those that are there, wherever that is.
    let of_none = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        assert!(module.find(session, &[(CKA_CLASS, &private), (CKA_ID, &[a, b, c, d, 1])]).is_empty());
    };
    // What the searches are for is learned beforehand, of other keys for each kind.
    let some = |kind: u32, count: u32| (0..count).map(move |round| pick(round + kind * 100_000));
    let mut points = some(5, WARM + ROUNDS)
        .map(|number| read(one(&[(CKA_CLASS, &public), (CKA_ID, &number.to_be_bytes())]), CKA_EC_POINT));
    let has_unique = host.has(session, key[0], CKA_UNIQUE_ID);
    let slow = time(|| of_id(pick(1))) > Duration::from_millis(2);
    let few = if slow { 5 } else { WARM + ROUNDS } as usize;
    let points: Vec<_> = points.by_ref().take(few).collect();
    let uniques: Vec<_> = match has_unique {
        true => some(6, few as u32).map(|number| read(of_id(number), CKA_UNIQUE_ID)).collect(),
        false => Vec::new(),
    };

    let at = |list: &[Vec<u8>], round: u32| list[round as usize % list.len()].clone();
    warm(|round| of_id(pick(round + 1_000_000)));
    let by_id = median(|round| of_id(pick(round + 2_000_000)));
    warm(|round| of_label(pick(round + 3_000_000)));
    let by_label = median(|round| of_label(pick(round + 4_000_000)));
    let by_unique = has_unique.then(|| {
        warm(|round| of_unique(&at(&uniques, ROUNDS + round)));
        median(|round| of_unique(&at(&uniques, round)))
    });
    warm(|round| of_point(&at(&points, ROUNDS + round)));
    let by_point = median(|round| of_point(&at(&points, round)));
    warm(|round| of_none(pick(round + 5_000_000)));
    let absent = median(|round| of_none(pick(round + 6_000_000)));
    let used = median(|round| read(of_id(pick(round + 7_000_000)), CKA_LABEL));
    let reading = median(|_| read(key[0], CKA_LABEL));
    let signing = median(|_| module.sign(session, key[0], raw_or_hashed, &[1; 32]));
    let mut made = Vec::new();
    let creating = median(|round| made.push(create(host, session, &format!("data {round}")).expect("an object")));
    let gone = |object| time(|| assert_eq!(destroy(host, session, object), CKR_OK));
    let destroying = middle(made.into_iter().map(gone).collect());
    let before = resident_mib();
    let begun = Instant::now();
    let listing = listed.then(|| {
        assert_eq!(module.find(session, &[(CKA_CLASS, &private)]).len(), pairs as usize);
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(pairs)
    });
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let cell = |time: Option<f64>, digits| time.map_or("-".to_owned(), |time| format!("{time:.digits$}"));
    let (by_unique, listing) = (cell(by_unique, 1), cell(listing, 2));
    println!(
        "{:.2} {:.1} {:.2} {by_id:.1} {by_label:.1} {by_unique} {by_point:.1} {absent:.1} {used:.1} {reading:.1} \
         {signing:.1} {creating:.0} {destroying:.0} {listing} {before:.1} {:.1}",
        ms(load),
        ms(login),
        ms(first),
        resident_mib()
    );
}

/// Creates and destroys so many objects; prints how many changes failed, the seconds that all took, and the
/// milliseconds of the longest.
pub(crate) fn write(configuration: &Path, each: u32) {
    let host = Host::start(configuration);
    let session = host.open(true);
    host.module.login(session);
    let (begun, mut failed, mut longest) = (Instant::now(), 0, Duration::ZERO);
    for number in 0..each {
        let name = format!("{} {number}", std::process::id());
        let mut timed = |work: &mut dyn FnMut() -> bool| {
            let begun = Instant::now();
            failed += u32::from(!work());
            longest = longest.max(begun.elapsed());
        };
        let mut object = None;
        timed(&mut || {
            object = create(host, session, &name).ok();
            object.is_some()
        });
        timed(&mut || object.is_some_and(|object| destroy(host, session, object) == CKR_OK));
    }
    println!("{failed} {} {}", begun.elapsed().as_secs_f64(), longest.as_millis());
}

/// Lists everything, page by page as a host would, and prints what that took.
pub(crate) fn list(configuration: &Path) {
    let host = Host::start(configuration);
    let session = host.open(false);
    host.module.login(session);
    let before = resident_mib();
    let begun = Instant::now();
    let mut pages = (Vec::new(), 0_usize);
    call!(host.module, C_FindObjectsInit, session, std::ptr::null_mut(), 0);
    loop {
        let (mut page, mut count) = ([0; 512], 0);
        let begun = Instant::now();
        assert_eq!(
            call!(host.module, C_FindObjects, session, page.as_mut_ptr(), page.len() as CK_ULONG, &mut count),
            CKR_OK
        );
        pages.0.push(begun.elapsed());
        pages.1 += count as usize;
        if count == 0 {
            break;
        }
    }
    call!(host.module, C_FindObjectsFinal, session);
    let longest = pages.0.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e3;
    println!(
        "{} objects listed in {:.2} s, the longest call {longest:.1} ms; {before:.0} MiB before, {:.0} MiB after",
        pages.1,
        begun.elapsed().as_secs_f64(),
        resident_mib()
    );
}

/// What of this process is in memory.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib / 1024.0
}
