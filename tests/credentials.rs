//! Where credentials come from: each source on a stand-in of its own, and the embedded KMS lets nobody in but whom that
//! source names.

mod tool;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use datakey::kms::embedded::{self, DEFAULT_ALIAS, Server};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tool::Setup;

const ROLE: &str = "arn:aws:iam::111122223333:role/pkcs11";

/// One request to a stand-in.
struct Request {
    /// Method and path.
    line: String,
    headers: String,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn says(&self, what: &str) -> bool {
        self.body.split('&').any(|pair| pair == what)
    }
}

/// A server on loopback that answers each request with a status and a body; its URL, and what it was asked.
fn stand_in(answer: impl Fn(&Request) -> (u16, String) + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
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
            let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";
            // Who went away does not want it.
            let _ = write!(&client, "{head}{ttl}\r\n{body}");
        }
    });
    (url, asked)
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

fn date(when: SystemTime) -> String {
    DateTime::from(when).fmt(Format::DateTime).unwrap()
}

/// What containers and instances are told.
fn document(access_key: &str) -> String {
    let expiration = date(in_an_hour());
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": date(SystemTime::now()),
        "AccessKeyId": access_key, "SecretAccessKey": "secret", "Token": "token", "Expiration": expiration,
    })
    .to_string()
}

/// What STS answers.
fn sts(action: &str, access_key: &str) -> String {
    let expiration = date(in_an_hour());
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
         <Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>AROA:web</AssumedRoleId>\
         <Arn>arn:aws:sts::111122223333:assumed-role/pkcs11/web</Arn></AssumedRoleUser></{action}Result>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// A token on a KMS that knows this access key and no other, for the tool without any credentials yet.
fn scene(access_key: &str, more: &str) -> (Setup, Server) {
    let setup = Setup::empty();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &setup.path("kms.json"), true).unwrap();
    let known = json!({ access_key: { "arn": "arn:aws:iam::111122223333:root" } });
    server.set_principals(&known.to_string()).unwrap();
    let lines = format!(
        "kms_key_id = \"{DEFAULT_ALIAS}\"\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\nlogin = \"none\"\n{more}",
        server.url()
    );
    (setup.configured(&lines), server)
}

/// `C_InitToken` of a token without PINs is one call of KMS.
fn works(setup: &Setup, server: &Server) {
    setup.ok(&["token", "init"]);
    assert_eq!(server.control().calls_of("GenerateDataKey"), 1);
}

#[test]
fn environment() {
    let (setup, server) = scene("ENVIRONMENT", "");
    works(&setup.with("AWS_ACCESS_KEY_ID", "ENVIRONMENT").with("AWS_SECRET_ACCESS_KEY", "secret"), &server);
}

#[test]
fn profile() {
    let (setup, server) = scene("PROFILE", "profile = \"prod\"");
    let folder = setup.path(".aws");
    std::fs::create_dir(&folder).unwrap();
    let text = "[default]\naws_access_key_id = OTHER\naws_secret_access_key = x\n\
                [prod]\naws_access_key_id = PROFILE\naws_secret_access_key = x\n";
    std::fs::write(folder.join("credentials"), text).unwrap();
    works(&setup, &server);
}

#[test]
fn container() {
    let (url, asked) = stand_in(|request| match request.header("authorization") {
        Some("let me in") => (200, document("CONTAINER")),
        _ => (401, String::new()),
    });
    let (setup, server) = scene("CONTAINER", "");
    let uri = format!("{url}/v1/credentials");
    let setup = setup.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri);
    works(&setup.with("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me in"), &server);
    assert_eq!(*asked.lock().unwrap(), ["GET /v1/credentials HTTP/1.1"]);
}

