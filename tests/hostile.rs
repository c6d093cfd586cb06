//! A caller that means no good, or does not know any better: every function with handles that are none, NULL pointers,
//! lengths of nothing and of everything, mechanisms without their parameters and templates of bits and pieces, in
//! whatever state the calls before have left. Nothing crashes, nothing is written beyond its room, and no answer
//! is one that the function's row in the table of return values does not have.
//!
//! `DATAKEY_HOSTILE_SEED` and `DATAKEY_HOSTILE_CALLS` choose other calls and more of them; with `DATAKEY_HOSTILE_TRACE`
//! each is written down before it is made.

mod host;
#[path = "returns/table.rs"]
mod table;

use cryptoki_sys::*;
use datakey::error::Cause;
use datakey::mechanism::MECHANISMS;
use host::{Kind, Module, Place, alone, attr, call, library, ok, steps};
use std::collections::BTreeMap;
use std::ptr::null_mut;

/// What each function may answer beside its own, for nobody's fault but the caller's.
const ANYWHERE: &[CK_RV] = &[CKR_OK, CKR_ARGUMENTS_BAD, CKR_SESSION_HANDLE_INVALID];

/// What ends the handles of objects.
const ENDS: &[&str] = &["C_Finalize", "C_Logout", "C_CloseSession", "C_CloseAllSessions"];

const ROOM: usize = 4096;
const UNTOUCHED: u8 = 0xa5;
const LENGTHS: [usize; 10] = [0, 0, 1, 8, 12, 16, 32, 256, usize::MAX, 1 << 63];

/// A row of the list of functions: its name, and the names and types of its arguments.
struct Function {
    name: &'static str,
    arguments: Vec<(&'static str, &'static str)>,
    /// Whether the session comes first, which the list leaves out.
    of_session: bool,
}

fn functions() -> Vec<Function> {
    let rows = include_str!("../src/capi/functions.rs").lines().map(str::trim_start);
    let rows = rows.filter_map(|row| row.split_once('(').filter(|(name, _)| name.starts_with("C_")));
    rows.map(|(name, rest)| {
        let (arguments, handler) = rest.split_once(") = ").expect("a row has a handler");
        let arguments = arguments.split(", ").filter_map(|argument| argument.split_once(": ")).collect();
        Function { name, arguments, of_session: handler.starts_with("session") || handler.starts_with("missing") }
    })
    .collect()
}

/// Random numbers that come again with the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len())]
    }
}

/// The caller's memory of one call.
struct Memory {
    outputs: Vec<(Vec<u8>, Box<CK_ULONG>)>,
    mechanism: Box<CK_MECHANISM>,
    template: Vec<CK_ATTRIBUTE>,
    /// What mechanisms and templates point to: nothing but zeros.
    zeros: Vec<u8>,
}

struct Caller {
    module: Module,
    numbers: Numbers,
    sessions: [CK_SESSION_HANDLE; 2],
    objects: Vec<CK_OBJECT_HANDLE>,
}

impl Caller {
    /// One of the sessions, made anew if a call has closed it; or none.
    fn session(&mut self) -> usize {
        if self.numbers.below(12) == 0 {
            return self.numbers.of(&[0, usize::MAX]);
        }
        let which = self.numbers.below(2);
        let mut info = CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
        if call!(self.module, C_GetSessionInfo, self.sessions[which], &mut info) != CKR_OK {
            self.sessions[which] = self.module.open(which == 0);
        }
        self.sessions[which] as usize
    }

