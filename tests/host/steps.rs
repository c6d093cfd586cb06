//! Steps of a test that need a process of their own, and time limits for what could hang.

use super::{MARK, Module, SO_PIN, USER_PIN, call, ok};
use cryptoki_sys::*;
use std::path::Path;
use std::process::Command;
use std::ptr::null_mut;

const STEP: &str = "DATAKEY_TEST_STEP";
const PLACE: &str = "DATAKEY_TEST_PLACE";

/// Ends this process with SIGALRM after so many seconds: what hangs fails, and no thread is made for it.
pub(crate) fn limit(seconds: u32) {
    // SAFETY: sets a timer of this process, whose signal has its default effect.
    unsafe { libc::alarm(seconds) };
}

/// The step that this process was started for by [`run`].
pub(crate) fn step() -> Option<String> {
    let step = std::env::var(STEP).ok();
    if step.is_some() {
        limit(120);
    }
    step
}

/// A new process for one step of a test with this configuration.
pub(crate) fn command(test: &str, step: &str, configuration: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(STEP, step)
        .env(MARK, test)
        .env(PLACE, configuration.parent().unwrap())
        .env("DATAKEY_PKCS11_CONF", configuration)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

/// Runs one step of a test in a new process with this configuration, and returns what it said.
pub(crate) fn run(test: &str, step: &str, configuration: &Path) -> Vec<String> {
    let output = command(test, step, configuration).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "step {step} of {test} failed:\n{text}\n{errors}");
    text.lines().filter_map(|line| line.strip_prefix("says: ")).map(str::to_owned).collect()
}

/// Says something to the process that called [`run`].
pub(crate) fn say(text: impl std::fmt::Display) {
    println!("\nsays: {text}");
}

impl Module {
    /// Loads and initialises it under the configuration that [`run`] gave.
    pub(crate) fn start_step() -> Self {
        let module = Self::load();
        module.initialise();
        module
    }

    /// `C_Finalize`.
    pub(crate) fn finalise(self) {
        ok!(self, C_Finalize, null_mut());
    }

    /// Forgets all state by `C_Finalize` and `C_Initialize`, and opens a session with the user logged in.
    pub(crate) fn again(self) -> CK_SESSION_HANDLE {
        self.finalise();
        self.initialise();
        self.enter()
    }

    /// A session that can write, with the user logged in (which a token without PINs takes as well).
    pub(crate) fn enter(self) -> CK_SESSION_HANDLE {
        let session = self.open(true);
        self.login(session);
        session
    }

    /// `C_Login`, with whatever comes of it.
    pub(crate) fn try_login(self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &[u8]) -> CK_RV {
        call!(self, C_Login, session, user, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG)
    }

    /// The right PIN of a user type.
    pub(crate) fn pin_of(user: CK_USER_TYPE) -> &'static [u8] {
        if user == CKU_SO { SO_PIN } else { USER_PIN }
    }
}
