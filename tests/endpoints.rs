//! Which host is asked: FIPS, dual-stack and VPC endpoints, other partitions, and proxies on the way. What stands in for
//! all of them is a proxy that connects to nobody, but speaks TLS under the name that it was to connect to, and passes
//! on what it hears to the embedded KMS.

mod aws;
mod tool;

use datakey::kms::embedded::{self, DEFAULT_ALIAS, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tool::Setup;

/// What one request was sent to, by each word that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Of the proxy.
    connect: String,
    /// In the TLS handshake.
    server_name: String,
    /// Of the request.
    host: String,
    /// What it was signed for: Region and service.
    scope: String,
    /// What the proxy was told of its user.
    proxy_authorization: Option<String>,
}

/// The proxy: its address, and what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// The names that the certificate has.
const NAMES: &[&str] = &[
    "*.amazonaws.com",
    "*.us-east-1.amazonaws.com",
    "*.us-west-2.amazonaws.com",
    "*.us-gov-west-1.amazonaws.com",
    "*.eu-central-1.amazonaws.com",
    "*.kms.eu-central-1.vpce.amazonaws.com",
    "*.cn-north-1.amazonaws.com.cn",
    "*.us-west-2.api.aws",
    "*.eu-central-1.api.aws",
];

fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate of a private authority, `ca.pem`, for all those names.
fn tls(folder: &Path) -> Arc<ServerConfig> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=authority"));
    openssl(folder, &format!("req {key} -keyout key.pem -out request.pem -subj /CN=endpoint"));
    let names = NAMES.iter().map(|name| format!("DNS:{name}")).collect::<Vec<_>>().join(",");
    std::fs::write(folder.join("names"), format!("subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n"))
        .unwrap();
    let sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2";
    openssl(folder, &format!("{sign} -extfile names -out cert.pem"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap(),
        )
        .unwrap();
    Arc::new(config)
}

impl Proxy {
    /// The certificate goes into `folder`. It listens as long as the process lives.
    fn before(kms: SocketAddr, folder: &Path) -> Self {
        let (tls, listener) = (tls(folder), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (tls, noted) = (Arc::clone(&tls), Arc::clone(&noted));
                std::thread::spawn(move || serve(client, tls, kms, &noted));
            }
        });
        Self { address, asked }
    }

    /// All that it was asked since it was last looked at, each once.
    fn asked(&self) -> Vec<Asked> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.dedup();
        asked
    }
}

