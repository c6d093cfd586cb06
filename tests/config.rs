//! The configuration as files: search order, permissions, and the files that are shipped.

use datakey::config::{Config, Environment, KmsBackend, SYSTEM_FILE, keys, load};
use datakey::error::{Cause, Error};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A home and a system directory of our own, with nothing in them.
struct Place {
    dir: TempDir,
    environment: Environment,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = Environment::of_process(false);
        environment.conf_path = None;
        environment.home = Some(dir.path().join("home").into());
        environment.xdg_config_home = None;
        environment.xdg_data_home = None;
        environment.system_file = dir.path().join("etc/datakey-pkcs11.toml");
        Self { dir, environment }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration with one token of the given label.
    fn write(&self, name: &str, label: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("[[token]]\nlabel = \"{label}\"\nkms_key_id = \"k\"\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn write_all(&self) {
        self.write("named.toml", "named");
        self.write("home/.config/datakey-pkcs11/datakey-pkcs11.toml", "user");
        self.write("etc/datakey-pkcs11.toml", "system");
    }

    fn load(&self) -> Config {
        load(&self.environment).unwrap_or_else(|e| panic!("{e}"))
    }

    fn refusal(&self) -> Error {
        load(&self.environment).expect_err("it was accepted")
    }
}

fn labels(config: &Config) -> Vec<&str> {
    config.tokens.iter().map(|token| token.label.as_str()).collect()
}

#[test]
fn the_first_file_counts_and_is_named() {
    let mut place = Place::new();
    place.write_all();
    place.environment.conf_path = Some(place.path("named.toml").into());
    let config = place.load();
    assert_eq!((labels(&config), config.file.clone()), (vec!["named"], Some(place.path("named.toml"))));

    place.environment.conf_path = Some(OsString::new());
    let config = place.load();
    assert_eq!(labels(&config), ["user"]);
    assert_eq!(config.file, Some(place.path("home/.config/datakey-pkcs11/datakey-pkcs11.toml")));

    place.write("xdg/datakey-pkcs11/datakey-pkcs11.toml", "xdg");
    place.environment.xdg_config_home = Some(place.path("xdg").into());
    assert_eq!(labels(&place.load()), ["xdg"]);
    place.environment.xdg_config_home = Some("xdg".into());
    assert_eq!(labels(&place.load()), ["user"], "a relative XDG_CONFIG_HOME does not count");

    place.environment.home = Some("/nonexistent".into());
    let config = place.load();
    assert_eq!((labels(&config), config.file.clone()), (vec!["system"], Some(place.path("etc/datakey-pkcs11.toml"))));
    place.environment.home = None;
    assert_eq!(labels(&place.load()), ["system"]);
}

#[test]
fn without_any_file_there_are_no_tokens_and_no_error() {
    assert_eq!(Place::new().load(), Config::default());
    assert_eq!(Environment::of_process(false).system_file, Path::new(SYSTEM_FILE));
}

#[test]
fn a_named_file_that_is_missing_is_an_error_even_if_there_are_others() {
    let mut place = Place::new();
    place.write_all();
    place.environment.conf_path = Some(place.path("nowhere.toml").into());
    let error = place.refusal();
    assert_eq!(error.cause(), Cause::ConfigUnreadable);
    assert!(error.detail().contains("nowhere.toml, named by DATAKEY_PKCS11_CONF: there is no such file"), "{error}");
}

#[test]
fn files_that_others_can_write_are_refused_wherever_they_are() {
    for mode in [0o664, 0o646, 0o666] {
        for file in ["named.toml", "home/.config/datakey-pkcs11/datakey-pkcs11.toml", "etc/datakey-pkcs11.toml"] {
            let mut place = Place::new();
            let path = place.write(file, "x");
            if file == "named.toml" {
                place.environment.conf_path = Some(path.clone().into());
            }
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = place.refusal();
            assert_eq!(error.cause(), Cause::ConfigUnsafe, "{error}");
            assert!(error.detail().contains(path.to_str().unwrap()) && error.detail().contains(&format!("{mode:04o}")));
        }
    }
}

#[test]
fn a_link_is_followed_and_its_target_is_judged() {
    let mut place = Place::new();
    let target = place.write("elsewhere/real.toml", "linked");
    let link = place.path("link.toml");
    symlink(&target, &link).unwrap();
    place.environment.conf_path = Some(link.into());
    assert_eq!(labels(&place.load()), ["linked"]);
    fs::set_permissions(&target, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(place.refusal().cause(), Cause::ConfigUnsafe);
}

#[test]
fn what_is_no_file_of_sensible_size_is_refused_and_never_waited_for() {
    let mut place = Place::new();
    let fifo = place.path("fifo");
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&fifo).status().unwrap().success());
    let huge = place.write("huge.toml", "x");
    fs::write(&huge, vec![b'#'; (1 << 20) + 1]).unwrap();
    let binary = place.write("binary.toml", "x");
    fs::write(&binary, b"# one\n# \xff\n").unwrap();
    for (path, cause, part) in [
        (fifo, Cause::ConfigUnreadable, "not a regular file"),
        (place.path(""), Cause::ConfigUnreadable, "not a regular file"),
        (huge, Cause::ConfigUnreadable, "larger than 1 MiB"),
        (binary, Cause::ConfigInvalid, "line 2: the text is not UTF-8"),
    ] {
        place.environment.conf_path = Some(path.into());
        let error = place.refusal();
        assert!(error.cause() == cause && error.detail().contains(part), "{error}");
    }
}

