//! Link settings of the module.

use std::path::Path;

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
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=glibc.c");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu") {
        bind_to_old_glibc();
    }
}

/// See `glibc.c`.
fn bind_to_old_glibc() {
    let mut build = cc::Build::new();
    build.file("glibc.c").pic(true).opt_level(2).flag("-fno-builtin");
    for object in build.compile_intermediates() {
        println!("cargo:rustc-cdylib-link-arg={}", object.display());
    }
    // Threads and dlopen are in libraries of their own there. New systems still have those, empty, without the
    // files that `-lpthread` and `-ldl` look for.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--no-as-needed");
    for name in ["libpthread.so.0", "libdl.so.2"] {
        let mut command = build.get_compiler().to_command();
        let output = command.arg(format!("-print-file-name={name}")).output().expect("the C compiler runs");
        let path = String::from_utf8(output.stdout).expect("a path");
        let path = path.trim();
        assert!(Path::new(path).is_absolute(), "{name} is not where the C compiler looks for libraries");
        println!("cargo:rustc-cdylib-link-arg={path}");
    }
    println!("cargo:rustc-cdylib-link-arg=-Wl,--as-needed");
}
