//! Asking the Nitro Security Module for a document.
//!
//! Requests and responses are CBOR: a map of one text, which names what is asked for, to a map of its fields.

use crate::error::{Cause, Error, Result};
use crate::host::nsm;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a stand-in may take. The driver itself gives up after half a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The device, by its path; opened anew for each document, of which few are needed.
pub(super) struct Device(PathBuf);

impl Device {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// A document about a public key (DER `SubjectPublicKeyInfo`). KMS has no use for a nonce or for data of ours, so
    /// there are none.
    pub(super) fn attest(&self, public_key: &[u8]) -> Result<Vec<u8>> {
        let request = request(public_key).map_err(|error| self.unavailable(error))?;
        let response = self.ask(&request).map_err(|error| self.unavailable(error))?;
        document(&response).map_err(|why| self.unavailable(why))
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Error {
        Cause::AttestationUnavailable.with(format!("{}: {why}", self.0.display()))
    }

    fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        match std::fs::metadata(&self.0)?.file_type().is_socket() {
            true => ask_stand_in(&self.0, request),
            false => nsm::Device::open(&self.0)?.ask(request),
        }
    }
}

/// A program in the place of the driver: it reads a request and writes a response, each behind its length as 4 bytes,
/// big-endian.
fn ask_stand_in(path: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&(request.len() as u32).to_be_bytes())?;
    stream.write_all(request)?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > nsm::MOST_RESPONSE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the response is too long"));
    }
    let mut response = vec![0; len];
    stream.read_exact(&mut response)?;
    Ok(response)
}

fn request(public_key: &[u8]) -> std::result::Result<Vec<u8>, impl std::fmt::Display> {
    let mut encoder = Encoder::new(Vec::new());
    let encoded = (|| {
        encoder.map(1)?.str("Attestation")?.map(3)?;
        encoder.str("user_data")?.null()?.str("nonce")?.null()?;
        encoder.str("public_key")?.bytes(public_key)?.ok()
    })();
    encoded.map(|()| encoder.into_writer())
}

/// The document in a response, or why there is none.
fn document(response: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let nonsense = |_| "the response makes no sense".to_owned();
    let mut decoder = Decoder::new(response);
    // What asks for no fields, and has no answer but that, is a text without a map.
    let entries = match decoder.datatype().map_err(nonsense)? {
        Type::Map => decoder.map().map_err(nonsense)?,
        _ => None,
    };
    if entries != Some(1) {
        return Err("the response is to something else".to_owned());
    }
    match decoder.str().map_err(nonsense)? {
        "Attestation" => {}
        "Error" => return Err(format!("the module answered {}", error_name(&mut decoder))),
        _ => return Err("the response is to something else".to_owned()),
    }
    for _ in 0..decoder.map().map_err(nonsense)?.unwrap_or(0) {
        match decoder.str().map_err(nonsense)? {
            "document" => match decoder.bytes().map_err(nonsense)? {
                [] => return Err("the document is empty".to_owned()),
                document => return Ok(document.to_vec()),
            },
            _ => decoder.skip().map_err(nonsense)?,
        }
    }
    Err("the response has no document".to_owned())
}

/// `InvalidArgument`, …
fn error_name(decoder: &mut Decoder<'_>) -> String {
    let name = decoder.str().unwrap_or("an error without a name");
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ' ').take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_module_takes() {
        let encoded = request(&[7; 3]).map_err(|error| error.to_string()).unwrap();
        let expected = [
            &b"\xa1\x6bAttestation\xa3"[..],
            b"\x69user_data\xf6",
            b"\x65nonce\xf6",
            b"\x6apublic_key\x43\x07\x07\x07",
        ];
        assert_eq!(encoded, expected.concat());
    }

    #[test]
    fn a_response_has_a_document_or_says_why_not() {
        assert_eq!(document(b"\xa1\x6bAttestation\xa1\x68document\x42\x01\x02").unwrap(), [1, 2]);
        assert_eq!(document(b"\xa1\x6bAttestation\xa2\x61x\x81\x01\x68document\x41\x09").unwrap(), [9]);
        for (response, why) in [
            (&b"\xa1\x65Error\x6fInvalidArgument"[..], "answered InvalidArgument"),
            (b"\xa1\x65Error\x01", "an error without a name"),
            (b"\xa1\x6bAttestation\xa1\x68document\x40", "empty"),
            (b"\xa1\x6bAttestation\xa0", "no document"),
            (b"\xa1\x6bAttestation\xa1\x68document\x01", "no sense"),
            (b"\xa1\x69GetRandom\xa0", "something else"),
            (b"\x67LockPCR", "something else"),
            (b"\xa2", "something else"),
            (b"\xbf\xff", "something else"),
            (b"\xa1", "no sense"),
            (b"", "no sense"),
        ] {
            let error = document(response).unwrap_err();
            assert!(error.contains(why), "{response:x?}: {error}");
        }
    }

    #[test]
    fn no_response_is_too_strange() {
        let good = b"\xa1\x6bAttestation\xa1\x68document\x42\x01\x02";
        for at in 0..good.len() {
            let _ = document(&good[..at]);
            for byte in 0..=255 {
                let mut bad = good.to_vec();
                bad[at] = byte;
                let _ = document(&bad);
            }
        }
    }

    #[test]
    fn what_is_no_device_is_named() {
        for path in ["/nonexistent/nsm", "/dev/null", "/"] {
            let error = Device::new(Path::new(path)).attest(&[1]).unwrap_err();
            assert_eq!(error.cause(), Cause::AttestationUnavailable);
            assert!(error.detail().starts_with(&format!("{path}: ")), "{error}");
        }
    }
}
