//! Objects and PINs among many clients on many hosts: whatever is killed, stopped, cut off or told a wrong time, what
//! all of them saw must be what could have been seen if each call had been done at one moment (linearizability).
//!
//! Each client is a process with the real module in it (`linear/client.rs`), on a host of its own (`linear/hosts.rs`);
//! `linear/run.rs` brings the faults; `linear/checker.rs` looks for an order of things that explains what was noted, and
//! is itself tested by small histories (`linear/samples.rs`). Stores that are broken on purpose must be caught.
//!
//! ```text
//! DATAKEY_LINEAR_SECONDS=600 DATAKEY_LINEAR_SEED=7 cargo test --test linearizability postgres
//! ```
//!
//! runs for longer, and with other numbers, than `make test` does.

mod host;
#[path = "store_support/postgres.rs"]
mod postgres;
mod store_support;
mod support;

/// The parts of it.
mod linear {
    pub(crate) mod checker;
    pub(crate) mod client;
    pub(crate) mod dynamodb;
    pub(crate) mod history;
    pub(crate) mod hosts;
    pub(crate) mod log;
    pub(crate) mod models;
    pub(crate) mod postgres;
    pub(crate) mod run;
    pub(crate) mod samples;
    pub(crate) mod sqlite;
}

use linear::{client, run, samples, sqlite};

fn main() {
    store_support::main(
        &[
            ("good_histories_are_told_from_bad_ones", samples::good_histories_are_told_from_bad_ones),
            ("sqlite_is_linearizable", sqlite::is_linearizable),
            ("broken_sqlite_is_caught", sqlite::broken_ones_are_caught),
            ("postgres_is_linearizable", linear::postgres::is_linearizable),
            ("broken_postgres_is_caught", linear::postgres::broken_ones_are_caught),
            ("dynamodb_is_linearizable", linear::dynamodb::is_linearizable),
            ("broken_dynamodb_is_caught", linear::dynamodb::broken_ones_are_caught),
        ],
        &[("client", client::client), ("furnish", run::furnish)],
    );
}
