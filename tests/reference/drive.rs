//! Does actions at the module and asks the model what it thinks of the answers.

use super::actions::{Action, Pick, PinChoice};
use super::operations::Kind;
use super::{Judged, Model, User, login, operations};
use crate::host::{Module, Place, SO_PIN, USER_PIN, call};
use cryptoki_sys::*;
use std::collections::HashMap;
use std::ptr::null_mut;

/// A token of its own, and the model of it.
pub(crate) struct World {
    pub(crate) module: Module,
    pub(crate) model: Model,
    /// The public keys of pairs on P-256, for a second opinion.
    pub(crate) points: HashMap<usize, p256::ecdsa::VerifyingKey>,
    /// Calls that ended as they should.
    pub(crate) calls: u64,
    /// Return values that were seen, with how often.
    pub(crate) seen: HashMap<(&'static str, CK_RV), u64>,
    _place: Place,
}

impl World {
    /// A new token with key pairs on it, and nobody in a session with it.
    pub(crate) fn new(module: Module) -> Result<Self, String> {
        let more = "max_pin_attempts = 3\n[[token]]\nlabel = \"empty\"\nkms = \"embedded\"";
        let place = Place::embedded(more);
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("DATAKEY_PKCS11_CONF", place.configuration()) };
        module.initialise();
        module.make_token(true);
        let model = Model::new(SO_PIN, USER_PIN);
        let (points, seen) = (HashMap::new(), HashMap::new());
        let mut world = Self { module, model, points, calls: 0, seen, _place: place };
        world.perform(&Action::Begin(Some(CKU_USER)))?;
        for row in 0..super::drive_objects::LASTING {
            world.generate_pair(world.model.open_sessions()[0], row)?;
        }
        Ok(world)
    }

    /// The end of this token.
    pub(crate) fn end(self) {
        self.module.finalise();
    }

    /// Does a sequence; tells the number of the action that went wrong, and how.
    pub(crate) fn run(&mut self, sequence: &[Action]) -> Result<(), (usize, String)> {
        for (index, action) in sequence.iter().enumerate() {
            self.perform(action).and_then(|()| self.look_around(action)).map_err(|what| (index, what))?;
        }
        self.take_stock().map_err(|what| (sequence.len() - 1, what))
    }

    /// Counts an answer.
    pub(crate) fn note(&mut self, function: &'static str, rv: CK_RV) -> CK_RV {
        self.calls += 1;
        *self.seen.entry((function, rv)).or_default() += 1;
        rv
    }

    /// A session: mostly one that is open, sometimes one that was, sometimes none.
    pub(crate) fn session(&self, pick: Pick) -> CK_SESSION_HANDLE {
        let open = self.model.open_sessions();
        let pick = usize::from(pick);
        match pick {
            250.. => [CK_INVALID_HANDLE, CK_SESSION_HANDLE::MAX][pick % 2],
            240.. if !self.model.all_sessions.is_empty() => {
                self.model.all_sessions[self.model.all_sessions.len() - 1 - pick % self.model.all_sessions.len()]
            }
            _ if open.is_empty() => CK_INVALID_HANDLE,
            // Most calls go to the first few, so that one call of an operation meets another.
            200.. => open[pick % open.len()],
            _ => open[pick % open.len().min(3)],
        }
    }

    fn pin(&self, user: User, choice: PinChoice) -> Vec<u8> {
        let pin = &self.model.pins[user as usize];
        match choice {
            // The officer is never locked out: that would be the end of this token.
            PinChoice::Wrong if user == User::So && pin.failed + 1 >= login::TRIES => pin.value.clone(),
            PinChoice::Right => pin.value.clone(),
            PinChoice::Wrong => b"not the PIN".to_vec(),
            PinChoice::Empty => Vec::new(),
            PinChoice::Short => b"123".to_vec(),
            PinChoice::Long => vec![b'x'; 256],
        }
    }

    /// A PIN that is to be set.
    fn new_pin(&self, choice: PinChoice) -> Vec<u8> {
        match choice {
            PinChoice::Short | PinChoice::Long => self.pin(User::User, choice),
            _ => [USER_PIN, b"another PIN"][self.model.pairs % 2].to_vec(),
        }
    }

    /// Does one action.
    pub(crate) fn perform(&mut self, action: &Action) -> Judged {
        match action {
            Action::Begin(user) => self.begin(*user),
            Action::Open { slot, flags } => self.open(CK_SLOT_ID::from(*slot), *flags),
            Action::Close(session) => self.close(self.session(*session)),
            Action::CloseAll { slot } => {
                let slot = CK_SLOT_ID::from(*slot);
                let rv = call!(self.module, C_CloseAllSessions, slot);
                self.note("C_CloseAllSessions", rv);
                self.model.closed_all(slot, rv)
            }
            Action::Login { session, who, pin } => {
                let user = if *who == CKU_SO { User::So } else { User::User };
                self.login(self.session(*session), *who, &self.pin(user, *pin))
            }
            Action::Logout(session) => {
                let session = self.session(*session);
                let rv = call!(self.module, C_Logout, session);
                self.note("C_Logout", rv);
                self.model.logged_out(session, rv)
            }
            Action::InitPin { session, pin } => self.init_pin(self.session(*session), &self.new_pin(*pin)),
            Action::SetPin { session, old, new } => {
                let user = self.model.user.unwrap_or(User::User);
                let failed = self.model.pins[user as usize].failed;
                // With tries that failed, a new PIN that is bad would leave open whether they still count.
                let new = if failed > 0 { PinChoice::Right } else { *new };
                self.set_pin(self.session(*session), &self.pin(user, *old), &self.new_pin(new))
            }
            Action::Cancel { session, flags } => {
                let session = self.session(*session);
                let rv = call!(self.module, C_SessionCancel, session, *flags);
                self.note("C_SessionCancel", rv);
                self.model.cancelled(session, *flags, rv)
            }
            Action::State(session) => {
                let session = self.session(*session);
                let rv = call!(self.module, C_GetOperationState, session, null_mut(), &mut 0);
                self.note("C_GetOperationState", rv);
                self.model.state_asked(session, rv)
            }
            Action::Create { .. }
            | Action::Copy { .. }
            | Action::Destroy { .. }
            | Action::Set { .. }
            | Action::Get { .. }
            | Action::Size { .. }
            | Action::FindInit { .. }
            | Action::Find { .. }
            | Action::FindFinal(_)
            | Action::GeneratePair { .. } => self.perform_on_objects(action),
            Action::Init { .. }
            | Action::CancelByNull { .. }
            | Action::Whole { .. }
            | Action::Update { .. }
            | Action::Final { .. } => self.perform_operation(action),
        }
    }

