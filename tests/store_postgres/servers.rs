//! The way to a server: who it is, who asks, which one of several, and one that does not answer.

use crate::postgres::{self, PASSWORD, Server, location, server};
use crate::store_support::{all, pair, token};
use crate::{initialised_in, refused, store_in};
use datakey::config::{PostgresConfig, PostgresHost, PostgresTls};
use datakey::error::Cause;
use datakey::store::{Query, open};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn who_asks_is_known_by_password() {
    let (database, _) = initialised_in(server());
    let over_tcp = |change: &dyn Fn(&mut PostgresConfig)| {
        let mut config = server().place(&database, "t");
        config.hosts = vec![(PostgresHost::Name("127.0.0.1".into()), server().port)];
        change(&mut config);
        open(&location(config)).unwrap().token()
    };
    refused(over_tcp(&|_| ()), Cause::StoreDenied);
    let said = refused(over_tcp(&|config| config.password = Some("wrong".to_owned().into())), Cause::StoreDenied);
    assert!(said.contains("28P01") && said.contains("dk@127.0.0.1"), "{said}");
    assert!(over_tcp(&|config| config.password = Some(PASSWORD.to_owned().into())).unwrap().is_some());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pgpass");
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&file, format!("# a comment\nother:*:*:*:no\n127.0.0.1:{}:*:dk:{escaped}\n", server().port)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let said = refused(over_tcp(&|config| config.pass_file = Some(file.clone())), Cause::StoreSetup);
    assert!(said.contains("its mode is 0640"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(over_tcp(&|config| config.pass_file = Some(file.clone())).unwrap().is_some());
}

pub(crate) fn who_answers_is_known_by_certificate() {
    let server = Server::start(true);
    let database = server.database();
    let root = tempfile::NamedTempFile::new().unwrap();
    fs::copy(server.folder.join("root.crt"), root.path()).unwrap();
    let over_tls = |name: &str, roots: Option<&Path>| {
        let mut config = server.place(&database, "t");
        config.hosts = vec![(PostgresHost::Name(name.into()), server.port)];
        config.password = Some(PASSWORD.to_owned().into());
        config.tls = Some(PostgresTls { roots: roots.map(Path::to_owned), identity: None });
        open(&location(config)).unwrap()
    };
    let store = over_tls("localhost", Some(root.path()));
    store.initialise(&token(), None).unwrap();
    store.insert(&pair(0, 0)).unwrap();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                     WHERE a.application_name = 'datakey-test' AND s.ssl AND s.version = 'TLSv1.3'";
    assert_ne!(server.sql("postgres", encrypted), "0");
    // Another name, another root, and none that is believed by the system's.
    let said = refused(over_tls("127.0.0.1", Some(root.path())).token(), Cause::StoreUnreachable);
    assert!(said.contains("not valid for name"), "{said}");
    refused(over_tls("localhost", None).token(), Cause::StoreUnreachable);
    refused(over_tls("localhost", Some(Path::new("/none/root.pem"))).token(), Cause::StoreSetup);
    // A server without TLS is not talked to without.
    let plain = postgres::server();
    let mut config = plain.place("postgres", "t");
    config.hosts = vec![(PostgresHost::Name("localhost".into()), plain.port)];
    config.password = Some(PASSWORD.to_owned().into());
    config.tls = Some(PostgresTls { roots: Some(root.path().to_owned()), identity: None });
    let said = refused(open(&location(config)).unwrap().token(), Cause::StoreUnreachable);
    assert!(said.contains("does not support TLS"), "{said}");
}

pub(crate) fn servers_are_tried_in_turn() {
    let (database, direct) = initialised_in(server());
    // Nobody listens at the first, the second says nothing, the third only reads.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = |port| (PostgresHost::Name("127.0.0.1".into()), port);
    let mut config = server().place(&database, "t");
    config.hosts = vec![host(closed), host(silent.local_addr().unwrap().port()), host(server().port)];
    config.password = Some(PASSWORD.to_owned().into());
    config.connect_timeout = Some(Duration::from_secs(1));
    config.needs_writable = true;
    let store = open(&location(config.clone())).unwrap();
    store.insert(&pair(0, 0)).unwrap();

    let sql = |sql: &str| server().sql(&database, sql);
    sql(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    let reader = store_in(server(), &database);
    assert!(reader.read_only());
    assert!(!direct.read_only(), "a session from before");
    assert_eq!(all(&*reader, &Query::default()).len(), 2);
    // Who reads is not kept from it, and where nothing can be written nobody waits for that to change.
    let mut standby = config.clone();
    standby.hosts.truncate(1);
    refused(open(&location(standby)).unwrap().token(), Cause::StoreUnreachable);
    // A transaction may still say that it writes: what forbids it is the role's grants.
    server().sql("postgres", &format!("ALTER DATABASE {database} RESET default_transaction_read_only"));
    sql("CREATE ROLE guest LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest");
    let mut guest = server().place(&database, "t");
    guest.user = "guest".into();
    let guest = open(&location(guest)).unwrap();
    assert_eq!(all(&*guest, &Query::default()).len(), 2);
    refused(guest.insert(&pair(0, 1)), Cause::StoreReadOnly);
    assert!(guest.read_only());
    sql("DROP OWNED BY guest; DROP ROLE guest");
}

pub(crate) fn who_does_not_answer_is_asked_by_one() {
    let mut server = Server::start(false);
    let (_, store) = initialised_in(&server);
    server.pause(true);
    // It stops a moment later.
    let ask = || store.token_within(Some(Duration::from_millis(500)));
    while ask().is_ok() {}
    for _ in 1..3 {
        refused(ask(), Cause::StoreUnreachable);
    }
    let begun = Instant::now();
    let error = refused(store.insert(&pair(0, 0)), Cause::StoreUnreachable);
    assert!(error.contains("not asked, tried again in") && begun.elapsed() < Duration::from_secs(2), "{error}");
    server.pause(false);
    let back = Instant::now();
    while store.token().is_err() {
        assert!(back.elapsed() < Duration::from_secs(8), "it is not noticed that it is back");
        std::thread::sleep(Duration::from_millis(50));
    }
    store.insert(&pair(0, 0)).unwrap();
}
