//! Tokens in a server of PostgreSQL among hosts, and in servers that are broken.

use super::hosts::{Hosts, go_apart};
use super::run::{Fault, LOCAL, NETWORK, Plan, run, seconds};
use super::sqlite::caught;
use crate::postgres::{PASSWORD, Server};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

/// Whether this process is in a network namespace of its own, now that it is to be.
pub(crate) fn apart() -> bool {
    static APART: OnceLock<bool> = OnceLock::new();
    *APART.get_or_init(go_apart)
}

fn quoted(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Both tokens in a database, over TCP.
fn stores(address: SocketAddr, database: &str) -> [String; 2] {
    let password = quoted(PASSWORD);
    let url = |token| format!("postgres://dk:{password}@{address}/{database}?sslmode=disable&token={token}");
    ["objects", "lock"].map(url)
}

/// The same over a socket in a folder.
fn local(folder: &Path, port: u16, database: &str) -> [String; 2] {
    let folder = folder.display();
    ["objects", "lock"].map(|token| {
        format!(
            "postgres://dk@/{database}?host={folder}&port={port}&sslmode=disable&target_session_attrs=any&token={token}"
        )
    })
}

pub(crate) fn is_linearizable() {
    let apart = apart();
    let mut server = Server::start_at(if apart { "*" } else { "127.0.0.1" });
    let database = server.database();
    let hosts = Hosts::new(6, server.port, apart);
    let stores = |address: Option<SocketAddr>| stores(address.expect("it is reached over the network"), &database);
    let act = |fault: Fault, begins: bool| match fault {
        Fault::Server => server.crash(),
        _ => server.pause(begins),
    };
    let plan = Plan {
        clients: 6,
        faults: [LOCAL, NETWORK, &[Fault::Server, Fault::PauseServer]].concat(),
        longest: if seconds(0) > 60 { 14_000 } else { 1500 },
        hosts: Some(&hosts),
        server: Box::new(act),
        ..Plan::calm(seconds(7), &stores)
    };
    run("PostgreSQL", plan).expect_sound();
    for token in ["objects", "lock"] {
        let store = datakey::store::open(&crate::postgres::location(server.place(&database, token))).unwrap();
        store.check().unwrap();
    }
}

/// A server that forgets that a record was changed.
const NO_SWAP: &str = "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.version := OLD.version; RETURN NEW; END';
    CREATE TRIGGER broken BEFORE UPDATE ON datakey_object FOR EACH ROW EXECUTE FUNCTION spoil()";
/// A server that acknowledges some changes and does not keep them.
const LOST: &str = "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF random() < 0.3 THEN RETURN OLD; END IF; RETURN NEW; END';
    CREATE TRIGGER broken BEFORE UPDATE ON datakey_object FOR EACH ROW EXECUTE FUNCTION spoil()";

pub(crate) fn broken_ones_are_caught() {
    apart();
    let server = Server::start(false);
    for (what, sql) in [("a compare-and-swap that swaps always", NO_SWAP), ("writes that are lost", LOST)] {
        caught(what, |_, seconds| {
            let database = server.database();
            let stores = |_| local(&server.folder, server.port, &database);
            let spoil = || drop(server.sql(&database, sql));
            run(what, Plan { prepare: Box::new(spoil), ..Plan::calm(seconds, &stores) }).is_caught(what)
        });
    }
    let what = "a standby that is two seconds behind";
    let standby = server.standby(2);
    caught(what, |_, seconds| {
        let database = server.database();
        let stores = |_| local(&server.folder, server.port, &database);
        let wait = || standby.wait_for(&database);
        let replica = Some(local(&standby.folder, standby.port, &database));
        let plan = Plan { replica, prepare: Box::new(wait), ..Plan::calm(seconds, &stores) };
        run(what, plan).is_caught(what)
    });
}
