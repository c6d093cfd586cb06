//! What a sequence does, and the generator of sequences.
//!
//! An action names sessions, objects and data by small numbers, which are resolved when it is done: so a
//! sequence still makes sense after any of its actions is left out.

use super::operations::Kind;
use cryptoki_sys::*;

/// Which of the things there are: mostly one that is good, sometimes a stale one, sometimes none at all.
pub(crate) type Pick = u8;

/// A PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PinChoice {
    Right,
    Wrong,
    Empty,
    Short,
    Long,
}

/// Room for output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// NULL.
    Query,
    Zero,
    OneShort,
    Exact,
    Plenty,
}

/// One call, or a few that belong together.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Begins a sequence: one read-write session, and this user.
    Begin(Option<CK_USER_TYPE>),
    Open {
        slot: u8,
        flags: CK_FLAGS,
    },
    Close(Pick),
    CloseAll {
        slot: u8,
    },
    Login {
        session: Pick,
        who: CK_USER_TYPE,
        pin: PinChoice,
    },
    Logout(Pick),
    InitPin {
        session: Pick,
        pin: PinChoice,
    },
    SetPin {
        session: Pick,
        old: PinChoice,
        new: PinChoice,
    },
    Create {
        session: Pick,
        template: Vec<Part>,
    },
    Copy {
        session: Pick,
        object: Pick,
        template: Vec<Part>,
    },
    Destroy {
        session: Pick,
        object: Pick,
    },
    Set {
        session: Pick,
        object: Pick,
        template: Vec<Part>,
    },
    Get {
        session: Pick,
        object: Pick,
        entries: Vec<(u8, Room)>,
    },
    Size {
        session: Pick,
        object: Pick,
    },
    FindInit {
        session: Pick,
        template: Vec<Part>,
    },
    Find {
        session: Pick,
        most: u8,
    },
    FindFinal(Pick),
    GeneratePair {
        session: Pick,
        row: u8,
    },
    Init {
        session: Pick,
        kind: Kind,
        mechanism: u8,
        key: Pick,
    },
    CancelByNull {
        session: Pick,
        kind: Kind,
    },
    Whole {
        session: Pick,
        kind: Kind,
        data: u8,
        room: Room,
    },
    Update {
        session: Pick,
        kind: Kind,
        data: u8,
    },
    Final {
        session: Pick,
        kind: Kind,
        data: u8,
        room: Room,
    },
    Cancel {
        session: Pick,
        flags: CK_FLAGS,
    },
    State(Pick),
}

/// An attribute of a template, by number: see [`super::drive_objects`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Class,
    Flag(u8, bool),
    Label(u8),
    Value(u8),
    LongFlag,
    UniqueId,
    Unknown,
    OfAnotherClass,
}

