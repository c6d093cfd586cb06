//! The specification's tables of attributes, by hand.
//!
//! The footnotes are copied from PKCS#11 3.2, sections 4.4 to 4.12, 6.1 to 6.4, 6.8, 6.10, 6.22, 6.58, 6.67 and 6.68, by
//! hand; what the text of section 4.6 lets be modified is footnote 8 here. `c` marks what section 4.4 lets a copy
//! change. Deviations, where the specification leaves it to the token or the module has a reason:
//!
//! - `d`: may be modified, though no footnote says so (values of data objects, levels of trust).
//! - `o`: optional; it may be absent.
//! - `x`: a certificate's subject, which the module reads from the certificate if nobody names it.
//! - `s`: follows from the rest of the object, and may be named beside it (a seed may be named instead of its key);
//!   another value is `CKR_ATTRIBUTE_VALUE_INVALID`.
//! - `g`: likewise, and another value is `CKR_ATTRIBUTE_VALUE_INVALID` when it is set too, as section 4.10 has it.
//! - `v`: goes one way, where the specification lets it go both: a secret key that wraps must not decrypt later.
//! - `n`: unknown to the module, and `CKR_ATTRIBUTE_TYPE_INVALID` everywhere: the tokens' own checksum of a public key.
//!
//! Footnote 4 is not on the parameters of private keys that are generated: the module lets a template name those of
//! the public half. Nor is footnote 6 on the length of a secret key: the texts on key wrap let a template say it.

mod cases;
mod tables;

pub(crate) use cases::{Case, Keys, P256, cases, open};
pub(crate) use tables::*;

use crate::objects::{Attr, bytes, flag, number};
use Sample::{Bytes, Flag, Number};
use cryptoki_sys::*;

/// A value that is valid and not what the attribute is by default.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    Flag(bool),
    Number(CK_ULONG),
    Bytes(&'static [u8]),
}

/// An attribute, its footnotes, and a value.
pub(crate) type Row = (CK_ATTRIBUTE_TYPE, &'static str, Sample);

/// The attribute of a row with its sample for a value.
pub(crate) fn sample((attribute, _, sample): Row) -> Attr {
    match sample {
        Flag(value) => flag(attribute, value),
        Number(value) => number(attribute, value),
        Bytes(value) => bytes(attribute, value),
    }
}

/// Whether a row has this footnote.
pub(crate) fn says(row: Row, note: &str) -> bool {
    row.1.split(' ').any(|said| said == note)
}
