//! Keys that come from files, by the operator's tool: PEM and PKCS#12, as OpenSSL and Java write them, whole and broken.

mod tool;

use datakey::crypto::{PublicKey, Secret};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tool::Setup;

const PASSPHRASE: &str = "a pass phrase";

fn ready() -> Setup {
    Setup::embedded("").initialised().with("DATAKEY_PKCS11_PASSPHRASE", PASSPHRASE)
}

/// Runs a program in the setup's folder.
#[track_caller]
fn done(setup: &Setup, name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).current_dir(setup.path("")).output().expect(name);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// `openssl` with these words.
#[track_caller]
fn openssl(setup: &Setup, words: &str) {
    let arguments: Vec<&str> =
        words.split(' ').map(|word| if word == "PASS" { "pass:a pass phrase" } else { word }).collect();
    done(setup, "openssl", &arguments);
}

/// The public key of a key in a file of PEM that is not encrypted.
fn public(setup: &Setup, file: &str) -> String {
    done(setup, "openssl", &["pkey", "-in", file, "-pubout"])
}

/// What each file of a private key is made of, beside `KIND.pem`, which is PKCS#8.
const FORMS: &[(&str, &str)] = &[
    ("rsa-pkcs1.pem", "rsa -in rsa.pem -traditional -out rsa-pkcs1.pem"),
    ("rsa-old.pem", "rsa -in rsa.pem -traditional -aes256 -passout PASS -out rsa-old.pem"),
    ("rsa-old-3des.pem", "rsa -in rsa.pem -traditional -des3 -passout PASS -out rsa-old-3des.pem"),
    ("ec-sec1.pem", "ec -in ec.pem -out ec-sec1.pem"),
    ("ec-sec1-old.pem", "ec -in ec.pem -aes128 -passout PASS -out ec-sec1-old.pem"),
    ("ec-pbes2.pem", "pkcs8 -topk8 -in ec.pem -passout PASS -out ec-pbes2.pem"),
    ("rsa-pbes2-sha1.pem", "pkcs8 -topk8 -v2prf hmacWithSHA1 -in rsa.pem -passout PASS -out rsa-pbes2-sha1.pem"),
    ("ed-pbes2-3des.pem", "pkcs8 -topk8 -v2 des3 -in ed.pem -passout PASS -out ed-pbes2-3des.pem"),
    ("ec-pbes1.pem", "pkcs8 -topk8 -v1 PBE-SHA1-3DES -in ec.pem -passout PASS -out ec-pbes1.pem"),
    ("ed.der", "pkcs8 -topk8 -nocrypt -in ed.pem -outform DER -out ed.der"),
    ("rsa.p12", "pkcs12 -export -inkey rsa.pem -in rsa.crt -name friendly -passout PASS -out rsa.p12"),
    (
        "rsa-legacy.p12",
        "pkcs12 -export -legacy -inkey rsa.pem -in rsa.crt -name friendly -passout PASS -out rsa-legacy.p12",
    ),
    ("ec-sha1.p12", "pkcs12 -export -macalg sha1 -inkey ec.pem -in ec.crt -passout PASS -out ec-sha1.p12"),
    (
        "ec-sha512.p12",
        "pkcs12 -export -macalg sha512 -keypbe AES-128-CBC -certpbe AES-192-CBC -inkey ec.pem -in ec.crt -passout PASS -out ec-sha512.p12",
    ),
    (
        "ed-open.p12",
        "pkcs12 -export -keypbe NONE -certpbe NONE -inkey ed.pem -in ed.crt -passout PASS -out ed-open.p12",
    ),
    ("ed-empty.p12", "pkcs12 -export -inkey ed.pem -in ed.crt -passout pass: -out ed-empty.p12"),
    ("rsa-chain.p12", "pkcs12 -export -inkey rsa.pem -in rsa.crt -certfile ec.crt -passout PASS -out rsa-chain.p12"),
];

