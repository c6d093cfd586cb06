//! Sessions, logins, operations and objects against an independent model of the specification: thousands of
//! random sequences of calls, with every return value and everything visible compared.
//!
//! `DATAKEY_MODEL_SEED` and `DATAKEY_MODEL_SEQUENCES` choose other sequences and more of them.

mod host;
mod reference;

use cryptoki_sys::*;
use host::{Module, alone, steps};
use reference::actions::Numbers;
use reference::drive::World;
use std::collections::BTreeMap;
use std::time::Instant;

/// How many sequences one token sees.
const A_TOKEN: usize = 500;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect(variable))
}

#[test]
fn ten_thousand_sequences_go_as_the_specification_says() {
    if !alone("ten_thousand_sequences_go_as_the_specification_says") {
        return;
    }
    steps::limit(1200);
    let count = number("DATAKEY_MODEL_SEQUENCES", 10_000) as usize;
    let seed = number("DATAKEY_MODEL_SEED", 11);
    let mut numbers = Numbers::new(seed);
    let module = Module::load();
    let since = Instant::now();
    let (mut calls, mut seen) = (0, BTreeMap::new());
    for first in (0..count).step_by(A_TOKEN) {
        let mut world = World::new(module).expect("a new token");
        let mut sequences = Vec::new();
        for index in first..(first + A_TOKEN).min(count) {
            // Long stretches with one user: each login takes the time of a password hash.
            let user = [Some(CKU_USER), None, Some(CKU_USER), Some(CKU_SO)][index / 25 % 4];
            sequences.push(numbers.sequence(user));
            if let Err((action, what)) = world.run(sequences.last().expect("just pushed")) {
                let action = sequences.last().map(|sequence| &sequence[action]);
                let what = format!("seed {seed}, sequence {index}, {action:?}: {what}");
                world.end();
                panic!("{what}\n{}", reference::shrink::report(module, &sequences, &what));
            }
        }
        calls += world.calls;
        for (answer, times) in &world.seen {
            *seen.entry(*answer).or_insert(0) += times;
        }
        world.end();
    }
    println!("{count} sequences, {calls} calls, {} different answers, {:?}", seen.len(), since.elapsed());
    for ((function, rv), times) in &seen {
        println!("{function} {rv:#x} {times}");
    }
    // A generator that misses whole functions or their errors would make this test an empty one.
    assert!(seen.len() > 100, "only {} different answers were seen", seen.len());
}