#[test]
fn a_process_with_raised_rights_reads_only_the_system_file_and_only_if_it_is_roots() {
    let mut place = Place::new();
    place.write_all();
    place.environment.conf_path = Some(place.path("named.toml").into());
    place.environment.secure = true;
    let config = place.load();
    // The files belong to whoever runs this test.
    if place.environment.euid == 0 {
        assert_eq!(labels(&config), ["system"]);
        std::os::unix::fs::chown(place.path("etc/datakey-pkcs11.toml"), Some(12345), None).unwrap();
        assert!(labels(&place.load()).is_empty());
    } else {
        assert!(labels(&config).is_empty());
    }
    let config = place.load();
    assert!(config.notes[0].contains("must belong to root"), "{:?}", config.notes);
    let secure = Environment::of_process(true);
    assert!(secure.conf_path.is_none() && secure.home.is_none() && secure.xdg_data_home.is_none() && secure.secure);
}

#[test]
fn a_users_file_that_belongs_to_somebody_else_is_passed_over_with_a_note() {
    let mut place = Place::new();
    place.write_all();
    let euid = place.environment.euid;
    // Either the file is given away, or the process plays somebody to whom it does not belong.
    if euid == 0 {
        std::os::unix::fs::chown(place.path("home/.config/datakey-pkcs11/datakey-pkcs11.toml"), Some(12345), None)
            .unwrap();
    } else {
        place.environment.euid = euid + 1;
    }
    let config = place.load();
    assert_eq!(labels(&config), ["system"]);
    assert!(config.notes[0].contains("passed over: it or its directory belongs to user"), "{:?}", config.notes);
}

/// Runs `act` in a thread that has no right to what belongs to this user.
fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const NOBODY: libc::uid_t = 65534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the bare system call, other than libc's function, changes this thread only, which ends here.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) }, 0);
            act()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_worker_that_gave_up_its_rights_passes_over_the_home_it_cannot_reach() {
    let mut place = Place::new();
    place.write_all();
    fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let home = place.path("home");
    let named = place.path("named.toml");
    let (system, refusal) = if place.environment.euid == 0 {
        fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&named, Permissions::from_mode(0o600)).unwrap();
        let system = as_nobody(|| place.load());
        place.environment.conf_path = Some(named.into());
        (system, as_nobody(|| place.refusal()))
    } else {
        fs::set_permissions(&home, Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&named, Permissions::from_mode(0o000)).unwrap();
        let system = place.load();
        place.environment.conf_path = Some(named.into());
        let refusal = place.refusal();
        fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        (system, refusal)
    };
    assert_eq!(labels(&system), ["system"]);
    assert!(system.notes[0].contains("passed over: Permission denied"), "{:?}", system.notes);
    // Whoever names a file wants that one.
    assert_eq!(refusal.cause(), Cause::ConfigUnreadable);
}

#[test]
fn a_store_without_a_place_goes_where_all_readers_of_the_file_find_it() {
    let mut place = Place::new();
    place.write_all();
    let store = |place: &Place| place.load().tokens.remove(0).store.file().unwrap().clone();
    place.environment.euid = 0;
    place.environment.conf_path = Some(place.path("named.toml").into());
    assert_eq!(store(&place), Path::new("/var/lib/datakey-pkcs11/named.db"));
    place.environment.euid = 1000;
    assert_eq!(store(&place), place.path("home/.local/share/datakey-pkcs11/named.db"));
    place.environment.xdg_data_home = Some("/data".into());
    assert_eq!(store(&place), Path::new("/data/datakey-pkcs11/named.db"));
    place.environment.xdg_data_home = None;
    place.environment.home = None;
    assert!(place.refusal().detail().contains("write store = \"sqlite:PATH\""));
    place.environment.conf_path = None;
    assert_eq!(store(&place), Path::new("/var/lib/datakey-pkcs11/system.db"));
}

