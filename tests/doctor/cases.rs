//! The broken set-ups, and what is to be found in each.

use crate::tool::{SO_PIN, Setup, answering, nobody};
use datakey::kms::embedded::{self, Fault, FaultKind, Server};
use datakey::token::User;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A broken set-up.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> Broken,
    /// The finding that must be there: level, check, and words of what is wrong and of what to do.
    pub(crate) level: &'static str,
    pub(crate) check: &'static str,
    pub(crate) what: &'static str,
    pub(crate) advice: &'static str,
}

/// What a case is made of; what it stands on lives as long as it.
pub(crate) struct Broken {
    pub(crate) setup: Setup,
    pub(crate) arguments: Vec<String>,
    _kms: Option<(Server, tempfile::TempDir)>,
}

impl From<Setup> for Broken {
    fn from(setup: Setup) -> Self {
        Self { setup, arguments: Vec::new(), _kms: None }
    }
}

/// Gives the embedded KMS a port.
pub(crate) fn serve(folder: &Path) -> Server {
    embedded::serve(([127, 0, 0, 1], 0).into(), &folder.join("served.json"), true).unwrap()
}

/// A sound token on a KMS with these faults ahead of it.
pub(crate) fn faulty(faults: &[(&str, FaultKind)], more: &str) -> Broken {
    let keys = tempfile::tempdir().unwrap();
    let server = serve(keys.path());
    let setup = Setup::at(&server.url(), more).initialised();
    for (operation, fault) in faults {
        let operation = (!operation.is_empty()).then(|| (*operation).to_owned());
        server.control().inject(Fault { operation, fault: fault.clone() });
    }
    Broken { _kms: Some((server, keys)), ..setup.into() }
}

fn error(code: &str) -> FaultKind {
    FaultKind::Error { code: code.to_owned(), status: None, message: "said by the test".to_owned() }
}

fn with_module(path: &str) -> Broken {
    let arguments = vec!["--module".to_owned(), path.to_owned()];
    Broken { arguments, ..Setup::embedded("").initialised().into() }
}

