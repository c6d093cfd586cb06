//! Credentials that run out while keys are in use: from each source that gives such, on a stand-in. Four threads sign
//! all the while, each signature by a call of KMS, and KMS knows nobody but whom the source names last.

mod aws;
mod tool;

use aws::{Request, document, portal, sso_login, stand_in, sts};
use cryptoki_sys::*;
use datakey::kms::embedded::{self, DEFAULT_ALIAS, Server};
use datakey::mechanism::Given;
use datakey::module::Module;
use datakey::session::{Outcome, Room};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tool::Setup;

const ROLE: &str = "arn:aws:iam::111122223333:role/pkcs11";
/// What tells a process that it is to sign.
const SIGN: &str = "DATAKEY_TEST_SIGN";
/// How long credentials live: as short as a date in whole seconds allows, and long enough to be used.
const LIFE: Duration = Duration::from_secs(3);

/// Not a test: signs until it is told to end, and tells how it went when it is asked.
#[test]
fn sign() {
    if std::env::var_os(SIGN).is_none() {
        return;
    }
    let module = Module::from_configuration(true).unwrap();
    let slot = &module.slots[0];
    let stop = AtomicBool::new(false);
    let (good, bad) = (AtomicU64::new(0), Mutex::new(BTreeMap::<String, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let handle = module.sessions.open(slot, CKF_SERIAL_SESSION).unwrap();
                let session = module.sessions.get(handle).unwrap();
                session.find_init(&[(CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes())]).unwrap();
                let key = session.find(1).unwrap()[0];
                session.find_final().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    session.sign_init(CKM_ECDSA, || Ok(Given::Nothing), key).unwrap();
                    match session.sign(Ok(&[7; 32]), Room::Bytes(1000)) {
                        Ok(Outcome::Done(_)) => drop(good.fetch_add(1, Ordering::Relaxed)),
                        Ok(_) => unreachable!("there was room"),
                        Err(error) => {
                            let name = format!("{:#x} {error}", error.cause().device_error());
                            *bad.lock().unwrap().entry(name).or_default() += 1;
                        }
                    }
                }
            });
        }
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            let failed = std::mem::take(&mut *bad.lock().unwrap());
            println!("\nreport {}", json!({"good": good.swap(0, Ordering::Relaxed), "bad": failed}));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// A process that signs.
struct Signing {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    reports: u32,
}

/// What it did since it was last asked.
struct Report {
    good: u64,
    /// How often it failed, by device error and message.
    bad: Map<String, Value>,
}

impl Signing {
    fn start(setup: &Setup) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "sign", "--nocapture"]).env_clear();
        child.envs(setup.environment.iter().map(|(name, value)| (name, value))).env(SIGN, "1");
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, commands, answers, reports: 0 }
    }

    fn report(&mut self) -> Report {
        self.reports += 1;
        assert!(self.reports < 2000, "what is waited for does not come");
        // So much that something is done between two reports.
        std::thread::sleep(Duration::from_millis(50));
        self.commands.as_mut().unwrap().write_all(b"report\n").unwrap();
        let mut line = String::new();
        while !line.starts_with("report ") {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the process that signs has ended");
        }
        let told: Value = serde_json::from_str(&line["report ".len()..]).unwrap();
        Report { good: told["good"].as_u64().unwrap(), bad: told["bad"].as_object().unwrap().clone() }
    }
}

impl Drop for Signing {
    fn drop(&mut self) {
        self.commands.take();
        drop(self.child.wait());
    }
}

/// A source of credentials: each that it gives is another, and KMS knows the last two.
#[derive(Clone)]
struct Spring {
    name: &'static str,
    server: Arc<Server>,
    given: Arc<AtomicU64>,
    /// Whether it answers with what breaks it.
    dead: Arc<AtomicBool>,
}

impl Spring {
    /// The next credentials: their access key, and when they expire. `None` while it is dead.
    fn next(&self) -> Option<(String, SystemTime)> {
        if self.dead.load(Ordering::SeqCst) {
            return None;
        }
        let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        let key = |number: u64| format!("{}{number}", self.name);
        // Calls that were begun with the one before may still be on their way.
        let known: Map<String, Value> = [number - 1, number]
            .into_iter()
            .map(|number| (key(number), json!({"arn": "arn:aws:iam::111122223333:root"})))
            .collect();
        self.server.set_principals(&Value::from(known).to_string()).unwrap();
        Some((key(number), SystemTime::now() + LIFE))
    }

    fn given(&self) -> u64 {
        self.given.load(Ordering::SeqCst)
    }
}

/// The token on a KMS of its own, and the source; without credentials yet.
fn scene(name: &'static str, more: &str) -> (Setup, Spring, Setup) {
    let folder = Setup::empty();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path("kms.json"), true).unwrap();
    let lines = format!(
        "kms_key_id = \"{DEFAULT_ALIAS}\"\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\nlogin = \"none\"\n\
         cache = {{ max_age = 0 }}\n{more}",
        server.url()
    );
    let spring = Spring { name, server: Arc::new(server), given: Arc::default(), dead: Arc::default() };
    (Setup::empty().configured(&lines), spring, folder)
}

/// Signs while credentials come and go; then the source dies, and comes back. `dead` is what callers are told then.
fn outlives(setup: &Setup, spring: &Spring, dead: &str) {
    outlives_but(setup, spring, dead, |_| {});
}