/// Numbers by xorshift: the same seed, the same sequences.
pub(crate) struct Numbers {
    state: u64,
    /// The session and the kind of the operation that was begun last: what follows is mostly about it.
    focus: (Pick, Kind),
    /// So many actions on it follow at once.
    warm: u64,
    /// Logins come and go in this sequence. In others they stay, because each takes the time of a password
    /// hash.
    lively: bool,
    /// Wrong PINs are the rule in this sequence.
    stubborn: bool,
}

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut numbers = Self { state, focus: (0, Kind::Digest), warm: 0, lively: false, stubborn: false };
        for _ in 0..8 {
            numbers.next();
        }
        numbers
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn kind(&mut self) -> Kind {
        self.of(&Kind::ALL)
    }

    fn room(&mut self) -> Room {
        self.of(&[Room::Query, Room::Zero, Room::OneShort, Room::Exact, Room::Exact, Room::Plenty, Room::Plenty])
    }

    /// A PIN; one that is tried takes the time of a password hash, so wrong ones are few.
    fn pin(&mut self) -> PinChoice {
        match self.below(8) {
            _ if !self.lively => PinChoice::Empty,
            0 => PinChoice::Wrong,
            1 => PinChoice::Empty,
            _ if self.stubborn => PinChoice::Wrong,
            _ => PinChoice::Right,
        }
    }

    /// The session and kind of an action on an operation.
    fn operation(&mut self, kinds: &[Kind]) -> (Pick, Kind) {
        let (session, kind) = self.focus;
        if kinds.contains(&kind) && !self.one_in(4) { (session, kind) } else { (self.byte(), self.of(kinds)) }
    }

    fn new_pin(&mut self) -> PinChoice {
        self.of(&[PinChoice::Right, PinChoice::Right, PinChoice::Short, PinChoice::Long])
    }

    fn part(&mut self) -> Part {
        match self.below(24) {
            0..=4 => Part::Flag(0, self.one_in(2)),
            5..=8 => Part::Flag(1, self.one_in(2)),
            9 | 10 => Part::Flag(2, self.one_in(2)),
            11 => Part::Flag(3, self.one_in(2)),
            12 => Part::Flag(4, self.one_in(2)),
            13..=16 => Part::Label(self.byte()),
            17..=19 => Part::Value(self.byte()),
            20 => Part::LongFlag,
            21 => Part::UniqueId,
            22 => Part::Unknown,
            _ => Part::OfAnotherClass,
        }
    }

    /// Up to `most` parts, of which those that spoil everything are fewer than they would be.
    fn parts(&mut self, most: u64) -> Vec<Part> {
        let count = self.below(most + 1);
        let parts: Vec<_> = (0..count).map(|_| self.part()).collect();
        let spoils =
            |part: &Part| matches!(part, Part::LongFlag | Part::UniqueId | Part::Unknown | Part::OfAnotherClass);
        if self.one_in(3) { parts } else { parts.into_iter().filter(|part| !spoils(part)).collect() }
    }

    fn action(&mut self) -> Action {
        let session = self.byte();
        let choice = self.below(100);
        let choice = match self.warm {
            0 => choice,
            _ => {
                self.warm -= 1;
                [69, 80, 87, 69, 80, 87, choice, 10][self.below(8) as usize]
            }
        };
        match choice {
            0..=5 => {
                let slot = self.of(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 9]);
                let extra = self.of(&[0, CKF_RW_SESSION, CKF_RW_SESSION]);
                let serial = if self.one_in(12) { 0 } else { CKF_SERIAL_SESSION };
                let asynchronous = if self.one_in(20) { CKF_ASYNC_SESSION } else { 0 };
                Action::Open { slot, flags: serial | extra | asynchronous }
            }
            6 | 7 if self.lively => Action::Close(session),
            6 | 7 => Action::Open { slot: 0, flags: CKF_SERIAL_SESSION | CKF_RW_SESSION },
            8 if self.lively && self.one_in(3) => Action::CloseAll { slot: self.of(&[0, 0, 1, 9]) },
            8..=10 => Action::Login {
                session: if self.warm > 0 { self.focus.0 } else { session },
                who: match self.warm {
                    0 => self.of(&[CKU_USER, CKU_USER, CKU_SO, CKU_CONTEXT_SPECIFIC, 7]),
                    _ => CKU_CONTEXT_SPECIFIC,
                },
                pin: self.pin(),
            },
            11 if self.lively && self.one_in(2) => Action::Logout(session),
            11 | 12 => match self.below(6) {
                0 => Action::SetPin { session, old: self.pin(), new: self.new_pin() },
                1 | 2 => Action::InitPin { session, pin: self.new_pin() },
                _ => {
                    Action::Login { session: self.operation(&Kind::ALL).0, who: CKU_CONTEXT_SPECIFIC, pin: self.pin() }
                }
            },
            13..=22 => {
                let mut template = self.parts(5);
                if !self.one_in(12) {
                    template.push(Part::Class);
                }
                Action::Create { session, template }
            }
            23..=26 => Action::Copy { session, object: self.byte(), template: self.parts(4) },
            27..=30 => Action::Destroy { session, object: self.byte() },
            31..=35 => Action::Set { session, object: self.byte(), template: self.parts(3) },
            36..=40 => {
                let count = self.below(5);
                let entries = (0..count).map(|_| (self.byte(), self.room())).collect();
                Action::Get { session, object: self.byte(), entries }
            }
            41 => Action::Size { session, object: self.byte() },
            42..=45 => {
                self.focus.0 = session;
                Action::FindInit { session, template: self.parts(2) }
            }
            46..=49 => {
                let session = self.operation(&Kind::ALL).0;
                Action::Find { session, most: self.of(&[0, 1, 2, 5, 200]) }
            }
            50 | 51 => Action::FindFinal(self.operation(&Kind::ALL).0),
            52 => Action::GeneratePair { session, row: self.byte() },
            53..=67 => {
                self.focus = (session, self.kind());
                self.warm = self.below(6);
                Action::Init { session, kind: self.focus.1, mechanism: self.byte(), key: self.byte() }
            }
            68 => {
                let (session, kind) = self.operation(&Kind::ALL);
                Action::CancelByNull { session, kind }
            }
            69..=79 => {
                let (session, kind) = self.operation(&Kind::ALL);
                Action::Whole { session, kind, data: self.byte(), room: self.room() }
            }
            80..=86 => {
                let (session, kind) = self.operation(&Kind::ALL);
                Action::Update { session, kind, data: self.byte() }
            }
            87..=95 => {
                let (session, kind) = self.operation(&Kind::ALL);
                Action::Final { session, kind, data: self.byte(), room: self.room() }
            }
            96 | 97 => {
                let one = self.kind().flag();
                Action::Cancel { session, flags: self.of(&[one, 0, CKF_FIND_OBJECTS, CK_FLAGS::MAX, one]) }
            }
            98 => Action::State(session),
            _ => Action::Open { slot: 0, flags: CKF_SERIAL_SESSION },
        }
    }

    /// A sequence that begins with this user logged in.
    pub(crate) fn sequence(&mut self, user: Option<CK_USER_TYPE>) -> Vec<Action> {
        let len = 5 + self.below(40);
        self.lively = self.one_in(3);
        self.stubborn = self.one_in(12);
        [Action::Begin(user)].into_iter().chain((0..len).map(|_| self.action())).collect()
    }
}
