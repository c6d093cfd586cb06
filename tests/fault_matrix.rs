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
use host::alone;
use world::World;

#[test]
fn each_fault_is_told_and_survived() {
    if !alone("each_fault_is_told_and_survived") {
        return;
    }
    let mut world = World::new();
    let mut found = |cases: &'static [cases::Case]| cases.iter().map(|case| (case.name, world.run(case))).collect();
    let groups: Vec<_> = GROUPS.iter().map(|(title, cases)| (*title, found(cases))).collect();
    assert!(world.wrong.is_empty(), "{:#?}", world.wrong);
    page::check(&groups);
}
