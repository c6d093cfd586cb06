//! What the SDK makes once in a process, made where no fork can cut it in half.
//!
//! Endpoint rules, partitions and their regular expressions are made at the first call, behind locks
//! that all later calls look at. A host that forks while one of its threads makes its first call would
//! leave its child waiting there for ever.

use super::driver::Driver;
use super::{setup, transport};
use crate::error::{Cause, Result};
use crate::host::gate;
use crate::host::lock::lock;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static DONE: AtomicBool = AtomicBool::new(false);
static TLS_DONE: AtomicBool = AtomicBool::new(false);
static ROOTS_DONE: AtomicBool = AtomicBool::new(false);
static ALONE: Mutex<()> = Mutex::new(());

/// Makes it, unless it is made: some milliseconds, once. With `tls`, also what the first TLS connection
/// makes; with `native_roots` the system's root certificates, and an error where there are none.
pub(super) fn once(tls: bool, native_roots: bool) -> Result<()> {
    let done = |wanted: bool, flag: &AtomicBool| !wanted || flag.load(Ordering::Acquire);
    let is_done = || done(true, &DONE) && done(tls, &TLS_DONE) && done(native_roots, &ROOTS_DONE);
    if is_done() {
        return Ok(());
    }
    // Whatever was being made at that fork will never be finished here.
    if gate::was_dirty() {
        return Err(Cause::ForkedWhileBusy.into());
    }
    gate::inside(|| {
        let _alone = lock(&ALONE);
        if is_done() {
            return Ok(());
        }
        let client = setup::stand_in(Nobody);
        Driver::new()?.block_on(
            async {
                // All fail, after all that comes before the network.
                drop(setup::stand_in_role(Nobody).await.provide_credentials().await);
                drop(client.decrypt().ciphertext_blob(vec![0].into()).key_id("none").send().await);
                drop(client.generate_data_key_pair().key_id("none").send().await);
                transport::make_one(tls, native_roots)
            },
            false,
        )??;
        DONE.store(true, Ordering::Release);
        TLS_DONE.fetch_or(tls, Ordering::AcqRel);
        ROOTS_DONE.fetch_or(native_roots, Ordering::AcqRel);
        Ok(())
    })
}

/// An HTTP client that refuses everything at once.
#[derive(Clone, Debug)]
pub(super) struct Nobody;

impl HttpClient for Nobody {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self)
    }
}

impl HttpConnector for Nobody {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let body = SdkBody::from(r#"{"__type":"ValidationException","message":"nobody is here"}"#);
        let answer = StatusCode::try_from(400).map(|status| HttpResponse::new(status, body));
        HttpConnectorFuture::ready(answer.map_err(|error| ConnectorError::user(error.into())))
    }
}