/// Private keys of three kinds in PKCS#8, each with a certificate.
fn keys(setup: &Setup) {
    openssl(setup, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    openssl(setup, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    openssl(setup, "genpkey -algorithm ED25519 -out ed.pem");
    for kind in ["rsa", "ec", "ed"] {
        openssl(setup, &format!("req -x509 -key {kind}.pem -subj /O=Test/CN={kind}.example -days 3 -out {kind}.crt"));
    }
}

fn is_pkcs12(file: &str) -> bool {
    file.ends_with(".p12")
}

/// The subcommand that is for a file.
fn migrate(file: &str) -> [&str; 3] {
    ["migrate", if is_pkcs12(file) { "pkcs12" } else { "pem" }, file]
}

#[test]
fn a_key_is_the_same_in_whatever_form_it_comes() {
    let setup = ready();
    keys(&setup);
    for (file, words) in FORMS {
        openssl(&setup, words);
        let moved = setup.ok(&migrate(file));
        let kind = &file[..file.find(['-', '.']).unwrap()];
        let of_pair = &moved["objects"][0];
        assert_eq!((&of_pair["class"], &of_pair["result"]), (&"key pair".into(), &"moved".into()), "{file}: {moved}");
        assert_eq!((&moved["verified"], &moved["failed"]), (&1.into(), &0.into()), "{file}: {moved}");
        let id = of_pair["id"].as_str().unwrap();
        let shown = setup.ok(&["key", "show", &format!("id:{id}")]);
        assert_eq!(shown["public_key"].as_str().unwrap(), public(&setup, &format!("{kind}.pem")), "{file}");
        let certificates = if file.contains("chain") { 2 } else { usize::from(is_pkcs12(file)) };
        assert_eq!(moved["moved"], 1 + certificates, "{file}: {moved}");
        let label = if file.starts_with("rsa") && is_pkcs12(file) && !file.contains("chain") {
            "friendly"
        } else {
            file.rsplit_once('.').unwrap().0
        };
        assert_eq!(of_pair["label"], label, "{file}");
        // A second time nothing is left to do.
        let again = setup.ok(&migrate(file));
        assert_eq!((&again["moved"], &again["present"]), (&0.into(), &moved["moved"]), "{file}");
        // The same by `key import`, for one key and under other names.
        let imported = setup.ok(&["key", "import", file, "--label", "imported"]);
        assert_eq!(imported["public_key"], shown["public_key"], "{file}");
        for name in ["imported".to_owned(), format!("id:{id}")] {
            setup.ok(&["key", "destroy", &name, "--yes"]);
        }
        // Certificates go too, so that the next file finds none.
        fs::write(setup.path("empty"), "").unwrap();
        destroy_certificates(&setup);
    }
    assert_eq!(setup.ok(&["verify"])["checked"], 0);
}

/// What the tool has no word for.
fn destroy_certificates(setup: &Setup) {
    let token = setup.token();
    let class = cryptoki_sys::CKO_CERTIFICATE.to_be_bytes().to_vec();
    let query = datakey::store::Query { equal: vec![(cryptoki_sys::CKA_CLASS, class)], ..Default::default() };
    for id in token.find(&query, None, 100).unwrap().ids {
        let object = token.get(&id).unwrap().unwrap();
        token.destroy(&object).unwrap();
    }
}

#[test]
fn a_chain_beside_a_key_comes_with_it() {
    let setup = ready();
    keys(&setup);
    // An authority, what it signed, and what people write between the blocks.
    openssl(&setup, "req -new -key ec.pem -subj /CN=www.example.com -out www.csr");
    openssl(&setup, "x509 -req -in www.csr -CA rsa.crt -CAkey rsa.pem -CAcreateserial -days 3 -out www.crt");
    let read = |name: &str| fs::read_to_string(setup.path(name)).unwrap();
    let chain = format!("subject=www\r\n{}\nissuer\n{}", read("www.crt"), read("rsa.crt"));
    fs::write(setup.path("chain.pem"), chain).unwrap();
    fs::write(setup.path("all.pem"), format!("{}{}", read("ec.pem").replace('\n', "\r\n"), read("www.crt"))).unwrap();
    openssl(&setup, "ecparam -name prime256v1 -out parameters.pem");
    openssl(&setup, "pkey -in ed.pem -pubout -out ed.pub");

    let files = ["all.pem", "chain.pem", "parameters.pem", "ed.pub"];
    let message = setup.fails(&[&["migrate", "pem"], &files[2..]].concat());
    assert!(message.contains("parameters.pem: it holds neither a private key nor a certificate"), "{message}");
    fs::write(setup.path("both.pem"), format!("{}{}", read("ed.pub"), read("ec.crt"))).unwrap();
    let arguments = ["migrate", "pem", "all.pem", "chain.pem", "both.pem", "--label", "www", "--id", "0a0b"];
    let planned = setup.ok(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!((&planned["to_move"], &planned["moved"]), (&4.into(), &0.into()), "{planned}");
    let moved = setup.ok(&arguments);
    assert_eq!(moved["moved"], 4, "{moved}");
    assert_eq!(moved["passed_over"], serde_json::json!(["both.pem: \"PUBLIC KEY\""]));
    let named: Vec<(&str, &str)> = moved["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (object["class"].as_str().unwrap(), object["label"].as_str().unwrap()))
        .collect();
    for wanted in [("key pair", "www"), ("certificate", "www"), ("certificate", "rsa.example")] {
        assert!(named.contains(&wanted), "{wanted:?}: {named:?}");
    }
    // Both certificates of the key have its names.
    let own = moved["objects"].as_array().unwrap().iter().filter(|object| object["id"] == "0a0b").count();
    assert_eq!(own, 3, "{moved}");
    assert_eq!(setup.ok(&["verify"])["failed"], Value::Array(Vec::new()));
}

#[test]
fn several_keys_are_taken_at_once_and_each_once() {
    let setup = ready();
    keys(&setup);
    let read = |name: &str| fs::read_to_string(setup.path(name)).unwrap();
    fs::write(setup.path("two.pem"), read("rsa.pem") + &read("ec.pem")).unwrap();
    let message = setup.fails(&["key", "import", "two.pem", "--label", "x"]);
    assert!(message.contains("several private keys; datakey-pkcs11 migrate pem takes them all"), "{message}");
    assert!(setup.fails(&["migrate", "pem", "two.pem", "--id", "01"]).contains("--id is of one"));
    let moved = setup.ok(&["migrate", "pem", "two.pem", "ec.pem", "ed.pem"]);
    assert_eq!(moved["moved"], 3, "{moved}");
    // Java keeps several keys in one file, and gives them out one by one.
    let keytool = |arguments: &[&str]| {
        let store = ["-storepass", PASSPHRASE, "-storetype", "PKCS12", "-keystore", "java.p12"];
        done(&setup, "keytool", &[arguments, &store].concat());
    };
    for name in ["one", "two"] {
        keytool(&["-genkeypair", "-alias", name, "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=java"]);
        let told = setup.run(&["--json", "migrate", "pkcs12", "java.p12"]);
        match name {
            "one" => assert_eq!((told.success, &told.json()["moved"]), (true, &2.into()), "{told:?}"),
            _ => assert!(told.json()["error"]["message"].as_str().unwrap().contains("-srcalias"), "{told:?}"),
        }
    }
}

/// Whatever is in a file, the tool says what is wrong with it, and moves nothing of it.
#[test]
fn broken_files_are_refused_with_a_reason() {
    let setup = ready();
    keys(&setup);
    for (_, words) in FORMS {
        openssl(&setup, words);
    }
    openssl(&setup, "pkcs8 -topk8 -v2prf hmacWithSHA512 -in ec.pem -passout PASS -out sha512.pem");
    openssl(&setup, "pkcs8 -topk8 -scrypt -in ec.pem -passout PASS -out scrypt.pem");
    openssl(&setup, "pkcs12 -export -nomac -inkey ec.pem -in ec.crt -passout PASS -out nomac.p12");
    openssl(&setup, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:512 -out small.pem");
    openssl(&setup, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224 -out p224.pem");
    done(&setup, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "ssh"]);
    let read = |name: &str| fs::read(setup.path(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(setup.path(name), bytes).unwrap();
    write("empty.pem", b"");
    write("jks.p12", &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
    write("noise.p12", &[0x30, 0x80, 2, 1, 3, 0x30, 0x80, 6, 1]);
    write("latin1.pem", b"-----BEGIN PRIVATE KEY-----\n\xff\n-----END PRIVATE KEY-----\n");
    write("open.pem", text("ec.pem").replace("-----END PRIVATE KEY-----", "").as_bytes());
    write("nested.pem", format!("-----BEGIN CERTIFICATE-----\n{}", text("ec.crt")).as_bytes());
    write("mixed.pem", text("ec.pem").replace("END PRIVATE", "END EC PRIVATE").as_bytes());
    write("body.pem", text("rsa.pem").replacen("KEY-----\nM", "KEY-----\n!", 1).as_bytes());
    write("huge.pem", &[b'\n'; 1 << 20].iter().chain(&read("ec.pem")).copied().collect::<Vec<u8>>());
    write("headers.pem", text("rsa-old.pem").replace("AES-256-CBC", "ROT13").as_bytes());
    write("iv.pem", text("rsa-old.pem").replace("DEK-Info: AES-256-CBC,", "DEK-Info: AES-256-CBC,zz").as_bytes());
    for (file, reason) in [
        ("none.pem", "No such file"),
        ("empty.pem", "no private key of a kind that is known"),
        ("jks.p12", "keytool -importkeystore"),
        ("noise.p12", "damaged"),
        ("latin1.pem", "it is no text"),
        ("open.pem", "begins in line 1 does not end"),
        ("nested.pem", "begins in line 1 does not end"),
        ("mixed.pem", "begins in line 1 does not end"),
        ("body.pem", "\"PRIVATE KEY\""),
        ("huge.pem", "longer than 1 MiB"),
        ("headers.pem", "not known here"),
        ("iv.pem", "damaged"),
        ("scrypt.pem", "not known here"),
        ("sha512.pem", "not known here"),
        ("nomac.p12", "it has no MAC"),
        ("small.pem", "no private key of a kind"),
        ("p224.pem", "no private key of a kind"),
        ("ssh", "ssh-keygen -p -m PKCS8"),
    ] {
        let message = setup.fails(&migrate(file));
        assert!(message.starts_with(file) && message.contains(reason), "{file}: {message}");
    }

    let wrong = ready_again(&setup, "another one");
    for file in ["rsa-old.pem", "ec-sec1-old.pem", "ec-pbes2.pem", "ec-pbes1.pem", "rsa.p12", "rsa-legacy.p12"] {
        let message = wrong.fails(&migrate(file));
        assert!(message.contains("passphrase is wrong"), "{file}: {message}");
    }
    let nobody = ready_again(&setup, "");
    assert!(nobody.fails(&migrate("ec-pbes2.pem")).contains("--passphrase-file"), "nobody is there to be asked");
    let long = ready_again(&setup, &"x".repeat(2000));
    assert!(long.fails(&migrate("ec-pbes2.pem")).contains("passphrase is wrong"));
    assert_eq!(setup.ok(&["verify"])["checked"], 0, "nothing of all this was moved");
}

/// The same setup with another passphrase in its environment.
fn ready_again(setup: &Setup, passphrase: &str) -> Again {
    let environment = setup.environment.iter().filter(|(name, _)| name != "DATAKEY_PKCS11_PASSPHRASE").cloned();
    let more = [("DATAKEY_PKCS11_PASSPHRASE".to_owned(), passphrase.to_owned())];
    Again { environment: environment.chain(more).collect(), folder: setup.path("") }
}

struct Again {
    environment: Vec<(String, String)>,
    folder: std::path::PathBuf,
}

impl Again {
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let output = Command::new("setsid")
            .args(["--wait", env!("CARGO_BIN_EXE_datakey-pkcs11"), "--json"])
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        told["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// Every file cut short and with bits turned over, through the library: no panic, no hang, and never another key.
#[test]
fn files_that_are_damaged_anywhere_give_no_other_key() {
    use datakey::crypto::key_file::{from_pem, from_pkcs12};
    let setup = Setup::empty();
    keys(&setup);
    let passphrase = Secret::new(PASSPHRASE.as_bytes().to_vec());
    let mut own: Vec<PublicKey> = Vec::new();
    for kind in ["rsa", "ec", "ed"] {
        let (_, der) = der::pem::decode_vec(public(&setup, &format!("{kind}.pem")).as_bytes()).unwrap();
        own.push(PublicKey::from_spki(&der).unwrap());
    }
    let (mut read, mut refused) = (0, 0);
    let mut look = |pkcs8: Option<Secret>| match pkcs8
        .and_then(|der| datakey::crypto::PrivateKey::from_pkcs8(der.expose()).ok())
    {
        Some(key) => {
            assert!(own.contains(key.public_key()), "a damaged file gave another key");
            read += 1;
        }
        None => refused += 1,
    };
    // Nothing in a PEM file of an Ed25519 key tells whether it is whole: one bit more is another key.
    let tells = |file: &str| is_pkcs12(file) || (!file.starts_with("ed") && !file.ends_with(".der"));
    for (file, words) in FORMS.iter().filter(|(file, _)| tells(file)) {
        openssl(&setup, words);
        let whole = fs::read(setup.path(file)).unwrap();
        let mut open = |bytes: &[u8]| match is_pkcs12(file) {
            true => look(from_pkcs12(bytes, &passphrase).ok().and_then(|bundle| bundle.key)),
            false => look(from_pem(bytes, &passphrase).ok()),
        };
        let step = whole.len() / 60 + 1;
        for at in (0..whole.len()).step_by(step) {
            open(&whole[..at]);
            let mut turned = whole.clone();
            turned[at] ^= 1 << (at % 8);
            open(&turned);
        }
        open(&[&whole[..], &whole[..]].concat());
    }
    assert!(refused > 1500 && read > 0, "{read} read, {refused} refused");
}

#[test]
fn passphrases_come_from_files_too() {
    let setup = ready().without("DATAKEY_PKCS11_PASSPHRASE");
    keys(&setup);
    openssl(&setup, "pkcs8 -topk8 -in ec.pem -passout PASS -out ec-pbes2.pem");
    fs::write(setup.path("passphrase"), format!("{PASSPHRASE}\nnot this\n")).unwrap();
    let file = Path::new("passphrase").to_str().unwrap();
    let moved = setup.ok(&["migrate", "pem", "ec-pbes2.pem", "--passphrase-file", file]);
    assert_eq!(moved["verified"], 1);
    let moved = setup.ok(&["migrate", "pem", "ed.pem", "--no-verify", "--keep-extractable"]);
    assert_eq!((&moved["moved"], &moved["verified"]), (&1.into(), &0.into()));
}
