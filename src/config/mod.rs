//! The configuration: schema, search order, permission checks, messages a person can act on.

mod schema;

pub use schema::*;
