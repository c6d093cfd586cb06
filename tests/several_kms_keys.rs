//! A token that more than one KMS key seals: a second Region, a key beside the first, a replica of a multi-Region key.

mod tool;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use datakey::counters::Count;
use datakey::error::Cause;
use datakey::kms::embedded::{self, FaultKind, Server};
use datakey::kms::{DataKeyPair, EncryptionContext};
use datakey::object::{self, Template, policy};
use datakey::store::{ObjectId, ObjectRecord, Query};
use datakey::token::Token;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};
use tool::{Setup, admin, kms_key};

const HERE: &str = "us-east-1";
const THERE: &str = "eu-west-1";

/// The keys of one Region as a stand-in in another has them: those that are multi-Region keys are replicas then.
fn in_region(keys: &Path, region: &str) {
    let mut text: Value = serde_json::from_slice(&std::fs::read(keys).unwrap()).unwrap();
    text["region"] = region.into();
    std::fs::write(keys, text.to_string()).unwrap();
}

/// Two Regions, each with a KMS of its own that answers on loopback.
struct World {
    setup: Setup,
    files: [PathBuf; 2],
    servers: [Option<Server>; 2],
    urls: [String; 2],
    arns: [String; 2],
}

impl World {
    fn new() -> Self {
        Self::with(|files| {
            let here = kms_key(&files[0], false);
            kms_key(&files[1], false);
            in_region(&files[1], THERE);
            [here, kms_key(&files[1], false)]
        })
    }

    fn with(keys: impl FnOnce(&[PathBuf; 2]) -> [String; 2]) -> Self {
        const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "ASIATEST"), ("AWS_SECRET_ACCESS_KEY", "test")];
        static SET: Once = Once::new();
        // SAFETY: nothing in this process reads the environment but Rust's standard library, which has a lock for it.
        SET.call_once(|| CREDENTIALS.iter().for_each(|(name, value)| unsafe { std::env::set_var(name, value) }));
        let setup = CREDENTIALS.iter().fold(Setup::empty(), |setup, (name, value)| setup.with(name, value));
        let files = [setup.path("here.json"), setup.path("there.json")];
        let arns = keys(&files);
        let serve = |file: &PathBuf| embedded::serve(([127, 0, 0, 1], 0).into(), file, true).unwrap();
        let servers = [serve(&files[0]), serve(&files[1])];
        let urls = [servers[0].url(), servers[1].url()];
        Self { setup, files, servers: servers.map(Some), urls, arns }
    }

    /// A token on one of the KMS keys (0 or 1), also sealed by the other.
    fn configured(self, first: usize, more: &str) -> Self {
        let other = 1 - first;
        let line = format!(
            "additional_kms_keys = [{{ kms_key_id = \"{}\", endpoint_url = \"{}\" }}]\n{more}",
            self.arns[other], self.urls[other]
        );
        self.alone(first, &line)
    }

    /// A token on one of them, with these lines.
    fn alone(mut self, first: usize, more: &str) -> Self {
        self.setup = self.setup.configured(&format!(
            "kms_key_id = \"{}\"\nendpoint_url = \"{}\"\ntimeouts = {{ attempt = \"300ms\", total = \"2s\" }}\n{more}",
            self.arns[first], self.urls[first]
        ));
        self
    }

    fn calls(&self, which: usize, operation: &str) -> u64 {
        self.servers[which].as_ref().unwrap().control().calls_of(operation)
    }

    fn reset_calls(&self) {
        self.servers.iter().flatten().for_each(|server| server.control().reset_calls());
    }

    /// From now on nobody listens there.
    fn stop(&mut self, which: usize) {
        self.servers[which] = None;
    }
}

/// A token without PINs, with a key pair, an AES key and a secret that is too long for KMS.
fn filled(world: &World) -> Vec<ObjectId> {
    let setup = &world.setup;
    setup.ok(&["token", "init"]);
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "pair"]);
    setup.ok(&["key", "generate", "--type", "aes-256", "--label", "secret"]);
    let (class, generic) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_GENERIC_SECRET.to_ne_bytes());
    let long = [(CKA_CLASS, &class[..]), (CKA_KEY_TYPE, &generic), (CKA_TOKEN, &[1]), (CKA_VALUE, &[7; 5000])];
    let token = setup.token();
    token.create(object::new_object(&Template::parse(&long).unwrap(), false).unwrap()).unwrap();
    sealed(&token).iter().map(|object| object.id).collect()
}

