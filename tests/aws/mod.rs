//! Stand-ins for what gives AWS credentials: metadata services, STS, the portal of SSO.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// One request to a stand-in.
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    headers: String,
    body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn says(&self, what: &str) -> bool {
        self.body.split('&').any(|pair| pair == what)
    }
}

/// A server on loopback that answers each request with a status and a body; its URL, and what it was asked.
pub(crate) fn stand_in(
    answer: impl Fn(&Request) -> (u16, String) + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut reader = BufReader::new(&client);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let (line, headers) = head.split_once("\r\n").unwrap_or_default();
            let mut request = Request { line: line.to_owned(), headers: headers.to_owned(), body: String::new() };
            let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            reader.take(length).read_to_string(&mut request.body).unwrap();
            noted.lock().unwrap().push(request.line.clone());
            let (status, body) = answer(&request);
            let head = format!("HTTP/1.1 {status} Answer\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
            // Of a token, and of no refusal.
            let ttl = if status == 200 { "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n" } else { "" };
            // Who went away does not want it.
            let _ = write!(&client, "{head}{ttl}\r\n{body}");
        }
    });
    (url, asked)
}

pub(crate) fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

pub(crate) fn date(when: SystemTime) -> String {
    DateTime::from(when).fmt(Format::DateTime).unwrap()
}

/// What containers and instances are told.
pub(crate) fn document(access_key: &str, expires: SystemTime) -> String {
    let expiration = date(expires);
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": date(SystemTime::now()),
        "AccessKeyId": access_key, "SecretAccessKey": "secret", "Token": "token", "Expiration": expiration,
    })
    .to_string()
}

/// What STS answers.
pub(crate) fn sts(action: &str, access_key: &str, expires: SystemTime) -> String {
    let expiration = date(expires);
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
         <Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>AROA:web</AssumedRoleId>\
         <Arn>arn:aws:sts::111122223333:assumed-role/pkcs11/web</Arn></AssumedRoleUser></{action}Result>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// The answer of an instance's metadata service, version 2 alone: nothing without a token. `role` gives the credentials.
pub(crate) fn instance(request: &Request, role: impl FnOnce() -> (u16, String)) -> (u16, String) {
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    match (path, request.header("x-aws-ec2-metadata-token")) {
        ("/latest/api/token", _) => match request.line.starts_with("PUT ") {
            true => (200, "a session".to_owned()),
            false => (405, String::new()),
        },
        (_, token) if token != Some("a session") => (401, String::new()),
        ("/latest/meta-data/iam/security-credentials/", _) => (200, "pkcs11".to_owned()),
        ("/latest/meta-data/iam/security-credentials/pkcs11", _) => role(),
        _ => (404, String::new()),
    }
}

/// What the portal of SSO answers to who shows the token of a login.
pub(crate) fn portal(access_key: &str, expires: SystemTime) -> String {
    let expiration = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let keys = json!({
        "accessKeyId": access_key, "secretAccessKey": "secret", "sessionToken": "token", "expiration": expiration,
    });
    json!({ "roleCredentials": keys }).to_string()
}

/// Writes what `aws sso login` leaves, for the profile "dev", into the folder of a user's home.
pub(crate) fn sso_login(home: &std::path::Path) {
    let cache = home.join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let start = "https://example.awsapps.com/start";
    let text = format!(
        "[profile dev]\nsso_start_url = {start}\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = pkcs11\n"
    );
    std::fs::write(home.join(".aws/config"), text).unwrap();
    let login = json!({
        "startUrl": start, "region": "us-east-1", "accessToken": "a login", "expiresAt": date(in_an_hour()),
    });
    // Its name is the SHA-1 of the start URL.
    let name: String =
        datakey::crypto::Hash::Sha1.digest(start.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    std::fs::write(cache.join(format!("{name}.json")), login.to_string()).unwrap();
}
