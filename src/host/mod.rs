//! The process that the module lives in: signals, fork, privilege, memory, log.
//!
//! The module is a guest. Everything here that touches something belonging to the whole process says
//! why it is safe for the host, and is the only place that does so.

pub mod allocator;
mod ended;
pub mod fork;
pub mod gate;
pub mod hidden;
pub mod lock;
pub mod log;
pub mod nsm;
pub mod ownership;
pub mod pause;
pub mod probe;
pub mod protected;
mod reserve;
pub mod scratch;
pub mod signals;

pub use ended::has_ended;
pub use reserve::is_scarce;

/// Whether the process runs with more privilege than its caller (set-user-id, capabilities), so that
/// environment and user files must not be believed.
pub fn secure_mode() -> bool {
    // SAFETY: getauxval reads a value that the kernel put into the process at exec; no pointers.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
