//! Hosts that change their root directory, and hosts that have more rights than who runs them.

mod host;
mod hosts;

use datakey::kms::embedded::{self, Server};
use host::Place;
use hosts::world::{NOBODY, World, copy_below, give, may_change, public_module, set_mode};
use hosts::{Host, OK, SO_PIN, command, compile, furnish, tls};
use std::path::{Path, PathBuf};

/// As the header has them.
const FUNCTION_FAILED: u64 = 6;
const DEVICE_ERROR: u64 = 0x30;
const KMS_UNREACHABLE: &str = "0x103";
const CREDENTIALS_MISSING: &str = "0x110";
const KMS_SETUP: &str = "0x113";

fn host_of(place: &Place) -> Host {
    Host::start(&compile("host"), &place.configuration())
}

/// An empty folder to be a root.
fn jail() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn enter(host: &mut Host, jail: &Path) {
    host.ok(&format!("chroot {}", jail.display()));
}

/// A KMS behind TLS, at a name that has to be looked up.
struct Network {
    keys: tempfile::TempDir,
    server: Server,
    url: String,
    bundle: PathBuf,
}

impl Network {
    fn new() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true).unwrap();
        let (url, bundle) = tls::before(server.address(), keys.path());
        Self { keys, server, url, bundle }
    }

    /// A token on it that asks KMS at each use of a key.
    fn place(&self) -> Place {
        let more = format!("login = \"none\"\ncache = {{ max_age = 0 }}\nca_bundle = \"{}\"", self.bundle.display());
        let place = Place::at(&self.url, embedded::DEFAULT_ALIAS, &more);
        furnish(&place.configuration(), "none");
        place
    }
}