    /// A read-write session alone, with this user logged in. A login that is as wanted is kept: each takes
    /// the time of a password hash.
    fn begin(&mut self, user: Option<CK_USER_TYPE>) -> Judged {
        let wanted = user.map(|user| if user == CKU_SO { User::So } else { User::User });
        let keep = self.model.sessions.iter().find(|(_, session)| session.read_write).map(|(handle, _)| *handle);
        if self.model.user != wanted || keep.is_none() {
            self.perform(&Action::CloseAll { slot: 0 })?;
            self.open(0, CKF_SERIAL_SESSION | CKF_RW_SESSION)?;
        }
        let open = self.model.open_sessions();
        let keep = keep.filter(|keep| open.contains(keep)).unwrap_or(open[0]);
        for session in open {
            if session != keep {
                self.close(session)?;
            }
        }
        self.perform(&Action::Cancel { session: 0, flags: CK_FLAGS::MAX })?;
        if self.model.pins[User::User as usize].is_locked() && wanted != Some(User::So) {
            if self.model.user.is_some() {
                self.perform(&Action::Logout(0))?;
            }
            self.login(keep, CKU_SO, &self.pin(User::So, PinChoice::Right))?;
            self.init_pin(keep, USER_PIN)?;
            self.perform(&Action::Logout(0))?;
        }
        if let (Some(user), None) = (user, self.model.user) {
            self.login(keep, user, &self.pin(wanted.unwrap_or(User::User), PinChoice::Right))?;
        }
        self.tidy()
    }

    fn open(&mut self, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Judged {
        let mut session = CK_INVALID_HANDLE;
        let rv = call!(self.module, C_OpenSession, slot, flags, null_mut(), None, &mut session);
        self.note("C_OpenSession", rv);
        self.model.opened(slot, flags, rv, session)
    }

    fn close(&mut self, session: CK_SESSION_HANDLE) -> Judged {
        let rv = call!(self.module, C_CloseSession, session);
        self.note("C_CloseSession", rv);
        self.model.closed(session, rv)
    }

    fn login(&mut self, session: CK_SESSION_HANDLE, who: CK_USER_TYPE, pin: &[u8]) -> Judged {
        let rv = self.module.try_login(session, who, pin);
        self.note("C_Login", rv);
        self.model.logged_in(session, who, pin, rv)
    }

    fn init_pin(&mut self, session: CK_SESSION_HANDLE, pin: &[u8]) -> Judged {
        let rv = call!(self.module, C_InitPIN, session, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG);
        self.note("C_InitPIN", rv);
        self.model.pin_initialised(session, pin, rv)
    }

    fn set_pin(&mut self, session: CK_SESSION_HANDLE, old: &[u8], new: &[u8]) -> Judged {
        let rv = call!(
            self.module,
            C_SetPIN,
            session,
            old.as_ptr().cast_mut(),
            old.len() as CK_ULONG,
            new.as_ptr().cast_mut(),
            new.len() as CK_ULONG
        );
        self.note("C_SetPIN", rv);
        self.model.pin_set(session, old, new, rv)
    }

    /// What can be seen after an action: each session's state, the token's flags and counts, and which
    /// operations of a session are there.
    fn look_around(&mut self, action: &Action) -> Judged {
        for session in self.model.open_sessions() {
            let mut info = CK_SESSION_INFO { slotID: 99, state: 99, flags: 99, ulDeviceError: 99 };
            let rv = call!(self.module, C_GetSessionInfo, session, &mut info);
            self.note("C_GetSessionInfo", rv);
            self.model.session_info(session, rv, &info)?;
        }
        // SAFETY: the structure is all numbers and bytes.
        let mut info: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
        let rv = call!(self.module, C_GetTokenInfo, 0, &mut info);
        self.note("C_GetTokenInfo", rv);
        self.model.token_info(rv, &info)?;
        // Not after every action, so that what the question itself changes does not stay hidden.
        let doubtful = matches!(action, Action::Login { .. } | Action::Logout(_));
        let asks = matches!(action, Action::Whole { .. } | Action::Final { .. } | Action::Update { .. });
        if asks && !doubtful && !self.calls.is_multiple_of(3) {
            for session in self.model.open_sessions() {
                self.probe(session)?;
            }
        }
        Ok(())
    }

    /// Asks which operations a session has.
    fn probe(&mut self, session: CK_SESSION_HANDLE) -> Judged {
        for kind in Kind::ALL {
            let rv = self.call_init(session, kind, Some(operations::NO_MECHANISM), 0);
            self.model.probed(session, kind, rv)?;
        }
        let (mut handle, mut count) = (0, 99);
        let rv = call!(self.module, C_FindObjects, session, &mut handle, 0, &mut count);
        self.note("C_FindObjects", rv);
        self.model.search_answered(session, 0, rv, &[])
    }
}
