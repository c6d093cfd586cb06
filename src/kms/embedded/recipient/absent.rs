//! A build that does not know of attestation: a request with a `Recipient` is one with a field that is not modelled.

use super::exception::Exception;
use serde_json::Value;

/// There is none.
#[derive(Debug)]
pub(super) enum Attested {}

pub(super) fn read(recipient: Option<&Value>, _: &[String]) -> Result<Option<Result<Attested, String>>, Exception> {
    match recipient {
        None => Ok(None),
        Some(_) => {
            let text = "the embedded KMS of this build does not model the field Recipient";
            Err(Exception::new("UnsupportedOperationException", text))
        }
    }
}

impl Attested {
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        match *self {}
    }

    pub(super) fn envelop(&self, _: &[u8]) -> Result<Vec<u8>, Exception> {
        match *self {}
    }
}

pub(super) fn root(_: &[u8]) -> Result<String, String> {
    Err("this build is without the feature nitro-enclaves".to_owned())
}
