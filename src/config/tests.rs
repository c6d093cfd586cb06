use super::parse::parse;
use super::*;
use crate::error::{Cause, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MINIMAL: &str = "[[token]]\nlabel = \"web\"\nkms_key_id = \"alias/web\"\n";

fn read(text: &str) -> Config {
    parse(text, Some(Path::new("/stores"))).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refuse(text: &str) -> Error {
    let error = parse(text, Some(Path::new("/stores"))).err().unwrap_or_else(|| panic!("accepted:\n{text}"));
    assert_eq!(error.cause(), Cause::ConfigInvalid);
    error
}

/// A token with more lines, the first of which is line 4.
fn token(more: &str) -> String {
    format!("{MINIMAL}{more}\n")
}

fn only(text: &str) -> TokenConfig {
    let mut config = read(text);
    assert_eq!(config.tokens.len(), 1);
    config.tokens.remove(0)
}

#[test]
fn a_minimal_token_gets_every_default() {
    let token = only(MINIMAL);
    let expected = TokenConfig {
        label: "web".into(),
        kms: KmsConfig {
            backend: KmsBackend::Aws,
            key_id: "alias/web".into(),
            encryption_context: BTreeMap::new(),
            former_key_ids: Vec::new(),
            additional: Vec::new(),
            grant_tokens: vec![],
            region: None,
            profile: None,
            role_arn: None,
            role_session_name: None,
            external_id: None,
            endpoint_url: None,
            fips: false,
            dual_stack: false,
            proxy: None,
            ca_bundle: None,
            timeouts: Timeouts::default(),
            attestation: None,
        },
        store: StoreLocation::Sqlite("/stores/web.db".into()),
        login: LoginMode::Pin,
        generate: GenerateMode::WithPlaintext,
        cache: CacheConfig::default(),
        max_pin_attempts: 10,
        pin_hash: PinHash { memory_kib: 19 * 1024, passes: 2 },
    };
    assert_eq!(token, expected);
}

#[test]
fn every_key_is_read() {
    let config = read(
        r#"
        [log]
        level = "debug"
        target = "file:/var/log/datakey.log"
        audit = "/var/log/datakey-audit.log"
        metrics = "/run/metrics/datakey-{pid}.prom"

        [[token]]
        label = "web"
        kms = "aws"
        kms_key_id = "1234abcd-12ab-34cd-56ef-1234567890ab"
        encryption_context = { app = "web", empty = "" }
        grant_tokens = ["one", "two"]
        region = "eu-central-1"
        profile = "prod"
        role_arn = "arn:aws:iam::111122223333:role/pkcs11"
        role_session_name = "web-1"
        external_id = "x"
        endpoint_url = "https://vpce-1.kms.eu-central-1.vpce.amazonaws.com"
        fips = true
        dual_stack = true
        proxy = "http://user:secret@proxy:3128"
        ca_bundle = "/etc/ssl/corp.pem"
        timeouts = { attempt = "1s", total = "3s", generate_attempt = "1500ms", generate_total = "2m" }
        store = "sqlite:/srv/web.db"
        login = "none"
        max_pin_attempts = 0
        pin_hash = { memory = "9216K", passes = 4 }
        generate = "without-plaintext"
        cache = { max_age = 0, max_uses = 1, max_keys = 0x10, max_object_age = "1m" }
        "#,
    );
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.log.target, LogTarget::File("/var/log/datakey.log".into()));
    assert_eq!(config.log.audit, Some("/var/log/datakey-audit.log".into()));
    assert_eq!(config.log.metrics, Some("/run/metrics/datakey-{pid}.prom".into()));
    assert_eq!(config.notes, [""; 0]);
    let token = &config.tokens[0];
    let kms = &token.kms;
    assert_eq!(kms.encryption_context, BTreeMap::from([("app".into(), "web".into()), ("empty".into(), "".into())]));
    assert_eq!(kms.grant_tokens, ["one", "two"]);
    assert_eq!(kms.region.as_deref(), Some("eu-central-1"));
    assert_eq!(kms.profile.as_deref(), Some("prod"));
    assert_eq!(kms.role_arn.as_deref(), Some("arn:aws:iam::111122223333:role/pkcs11"));
    assert_eq!(kms.role_session_name.as_deref(), Some("web-1"));
    assert_eq!(kms.external_id.as_deref(), Some("x"));
    assert_eq!(kms.endpoint_url.as_deref(), Some("https://vpce-1.kms.eu-central-1.vpce.amazonaws.com"));
    assert!(kms.fips && kms.dual_stack);
    assert_eq!(kms.proxy.as_deref(), Some("http://user:secret@proxy:3128"));
    assert_eq!(kms.ca_bundle, Some("/etc/ssl/corp.pem".into()));
    let expected = Timeouts {
        attempt: Duration::from_secs(1),
        total: Duration::from_secs(3),
        generate_attempt: Duration::from_millis(1500),
        generate_total: Duration::from_secs(120),
    };
    assert_eq!(kms.timeouts, expected);
    assert_eq!(token.store, StoreLocation::Sqlite("/srv/web.db".into()));
    assert_eq!(token.login, LoginMode::None);
    assert_eq!(token.max_pin_attempts, 0);
    assert_eq!(token.pin_hash, PinHash { memory_kib: 9216, passes: 4 });
    assert_eq!(token.generate, GenerateMode::WithoutPlaintext);
    assert_eq!(
        token.cache,
        CacheConfig {
            max_age: Duration::ZERO,
            max_stale: Duration::ZERO,
            max_uses: 1,
            max_keys: 16,
            max_object_age: Duration::from_secs(60),
        }
    );
    let shown = format!("{config:?}");
    for secret in ["secret", "one", "two", "external_id: Some"] {
        assert!(!shown.contains(&format!("\"{secret}")) && !shown.contains(":secret"), "{shown}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
    for (text, expected) in [
        (
            "\n\n\n\n[[token]]\nlabel = \"a\"\nkms_key = \"x\"".to_owned(),
            "line 7: unknown key `kms_key`; did you mean `kms_key_id`?",
        ),
        (token("cach = {}"), "line 4: unknown key `cach`; did you mean `cache`?"),
        (token("max-pin-attempts = 3"), "line 4: unknown key `max-pin-attempts`; did you mean `max_pin_attempts`?"),
        (
            token("cache = { max_age = \"1s\",\n  max_use = 3 }"),
            "line 5: unknown key `max_use`; did you mean `max_uses`?",
        ),
        (token("level = \"warn\""), "line 4: unknown key `level`; it belongs in [log], not in [[token]]"),
        (
            "kms_key_id = \"x\"".to_owned(),
            "line 1: unknown key `kms_key_id`; it belongs in [[token]], not in the top level",
        ),
        ("[log]\nqqq = 1".to_owned(), "line 2: unknown key `qqq`; [log] knows `level`, `target`, `audit`, `metrics`"),
        ("[logs]".to_owned(), "line 1: unknown key `logs`; did you mean `log`?"),
    ] {
        assert_eq!(refuse(&text).detail(), expected);
    }
}

#[test]
fn each_wrong_value_names_line_key_finding_and_what_is_accepted() {
    for (line, expected) in [
        ("region = 5", "`region` is the integer 5; accepted: the name of a Region, such as \"eu-central-1\""),
        ("region = \"EU\"", "`region` is \"EU\"; accepted: the name of a Region, such as \"eu-central-1\""),
        ("fips = \"yes\"", "`fips` is \"yes\"; accepted: true or false"),
        ("login = \"pins\"", "`login` is \"pins\"; accepted: \"pin\", \"none\""),
        ("login = \"\"", "`login` is empty; accepted: \"pin\", \"none\""),
        (
            "generate = \"plaintext\"",
            "`generate` is \"plaintext\"; accepted: \"with-plaintext\", \"without-plaintext\"",
        ),
        ("max_pin_attempts = -1", "`max_pin_attempts` is the integer -1; accepted: an integer from 0 to 1000000"),
        (
            "grant_tokens = [1]",
            "`grant_tokens` is the integer 1; accepted: an array of at most 10 strings of 1 to 8192 characters",
        ),
        (
            "proxy = \"user:hunter2@p\"",
            "`proxy` is a string (not shown here); accepted: a URL that begins with http:// or https://",
        ),
        (
            "encryption_context = \"a\"",
            "`encryption_context` is \"a\"; accepted: a table of strings, such as { app = \"web\" }",
        ),
        ("encryption_context = { a = 1 }", "`a` is the integer 1; accepted: a string"),
        (
            "cache = { max_age = 5 }",
            "`max_age` is the integer 5; accepted: a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\", or 0",
        ),
        (
            "cache = { max_age = \"5 minutes\" }",
            "`max_age` is \"5 minutes\"; accepted: a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\", or 0",
        ),
        ("cache = { max_uses = 0 }", "`max_uses` is the integer 0; accepted: an integer from 1 to 9223372036854775807"),
        (
            "kms = \"embeded\"",
            "`kms` is \"embeded\"; accepted: \"aws\", \"embedded\" or \"embedded:FILE\" with an absolute path",
        ),
        (
            "store = \"web.db\"",
            "`store` is \"web.db\"; accepted: \"sqlite:PATH\" with an absolute path, \"postgres://USER@HOST/DATABASE\", or \"dynamodb:TABLE\"",
        ),
    ] {
        assert_eq!(refuse(&token(line)).detail(), format!("line 4: {expected}"));
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let grants = format!("grant_tokens = [{}]", "\"t\",".repeat(11));
    let long = format!("grant_tokens = [\"{}\"]", "t".repeat(8193));
    for (line, part) in [
        ("store = \"sqlite:web.db\"", "the path must be absolute"),
        ("store = \"sqlite:~/web.db\"", "~ is not expanded"),
        ("store = \"sqlite:/srv/\"", "must name a file"),
        ("kms = \"embedded:keys.json\"", "the path must be absolute"),
        ("kms = \"embedded\"\nendpoint_url = \"http://127.0.0.1:1\"", "has no endpoint"),
        ("kms = \"embedded:/stores/web.db\"", "/stores/web.db is already the store of the token \"web\""),
        ("role_session_name = \"x1\"", "no effect without `role_arn`"),
        ("external_id = \"x\"", "no effect without `role_arn`"),
        ("role_arn = \"pkcs11\"", "the ARN of a role"),
        (
            "encryption_context = { \"datakey-pkcs11:v\" = \"2\" }",
            "keys that begin with datakey-pkcs11: are the module's own",
        ),
        ("encryption_context = { \"\" = \"2\" }", "must not be empty"),
        (&grants, "11 grant tokens; KMS takes at most 10"),
        (&long, "at most 10 strings of 1 to 8192"),
        ("timeouts = { attempt = 0 }", "must be more than 0"),
        (
            "timeouts = { attempt = \"3s\", total = \"2s\" }",
            "one attempt is given 3s, but the whole call (`total`) only 2s",
        ),
        ("timeouts = { generate_attempt = \"3m\", generate_total = \"2s\" }", "(`generate_total`) only 2s"),
        ("endpoint_url = \"kms.local\"", "a URL that begins with"),
        ("endpoint_url = \"https://a:b@kms.local\"", "must not carry a user or password"),
        ("cache = { max_age = \"366d\" }", "a duration such as"),
        ("ca_bundle = \"corp.pem\"", "the path must be absolute"),
    ] {
        let error = refuse(&token(line));
        assert!(error.detail().contains(part), "{line}: {error}");
        assert!(
            error.detail().contains("line 4: ") || error.detail().contains("line 5: ") || part.contains("already"),
            "{error}"
        );
    }
}

#[test]
fn labels_that_clients_cannot_tell_apart_or_hold_are_refused() {
    for (label, part) in [
        ("", "`label` is empty"),
        ("a ", "must not end with a blank"),
        ("a\\nb", "without control characters"),
        ("123456789012345678901234567890123", "the label has 33 bytes"),
        ("ééééééééééééééééé", "the label has 34 bytes"),
    ] {
        let error = refuse(&format!("[[token]]\nlabel = \"{label}\"\nkms_key_id = \"k\""));
        assert!(error.detail().starts_with("line 2: ") && error.detail().contains(part), "{label}: {error}");
    }
    assert_eq!(
        refuse("[[token]]\nkms_key_id = \"k\"").detail(),
        "line 1: this token has no `label`; write, for example, label = \"web\""
    );
    let no_key = refuse("\n[[token]]\nlabel = \"web\"");
    assert!(no_key.detail().contains("line 2: this token has no `kms_key_id`"), "{no_key}");
}

#[test]
fn nothing_is_two_things() {
    let two = |a: &str, b: &str| format!("{MINIMAL}{a}\n[[token]]\nlabel = \"two\"\nkms_key_id = \"k\"\n{b}\n");
    let same_label = format!("{MINIMAL}{MINIMAL}");
    assert_eq!(refuse(&same_label).detail(), "line 4: the label \"web\" is already taken by the token of line 1");
    for (a, b) in [
        ("store = \"sqlite:/a/b.db\"", "store = \"sqlite:/a//./b.db\""),
        ("", "store = \"sqlite:/stores/web.db\""),
        ("store = \"sqlite:/usr/bin/../x.db\"", "store = \"sqlite:/usr/x.db\""),
        ("store = \"postgres://u@h/d?token=two\"", "store = \"postgresql://u:p@h:5432/d\""),
    ] {
        let error = refuse(&two(a, b));
        assert!(error.detail().contains("is already the store of the token \"web\""), "{error}");
    }
    let shared = read(&two("kms = \"embedded:/k.json\"", "kms = \"embedded:/k.json\""));
    assert_eq!(shared.tokens[0].kms.backend, shared.tokens[1].kms.backend);
    let log = refuse(&format!("{MINIMAL}[log]\naudit = \"/stores/web.db\""));
    assert!(log.detail().contains("/stores/web.db is already the store"), "{log}");
}

#[test]
fn attestation_is_refused_by_a_build_that_cannot_keep_it() {
    use super::reader::{Section, TOKEN};
    let read = |value: &str, built_in| {
        let text = token(&format!("attestation = {value}"));
        let table = toml::de::DeTable::parse(&text).unwrap();
        let tokens = Section::document(&text, &table).unwrap().get("token").unwrap().array("").unwrap();
        let section = tokens[0].table(TOKEN, "").unwrap();
        token::attestation(&section.get("attestation").unwrap(), built_in)
    };
    let nitro = |device: &str| Attestation::Nitro(device.into());
    assert_eq!(read("\"nitro\"", true).unwrap(), nitro("/dev/nsm"));
    assert_eq!(read("\"nitro:/run/nsm\"", true).unwrap(), nitro("/run/nsm"));
    for (value, built_in, part) in [
        ("\"nitro\"", false, "`attestation`: this build is without it; build with --features nitro-enclaves"),
        ("\"nitro:/run/nsm\"", false, "this build is without it"),
        ("\"nitro:nsm\"", true, "the path must be absolute"),
        ("\"nitro-tpm\"", true, "accepted: \"nitro\", or \"nitro:DEVICE\""),
        ("true", true, "`attestation` is true"),
    ] {
        let error = read(value, built_in).unwrap_err();
        assert!(error.detail().contains(part), "{value}: {error}");
    }
    let whole = parse(&token("attestation = \"nitro\""), Some(Path::new("/stores")));
    assert_eq!(whole.is_ok(), cfg!(feature = "nitro-enclaves"));
}

#[test]
fn the_embedded_kms_needs_no_key_and_lives_beside_the_store() {
    let token = only("[[token]]\nlabel = \"t\"\nkms = \"embedded\"\nstore = \"sqlite:/srv/t.db\"");
    assert_eq!(token.kms.backend, KmsBackend::Embedded("/srv/embedded-kms.json".into()));
    assert_eq!(token.kms.key_id, "");
    let named = only("[[token]]\nlabel = \"t\"\nkms = \"embedded:/k.json\"\nkms_key_id = \"alias/x\"");
    assert_eq!(named.kms.backend, KmsBackend::Embedded("/k.json".into()));
    assert_eq!(named.kms.key_id, "alias/x");
}

#[test]
fn every_form_of_a_key_id_is_taken_and_an_arn_gives_the_region() {
    let key = |id: &str, more: &str| format!("[[token]]\nlabel = \"t\"\nkms_key_id = \"{id}\"\n{more}");
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd";
    for id in
        ["1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234", "alias/a/b", arn, "arn:aws-cn:kms:cn-north-1:1:alias/x"]
    {
        assert_eq!(only(&key(id, "")).kms.key_id, id);
    }
    assert_eq!(only(&key(arn, "")).kms.region.as_deref(), Some("eu-west-1"));
    let error = refuse(&key(arn, "region = \"us-east-1\""));
    assert!(error.detail().ends_with("the key is in the Region eu-west-1, but `region` says us-east-1"), "{error}");
    for id in [
        "alias/",
        "key/x",
        "a b",
        "arn:aws:s3:::bucket",
        "arn:aws:kms:eu-west-1:1:key/",
        "arn:aws:kms:eu-west-1:1:grant/x",
    ] {
        refuse(&key(id, ""));
    }
}

#[test]
fn a_deadline_that_is_not_given_bends_to_the_one_that_is() {
    let timeouts = |text: &str| only(&token(&format!("timeouts = {{ {text} }}"))).kms.timeouts;
    assert_eq!(timeouts("total = \"1s\"").attempt, Duration::from_secs(1));
    assert_eq!(timeouts("attempt = \"20s\"").total, Duration::from_secs(20));
    assert_eq!(
        timeouts("generate_attempt = \"4s\""),
        Timeouts { generate_attempt: Duration::from_secs(4), ..Timeouts::default() }
    );
}

#[test]
fn durations_have_the_units_they_name() {
    let age = |text: &str| only(&token(&format!("cache = {{ max_age = {text} }}"))).cache.max_age;
    for (text, milliseconds) in [
        ("\"5m\"", 300_000),
        ("\"30s\"", 30_000),
        ("\"500ms\"", 500),
        ("\"1h\"", 3_600_000),
        ("\"2d\"", 172_800_000),
        ("\"0\"", 0),
        ("0", 0),
        ("\"0s\"", 0),
        ("\"3 s\"", 3000),
    ] {
        assert_eq!(age(text), Duration::from_millis(milliseconds), "{text}");
    }
    for text in [
        "\"5\"",
        "\"m\"",
        "\"-5m\"",
        "\"1.5s\"",
        "\"5M\"",
        "\"99999999999999999999s\"",
        "\"18446744073709551615d\"",
        "1",
        "true",
        "\"\"",
    ] {
        refuse(&token(&format!("cache = {{ max_age = {text} }}")));
    }
}

#[test]
fn a_label_is_made_safe_as_a_file_name_and_stays_distinct() {
    let mut seen = BTreeMap::new();
    for label in ["web", "../etc", ".hidden", "a/b", "a%2Fb", "a b", "ä", "web.db", "A", "a"] {
        let text = format!("[[token]]\nlabel = \"{label}\"\nkms_key_id = \"k\"");
        let path = only(&text).store.file().unwrap().clone();
        assert_eq!(path.parent(), Some(Path::new("/stores")), "{label}");
        assert!(!path.file_name().unwrap().to_str().unwrap().starts_with('.'), "{label}");
        assert_eq!(seen.insert(path, label), None);
    }
    assert_eq!(seen[&PathBuf::from("/stores/%2E.%2Fetc.db")], "../etc");
}

#[test]
fn what_is_unwise_but_allowed_is_noted() {
    for (url, noted) in [
        ("http://10.0.0.1:4566", true),
        ("http://kms.local", true),
        ("http://127.0.0.1:4566", false),
        ("http://[::1]:4566", false),
        ("http://localhost:4566/", false),
        ("http://localhost.evil.example", true),
        ("https://kms.local", false),
    ] {
        let notes = read(&token(&format!("endpoint_url = \"{url}\""))).notes;
        assert_eq!(notes.len(), usize::from(noted), "{url}: {notes:?}");
    }
}

#[test]
fn text_that_is_not_toml_is_an_error_at_its_line() {
    for (text, start) in [
        ("[[token]]\nlabel = ", "line 2: not TOML: "),
        ("a = 1\na = 2", "line 2: not TOML: "),
        ("[[token]]\nlabel = \"a\"\nlabel = \"b\"", "line 3: not TOML: "),
        ("[token]\nlabel = \"a\"", "line 1: `token` is of the type table; accepted: one [[token]]"),
        ("token = 5", "line 1: `token` is the integer 5"),
    ] {
        assert!(refuse(text).detail().starts_with(start), "{}", refuse(text));
    }
    assert_eq!(read("\u{feff}# nothing"), Config::default());
}

#[test]
fn no_prefix_and_no_flipped_byte_of_a_file_makes_it_panic() {
    let text = token("cache = { max_age = \"5m\" }\nencryption_context = { a = \"b\" }\ngrant_tokens = [\"x\"]");
    let mut answers = [0; 2];
    for cut in 0..text.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = text.as_bytes()[..=cut].to_vec();
            bytes[cut] ^= flip;
            let text = String::from_utf8_lossy(&bytes);
            answers[usize::from(parse(&text, None).is_ok())] += 1;
        }
    }
    assert!(answers[0] > 100, "{answers:?}");
}

#[test]
fn no_key_stands_twice_in_the_list_and_every_one_is_read() {
    let mut all: Vec<_> = keys().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    // A key that the list knows but nobody reads would be accepted in silence: give each a wrong type.
    for (table, key) in keys().filter(|(table, _)| *table == "[[token]]") {
        let text = match key {
            "label" => "[[token]]\nlabel = 1979-05-27".to_owned(),
            "kms_key_id" => "[[token]]\nlabel = \"a\"\nkms_key_id = 1979-05-27".to_owned(),
            _ => token(&format!("{key} = 1979-05-27")),
        };
        let message = refuse(&text).detail().to_owned();
        assert!(message.contains(&format!("`{key}`")), "{table} {key}: {message}");
    }
}

#[test]
fn the_price_of_a_pin_has_bounds_and_a_cheap_one_is_noted() {
    for (text, expected, noted) in [
        ("memory = \"64M\"", PinHash { memory_kib: 65536, passes: 2 }, false),
        ("passes = 1", PinHash { memory_kib: 19456, passes: 1 }, true),
        ("memory = \"7M\", passes = 5", PinHash { memory_kib: 7168, passes: 5 }, false),
        ("memory = \"1M\", passes = 1", PinHash { memory_kib: 1024, passes: 1 }, true),
        ("memory = \"262144K\", passes = 10", PinHash { memory_kib: 262_144, passes: 10 }, false),
    ] {
        let config = read(&token(&format!("pin_hash = {{ {text} }}")));
        assert_eq!(config.tokens[0].pin_hash, expected);
        assert_eq!(config.notes.iter().any(|note| note.contains("pin_hash")), noted, "{text}: {:?}", config.notes);
    }
    for wrong in
        ["\"1023K\"", "\"257M\"", "\"19\"", "\"M\"", "\"-1M\"", "\"19 M\"", "\"19m\"", "\"4194304M\"", "19", "\"\""]
    {
        let error = refuse(&token(&format!("pin_hash = {{ memory = {wrong} }}")));
        assert!(error.detail().contains("a size from \"1M\" to \"256M\""), "{error}");
    }
    for wrong in ["0", "11", "\"2\"", "-1"] {
        let error = refuse(&token(&format!("pin_hash = {{ passes = {wrong} }}")));
        assert!(error.detail().contains("an integer from 1 to 10"), "{error}");
    }
}

const THERE: &str = "arn:aws:kms:eu-west-1:111122223333:key/5678";

#[test]
fn an_additional_kms_key_is_reached_as_the_wrapping_key_where_it_does_not_say_otherwise() {
    let of = |more: &str, own: &str| {
        let text = token(&format!("region = \"eu-central-1\"\n{more}\nadditional_kms_keys = [{{ {own} }}]"));
        let kms = only(&text).kms;
        assert_eq!(kms.places().count(), 2);
        (kms.is_beside(&kms.additional[0]), kms.additional[0].clone())
    };
    let surroundings = "profile = \"p\"\nfips = true\nproxy = \"http://proxy\"\nca_bundle = \"/ca.pem\"\n\
        endpoint_url = \"https://vpce\"\ngrant_tokens = [\"t\"]\nencryption_context = { app = \"web\" }";
    let (beside, there) = of(surroundings, &format!("kms_key_id = \"{THERE}\""));
    assert!(!beside);
    assert_eq!((there.key_id.as_str(), there.region.as_deref()), (THERE, Some("eu-west-1")));
    assert_eq!((there.profile.as_deref(), there.fips, there.proxy.is_some()), (Some("p"), true, true));
    assert_eq!(there.encryption_context["app"], "web");
    // What belongs to the other Region or to the other key does not go with it.
    assert_eq!((there.endpoint_url, there.grant_tokens), (None, Vec::<String>::new()));

    let here = THERE.replace("eu-west-1", "eu-central-1");
    let (beside, same) = of(surroundings, &format!("kms_key_id = \"{here}\""));
    assert!(beside && same.endpoint_url.as_deref() == Some("https://vpce"));
    // Another caller is another caller altogether.
    let role = "role_arn = \"arn:aws:iam::444455556666:role/break-glass\"";
    let (beside, other) = of("profile = \"p\"", &format!("kms_key_id = \"{here}\", {role}"));
    assert!(!beside && other.profile.is_none() && other.role_arn.is_some());
    let (beside, other) =
        of(&format!("{role}\nexternal_id = \"x\""), &format!("kms_key_id = \"{here}\", profile = \"q\""));
    assert!(!beside && other.role_arn.is_none() && other.external_id.is_none());
}

#[test]
fn additional_kms_keys_that_make_no_sense_are_refused() {
    let arn = THERE.replace("eu-west-1", "eu-central-1");
    for (more, why) in [
        ("additional_kms_keys = [{}]".to_owned(), "write the ARN of a key"),
        ("additional_kms_keys = [{ kms_key_id = \"alias/b\" }]".to_owned(), "accepted: the ARN of a key"),
        ("additional_kms_keys = [{ kms_key_id = \"1234\" }]".to_owned(), "accepted: the ARN of a key"),
        (format!("additional_kms_keys = [\"{arn}\"]"), "an array of tables"),
        (format!("additional_kms_keys = [{{ kms_key_id = \"{arn}\", region = \"x\" }}]"), "it belongs in [[token]]"),
        (
            format!("additional_kms_keys = [{{ kms_key_id = \"{arn}\" }}, {{ kms_key_id = \"{arn}\" }}]"),
            "seals every key already",
        ),
        (
            format!("additional_kms_keys = [{{ kms_key_id = \"{arn}\" }}]\ngenerate = \"without-plaintext\""),
            "it takes the plaintext",
        ),
    ] {
        let error = refuse(&token(&more));
        assert!(error.detail().contains(why), "{more}: {error}");
        assert!(error.detail().contains("line 4") || error.detail().contains("line 5"), "{error}");
    }
}
