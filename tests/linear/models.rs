//! What an object of the token is, and what a PIN with its counter is.

use super::checker::Model;

/// An object: not made yet, there with its two values, or gone for good. Its identity is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Unmade,
    There { label: u32, second: u32 },
    Gone,
}

/// What was done to an object, or seen of it. Values are numbers of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Create {
        label: u32,
        second: u32,
    },
    Label(u32),
    Second(u32),
    Destroy,
    /// It was there, with these values as far as they were seen.
    Saw {
        label: Option<u32>,
        second: Option<u32>,
    },
    /// A search, for one label or for all, did not find it.
    Missed {
        label: Option<u32>,
    },
    /// Its handle was answered to be of nothing.
    SawGone,
}

pub(crate) struct Object;

impl Model for Object {
    type State = Life;
    type Action = Act;

    fn initial(&self) -> Life {
        Life::Unmade
    }

    fn apply(&self, state: &Life, action: &Act) -> Vec<Life> {
        let is = |wanted: Option<u32>, value: u32| wanted.is_none_or(|wanted| wanted == value);
        let next = match (*action, *state) {
            (Act::Create { label, second }, Life::Unmade) => Some(Life::There { label, second }),
            (Act::Label(label), Life::There { second, .. }) => Some(Life::There { label, second }),
            (Act::Second(second), Life::There { label, .. }) => Some(Life::There { label, second }),
            (Act::Destroy, Life::There { .. }) => Some(Life::Gone),
            (Act::Saw { label: seen, second: too }, Life::There { label, second }) => {
                (is(seen, label) && is(too, second)).then_some(*state)
            }
            (Act::Missed { label: wanted }, Life::There { label, .. }) => {
                wanted.is_some_and(|wanted| wanted != label).then_some(*state)
            }
            (Act::Missed { .. } | Act::SawGone, Life::Unmade | Life::Gone) => Some(*state),
            _ => None,
        };
        next.into_iter().collect()
    }

    fn only_looks(&self, action: &Act) -> bool {
        matches!(action, Act::Saw { .. } | Act::Missed { .. } | Act::SawGone)
    }
}

/// The user's PIN, and the wrong tries since it was last entered rightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lock {
    pub(crate) pin: u32,
    pub(crate) failed: u32,
}

/// What was done with the PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// Answered that it is right, and locked it is not.
    Right(u32),
    /// Answered that it is wrong.
    Wrong(u32),
    /// Answered that it is locked.
    Locked,
    /// Not answered, or by an error: one of the first two, if anything.
    Perhaps(u32),
    /// The PIN was changed by who knew it.
    Changed { old: u32, new: u32 },
    /// Not answered, or by an error: changed, or the old one only looked at.
    PerhapsChanged { old: u32, new: u32 },
    /// Refused, after the old one may have been found right.
    PerhapsRight(u32),
    /// The officer set it.
    Set(u32),
    /// What `CK_TOKEN_INFO` says: wrong tries, one more to go, locked.
    Flags { low: bool, last: bool, locked: bool },
}

/// Locked after so many wrong tries.
pub(crate) struct Pin {
    pub(crate) first: u32,
    pub(crate) most: u32,
}

impl Model for Pin {
    type State = Lock;
    type Action = Try;

    fn initial(&self) -> Lock {
        Lock { pin: self.first, failed: 0 }
    }

    fn apply(&self, state: &Lock, action: &Try) -> Vec<Lock> {
        let Lock { pin, failed } = *state;
        let locked = failed >= self.most;
        let tried = |given: u32| match (locked, given == pin) {
            (true, _) => None,
            (false, true) => Some(Lock { pin, failed: 0 }),
            (false, false) => Some(Lock { pin, failed: failed + 1 }),
        };
        match *action {
            Try::Right(given) => tried(given).filter(|_| given == pin).into_iter().collect(),
            Try::Wrong(given) => tried(given).filter(|_| given != pin).into_iter().collect(),
            Try::Locked => locked.then_some(*state).into_iter().collect(),
            Try::Perhaps(given) => tried(given).into_iter().collect(),
            Try::PerhapsRight(given) => tried(given).filter(|_| given == pin).into_iter().collect(),
            Try::Changed { old, new } => {
                tried(old).filter(|_| old == pin).map(|_| Lock { pin: new, failed: 0 }).into_iter().collect()
            }
            Try::PerhapsChanged { old, new } => {
                let changed = (old == pin && !locked).then_some(Lock { pin: new, failed: 0 });
                tried(old).into_iter().chain(changed).collect()
            }
            Try::Set(new) => vec![Lock { pin: new, failed: 0 }],
            Try::Flags { low, last, locked: said } => {
                let fits = low == (failed > 0) && last == (failed + 1 == self.most) && said == locked;
                fits.then_some(*state).into_iter().collect()
            }
        }
    }

    fn only_looks(&self, action: &Try) -> bool {
        matches!(action, Try::Locked | Try::Flags { .. })
    }
}
