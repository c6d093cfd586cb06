//! Functions that the C code linked into this library finds by their names, and nobody outside it does.

/// Gives functions names for the linker that do not show outside what is linked.
///
/// Rust marks every `no_mangle` function of a library for export, so the names are labels in assembly that
/// jump to the functions.
#[macro_export]
macro_rules! hidden {
    ($($name:literal => $target:path;)*) => {
        $(::std::arch::global_asm!(
            ".pushsection .text",
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ", %function"),
            concat!($name, ":"),
            concat!($crate::jump!(), " {target}"),
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            target = sym $target,
        );)*
    };
}

/// The instruction that goes to another function and does not come back.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[doc(hidden)]
#[macro_export]
macro_rules! jump {
    () => {
        "jmp"
    };
}

#[cfg(target_arch = "aarch64")]
#[doc(hidden)]
#[macro_export]
macro_rules! jump {
    () => {
        "b"
    };
}

pub use hidden;
