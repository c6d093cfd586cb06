//! Link settings of the module.
fn main() {
    // Threads that signed keep thread-local destructors in this library; it must never be unmapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The host's symbols never take the place of ours.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // See `src/locks.rs`.
    for taken in ["rwlock_rdlock", "rwlock_tryrdlock", "rwlock_wrlock", "rwlock_trywrlock", "rwlock_unlock"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=pthread_{taken}");
    }
    for taken in ["mutex_lock", "mutex_trylock", "mutex_unlock"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=pthread_{taken}");
    }
}
