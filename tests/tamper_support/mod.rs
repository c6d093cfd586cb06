//! A token whose store is edited between uses, by somebody who knows the record format, and who may
//! know the PIN and have the rights to call KMS.

use crate::host::steps::run;
use crate::host::{Place, USER_PIN};
use base64::Engine;
use cryptoki_sys::*;
use datakey::config::{KmsBackend, KmsConfig, StoreLocation};
use datakey::crypto::{Hash, Secret, mac, password, seal_box};
use datakey::error::Cause;
use datakey::kms::{EncryptionContext, HostRules, Kms};
use datakey::object::{Look, policy};
use datakey::store::{self, ObjectId, ObjectRecord, Query, SealForm, Store, TokenRecord, record};
use std::collections::BTreeMap;
use std::path::Path;

/// How one use of a key ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a signature.
    Signed(Vec<u8>),
    /// With this return value, and this device error of the session (0 for none).
    Failed(CK_RV, CK_ULONG),
}

impl Ending {
    /// As the using process says it.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Signed(signature) => signature.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Failed(rv, device_error) => format!("{rv} {device_error}"),
        }
    }

    fn parse(text: &str) -> Self {
        match text.split_once(' ') {
            Some((rv, number)) => Self::Failed(rv.parse().unwrap(), number.parse().unwrap()),
            None => {
                let digits = text.as_bytes().chunks(2);
                let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
                Self::Signed(digits.map(byte).collect())
            }
        }
    }
}

/// What an edit must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    /// CKR_DEVICE_ERROR with this number.
    Device(CK_ULONG),
    /// Some other refusal: the operation is refused before the key is touched.
    Refuse(CK_RV),
    /// Nothing: on the list of what the seal does not cover.
    Work,
}

/// The token under attack. Its keys "1" and "2" differ in nothing but themselves.
pub(crate) struct Victim {
    test: &'static str,
    place: Place,
    pub(crate) store: Box<dyn Store>,
    pub(crate) kms: Kms,
    pub(crate) token: TokenRecord,
    pub(crate) one: ObjectRecord,
    pub(crate) two: ObjectRecord,
    key: p256::ecdsa::VerifyingKey,
    token_key: Secret,
    /// How many edits were tried.
    pub(crate) edits: u32,
    /// What each came to.
    pub(crate) findings: Findings,
}

/// The record's store, as the module opens it.
fn open(place: &Place) -> Box<dyn Store> {
    store::open(&StoreLocation::Sqlite(place.store())).unwrap()
}

/// Who edits.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    /// Somebody who can write the store, and no more.
    WritesStore,
    /// Somebody who has the token key too.
    HasTokenKey,
}

/// What was edited, and what it came to for each who did.
#[derive(Default)]
pub(crate) struct Findings(Vec<(String, [Option<Must>; 2])>);

impl Findings {
    fn note(&mut self, what: &str, who: Who, must: Must) {
        if !self.0.iter().any(|(noted, _)| noted == what) {
            self.0.push((what.to_owned(), [None; 2]));
        }
        let (_, found) = self.0.iter_mut().find(|(noted, _)| noted == what).expect("it was just noted");
        found[who as usize] = Some(must);
    }

    /// Compares a section of `docs/tampering.md` with what was found, or writes it.
    pub(crate) fn check(&self, section: &str) {
        let mut text = format!("## {section}\n\n| edited | without the token key | with it |\n| --- | --- | --- |\n");
        for (what, found) in &self.0 {
            let [without, with] = found.map(|must| must.map_or_else(String::new, Must::said));
            text.push_str(&format!("| {what} | {without} | {with} |\n"));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tampering.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let start = page.find(&format!("## {section}\n")).expect("the page has the section");
        let end = page[start + 3..].find("\n## ").map_or(page.len(), |end| start + 3 + end + 1);
        if std::env::var_os("WRITE_DOCS").is_some() {
            let gap = if end < page.len() { "\n" } else { "" };
            std::fs::write(&path, [&page[..start], &text, gap, &page[end..]].concat()).unwrap();
        } else {
            let stale = "docs/tampering.md is stale: WRITE_DOCS=1 cargo test --test tamper -- --test-threads=1";
            assert!(page[start..end].trim_end() == text.trim_end(), "{stale}");
        }
    }
}

impl Must {
    fn said(self) -> String {
        let of_number = |number| Cause::ALL.iter().find(|cause| CK_ULONG::from(cause.device_error()) == number);
        match self {
            Self::Work => "works".to_owned(),
            Self::Device(number) => format!("{number:#x} {}", of_number(number).expect("a number of the table").name()),
            Self::Refuse(rv) => {
                let cause = Cause::ALL.iter().find(|cause| cause.ckr() == rv).expect("a value of the table");
                format!("`{}`", cause.ckr_name())
            }
        }
    }
}

impl Victim {
    /// Looks at a token that a process has made, with the pairs "1" and "2".
    pub(crate) fn new(test: &'static str, place: Place, config: &KmsConfig) -> Self {
        run(test, "make", &place.configuration());
        let store = open(&place);
        let private = |id: &[u8]| {
            let equal = vec![(CKA_CLASS, CKO_PRIVATE_KEY.to_be_bytes().to_vec()), (CKA_ID, id.to_vec())];
            let ids = store.find(&Query { equal, ..Query::default() }, None, 2).unwrap().ids;
            assert_eq!(ids.len(), 1);
            store.get(&ids[0]).unwrap().unwrap()
        };
        let (one, two) = (private(b"1"), private(b"2"));
        let token = store.token().unwrap().unwrap();
        let kms = Kms::new(config, HostRules { threads_allowed: true, secure_mode: false });
        let token_key = token_key(&token, &kms);
        let key = p256::pkcs8::DecodePublicKey::from_public_key_der(one.attributes.bytes(CKA_PUBLIC_KEY_INFO)).unwrap();
        let mut victim =
            Self { test, place, store, kms, token, one, two, key, token_key, edits: 0, findings: Findings::default() };
        assert_eq!(victim.judge(victim.use_key()), "signed", "before any edit");
        victim
    }

