//! Tokens in a table of DynamoDB among hosts, and in tables that are broken. The table is an emulator's, which others
//! wrote; it keeps all in memory, so it is stopped for a while, but not killed.

use super::hosts::Hosts;
use super::postgres::apart;
use super::run::{Fault, LOCAL, NETWORK, Plan, run, seconds};
use super::sqlite::caught;
use crate::support::emulators::Emulator;
use crate::support::http::{self, Message};
use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Both tokens in a table of their own.
fn stores(address: SocketAddr, table: u32) -> [String; 2] {
    ["objects", "lock"]
        .map(|token| format!("dynamodb:table{table}/{token}?region=us-east-1&endpoint_url=http://{address}"))
}

fn new_table() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn is_linearizable() {
    let apart = apart();
    let emulator = if apart { Emulator::ministack_everywhere() } else { Emulator::ministack() };
    let (hosts, table) = (Hosts::new(5, emulator.port(), apart), new_table());
    let stores = |address: Option<SocketAddr>| stores(address.expect("it is reached over the network"), table);
    let plan = Plan {
        clients: 5,
        faults: [LOCAL, NETWORK, &[Fault::PauseServer]].concat(),
        longest: if seconds(0) > 60 { 14_000 } else { 1500 },
        hosts: Some(&hosts),
        server: Box::new(|_, begins| emulator.pause(begins)),
        ..Plan::calm(seconds(6), &stores)
    };
    run("DynamoDB (ministack)", plan).expect_sound();
}

/// What a listener before a table does to requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// It says that some transactions were done, and passes them on to nobody.
    Lost,
    /// It answers what was asked within the last two seconds as it was answered then.
    Stale,
}

const OLD: Duration = Duration::from_secs(2);

/// What was asked, and what was answered when.
type Answers = HashMap<Vec<u8>, (Instant, Vec<u8>)>;

/// Starts a listener that lies as soon as it may.
fn liar(target: u16, lie: Lie, may: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Arc<Mutex<Answers>> = Arc::default();
    let count = Arc::new(AtomicU32::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (answers, count, may) = (Arc::clone(&answers), Arc::clone(&count), Arc::clone(&may));
            std::thread::spawn(move || {
                let _ = serve(client, |request| {
                    let is_change = request.operation().ends_with("TransactWriteItems");
                    let lies = may.load(Ordering::SeqCst);
                    if lies && lie == Lie::Lost && is_change && count.fetch_add(1, Ordering::SeqCst) % 4 == 3 {
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2";
                        return Ok(format!("{head}\r\n\r\n{{}}").into_bytes());
                    }
                    if lies && lie == Lie::Stale && !is_change {
                        let key = [request.operation().as_bytes(), &request.body].concat();
                        let known = answers.lock().unwrap().get(&key).cloned();
                        if let Some((_, answer)) = known.filter(|(at, _)| at.elapsed() < OLD) {
                            return Ok(answer);
                        }
                        let answer = ask(target, request)?;
                        answers.lock().unwrap().insert(key, (Instant::now(), answer.clone()));
                        return Ok(answer);
                    }
                    ask(target, request)
                });
            });
        }
    });
    address
}

fn ask(target: u16, request: &Message) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    server.write_all(&request.bytes())?;
    Ok(http::read(&mut server)?.ok_or(std::io::ErrorKind::UnexpectedEof)?.bytes())
}

fn serve(mut client: TcpStream, answer: impl Fn(&Message) -> std::io::Result<Vec<u8>>) -> std::io::Result<()> {
    while let Some(request) = http::read(&mut client)? {
        client.write_all(&answer(&request)?)?;
    }
    Ok(())
}

pub(crate) fn broken_ones_are_caught() {
    apart();
    let emulator = Emulator::ministack();
    let direct = SocketAddr::from((Ipv4Addr::LOCALHOST, emulator.port()));
    let what = "transactions that are lost";
    caught(what, |_, seconds| {
        let (may, table) = (Arc::new(AtomicBool::new(false)), new_table());
        let address = liar(emulator.port(), Lie::Lost, Arc::clone(&may));
        let stores = |_| stores(address, table);
        let begin = || may.store(true, Ordering::SeqCst);
        run(what, Plan { prepare: Box::new(begin), ..Plan::calm(seconds, &stores) }).is_caught(what)
    });
    let what = "a cache before the table";
    caught(what, |_, seconds| {
        let (may, table) = (Arc::new(AtomicBool::new(true)), new_table());
        let address = liar(emulator.port(), Lie::Stale, may);
        let here = |_| stores(direct, table);
        let replica = Some(stores(address, table));
        let plan = Plan { replica, ..Plan::calm(seconds, &here) };
        run(what, plan).is_caught(what)
    });
}