fn serve(mut client: TcpStream, tls: Arc<ServerConfig>, kms: SocketAddr, noted: &Mutex<Vec<Asked>>) -> Option<()> {
    let head = head(&mut client)?;
    let mut asked = Asked {
        connect: head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned(),
        proxy_authorization: header(&head, "proxy-authorization"),
        ..Asked::default()
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let mut client = StreamOwned::new(ServerConnection::new(tls).ok()?, client);
    loop {
        let request = self::head(&mut client)?;
        asked.server_name = client.conn.server_name().unwrap_or_default().to_owned();
        asked.host = header(&request, "host")?;
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request
        let credential = header(&request, "authorization")?;
        let mut scope = credential.split("Credential=").nth(1)?.split(',').next()?.split('/').skip(2);
        asked.scope = format!("{} {}", scope.next()?, scope.next()?);
        noted.lock().unwrap().push(asked.clone());
        let mut body = vec![0; header(&request, "content-length")?.parse().ok()?];
        client.read_exact(&mut body).ok()?;
        if asked.host.starts_with("sts") {
            let answer = aws::sts("AssumeRole", "ASSUMED", SystemTime::now() + Duration::from_secs(3600));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            client.write_all((head + &answer).as_bytes()).ok()?;
        } else {
            let mut kms = TcpStream::connect(kms).ok()?;
            kms.write_all(&[request.as_bytes(), &body].concat()).ok()?;
            let answer = self::head(&mut kms)?;
            let mut body = vec![0; header(&answer, "content-length")?.parse().ok()?];
            kms.read_exact(&mut body).ok()?;
            client.write_all(&[answer.as_bytes(), &body].concat()).ok()?;
        }
        client.flush().ok()?;
    }
}

/// All up to the end of the headers.
fn head(from: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

struct Scene {
    folder: Setup,
    proxy: Proxy,
    _server: Server,
}

impl Scene {
    fn new() -> Self {
        let folder = Setup::empty();
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path("kms.json"), true).unwrap();
        let address = server.url().trim_start_matches("http://").parse().unwrap();
        Self { proxy: Proxy::before(address, &folder.path("")), folder, _server: server }
    }

    /// A token with these lines that believes the proxy's certificate; it goes by no proxy yet.
    fn setup(&self, lines: &str) -> Setup {
        let roots = self.folder.path("ca.pem");
        let text = format!("kms_key_id = \"{DEFAULT_ALIAS}\"\nlogin = \"none\"\nca_bundle = \"{}\"\n", roots.display());
        let setup = Setup::empty().with("AWS_ACCESS_KEY_ID", "FIRST").with("AWS_SECRET_ACCESS_KEY", "secret");
        setup.configured(&format!("{text}timeouts = {{ attempt = \"5s\", total = \"15s\" }}\n{lines}"))
    }

    /// What is asked when a token with these lines is initialised, which takes one call of KMS.
    fn asked(&self, lines: &str, environment: &[(&str, &str)]) -> Vec<Asked> {
        let setup = self.setup(&format!("proxy = \"http://{}\"\n{lines}", self.proxy.address));
        let setup = environment.iter().fold(setup, |setup, (name, value)| setup.with(name, value));
        setup.ok(&["token", "init"]);
        self.proxy.asked()
    }
}

/// All words agree on this host.
fn all(host: &str, region: &str, service: &str) -> Asked {
    Asked {
        connect: format!("{host}:443"),
        server_name: host.to_owned(),
        host: host.to_owned(),
        scope: format!("{region} {service}"),
        proxy_authorization: None,
    }
}

/// A private name of a VPC endpoint, and one of its zones.
const VPCE: &str = "vpce-0123456789abcdef0-abcd1234.kms.eu-central-1.vpce.amazonaws.com";
const VPCE_ZONE: &str = "vpce-0123456789abcdef0-abcd1234-eu-central-1a.kms.eu-central-1.vpce.amazonaws.com";

#[test]
fn each_endpoint_is_asked_by_the_name_that_aws_documents() {
    let scene = Scene::new();
    let vpce = |host: &str| format!("endpoint_url = \"https://{host}\"");
    for (region, lines, host) in [
        ("eu-central-1", "".to_owned(), "kms.eu-central-1.amazonaws.com"),
        ("us-east-1", "fips = true".to_owned(), "kms-fips.us-east-1.amazonaws.com"),
        ("eu-central-1", "dual_stack = true".to_owned(), "kms.eu-central-1.api.aws"),
        ("us-west-2", "fips = true\ndual_stack = true".to_owned(), "kms-fips.us-west-2.api.aws"),
        ("us-gov-west-1", "fips = true".to_owned(), "kms-fips.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "".to_owned(), "kms.cn-north-1.amazonaws.com.cn"),
        ("eu-central-1", vpce(VPCE), VPCE),
        ("eu-central-1", vpce(VPCE_ZONE), VPCE_ZONE),
    ] {
        let asked = scene.asked(&format!("region = \"{region}\"\n{lines}"), &[]);
        assert_eq!(asked, [all(host, region, "kms")], "{region} {lines}");
    }
}

/// The SDK's own variables hold where the configuration says nothing.
#[test]
fn the_environment_asks_for_endpoints_too() {
    let scene = Scene::new();
    for (variables, host) in [
        (&[("AWS_USE_FIPS_ENDPOINT", "true")][..], "kms-fips.us-west-2.amazonaws.com"),
        (&[("AWS_USE_DUALSTACK_ENDPOINT", "true")], "kms.us-west-2.api.aws"),
    ] {
        let variables = [variables, &[("AWS_REGION", "us-west-2")]].concat();
        assert_eq!(scene.asked("", &variables), [all(host, "us-west-2", "kms")], "{variables:?}");
    }
}

/// STS gives the role's credentials: in the same Region, and by a FIPS endpoint as well.
#[test]
fn a_role_is_assumed_in_the_same_region() {
    let scene = Scene::new();
    let role = "role_arn = \"arn:aws:iam::111122223333:role/pkcs11\"";
    for (region, lines, sts, kms) in [
        ("eu-central-1", "", "sts.eu-central-1.amazonaws.com", "kms.eu-central-1.amazonaws.com"),
        ("us-east-1", "fips = true", "sts-fips.us-east-1.amazonaws.com", "kms-fips.us-east-1.amazonaws.com"),
    ] {
        let asked = scene.asked(&format!("region = \"{region}\"\n{role}\n{lines}"), &[]);
        assert_eq!(asked, [all(sts, region, "sts"), all(kms, region, "kms")], "{region} {lines}");
    }
    // A VPC endpoint of KMS says nothing of STS.
    let asked = scene.asked(&format!("region = \"eu-central-1\"\n{role}\nendpoint_url = \"https://{VPCE}\""), &[]);
    assert_eq!(asked, [all("sts.eu-central-1.amazonaws.com", "eu-central-1", "sts"), all(VPCE, "eu-central-1", "kms")]);
}

/// Who has no certificate for the name that is asked is not believed, whoever signed it.
#[test]
fn an_endpoint_must_have_a_certificate_of_its_name() {
    let scene = Scene::new();
    let proxy = format!("proxy = \"http://{}\"\nregion = \"eu-central-1\"", scene.proxy.address);
    let host = "https://vpce-0123456789abcdef0-abcd1234.kms.eu-west-1.vpce.amazonaws.com";
    let setup = scene.setup(&format!("{proxy}\nendpoint_url = \"{host}\""));
    let run = setup.run(&["--json", "token", "init"]);
    let error = run.json()["error"].clone();
    assert_eq!(error["device_error"], 0x103, "{error}");
    assert!(error["message"].as_str().unwrap().contains("certificate"), "{error}");
    assert_eq!(scene.proxy.asked(), [], "no request was sent");
}

#[test]
fn proxies_of_the_environment() {
    let scene = Scene::new();
    let url = format!("http://{}", scene.proxy.address);
    let with_user = format!("http://us%65r:p%40ss@{}", scene.proxy.address);
    let host = "kms.eu-central-1.amazonaws.com";
    let expected = all(host, "eu-central-1", "kms");
    let run = |variables: &[(&str, &str)]| {
        let setup = scene.setup("region = \"eu-central-1\"");
        let setup = variables.iter().fold(setup, |setup, (name, value)| setup.with(name, value));
        (setup.run(&["--json", "token", "init"]), scene.proxy.asked())
    };
    for variables in [
        &[("HTTPS_PROXY", url.as_str())][..],
        &[("https_proxy", &url)],
        &[("ALL_PROXY", &url)],
        &[("HTTPS_PROXY", &url), ("NO_PROXY", "example.com,.amazonaws.com.cn,169.254.169.254")],
    ] {
        let (run, asked) = run(variables);
        assert!(run.success && asked == [expected.clone()], "{variables:?}: {run:?} {asked:?}");
    }
    let (_, asked) = run(&[("HTTPS_PROXY", &with_user)]);
    // "user:p@ss"
    assert_eq!(asked[0].proxy_authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
    // Where it is not for this host, nobody is asked by it: what is looked up then is found nowhere here.
    for (name, exempt) in [
        ("NO_PROXY", host),
        ("NO_PROXY", ".amazonaws.com"),
        ("NO_PROXY", "amazonaws.com"),
        ("no_proxy", "localhost, .eu-central-1.amazonaws.com"),
        ("NO_PROXY", "*"),
    ] {
        let (run, asked) = run(&[("HTTPS_PROXY", &url), (name, exempt)]);
        assert_eq!(asked, [], "{exempt}");
        assert!(!run.success, "{exempt}: {run:?}");
    }
    // A proxy for requests without TLS is none for these.
    let (run, asked) = run(&[("HTTP_PROXY", &url)]);
    assert!(!run.success && asked.is_empty(), "{run:?}");
    // The configuration's holds for all that goes to KMS.
    let asked = scene.asked("region = \"eu-central-1\"", &[("NO_PROXY", "*"), ("HTTPS_PROXY", "http://127.0.0.1:1")]);
    assert_eq!(asked, [expected]);
}
