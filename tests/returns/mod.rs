//! Notes what functions answer, and compares it with the table.

pub(crate) mod messages;
pub(crate) mod secret;
mod table;

pub(crate) use table::TABLE;

use cryptoki_sys::*;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Which function answered what.
#[derive(Default)]
pub(crate) struct Seen(RefCell<BTreeSet<(String, String)>>);

impl Seen {
    /// Notes an answer.
    pub(crate) fn note(&self, function: &str, rv: CK_RV) {
        self.0.borrow_mut().insert((function.to_owned(), name(rv)));
    }
}

/// Calls a function of the list and notes what it answers.
macro_rules! record {
    ($scene:expr, $function:ident $(, $argument:expr)* $(,)?) => {{
        let rv = $crate::host::call!($scene.module, $function $(, $argument)*);
        $scene.seen.note(stringify!($function), rv);
    }};
}
pub(crate) use record;

/// Bytes as the functions take them.
pub(crate) fn bytes(bytes: &[u8]) -> *mut CK_BYTE {
    bytes.as_ptr().cast_mut()
}

/// The name of a return value.
fn name(rv: CK_RV) -> String {
    let known = datakey::error::Cause::ALL.iter().find(|cause| cause.ckr() == rv);
    match (rv, known) {
        (CKR_OK, _) => "CKR_OK".to_owned(),
        (_, Some(cause)) => cause.ckr_name().to_owned(),
        (_, None) => format!("{rv:#x}"),
    }
}

/// Fails where the table has what was not provoked, or lacks what was.
pub(crate) fn compare(seen: &Seen, table: &[(&str, &str)]) {
    let listed: BTreeSet<_> = table
        .iter()
        .flat_map(|(function, codes)| {
            codes.split_whitespace().map(|code| ((*function).to_owned(), format!("CKR_{code}")))
        })
        .collect();
    let seen = seen.0.borrow();
    if std::env::var_os("DATAKEY_PRINT_RETURNS").is_some() {
        for (function, code) in seen.iter() {
            println!("returns: {function} {code}");
        }
    }
    let missing: Vec<_> = listed.difference(&seen).collect();
    let unlisted: Vec<_> = seen.difference(&listed).collect();
    assert!(missing.is_empty() && unlisted.is_empty(), "not provoked: {missing:?}\nnot listed: {unlisted:?}");
}
