//! Makes a sequence that went wrong as short as it gets.

use super::actions::Action;
use super::drive::World;
use crate::host::Module;

/// How often at most a sequence is tried again: each try has a new token.
const TRIES: usize = 150;

/// What happened, in words.
pub(crate) fn report(module: Module, sequences: &[Vec<Action>], what: &str) -> String {
    // Often the last sequence does it alone; else all that this token saw is needed.
    let last = sequences.last().cloned().unwrap_or_default();
    let all: Vec<_> = sequences.iter().flatten().cloned().collect();
    let Some((mut actions, mut what)) = [last, all].into_iter().find_map(|actions| fails(module, &actions)) else {
        let last = listed(sequences.last().map_or(&[], Vec::as_slice));
        return format!("{what}\nThis does not happen again on a new token. The last sequence:\n{last}");
    };
    let mut tries = TRIES;
    let mut chunk = actions.len().div_ceil(2);
    while chunk > 0 && tries > 0 {
        let mut start = 0;
        while start < actions.len() && tries > 0 {
            let mut fewer = actions.clone();
            fewer.drain(start..(start + chunk).min(actions.len()));
            tries -= 1;
            match fails(module, &fewer) {
                Some(shorter) => (actions, what) = shorter,
                None => start += chunk,
            }
        }
        chunk /= 2;
    }
    format!("{what}\nThe shortest sequence found that does this:\n{}", listed(&actions))
}

/// Actions, one on a line.
fn listed(actions: &[Action]) -> String {
    actions.iter().map(|action| format!("  {action:?}\n")).collect()
}

/// Does the actions on a new token: those up to the one that goes wrong, and what goes wrong.
fn fails(module: Module, actions: &[Action]) -> Option<(Vec<Action>, String)> {
    let mut world = match World::new(module) {
        Ok(world) => world,
        Err(what) => return Some((Vec::new(), what)),
    };
    let failed = world.run(actions).err();
    world.end();
    failed.map(|(index, what)| (actions[..=index.min(actions.len().saturating_sub(1))].to_vec(), what))
}
