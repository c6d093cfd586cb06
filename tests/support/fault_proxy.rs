//! A listener between a client and a KMS that does to requests and answers what networks and proxies do.
//!
//! It speaks HTTP/1.1 with lengths, as the SDK and the embedded KMS do, one message at a time. What KMS itself can
//! answer (its exceptions, its key states) is left to the embedded KMS and its fault queue.

use super::http::{self, Message};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// What is done to one request or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This answer, and KMS is not asked: status, further headers (each with its line end), body.
    Say(u16, &'static str, &'static str),
    /// KMS's answer, so late.
    Late(Duration),
    /// KMS's answer, a byte at a time with so long a pause before each.
    Trickle(Duration),
    /// No answer, and the connection stays open.
    Stall,
    /// Half of KMS's answer and no more, and the connection stays open.
    StallWithin,
    /// A reset instead of an answer, and KMS is not asked.
    ResetBefore,
    /// A reset after half of KMS's answer.
    ResetWithin,
    /// A reset after the whole of KMS's answer.
    ResetAfter,
    /// The connection is closed in an orderly way after half of KMS's answer.
    Truncate,
    /// KMS's answer with so many blanks behind the JSON.
    Pad(usize),
    /// KMS's answer, said to be of this type.
    ContentType(&'static str),
    /// This field of KMS's answer is another answer's: KMS is asked the same thing twice, and where that would give
    /// the same (`Plaintext` of `Decrypt`), it is the private key of the pair that was made last.
    Mix(&'static str),
    /// A character in the middle of this field of the request is another.
    Flip(&'static str),
    /// The server's clock is so many seconds ahead. It refuses requests of another time, as AWS does.
    Clock(i64),
}

/// How far apart the clocks of AWS and of who asks may be, in seconds.
const SKEW: i64 = 300;

/// The listener. It listens until it is dropped.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    /// Ends what stalls.
    change: Condvar,
}

#[derive(Default)]
struct State {
    once: VecDeque<Fault>,
    always: Option<Fault>,
    /// For so many of a hundred requests.
    share: Option<(Fault, u64)>,
    /// Requests, for the share.
    count: u64,
    /// Requests that were understood, by operation: those that a fault then answered or dropped too.
    calls: BTreeMap<String, u64>,
    last_private_key: Option<Value>,
    /// How often all orders were taken back.
    healed: u64,
    closed: bool,
}

impl FaultProxy {
    /// Listens, and passes on to `target` what no fault is for.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Shared { target, state: Mutex::default(), change: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.state().closed {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // Who goes away in the middle is the client's business, and often the point of a test.
                std::thread::spawn(move || shared.converse(client));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Orders this for the next request.
    pub(crate) fn once(&self, fault: Fault) {
        self.shared.state().once.push_back(fault);
    }

    /// Orders this for every request, until [`FaultProxy::heal`].
    pub(crate) fn always(&self, fault: Fault) {
        self.shared.state().always = Some(fault);
    }

    /// Orders this for `percent` of a hundred requests, evenly, also after [`FaultProxy::heal`].
    pub(crate) fn sometimes(&self, fault: Fault, percent: u64) {
        self.shared.state().share = Some((fault, percent));
    }

    /// Takes back all orders, and ends what stalls.
    pub(crate) fn heal(&self) {
        let mut state = self.shared.state();
        state.once.clear();
        state.always = None;
        state.healed += 1;
        self.shared.change.notify_all();
    }

    /// How many requests came since this was last asked, whatever became of them.
    pub(crate) fn take_calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.shared.state().calls)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.heal();
        // Wakes the acceptor, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics under this lock")
    }

    fn converse(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        // TLS where there is none: said as web servers say it.
        if client.peek(&mut [0])? == 1 && first_byte(&client)? == 0x16 {
            return client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        while let Some(request) = http::read(&mut client)? {
            let fault = {
                let mut state = self.state();
                *state.calls.entry(request.operation()).or_default() += 1;
                state.count += 1;
                // Whenever the share of all requests so far passes a whole number.
                let due = |percent| state.count * percent / 100 > (state.count - 1) * percent / 100;
                let share = state.share.filter(|(_, percent)| due(*percent)).map(|(fault, _)| fault);
                state.once.pop_front().or(state.always).or(share)
            };
            match fault {
                None => client.write_all(&self.ask(&request)?.bytes())?,
                Some(fault) => {
                    self.spoil(fault, &mut client, request)?;
                }
            }
        }
        Ok(())
    }

    /// Each time on a connection of its own: not every KMS keeps one.
    fn ask(&self, request: &Message) -> io::Result<Message> {
        let mut server = TcpStream::connect(self.target)?;
        server.write_all(&request.bytes())?;
        let answer = http::read(&mut server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(key) = answer.json().get("PrivateKeyPlaintext") {
            self.state().last_private_key = Some(key.clone());
        }
        Ok(answer)
    }

    fn spoil(&self, fault: Fault, client: &mut TcpStream, mut request: Message) -> io::Result<()> {
        match fault {
            Fault::Say(status, headers, body) => {
                let length = body.len();
                client.write_all(
                    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}").as_bytes(),
                )
            }
            Fault::Late(pause) => {
                let answer = self.ask(&request)?;
                std::thread::sleep(pause);
                client.write_all(&answer.bytes())
            }
            Fault::Trickle(pause) => self.ask(&request)?.bytes().iter().try_for_each(|byte| {
                std::thread::sleep(pause);
                client.write_all(&[*byte])
            }),
            Fault::Stall => self.stall(),
            Fault::StallWithin => {
                client.write_all(half(&self.ask(&request)?.bytes()))?;
                self.stall()
            }
            Fault::ResetBefore => reset(client),
            Fault::ResetWithin => {
                client.write_all(half(&self.ask(&request)?.bytes()))?;
                reset(client)
            }
            Fault::ResetAfter => {
                client.write_all(&self.ask(&request)?.bytes())?;
                reset(client)
            }
            Fault::Truncate => {
                client.write_all(half(&self.ask(&request)?.bytes()))?;
                client.shutdown(Shutdown::Both)
            }
            Fault::Pad(blanks) => {
                let mut answer = self.ask(&request)?;
                answer.body.resize(answer.body.len() + blanks, b' ');
                client.write_all(&answer.bytes())
            }
            Fault::ContentType(name) => {
                let mut answer = self.ask(&request)?;
                answer.set("content-type", name);
                client.write_all(&answer.bytes())
            }
            Fault::Mix(field) => {
                let mut answer = self.ask(&request)?;
                let mut mixed = answer.json();
                let other = match field {
                    "Plaintext" => self.state().last_private_key.clone().expect("a pair was made before"),
                    _ => self.ask(&request)?.json()[field].clone(),
                };
                assert_ne!(mixed[field], other);
                mixed[field] = other;
                answer.body = mixed.to_string().into_bytes();
                client.write_all(&answer.bytes())
            }
            Fault::Flip(field) => {
                let mut asked = request.json();
                let mut text = asked[field].as_str().expect("a field of the request").to_owned().into_bytes();
                let middle = text.len() / 2;
                text[middle] = if text[middle] == b'A' { b'B' } else { b'A' };
                asked[field] = String::from_utf8_lossy(&text).into();
                request.body = asked.to_string().into_bytes();
                client.write_all(&self.ask(&request)?.bytes())
            }
            Fault::Clock(ahead) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let now = now as i64 + ahead;
                let date = DateTime::from_secs(now).fmt(Format::HttpDate).expect("a date");
                if (request.time() - now).abs() <= SKEW {
                    let mut answer = self.ask(&request)?;
                    answer.set("date", &date);
                    return client.write_all(&answer.bytes());
                }
                let body = r#"{"__type":"InvalidSignatureException","message":"Signature expired"}"#;
                let length = body.len();
                client.write_all(
                    format!("HTTP/1.1 400 X\r\ndate: {date}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
                )
            }
        }
    }

    /// Waits until all faults are taken back. The client gives up before, so nobody waits for ever.
    fn stall(&self) -> io::Result<()> {
        let state = self.state();
        let healed = state.healed;
        let patience = Duration::from_secs(20);
        let _ended = self.change.wait_timeout_while(state, patience, |state| state.healed == healed);
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

fn half(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() / 2]
}

fn first_byte(client: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    client.peek(&mut byte)?;
    Ok(byte[0])
}

/// Closes the connection with a reset, and with it what is not yet on its way.
fn reset(client: &mut TcpStream) -> io::Result<()> {
    // What was written is on its way before the reset.
    std::thread::sleep(Duration::from_millis(20));
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of_val(&linger) as libc::socklen_t;
    // SAFETY: the socket is open, and the option is a `linger` of this length.
    let set = unsafe {
        libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length)
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    // The conversation ends, and its end closes the socket.
    Err(io::ErrorKind::ConnectionAborted.into())
}