/// What is sealed.
fn sealed(token: &Token) -> Vec<ObjectRecord> {
    let ids = token.find(&Query::default(), None, 100).unwrap().ids;
    ids.iter().filter_map(|id| token.get(id).unwrap()).filter(|object| object.sealed.is_some()).collect()
}

/// Opens the key anew.
fn open(token: &Token, id: &ObjectId) -> Result<(), Cause> {
    let object = token.get(id).unwrap().unwrap();
    let blob = object.sealed.as_ref().map(|sealed| sealed.blob.clone()).unwrap();
    token.forget_key(*id);
    token.key(&object, policy::seal_tag(&object.attributes, &blob)).map(drop).map_err(|error| error.cause())
}

/// How many KMS keys open each object by themselves.
fn openers(token: &Token) -> Vec<usize> {
    let each = |object: &ObjectRecord| token.open_by_each_key(object).unwrap();
    sealed(token).iter().map(|object| each(object).iter().filter(|(_, opened)| opened.is_ok()).count()).collect()
}

#[test]
fn a_second_region_takes_over_when_the_first_is_gone() {
    let mut world = World::new().configured(0, "login = \"none\"");
    let ids = filled(&world);
    assert_eq!(ids.len(), 3);
    // One call more for each seal: the token key's and three keys'.
    assert_eq!((world.calls(1, "Encrypt"), world.calls(1, "Decrypt"), world.calls(0, "ReEncrypt")), (4, 0, 0));

    let token = world.setup.token();
    assert_eq!(openers(&token), [2, 2, 2]);
    world.reset_calls();
    assert_eq!(ids.iter().map(|id| open(&token, id)).collect::<Vec<_>>(), [Ok(()); 3]);
    assert_eq!((world.calls(0, "Decrypt"), world.calls(1, "Decrypt")), (3, 0), "the first is asked first");
    assert_eq!(token.subject().counters.get(Count::KmsSubstitutes), 0);

    // Nobody in the first Region answers: a new process finds the token key and every key by the second.
    world.stop(0);
    let token = world.setup.token();
    for id in &ids {
        let begun = Instant::now();
        assert_eq!(open(&token, id), Ok(()));
        assert!(begun.elapsed() < Duration::from_secs(4), "the token key and the key each keep their deadline");
    }
    assert_eq!(token.subject().counters.get(Count::KmsSubstitutes), 4);
    assert_eq!(world.calls(1, "Decrypt"), 4);

    // A new key must have both seals, or is none.
    let made = world.setup.run(&["key", "generate", "--type", "p-256", "--label", "new"]);
    assert!(!made.success);
    assert_eq!(sealed(&token).len(), 3);
    // Nor are keys to be had when nobody answers at all; it is the first that the error names.
    world.stop(1);
    let token = world.setup.token();
    assert_eq!(open(&token, &ids[0]), Err(Cause::KmsUnreachable));
}

#[test]
fn a_key_that_only_one_region_could_seal_is_none() {
    let mut world = World::new().configured(0, "login = \"none\"");
    let ids = filled(&world);
    world.stop(1);
    let message = world.setup.fails(&["key", "generate", "--type", "p-256", "--label", "new"]);
    assert!(message.contains("kms:Encrypt") && message.contains(THERE), "{message}");
    let token = world.setup.token();
    assert_eq!(sealed(&token).len(), ids.len());
    // What is there is used as before.
    assert_eq!(open(&token, &ids[0]), Ok(()));
}

