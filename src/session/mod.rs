//! Sessions: handles, states, one operation slot per kind, the login state machine, searches.
#![forbid(unsafe_code)]

mod cipher;
mod derive;
mod digest;
mod dual;
mod handles;
mod kem;
mod lifecycle;
mod login;
mod mac;
mod message_crypt;
mod message_sign;
mod message_verify;
mod objects;
mod one_time;
mod operation;
mod operation_state;
mod recover;
mod search;
mod sign;
mod slot;
mod table;
mod use_of_key;
mod verify;
mod verify_signature;
mod wrap;

pub use handles::Object;
pub use login::Who;
pub use message_crypt::MessageOutcome;
pub use operation::{Kind, Outcome, Room};
pub use slot::{Slot, State, TokenInfo};
pub use table::{Session, Sessions};

use crate::host::lock::lock;
