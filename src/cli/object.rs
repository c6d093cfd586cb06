//! Objects of a token as commands see them: found by name, told of, held as pairs.

use super::output::{Failure, table};
use crate::error::Error;
use crate::object::certificate::Certificate;
use crate::object::keypair::spec_of;
use crate::object::{Answer, Look, policy};
use crate::session::{Room, Session};
use crate::store::{ObjectId, ObjectRecord, Query};
use crate::token::Token;
use cryptoki_sys::*;
use der::pem::{LineEnding, encode_string};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many objects are asked for at once.
const PAGE: usize = 256;

/// The classes of keys, and what they are called.
pub(super) const KEYS: &[(CK_OBJECT_CLASS, &str)] =
    &[(CKO_PRIVATE_KEY, "private"), (CKO_PUBLIC_KEY, "public"), (CKO_SECRET_KEY, "secret"), (CKO_OTP_KEY, "otp")];

/// An object that the session sees.
pub(super) struct Seen {
    pub(super) handle: CK_OBJECT_HANDLE,
    pub(super) record: ObjectRecord,
}

impl Seen {
    /// One that is known by its id alone, and has no handle.
    pub(super) fn by_id(record: ObjectRecord) -> Self {
        Self { handle: CK_INVALID_HANDLE, record }
    }

    pub(super) fn class(&self) -> CK_OBJECT_CLASS {
        self.record.attributes.number(CKA_CLASS).unwrap_or(CKO_DATA)
    }

    /// "private", "public", "secret", "otp", "certificate"; "data" for everything else.
    pub(super) fn class_name(&self) -> &'static str {
        let named = KEYS.iter().chain(&[(CKO_CERTIFICATE, "certificate")]);
        named.into_iter().find(|(class, _)| *class == self.class()).map_or("data", |(_, name)| name)
    }

    pub(super) fn label(&self) -> String {
        String::from_utf8_lossy(self.record.attributes.bytes(CKA_LABEL)).into_owned()
    }

    pub(super) fn id(&self) -> &[u8] {
        self.record.attributes.bytes(CKA_ID)
    }

    /// The DER of the public key of either half of a pair, or of a certificate's; empty where there is none.
    pub(super) fn public_key(&self) -> &[u8] {
        match self.class() {
            CKO_CERTIFICATE => {
                let parsed = Certificate::parse(self.record.attributes.bytes(CKA_VALUE));
                parsed.map_or(&[], |certificate| certificate.public_key_info)
            }
            _ => self.record.attributes.bytes(CKA_PUBLIC_KEY_INFO),
        }
    }

    /// What is told of it.
    pub(super) fn json(&self) -> Value {
        let attributes = &self.record.attributes;
        let usage = match attributes.class() {
            Ok(class) if self.record.sealed.is_some() => Some(policy::usage(class, attributes)),
            _ => None,
        };
        let sealed = self.record.sealed.as_ref();
        json!({
            "class": self.class_name(),
            "label": self.label(),
            "id": hex(self.id()),
            "unique_id": self.record.id.to_string(),
            "spec": spec_of(attributes),
            "usage": usage,
            "kms_key_arn": sealed.map(|sealed| sealed.kms_key_arn.as_str()),
            "additional_kms_key_arns": sealed.map(|sealed| sealed.kms_key_arns().skip(1).collect::<Vec<_>>()),
        })
    }
}

/// What [`Seen::json`] tells, in the order in which people are told.
pub(super) const COLUMNS: &[&str] = &["class", "spec", "label", "id", "usage", "unique_id", "kms_key_arn"];

/// Keys as a list.
pub(super) fn listed(keys: &[Value]) -> String {
    let cell = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows: Vec<Vec<String>> =
        keys.iter().map(|key| COLUMNS.iter().map(|column| cell(&key[*column])).collect()).collect();
    table(COLUMNS, &rows)
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads hexadecimal digits; `None` if they are none.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high * 16 + low) as u8).collect())
}

/// A block of PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> Result<String, Failure> {
    encode_string(label, LineEnding::LF, der).map_err(|error| Failure::new(error.to_string()))
}

/// The ids of all objects of a token that match, whoever may see them.
pub(super) fn ids(token: &Token, query: &Query) -> Result<Vec<ObjectId>, Error> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = token.find(query, after, PAGE)?;
        ids.extend(page.ids);
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}

/// The objects of one class that have these attributes.
pub(super) fn find(
    session: &Session,
    class: CK_OBJECT_CLASS,
    also: Option<(CK_ATTRIBUTE_TYPE, &[u8])>,
) -> Result<Vec<Seen>, Failure> {
    let class = class.to_ne_bytes();
    let given: Vec<(CK_ATTRIBUTE_TYPE, &[u8])> = [(CKA_CLASS, &class[..])].into_iter().chain(also).collect();
    session.find_init(&given)?;
    let mut found = Vec::new();
    let searched = loop {
        match session.find(PAGE) {
            Ok(page) if page.is_empty() => break Ok(()),
            Ok(page) => found.extend(page),
            Err(error) => break Err(error),
        }
    };
    session.find_final()?;
    searched?;
    // One that was destroyed meanwhile is none.
    found.into_iter().filter_map(|handle| seen(session, handle).transpose()).collect()
}

