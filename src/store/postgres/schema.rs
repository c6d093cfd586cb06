//! The tables.
//!
//! Several tokens share them: each has a number in `datakey_token`, by which its rows in the others begin. `record` and
//! `lookup` are as in the store that is a file (`../sqlite/schema.rs`). `seq` numbers a token's objects in the order of
//! insertion and is never used twice: it is drawn from the token's `counter`, which every change moves.
//! `datakey_change` remembers who made the last changes: whoever lost the answer to a commit finds there whether it
//! was his (`change.rs`).
//!
//! What is said is what PostgreSQL and CockroachDB have in common.

/// The format of the tables below.
pub(super) const VERSION: i64 = 1;

/// What leads from format N to N + 1, by N; format 0 is no tables. Each is one transaction.
pub(super) const STEPS: [&str; VERSION as usize] = ["
    CREATE TABLE IF NOT EXISTS datakey_store (one INT8 PRIMARY KEY CHECK (one = 1), format INT8 NOT NULL);
    CREATE TABLE IF NOT EXISTS datakey_token (
        name TEXT PRIMARY KEY, number INT8 NOT NULL UNIQUE, version INT8 NOT NULL, counter INT8 NOT NULL,
        record BYTEA NOT NULL);
    CREATE TABLE IF NOT EXISTS datakey_object (
        token INT8 NOT NULL, seq INT8 NOT NULL, id BYTEA NOT NULL, version INT8 NOT NULL, record BYTEA NOT NULL,
        PRIMARY KEY (token, seq), UNIQUE (token, id));
    CREATE TABLE IF NOT EXISTS datakey_lookup (
        token INT8 NOT NULL, type INT8 NOT NULL, value BYTEA NOT NULL, seq INT8 NOT NULL,
        PRIMARY KEY (token, type, value, seq));
    CREATE TABLE IF NOT EXISTS datakey_change (
        token INT8 NOT NULL, counter INT8 NOT NULL, nonce BYTEA NOT NULL, PRIMARY KEY (token, counter));
    INSERT INTO datakey_store (one, format) VALUES (1, 1) ON CONFLICT DO NOTHING;
"];

/// The format as every statement asks for it that looks at anything else.
macro_rules! format_now {
    () => {
        "(SELECT format FROM datakey_store WHERE one = 1)"
    };
}
pub(super) use format_now;
