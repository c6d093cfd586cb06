//! From no tables, or older ones, to the present ones.
//!
//! Each step is one transaction, so that of several processes one takes it and the others find it taken, and one that
//! is killed has done nothing.

use super::fault::{Outcome, Stop};
use super::schema::{STEPS, VERSION};
use crate::error::{Cause, Result};
use tokio_postgres::Client;

/// Refuses a format that is not the present one.
pub(super) fn check(format: Option<i64>) -> Result<()> {
    match format {
        Some(VERSION) => Ok(()),
        Some(newer) if newer > VERSION => {
            Err(Cause::StoreNewer
                .with(format!("the format of its tables is {newer}, this module knows up to {VERSION}")))
        }
        Some(older) => Err(Cause::StoreUnavailable.with(format!(
            "the format of its tables is {older}, this module needs {VERSION}: run datakey-pkcs11 store create"
        ))),
        None => Err(Cause::StoreCorrupt.with("the table that says which format it has is empty")),
    }
}

/// The format of the tables; 0 where there are none.
async fn format(client: &Client) -> Outcome<i64> {
    match client.query_typed("SELECT format FROM datakey_store WHERE one = 1", &[]).await.map_err(Stop::from) {
        Ok(rows) => match rows.first() {
            Some(row) => Ok(row.try_get(0)?),
            None => Err(Cause::StoreCorrupt.with("the table that says which format it has is empty").into()),
        },
        Err(stop) if stop.lacks_tables() => Ok(0),
        Err(stop) => Err(stop),
    }
}

/// Makes the tables, or brings them to the present format.
pub(super) async fn migrate(client: &Client) -> Outcome<()> {
    let present = format(client).await?;
    let begin = usize::try_from(present).unwrap_or(0);
    for (number, step) in STEPS.iter().enumerate().skip(begin) {
        let stamp = format!("UPDATE datakey_store SET format = {} WHERE one = 1 AND format = {number}", number + 1);
        let done = client.batch_execute(&format!("BEGIN; {step} {stamp}; COMMIT")).await.map_err(Stop::from);
        if let Err(stop) = done {
            drop(client.batch_execute("ROLLBACK").await);
            // Another process makes the same tables at this moment, and PostgreSQL does not say so in one way.
            if stop.is_duplicate() || matches!(&stop, Stop::Sql(error) if error.code().is_some_and(made_twice)) {
                check(Some(format(client).await?))?;
                return Ok(());
            }
            return Err(stop);
        }
    }
    Ok(check(Some(format(client).await?))?)
}

fn made_twice(state: &tokio_postgres::error::SqlState) -> bool {
    // Duplicate table, duplicate object, and the system's own rows changed by two at once.
    ["42P07", "42710", "XX000"].contains(&state.code())
}