#[test]
fn a_denial_or_a_disabled_key_is_passed_over_and_a_broken_seal_is_not() {
    let world = World::new().configured(0, "login = \"none\"");
    let ids = filled(&world);
    let here = world.arns[0].clone();
    let disable = |disable: bool| {
        admin(&world.files[0], async |kms| match disable {
            true => kms.disable_key().key_id(&here).send().await.map(drop).unwrap(),
            false => kms.enable_key().key_id(&here).send().await.map(drop).unwrap(),
        });
    };
    disable(true);
    let token = world.setup.token();
    assert_eq!(open(&token, &ids[0]), Ok(()));
    disable(false);

    let control = world.servers[0].as_ref().unwrap().control();
    let deny =
        |code: &str| control.inject_any(FaultKind::Error { code: code.into(), status: None, message: "".into() });
    deny("AccessDeniedException");
    assert_eq!(open(&token, &ids[0]), Ok(()));
    let before = world.calls(1, "Decrypt");
    for (code, cause) in
        [("InvalidCiphertextException", Cause::SealBroken), ("IncorrectKeyException", Cause::SealWrongKey)]
    {
        deny(code);
        assert_eq!(open(&token, &ids[0]), Err(cause), "{code}");
    }
    assert_eq!(world.calls(1, "Decrypt"), before, "what was altered is told, not worked around");
}

/// A bound attribute moves every seal to the new context.
#[test]
fn changes_and_copies_keep_every_seal() {
    let world = World::new().configured(0, "");
    let setup = world.setup.initialised();
    let world = World { setup, ..world };
    world.setup.ok(&["key", "generate", "--type", "p-256", "--label", "pair"]);
    let token = world.setup.token();
    token.hold_key(token.check_pin(datakey::token::User::User, tool::USER_PIN.as_bytes()).unwrap());
    assert_eq!(openers(&token), [2]);
    world.reset_calls();
    let object = sealed(&token).remove(0);
    let template = Template::parse(&[(CKA_DERIVE, &[0])]).unwrap();
    let changed = token.change(&object, &template, false).unwrap();
    assert_eq!([0, 1].map(|which| (world.calls(which, "ReEncrypt"), world.calls(which, "Decrypt"))), [(1, 0); 2]);
    assert_eq!(openers(&token), [2]);
    let copy = token.copy(&changed, None, changed.attributes.clone()).unwrap();
    assert_eq!(copy.record.sealed.unwrap().further.len(), 1);
    assert_eq!(openers(&token), [2, 2]);
}

/// Into another Region and out of the first, while the token is in use.
#[test]
fn a_token_moves_to_another_region() {
    let world = World::new().alone(0, "login = \"none\"");
    let ids = filled(&world);
    let checked = |world: &World| world.setup.ok(&["verify", "--each-kms-key"])["checked"].clone();
    assert_eq!(checked(&world), 4);

    // The new key is added.
    let world = world.configured(0, "login = \"none\"");
    assert_eq!(world.setup.ok(&["verify"])["checked"], 4, "what is there opens as before");
    let lacking = world.setup.run(&["verify", "--each-kms-key"]);
    assert!(!lacking.success && lacking.out.contains("no seal of the KMS key"), "{lacking:?}");
    assert_eq!(world.setup.ok(&["rewrap", "--dry-run"])["to_move"], 3);
    let done = world.setup.ok(&["rewrap"]);
    assert_eq!((&done["moved"], &done["token_key_moved"]), (&3.into(), &true.into()), "{done}");
    assert_eq!(world.setup.ok(&["rewrap"])["moved"], 0);
    assert_eq!(checked(&world), 4);

    // It becomes the first, and opens everything at once; rewrap has the seals in their new order, without making any.
    let world = world.configured(1, "login = \"none\"");
    let token = world.setup.token();
    assert_eq!(ids.iter().map(|id| open(&token, id)).collect::<Vec<_>>(), [Ok(()); 3]);
    world.reset_calls();
    assert_eq!(world.setup.ok(&["rewrap"])["moved"], 3);
    assert_eq!([0, 1].map(|which| world.calls(which, "Encrypt") + world.calls(which, "ReEncrypt")), [0; 2]);
    assert_eq!(checked(&world), 4);

    // The old one goes.
    let mut world = world.alone(1, "login = \"none\"");
    world.stop(0);
    assert_eq!(checked(&world), 4);
    assert_eq!(world.setup.ok(&["rewrap"])["moved"], 3);
    assert_eq!(checked(&world), 4);
    let seals = |object: &ObjectRecord| object.sealed.as_ref().unwrap().kms_key_arns().count();
    assert!(sealed(&world.setup.token()).iter().all(|object| seals(object) == 1));
}

