//! The shared library as the dynamic linker and the hosts see it.

mod host;

use cryptoki_sys::*;
use datakey::capi::FUNCTIONS;
use host::{Module, Place, alone, call, library, ok};
use std::collections::BTreeSet;
use std::process::Command;
use std::ptr::null_mut;

/// What a tool of the binutils says about the library.
fn ask(tool: &str, options: &[&str]) -> String {
    let output = Command::new(tool).args(options).arg(library()).output().unwrap_or_else(|e| panic!("{tool}: {e}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn symbols(option: &str) -> BTreeSet<String> {
    let text = ask("nm", &["-D", option]);
    let names = text.lines().filter_map(|line| line.split_whitespace().last());
    names.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect()
}

#[test]
fn only_the_functions_of_pkcs11_are_exported() {
    let functions: BTreeSet<_> = FUNCTIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(functions.len(), FUNCTIONS.len(), "a function stands twice in the list");
    assert_eq!(symbols("--defined-only"), functions);
}

/// AWS-LC takes these from the host where it finds them there; the module must not.
#[test]
fn nothing_is_taken_from_the_host_but_the_system_libraries() {
    let foreign: Vec<_> = symbols("--undefined-only")
        .into_iter()
        .filter(|name| name.starts_with("OPENSSL_") || name.starts_with("C_") || name == "sdallocx")
        .collect();
    assert_eq!(foreign, [""; 0]);
    let dynamic = ask("readelf", &["-dW"]);
    let needed: BTreeSet<_> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .map(|line| line.split(['[', ']']).nth(1).unwrap().split(".so").next().unwrap())
        .collect();
    for name in &needed {
        // glibc and what comes with it; the first two are in libc itself from 2.34 on.
        let known = ["libpthread", "libdl", "libc", "libm", "libgcc_s"].contains(name) || name.starts_with("ld-linux");
        assert!(known, "{name} is needed");
    }
    assert!(needed.contains("libc"));
}

/// The oldest glibc on which it loads, whatever it was linked on. What is newer here wants a line in
/// `cdylib/glibc.c`.
#[test]
fn it_needs_no_glibc_newer_than_2_28() {
    let dynamic = ask("objdump", &["-T"]);
    let mut needed = BTreeSet::new();
    for line in dynamic.lines().filter(|line| line.contains("*UND*")) {
        // "… *UND*  0000000000000000 (GLIBC_2.2.5) name", a weak one too.
        let mut words = line.rsplit(' ').filter(|word| !word.is_empty());
        let name = words.next().unwrap();
        let version = words.next().unwrap().trim_matches(['(', ')']);
        if let Some(version) = version.strip_prefix("GLIBC_") {
            let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
            needed.insert(((parts.next().unwrap(), parts.next().unwrap()), name));
        }
    }
    assert!(needed.len() > 80, "{dynamic}");
    let too_new: Vec<_> = needed.iter().filter(|(version, _)| *version > (2, 28)).collect();
    assert!(too_new.is_empty(), "{too_new:?}");
    // And the linker wants no more in sum than its symbols do.
    let versions = ask("readelf", &["-VW"]);
    for word in versions.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_2.")) {
        let minor: u32 = word.split('.').next().unwrap().parse().unwrap();
        assert!(minor <= 28, "GLIBC_2.{word} is needed");
    }
}

#[test]
fn it_stays_mapped_and_its_code_and_pointers_cannot_be_written() {
    let dynamic = ask("readelf", &["-dW"]);
    let line = |tag: &str| dynamic.lines().find(|line| line.contains(tag)).unwrap_or_default();
    assert!(line("(FLAGS_1)").contains("NODELETE"), "{dynamic}");
    assert!(line("(FLAGS_1)").contains("NOW") && line("(FLAGS)").contains("BIND_NOW"), "{dynamic}");
    assert!(line("(FLAGS)").contains("SYMBOLIC"), "{dynamic}");
    for unwanted in ["TEXTREL", "RPATH", "RUNPATH"] {
        assert!(!dynamic.contains(unwanted), "{dynamic}");
    }
    // The C runtime's, the Rust library's and AWS-LC's processor detection: none of ours.
    assert!(line("(INIT_ARRAYSZ)").contains(" 24 "), "{dynamic}");
    let segments = ask("readelf", &["-lW"]);
    assert!(segments.contains("GNU_RELRO"), "{segments}");
    assert!(!segments.contains("RWE") && !segments.contains("WE "), "a segment is writable code: {segments}");
}

/// The function pointers of a list, and its version.
fn list(pointer: *mut std::ffi::c_void, entries: usize) -> (CK_VERSION, Vec<usize>) {
    // SAFETY: a function list is its version, padded to a pointer's size, and then so many pointers.
    unsafe {
        let pointers = std::slice::from_raw_parts(pointer.cast::<usize>().add(1), entries);
        (pointer.cast::<CK_VERSION>().read(), pointers.to_vec())
    }
}

const ENTRIES: [(CK_VERSION, usize); 3] = [
    (CK_VERSION { major: 3, minor: 2 }, size_of::<CK_FUNCTION_LIST_3_2>() / 8 - 1),
    (CK_VERSION { major: 3, minor: 0 }, size_of::<CK_FUNCTION_LIST_3_0>() / 8 - 1),
    (CK_VERSION { major: 2, minor: 40 }, size_of::<CK_FUNCTION_LIST>() / 8 - 1),
];

#[test]
fn every_interface_is_complete() {
    let module = Module::load();
    let mut count = 0;
    ok!(module, C_GetInterfaceList, null_mut(), &mut count);
    assert_eq!(count, 4);
    let empty = CK_INTERFACE { pInterfaceName: null_mut(), pFunctionList: null_mut(), flags: 0 };
    let mut interfaces = [empty; 4];
    count = 3;
    assert_eq!(call!(module, C_GetInterfaceList, interfaces.as_mut_ptr(), &mut count), CKR_BUFFER_TOO_SMALL);
    assert_eq!((count, interfaces[0].pFunctionList), (4, null_mut()));
    ok!(module, C_GetInterfaceList, interfaces.as_mut_ptr(), &mut count);
    assert_eq!(call!(module, C_GetInterfaceList, interfaces.as_mut_ptr(), null_mut()), CKR_ARGUMENTS_BAD);

    let mut longest = Vec::new();
    for (interface, (version, entries)) in interfaces.iter().zip(ENTRIES) {
        // SAFETY: the name is a string that stays.
        let name = unsafe { std::ffi::CStr::from_ptr(interface.pInterfaceName.cast()) };
        assert_eq!((name, interface.flags), (c"PKCS 11", 0));
        let (said, functions) = list(interface.pFunctionList, entries);
        assert_eq!((said.major, said.minor), (version.major, version.minor));
        assert!(functions.iter().all(|function| *function != 0), "a NULL in the list of {said:?}");
        assert_eq!(functions.iter().collect::<BTreeSet<_>>().len(), entries, "a function stands twice");
        // Each version is the beginning of the next.
        if longest.is_empty() {
            longest.clone_from(&functions);
        }
        assert_eq!(longest[..entries], functions);

        let mut version = version;
        for name in [null_mut(), c"PKCS 11".as_ptr().cast_mut().cast()] {
            let mut found = null_mut();
            ok!(module, C_GetInterface, name, &mut version, &mut found, 0);
            // SAFETY: the interface stays.
            assert_eq!(unsafe { (*found).pFunctionList }, interface.pFunctionList);
        }
    }
    assert_eq!(longest.len(), FUNCTIONS.len());

    let mut old = null_mut();
    ok!(module, C_GetFunctionList, &mut old);
    assert_eq!(old.cast(), interfaces[2].pFunctionList);
    let mut found = null_mut();
    ok!(module, C_GetInterface, null_mut(), null_mut(), &mut found, 0);
    // SAFETY: the interface stays.
    assert_eq!(unsafe { (*found).pFunctionList }, interfaces[0].pFunctionList, "the newest is the one by default");

    // The vendor interface is found by its name, and only by it.
    let vendor = c"Vendor datakey-pkcs11".as_ptr().cast_mut().cast();
    let mut one = CK_VERSION { major: 1, minor: 0 };
    for version in [null_mut(), &raw mut one] {
        ok!(module, C_GetInterface, vendor, version, &mut found, 0);
        // SAFETY: the interface stays.
        assert_eq!(unsafe { (*found).pFunctionList }, interfaces[3].pFunctionList);
    }
    assert_eq!(call!(module, C_GetInterface, null_mut(), &mut one, &mut found, 0), CKR_ARGUMENTS_BAD);

    let other = c"Vendor X".as_ptr().cast_mut().cast();
    let mut none = CK_VERSION { major: 3, minor: 1 };
    assert_eq!(call!(module, C_GetInterface, other, null_mut(), &mut found, 0), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(module, C_GetInterface, null_mut(), &mut none, &mut found, 0), CKR_ARGUMENTS_BAD);
    // What is asked of an interface and not true of it: here, that it survives a fork.
    assert_eq!(call!(module, C_GetInterface, null_mut(), null_mut(), &mut found, 1), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(module, C_GetInterface, null_mut(), null_mut(), null_mut(), 0), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(module, C_GetFunctionList, null_mut()), CKR_ARGUMENTS_BAD);
}

/// OpenSC's pkcs11-spy writes its own function list into the interface that it was pointed to.
#[test]
fn who_writes_to_an_interface_neither_crashes_nor_misleads_the_next() {
    if !alone("who_writes_to_an_interface_neither_crashes_nor_misleads_the_next") {
        return;
    }
    let module = Module::load();
    for (mut version, _) in ENTRIES {
        let ask = |version: &mut CK_VERSION| {
            let mut found = null_mut();
            ok!(module, C_GetInterface, null_mut(), version, &mut found, 0);
            found
        };
        let found = ask(&mut version);
        // SAFETY: the interface stays, and may be written to.
        let own = unsafe { (*found).pFunctionList };
        // SAFETY: as above, and nobody else does meanwhile.
        unsafe { (*found).pFunctionList = null_mut() };
        let again = ask(&mut version);
        // SAFETY: as above.
        assert_eq!((again, unsafe { (*again).pFunctionList }), (found, own));
    }
}

/// Any function of the library with every argument 0. No function has more than ten.
type AnyFunction = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> CK_RV;

fn with_nothing(library: &libloading::Library, name: &str) -> CK_RV {
    // SAFETY: every argument is an integer or a pointer, all of them in places where the caller puts and
    // removes them; a function that takes fewer looks at fewer.
    unsafe {
        let function: libloading::Symbol<'_, AnyFunction> = library.get(name.as_bytes()).expect(name);
        function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    }
}

#[test]
fn what_is_not_there_says_so_and_nothing_works_before_initialize() {
    if !alone("what_is_not_there_says_so_and_nothing_works_before_initialize") {
        return;
    }
    // SAFETY: the library has no constructors of its own.
    let library = unsafe { libloading::Library::new(library()) }.unwrap();
    const ALWAYS: [&str; 4] = ["C_Initialize", "C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"];
    let names = || FUNCTIONS.iter().filter(|(name, ..)| !ALWAYS.contains(name));
    for (name, ..) in names() {
        assert_eq!(with_nothing(&library, name), CKR_CRYPTOKI_NOT_INITIALIZED, "{name}");
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.open(true);
    let mut missing = 0;
    for (name, _, there) in names().filter(|(name, ..)| *name != "C_Finalize") {
        let rv = with_nothing(&library, name);
        assert_eq!(rv == CKR_FUNCTION_NOT_SUPPORTED, !there, "{name}: {rv:#x}");
        assert!(*there || rv != CKR_GENERAL_ERROR, "{name}");
        missing += usize::from(!there);
    }
    assert!(missing > 0 && missing < FUNCTIONS.len() / 2);
    // C_CloseAllSessions was among them.
    let mut info = CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
    assert_eq!(call!(module, C_GetSessionInfo, session, &mut info), CKR_SESSION_HANDLE_INVALID);
    module.finalise();
    for (name, ..) in names() {
        assert_eq!(with_nothing(&library, name), CKR_CRYPTOKI_NOT_INITIALIZED, "{name}");
    }
}