/// The object with this handle; `None` if it is gone.
pub(super) fn seen(session: &Session, handle: CK_OBJECT_HANDLE) -> Result<Option<Seen>, Failure> {
    let id = attribute(session, handle, CKA_UNIQUE_ID)?;
    let id = std::str::from_utf8(&id).ok().and_then(|text| text.parse::<ObjectId>().ok());
    let record = id.map(|id| session.slot.token.get(&id)).transpose()?.flatten();
    Ok(record.map(|record| Seen { handle, record }))
}

/// One attribute, in the form that callers see.
pub(super) fn attribute(
    session: &Session,
    handle: CK_OBJECT_HANDLE,
    attribute: CK_ATTRIBUTE_TYPE,
) -> Result<Vec<u8>, Failure> {
    match session.attributes(handle, [(attribute, Room::Bytes(usize::MAX))])?.pop() {
        Some(Ok(Answer::Bytes(value))) => Ok(value),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) | None => Ok(Vec::new()),
    }
}

/// How a key is named on the command line: `id:HEX`, a unique id, or a label.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Id(Vec<u8>),
    Unique(ObjectId),
    Label(String),
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix("id:") {
            return from_hex(digits)
                .map(Name::Id)
                .ok_or_else(|| "an id is written in pairs of hexadecimal digits".into());
        }
        Ok(match (text.strip_prefix("label:"), text.parse()) {
            (Some(label), _) => Name::Label(label.to_owned()),
            (None, Ok(id)) => Name::Unique(id),
            (None, Err(_)) => Name::Label(text.to_owned()),
        })
    }
}

/// A key that was named: both halves of a pair, or a secret key. A unique id means one object alone.
#[derive(Default)]
pub(super) struct Key {
    /// The private or secret key.
    pub(super) private: Option<Seen>,
    pub(super) public: Option<Seen>,
}

impl Key {
    /// The key of this name, of which there must be one.
    pub(super) fn find(session: &Session, name: &Name) -> Result<Self, Failure> {
        let unique;
        let by = match name {
            Name::Id(id) => (CKA_ID, id.as_slice()),
            Name::Label(label) => (CKA_LABEL, label.as_bytes()),
            Name::Unique(id) => {
                unique = id.to_string();
                (CKA_UNIQUE_ID, unique.as_bytes())
            }
        };
        let mut keys: BTreeMap<Vec<u8>, Vec<Seen>> = BTreeMap::new();
        for (class, _) in KEYS {
            for seen in find(session, *class, Some(by))? {
                let own = seen.record.id.as_bytes();
                let identity = if seen.public_key().is_empty() { own } else { seen.public_key() };
                keys.entry(identity.to_vec()).or_default().push(seen);
            }
        }
        let found: Vec<Value> = keys.values().flatten().map(Seen::json).collect();
        let several =
            || Failure::new(format!("several keys have this name; use the unique id of one:\n{}", listed(&found)));
        let one = match keys.len() {
            0 => return Err(Failure::new("no key has this name; datakey-pkcs11 key list shows all")),
            1 => keys.into_values().next().unwrap_or_default(),
            _ => return Err(several()),
        };
        let mut key = Self::default();
        for seen in one {
            let half = if seen.class() == CKO_PUBLIC_KEY { &mut key.public } else { &mut key.private };
            if half.replace(seen).is_some() {
                return Err(several());
            }
        }
        if !matches!(name, Name::Unique(_)) {
            key.complete(session)?;
        }
        Ok(key)
    }

    /// Finds the other half, where it has another label.
    fn complete(&mut self, session: &Session) -> Result<(), Failure> {
        let (class, half, present) = match (&self.private, &self.public) {
            (Some(private), None) if private.class() == CKO_PRIVATE_KEY => (CKO_PUBLIC_KEY, &mut self.public, private),
            (None, Some(public)) => (CKO_PRIVATE_KEY, &mut self.private, public),
            _ => return Ok(()),
        };
        let others = find(session, class, Some((CKA_ID, present.id())))?;
        *half = others.into_iter().find(|other| other.public_key() == present.public_key());
        Ok(())
    }

    /// Its halves.
    pub(super) fn halves(&self) -> impl Iterator<Item = &Seen> {
        self.private.iter().chain(&self.public)
    }

    /// The certificates of its public key that carry its id.
    pub(super) fn certificates(&self, session: &Session) -> Result<Vec<Seen>, Failure> {
        let Some(half) = self.halves().next() else { return Ok(Vec::new()) };
        let mut certificates = find(session, CKO_CERTIFICATE, Some((CKA_ID, half.id())))?;
        certificates
            .retain(|certificate| !half.public_key().is_empty() && certificate.public_key() == half.public_key());
        Ok(certificates)
    }

    /// What is told of it: of the private or secret key, if it is seen.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let Some(half) = self.halves().next() else { return Ok(Value::Null) };
        let mut told = half.json();
        if !half.public_key().is_empty() {
            told["public_key"] = pem("PUBLIC KEY", half.public_key())?.into();
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys() {
        let parse = |text: &str| text.parse::<Name>();
        assert!(matches!(parse("id:01ff"), Ok(Name::Id(id)) if id == [1, 255]));
        for bad in ["id:1", "id:0g", "id:ü0"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(matches!(parse("tls"), Ok(Name::Label(label)) if label == "tls"));
        assert!(matches!(parse("label:id:1"), Ok(Name::Label(label)) if label == "id:1"));
        assert!(matches!(parse("30313233-3435-3637-3839-616263646566"), Ok(Name::Unique(_))));
    }
}
