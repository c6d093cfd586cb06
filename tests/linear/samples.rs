//! Small histories that can have happened, and small ones that cannot: the checker must know them apart.

use super::checker::{Model, Operation, Verdict, check};
use super::models::{Act, Lock, Object, Pin, Try};

/// Operations as `(client, from, to, action)`; `to` is 0 where nobody knows.
fn history<A: Clone>(rows: &[(usize, u64, u64, A)]) -> Vec<Operation<A>> {
    let rows = rows.iter().enumerate();
    rows.map(|(number, (client, from, to, action))| Operation {
        client: *client,
        number: number as u64,
        from: *from,
        to: (*to != 0).then_some(*to),
        action: action.clone(),
    })
    .collect()
}

#[track_caller]
fn good<M: Model>(model: &M, rows: &[(usize, u64, u64, M::Action)])
where
    M::Action: Clone,
{
    assert_eq!(check(model, &history(rows)), Verdict::Linearizable);
}

#[track_caller]
fn bad<M: Model>(model: &M, rows: &[(usize, u64, u64, M::Action)])
where
    M::Action: Clone,
{
    let verdict = check(model, &history(rows));
    assert!(matches!(verdict, Verdict::Violation(..)), "{verdict:?}");
}

const CREATE: Act = Act::Create { label: 1, second: 1 };

fn saw(label: u32, second: u32) -> Act {
    Act::Saw { label: Some(label), second: Some(second) }
}

const MISSED: Act = Act::Missed { label: None };

pub(crate) fn good_histories_are_told_from_bad_ones() {
    objects();
    searches();
    what_nobody_knows();
    pins();
    long_ones();
}

fn objects() {
    good(&Object, &[(1, 1, 2, CREATE), (2, 3, 4, saw(1, 1)), (2, 5, 6, Act::Destroy), (1, 7, 8, Act::SawGone)]);
    // Seen before it was made; there after it was destroyed; destroyed twice; changed when it was gone.
    bad(&Object, &[(1, 3, 4, CREATE), (2, 1, 2, saw(1, 1))]);
    bad(&Object, &[(1, 1, 2, CREATE), (2, 3, 4, Act::Destroy), (1, 5, 6, saw(1, 1))]);
    bad(&Object, &[(1, 1, 2, CREATE), (2, 3, 6, Act::Destroy), (1, 4, 5, Act::Destroy)]);
    bad(&Object, &[(1, 1, 2, CREATE), (2, 3, 4, Act::Destroy), (1, 5, 6, Act::Label(2))]);
    // A lost write: nobody else wrote, and the old value is there again.
    bad(&Object, &[(1, 1, 2, CREATE), (1, 3, 4, Act::Label(2)), (2, 5, 6, saw(1, 1))]);
    // While it is on its way, the old value and then the new one; never the new one and then the old one.
    good(&Object, &[(1, 1, 2, CREATE), (1, 3, 9, Act::Label(2)), (2, 4, 5, saw(1, 1)), (3, 6, 7, saw(2, 1))]);
    bad(&Object, &[(1, 1, 2, CREATE), (1, 3, 9, Act::Label(2)), (2, 4, 5, saw(2, 1)), (3, 6, 7, saw(1, 1))]);
    // A lost compare-and-swap: two changed different attributes of one version, and one of both is gone.
    let both = [(1, 1, 2, CREATE), (1, 3, 6, Act::Label(2)), (2, 4, 5, Act::Second(2))];
    good(&Object, &[&both[..], &[(1, 7, 8, saw(2, 2))]].concat());
    bad(&Object, &[&both[..], &[(1, 7, 8, saw(2, 1))]].concat());
    bad(&Object, &[&both[..], &[(1, 7, 8, saw(1, 2))]].concat());
    // A read that may be old has its beginning moved back, but not before what its own client did.
    good(&Object, &[(1, 10, 12, CREATE), (1, 13, 14, Act::Label(2)), (2, 5, 20, saw(1, 1))]);
    bad(&Object, &[(1, 10, 12, CREATE), (1, 13, 14, Act::Label(2)), (1, 5, 20, saw(1, 1))]);
    let others = [(2, 1, 2, CREATE), (3, 3, 4, saw(1, 1)), (1, 13, 14, Act::Label(2)), (1, 2, 20, saw(1, 1))];
    bad(&Object, &others);
}

fn searches() {
    good(&Object, &[(1, 1, 5, CREATE), (2, 2, 3, MISSED), (2, 4, 6, saw(1, 1))]);
    bad(&Object, &[(1, 1, 2, CREATE), (2, 3, 4, MISSED)]);
    // It was there all the while, under one name or the other: a search for all must find it.
    let renamed = [(1, 1, 2, CREATE), (1, 3, 6, Act::Label(2))];
    bad(&Object, &[&renamed[..], &[(2, 4, 5, MISSED)]].concat());
    good(&Object, &[&renamed[..], &[(2, 4, 5, Act::Missed { label: Some(1) })]].concat());
    bad(&Object, &[&renamed[..], &[(2, 7, 8, Act::Missed { label: Some(2) })]].concat());
    good(&Object, &[&renamed[..], &[(2, 7, 8, Act::Missed { label: Some(1) })]].concat());
}

