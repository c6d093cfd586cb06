//! Sealed key to usable key: cache, single flight, checks.
#![forbid(unsafe_code)]

mod cache;
mod flight;

pub use cache::{Cache, Epoch, Opened, Rules, Tag, Use};
pub use flight::Flights;
