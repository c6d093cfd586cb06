//! What AWS has around KMS, by stand-ins on loopback: the instance's metadata, proxies, endpoints of other kinds.

use super::*;

/// A stand-in for an instance's metadata service, for as long as the process lives: its address.
fn instance() -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let address = listener.local_addr().unwrap();
    let role = r#"{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-01-01T00:00:00Z","AccessKeyId":"AKIDINSTANCE",
        "SecretAccessKey":"secret","Token":"session","Expiration":"2099-01-01T00:00:00Z"}"#;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let request = read_head(&mut stream);
            let mut words = request.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            // Version 2: nothing without the token.
            let may = request.to_ascii_lowercase().contains("x-aws-ec2-metadata-token: a-token");
            let (status, body) = match (method, path.trim_end_matches('/')) {
                ("PUT", "/latest/api/token") => (200, "a-token"),
                _ if !may => (401, ""),
                ("GET", "/latest/meta-data/placement/region") => (200, "eu-north-1"),
                ("GET", "/latest/meta-data/iam/security-credentials") => (200, "web"),
                ("GET", "/latest/meta-data/iam/security-credentials/web") => (200, role),
                _ => (404, ""),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            // Who does not want the answer has gone.
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    address
}

/// A request up to the end of its headers.
fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 75\r\n\r\n\
    {\"KeyMetadata\":{\"KeyId\":\"x\",\"Arn\":\"arn:aws:kms:eu-north-1:111122223333:x\"}}";

#[test]
fn the_instance_gives_region_and_credentials() {
    let name = "surroundings::the_instance_gives_region_and_credentials";
    let service = format!("http://{}", instance());
    // Metadata is not asked for by a proxy, and a proxy's variables say nothing of it.
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str()), ("HTTP_PROXY", "http://127.0.0.1:1")];
    if in_child(name, &variables) {
        let (address, asked) = answer_once(WHOLE);
        let mut config = KmsConfig { region: None, ..aws_at(format!("http://{address}")) };
        // KMS is, and this one is named.
        config.proxy = Some(format!("http://{address}"));
        config.timeouts = Timeouts::default();
        let key = Kms::new(&config, RULES).describe_key().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(key.arn, "arn:aws:kms:eu-north-1:111122223333:x");
        let asked = asked.join().unwrap();
        assert!(asked.contains("Credential=AKIDINSTANCE/") && asked.contains("/eu-north-1/kms/"), "{asked}");
        assert!(asked.contains("x-amz-security-token: session"), "{asked}");
    }
}

#[test]
fn an_instance_that_does_not_answer_is_given_up_soon() {
    let name = "surroundings::an_instance_that_does_not_answer_is_given_up_soon";
    // Connections are taken by the kernel and never answered.
    let deaf = TcpListener::bind(ANY_PORT).unwrap();
    let service = format!("http://{}", deaf.local_addr().unwrap());
    if in_child(name, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service)]) {
        for (region, expected) in [(Some("eu-north-1"), Cause::CredentialsMissing), (None, Cause::RegionMissing)] {
            let mut config = aws_at("http://127.0.0.1:1".to_owned());
            config.region = region.map(str::to_owned);
            config.timeouts = Timeouts::default();
            let begun = Instant::now();
            let error = failed(Kms::new(&config, RULES).describe_key());
            assert_eq!(error.cause(), expected, "{error}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }
}

/// No answer of a proxy leads further than to it; whom it is to connect to is what it is asked.
#[test]
fn fips_and_dual_stack_endpoints_are_asked_for_by_their_names() {
    let name = "surroundings::fips_and_dual_stack_endpoints_are_asked_for_by_their_names";
    if in_child(name, &KEYS) {
        for (fips, dual_stack, host) in [
            (false, false, "kms.us-east-1.amazonaws.com"),
            (true, false, "kms-fips.us-east-1.amazonaws.com"),
            (false, true, "kms.us-east-1.api.aws"),
            (true, true, "kms-fips.us-east-1.api.aws"),
        ] {
            let (address, asked) =
                answer_once(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let key_id = embedded::DEFAULT_ALIAS.to_owned();
            let proxy = Some(format!("http://{address}"));
            let config = KmsConfig { key_id, fips, dual_stack, proxy, ..config(KmsBackend::Aws) };
            assert_eq!(failed(Kms::new(&config, RULES).describe_key()).cause(), Cause::KmsUnreachable);
            let asked = asked.join().unwrap();
            assert!(asked.starts_with(&format!("CONNECT {host}:443 ")), "{asked}");
        }
    }
}

#[test]
fn a_proxy_of_the_environment_is_asked_but_not_for_what_it_is_not_for() {
    let name = "surroundings::a_proxy_of_the_environment_is_asked_but_not_for_what_it_is_not_for";
    let (proxy, asked) = answer_once(WHOLE);
    let proxy = format!("http://{proxy}");
    let variables = [KEYS[0], KEYS[1], ("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "127.0.0.1")];
    if in_child(name, &variables) {
        assert!(Kms::new(&aws_at("http://kms.invalid".to_owned()), RULES).describe_key().is_ok());
        let (address, asked) = answer_once(WHOLE);
        assert!(Kms::new(&aws_at(format!("http://{address}")), RULES).describe_key().is_ok());
        assert!(asked.join().unwrap().starts_with("POST / "));
    } else {
        assert!(asked.join().unwrap().starts_with("POST http://kms.invalid/ "));
    }
}
