//! The SQLite store and fork: children of a process whose threads are busy in the store.

mod store_support;

use datakey::error::Cause;
use datakey::store::{Query, Store};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use store_support::*;

fn main() {
    store_support::main(
        &[
            ("children_of_a_busy_parent_read_and_write", children_of_a_busy_parent_read_and_write),
            ("parent_children_and_grandchildren_lose_no_update", parent_children_and_grandchildren_lose_no_update),
            ("a_child_has_locks_of_its_own", a_child_has_locks_of_its_own),
            ("an_inherited_store_is_unused_and_closed", an_inherited_store_is_unused_and_closed),
            ("a_number_given_to_another_file_stays_open", a_number_given_to_another_file_stays_open),
        ],
        &[],
    );
}

/// Forks; the child ends with whether `work` panicked, running no destructor of the parent's.
fn fork(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child uses nothing that other threads of the parent may have held, but the allocator,
    // which glibc keeps usable, and what is being tested.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: alarm has no preconditions. A child that hangs must not hang the test.
        unsafe { libc::alarm(60) };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if result.is_ok() { 0 } else { 1 }) };
    }
    pid
}

fn ended_well(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is ours, `pid` a child of ours.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "a child ended with status {status:#x}");
}

#[track_caller]
fn is_not_ours(store: &dyn Store) {
    let not_ours = Cause::NotInitialized;
    assert_eq!(store.token().unwrap_err().cause(), not_ours);
    assert_eq!(store.get(&pair(0, 0)[0].id).unwrap_err().cause(), not_ours);
    assert_eq!(store.find(&Query::default(), None, 1).unwrap_err().cause(), not_ours);
    assert_eq!(store.change_counter().unwrap_err().cause(), not_ours);
    assert_eq!(store.insert(&pair(7, 7)).unwrap_err().cause(), not_ours);
    assert_eq!(store.update(&pair(7, 7)[0]).unwrap_err().cause(), not_ours);
    assert_eq!(store.delete(&pair(7, 7)[0].id, None).unwrap_err().cause(), not_ours);
    assert_eq!(store.update_token(&token()).unwrap_err().cause(), not_ours);
    assert_eq!(store.initialise(&token(), None).unwrap_err().cause(), not_ours);
    assert!(!store.read_only());
}

fn children_of_a_busy_parent_read_and_write() {
    const FORKS: u32 = 200;
    let (_directory, path) = initialised();
    let parents = store(&path);
    let (done, written) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (parents, done, written) = (&*parents, &done, &written);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    if thread < 2 {
                        parents.insert(&pair(1000 + thread, number)).unwrap();
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    let id = pair(1000 + thread % 2, number)[0].attributes[&ID].clone();
                    assert!(parents.find(&by(ID, &id), None, 10).unwrap().ids.len() <= 2);
                    parents.token().unwrap();
                }
            });
        }
        let mut children = std::collections::VecDeque::new();
        for number in 0..FORKS {
            children.push_back(fork(|| {
                is_not_ours(&*parents);
                let own = store(&path);
                own.insert(&pair(number, 0)).unwrap();
                assert_eq!(all(&*own, &by(LABEL, format!("writer {number}").as_bytes())).len(), 2);
                own.insert(&pair(number, 1)).unwrap();
                own.delete(&pair(number, 0)[0].id, Some(1)).unwrap();
            }));
            if children.len() == 4 {
                children.drain(..1).for_each(ended_well);
            }
        }
        children.into_iter().for_each(ended_well);
        done.store(true, Ordering::Relaxed);
    });
    let expected = 3 * FORKS + 2 * written.load(Ordering::Relaxed);
    assert_eq!(all(&*parents, &Query::default()).len() as u32, expected);
    drop(parents);
    assert_sound(&path);
}

/// Adds one to the object's version `times` times, by compare-and-swap.
fn count_up(store: &dyn Store, times: u32) {
    let mut done = 0;
    while done < times {
        let seen = store.get(&pair(0, 0)[0].id).unwrap().unwrap();
        match store.update(&seen) {
            Ok(_) => done += 1,
            Err(e) => assert_eq!(e.cause(), Cause::StoreConflict, "{e}"),
        }
    }
}