fn what_nobody_knows() {
    // It happened late, or never; but not both, and not before it was begun.
    let lost = [(1, 1, 2, CREATE), (1, 3, 0, Act::Label(2))];
    good(&Object, &[&lost[..], &[(2, 4, 5, saw(1, 1)), (2, 6, 7, saw(2, 1))]].concat());
    good(&Object, &[&lost[..], &[(2, 4, 5, saw(1, 1)), (2, 6, 7, saw(1, 1))]].concat());
    bad(&Object, &[&lost[..], &[(2, 4, 5, saw(2, 1)), (2, 6, 7, saw(1, 1))]].concat());
    bad(&Object, &[(2, 1, 2, saw(1, 1)), (1, 3, 0, CREATE)]);
    good(&Object, &[(1, 1, 0, CREATE), (2, 3, 4, MISSED), (2, 5, 6, saw(1, 1)), (1, 7, 0, Act::Destroy)]);
    good(&Object, &[(1, 1, 2, CREATE), (1, 3, 0, Act::Destroy), (2, 5, 6, saw(1, 1)), (2, 7, 8, Act::SawGone)]);
    bad(&Object, &[(1, 1, 2, CREATE), (1, 3, 0, Act::Destroy), (2, 5, 6, Act::SawGone), (2, 7, 8, saw(1, 1))]);
}

fn pins() {
    let model = Pin { first: 1, most: 3 };
    let wrong = |client, from, to| (client, from, to, Try::Wrong(9));
    let three = [wrong(1, 1, 2), wrong(2, 3, 4), wrong(1, 5, 6)];
    good(&model, &[&three[..], &[(2, 7, 8, Try::Locked)]].concat());
    // One guess too many; a right PIN that a lock did not stop; a lock too early.
    bad(&model, &[&three[..], &[wrong(2, 7, 8)]].concat());
    bad(&model, &[&three[..], &[(2, 7, 8, Try::Right(1))]].concat());
    bad(&model, &[&three[..2], &[(2, 7, 8, Try::Locked)]].concat());
    // Two that count at the same time both count.
    let at_once = [wrong(1, 1, 5), wrong(2, 2, 6), wrong(3, 3, 7)];
    good(&model, &[&at_once[..], &[(1, 8, 9, Try::Locked)]].concat());
    bad(&model, &[&at_once[..], &[(1, 8, 9, Try::Wrong(9))]].concat());
    // A right one forgets the wrong ones; a lock that was seen is undone by the officer alone.
    good(&model, &[&three[..2], &[(1, 5, 6, Try::Right(1)), wrong(1, 7, 8), wrong(1, 9, 10)]].concat());
    bad(
        &model,
        &[&three[..], &[(1, 7, 8, Try::Locked), (2, 3, 10, Try::Right(1)), (1, 11, 12, Try::Wrong(9))]].concat(),
    );
    good(
        &model,
        &[&three[..], &[(1, 7, 8, Try::Locked), (2, 9, 10, Try::Set(2)), (1, 11, 12, Try::Right(2))]].concat(),
    );
    // Who tries the PIN that was, or is to come.
    let changed = (1, 3, 6, Try::Changed { old: 1, new: 2 });
    good(&model, &[changed, (2, 4, 5, Try::Right(1)), (3, 4, 5, Try::Wrong(2)), (2, 7, 8, Try::Right(2))]);
    bad(&model, &[changed, (2, 7, 8, Try::Right(1))]);
    bad(&model, &[(1, 3, 6, Try::Changed { old: 1, new: 2 }), (2, 1, 2, Try::Right(2))]);
    // Perhaps counted.
    let lost = (1, 5, 0, Try::Perhaps(9));
    good(&model, &[wrong(1, 1, 2), wrong(2, 3, 4), lost, (2, 7, 8, Try::Locked)]);
    good(&model, &[wrong(1, 1, 2), wrong(2, 3, 4), lost, (2, 7, 8, Try::Right(1))]);
    let flags = |low, last, locked| Try::Flags { low, last, locked };
    good(
        &model,
        &[(1, 1, 2, flags(false, false, false)), wrong(1, 3, 4), wrong(1, 5, 6), (1, 7, 8, flags(true, true, false))],
    );
    bad(&model, &[wrong(1, 3, 4), wrong(1, 5, 6), (1, 7, 8, flags(true, false, false))]);
    assert_eq!(model.initial(), Lock { pin: 1, failed: 0 });
}

/// What would take for ever if every order were tried.
fn long_ones() {
    let mut rows = vec![(0, 1, 2, CREATE)];
    // Seven changes at the same time, again and again, the last of each round to be seen.
    for round in 0..40_u32 {
        let begin = 10 + 100 * u64::from(round);
        for client in 0..7_u32 {
            let label = round * 7 + client + 2;
            rows.push((client as usize, begin + u64::from(client), begin + 50 + u64::from(client), Act::Label(label)));
        }
        let last = Act::Saw { label: Some(round * 7 + 5), second: Some(1) };
        rows.extend((0..6).map(|client| (client, begin + 70, begin + 80, last)));
    }
    good(&Object, &rows);
    let end = rows.last().unwrap().2;
    // A value that was overwritten long ago.
    rows.push((1, end + 1, end + 2, Act::Saw { label: Some(7), second: Some(1) }));
    bad(&Object, &rows);
}