#[test]
fn errors_name_the_file_and_the_line() {
    let mut place = Place::new();
    let path = place.write("named.toml", "x");
    fs::write(&path, "[[token]]\nlabel = \"x\"\nkms_key = \"k\"\n").unwrap();
    place.environment.conf_path = Some(path.clone().into());
    let expected = format!("{}: line 3: unknown key `kms_key`; did you mean `kms_key_id`?", path.display());
    assert_eq!(place.refusal().detail(), expected);
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_shipped_example_is_read_as_it_is_and_with_every_line_switched_on() {
    let mut place = Place::new();
    let path = place.write("example.toml", "x");
    place.environment.conf_path = Some(path.clone().into());
    let example = shipped("packaging/datakey-pkcs11.toml");
    fs::write(&path, &example).unwrap();
    assert_eq!(labels(&place.load()), ["web"]);

    // A line that is switched off looks like "# key = value" or "# [table]".
    let known: Vec<_> = keys().collect();
    let mut on = Vec::new();
    let text: Vec<String> = example
        .lines()
        .map(|line| {
            let rest = line.strip_prefix("# ").unwrap_or("");
            let key = rest.split(" = ").next().unwrap_or("");
            let switch = key == "[log]" || known.iter().any(|(_, known)| *known == key);
            // Two that exclude each other stay as they are, and what not every build takes.
            let stays =
                ["kms", "endpoint_url"].contains(&key) || key == "attestation" && !cfg!(feature = "nitro-enclaves");
            if switch && !stays {
                on.push(key.to_owned());
                rest.to_owned()
            } else {
                line.to_owned()
            }
        })
        .collect();
    fs::write(&path, text.join("\n")).unwrap();
    let config = place.load();
    assert_eq!(labels(&config), ["web"]);
    assert_eq!(config.tokens[0].kms.backend, KmsBackend::Aws);
    for (table, key) in known.iter().filter(|(table, _)| *table == "[[token]]" || *table == "[log]") {
        let as_it_is = ["label", "kms", "kms_key_id", "endpoint_url", "attestation"];
        let shown = on.iter().any(|k| k == key) || as_it_is.contains(key);
        assert!(shown, "the example does not show {key} of {table}");
    }
    // What the example shows for cache, PINs, timeouts, login and generate are the defaults.
    let token = &config.tokens[0];
    assert_eq!((token.cache, token.pin_hash), (Default::default(), Default::default()));
    assert_eq!(token.kms.timeouts, Default::default());
    assert_eq!((token.login, token.generate, token.max_pin_attempts), (Default::default(), Default::default(), 10));
}

#[test]
fn the_documentation_describes_every_key() {
    let text = shipped("docs/configuration.md");
    for (table, key) in keys().filter(|(table, _)| *table != "the top level") {
        assert!(text.contains(&format!("| `{key}` |")), "docs/configuration.md does not describe {key} of {table}");
    }
}

#[test]
fn every_configuration_in_the_documentation_is_accepted() {
    let mut place = Place::new();
    let path = place.write("documented.toml", "x");
    place.environment.conf_path = Some(path.clone().into());
    let mut found = 0;
    let nitro = cfg!(feature = "nitro-enclaves").then_some("docs/nitro.md");
    for document in ["README.md", "docs/configuration.md"].into_iter().chain(nitro) {
        for block in shipped(document).split("```toml\n").skip(1) {
            fs::write(&path, block.split("```").next().unwrap()).unwrap();
            assert_eq!(place.load().tokens.len(), 1, "{document}: {block}");
            found += 1;
        }
    }
    assert!(found > 0);
}

#[test]
fn the_shipped_policies_allow_what_the_module_calls_and_nothing_else() {
    for (file, expected) in [
        ("token-with-pin", &["kms:GenerateDataKeyPair", "kms:Decrypt"][..]),
        ("token-without-pin", &["kms:GenerateDataKeyPair", "kms:GenerateDataKey", "kms:Decrypt"]),
        ("sign-only", &["kms:Decrypt"]),
    ] {
        let policy: serde_json::Value = serde_json::from_str(&shipped(&format!("docs/iam/{file}.json"))).unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1);
        let statement = &statements[0];
        let actions: Vec<&str> = match &statement["Action"] {
            serde_json::Value::Array(actions) => actions.iter().map(|a| a.as_str().unwrap()).collect(),
            action => vec![action.as_str().unwrap()],
        };
        assert_eq!(actions, expected, "{file}");
        assert_eq!(statement["Effect"], "Allow");
        assert!(statement["Resource"].as_str().unwrap().starts_with("arn:aws:kms:"));
        let condition = statement["Condition"].to_string();
        assert!(condition.contains("kms:EncryptionContext:datakey-pkcs11:token"), "{file}: {condition}");
    }
}