    fn template(&mut self, zeros: &mut [u8]) -> Vec<CK_ATTRIBUTE> {
        const TYPES: [CK_ATTRIBUTE_TYPE; 24] = [
            CKA_CLASS,
            CKA_KEY_TYPE,
            CKA_TOKEN,
            CKA_PRIVATE,
            CKA_LABEL,
            CKA_ID,
            CKA_VALUE,
            CKA_VALUE_LEN,
            CKA_EC_PARAMS,
            CKA_EC_POINT,
            CKA_MODULUS,
            CKA_MODULUS_BITS,
            CKA_PUBLIC_EXPONENT,
            CKA_SENSITIVE,
            CKA_EXTRACTABLE,
            CKA_WRAP_TEMPLATE,
            CKA_UNWRAP_TEMPLATE,
            CKA_ALLOWED_MECHANISMS,
            CKA_UNIQUE_ID,
            CKA_START_DATE,
            CKA_CHECK_VALUE,
            CKA_PARAMETER_SET,
            CKA_VENDOR_DEFINED | 0x1234,
            CK_ATTRIBUTE_TYPE::MAX,
        ];
        const CLASSES: [CK_ULONG; 9] = [0, 1, 2, 3, 4, 6, 8, 9, 0x7fff_ffff];
        const KEY_TYPES: [CK_ULONG; 7] = [CKK_RSA, CKK_EC, CKK_AES, CKK_GENERIC_SECRET, CKK_ML_KEM, CKK_DES, 0x99];
        const SIZES: [CK_ULONG; 5] = [0, 16, 17, 2048, CK_ULONG::MAX];
        const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let mut template = Vec::new();
        for index in 0..self.numbers.below(6) {
            let type_ = self.numbers.of(&TYPES);
            let good = match type_ {
                CKA_CLASS => Some(self.numbers.of(&CLASSES).to_ne_bytes().to_vec()),
                CKA_KEY_TYPE => Some(self.numbers.of(&KEY_TYPES).to_ne_bytes().to_vec()),
                CKA_VALUE_LEN | CKA_MODULUS_BITS => Some(self.numbers.of(&SIZES).to_ne_bytes().to_vec()),
                CKA_TOKEN | CKA_PRIVATE | CKA_SENSITIVE | CKA_EXTRACTABLE => Some(vec![self.numbers.of(&[0, 1, 7])]),
                CKA_EC_PARAMS => Some(P256.to_vec()),
                _ => None,
            };
            let (value, len) = match good.filter(|_| self.numbers.below(4) != 0) {
                // At the end of the zeros, where no structure reaches; C_GetAttributeValue writes there.
                Some(good) => {
                    let place = &mut zeros[ROOM - 16 * (index + 1)..][..good.len()];
                    place.copy_from_slice(&good);
                    (place.as_mut_ptr().cast(), good.len())
                }
                None => (self.numbers.of(&[null_mut(), zeros.as_mut_ptr().cast()]), self.numbers.of(&LENGTHS)),
            };
            template.push(CK_ATTRIBUTE { type_, pValue: value, ulValueLen: len as CK_ULONG });
        }
        template
    }

    fn mechanism(&mut self, zeros: &mut [u8]) -> CK_MECHANISM {
        let mechanism = match self.numbers.below(10) {
            0 => self.numbers.of(&[CKM_DES_CBC, CKM_VENDOR_DEFINED, CK_MECHANISM_TYPE::MAX]),
            _ => MECHANISMS[self.numbers.below(MECHANISMS.len())].id,
        };
        let (pointer, len) = match self.numbers.below(4) {
            0 => (null_mut(), self.numbers.of(&LENGTHS)),
            1 => (zeros.as_mut_ptr().cast(), self.numbers.of(&LENGTHS)),
            // As long as some structure.
            2 => (zeros.as_mut_ptr().cast(), 8 * self.numbers.below(10)),
            _ => (null_mut(), 0),
        };
        CK_MECHANISM { mechanism, pParameter: pointer, ulParameterLen: len as CK_ULONG }
    }

