//! What the SDK makes once in a process, made where no fork can cut it in half.
//!
//! Endpoint rules, partitions and their regular expressions are made at the first call, behind locks
//! that all later calls look at. A host that forks while one of its threads makes its first call would
//! leave its child waiting there for ever.

use super::setup;
use crate::error::{Cause, Result};
use crate::host::gate;
use crate::host::lock::lock;
use crate::net::{self, Driver, Nobody};
use aws_credential_types::provider::ProvideCredentials;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static DONE: AtomicBool = AtomicBool::new(false);
static ALONE: Mutex<()> = Mutex::new(());

/// Makes it, unless it is made: some milliseconds, once. With `tls`, also what the first TLS connection
/// makes; with `native_roots` the system's root certificates, and an error where there are none.
pub(super) fn once(tls: bool, native_roots: bool) -> Result<()> {
    net::prepare(tls, native_roots)?;
    if DONE.load(Ordering::Acquire) {
        return Ok(());
    }
    // Whatever was being made at that fork will never be finished here.
    if gate::was_dirty() {
        return Err(Cause::ForkedWhileBusy.into());
    }
    gate::inside(|| {
        let _alone = lock(&ALONE);
        if DONE.load(Ordering::Acquire) {
            return Ok(());
        }
        let client = setup::stand_in(Nobody);
        Driver::new()?.block_on(
            async {
                // All fail, after all that comes before the network.
                drop(setup::stand_in_role(Nobody).await.provide_credentials().await);
                drop(client.decrypt().ciphertext_blob(vec![0].into()).key_id("none").send().await);
                drop(client.generate_data_key_pair().key_id("none").send().await);
            },
            false,
        )?;
        DONE.store(true, Ordering::Release);
        Ok(())
    })
}
