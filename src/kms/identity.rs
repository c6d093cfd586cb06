//! Whose credentials a client calls with.

use super::call::{self, Name};
use super::client::Kms;
use super::errors::chain;
use crate::error::{Cause, Result};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sts::config::retry::RetryConfig;
use std::time::SystemTime;
use tokio::time::Instant;

/// Whose credentials a client calls with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// When they expire, if they do.
    pub expires: Option<SystemTime>,
    /// The user or role, as STS tells it; why it does not, if it does not. `None` where STS is not asked.
    pub arn: Option<std::result::Result<String, String>>,
}

impl Kms {
    /// Finds the credentials, and has STS say whose they are (`GetCallerIdentity`, which needs no permission).
    ///
    /// With an `endpoint_url` STS is not asked: what answers there may be no AWS, and its credentials are not to be
    /// shown elsewhere.
    ///
    /// # Errors
    /// Those of a call that finds no credentials.
    pub fn identity(&self) -> Result<Identity> {
        let limits = self.use_of_key();
        let name = Name { operation: "the caller's identity", key_id: &self.key_id };
        self.run(async {
            let deadline = Instant::now() + limits.total;
            let session = call::within(deadline, name, self.session()).await?;
            call::within(deadline, name, session.credentials.ready()).await?;
            let held = session.credentials.provide_credentials().await;
            let held = held.map_err(|error| Cause::CredentialsMissing.with(chain(&error)))?;
            let sdk = session.sdk().filter(|_| self.config.endpoint_url.is_none());
            let arn = match sdk {
                None => None,
                Some(sdk) => {
                    let config = aws_sdk_sts::config::Builder::from(sdk)
                        .credentials_provider(held.clone())
                        .retry_config(RetryConfig::disabled());
                    let call = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send();
                    Some(match tokio::time::timeout_at(deadline, call).await {
                        Ok(Ok(answer)) => Ok(answer.arn.unwrap_or_default()),
                        Ok(Err(error)) => Err(chain(&error)),
                        Err(_) => Err("STS did not answer before the deadline".to_owned()),
                    })
                }
            };
            Ok(Identity { access_key_id: held.access_key_id().to_owned(), expires: held.expiry(), arn })
        })
    }
}
