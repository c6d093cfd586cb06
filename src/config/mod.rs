//! The configuration: schema, search order, permission checks, messages a person can act on.
//!
//! [`load`] finds the one file that counts and reads it. Files are never merged: what a file says is
//! the whole configuration, so that a reader of it knows what the module does.

mod check;
mod dynamodb;
mod file;
mod parse;
mod postgres;
mod reader;
mod schema;
mod search;
mod token;
mod values;

pub use reader::keys;
pub use schema::*;
pub use search::{Environment, SYSTEM_FILE, check_text, load};
pub use token::store_location;

#[cfg(test)]
mod tests;