/// The same; `died` does what it takes beyond that.
fn outlives_but(setup: &Setup, spring: &Spring, dead: &str, died: impl FnOnce(&mut Signing)) {
    setup.ok(&["token", "init"]);
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "load"]);
    let mut signing = Signing::start(setup);
    // Four times others, and not one signature fails.
    let (before, mut good) = (spring.given(), 0);
    while spring.given() < before + 5 {
        let Report { good: more, bad } = signing.report();
        assert!(bad.is_empty(), "{bad:?}");
        good += more;
    }
    assert!(good > 20, "{good} signatures");
    // Nobody asks for more of them than there have to be.
    let asked = spring.given();
    spring.dead.store(true, Ordering::SeqCst);
    died(&mut signing);
    let mut failed = Map::new();
    while failed.is_empty() {
        failed = signing.report().bad;
    }
    failed.extend(signing.report().bad);
    assert!(failed.keys().all(|told| told.starts_with(dead)), "{failed:?}");
    assert_eq!(spring.given(), asked, "it is dead");
    spring.dead.store(false, Ordering::SeqCst);
    loop {
        let Report { good, bad } = signing.report();
        assert!(bad.keys().all(|told| told.starts_with(dead)), "{bad:?}");
        if good > 0 && bad.is_empty() {
            break;
        }
    }
}

/// What a source that is dead answers.
const BROKEN: (u16, String) = (500, String::new());

#[test]
fn container() {
    let (setup, spring, _folder) = scene("CONTAINER", "");
    let source = spring.clone();
    let (url, _) = stand_in(move |_| source.next().map_or(BROKEN, |(key, expires)| (200, document(&key, expires))));
    outlives(&setup.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{url}/v1/credentials")), &spring, "0x111 ");
}

#[test]
fn instance() {
    let (setup, spring, _folder) = scene("INSTANCE", "");
    let source = spring.clone();
    let (url, asked) = stand_in(move |request| {
        aws::instance(request, || source.next().map_or(BROKEN, |(key, expires)| (200, document(&key, expires))))
    });
    let setup = setup.without("AWS_EC2_METADATA_DISABLED").with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
    outlives_but(&setup, &spring, "0x111 ", |signing| {
        // AWS lets an instance go on with what it had while its metadata service is out of order; KMS decides.
        let before = asked.lock().unwrap().len();
        while asked.lock().unwrap().len() == before {
            let Report { bad, .. } = signing.report();
            assert!(bad.is_empty(), "{bad:?}");
        }
        loop {
            let Report { good, bad } = signing.report();
            assert!(bad.is_empty(), "{bad:?}");
            if good > 0 {
                break;
            }
        }
        let nobody = json!({"NOBODY": {"arn": "arn:aws:iam::111122223333:root"}});
        spring.server.set_principals(&nobody.to_string()).unwrap();
    });
}

/// What STS says to who may not have the role any more.
fn denied() -> (u16, String) {
    let error = "<Type>Sender</Type><Code>AccessDenied</Code><Message>not any more</Message>";
    (403, format!("<ErrorResponse><Error>{error}</Error><RequestId>1</RequestId></ErrorResponse>"))
}

fn role(spring: &Spring, action: &'static str) -> impl Fn(&Request) -> (u16, String) + Send + 'static {
    let source = spring.clone();
    move |_: &Request| source.next().map_or_else(denied, |(key, expires)| (200, sts(action, &key, expires)))
}

#[test]
fn web_identity() {
    let (setup, spring, _folder) = scene("WEBIDENTITY", "");
    let (url, _) = stand_in(role(&spring, "AssumeRoleWithWebIdentity"));
    let file = setup.path("token");
    std::fs::write(&file, "a.web.token").unwrap();
    let setup = setup.with("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()).with("AWS_ROLE_ARN", ROLE);
    outlives(&setup.with("AWS_ENDPOINT_URL_STS", &url), &spring, "0x111 ");
}

#[test]
fn assumed_role() {
    let (setup, spring, _folder) = scene("ASSUMED", &format!("role_arn = \"{ROLE}\"\nexternal_id = \"partner\""));
    let (url, _) = stand_in(role(&spring, "AssumeRole"));
    let setup = setup.with("AWS_ACCESS_KEY_ID", "FIRST").with("AWS_SECRET_ACCESS_KEY", "secret");
    outlives(&setup.with("AWS_ENDPOINT_URL_STS", &url), &spring, "0x111 ");
}

#[test]
fn sso_cache() {
    let (setup, spring, _folder) = scene("SSO", "profile = \"dev\"");
    let source = spring.clone();
    // A login that has run out: the portal refuses its token.
    let (url, _) =
        stand_in(move |_| source.next().map_or((401, "{}".to_owned()), |(key, expires)| (200, portal(&key, expires))));
    sso_login(&setup.path(""));
    outlives(&setup.with("AWS_ENDPOINT_URL_SSO", &url), &spring, "0x111 ");
}

/// Keys in a file have no date. When they are changed there and revoked, the refusal of KMS has the file read again.
#[test]
fn profile_whose_keys_are_changed() {
    let (setup, spring, _folder) = scene("PROFILE", "");
    let folder = setup.path(".aws");
    std::fs::create_dir(&folder).unwrap();
    let change = || {
        let (key, _) = spring.next().unwrap();
        // As programs change such a file: whole, by a new one in its place.
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = x\n");
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join("credentials")).unwrap();
    };
    change();
    setup.ok(&["token", "init"]);
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "load"]);
    let mut signing = Signing::start(&setup);
    while signing.report().good == 0 {}
    for _ in 0..6 {
        change();
        let Report { good, bad } = signing.report();
        assert!(bad.is_empty() && good > 0, "{good} signatures, {bad:?}");
    }
}
