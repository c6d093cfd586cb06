//! The end of this library, which may come before the last call of its functions: destructors of other
//! libraries and threads that outlive `main` still call, while the crypto library below has already
//! wiped its random generator and would abort.

use std::sync::atomic::{AtomicBool, Ordering};

static ENDED: AtomicBool = AtomicBool::new(false);

/// Whether the library's finalisers have begun to run.
pub fn has_ended() -> bool {
    ENDED.load(Ordering::Acquire)
}

extern "C" fn end() {
    ENDED.store(true, Ordering::Release);
}

// SAFETY: the section holds functions without arguments that the dynamic linker calls when the process
// ends; this one stores a flag.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_END: extern "C" fn() = end;