/// Swapped before the new key has sealed anything: the old one stands in, and rewrap makes it good.
#[test]
fn a_new_first_key_seals_by_what_the_other_opens() {
    let world = World::new().alone(0, "login = \"none\"");
    let ids = filled(&world);
    let world = world.configured(1, "login = \"none\"");
    let token = world.setup.token();
    assert_eq!(ids.iter().map(|id| open(&token, id)).collect::<Vec<_>>(), [Ok(()); 3]);
    assert_eq!(world.setup.ok(&["rewrap"])["moved"], 3);
    assert_eq!(world.setup.ok(&["verify", "--each-kms-key"])["checked"], 4);
    let first = |object: &ObjectRecord| object.sealed.as_ref().unwrap().kms_key_arn.clone();
    assert!(sealed(&world.setup.token()).iter().all(|object| first(object) == world.arns[1]));
}

/// A seal is given up only when what stays was seen to open.
#[test]
fn rewrap_gives_up_nothing_for_a_seal_that_does_not_open() {
    let world = World::new().configured(0, "login = \"none\"");
    filled(&world);
    let world = world.alone(1, "login = \"none\"");
    let there = world.arns[1].clone();
    admin(&world.files[1], async |kms| kms.disable_key().key_id(&there).send().await.map(drop).unwrap());
    assert!(world.setup.fails(&["rewrap"]).contains("disabled"));
    // As it was.
    let world = world.configured(0, "login = \"none\"");
    assert_eq!(openers(&world.setup.token()), [1; 3]);
    admin(&world.files[1], async |kms| kms.enable_key().key_id(&there).send().await.map(drop).unwrap());
    assert_eq!(openers(&world.setup.token()), [2; 3]);
}

/// The replica of a multi-Region key opens what the primary sealed: no call more, no seal more.
#[test]
fn a_replica_needs_no_seal_of_its_own() {
    let mut world = World::with(|files| {
        let here = kms_key(&files[0], true);
        std::fs::copy(&files[0], &files[1]).unwrap();
        in_region(&files[1], THERE);
        assert!(here.contains(":key/mrk-"), "{here}");
        let there = here.replace(HERE, THERE);
        [here, there]
    })
    .configured(0, "login = \"none\"");
    let ids = filled(&world);
    assert_eq!(world.calls(1, "Encrypt"), 0);
    assert_eq!(world.setup.ok(&["rewrap", "--dry-run"])["to_move"], 0);
    assert_eq!(openers(&world.setup.token()), [2; 3]);
    world.stop(0);
    let token = world.setup.token();
    assert_eq!(ids.iter().map(|id| open(&token, id)).collect::<Vec<_>>(), [Ok(()); 3]);
    // In the other Region it is the other way round, on the same store.
    let world = world.configured(1, "login = \"none\"");
    assert_eq!(world.setup.ok(&["rewrap", "--dry-run"])["to_move"], 0);
    world.setup.ok(&["key", "generate", "--type", "p-256", "--label", "new"]);
    assert_eq!(world.setup.ok(&["verify"])["checked"], 6);
}

/// A second key of the same Region is led to by ReEncrypt: it needs no plaintext and gives no right to open.
#[test]
fn a_key_beside_the_first_takes_no_plaintext() {
    let world = World::new();
    let beside = kms_key(&world.files[0], false);
    let more = format!("additional_kms_keys = [{{ kms_key_id = \"{beside}\" }}]\ngenerate = \"without-plaintext\"");
    let world = world.alone(0, &more);
    let setup = world.setup.initialised();
    let world = World { setup, ..world };
    world.setup.ok(&["key", "generate", "--type", "p-384", "--label", "pair"]);
    world.setup.ok(&["key", "generate", "--type", "aes-128", "--label", "secret"]);
    assert_eq!(["Encrypt", "Decrypt", "ReEncrypt"].map(|operation| world.calls(0, operation)), [0, 0, 2]);
    assert_eq!(world.setup.ok(&["verify", "--each-kms-key"])["checked"], 3);
    // In another Region it would take the plaintext, which this configuration forbids.
    let world = world.configured(0, "generate = \"without-plaintext\"");
    let refused = world.setup.run(&["key", "list"]);
    assert!(!refused.success && (refused.out + &refused.err).contains("takes the plaintext"));
}

