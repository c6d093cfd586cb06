//! A listener between the module and a KMS: it sees who asks on which connection, and the plaintext keys in
//! the answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
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
    talks: Arc<Mutex<Vec<Arc<Talk>>>>,
}

impl Proxy {
    /// Listens, and passes everything on to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, talks) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let all = Arc::clone(&talks);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else { continue };
                let talk = Arc::new(Talk::default());
                all.lock().unwrap().push(Arc::clone(&talk));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let asked = Arc::clone(&talk);
                std::thread::spawn(move || pass(from, to, &asked.asked));
                std::thread::spawn(move || pass(server, client, &talk.answered));
            }
        });
        Self { address, talks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
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