/// What names are looked up in.
fn give_names(jail: &Path) {
    std::fs::create_dir_all(jail.join("etc")).unwrap();
    std::fs::write(jail.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
}

#[test]
fn a_root_that_has_everything_is_as_good_as_any() {
    if !may_change("a_root_that_has_everything_is_as_good_as_any") {
        return;
    }
    let network = Network::new();
    let embedded = Place::embedded("login = \"none\"");
    furnish(&embedded.configuration(), "none");
    for place in [embedded, network.place()] {
        let jail = jail();
        copy_below(jail.path(), place.folder());
        copy_below(jail.path(), network.keys.path());
        give_names(jail.path());
        for initialised_before in [false, true] {
            let mut host = host_of(&place);
            if initialised_before {
                host.ok("initialise");
                host.ok("open");
                host.ok("use p256 1");
            }
            enter(&mut host, jail.path());
            for _ in 0..3 {
                if !initialised_before {
                    host.ok("initialise");
                    host.ok("open");
                }
                host.ok("use p256 1");
                host.ok("generate p256 2");
                host.ok("destroy 3 2");
                host.ok("destroy 2 2");
                if !initialised_before {
                    host.ok("finalise");
                }
            }
        }
    }
}

#[test]
fn a_root_without_the_configuration_is_told_at_once() {
    if !may_change("a_root_without_the_configuration_is_told_at_once") {
        return;
    }
    let place = Place::embedded("login = \"none\"");
    furnish(&place.configuration(), "none");
    let jail = jail();
    let mut host = host_of(&place);
    enter(&mut host, jail.path());
    assert_eq!(host.ask("initialise").1, FUNCTION_FAILED);
    // With it, but without the store: there is a token that nobody has initialised.
    let there = jail.path().join(place.folder().strip_prefix("/").unwrap());
    std::fs::create_dir_all(&there).unwrap();
    std::fs::copy(place.configuration(), there.join("datakey-pkcs11.toml")).unwrap();
    host.ok("initialise");
    assert_eq!(host.ok("slots"), "1");
    assert_ne!(host.ask("open").1, OK);
}

/// The store is open by then, and stays so: it is used where no path leads to it any more.
#[test]
fn an_empty_root_takes_no_open_store_away() {
    if !may_change("an_empty_root_takes_no_open_store_away") {
        return;
    }
    let place = Place::embedded("login = \"none\"");
    furnish(&place.configuration(), "none");
    let jail = jail();
    let mut host = host_of(&place);
    host.ok("initialise");
    host.ok("open");
    host.ok("generate p256 2");
    host.ok("use p256 1");
    enter(&mut host, jail.path());
    for _ in 0..20 {
        host.ok("use p256 1");
        host.ok("use p256 2");
        assert_eq!(host.ok("list").split(' ').filter(|object| object.starts_with("3:")).count(), 2);
        host.ok("close");
        host.ok("open");
    }
    // It is written to as well.
    host.ok("destroy 3 2");
    host.ok("destroy 2 2");
    // What must be opened by its path is not there: neither the store's configuration …
    host.ok("finalise");
    assert_eq!(host.ask("initialise").1, FUNCTION_FAILED);
    drop(host);
    let mut host = host_of(&place);
    host.ok("initialise");
    host.ok("open");
    host.ok("use p256 1");
    assert_eq!(host.ok("list").split(' ').filter(|object| object.starts_with("3:")).count(), 1);
    // … nor a store that was not yet open.
    let mut host = host_of(&place);
    host.ok("initialise");
    enter(&mut host, jail.path());
    assert_ne!(host.ask("open").1, OK);
}

#[test]
fn in_another_root_kms_needs_names_and_what_was_not_read_before() {
    if !may_change("in_another_root_kms_needs_names_and_what_was_not_read_before") {
        return;
    }
    let network = Network::new();
    let place = network.place();
    // The root certificates were read at the first call; names are looked up at each.
    let (empty, jail) = (jail(), jail());
    for named in [false, true] {
        let mut host = host_of(&place);
        host.ok("initialise");
        host.ok("open");
        host.ok("use p256 1");
        if named {
            give_names(jail.path());
            enter(&mut host, jail.path());
            host.ok("use p256 1");
            host.ok("generate p256 2");
            host.ok("destroy 3 2");
            host.ok("destroy 2 2");
        } else {
            enter(&mut host, empty.path());
            assert_eq!(host.ask("use p256 1").1, DEVICE_ERROR);
            assert_eq!(host.ok("device-error"), KMS_UNREACHABLE);
        }
    }
    let mut host = host_of(&place);
    host.ok("initialise");
    host.ok("open");
    host.ok("list");
    enter(&mut host, jail.path());
    assert_eq!(host.ask("use p256 1").1, DEVICE_ERROR);
    assert_eq!(host.ok("device-error"), KMS_SETUP);
    // When it is there, the same process goes on.
    copy_below(jail.path(), network.keys.path());
    host.ok("use p256 1");

    // The same with the certificates of the system, of which this root has none.
    let text = std::fs::read_to_string(place.configuration()).unwrap();
    let text: Vec<_> = text.lines().filter(|line| !line.starts_with("ca_bundle")).collect();
    std::fs::write(place.configuration(), text.join("\n")).unwrap();
    let mut command = command(&compile("host"), &place.configuration());
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE"] {
        command.env_remove(name);
    }
    let mut host = Host::spawn(command);
    host.ok("initialise");
    host.ok("open");
    host.ok("list");
    enter(&mut host, jail.path());
    assert_eq!(host.ask("use p256 1").1, DEVICE_ERROR);
    assert_eq!(host.ok("device-error"), KMS_SETUP);
    let certificates = jail.path().join("etc/ssl/certs");
    std::fs::create_dir_all(&certificates).unwrap();
    std::fs::copy(&network.bundle, certificates.join("ca-certificates.crt")).unwrap();
    host.ok("use p256 1");
    assert!(network.server.control().total_calls() > 4);
}

/// The files of `/etc` that programs cannot do without, and a system configuration or none.
fn etc(folder: &Path, system: Option<&str>) -> PathBuf {
    let etc = folder.join("etc");
    let _ = std::fs::remove_dir_all(&etc);
    std::fs::create_dir_all(etc.join("datakey-pkcs11")).unwrap();
    for file in ["passwd", "group", "nsswitch.conf", "hosts", "ld.so.cache"] {
        let _ = std::fs::copy(Path::new("/etc").join(file), etc.join(file));
    }
    // Read where the client is set up, whether or not it will be used.
    std::fs::create_dir_all(etc.join("ssl/certs")).unwrap();
    std::fs::copy("/etc/ssl/certs/ca-certificates.crt", etc.join("ssl/certs/ca-certificates.crt")).unwrap();
    if let Some(text) = system {
        std::fs::write(etc.join("datakey-pkcs11/datakey-pkcs11.toml"), text).unwrap();
    }
    etc
}

