//! Every bit of every stored column, flipped once: a use of the key then fails, or the column stands in
//! the table below as one that decides nothing.

mod host;
mod objects;

use cryptoki_sys::*;
use host::{Kind, Module, Place, alone, attr, call};
use objects::{CERTIFICATE, bytes, flag, number, secret_key, with};
use p256::ecdsa::signature::Verifier;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;
use std::path::Path;

/// What a flipped bit does to a use of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// It fails with CKR_DEVICE_ERROR, or the key is not there any more.
    Covered,
    /// It may go well, with the right key: the column only helps to find the record, or counts changes.
    Free,
}

/// Every column but `one`, which a constraint of the table holds at 1, and how its row is found: by the
/// rowid, or by its whole key.
const COLUMNS: &[(&str, &str, &[&str], Column)] = &[
    ("record", "record", &["seq"], Column::Covered),
    ("record", "seq", &["seq"], Column::Covered),
    ("object", "id", &["seq"], Column::Covered),
    ("object", "seq", &["seq"], Column::Covered),
    ("token", "record", &["one"], Column::Covered),
    // Writers notice each other by these; a reader does not look at them.
    ("object", "version", &["seq"], Column::Free),
    ("token", "version", &["one"], Column::Free),
    ("state", "counter", &["one"], Column::Free),
    // The index: each hit is compared with the record itself. It can hide an object, and show none.
    ("lookup", "type", &["type", "value", "seq"], Column::Free),
    ("lookup", "value", &["type", "value", "seq"], Column::Free),
    ("lookup", "seq", &["type", "value", "seq"], Column::Free),
];

fn flip(value: &Value, bit: usize) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << bit)),
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Value::Blob(bytes)
        }
        other => panic!("no column holds {other:?}"),
    }
}

fn bits(value: &Value) -> usize {
    match value {
        Value::Blob(bytes) => bytes.len() * 8,
        _ => 64,
    }
}

/// Uses the key by every way to find it, in a state of the module that knows nothing.
fn use_key(module: Module) -> Result<Vec<u8>, CK_RV> {
    module.initialise();
    let result = (|| {
        let (mut session, null) = (0, std::ptr::null_mut());
        host::check(call!(module, C_OpenSession, 0, CKF_SERIAL_SESSION, null, None, &mut session))?;
        let class = CKO_PRIVATE_KEY.to_ne_bytes();
        let mut last = CKR_OBJECT_HANDLE_INVALID;
        for template in [&[(CKA_ID, &b"1"[..])][..], &[(CKA_CLASS, &class)], &[]] {
            for key in module.find(session, template) {
                match module.sign(session, key, CKM_ECDSA_SHA256, b"data") {
                    Ok(signature) => return Ok(signature),
                    // The public half.
                    Err(CKR_KEY_FUNCTION_NOT_PERMITTED) => {}
                    Err(rv) => last = rv,
                }
            }
        }
        Err(last)
    })();
    module.finalise();
    result
}

/// One statement, by a connection that is gone when the module comes: SQLite's locks are the process's.
fn change(path: &Path, sql: &str, values: &[Value]) -> rusqlite::Result<usize> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = OFF")?;
    connection.execute(sql, params_from_iter(values))
}

fn rows(path: &Path, table: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    // Of the objects, the private key alone.
    let only = match table {
        "record" | "object" | "lookup" => "seq = (SELECT max(seq) FROM object)",
        _ => "true",
    };
    rows_where(path, table, columns, only)
}

