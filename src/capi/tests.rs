//! The door from inside: what cannot be seen through a loaded module.

use super::FUNCTIONS;
use super::functions::{LIST_2_40, LIST_3_0, LIST_3_2};
use cryptoki_sys::*;
use std::cell::Cell;
use std::ptr::null_mut;

thread_local! {
    static CRASH: Cell<bool> = const { Cell::new(false) };
}

/// Panics once after [`crash_next`], in the place of what stands behind an entry point.
pub(super) fn injected_panic() {
    if CRASH.take() {
        panic!("injected");
    }
}

fn crash_next() {
    CRASH.set(true);
}

/// Any function of the lists with every argument 0. No function has more than ten.
type AnyFunction = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> CK_RV;

/// The functions of a list of `size` bytes.
fn functions(list: *const usize, size: usize) -> Vec<AnyFunction> {
    // SAFETY: a function list is its version, padded to a pointer's size, and then function pointers. Every
    // argument of every function is an integer or a pointer, all of them in places where the caller puts
    // and removes them; a function that takes fewer looks at fewer.
    unsafe {
        let pointers = std::slice::from_raw_parts(list.add(1), size / size_of::<usize>() - 1);
        pointers.iter().map(|pointer| std::mem::transmute::<usize, AnyFunction>(*pointer)).collect()
    }
}

#[test]
fn a_panic_behind_any_entry_is_a_general_error_and_the_next_call_works() {
    let lists = [
        functions((&raw const LIST_2_40).cast(), size_of_val(&LIST_2_40)),
        functions((&raw const LIST_3_0).cast(), size_of_val(&LIST_3_0)),
        functions((&raw const LIST_3_2).cast(), size_of_val(&LIST_3_2)),
    ];
    assert_eq!(lists[2].len(), FUNCTIONS.len());
    for (index, function) in lists.iter().flatten().enumerate() {
        crash_next();
        // SAFETY: it panics before it looks at an argument.
        let rv = unsafe { function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0) };
        assert_eq!(rv, CKR_GENERAL_ERROR, "function {index}");
        assert!(!CRASH.get(), "function {index} is not guarded");
        let (mut count, mut info) = (0, null_mut());
        // SAFETY: both pointers are good for writing.
        unsafe {
            assert_eq!(LIST_3_2.C_GetInterfaceList.unwrap()(null_mut(), &mut count), CKR_OK);
            assert_eq!(LIST_3_2.C_GetFunctionList.unwrap()(&mut info), CKR_OK);
            assert_eq!(LIST_3_2.C_GetInfo.unwrap()(null_mut()), CKR_CRYPTOKI_NOT_INITIALIZED);
        }
        assert_eq!(count, 4);
    }
}
