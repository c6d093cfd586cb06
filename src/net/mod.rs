//! The network: a runtime that is the calling thread's own, name lookup, and the way to AWS.
//!
//! No thread of ours is left between calls, and whoever uses this sets a deadline for every wait.
#![forbid(unsafe_code)]

mod aws;
mod breaker;
mod chain;
mod credentials;
mod dns;
mod driver;
mod nobody;
mod text;
mod transport;

pub use aws::{Access, CONNECT, access, behaviour, is_endpoint, wants_native_roots};
pub use breaker::{Breaker, NotTried, Permit};
pub use credentials::{Cached, Edition};
pub use dns::Resolver;
pub use driver::Driver;
pub use nobody::Nobody;
pub use text::{chain, plain};
pub use transport::{Roots, Transport, prepare, system_roots};

/// What the host lets this floor and those above it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRules {
    /// Whether a short-lived thread may be started for name resolution, so that a slow resolver cannot
    /// outlast the deadline. `false` with `CKF_LIBRARY_CANT_CREATE_OS_THREADS`.
    pub threads_allowed: bool,
    /// Whether the environment and the user's files are to be ignored, because the process has more
    /// privilege than its caller.
    pub secure_mode: bool,
}
