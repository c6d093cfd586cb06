//! What is done while the disk fails.

use super::places::Start;

/// The commands of `host.c`, in which the module is.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// While all is well.
    pub(crate) before: &'static [&'static str],
    /// While it is not.
    pub(crate) during: &'static str,
    /// What that answers when nothing fails.
    pub(crate) answer: u64,
    /// While all is well again, in the same process.
    pub(crate) after: &'static [&'static str],
    /// Whether it is made of several changes, each of which is whole.
    pub(crate) in_steps: bool,
    /// Whether it is a success also if the store is what it was.
    pub(crate) may_change: bool,
}

/// What a new token wants before it makes a key.
const SET_UP: &[&str] =
    &["open", "login-so so-pin-1", "init-pin user-pin-1", "logout", "login user-pin-1", "generate p256 after"];

const OPEN: &[&str] = &["initialise", "open"];
const OFFICER: &[&str] = &["initialise", "open", "login-so so-pin-1"];
const USER: &[&str] = &["initialise", "open", "login user-pin-1", "list"];

const fn operation(
    name: &'static str,
    start: Start,
    before: &'static [&'static str],
    during: &'static str,
) -> Operation {
    let after = &["generate p256 after", "use p256 after", "use p256 key", "list"];
    Operation { name, start, before, during, answer: 0, after, in_steps: false, may_change: false }
}

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        after: &["login user-pin-1", "use p256 key", "generate p256 after", "list"],
        ..operation("open a store", Start::Closed, &["initialise"], "open")
    },
    Operation {
        after: &["login user-pin-1", "use p256 key", "generate p256 after", "list"],
        ..operation("open a store after a crash", Start::Killed, &["initialise"], "open")
    },
    Operation {
        after: SET_UP,
        ..operation("C_InitToken, the first", Start::Nothing, &["initialise"], "init-token so-pin-1")
    },
    Operation {
        after: SET_UP,
        ..operation("C_InitToken, again", Start::Closed, &["initialise"], "init-token so-pin-1")
    },
    Operation {
        after: &["init-pin other-pin", "logout", "login other-pin", "use p256 key", "generate p256 after"],
        ..operation("C_InitPIN", Start::Closed, OFFICER, "init-pin new-pin")
    },
    operation("C_Login", Start::Closed, OPEN, "login user-pin-1"),
    Operation { may_change: true, ..operation("C_Login after a wrong PIN", Start::Counted, OPEN, "login user-pin-1") },
    Operation {
        answer: 0xa0,
        after: &["login user-pin-1", "use p256 key", "generate p256 after"],
        ..operation("C_Login with a wrong PIN", Start::Closed, OPEN, "login wrong-pin")
    },
    operation("C_SetPIN", Start::Closed, USER, "set-pin user-pin-1 new-pin"),
    operation("C_GenerateKeyPair", Start::Closed, USER, "generate p256 new"),
    operation("C_GenerateKeyPair after a crash", Start::Killed, USER, "generate p256 new"),
    operation("C_CreateObject", Start::Closed, USER, "create new"),
    operation("C_SetAttributeValue", Start::Closed, USER, "set-id 3 gone renamed"),
    operation("C_DestroyObject", Start::Closed, USER, "destroy 3 gone"),
    operation("C_FindObjects, C_GetAttributeValue", Start::Closed, USER, "list"),
    operation("C_Sign", Start::Closed, USER, "use p256 key"),
    Operation {
        after: &["login user-pin-1", "generate p256 after", "use p256 after"],
        ..operation("migrate an older format", Start::Older, &["initialise"], "open")
    },
    Operation {
        after: &["generate p256 after", "use p256 after"],
        in_steps: true,
        may_change: true,
        ..operation("vouch for what is older", Start::Older, OPEN, "login user-pin-1")
    },
];