    /// Uses key "1" in a new process.
    pub(crate) fn use_key(&self) -> Ending {
        let said = run(self.test, &format!("use {}", self.one.id), &self.place.configuration());
        Ending::parse(said.last().expect("the use ends somehow"))
    }

    /// What it came to. A signature must at least be one of the key itself.
    fn judge(&mut self, ending: Ending) -> &'static str {
        use p256::ecdsa::signature::Verifier;
        self.edits += 1;
        let Ending::Signed(signature) = ending else { return "failed" };
        let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
        self.key.verify(b"data", &signature).expect("a signature by another key came out");
        "signed"
    }

    /// Checks how a use ends after an edit that has been made.
    pub(crate) fn check(&mut self, what: &str, must: Must) {
        let ending = self.use_key();
        let verdict = self.judge(ending.clone());
        match must {
            Must::Work => assert_eq!(verdict, "signed", "{what}: {ending:?}"),
            Must::Refuse(rv) => {
                assert!(matches!(ending, Ending::Failed(found, _) if found == rv), "{what}: {ending:?}")
            }
            Must::Device(number) => assert_eq!(ending, Ending::Failed(CKR_DEVICE_ERROR, number), "{what}"),
        }
    }

    /// Edits key "1" as somebody does who has the token key and makes the MAC anew, uses it, and puts it back.
    pub(crate) fn edit(&mut self, what: &str, must: Must, change: impl FnOnce(&mut ObjectRecord)) {
        self.findings.note(what, Who::HasTokenKey, must);
        self.edit_blindly(what, must, change, |victim, record| record.mac = Some(victim.mac(record)));
    }

    /// The same as somebody who does not have it, and leaves the MAC as it is, or takes it away.
    pub(crate) fn edit_without_key(&mut self, what: &str, must: Must, change: impl Fn(&mut ObjectRecord)) {
        self.findings.note(what, Who::WritesStore, must);
        self.edit_blindly(what, must, &change, |_, _| {});
        self.edit_blindly(&format!("{what}, without MAC"), must, change, |_, record| record.mac = None);
    }

    fn edit_blindly(
        &mut self,
        what: &str,
        must: Must,
        change: impl FnOnce(&mut ObjectRecord),
        vouch: impl FnOnce(&Self, &mut ObjectRecord),
    ) {
        let mut record = self.one.clone();
        change(&mut record);
        vouch(self, &mut record);
        assert!(record != self.one, "{what} changes nothing");
        record.version = self.one.version;
        self.one.version = self.store.update(&record).unwrap();
        self.check(what, must);
        self.one.version = self.store.update(&self.one).unwrap();
    }

    /// Edits the token's own record as somebody does who has the token key, uses key "1", and puts it back.
    pub(crate) fn edit_token(&mut self, what: &str, must: Must, change: impl FnOnce(&mut TokenRecord)) {
        self.findings.note(&format!("of the token: {what}"), Who::HasTokenKey, must);
        self.edit_token_blindly(what, must, change, |victim, token| {
            token.mac = Some(victim.hmac(&record::vouched_token(token).unwrap()));
        });
    }

    /// The same as somebody who does not have it.
    pub(crate) fn edit_token_without_key(&mut self, what: &str, must: Must, change: impl FnOnce(&mut TokenRecord)) {
        self.findings.note(&format!("of the token: {what}"), Who::WritesStore, must);
        self.edit_token_blindly(what, must, change, |_, _| {});
    }