/// Two who both believe that they hold the write lock would lose an update or damage the file.
fn parent_children_and_grandchildren_lose_no_update() {
    let (_directory, path) = initialised();
    let parents = store(&path);
    parents.insert(&pair(0, 0)).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            fork(|| {
                let own = store(&path);
                count_up(&*own, 50);
                let grandchild = fork(|| {
                    is_not_ours(&*parents);
                    is_not_ours(&*own);
                    count_up(&*store(&path), 50);
                });
                count_up(&*own, 50);
                ended_well(grandchild);
                // Closing one's own must not end the locks of the others.
                drop(own);
                count_up(&*store(&path), 50);
            })
        })
        .collect();
    count_up(&*parents, 100);
    children.into_iter().for_each(ended_well);
    assert_eq!(parents.get(&pair(0, 0)[0].id).unwrap().unwrap().version, 1 + 3 * 200 + 100);
    drop(parents);
    assert_sound(&path);
}

/// The last connection to close empties the log. A child that believed in its parent's locks would have
/// none, and the parent would take itself for the last.
fn a_child_has_locks_of_its_own() {
    let (_directory, path) = initialised();
    let parents = store(&path);
    parents.insert(&pair(0, 0)).unwrap();
    let (mut parent_end, child_end) = UnixStream::pair().unwrap();
    let child = fork(|| {
        let own = store(&path);
        own.insert(&pair(1, 0)).unwrap();
        let mut end = &child_end;
        end.write_all(b"r").unwrap();
        end.read_exact(&mut [0]).unwrap();
        own.insert(&pair(1, 1)).unwrap();
        std::mem::forget(own);
    });
    parent_end.read_exact(&mut [0]).unwrap();
    drop(parents);
    let log = std::fs::metadata(format!("{}-wal", path.display())).unwrap();
    assert!(log.len() > 0, "the log was emptied under a child that has it open");
    store(&path).insert(&pair(0, 1)).unwrap();
    parent_end.write_all(b"g").unwrap();
    ended_well(child);
    assert_eq!(all(&*store(&path), &Query::default()).len(), 8);
    assert_sound(&path);
    assert_eq!(std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |log| log.len()), 0);
}

fn open_files(path: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()).filter(|file| file.starts_with(path)).count()
}

/// A child has its parent's files with their locks, which would outlive the parent: they are closed at the
/// fork, and what the child opens itself is closed by it alone.
fn an_inherited_store_is_unused_and_closed() {
    let (directory, path) = initialised();
    let parents = store(&path);
    parents.insert(&pair(0, 0)).unwrap();
    parents.token().unwrap();
    let before = open_files(directory.path());
    assert!(before >= 2);
    let mut parents = Some(parents);
    ended_well(fork(|| {
        assert_eq!(open_files(directory.path()), 0);
        let inherited = parents.take().unwrap();
        let own = store(&path);
        let opened = open_files(directory.path());
        is_not_ours(&*inherited);
        drop(inherited);
        assert_eq!(open_files(directory.path()), opened);
        drop(own);
        // Nothing that the child opens and closes is left.
        for _ in 0..3 {
            store(&path).insert(&pair(2, 2)).unwrap();
            store(&path).delete(&pair(2, 2)[0].id, None).unwrap();
            store(&path).delete(&pair(2, 2)[1].id, None).unwrap();
        }
        assert_eq!(open_files(directory.path()), 0);
    }));
    assert_eq!(open_files(directory.path()), before);
    let parents = parents.unwrap();
    parents.insert(&pair(1, 0)).unwrap();
    assert_eq!(all(&*parents, &Query::default()).len(), 4);
    drop(parents);
    assert_eq!(open_files(directory.path()), 0);
    assert_sound(&path);
}

/// Daemons close every number that they do not know, and open files of their own: those a child must keep.
fn a_number_given_to_another_file_stays_open() {
    let (directory, path) = initialised();
    let parents = store(&path);
    parents.token().unwrap();
    let other = tempfile::tempfile().unwrap();
    let mut taken = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        if std::fs::read_link(entry.path()).is_ok_and(|file| file.starts_with(directory.path())) {
            let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
            // SAFETY: what a host may do to numbers; the store behind this one is not used any more.
            assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
            taken.push(number);
        }
    }
    assert!(taken.len() >= 2);
    ended_well(fork(|| {
        for number in &taken {
            // SAFETY: only asks.
            assert!(unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0, "{number} was closed in the child");
        }
    }));
    std::mem::forget(parents);
}
