//! Every failure of KMS, of the way to it and of credentials, seen through the module: what the caller is told, how
//! often KMS is asked, that the deadline is kept, that nothing is lost and that the next good call works.
//!
//! `docs/failures.md` is made of what is found here. A test fails while it is stale;
//! `WRITE_DOCS=1 cargo test --test fault_matrix` writes it.

#[path = "fault_matrix/cases.rs"]
mod cases;
mod host;
#[path = "fault_matrix/page.rs"]
mod page;
mod support;
#[path = "hosts/tls.rs"]
mod tls;
#[path = "fault_matrix/world.rs"]
mod world;

use cases::GROUPS;
use cases::Trouble::Wire;
use host::alone;
use support::emulators::Emulator;
use world::World;

#[test]
fn each_fault_is_told_and_survived() {
    if !alone("each_fault_is_told_and_survived") {
        return;
    }
    let mut world = World::new();
    let mut found = |case: &cases::Case| (case.name, world.run(case));
    let groups: Vec<_> = GROUPS.iter().map(|(title, cases)| (*title, cases.iter().map(&mut found).collect())).collect();
    assert!(world.wrong.is_empty(), "{:#?}", world.wrong);
    page::check(&groups);
}

/// What an emulator answers is not what the embedded KMS does; what happens to it on the way is.
#[test]
fn what_happens_on_the_way_is_the_same_before_a_kms_of_others() {
    if !alone("what_happens_on_the_way_is_the_same_before_a_kms_of_others") {
        return;
    }
    let emulator = Emulator::moto();
    let mut world = World::before(([127, 0, 0, 1], emulator.port()).into());
    let on_the_way = GROUPS.iter().flat_map(|(_, cases)| *cases).filter(|case| matches!(case.trouble, Wire(_)));
    let found: Vec<_> = on_the_way.map(|case| (case.name, world.run(case))).collect();
    assert!(world.wrong.is_empty(), "{:#?}", world.wrong);
    assert!(found.len() >= 15, "{} faults", found.len());
    page::says(&found);
}