/// Keys that another client sealed get the further seals too.
/// A key pair that another client of the first KMS key has.
fn foreign(token: &Token) -> DataKeyPair {
    let context = EncryptionContext::new(&std::collections::BTreeMap::from([("who".into(), "other".into())])).unwrap();
    token.kms().wrapping().generate_data_key_pair(datakey::kms::KeyPairSpec::EccNistP256, &context).unwrap()
}

fn import(world: &World, sealed: &[u8], public_key: &[u8]) {
    let answer = serde_json::json!({
        "PrivateKeyCiphertextBlob": STANDARD.encode(sealed),
        "PublicKey": STANDARD.encode(public_key),
    });
    let file = world.setup.path("pair.json");
    std::fs::write(&file, answer.to_string()).unwrap();
    let file = file.display().to_string();
    world.setup.ok(&["key", "import", "--context", "who=other", "--label", "foreign", &file]);
}

#[test]
fn an_imported_seal_is_completed() {
    let world = World::new().configured(0, "login = \"none\"");
    world.setup.ok(&["token", "init"]);
    let pair = foreign(&world.setup.token());
    import(&world, &pair.sealed, &pair.public_key);
    assert_eq!(openers(&world.setup.token()), [2]);
}

/// A key that is not its object's: the error names the KMS key that opened it, whichever that was.
#[test]
fn what_does_not_fit_is_said_of_the_kms_key_that_opened_it() {
    let mut world = World::new().configured(0, "login = \"none\"");
    world.setup.ok(&["token", "init"]);
    let token = world.setup.token();
    import(&world, &foreign(&token).sealed, &foreign(&token).public_key);
    for which in [0, 1] {
        let token = world.setup.token();
        let object = sealed(&token).remove(0);
        let blob = &object.sealed.as_ref().unwrap().blob;
        let error = token.key(&object, policy::seal_tag(&object.attributes, blob)).err().unwrap();
        assert_eq!(error.cause(), Cause::SealKeyMismatch);
        let (text, by) = (error.to_string(), format!("kms:Decrypt (KMS key {}", world.arns[which]));
        assert!(text.contains(&by), "{text}");
        world.stop(0);
    }
}

/// Automatic and on demand, KMS keeps the old material: what was sealed before opens, and so does what comes after.
#[test]
fn a_rotated_kms_key_opens_everything() {
    let world = World::new().configured(0, "login = \"none\"");
    filled(&world);
    for _ in 0..2 {
        for (file, arn) in world.files.iter().zip(&world.arns) {
            admin(file, async |kms| kms.rotate_key_on_demand().key_id(arn).send().await.map(drop).unwrap());
        }
        world.setup.ok(&["key", "generate", "--type", "aes-256", "--label", "later"]);
        world.setup.ok(&["verify", "--each-kms-key"]);
    }
    assert_eq!(openers(&world.setup.token()), [2; 5]);
    assert_eq!(world.setup.ok(&["rewrap", "--dry-run"])["to_move"], 0, "a rotation moves nothing");
}

#[test]
fn doctor_and_policy_know_every_kms_key() {
    let world = World::new().configured(0, "login = \"none\"");
    filled(&world);
    let policy = world.setup.ok(&["policy", "--with", "failover"]);
    let statements = policy["Statement"].as_array().unwrap();
    let resources: Vec<_> = statements.iter().map(|statement| statement["Resource"].as_str().unwrap()).collect();
    assert_eq!(resources, world.arns);
    assert_eq!(statements[1]["Action"], serde_json::json!(["kms:Decrypt", "kms:Encrypt"]));
    let told = world.setup.run(&["doctor"]);
    let of_key = |text: &str| told.out.contains(&format!("the additional KMS key {} {text}", world.arns[1]));
    assert!(told.success && of_key("answers"), "{told:?}");
    let mut world = world;
    world.stop(1);
    let told = world.setup.run(&["doctor"]);
    assert!(!told.success && told.out.contains(&format!("the additional KMS key {}", world.arns[1])), "{told:?}");
}
