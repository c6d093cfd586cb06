//! A listener between the module and a KMS: it sees who asks on which connection, and the plaintext keys in
//! the answers. With TLS too, which ends here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What went over one connection.
#[derive(Default)]
struct Talk {
    asked: Mutex<Vec<u8>>,
    answered: Mutex<Vec<u8>>,
}

/// The listener. It listens as long as the process lives.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// The certificate that it shows, if it speaks TLS: its own root.
    certificate: Option<PathBuf>,
    talks: Arc<Mutex<Vec<Arc<Talk>>>>,
}

impl Proxy {
    /// Listens, and passes everything on to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::listen(target, None, |client, server, talk| {
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let asked = Arc::clone(&talk);
            std::thread::spawn(move || pass(from, to, &asked.asked));
            pass(server, client, &talk.answered);
        })
    }

    /// The same with TLS. The certificate goes into `folder`.
    pub(crate) fn with_tls(target: SocketAddr, folder: &Path) -> Self {
        let (certificate, tls) = tls(folder);
        Self::listen(target, Some(certificate), move |client, mut server, talk| {
            let mut client = StreamOwned::new(ServerConnection::new(Arc::clone(&tls)).unwrap(), client);
            while let Some(request) = message(&mut client) {
                talk.asked.lock().unwrap().extend_from_slice(&request);
                server.write_all(&request).unwrap();
                let Some(answer) = message(&mut server) else { break };
                talk.answered.lock().unwrap().extend_from_slice(&answer);
                if client.write_all(&answer).and_then(|()| client.flush()).is_err() {
                    break;
                }
            }
        })
    }

    fn listen(
        target: SocketAddr,
        certificate: Option<PathBuf>,
        serve: impl Fn(TcpStream, TcpStream, Arc<Talk>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, talks) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (all, serve) = (Arc::clone(&talks), Arc::new(serve));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else { continue };
                let talk = Arc::new(Talk::default());
                all.lock().unwrap().push(Arc::clone(&talk));
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(client, server, talk));
            }
        });
        Self { address, certificate, talks }
    }

    /// What a configuration says to reach it.
    pub(crate) fn configuration(&self) -> String {
        let (scheme, roots) = match &self.certificate {
            Some(certificate) => ("https", format!("\nca_bundle = \"{}\"", certificate.display())),
            None => ("http", String::new()),
        };
        let url = format!("{scheme}://{}", self.address);
        format!("kms_key_id = \"alias/datakey-pkcs11\"\nregion = \"us-east-1\"\nendpoint_url = \"{url}\"{roots}")
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.talks.lock().unwrap().len()
    }

    /// Who asked on each connection: the access keys that its requests were signed with, each once.
    pub(crate) fn clients(&self) -> Vec<Vec<String>> {
        let client = |talk: &Arc<Talk>| {
            let mut names = Vec::new();
            for rest in after(&talk.asked.lock().unwrap(), "Credential=") {
                let name = rest.split('/').next().unwrap_or_default().to_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names
        };
        self.talks.lock().unwrap().iter().map(client).collect()
    }

    /// Every plaintext that was answered, in no order, each once.
    pub(crate) fn plaintexts(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for talk in &*self.talks.lock().unwrap() {
            let answered = talk.answered.lock().unwrap();
            for rest in after(&answered, "Plaintext\":\"") {
                let text = rest.split('"').next().unwrap_or_default();
                let plaintext = STANDARD.decode(text).expect("a whole answer");
                if !all.contains(&plaintext) {
                    all.push(plaintext);
                }
            }
        }
        all
    }
}

/// What follows each occurrence of `mark`.
fn after(bytes: &[u8], mark: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(mark).map(|(at, _)| text[at + mark.len()..].chars().take(8192).collect()).collect()
}

fn pass(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16384];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A fresh certificate for this machine, and what a server needs to show it.
fn tls(folder: &Path) -> (PathBuf, Arc<ServerConfig>) {
    let (key, certificate) = (folder.join("tls-key.pem"), folder.join("tls-cert.pem"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"])
        .args(["-subj", "/CN=kms", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&certificate).unwrap()],
            PrivateKeyDer::from_pem_file(&key).unwrap(),
        )
        .unwrap();
    (certificate, Arc::new(config))
}

/// One message of HTTP that tells its length; `None` at the end of the connection.
fn message(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        if let Some(end) = message.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let headers = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"));
            if message.len() >= end + 4 + length.expect("a length").trim().parse::<usize>().unwrap() {
                return Some(message);
            }
        }
        match from.read(&mut buffer) {
            Ok(count @ 1..) => message.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}
