//! The embedded KMS on a port, for clients in other processes and in other languages.
//!
//! A thread per connection: making an RSA key takes seconds, and nobody else should wait for it.

use super::control::{Fault, Plan};
use super::in_process::request_id;
use super::{Answer, Control, Embedded, operation};
use crate::host::lock::lock;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Requests are a few kilobytes.
const MAX_REQUEST: usize = 1 << 20;

/// A listening embedded KMS; stops when dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    embedded: Embedded,
    /// Whether `/_embedded/…` is answered.
    control_by_http: bool,
    stopping: AtomicBool,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, TcpStream>>,
}

/// Listens on `address` (port 0 for any free one) with the keys in `file`.
///
/// With `control`, whoever can connect can also read call counts (`GET /_embedded/calls`), order faults
/// (`POST /_embedded/faults`, a JSON array of [`Fault`]), take back both (`POST /_embedded/reset`) and say who may do
/// what (`POST /_embedded/principals`, as [`Embedded::set_principals`] takes it).
///
/// # Errors
/// What `bind` says.
pub fn serve(address: SocketAddr, file: &Path, control: bool) -> io::Result<Server> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared {
        embedded: Embedded::new(file),
        control_by_http: control,
        stopping: AtomicBool::new(false),
        next: AtomicU64::new(0),
        connections: Mutex::new(HashMap::new()),
    });
    let acceptor = thread::Builder::new().name("embedded-kms".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || shared.accept(&listener)
    })?;
    Ok(Server { shared, address, acceptor: Some(acceptor) })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as an `endpoint_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its fault queue and call counts.
    pub fn control(&self) -> &Control {
        self.shared.embedded.control()
    }

    /// Says who is who; see [`Embedded::set_principals`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_principals(&self, principals: &str) -> Result<(), String> {
        self.shared.embedded.set_principals(principals)
    }

    /// Trusts another root of enclaves; see [`Embedded::trust_attestation_root`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn trust_attestation_root(&self, certificate: &[u8]) -> Result<(), String> {
        self.shared.embedded.trust_attestation_root(certificate)
    }

    /// Waits as long as it listens: for ever, unless it is dropped by another thread.
    pub fn wait(mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.connections).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor, which then sees that it is to stop.
        if TcpStream::connect(self.address).is_ok() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(self);
            // Without a thread for it the connection is closed, and the client tries again.
            let _ = thread::Builder::new().name("embedded-kms-connection".to_owned()).spawn(move || {
                // A client that goes away is its own business.
                let _ = shared.converse(stream);
            });
        }
    }

    fn converse(self: Arc<Self>, stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.connections).insert(id, stream.try_clone()?);
        let _remove = Remove(&self, id);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
            let service = service_fn(|request| self.respond(request));
            hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await?;
            Ok(())
        })
    }

    async fn respond(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
            return response(Answer::fault(413, "RequestEntityTooLargeException", ""));
        };
        let body = body.to_bytes();
        if self.control_by_http && head.uri.path().starts_with("/_embedded/") {
            return response(self.steer(&head.method, head.uri.path(), &body));
        }
        if head.method != Method::POST || head.uri.path() != "/" {
            return response(Answer::fault(404, "UnknownOperationException", ""));
        }
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = text("x-amz-target");
        match self.control().begin(operation(target)) {
            Plan::Answer => {}
            Plan::AnswerAfter(delay) => tokio::time::sleep(delay).await,
            Plan::Say { status, code, message } => return response(Answer::fault(status, &code, &message)),
            Plan::SayBody { status, text } => return response(Answer { status, body: text.into_bytes() }),
            // An error from here makes hyper close the connection without an answer.
            Plan::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            Plan::Hang => std::future::pending().await,
        }
        match self.embedded.answer(target, text("authorization"), &body) {
            Ok(answer) => response(answer),
            Err(broken) => response(Answer::fault(500, "KMSInternalException", &broken.0)),
        }
    }

    fn control(&self) -> &Control {
        self.embedded.control()
    }

    fn steer(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        let done = |value: serde_json::Value| Answer { status: 200, body: value.to_string().into_bytes() };
        match (method, path) {
            (&Method::GET, "/_embedded/calls") => done(self.control().calls().into_iter().collect()),
            (&Method::POST, "/_embedded/faults") => match serde_json::from_slice::<Vec<Fault>>(body) {
                Ok(faults) => {
                    faults.into_iter().for_each(|fault| self.control().inject(fault));
                    done(serde_json::json!({}))
                }
                Err(error) => Answer::fault(400, "ValidationException", &error.to_string()),
            },
            (&Method::POST, "/_embedded/principals") => {
                match self.embedded.set_principals(&String::from_utf8_lossy(body)) {
                    Ok(()) => done(serde_json::json!({})),
                    Err(why) => Answer::fault(400, "ValidationException", &why),
                }
            }
            (&Method::POST, "/_embedded/reset") => {
                self.control().reset_calls();
                done(serde_json::json!({ "faults": self.control().clear_faults() }))
            }
            _ => Answer::fault(404, "UnknownOperationException", ""),
        }
    }
}

/// Takes a connection off the list when its conversation ends, however it ends.
struct Remove<'a>(&'a Shared, u64);

impl Drop for Remove<'_> {
    fn drop(&mut self) {
        lock(&self.0.connections).remove(&self.1);
    }
}

fn response(answer: Answer) -> io::Result<Response<Full<Bytes>>> {
    Response::builder()
        .status(answer.status)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amzn-requestid", request_id())
        .body(Full::new(Bytes::from(answer.body)))
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn ask(server: &Server, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let len = body.len();
        let head =
            format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: x\r\ncontent-length: {len}");
        write!(stream, "{head}\r\nx-amz-target: TrentService.ListAliases\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        // A connection that is closed without an answer has an empty one.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn faults_and_counts_can_be_steered_by_http_if_that_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let serve = |control| serve(([127, 0, 0, 1], 0).into(), &folder.path().join("keys.json"), control).unwrap();
        let server = serve(true);
        assert!(ask(&server, "POST /", "{}").contains("alias/datakey-pkcs11"));
        let faults = r#"[{"operation":"Decrypt","fault":"hang"},{"fault":{"error":{"code":"ThrottlingException"}}},
            {"fault":"reset"},{"fault":{"delay":1}},{"fault":{"body":{"status":200,"text":"?"}}}]"#;
        assert!(ask(&server, "POST /_embedded/faults", faults).contains(" 200 "));
        assert!(ask(&server, "POST /", "{}").contains("ThrottlingException"));
        assert_eq!(ask(&server, "POST /", "{}"), "");
        assert!(ask(&server, "POST /", "{}").contains("Aliases"));
        assert!(ask(&server, "POST /", "{}").ends_with("\r\n\r\n?"));
        assert!(ask(&server, "GET /_embedded/calls", "").contains(r#"{"ListAliases":5}"#));
        assert!(ask(&server, "POST /_embedded/reset", "").contains(r#"{"faults":1}"#));
        assert!(ask(&server, "POST /_embedded/faults", r#"[{"fault":"flood"}]"#).contains(" 400 "));
        assert!(ask(&server, "POST /_embedded/principals", r#"{"A":{"arn":"me"}}"#).contains("is the ARN of no user"));
        let someone = r#"{"A":{"arn":"arn:aws:iam::111122223333:root"}}"#;
        assert!(ask(&server, "POST /_embedded/principals", someone).contains(" 200 "));
        assert!(ask(&server, "POST /", "{}").contains("UnrecognizedClientException"));
        assert!(ask(&serve(false), "GET /_embedded/calls", "").contains(" 404 "));
    }

    #[test]
    fn a_dropped_server_takes_no_more_connections_and_ends_those_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(([127, 0, 0, 1], 0).into(), &folder.path().join("keys.json"), false).unwrap();
        let address = server.address();
        let mut idle = TcpStream::connect(address).unwrap();
        ask(&server, "POST /", "{}");
        drop(server);
        assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
        assert!(TcpStream::connect(address).is_err());
    }
}
