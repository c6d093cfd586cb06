//! AWS's own chain of sources of credentials, which is made anew where it would not look again.
//!
//! The SDK reads the user's files once in the life of a chain. Keys that stand there have no date, and whoever changes
//! them means the next call to use the new ones.

use super::aws;
use super::transport::Transport;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use std::sync::Arc;

/// What a chain is made of.
#[derive(Debug)]
pub(super) struct Chain {
    transport: Transport,
    region: Region,
    profile: Option<String>,
    /// The one in use. It keeps what it was told: the instance's last credentials, while the instance says nothing.
    made: tokio::sync::Mutex<Option<Arc<DefaultCredentialsChain>>>,
}

impl Chain {
    pub(super) fn new(transport: Transport, region: Region, profile: Option<String>) -> Self {
        Self { transport, region, profile, made: tokio::sync::Mutex::new(None) }
    }

    async fn make(&self) -> DefaultCredentialsChain {
        let provider = aws::provider(self.transport.clone());
        let metadata = aws::metadata(&provider).build();
        let mut chain = DefaultCredentialsChain::builder()
            .configure(provider.with_region(Some(self.region.clone())))
            .region(self.region.clone())
            .imds_client(metadata);
        if let Some(profile) = &self.profile {
            chain = chain.profile_name(profile);
        }
        Box::pin(chain.build()).await
    }

    async fn provide(&self) -> provider::Result {
        let mut made = self.made.lock().await;
        let chain = match &*made {
            Some(chain) => Arc::clone(chain),
            None => Arc::clone(made.insert(Arc::new(self.make().await))),
        };
        let provided = chain.provide_credentials().await;
        // Of what has a date the chain itself knows when to look again, and where.
        if !provided.as_ref().is_ok_and(has_date) {
            *made = None;
        }
        provided
    }
}

fn has_date(credentials: &Credentials) -> bool {
    credentials.expiry().is_some()
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}
