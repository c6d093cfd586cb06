//! Link settings of the module.
fn main() {
    // Threads that signed keep thread-local destructors in this library; it must never be unmapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The host's symbols never take the place of ours.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}