    fn edit_token_blindly(
        &mut self,
        what: &str,
        must: Must,
        change: impl FnOnce(&mut TokenRecord),
        vouch: impl FnOnce(&Self, &mut TokenRecord),
    ) {
        // The module counts wrong PINs in it.
        self.token.version = self.store.token().unwrap().unwrap().version;
        let mut record = self.token.clone();
        change(&mut record);
        assert!(record != self.token, "{what} changes nothing");
        vouch(self, &mut record);
        self.store.update_token(&record).unwrap();
        self.check(what, must);
        self.token.version = self.store.token().unwrap().unwrap().version;
        self.store.update_token(&self.token).unwrap();
    }

    /// The MAC of an object, rightly.
    pub(crate) fn mac(&self, object: &ObjectRecord) -> store::Mac {
        self.hmac(&record::vouched_object(&self.token.serial, object).unwrap())
    }

    fn hmac(&self, vouched: &[u8]) -> store::Mac {
        let mut key = [0; 32];
        let (salt, info) = (self.token.serial.as_bytes(), b"datakey-pkcs11 record mac v1");
        mac::hkdf_sha256(self.token_key.expose(), salt, info, &mut key).unwrap();
        mac::hmac_sha256(&key, &[vouched])
    }

    /// Key "1"'s blob as KMS made it.
    pub(crate) fn inner_blob(&self, of: &ObjectRecord) -> Vec<u8> {
        let sealed = of.sealed.as_ref().unwrap();
        seal_box::open(self.token_key.expose(), of.id.as_bytes(), &sealed.blob).unwrap().expose().to_vec()
    }

    /// A blob sealed under the token key, rightly, for key "1".
    pub(crate) fn outer_blob(&self, inner: &[u8]) -> Vec<u8> {
        seal_box::seal(self.token_key.expose(), self.one.id.as_bytes(), inner).unwrap()
    }

    /// Key "1"'s encryption context.
    pub(crate) fn context(&self) -> EncryptionContext {
        let user = self.one.sealed.as_ref().unwrap().user_context.iter().cloned().collect();
        policy::encryption_context(&self.token.serial, &self.one.attributes, None, SealForm::Kms, &user).unwrap()
    }

    /// The plaintext of a key, as only KMS tells it.
    pub(crate) fn plaintext(&self, of: &ObjectRecord) -> Secret {
        let user = of.sealed.as_ref().unwrap().user_context.iter().cloned().collect();
        let context =
            policy::encryption_context(&self.token.serial, &of.attributes, None, SealForm::Kms, &user).unwrap();
        self.kms.decrypt(&self.inner_blob(of), &context).unwrap().plaintext
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.place.store()
    }
}

/// The token key as somebody finds it out who knows the PIN, or who may call KMS.
fn token_key(token: &TokenRecord, kms: &Kms) -> Secret {
    let Some(pin) = &token.user_pin else {
        let sealed = token.sealed_token_key.as_ref().unwrap();
        let pairs = sealed.user_context.iter().cloned().collect();
        return kms.decrypt(&sealed.blob, &token_key_context(&token.serial, &pairs)).unwrap().plaintext;
    };
    let cost = password::Cost { memory_kib: pin.memory_kib, iterations: pin.iterations, lanes: pin.lanes };
    let key = password::derive(USER_PIN, &pin.salt, cost).unwrap();
    let bound_to = format!("datakey-pkcs11 token key v2\0{}\0user", token.serial);
    seal_box::open(key.expose(), bound_to.as_bytes(), &pin.wrapped_token_key).unwrap()
}

/// What the token key of a token without PINs is sealed under.
pub(crate) fn token_key_context(serial: &str, pairs: &BTreeMap<String, String>) -> EncryptionContext {
    let policy = base64::engine::general_purpose::STANDARD.encode(Hash::Sha256.digest(b"login=none"));
    pairs
        .iter()
        .fold(EncryptionContext::default(), |context, (key, value)| context.with(key, value))
        .with("datakey-pkcs11:v", "2")
        .with("datakey-pkcs11:token", serial)
        .with("datakey-pkcs11:object", "token-key")
        .with("datakey-pkcs11:spec", "AES_256")
        .with("datakey-pkcs11:usage", "token-key")
        .with("datakey-pkcs11:policy", policy)
}

/// A client's configuration with nothing but a key.
pub(crate) fn kms_config(backend: KmsBackend, endpoint_url: Option<String>, key_id: &str) -> KmsConfig {
    KmsConfig {
        backend,
        key_id: key_id.to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint_url,
        ..KmsConfig::default()
    }
}

/// The id of a row that belongs to nobody.
pub(crate) fn nobody() -> ObjectId {
    ObjectId::from_bytes([0x5a; 16])
}