    /// The arguments of one call, and the memory that they lead to.
    fn arguments(&mut self, function: &Function) -> (Vec<usize>, Memory) {
        let mut zeros = vec![0; ROOM];
        let mechanism = Box::new(self.mechanism(&mut zeros));
        let template = self.template(&mut zeros);
        let mut memory = Memory { outputs: Vec::new(), mechanism, template, zeros };
        let mut arguments = Vec::new();
        if function.of_session {
            arguments.push(self.session());
        }
        // The keys stay: while there are sessions, no token is initialised again.
        while function.name == "C_InitToken" && [0, usize::MAX].contains(&self.session()) {}
        for (name, type_) in &function.arguments {
            let null = self.numbers.below(6) == 0;
            let argument = match (*name, *type_) {
                (_, "CK_SESSION_HANDLE") => self.session(),
                // The keys stay.
                (_, "CK_OBJECT_HANDLE") => match self.numbers.below(5) {
                    _ if function.name == "C_DestroyObject" => self.numbers.of(&[0, usize::MAX]),
                    0 => self.numbers.of(&[0, usize::MAX]),
                    _ => self.numbers.of(&self.objects.clone()) as usize,
                },
                (_, "CK_SLOT_ID") => self.numbers.of(&[0, 0, 1, usize::MAX]),
                // Without this it waits for ever, as it should.
                (_, "CK_FLAGS") if function.name == "C_WaitForSlotEvent" => {
                    self.numbers.of(&[CKF_DONT_BLOCK as usize, usize::MAX])
                }
                (_, "CK_FLAGS") => self.numbers.of(&[0, 1, 4, 6, usize::MAX]),
                (_, "CK_USER_TYPE") => self.numbers.of(&[0, 1, 2, 3, usize::MAX]),
                (_, "CK_BBOOL") => self.numbers.below(3),
                (_, "CK_MECHANISM_TYPE") => memory.mechanism.mechanism as usize,
                (_, "CK_NOTIFY") => 0,
                (_, "*mut CK_MECHANISM") => match null {
                    true => 0,
                    false => std::ptr::from_mut(&mut *memory.mechanism) as usize,
                },
                (_, "*mut CK_ATTRIBUTE") => match null {
                    true => 0,
                    false => memory.template.as_mut_ptr() as usize,
                },
                ("count" | "public_count" | "private_count", "CK_ULONG") => match null {
                    // More than there are is refused unread.
                    true => self.numbers.of(&[0, 5000, usize::MAX]),
                    false => memory.template.len(),
                },
                ("most", "CK_ULONG") => self.numbers.below(ROOM / 8),
                // The length of the output before it.
                (name, "*mut CK_ULONG") if name.ends_with("_len") || name == "count" => match null {
                    true => 0,
                    false => {
                        let room = self.numbers.of(&[0, 1, 16, 256, ROOM]);
                        let output = memory.outputs.last_mut().expect("its buffer comes first");
                        *output.1 = (room / if name == "count" { 24 } else { 1 }) as CK_ULONG;
                        std::ptr::from_mut(&mut *output.1) as usize
                    }
                },
                // The length of the input before it, or of a random output.
                (_, "CK_ULONG" | "CK_SESSION_VALIDATION_FLAGS_TYPE") => self.numbers.of(&LENGTHS),
                _ => {
                    // All zeros: a parameter or the arguments of C_Initialize may hold pointers, and a name has an end.
                    let pointer = match ["parameter", "arguments", "name"].contains(name) {
                        true => Some(memory.zeros.as_mut_ptr()),
                        false => {
                            memory.outputs.push((vec![UNTOUCHED; 2 * ROOM], Box::new(0)));
                            memory.outputs.last_mut().map(|(buffer, _)| buffer.as_mut_ptr())
                        }
                    };
                    if null { 0 } else { pointer.map_or(0, |pointer| pointer as usize) }
                }
            };
            arguments.push(argument);
        }
        arguments.resize(10, 0);
        (arguments, memory)
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect(variable))
}