/// Only the system's configuration counts in a program with more rights than its user; and to AWS, nothing that
/// its environment says.
#[test]
fn a_set_user_id_host_believes_nothing_of_its_user() {
    if !may_change("a_set_user_id_host_believes_nothing_of_its_user") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let module = public_module(folder.path());
    let at = |name: &str| folder.path().join(name);
    for name in ["user", "system"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let configuration = |owner: &str| {
        let (store, keys) = (at(owner).join("token.db"), at(owner).join("kms.json"));
        format!(
            "[[token]]\nlabel = \"{owner}\"\nlogin = \"none\"\nstore = \"sqlite:{}\"\nkms = \"embedded:{}\"\n",
            store.display(),
            keys.display()
        )
    };
    // The user's own, in every place where it is looked for.
    let named = at("user/named.toml");
    std::fs::create_dir_all(at("user/.config/datakey-pkcs11")).unwrap();
    for file in [&named, &at("user/.config/datakey-pkcs11/datakey-pkcs11.toml")] {
        std::fs::write(file, configuration("user")).unwrap();
    }
    give(&at("user"), NOBODY);
    for below in [".config", ".config/datakey-pkcs11"] {
        give(&at("user").join(below), NOBODY);
    }
    let program = |name: &str, mode: u32| {
        let program = at(name);
        std::fs::copy(compile("host"), &program).unwrap();
        set_mode(&program, mode);
        program
    };
    let start = |program: &Path, named_too: bool, system: Option<&str>, no_network: bool| {
        let mut command = std::process::Command::new(program);
        command.arg(&module).env_clear();
        let home = at("user");
        for (name, value) in [
            ("HOME", home.to_str().unwrap()),
            ("AWS_ACCESS_KEY_ID", "USER"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_MAX_ATTEMPTS", "1"),
        ] {
            command.env(name, value);
        }
        if named_too {
            command.env("DATAKEY_PKCS11_CONF", &named);
        }
        let mounts = vec![(etc(folder.path(), system), "/etc".into())];
        World { mounts, no_network, user: Some(NOBODY), ..World::default() }.around(&mut command);
        let mut host = Host::spawn(command);
        host.ok("initialise");
        host
    };
    let ordinary = program("ordinary", 0o755);
    let set_user_id = program("set-user-id", 0o4755);
    let set_group_id = program("set-group-id", 0o2755);
    let system = configuration("system");
    let has_token = |owner: &str| at(owner).join("token.db").exists();

    // The control: without raised rights the user has the say.
    for named_too in [true, false] {
        let mut host = start(&ordinary, named_too, Some(&system), false);
        host.ok(&format!("init-token {SO_PIN}"));
        assert!(has_token("user") && !has_token("system"), "named {named_too}");
        std::fs::remove_file(at("user/token.db")).unwrap();
    }
    for named_too in [true, false] {
        let mut host = start(&set_user_id, named_too, Some(&system), false);
        host.ok(&format!("init-token {SO_PIN}"));
        assert!(has_token("system") && !has_token("user"), "named {named_too}");
        host.ok("open");
        host.ok("generate p256 1");
        host.ok("use p256 1");
        for program in [&set_user_id, &set_group_id] {
            assert_eq!(start(program, named_too, None, false).ok("slots"), "0");
        }
        assert_eq!(start(&set_group_id, named_too, Some(&system), false).ok("slots"), "1");
    }

    // Nor are its credentials used: without the instance's metadata there are none.
    let remote = system.replace(
        "kms = ",
        "kms_key_id = \"alias/x\"\nregion = \"us-east-1\"\nendpoint_url = \"http://127.0.0.1:9\"\n# ",
    );
    let error_of = |program: &Path| {
        let mut host = start(program, true, Some(&remote), true);
        host.ok("open");
        assert_eq!(host.ask("generate p256 2").1, DEVICE_ERROR);
        host.ok("device-error")
    };
    assert_eq!(error_of(&set_user_id), CREDENTIALS_MISSING);
    // The control: the same configuration in a program without raised rights, which has credentials.
    std::fs::write(&named, &remote).unwrap();
    give(&at("system"), NOBODY);
    assert_eq!(error_of(&ordinary), KMS_UNREACHABLE);
}
