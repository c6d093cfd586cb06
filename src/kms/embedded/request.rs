//! A request's fields.

use super::exception::Exception;
use super::recipient::{self, Attested};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One request; all its fields are known to the operation.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) operation: &'static str,
    /// The access key that signed it.
    pub(super) access_key: &'a str,
    fields: Map<String, Value>,
    recipient: Option<Result<Attested, String>>,
}

impl<'a> Request<'a> {
    /// Reads a request body and refuses every field that is not in `known`.
    pub(super) fn parse(
        operation: &'static str,
        known: &[&str],
        access_key: &'a str,
        body: &[u8],
    ) -> Result<Self, Exception> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
            return Err(Exception::new("SerializationException", "the request is not a JSON object"));
        };
        fields.retain(|_, value| !value.is_null());
        if let Some(field) = fields.keys().find(|field| !known.contains(&field.as_str())) {
            return Err(Exception::new(
                "UnsupportedOperationException",
                format!("the embedded KMS does not model the field {field} of {operation}"),
            ));
        }
        Ok(Self { operation, access_key, fields, recipient: None })
    }

    /// Looks at who the answer is to be encrypted for.
    pub(super) fn read_recipient(&mut self, roots: &[String]) -> Result<(), Exception> {
        self.recipient = recipient::read(self.fields.get("Recipient"), roots)?;
        Ok(())
    }

    /// The enclave that has proven itself, if one has.
    pub(super) fn attested(&self) -> Option<&Attested> {
        self.recipient.as_ref()?.as_ref().ok()
    }

    /// The enclave that the answer is to be encrypted for. What proves none is refused here, after permissions.
    pub(super) fn recipient(&self) -> Result<Option<&Attested>, Exception> {
        let proven = self.recipient.as_ref().map(Result::as_ref).transpose();
        proven.map_err(|why| Exception::validation(format!("The attestation document is not valid: {why}")))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Exception> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(malformed(name)),
        }
    }

    pub(super) fn required_text(&self, name: &str) -> Result<&str, Exception> {
        match self.text(name)? {
            Some(text) if !text.is_empty() && text.len() <= 2048 => Ok(text),
            _ => Err(invalid(name, "Member must not be null and must have length between 1 and 2048")),
        }
    }

    /// Bytes of length 1 to `most`.
    pub(super) fn required_blob(&self, name: &str, most: usize) -> Result<Vec<u8>, Exception> {
        let text = self.text(name)?.ok_or_else(|| invalid(name, "Member must not be null"))?;
        let bytes = STANDARD.decode(text).map_err(|_| malformed(name))?;
        if bytes.is_empty() || bytes.len() > most {
            return Err(invalid(name, &format!("Member must have length between 1 and {most}")));
        }
        Ok(bytes)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Exception> {
        match self.fields.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(malformed(name)),
        }
    }

    /// Whether `DryRunModifiers` has its one word, `IGNORE_CIPHERTEXT`.
    pub(super) fn ignores_ciphertext(&self) -> Result<bool, Exception> {
        match self.fields.get("DryRunModifiers") {
            None => Ok(false),
            Some(Value::Array(words)) if words.is_empty() => Ok(false),
            Some(Value::Array(words)) if words.iter().all(|word| word == "IGNORE_CIPHERTEXT") => Ok(true),
            Some(_) => Err(invalid("dryRunModifiers", "Member must satisfy enum value set: [IGNORE_CIPHERTEXT]")),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, Exception> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| malformed(name)),
        }
    }

    /// An encryption context; an absent one is an empty one.
    pub(super) fn context(&self, name: &str) -> Result<BTreeMap<String, String>, Exception> {
        let fields = match self.fields.get(name) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(malformed(name)),
        };
        let pair = |(key, value): (&String, &Value)| match value {
            Value::String(value) => Ok((key.clone(), value.clone())),
            _ => Err(malformed(name)),
        };
        fields.iter().map(pair).collect()
    }

    /// A list of texts; an absent one is an empty one.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&str>, Exception> {
        let values = match self.fields.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(malformed(name)),
        };
        values.iter().map(|value| value.as_str().ok_or_else(|| malformed(name))).collect()
    }

    /// A structure of its own, as it is.
    pub(super) fn structure(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The last check of all: a dry run that gets here would have succeeded.
    pub(super) fn check_dry_run(&self) -> Result<(), Exception> {
        if self.flag("DryRun")? {
            let text = "The request would have succeeded, but the DryRun option is set.";
            return Err(Exception::new("DryRunOperationException", text));
        }
        Ok(())
    }

    /// The only algorithm of a symmetric key, or none at all.
    pub(super) fn check_algorithm(&self, name: &str) -> Result<(), Exception> {
        match self.text(name)? {
            None | Some("SYMMETRIC_DEFAULT") => Ok(()),
            Some(other) => Err(Exception::new(
                "InvalidKeyUsageException",
                format!("Algorithm {other} is incompatible with the key spec"),
            )),
        }
    }
}

pub(super) fn malformed(name: &str) -> Exception {
    Exception::new("SerializationException", format!("{name} is of the wrong type"))
}

pub(super) fn invalid(name: &str, constraint: &str) -> Exception {
    Exception::validation(format!(
        "1 validation error detected: Value at '{name}' failed to satisfy constraint: {constraint}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named_and_null_is_absent() {
        let parse = |body: &str| Request::parse("Decrypt", &["KeyId"], "", body.as_bytes());
        let error = parse(r#"{"KeyId":"x","Recipient":{}}"#).unwrap_err();
        assert_eq!(error.code, "UnsupportedOperationException");
        assert!(String::from_utf8(error.answer().body).unwrap().contains("Recipient"));
        assert!(!parse(r#"{"KeyId":null,"Recipient":null}"#).unwrap().has("KeyId"));
        for bad in ["", "[]", "{", "1"] {
            assert_eq!(parse(bad).unwrap_err().code, "SerializationException", "{bad}");
        }
        assert_eq!(parse(r#"{"KeyId":1}"#).unwrap().required_text("KeyId").unwrap_err().code, "SerializationException");
    }
}
