//! A PKCS#11 module whose private keys are AWS KMS data key pairs.
//!
//! This is the whole house; `cdylib/` makes the loadable module of it and `bin/` the operator's
//! tool. Each folder is a floor and uses only the floors below it, in this order:
//!
//! | floor | what it is |
//! | --- | --- |
//! | [`cli`] | the operator's tool: beside the door, on the same floors |
//! | [`capi`] | the door: the C ABI of PKCS#11 2.40, 3.0 and 3.2 |
//! | [`module`] | the loaded library: initialise, finalise, slots, fork |
//! | [`session`] | handles, session state, operations, login state |
//! | [`token`] | what a token can do: PINs, create, generate, find, use a private key |
//! | [`object`] | object classes as data: attribute rules, templates, the policy digest |
//! | [`mechanism`] | one table row per mechanism |
//! | [`unwrap`] | sealed key to usable key: cache, single flight, checks |
//! | [`kms`] | the AWS KMS client and the embedded KMS |
//! | [`attestation`] | proof to KMS of the enclave that asks, and what KMS encrypts for it |
//! | [`store`] | where a token's records are kept |
//! | [`net`] | the network: a runtime without threads, name lookup, the way to AWS |
//! | [`crypto`] | the maths: the only floor that names a crypto library |
//! | [`host`] | the process we live in: signals, fork, privilege, memory, log |
//! | [`counters`] | what a token has done, in numbers |
//! | [`config`] | the configuration file |
//! | [`error`] | one error, by cause |

pub mod attestation;
pub mod capi;
pub mod cli;
pub mod config;
pub mod counters;
pub mod crypto;
pub mod error;
pub mod host;
pub mod kms;
pub mod mechanism;
pub mod module;
pub mod net;
pub mod object;
pub mod session;
pub mod store;
pub mod token;
pub mod unwrap;
