//! The loaded library: initialise, finalise, slots, and the process it is loaded in.
#![forbid(unsafe_code)]

mod metrics;

use crate::config::{self, Environment};
use crate::error::{Cause, Error, Result};
use crate::host::fork::PerProcess;
use crate::host::lock::{lock, read, write};
use crate::host::{self, log};
use crate::kms::HostRules;
use crate::session::{Sessions, Slot};
use crate::token::Token;
use cryptoki_sys::CK_SLOT_ID;
use metrics::Metrics;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

/// What lies between `C_Initialize` and `C_Finalize`.
pub struct Module {
    /// One slot per configured token.
    pub slots: Vec<Arc<Slot>>,
    /// All sessions.
    pub sessions: Sessions,
    metrics: Option<Metrics>,
    ended: Mutex<bool>,
    end: Condvar,
}

/// The state of this process. A forked child finds an empty one: what it inherited is neither used
/// nor dropped, because sockets, epoll sets and database handles in it belong to the parent.
static PROCESS: PerProcess<Process> = PerProcess::new();

#[derive(Default)]
struct Process {
    module: RwLock<Option<Arc<Module>>>,
    /// Held while a module is made, so that racing calls of `C_Initialize` wait for the first.
    starting: Mutex<()>,
}

/// The module; `NotInitialized` before `C_Initialize`, after `C_Finalize`, in a forked child, and when
/// the library's own end has come; `HostMemory` where there is none to begin a call with.
pub fn current() -> Result<Arc<Module>> {
    if host::has_ended() {
        return Err(Cause::NotInitialized.into());
    }
    if host::is_scarce() {
        return Err(Cause::HostMemory.into());
    }
    let module = read(&PROCESS.get().module);
    module.clone().ok_or_else(|| Cause::NotInitialized.into())
}

/// `C_Initialize`: reads the configuration; no network, no PIN, no store.
///
/// Errors: `AlreadyInitialized`; those of the configuration, which also go to syslog because a host may
/// have no standard error.
pub fn initialise(threads_allowed: bool) -> Result<()> {
    if host::has_ended() {
        return Err(Cause::NotInitialized.into());
    }
    if host::is_scarce() {
        return Err(Cause::HostMemory.into());
    }
    let process = PROCESS.get();
    let _alone = lock(&process.starting);
    if read(&process.module).is_some() {
        return Err(Cause::AlreadyInitialized.into());
    }
    host::fork::watch();
    host::gate::install();
    report_panics();
    let module = Module::from_configuration(threads_allowed).inspect_err(|error| {
        log::init_failure(&format!("C_Initialize: {}: {error}", error.cause().ckr_name()));
    })?;
    *write(&process.module) = Some(Arc::new(module));
    Ok(())
}

/// Rust's own way to report a panic writes past the log. This copy of Rust's library is the module's
/// alone, so no other's panics are concerned.
fn report_panics() {
    static DONE: AtomicBool = AtomicBool::new(false);
    // Once in a process and its children, and inside: the hook stands behind a lock that a fork could catch taken.
    host::gate::inside(|| {
        if !cfg!(test) && !DONE.swap(true, Ordering::SeqCst) {
            std::panic::set_hook(Box::new(|panic| {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                tracing::error!("a defect of this module at {place}; please report it");
            }));
        }
    });
}

/// `C_Finalize`: secrets are wiped, calls that wait end soon. Calls under way in other threads keep
/// what they work with until they are done.
pub fn finalise() -> Result<()> {
    if host::has_ended() {
        return Err(Cause::NotInitialized.into());
    }
    let module = write(&PROCESS.get().module).take();
    module.ok_or_else(|| Error::from(Cause::NotInitialized))?.finish();
    Ok(())
}

impl Module {
    /// The module by the configuration: what `C_Initialize` makes, and the operator's tool for itself. Sets up the
    /// log; no network, no PIN, no store.
    pub fn from_configuration(threads_allowed: bool) -> Result<Self> {
        let secure_mode = host::secure_mode();
        // What an earlier configuration said of the log does not hold for reading this one.
        log::configure(config::LogLevel::Warn, &config::LogTarget::Stderr)?;
        let config = config::load(&Environment::of_process(secure_mode))?;
        log::configure(config.log.level, &config.log.target)?;
        log::configure_audit(config.log.audit.as_deref())?;
        for note in &config.notes {
            tracing::warn!("{note}");
        }
        if config.tokens.is_empty() {
            tracing::warn!("no token is configured: write {} or set DATAKEY_PKCS11_CONF", config::SYSTEM_FILE);
        }
        let rules = HostRules { threads_allowed, secure_mode };
        let slots = config.tokens.into_iter().enumerate();
        let slots = slots.map(|(id, token)| Arc::new(Slot::new(id as CK_SLOT_ID, Token::new(token, rules)))).collect();
        let metrics = config.log.metrics.as_deref().map(Metrics::new);
        Ok(Self { slots, sessions: Sessions::default(), metrics, ended: Mutex::new(false), end: Condvar::new() })
    }

    /// What every call does first, since it may be the first for a long time.
    pub fn tidy(&self) {
        self.slots.iter().for_each(|slot| slot.token.wipe_expired());
        if let Some(metrics) = &self.metrics {
            metrics.refresh(&self.slots);
        }
    }

    /// The slot with this number.
    pub fn slot(&self, id: CK_SLOT_ID) -> Result<&Arc<Slot>> {
        self.slots.iter().find(|slot| slot.id == id).ok_or_else(|| Cause::SlotIdInvalid.into())
    }

    /// Blocks until `C_Finalize`, as `C_WaitForSlotEvent` does on tokens that never come or go.
    pub fn wait_for_end(&self) -> Result<()> {
        let mut ended = lock(&self.ended);
        while !*ended {
            ended = self.end.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
        Err(Cause::NotInitialized.into())
    }

    fn finish(&self) {
        for slot in &self.slots {
            slot.token.kms().cancel();
            slot.token.forget_secrets();
        }
        if let Some(metrics) = &self.metrics {
            metrics.finish(&self.slots);
        }
        *lock(&self.ended) = true;
        self.end.notify_all();
    }
}
