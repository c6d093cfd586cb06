//! Whether what was seen of one object can have happened one step after the other: Wing and Gong's search, with Lowe's
//! memory of what was tried.
//!
//! Each operation took effect at one moment between `from` and `to`. The search lines operations up so that none comes
//! before one that was over when it began, none before an earlier one of the same client, and each does what the model
//! allows in the state that it finds. An operation whose outcome nobody knows may come at any time after it began, or not
//! at all. That is NP-complete in general; here few operations meet at one object, and what only looks is lined up as soon
//! as it fits, which never spoils what comes after.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What an object is and what can be done to it.
pub(crate) trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Action: Debug;

    fn initial(&self) -> Self::State;

    /// The states that the action may lead to; none if it cannot be in this one.
    fn apply(&self, state: &Self::State, action: &Self::Action) -> Vec<Self::State>;

    /// Whether it changes nothing.
    fn only_looks(&self, action: &Self::Action) -> bool;
}

/// An operation on one object. Times are nanoseconds of one clock.
#[derive(Clone, Debug)]
pub(crate) struct Operation<A> {
    pub(crate) client: usize,
    /// Operations of one client, in their order.
    pub(crate) number: u64,
    /// Not before this.
    pub(crate) from: u64,
    /// Not after this; `None` where nobody knows whether it took effect.
    pub(crate) to: Option<u64>,
    pub(crate) action: A,
}

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Linearizable,
    /// As many operations as could be lined up, and the state that no other can follow.
    Violation(usize, String),
    /// The search was given up.
    Undecided,
}

/// So many states of the search are remembered for one object.
const MOST: usize = 3_000_000;

/// Which operations were lined up, and what came of it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Point<S> {
    /// All certain operations before this one.
    start: usize,
    /// And these of those behind it.
    ahead: Vec<usize>,
    /// Of those that perhaps happened, these.
    perhaps: Vec<usize>,
    state: S,
}

/// A point of the search, and what is still to be tried there.
struct Frame<S> {
    point: Point<S>,
    /// The next points, the first to be tried last; what nobody knows to have happened comes when all else was tried.
    next: Vec<Point<S>>,
    tried_perhaps: bool,
}

struct Search<'a, M: Model> {
    model: &'a M,
    certain: Vec<&'a Operation<M::Action>>,
    /// Of each of those, the one that its client did before it.
    before: Vec<Option<usize>>,
    perhaps: Vec<&'a Operation<M::Action>>,
}

/// Lines the operations up.
pub(crate) fn check<M: Model>(model: &M, operations: &[Operation<M::Action>]) -> Verdict {
    let mut all: Vec<_> = operations.iter().collect();
    all.sort_by_key(|operation| (operation.from, operation.number));
    let (certain, mut perhaps): (Vec<_>, Vec<_>) = all.into_iter().partition(|operation| operation.to.is_some());
    // What only would have looked, and was not answered, says nothing.
    perhaps.retain(|operation| !model.only_looks(&operation.action));
    let before = before(&certain);
    let search = Search { model, certain, before, perhaps };
    let mut seen = HashSet::new();
    let mut best = (0, format!("{:?}", model.initial()));
    let first = Point { start: 0, ahead: Vec::new(), perhaps: Vec::new(), state: model.initial() };
    let mut path = vec![search.frame(first)];
    while let Some(frame) = path.last_mut() {
        let count = frame.point.start + frame.point.ahead.len();
        if count == search.certain.len() {
            return Verdict::Linearizable;
        }
        if count > best.0 {
            best = (count, format!("{:?}", frame.point.state));
        }
        if frame.next.is_empty() && !frame.tried_perhaps {
            frame.tried_perhaps = true;
            frame.next = search.perhaps_next(&frame.point);
        }
        let Some(point) = frame.next.pop() else {
            path.pop();
            continue;
        };
        let frame = search.frame(point);
        if seen.insert(frame.point.clone()) {
            path.push(frame);
        }
        if seen.len() > MOST {
            return Verdict::Undecided;
        }
    }
    Verdict::Violation(best.0, best.1)
}

impl<M: Model> Search<'_, M> {
    /// A point, once all that only looks and fits there is lined up.
    fn frame(&self, mut point: Point<M::State>) -> Frame<M::State> {
        let ready = loop {
            let ready = self.ready(&point).0;
            let fits = |at: &&usize| {
                let action = &self.certain[**at].action;
                self.model.only_looks(action) && !self.model.apply(&point.state, action).is_empty()
            };
            match ready.iter().find(fits) {
                Some(at) => self.line_up(&mut point, *at),
                None => break ready,
            }
        };
        let mut changes: Vec<_> =
            ready.into_iter().filter(|at| !self.model.only_looks(&self.certain[*at].action)).collect();
        // The one that was over first is tried first.
        changes.sort_by_key(|at| std::cmp::Reverse(self.certain[*at].to));
        let next = changes.into_iter().flat_map(|at| {
            let states = self.model.apply(&point.state, &self.certain[at].action);
            let mut done = point.clone();
            self.line_up(&mut done, at);
            states.into_iter().map(move |state| Point { state, ..done.clone() })
        });
        let next = next.collect();
        Frame { point, next, tried_perhaps: false }
    }

    fn line_up(&self, point: &mut Point<M::State>, at: usize) {
        insert(&mut point.ahead, at);
        while point.ahead.first() == Some(&point.start) {
            point.ahead.remove(0);
            point.start += 1;
        }
    }

    /// The certain operations that can be next, and the moment by which one of them must be.
    fn ready(&self, point: &Point<M::State>) -> (Vec<usize>, u64) {
        let mut first_end = u64::MAX;
        let mut found: Vec<usize> = Vec::new();
        for (at, operation) in self.certain.iter().enumerate().skip(point.start) {
            if operation.from > first_end {
                break;
            }
            if point.ahead.binary_search(&at).is_err() {
                found.push(at);
                first_end = operation.to.unwrap_or(u64::MAX).min(first_end);
            }
        }
        let is_done = |at: usize| at < point.start || point.ahead.binary_search(&at).is_ok();
        found.retain(|at| self.certain[*at].from <= first_end && self.before[*at].is_none_or(is_done));
        (found, first_end)
    }

    /// The points that follow if one of those happened of which nobody knows.
    fn perhaps_next(&self, point: &Point<M::State>) -> Vec<Point<M::State>> {
        let first_end = self.ready(point).1;
        let open = self
            .perhaps
            .iter()
            .enumerate()
            .filter(|(at, operation)| operation.from <= first_end && point.perhaps.binary_search(at).is_err());
        let next = open.flat_map(|(at, operation)| {
            let mut done = point.clone();
            insert(&mut done.perhaps, at);
            let states = self.model.apply(&point.state, &operation.action);
            let changed = states.into_iter().filter(|state| *state != point.state);
            changed.map(move |state| Point { state, ..done.clone() }).collect::<Vec<_>>()
        });
        next.collect()
    }
}

fn before<A>(certain: &[&Operation<A>]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..certain.len()).collect();
    order.sort_by_key(|at| (certain[*at].client, certain[*at].number));
    let mut before = vec![None; certain.len()];
    for two in order.windows(2).filter(|two| certain[two[0]].client == certain[two[1]].client) {
        before[two[1]] = Some(two[0]);
    }
    before
}

fn insert(sorted: &mut Vec<usize>, at: usize) {
    if let Err(place) = sorted.binary_search(&at) {
        sorted.insert(place, at);
    }
}
