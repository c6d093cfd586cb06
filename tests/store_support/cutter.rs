//! A listener before a server that cuts connections in the middle of a commit.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never hears of it.
    Before,
    /// The server does it, and the answer is lost.
    After,
    /// The answer is lost, and the server does it a second later.
    Late,
}

struct Shared {
    next: Mutex<Option<Cut>>,
    cuts: AtomicU32,
}

pub(crate) struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

impl Cutter {
    /// One before the server at this port, which commits on what begins with, or says, `word`.
    pub(crate) fn to(target: u16, word: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { next: Mutex::new(None), cuts: AtomicU32::new(0) });
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let shared = Arc::clone(&all);
                thread::spawn(move || shared.serve(&client, target, word.as_bytes()));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the next commit.
    pub(crate) fn next(&self, cut: Cut) {
        *self.shared.next.lock().unwrap() = Some(cut);
    }

    /// How many were cut.
    pub(crate) fn cuts(&self) -> u32 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream, target: u16, word: &[u8]) {
        // A server that is down takes no client.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
        let (from_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = thread::spawn(move || pass(&from_server, &to_client));
        let mut buffer = vec![0; 1 << 16];
        let mut input = client;
        while let Ok(count @ 1..) = input.read(&mut buffer) {
            let mut part = buffer[..count].to_vec();
            let is_commit = part.windows(word.len()).any(|said| said == word);
            while is_commit && lacks_body(&part) {
                match input.read(&mut buffer) {
                    Ok(count @ 1..) => part.extend(&buffer[..count]),
                    _ => break,
                }
            }
            match is_commit.then(|| self.next.lock().unwrap().take()).flatten() {
                None => (&server).write_all(&part).unwrap_or_default(),
                Some(cut) => {
                    client.shutdown(Shutdown::Both).unwrap();
                    self.cuts.fetch_add(1, Ordering::SeqCst);
                    if cut == Cut::Late {
                        thread::sleep(Duration::from_secs(1));
                    }
                    if cut != Cut::Before {
                        // It may have gone meanwhile.
                        let _ = (&server).write_all(&part);
                        thread::sleep(Duration::from_millis(300));
                    }
                    break;
                }
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        back.join().unwrap();
    }
}

/// Whether it is a request of HTTP whose end is still to come.
fn lacks_body(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return text.contains("http/1.1") };
    let len = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let body = request.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| request.len() - at - 4);
    len.is_some_and(|len| body < len)
}

/// What the server says, as long as there is somebody to hear it; after that it is read and dropped.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let _ = to.write_all(&buffer[..count]);
    }
    let _ = to.shutdown(Shutdown::Both);
}