#[test]
fn no_arguments_do_harm() {
    if !alone("no_arguments_do_harm") {
        return;
    }
    steps::limit(900);
    let place = Place::embedded("login = \"none\"\npin_hash = { memory = \"1M\", passes = 1 }");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let sessions = [module.open(true), module.open(false)];
    let (rsa, ec) =
        (module.generate(sessions[0], Kind::Rsa(2048), b"rsa"), module.generate(sessions[0], Kind::P256, b"ec"));
    let (class, aes, value, no, yes) =
        (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes(), [1; 16], [CK_FALSE], [CK_TRUE]);
    let mut key = [
        attr(CKA_CLASS, &class),
        attr(CKA_KEY_TYPE, &aes),
        attr(CKA_VALUE, &value),
        attr(CKA_SENSITIVE, &no),
        attr(CKA_EXTRACTABLE, &yes),
        attr(CKA_TOKEN, &yes),
    ];
    let mut secret = 0;
    ok!(module, C_CreateObject, sessions[0], key.as_mut_ptr(), 6, &mut secret);
    let (class, hotp, value, mut otp) = (CKO_OTP_KEY.to_ne_bytes(), CKK_HOTP.to_ne_bytes(), [1; 20], 0);
    let mut key = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &hotp), attr(CKA_VALUE, &value), attr(CKA_TOKEN, &yes)];
    ok!(module, C_CreateObject, sessions[0], key.as_mut_ptr(), 4, &mut otp);
    let modulus = module.attribute(sessions[0], rsa.0, CKA_MODULUS);
    let seed = number("DATAKEY_HOSTILE_SEED", 7);
    let mut caller =
        Caller { module, numbers: Numbers(seed), sessions, objects: vec![rsa.0, rsa.1, ec.0, ec.1, secret, otp] };
    // SAFETY: the library is ours and has no constructors.
    let loaded = unsafe { libloading::Library::new(library()) }.expect("the module loads");
    let (functions, trace) = (functions(), std::env::var_os("DATAKEY_HOSTILE_TRACE").is_some());
    assert_eq!(functions.len(), datakey::capi::FUNCTIONS.len());
    let (mut seen, mut unlisted) = (BTreeMap::<(&str, CK_RV), u64>::new(), Vec::new());
    for index in 0..number("DATAKEY_HOSTILE_CALLS", 60_000) {
        let function = &functions[caller.numbers.below(functions.len())];
        let (arguments, memory) = caller.arguments(function);
        if trace {
            eprintln!("call {index}, {}{arguments:x?}", function.name);
        }
        type Any = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> CK_RV;
        // SAFETY: all arguments are integers and pointers, which are passed alike; pointers are null or good for what
        // goes with them, or for more than any memory has, which each function must refuse.
        let rv = unsafe {
            let function: libloading::Symbol<'_, Any> = loaded.get(function.name.as_bytes()).expect(function.name);
            let [a, b, c, d, e, f, g, h, i, j] = arguments[..] else { panic!("ten arguments") };
            function(a, b, c, d, e, f, g, h, i, j)
        };
        if rv == CKR_OK && function.name == "C_Finalize" {
            module.initialise();
        }
        // Handles of private keys end with the login, and all of them with the library's use.
        if rv == CKR_OK && ENDS.contains(&function.name) {
            caller.objects = module.find(module.open(false), &[(CKA_TOKEN, &yes)]);
        }
        let about = || format!("seed {seed}, call {index}, {}{arguments:x?} answered {rv:#x}", function.name);
        for (buffer, _) in &memory.outputs {
            assert!(buffer[ROOM..].iter().all(|byte| *byte == UNTOUCHED), "{} and wrote beyond its room", about());
        }
        if !seen.contains_key(&(function.name, rv)) {
            let row = table::TABLE.iter().find(|row| row.0 == function.name);
            let name = Cause::ALL.iter().find(|cause| cause.ckr() == rv).map(|cause| cause.ckr_name());
            let listed = row.is_some_and(|row| {
                row.1
                    .split_whitespace()
                    .any(|listed| name.is_some_and(|name| name.strip_prefix("CKR_") == Some(listed)))
            });
            if !listed && !ANYWHERE.contains(&rv) {
                unlisted.push(format!("{name:?} is not in the row: {}", about()));
            }
        }
        *seen.entry((function.name, rv)).or_default() += 1;
    }
    for ((name, rv), times) in &seen {
        println!("{name} {rv:#x} {times}");
    }
    assert!(unlisted.is_empty(), "{}", unlisted.join("\n"));
    assert!(seen.len() > 250, "only {} different answers", seen.len());
    // And the keys still do what they did.
    let session = module.open(true);
    let [public, private] = [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY]
        .map(|class| module.find(session, &[(CKA_CLASS, &class.to_ne_bytes()), (CKA_MODULUS, &modulus)]));
    let signature = module.sign(session, private[0], CKM_SHA256_RSA_PKCS, b"data").expect("a signature");
    assert_eq!(module.verify(session, public[0], CKM_SHA256_RSA_PKCS, b"data", &signature), CKR_OK);
}
