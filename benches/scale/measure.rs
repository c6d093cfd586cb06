//! What the processes of this benchmark do, each with the module loaded anew.

use crate::host::{Kind, Module, attr, mechanism};
use cryptoki_sys::*;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many sessions fill the token.
const FILLERS: usize = 8;
/// How often each thing is done.
const ROUNDS: u32 = 300;

/// What [`measure`] prints, in this order.
pub(crate) const COLUMNS: [&str; 14] = [
    "load_ms",
    "login_ms",
    "first_ms",
    "by_id",
    "by_label",
    "by_unique",
    "by_point",
    "absent",
    "read",
    "sign",
    "create",
    "destroy",
    "list_us/obj",
    "rss_MiB",
];

/// Initialises the token.
pub(crate) fn make(configuration: &Path) {
    Module::start(configuration).make_token(true);
}

fn label(number: u32) -> String {
    format!("key {number}")
}

/// Makes the pairs from one number to another.
pub(crate) fn fill(configuration: &Path, from: u32, to: u32) {
    let module = Module::start(configuration);
    module.login(module.open(true));
    let next = AtomicU32::new(from);
    std::thread::scope(|scope| {
        for _ in 0..FILLERS {
            scope.spawn(|| {
                let session = module.open(true);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        break;
                    }
                    pair(module, session, number);
                }
            });
        }
    });
}

fn pair(module: Module, session: CK_SESSION_HANDLE, number: u32) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let (id, label, yes) = (number.to_be_bytes(), label(number), [CK_TRUE]);
    let names = [attr(CKA_TOKEN, &yes), attr(CKA_ID, &id), attr(CKA_LABEL, label.as_bytes())];
    let curve = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let mut public = [names[0], names[1], names[2], attr(CKA_EC_PARAMS, &curve)];
    let (mut private, mut mechanism) = (names, mechanism(CKM_EC_KEY_PAIR_GEN));
    let (mut public_key, mut private_key) = (0, 0);
    // SAFETY: the templates are as long as is said, and live until the call returns.
    let made = unsafe {
        module.0.C_GenerateKeyPair.expect("every function is there")(
            session,
            &mut mechanism,
            public.as_mut_ptr(),
            public.len() as CK_ULONG,
            private.as_mut_ptr(),
            private.len() as CK_ULONG,
            &mut public_key,
            &mut private_key,
        )
    };
    assert_eq!(made, CKR_OK, "C_GenerateKeyPair");
    (public_key, private_key)
}

/// Creates a data object.
fn create(module: Module, session: CK_SESSION_HANDLE, name: &str) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (class, yes) = (CKO_DATA.to_ne_bytes(), [CK_TRUE]);
    let mut template =
        [attr(CKA_CLASS, &class), attr(CKA_TOKEN, &yes), attr(CKA_LABEL, name.as_bytes()), attr(CKA_VALUE, b"value")];
    let (mut object, len) = (0, template.len() as CK_ULONG);
    // SAFETY: the template is as long as is said.
    let made =
        unsafe { module.0.C_CreateObject.expect("it is there")(session, template.as_mut_ptr(), len, &mut object) };
    if made == CKR_OK { Ok(object) } else { Err(made) }
}

fn destroy(module: Module, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    // SAFETY: it takes no pointer.
    unsafe { module.0.C_DestroyObject.expect("it is there")(session, object) }
}

