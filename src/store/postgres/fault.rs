//! PostgreSQL's failures, by cause, and what of them may succeed when tried again.

use crate::error::{Cause, Error};
use crate::net::{chain, plain};
use std::error::Error as _;
use std::io;
use tokio_postgres::error::SqlState;

/// Why work stopped: the database or the way to it failed, or we refused.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(tokio_postgres::Error),
    /// No answer in time.
    Late,
    Refused(Error),
}

/// What work with the database answers.
pub(super) type Outcome<T> = Result<T, Stop>;

/// Whether the same work may succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// It will not.
    Never,
    /// It may, as another transaction.
    Again,
    /// It may, over another connection, perhaps to another server.
    Elsewhere,
}

impl From<tokio_postgres::Error> for Stop {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Self::Refused(cause.into())
    }
}

/// The one table from SQLSTATE, or the beginning of one, to cause. The first row that fits counts.
const STATES: &[(&str, Cause, Next)] = &[
    // Another transaction was in the way.
    ("40", Cause::StoreBusy, Next::Again),
    ("55P03", Cause::StoreBusy, Next::Again),
    ("57014", Cause::StoreBusy, Next::Again),
    ("53200", Cause::StoreBusy, Next::Again),
    // The server goes, or is not the one to write to.
    ("08", Cause::StoreUnreachable, Next::Elsewhere),
    ("25006", Cause::StoreReadOnly, Next::Elsewhere),
    ("25P03", Cause::StoreUnreachable, Next::Elsewhere),
    ("53300", Cause::StoreBusy, Next::Elsewhere),
    ("57P", Cause::StoreUnreachable, Next::Elsewhere),
    ("28", Cause::StoreDenied, Next::Never),
    ("42501", Cause::StoreDenied, Next::Never),
    ("53", Cause::StoreFull, Next::Never),
    ("54", Cause::StoreFull, Next::Never),
    ("23", Cause::StoreConflict, Next::Never),
    // Tables that are not as ours, values of other types.
    ("22", Cause::StoreCorrupt, Next::Never),
    ("42", Cause::StoreCorrupt, Next::Never),
    ("XX", Cause::StoreCorrupt, Next::Never),
];

/// What a failure means that the server did not name. The kinds are told apart by how they are said: the library
/// shows them in no other way.
const KINDS: &[(&str, Cause, Next)] = &[
    // A value that is not of the type that our tables say.
    ("error deserializing", Cause::StoreCorrupt, Next::Never),
    ("error serializing", Cause::StoreSetup, Next::Never),
    ("invalid configuration: password missing", Cause::StoreDenied, Next::Never),
    ("invalid configuration", Cause::StoreSetup, Next::Never),
    ("authentication error", Cause::StoreDenied, Next::Never),
];

fn without_state(error: &tokio_postgres::Error) -> (Cause, Next) {
    let said = chain(error);
    if let Some((_, cause, next)) = KINDS.iter().find(|(begin, ..)| said.starts_with(begin)) {
        return (*cause, *next);
    }
    let mut sources = std::iter::successors(error.source(), |error| (*error).source());
    let is_refusal = |error: &(dyn std::error::Error + 'static)| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    let no_tls =
        said.starts_with("error performing TLS handshake") && !error.source().is_some_and(|e| e.is::<io::Error>());
    // A server that is not who it should be will not be so a second later.
    if no_tls || sources.any(is_refusal) {
        return (Cause::StoreUnreachable, Next::Never);
    }
    (Cause::StoreUnreachable, Next::Elsewhere)
}

impl Stop {
    fn row(&self) -> (Cause, Next) {
        match self {
            Self::Late => (Cause::StoreUnreachable, Next::Elsewhere),
            Self::Refused(error) => (error.cause(), Next::Never),
            Self::Sql(error) => match error.code() {
                Some(state) => {
                    let found = STATES.iter().find(|(begin, ..)| state.code().starts_with(begin));
                    found.map_or((Cause::StoreUnavailable, Next::Never), |(_, cause, next)| (*cause, *next))
                }
                None => without_state(error),
            },
        }
    }

    pub(super) fn next(&self) -> Next {
        self.row().1
    }

    /// Whether it is because our tables are not there.
    pub(super) fn lacks_tables(&self) -> bool {
        matches!(self, Self::Sql(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE))
    }

    /// Whether it is because the user may not do that to a table.
    pub(super) fn lacks_right(&self) -> bool {
        matches!(self, Self::Sql(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
    }

    /// Whether it is because a row with the same key is there.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Sql(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    /// Whether the server, or the session, only reads.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Sql(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION))
    }

    /// The error for the caller.
    pub(super) fn into_error(self) -> Error {
        let cause = self.row().0;
        match self {
            Self::Refused(error) => error,
            Self::Late => cause.with("no answer in time"),
            // Its detail may repeat values of a row.
            Self::Sql(error) => match error.as_db_error() {
                Some(said) => cause.with(format!("{} (SQLSTATE {})", plain(said.message(), 300), said.code().code())),
                None => cause.with(chain(&error)),
            },
        }
    }
}