fn rows_where(path: &Path, table: &str, columns: &[&str], only: &str) -> Vec<Vec<Value>> {
    let connection = Connection::open(path).unwrap();
    let sql = format!("SELECT {} FROM {table} WHERE {only}", columns.join(", "));
    let mut statement = connection.prepare(&sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|index| row.get(index)).collect();
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

/// The checksum at the end of a record, which whoever edits it can put right.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

/// Reads every object, in a state of the module that has used a key and so has the token key; the worst answer.
fn read_all(module: Module) -> CK_RV {
    module.initialise();
    let session = module.open(false);
    let other = module.find(session, &[(CKA_ID, b"2"), (CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes())]);
    module.sign(session, other[0], CKM_ECDSA_SHA256, b"data").expect("another key is usable");
    let mut worst = CKR_OK;
    for object in module.find(session, &[]) {
        let mut wanted = attr(CKA_LABEL, &[]);
        wanted.pValue = std::ptr::null_mut();
        worst = worst.max(call!(module, C_GetAttributeValue, session, object, &mut wanted, 1));
    }
    module.finalise();
    worst
}

/// Whoever edits a record puts its checksum right as well: then its MAC tells. A bit of every byte of a private key, of
/// its public key, of a secret key and of a certificate.
#[test]
fn every_byte_of_every_record_with_the_right_checksum() {
    if !alone("every_byte_of_every_record_with_the_right_checksum") {
        return;
    }
    host::steps::limit(600);
    let place = Place::embedded("login = \"none\"\n[log]\nlevel = \"off\"");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    module.generate(session, Kind::P256, b"2");
    module.generate(session, Kind::P256, b"1");
    let on_token = flag(CKA_TOKEN, true);
    module.create(session, &with(secret_key(CKK_AES, &[7; 32]), &[on_token.clone(), bytes(CKA_LABEL, b"box")]));
    let certificate = [number(CKA_CLASS, CKO_CERTIFICATE), number(CKA_CERTIFICATE_TYPE, CKC_X_509)];
    let names = [bytes(CKA_VALUE, CERTIFICATE), bytes(CKA_LABEL, b"web"), on_token];
    module.create(session, &[&certificate[..], &names].concat());
    module.finalise();
    assert_eq!(read_all(module), CKR_OK);
    let path = place.store();
    let mut tried = 0;
    // Not the first pair, whose key the reader uses.
    for row in rows_where(&path, "record", &["record", "seq"], "seq > (SELECT min(seq) + 1 FROM object)") {
        let Value::Blob(record) = &row[0] else { unreachable!("a record is bytes") };
        let body = record.len() - 4;
        for at in 0..body {
            let mut edited = record[..body].to_vec();
            edited[at] ^= 1 << (at % 8);
            edited.extend(crc32(&edited).to_be_bytes());
            let update = "UPDATE record SET record = ?1 WHERE seq = ?2";
            assert_eq!(change(&path, update, &[Value::Blob(edited), row[1].clone()]), Ok(1));
            assert_eq!(read_all(module), CKR_DEVICE_ERROR, "record {:?}, byte {at}", row[1]);
            assert_eq!(change(&path, update, &row), Ok(1));
            tried += 1;
        }
    }
    assert!(tried > 2000, "{tried}");
    println!("{tried} bytes changed, each noticed");
    assert_eq!(read_all(module), CKR_OK);
}

#[test]
fn every_bit_of_every_column() {
    if !alone("every_bit_of_every_column") {
        return;
    }
    host::steps::limit(1200);
    let place = Place::embedded("login = \"none\"\n[log]\nlevel = \"off\"");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    let (public, _) = module.generate(session, Kind::P256, b"1");
    let spki = module.attribute(session, public, CKA_PUBLIC_KEY_INFO);
    let right: p256::ecdsa::VerifyingKey = p256::pkcs8::DecodePublicKey::from_public_key_der(&spki).unwrap();
    module.finalise();
    let path = place.store();

    let mut counts: BTreeMap<(&str, &str), [u32; 3]> = BTreeMap::new();
    for (table, column, key, kind) in COLUMNS {
        let columns: Vec<&str> = [*column].into_iter().chain(key.iter().copied()).collect();
        let found: Vec<_> = key.iter().enumerate().map(|(n, name)| format!("{name} = ?{}", n + 2)).collect();
        let update = format!("UPDATE {table} SET {column} = ?1 WHERE {}", found.join(" AND "));
        for row in rows(&path, table, &columns) {
            for bit in 0..bits(&row[0]) {
                let [works, fails, refused] = counts.entry((table, column)).or_default();
                let flipped = flip(&row[0], bit);
                let mut there: Vec<Value> = [flipped.clone()].into_iter().chain(row[1..].iter().cloned()).collect();
                let Ok(1) = change(&path, &update, &there) else {
                    // SQLite itself keeps two rows from having one key.
                    *refused += 1;
                    continue;
                };
                let place = format!("{table}.{column}, bit {bit}");
                match use_key(module) {
                    Ok(signature) => {
                        let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
                        right.verify(b"data", &signature).unwrap_or_else(|_| panic!("{place}: another key signed"));
                        assert_eq!(*kind, Column::Free, "{place}: nobody noticed");
                        *works += 1;
                    }
                    Err(rv) => {
                        let said = [CKR_DEVICE_ERROR, CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID].contains(&rv);
                        assert!(said, "{place}: {rv:#x}");
                        *fails += 1;
                    }
                }
                // Back again: the row is now found by what it was changed to.
                if let Some(at) = key.iter().position(|name| name == column) {
                    there[at + 1] = flipped;
                }
                there[0] = row[0].clone();
                assert_eq!(change(&path, &update, &there), Ok(1), "{place}");
            }
        }
    }
    for ((table, column), [works, fails, refused]) in &counts {
        println!("{table}.{column}: {works} harmless, {fails} fail, {refused} refused by SQLite");
    }
    assert_eq!(counts.len(), COLUMNS.len());
    let record = counts[&("record", "record")];
    assert!(record[0] == 0 && record[1] > 5000, "{record:?}");
    use_key(module).expect("everything is back where it was");
}
