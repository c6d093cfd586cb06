//! As much of HTTP/1.1 as tests need that stand between a client and a KMS.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A request or an answer that tells its length.
pub(crate) struct Message {
    /// The first line.
    start: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// One message; `None` where the connection ends before it.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Message>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match from.read(&mut byte)? {
            0 if head.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => head.push(byte[0]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.trim_end().split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let mut message = Message { start, headers: lines.map(header).collect(), body: Vec::new() };
    let length = message.header("content-length").parse().unwrap_or(0);
    message.body = vec![0; length];
    from.read_exact(&mut message.body)?;
    Ok(Some(message))
}

impl Message {
    /// A header, empty where it is not there.
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Puts a header in, in the place of those of its name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The operation of KMS that it asks for.
    pub(crate) fn operation(&self) -> String {
        self.header("x-amz-target").trim_start_matches("TrentService.").to_owned()
    }

    /// When its sender says that it was signed, in seconds since 1970.
    pub(crate) fn time(&self) -> i64 {
        let stamp = self.header("x-amz-date");
        let part = |from: usize, to: usize| stamp.get(from..to).unwrap_or_default();
        let date = [part(0, 4), part(4, 6), part(6, 8)].join("-");
        let time = [part(9, 11), part(11, 13), part(13, 15)].join(":");
        DateTime::from_str(&format!("{date}T{time}Z"), Format::DateTime).expect("a date").secs()
    }

    /// Its body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// As it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.start);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "content-length") {
            bytes += &format!("{name}: {value}\r\n");
        }
        bytes += &format!("content-length: {}\r\n\r\n", self.body.len());
        [bytes.as_bytes(), &self.body].concat()
    }
}

/// Asks a KMS that checks no signatures.
pub(crate) fn ask(kms: SocketAddr, operation: &str, request: &Value) -> Value {
    let mut stream = TcpStream::connect(kms).expect("a KMS that listens");
    let body = request.to_string();
    let length = body.len();
    // Which service is asked, some emulators read here.
    let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0";
    let head = format!("POST / HTTP/1.1\r\nhost: kms\r\nauthorization: {scope}\r\nconnection: close");
    let kind = format!("content-type: application/x-amz-json-1.1\r\nx-amz-target: TrentService.{operation}");
    write!(stream, "{head}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}").expect("a KMS that reads");
    let answer = read(&mut stream).expect("a KMS that answers").expect("an answer");
    assert!(answer.start.contains(" 200 "), "kms:{operation} {request}: {}", answer.json());
    answer.json()
}