/// Version 2 of the metadata service: nothing without a token.
#[test]
fn instance() {
    let (url, asked) = stand_in(|request| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        match (path, request.header("x-aws-ec2-metadata-token")) {
            ("/latest/api/token", _) => match request.line.starts_with("PUT ") {
                true => (200, "a session".to_owned()),
                false => (405, String::new()),
            },
            (_, token) if token != Some("a session") => (401, String::new()),
            ("/latest/meta-data/iam/security-credentials/", _) => (200, "pkcs11".to_owned()),
            ("/latest/meta-data/iam/security-credentials/pkcs11", _) => (200, document("INSTANCE")),
            _ => (404, String::new()),
        }
    });
    let (setup, server) = scene("INSTANCE", "");
    let setup = setup.without("AWS_EC2_METADATA_DISABLED").with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
    works(&setup, &server);
    assert_eq!(asked.lock().unwrap()[0], "PUT /latest/api/token HTTP/1.1");
}

#[test]
fn web_identity() {
    let (url, _) = stand_in(|request| {
        let role = request.says("RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fpkcs11");
        let token = request.says("WebIdentityToken=a.web.token") && request.says("RoleSessionName=web-1");
        match role && token && request.says("Action=AssumeRoleWithWebIdentity") {
            true => (200, sts("AssumeRoleWithWebIdentity", "WEBIDENTITY")),
            false => (400, String::new()),
        }
    });
    let (setup, server) = scene("WEBIDENTITY", "");
    let file = setup.path("token");
    std::fs::write(&file, "a.web.token").unwrap();
    let setup = setup.with("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()).with("AWS_ROLE_ARN", ROLE);
    works(&setup.with("AWS_ROLE_SESSION_NAME", "web-1").with("AWS_ENDPOINT_URL_STS", &url), &server);
}

#[test]
fn assumed_role() {
    let (url, _) = stand_in(|request| {
        let role = request.says("RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fpkcs11");
        let names = request.says("RoleSessionName=web-1") && request.says("ExternalId=partner");
        let by = request.header("authorization").is_some_and(|said| said.contains("Credential=FIRST/"));
        match role && names && by && request.says("Action=AssumeRole") {
            true => (200, sts("AssumeRole", "ASSUMED")),
            false => (400, String::new()),
        }
    });
    let more = format!("role_arn = \"{ROLE}\"\nrole_session_name = \"web-1\"\nexternal_id = \"partner\"");
    let (setup, server) = scene("ASSUMED", &more);
    let setup = setup.with("AWS_ACCESS_KEY_ID", "FIRST").with("AWS_SECRET_ACCESS_KEY", "secret");
    works(&setup.with("AWS_ENDPOINT_URL_STS", &url), &server);
}

/// The cache that `aws sso login` leaves.
#[test]
fn sso_cache() {
    let (url, _) = stand_in(|request| match request.header("x-amz-sso_bearer_token") {
        Some("a login") => {
            let expiration = in_an_hour().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
            let keys = json!({
                "accessKeyId": "SSO", "secretAccessKey": "secret", "sessionToken": "token", "expiration": expiration,
            });
            (200, json!({ "roleCredentials": keys }).to_string())
        }
        _ => (401, String::new()),
    });
    let (setup, server) = scene("SSO", "profile = \"dev\"");
    let cache = setup.path(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let start = "https://example.awsapps.com/start";
    let text = format!(
        "[profile dev]\nsso_start_url = {start}\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = pkcs11\n"
    );
    std::fs::write(setup.path(".aws/config"), text).unwrap();
    let login = json!({
        "startUrl": start, "region": "us-east-1", "accessToken": "a login", "expiresAt": date(in_an_hour()),
    });
    // Its name is the SHA-1 of the start URL.
    let name: String =
        datakey::crypto::Hash::Sha1.digest(start.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    std::fs::write(cache.join(format!("{name}.json")), login.to_string()).unwrap();
    works(&setup.with("AWS_ENDPOINT_URL_SSO", &url), &server);
}

/// Nothing anywhere: an answer, and soon.
#[test]
fn none_at_all() {
    let (setup, _server) = scene("NOBODY", "");
    let message = setup.fails(&["token", "init"]);
    assert!(message.contains("no AWS credentials were found"), "{message}");
}
