//! A token whose store is edited between uses, by somebody who knows the record format, and who may
//! know the PIN and have the rights to call KMS.

use crate::host::steps::run;
use crate::host::{Place, USER_PIN};
use base64::Engine;
use cryptoki_sys::*;
use datakey::config::{KmsBackend, KmsConfig, StoreLocation, Timeouts};
use datakey::crypto::{Hash, Secret, password, seal_box};
use datakey::kms::{EncryptionContext, HostRules, Kms};
use datakey::object::{Look, policy};
use datakey::store::{self, ObjectId, ObjectRecord, Query, SealForm, Store, TokenRecord};
use std::collections::BTreeMap;

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
}

/// The record's store, as the module opens it.
fn open(place: &Place) -> Box<dyn Store> {
    store::open(&StoreLocation::Sqlite(place.store())).unwrap()
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
        let mut victim = Self { test, place, store, kms, token, one, two, key, token_key, edits: 0 };
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

    /// Edits key "1", uses it, and puts it back.
    pub(crate) fn edit(&mut self, what: &str, must: Must, change: impl FnOnce(&mut ObjectRecord)) {
        let mut record = self.one.clone();
        change(&mut record);
        assert!(record != self.one, "{what} changes nothing");
        record.version = self.one.version;
        self.one.version = self.store.update(&record).unwrap();
        self.check(what, must);
        self.one.version = self.store.update(&self.one).unwrap();
    }

    /// Edits the token's own record, uses key "1", and puts it back.
    pub(crate) fn edit_token(&mut self, what: &str, must: Must, change: impl FnOnce(&mut TokenRecord)) {
        // The module counts wrong PINs in it.
        self.token.version = self.store.token().unwrap().unwrap().version;
        let mut record = self.token.clone();
        change(&mut record);
        assert!(record != self.token, "{what} changes nothing");
        self.store.update_token(&record).unwrap();
        self.check(what, must);
        self.token.version = self.store.token().unwrap().unwrap().version;
        self.store.update_token(&self.token).unwrap();
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
    let bound_to = format!("datakey-pkcs11 token key v1\0{}\0user", token.serial);
    seal_box::open(key.expose(), bound_to.as_bytes(), &pin.wrapped_token_key).unwrap()
}

/// What the token key of a token without PINs is sealed under.
pub(crate) fn token_key_context(serial: &str, pairs: &BTreeMap<String, String>) -> EncryptionContext {
    let policy = base64::engine::general_purpose::STANDARD.encode(Hash::Sha256.digest(b"login=none"));
    pairs
        .iter()
        .fold(EncryptionContext::default(), |context, (key, value)| context.with(key, value))
        .with("datakey-pkcs11:v", "1")
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
        encryption_context: BTreeMap::new(),
        grant_tokens: Vec::new(),
        region: Some("us-east-1".to_owned()),
        profile: None,
        role_arn: None,
        role_session_name: None,
        external_id: None,
        endpoint_url,
        fips: false,
        dual_stack: false,
        proxy: None,
        ca_bundle: None,
        timeouts: Timeouts::default(),
    }
}

/// The id of a row that belongs to nobody.
pub(crate) fn nobody() -> ObjectId {
    ObjectId::from_bytes([0x5a; 16])
}