/// Enters wrong PINs.
fn wrong_pins(setup: Setup, user: User, count: u32) -> Broken {
    let token = setup.token();
    (0..count).for_each(|_| drop(token.check_pin(user, b"wrong")));
    setup.into()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn sqlite(setup: &Setup, sql: &str) {
    rusqlite::Connection::open(setup.store()).unwrap().execute_batch(sql).unwrap();
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "no configuration",
        make: || Setup::empty().into(),
        level: "error",
        check: "configuration",
        what: "none: ",
        advice: "datakey-pkcs11 init",
    },
    Case {
        name: "a configuration that is named and missing",
        make: || Setup::empty().with("DATAKEY_PKCS11_CONF", "/nonexistent/x.toml").into(),
        level: "error",
        check: "configuration",
        what: "/nonexistent/x.toml",
        advice: "correct the path",
    },
    Case {
        name: "a configuration that others can write",
        make: || {
            let setup = Setup::embedded("");
            mode(&setup.configuration(), 0o666);
            setup.into()
        },
        level: "error",
        check: "configuration",
        what: "0666",
        advice: "chmod go-w",
    },
    Case {
        name: "no TOML",
        make: || Setup::empty().written("[[token]\n").into(),
        level: "error",
        check: "configuration",
        what: "line 1",
        advice: "correct that line",
    },
    Case {
        name: "a key that is misspelt",
        make: || Setup::embedded("chache = {}").into(),
        level: "error",
        check: "configuration",
        what: "did you mean `cache`",
        advice: "docs/configuration.md",
    },
    Case {
        name: "no KMS key",
        make: || Setup::empty().configured("").into(),
        level: "error",
        check: "configuration",
        what: "kms_key_id",
        advice: "correct that line",
    },
    Case {
        name: "an empty configuration",
        make: || Setup::empty().written("").into(),
        level: "error",
        check: "configuration",
        what: "has no [[token]]",
        advice: "add a [[token]]",
    },
    Case {
        name: "a directory for a configuration",
        make: || Setup::empty().with("DATAKEY_PKCS11_CONF", "/tmp").into(),
        level: "error",
        check: "configuration",
        what: "not a regular file",
        advice: "correct the path",
    },
    Case {
        name: "a token that is not configured",
        make: || {
            let arguments = vec!["--token".to_owned(), "missing".to_owned()];
            Broken { arguments, ..Setup::embedded("").into() }
        },
        level: "error",
        check: "configuration",
        what: "no token of this label",
        advice: "token list",
    },
    Case {
        name: "KMS in clear text over a network",
        make: || Broken { arguments: vec!["--offline".to_owned()], ..Setup::at("http://kms.example", "").into() },
        level: "warning",
        check: "configuration",
        what: "http://kms.example",
        advice: "change the setting",
    },
    Case {
        name: "an audit log in no directory",
        make: || Setup::embedded("[log]\naudit = \"/nonexistent/audit.jsonl\"").into(),
        level: "error",
        check: "log",
        what: "/nonexistent/audit.jsonl",
        advice: "make the directory",
    },
    Case {
        name: "the embedded KMS",
        make: || Setup::embedded("").initialised().into(),
        level: "warning",
        check: "kms",
        what: "embedded KMS",
        advice: "name a KMS key of AWS",
    },
    Case {
        name: "a token that is not initialised",
        make: || Setup::embedded("").into(),
        level: "warning",
        check: "store",
        what: "not initialised",
        advice: "token init",
    },
    Case {
        name: "a store that is none",
        make: || {
            let setup = Setup::embedded("");
            fs::write(setup.store(), "this is no database, whatever its name may say of it").unwrap();
            mode(&setup.store(), 0o600);
            setup.into()
        },
        level: "error",
        check: "store",
        what: "damaged",
        advice: "backup",
    },
    Case {
        name: "a store with a damaged index",
        make: || {
            let setup = Setup::embedded("").initialised();
            let sql = "PRAGMA writable_schema = ON; \
                       UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'record') \
                       WHERE name = 'object'";
            sqlite(&setup, sql);
            setup.into()
        },
        level: "error",
        check: "store",
        what: "damaged",
        advice: "backup",
    },
    Case {
        name: "a store of a newer version",
        make: || {
            let setup = Setup::embedded("").initialised();
            sqlite(&setup, "PRAGMA user_version = 1000");
            setup.into()
        },
        level: "error",
        check: "store",
        what: "newer version",
        advice: "upgrade the module",
    },
    Case {
        name: "a store that everybody can write",
        make: || {
            let setup = Setup::embedded("").initialised();
            mode(&setup.store(), 0o666);
            setup.into()
        },
        level: "error",
        check: "store",
        what: "everybody can write",
        advice: "chmod",
    },
    Case {
        name: "a store that everybody can read",
        make: || {
            let setup = Setup::embedded("").initialised();
            mode(&setup.store(), 0o644);
            setup.into()
        },
        level: "warning",
        check: "store",
        what: "0644",
        advice: "chmod o=",
    },
    Case {
        name: "a directory for a store",
        make: || {
            let setup = Setup::embedded("");
            fs::create_dir(setup.store()).unwrap();
            setup.into()
        },
        level: "error",
        check: "store",
        what: "token.db",
        advice: "check path, permissions",
    },
    Case {
        name: "a token without PINs where the configuration wants them",
        make: || {
            let setup = Setup::embedded("login = \"none\"");
            setup.token().initialise(b"", "test").unwrap();
            let text = fs::read_to_string(setup.configuration()).unwrap();
            setup.written(&text.replace("login = \"none\"", "")).into()
        },
        level: "error",
        check: "store",
        what: "has no PINs",
        advice: "who changed the store or the configuration",
    },
    Case {
        name: "a token with PINs where the configuration wants none",
        make: || {
            let setup = Setup::embedded("").initialised();
            let text = fs::read_to_string(setup.configuration()).unwrap();
            setup.written(&(text + "login = \"none\"\n")).into()
        },
        level: "warning",
        check: "pin",
        what: "which still hold",
        advice: "say login = \"pin\"",
    },
    Case {
        name: "no user PIN",
        make: || {
            let setup = Setup::embedded("");
            setup.token().initialise(SO_PIN.as_bytes(), "test").unwrap();
            setup.into()
        },
        level: "warning",
        check: "pin",
        what: "user PIN is not set",
        advice: "--init-pin",
    },
    Case {
        name: "a user PIN that is locked",
        make: || wrong_pins(Setup::embedded("max_pin_attempts = 3").initialised(), User::User, 3),
        level: "error",
        check: "pin",
        what: "user PIN is locked",
        advice: "--init-pin",
    },
    Case {
        name: "a user PIN before its last try",
        make: || wrong_pins(Setup::embedded("max_pin_attempts = 3").initialised(), User::User, 2),
        level: "warning",
        check: "pin",
        what: "one more wrong try locks the user PIN",
        advice: "resets the count",
    },
    Case {
        name: "a host with a wrong PIN",
        make: || wrong_pins(Setup::embedded("").initialised(), User::User, 1),
        level: "warning",
        check: "pin",
        what: "entered wrongly",
        advice: "find the host",
    },
    Case {
        name: "an SO PIN that is locked",
        make: || wrong_pins(Setup::embedded("max_pin_attempts = 3").initialised(), User::So, 3),
        level: "error",
        check: "pin",
        what: "SO PIN is locked",
        advice: "max_pin_attempts",
    },
    Case {
        name: "a key file that is gone",
        make: || {
            let setup = Setup::embedded("login = \"none\"");
            setup.token().initialise(b"", "test").unwrap();
            fs::remove_file(setup.path("kms.json")).unwrap();
            setup.into()
        },
        level: "error",
        check: "kms",
        what: "is gone",
        advice: "restore it",
    },
    Case {
        name: "no credentials",
        make: || Setup::empty().configured("kms_key_id = \"alias/x\"\nregion = \"us-east-1\"").into(),
        level: "error",
        check: "credentials",
        what: "no AWS credentials",
        advice: "set them in the environment",
    },
    Case {
        name: "no Region",
        make: || Setup::empty().configured("kms_key_id = \"alias/x\"").into(),
        level: "error",
        check: "credentials",
        what: "no AWS Region",
        advice: "set region",
    },
    Case {
        name: "root certificates that are not there",
        make: || Setup::at("https://127.0.0.1:1", "ca_bundle = \"/nonexistent/ca.pem\"").into(),
        level: "error",
        check: "credentials",
        what: "/nonexistent/ca.pem",
        advice: "correct the token's configuration",
    },
    Case {
        name: "an access key that never expires",
        make: || Setup::at(&nobody(), "timeouts = { total = \"1s\" }").with("AWS_ACCESS_KEY_ID", "AKIATEST").into(),
        level: "warning",
        check: "credentials",
        what: "never expires",
        advice: "a role",
    },
    Case {
        name: "an endpoint where nobody listens",
        make: || Setup::at(&nobody(), "timeouts = { total = \"1s\" }").into(),
        level: "error",
        check: "kms",
        what: "cannot be reached",
        advice: "endpoint_url",
    },
    Case {
        name: "an endpoint that does not answer",
        make: || {
            let hangs = ["", "", "", ""].map(|any| (any, FaultKind::Hang));
            faulty(&hangs, "timeouts = { attempt = \"200ms\", total = \"400ms\" }")
        },
        level: "error",
        check: "kms",
        what: "before the deadline",
        advice: "timeouts",
    },
    Case {
        name: "a web server in the place of KMS",
        make: || Setup::at(&answering(200, "content-type: text/html\r\n", "<html>Welcome</html>"), "").into(),
        level: "error",
        check: "kms",
        what: "makes no sense",
        advice: "something else than KMS answers",
    },
    Case {
        name: "a KMS key that does not exist",
        make: || {
            let broken = faulty(&[], "");
            let text = fs::read_to_string(broken.setup.configuration()).unwrap();
            let text = text.replace(embedded::DEFAULT_ALIAS, "alias/missing");
            Broken { setup: broken.setup.written(&text), ..broken }
        },
        level: "error",
        check: "kms",
        what: "does not exist",
        advice: "check kms_key_id, region",
    },
    Case {
        name: "a name of a KMS key that is none",
        make: || faulty(&[("", error("InvalidArnException"))], ""),
        level: "error",
        check: "kms",
        what: "rejected the request",
        advice: "check kms_key_id",
    },
    Case {
        name: "a KMS key in a custom key store, which makes no key pairs",
        make: || faulty(&[("GenerateDataKeyPair", error("UnsupportedOperationException"))], ""),
        level: "error",
        check: "kms",
        what: "custom key store",
        advice: "endpoint_url",
    },
    Case {
        name: "a KMS key that is disabled",
        make: || faulty(&[("", error("DisabledException"))], ""),
        level: "error",
        check: "kms",
        what: "disabled",
        advice: "aws kms enable-key",
    },
    Case {
        name: "a KMS key that is to be deleted",
        make: || faulty(&[("", error("KMSInvalidStateException"))], ""),
        level: "error",
        check: "kms",
        what: "pending deletion",
        advice: "cancel-key-deletion",
    },
    Case {
        name: "a KMS key that signs",
        make: || faulty(&[("", error("InvalidKeyUsageException"))], ""),
        level: "error",
        check: "kms",
        what: "not a symmetric encryption key",
        advice: "name a symmetric encryption key",
    },
    Case {
        name: "expired credentials",
        make: || faulty(&[("", error("ExpiredTokenException")), ("", error("ExpiredTokenException"))], ""),
        level: "error",
        check: "kms",
        what: "rejected the credentials",
        advice: "renew them",
    },
    Case {
        name: "a role that may not make keys",
        make: || faulty(&[("GenerateDataKeyPair", error("AccessDeniedException"))], ""),
        level: "error",
        check: "permission",
        what: "kms:GenerateDataKeyPair, to make key pairs: denied",
        advice: "datakey-pkcs11 policy",
    },
    Case {
        name: "a role that may not use keys",
        make: || faulty(&[("Decrypt", error("AccessDeniedException"))], ""),
        level: "error",
        check: "permission",
        what: "kms:Decrypt, to use private keys: denied",
        advice: "allow kms:Decrypt",
    },
    Case {
        name: "a host that only makes keys",
        make: || faulty(&[("Decrypt", error("AccessDeniedException"))], "generate = \"without-plaintext\""),
        level: "warning",
        check: "permission",
        what: "this host can only make keys",
        advice: "allow kms:Decrypt",
    },
    Case {
        name: "an emulator without this dry run",
        make: || faulty(&[("Decrypt", error("ValidationException"))], ""),
        level: "warning",
        check: "permission",
        what: "kms:Decrypt, to use private keys: cannot be tried",
        advice: "an emulator may not know",
    },
    Case {
        name: "a clock that is wrong",
        make: || {
            let headers = "date: Mon, 23 Nov 2020 23:10:11 GMT\r\ncontent-type: application/x-amz-json-1.1\r\n";
            Setup::at(&answering(412, headers, "{\"__type\":\"DryRunOperationException\"}"), "").into()
        },
        level: "warning",
        check: "clock",
        what: "seconds off",
        advice: "NTP",
    },
    Case {
        name: "a module that is not there",
        make: || with_module("/nonexistent/libdatakey_pkcs11.so"),
        level: "error",
        check: "module",
        what: "no such file",
        advice: "--module",
    },
    Case {
        name: "a module that is a text",
        make: || with_module("/etc/passwd"),
        level: "error",
        check: "module",
        what: "cannot be loaded",
        advice: "build and install it anew",
    },
    Case {
        name: "a module that is another library",
        make: || with_module("libc.so.6").found(),
        level: "error",
        check: "module",
        what: "no C_GetFunctionList",
        advice: "build and install it anew",
    },
];

impl Broken {
    /// With the C library's own path.
    fn found(mut self) -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6")).unwrap();
        self.arguments[1] = path.to_owned();
        self
    }
}
