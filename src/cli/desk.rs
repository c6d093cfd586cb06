//! The token that a command works with, through the same sessions as the functions of PKCS#11.

use super::output::Failure;
use super::pin::UserPin;
use crate::error::Cause;
use crate::module::Module;
use crate::session::{Session, Slot, Who};
use crate::token::User;
use cryptoki_sys::{CKF_RW_SESSION, CKF_SERIAL_SESSION};
use std::sync::Arc;

/// Which of the configured tokens.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Which {
    /// The label of the token in the configuration; needed where it has several
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,
}

impl Which {
    /// The one of `tokens` that is meant; `label` tells the label of each.
    pub(super) fn of<T>(&self, mut tokens: Vec<T>, label: impl Fn(&T) -> &str) -> Result<T, Failure> {
        let labels = || tokens.iter().map(|token| format!("{:?}", label(token))).collect::<Vec<_>>().join(", ");
        let at = match &self.token {
            _ if tokens.is_empty() => {
                return Err(Failure::new("no token is configured; datakey-pkcs11 init writes a configuration"));
            }
            None if tokens.len() > 1 => {
                return Err(Failure::new(format!("say with --token which one is meant: {}", labels())));
            }
            None => 0,
            Some(wanted) => tokens
                .iter()
                .position(|token| label(token) == wanted)
                .ok_or_else(|| Failure::new(format!("no token {wanted:?} is configured, only {}", labels())))?,
        };
        Ok(tokens.swap_remove(at))
    }

    /// Whether the token with this label is meant, where all are if none is named.
    pub(super) fn includes(&self, label: &str) -> bool {
        self.token.as_deref().is_none_or(|wanted| wanted == label)
    }
}

/// A token in use.
pub(super) struct Desk {
    module: Module,
    pub(super) slot: Arc<Slot>,
}

impl Desk {
    /// The token that is meant. Touches neither store nor network.
    pub(super) fn open(which: &Which) -> Result<Self, Failure> {
        let module = open_module()?;
        let slot = which.of(module.slots.clone(), |slot| &slot.token.config().label)?;
        Ok(Self { module, slot })
    }

    /// A session that can write, without a login.
    pub(super) fn session(&self) -> Result<Arc<Session>, Failure> {
        let handle = self.module.sessions.open(&self.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)?;
        Ok(self.module.sessions.get(handle)?)
    }

    /// A session in which the user is logged in, where the token asks for a login.
    pub(super) fn user_session(&self, pin: &UserPin) -> Result<Arc<Session>, Failure> {
        let session = self.session()?;
        if self.slot.token.login_required()? {
            session.login(Who::User(User::User), pin.get()?.expose())?;
        }
        Ok(session)
    }
}

/// All tokens of the configuration.
pub(super) fn open_module() -> Result<Module, Failure> {
    Module::from_configuration(true).map_err(|error| match error.cause() {
        Cause::ConfigInvalid | Cause::ConfigUnsafe | Cause::ConfigUnreadable => {
            Failure::from(error.context("see datakey-pkcs11 doctor"))
        }
        _ => Failure::from(error),
    })
}
