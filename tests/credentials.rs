//! Where credentials come from: each source on a stand-in of its own, and the embedded KMS lets nobody in but whom that
//! source names.

mod aws;
mod tool;

use aws::{document, in_an_hour, portal, sso_login, stand_in, sts};
use datakey::kms::embedded::{self, DEFAULT_ALIAS, Server};
use serde_json::json;
use tool::Setup;

const ROLE: &str = "arn:aws:iam::111122223333:role/pkcs11";

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
        Some("let me in") => (200, document("CONTAINER", in_an_hour())),
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
    let (url, asked) = stand_in(|request| aws::instance(request, || (200, document("INSTANCE", in_an_hour()))));
    let (setup, server) = scene("INSTANCE", "");
    let setup = setup.without("AWS_EC2_METADATA_DISABLED").with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
    works(&setup, &server);
    assert_eq!(asked.lock().unwrap()[0], "PUT /latest/api/token HTTP/1.1");
}

/// Version 1 of the metadata service, which anybody reaches who can have a request sent, is not asked, and believed in
/// no case.
#[test]
fn an_instance_without_tokens_is_not_believed() {
    for refusal in [403, 404, 405] {
        let (url, asked) = stand_in(move |request| match request.line.starts_with("GET ") {
            true if request.line.contains("/pkcs11 ") => (200, document("INSTANCE", in_an_hour())),
            true => (200, "pkcs11".to_owned()),
            false => (refusal, String::new()),
        });
        let (setup, server) = scene("INSTANCE", "");
        let setup = setup.without("AWS_EC2_METADATA_DISABLED").with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
        let message = setup.fails(&["token", "init"]);
        assert!(message.contains("no AWS credentials were found"), "{refusal}: {message}");
        assert_eq!(server.control().total_calls(), 0);
        let asked = asked.lock().unwrap();
        assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with("PUT ")), "{asked:?}");
    }
}

/// The answer to a request for a token goes no further than the instance's hop limit, which is 1 by default: a container
/// waits for it in vain.
#[test]
fn a_hop_limit_that_is_too_low_is_named() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    let (setup, _server) = scene("INSTANCE", "");
    let setup = setup.without("AWS_EC2_METADATA_DISABLED").with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
    let run = setup.run(&["--json", "token", "init"]);
    let told = run.json()["error"].clone();
    assert_eq!(told["device_error"], 0x110, "{told}");
    assert!(told["message"].as_str().unwrap().contains("hop limit"), "{told}");
}

#[test]
fn web_identity() {
    let (url, _) = stand_in(|request| {
        let role = request.says("RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fpkcs11");
        let token = request.says("WebIdentityToken=a.web.token") && request.says("RoleSessionName=web-1");
        match role && token && request.says("Action=AssumeRoleWithWebIdentity") {
            true => (200, sts("AssumeRoleWithWebIdentity", "WEBIDENTITY", in_an_hour())),
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
            true => (200, sts("AssumeRole", "ASSUMED", in_an_hour())),
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
        Some("a login") => (200, portal("SSO", in_an_hour())),
        _ => (401, String::new()),
    });
    let (setup, server) = scene("SSO", "profile = \"dev\"");
    sso_login(&setup.path(""));
    works(&setup.with("AWS_ENDPOINT_URL_SSO", &url), &server);
}

/// Nothing anywhere: an answer, and soon.
#[test]
fn none_at_all() {
    let (setup, _server) = scene("NOBODY", "");
    let message = setup.fails(&["token", "init"]);
    assert!(message.contains("no AWS credentials were found"), "{message}");
}