/// The median of how long something takes, in microseconds.
fn median<T>(mut work: impl FnMut(u32) -> T) -> f64 {
    let time = |round| {
        let begun = Instant::now();
        let done = work(round);
        let took = begun.elapsed();
        drop(done);
        took
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(time).collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Measures a token with so many pairs, and prints what [`COLUMNS`] names.
pub(crate) fn measure(configuration: &Path, pairs: u32) {
    // Numbers that come in no order, each once in a while.
    let pick = |round: u32| (round.wrapping_mul(2_654_435_761)) % pairs.max(1);
    let private = CKO_PRIVATE_KEY.to_ne_bytes();
    let begun = Instant::now();
    let module = Module::start(configuration);
    let session = module.open(true);
    let load = begun.elapsed();
    module.login(session);
    let login = begun.elapsed() - load;
    let wanted = label(pick(777));
    let key = module.find(session, &[(CKA_CLASS, &private), (CKA_LABEL, wanted.as_bytes())]);
    assert_eq!(key.len(), 1, "{wanted}");
    module.sign(session, key[0], Kind::P256.signs(), b"data").expect("a signature");
    let first = begun.elapsed() - load - login;

    let one = |template: &[(CK_ATTRIBUTE_TYPE, &[u8])]| {
        let found = module.find(session, template);
        assert_eq!(found.len(), 1, "{template:?}");
        found[0]
    };
    let by_id = median(|round| one(&[(CKA_CLASS, &private), (CKA_ID, &pick(round).to_be_bytes())]));
    let by_label = median(|round| one(&[(CKA_CLASS, &private), (CKA_LABEL, label(pick(round)).as_bytes())]));
    let keys: Vec<_> =
        (0..ROUNDS).map(|round| one(&[(CKA_CLASS, &private), (CKA_ID, &pick(round + 9).to_be_bytes())])).collect();
    let read = |object, attribute| module.attribute(session, object, attribute);
    let unique: Vec<_> = keys.iter().map(|key| read(*key, CKA_UNIQUE_ID)).collect();
    let public = CKO_PUBLIC_KEY.to_ne_bytes();
    let point = |round| one(&[(CKA_CLASS, &public), (CKA_ID, &pick(round).to_be_bytes())]);
    let points: Vec<_> = (0..ROUNDS).map(|round| read(point(round), CKA_EC_POINT)).collect();
    let by_unique = median(|round| one(&[(CKA_UNIQUE_ID, &unique[round as usize])]));
    let by_point = median(|round| one(&[(CKA_CLASS, &public), (CKA_EC_POINT, &points[round as usize])]));
    let absent = median(|round| {
        let none = module.find(session, &[(CKA_CLASS, &private), (CKA_ID, &(pairs + 1 + round).to_be_bytes())]);
        assert!(none.is_empty());
    });
    let reading = median(|round| drop(read(keys[round as usize], CKA_LABEL)));
    let signing = median(|_| drop(module.sign(session, key[0], Kind::P256.signs(), b"data")));
    let mut made = Vec::new();
    let creating = median(|round| made.push(create(module, session, &format!("data {round}")).expect("an object")));
    let destroying = median(|round| assert_eq!(destroy(module, session, made[round as usize]), CKR_OK));
    let before = resident_mib();
    let begun = Instant::now();
    let count = module.find(session, &[(CKA_CLASS, &private)]).len();
    let listing = begun.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64;
    assert_eq!(count, pairs as usize);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{:.2} {:.1} {:.2} {by_id:.1} {by_label:.1} {by_unique:.1} {by_point:.1} {absent:.1} {reading:.1} {signing:.1} \
         {creating:.0} {destroying:.0} {listing:.2} {before:.1}→{:.1}",
        ms(load),
        ms(login),
        ms(first),
        resident_mib()
    );
}

/// Creates and destroys so many objects; prints how many changes failed, the seconds that all took, and the
/// milliseconds of the longest.
pub(crate) fn write(configuration: &Path, each: u32) {
    let module = Module::start(configuration);
    let session = module.open(true);
    module.login(session);
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
            object = create(module, session, &name).ok();
            object.is_some()
        });
        timed(&mut || object.is_some_and(|object| destroy(module, session, object) == CKR_OK));
    }
    println!("{failed} {} {}", begun.elapsed().as_secs_f64(), longest.as_millis());
}

/// What of this process is in memory.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib / 1024.0
}
