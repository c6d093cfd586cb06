//! The C library's locks, as the C code in this library takes them: where forks wait.
//!
//! AWS-LC guards what it has once in a process with such locks: its table of threads and their random
//! generators, and how it notices a fork, of all things. Each random number takes three of them, in TLS too, and
//! so does the end of a thread. A child that is forked while another thread holds one, if only to read,
//! inherits it held for ever, and its own first random number waits for it. So whoever takes one is inside
//! the gate until it is given back, and a fork waits those nanoseconds.
//!
//! The linker leads all calls in this library here (`--wrap`, in `build.rs`). `pthread_once` needs no such
//! care: the C library itself begins anew in a child what a fork cut in half.

use datakey::host::gate;
use datakey::host::hidden::hidden;
use std::ffi::{c_int, c_void};

/// Functions that take a lock: 0 if they got it.
macro_rules! taking {
    ($($function:ident: $name:literal, $real:ident;)*) => {
        unsafe extern "C" {
            $(fn $real(lock: *mut c_void) -> c_int;)*
        }
        hidden! {
            $($name => $function;)*
        }
        $(unsafe extern "C" fn $function(lock: *mut c_void) -> c_int {
            gate::enter();
            // SAFETY: the caller's.
            let result = unsafe { $real(lock) };
            if result != 0 {
                gate::leave();
            }
            result
        })*
    };
}

/// Functions that give one back.
macro_rules! giving {
    ($($function:ident: $name:literal, $real:ident;)*) => {
        unsafe extern "C" {
            $(fn $real(lock: *mut c_void) -> c_int;)*
        }
        hidden! {
            $($name => $function;)*
        }
        $(unsafe extern "C" fn $function(lock: *mut c_void) -> c_int {
            // SAFETY: the caller's.
            let result = unsafe { $real(lock) };
            if result == 0 {
                gate::leave();
            }
            result
        })*
    };
}

taking! {
    read: "__wrap_pthread_rwlock_rdlock", __real_pthread_rwlock_rdlock;
    try_read: "__wrap_pthread_rwlock_tryrdlock", __real_pthread_rwlock_tryrdlock;
    write: "__wrap_pthread_rwlock_wrlock", __real_pthread_rwlock_wrlock;
    try_write: "__wrap_pthread_rwlock_trywrlock", __real_pthread_rwlock_trywrlock;
    lock: "__wrap_pthread_mutex_lock", __real_pthread_mutex_lock;
    try_lock: "__wrap_pthread_mutex_trylock", __real_pthread_mutex_trylock;
}

giving! {
    unlock: "__wrap_pthread_rwlock_unlock", __real_pthread_rwlock_unlock;
    unlock_mutex: "__wrap_pthread_mutex_unlock", __real_pthread_mutex_unlock;
}
