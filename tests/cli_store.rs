//! Stores, by the operator's tool: made, checked, and a token taken from a file to a database and back, keys and all.
#![cfg(feature = "postgres")]

#[path = "store_support/postgres.rs"]
mod postgres;
mod tool;

use serde_json::json;
use std::fs;
use tool::Setup;

/// The URL of the token `token` in a database, over a socket of the server's folder.
fn url(database: &str, token: &str) -> String {
    let server = postgres::server();
    format!("postgres://dk@/{database}?host={}&port={}&token={token}", server.folder.display(), server.port)
}

#[test]
fn a_token_moves_to_a_database_and_its_keys_work_there() {
    let setup = Setup::embedded("").initialised();
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "one"]);
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "two"]);
    let there = url(&postgres::server().database(), "web");
    let copied = setup.ok(&["store", "copy", "test", &there]);
    assert_eq!((&copied["objects"], &copied["present"]), (&json!(4), &json!(0)));
    assert_eq!(copied["serial"], setup.ok(&["token", "show"])["serial"]);
    // Again, with one object more, one less and one that is another.
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "three"]);
    setup.ok(&["key", "destroy", "two", "--yes"]);
    setup.ok(&["key", "rename", "one", "--label", "first"]);
    let again = setup.ok(&["store", "copy", "test", &there]);
    assert_eq!((&again["objects"], &again["present"]), (&json!(4), &json!(0)));
    assert_eq!(setup.ok(&["store", "copy", "test", &there])["present"], json!(4));
    assert!(setup.fails(&["store", "copy", "test", "test"]).contains("the same store"));

    let keys = setup.path("kms.json");
    let moved = Setup::empty()
        .written(&format!("[[token]]\nlabel = \"web\"\nkms = \"embedded:{}\"\nstore = \"{there}\"\n", keys.display()));
    assert_eq!(moved.ok(&["store", "check"])["objects"], json!(4));
    assert_eq!(moved.ok(&["verify"])["checked"], json!(2 * 2));
    let shown = moved.ok(&["token", "show"]);
    assert!(shown["store"].as_str().unwrap().ends_with("(token \"web\")"), "{shown}");
    moved.ok(&["key", "generate", "--type", "p-256", "--label", "four"]);
    // Home again, under another name, and by way of a backup.
    let home = moved.path("home.db");
    let home = format!("sqlite:{}", home.display());
    assert_eq!(moved.ok(&["store", "copy", "web", &home])["objects"], json!(6));
    assert_eq!(moved.ok(&["backup", "backup.db"])["objects"], json!(6));
    assert!(moved.fails(&["restore", "backup.db"]).contains("--replace"));
    moved.ok(&["key", "generate", "--type", "p-256", "--label", "five"]);
    let kept = moved.ok(&["restore", "backup.db", "--replace"])["kept"].as_str().unwrap().to_owned();
    assert!(kept.ends_with("backup.db.before-restore"), "{kept}");
    assert_eq!(moved.ok(&["verify"])["checked"], json!(6));
    assert_eq!(moved.ok(&["restore", &kept, "--replace"])["objects"], json!(8));
    moved.ok(&["restore", "backup.db", "--replace"]);
    let finding = moved.run(&["--json", "doctor", "--offline"]).json();
    let store = finding["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "store").unwrap();
    assert!(store["level"] == "ok" && store["what"].as_str().unwrap().contains("sound, 6 objects"), "{store}");
}

#[test]
fn what_is_in_the_way_is_said() {
    let database = postgres::server().database();
    let setup = Setup::embedded("").initialised();
    setup.ok(&["store", "copy", "test", &url(&database, "web")]);
    let other = Setup::embedded("").initialised();
    let said = other.fails(&["store", "copy", "test", &url(&database, "web")]);
    assert!(said.contains("the target holds the token"), "{said}");
    assert!(other.fails(&["store", "copy", &url(&database, "none"), "test"]).contains("nothing to copy"));
    assert!(other.fails(&["store", "copy", "tset", "test"]).contains("neither the label of a token nor a store"));
    let said = other.fails(&["store", "copy", "test", "postgres://dk:s3cret@db?sslmode=no"]);
    assert!(said.contains("unknown sslmode") && !said.contains("s3cret"), "{said}");

    // Made by one who may, used by one who may not make tables, or only look.
    let server = postgres::server();
    let made = server.database();
    let keys = setup.path("kms.json");
    let as_user = |user: &str| {
        let url = url(&made, "web").replace("dk@", &format!("{user}@"));
        let text = format!("[[token]]\nlabel = \"test\"\nkms = \"embedded:{}\"\nstore = \"{url}\"\n", keys.display());
        Setup::empty().written(&text)
    };
    server.sql("postgres", "CREATE ROLE host LOGIN; CREATE ROLE guest LOGIN");
    let said = as_user("host").fails(&["token", "init"]);
    assert!(said.contains("denied access") && said.contains("42501"), "{said}");
    as_user("dk").ok(&["store", "create"]);
    as_user("dk").ok(&["store", "create"]);
    let tables = "datakey_store, datakey_token, datakey_object, datakey_lookup, datakey_change";
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stores.md")).unwrap();
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO ");
    assert!(page.contains(&grant), "the page says what to grant");
    server.sql(&made, &format!("{grant} host; GRANT SELECT ON {tables} TO guest"));
    as_user("host").ok(&["token", "init"]);
    as_user("host").ok(&["key", "generate", "--type", "p-256", "--label", "one"]);
    assert_eq!(as_user("guest").ok(&["verify"])["checked"], json!(2));
    let run = as_user("guest").run(&["--json", "key", "generate", "--type", "p-256", "--label", "two"]).json();
    assert_eq!(run["error"]["ckr"], "CKR_TOKEN_WRITE_PROTECTED", "{run}");
    let doctor = as_user("guest").run(&["--json", "doctor", "--offline"]).json();
    assert!(doctor.to_string().contains("this user cannot write to it"), "{doctor}");
}

#[cfg(feature = "dynamodb")]
#[test]
fn a_policy_for_a_token_in_a_table_is_about_its_items() {
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1234";
    let text = format!("[[token]]\nlabel = \"web\"\nkms_key_id = \"{key}\"\nstore = \"dynamodb:keys\"\n");
    let policy = Setup::empty().written(&text).ok(&["policy", "--any-token"]);
    let statement = &policy["Statement"][1];
    assert_eq!(statement["Resource"], "arn:aws:dynamodb:eu-west-1:ACCOUNT:table/keys");
    assert_eq!(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], "*#web");
    // The templates and the page say the same.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    for action in statement["Action"].as_array().unwrap() {
        let action = action.as_str().unwrap();
        for file in ["packaging/dynamodb/table.yaml", "packaging/dynamodb/table.tf"] {
            assert!(fs::read_to_string(format!("{root}{file}")).unwrap().contains(action), "{file} lacks {action}");
        }
        let page = fs::read_to_string(format!("{root}docs/stores.md")).unwrap();
        assert!(page.contains(action.trim_start_matches("dynamodb:")), "the page lacks {action}");
    }
}
