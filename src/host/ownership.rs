//! Whose files are believed: what somebody else can write may be anything.
//!
//! A file is believed that belongs to the effective user or to root. What its owner lets others do with it is
//! its owner's affair, except that nobody means to let everybody write to it. Permissions of directories do
//! not count: volumes of containers are writable by everybody as a rule, and who replaces a file there
//! cannot give it to us.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const ROOT: u32 = 0;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Who may write to a file beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody.
    Owner,
    /// A group. A file that its owner shares with a group of this process is believed whoever owns it.
    Group,
}

/// Why a file is not to be believed; `None` if it is.
pub fn objection(about: &Metadata, writers: Writers) -> Option<String> {
    Process::new().objection(about.uid(), about.gid(), about.mode(), writers)
}

/// Why the name of a file is not to be believed: it is a symbolic link that somebody else made. `None` also
/// where there is nothing of that name.
///
/// # Errors
/// Those of looking at it.
pub fn objection_to_link(path: &Path) -> io::Result<Option<String>> {
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => {
            Ok((!Process::new().trusts(about.uid())).then(|| format!("it is a symbolic link of user {}", about.uid())))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(None),
    }
}

/// Whose rights this process has.
struct Process {
    user: u32,
    groups: fn() -> Vec<u32>,
}

impl Process {
    fn new() -> Self {
        // SAFETY: geteuid has no preconditions and cannot fail.
        Self { user: unsafe { libc::geteuid() }, groups }
    }

    fn trusts(&self, user: u32) -> bool {
        user == ROOT || user == self.user
    }

    fn objection(&self, owner: u32, group: u32, mode: u32, writers: Writers) -> Option<String> {
        let mode = mode & 0o7777;
        if mode & OTHERS_WRITE != 0 {
            return Some(format!("its mode is {mode:04o}, everybody can write to it: run chmod o-w on it"));
        }
        let shared = mode & GROUP_WRITES != 0;
        if shared && writers == Writers::Owner {
            return Some(format!("its mode is {mode:04o}, its group can write to it: run chmod go-w on it"));
        }
        if self.trusts(owner) || (shared && (self.groups)().contains(&group)) {
            return None;
        }
        Some(format!("it belongs to user {owner}, this process runs as user {}", self.user))
    }
}

/// The effective group and the supplementary ones.
fn groups() -> Vec<u32> {
    // SAFETY: with 0 the list is not written to.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the list has room for `count` groups; more of them are an error, and nothing is written.
    let found = unsafe { libc::getgroups(count.max(0), groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(found).unwrap_or(0));
    // SAFETY: getegid has no preconditions and cannot fail.
    groups.push(unsafe { libc::getegid() });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u32 = 1000;
    const OUR_GROUP: u32 = 100;

    #[test]
    fn what_others_can_write_is_not_believed() {
        let process = Process { user: US, groups: || vec![OUR_GROUP] };
        for (owner, group, mode, alone, shared) in [
            (US, 7, 0o600, true, true),
            (US, 7, 0o644, true, true),
            (ROOT, 7, 0o444, true, true),
            // Shared by who may share it: with whom is the owner's affair.
            (US, 7, 0o660, false, true),
            (ROOT, OUR_GROUP, 0o664, false, true),
            // Another's, who shares it with us; with another group; not at all.
            (2000, OUR_GROUP, 0o660, false, true),
            (2000, 7, 0o660, false, false),
            (2000, OUR_GROUP, 0o640, false, false),
            (2000, 7, 0o600, false, false),
            // Everybody's.
            (US, OUR_GROUP, 0o666, false, false),
            (ROOT, OUR_GROUP, 0o602, false, false),
        ] {
            for (writers, expected) in [(Writers::Owner, alone), (Writers::Group, shared)] {
                let objection = process.objection(owner, group, libc::S_IFREG | mode, writers);
                assert_eq!(objection.is_none(), expected, "{owner}:{group} {mode:o} {writers:?}: {objection:?}");
            }
        }
    }

    #[test]
    fn this_process_is_in_its_own_groups() {
        // SAFETY: getegid has no preconditions.
        assert!(groups().contains(&unsafe { libc::getegid() }));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(objection(&file.as_file().metadata().unwrap(), Writers::Owner), None);
    }
}
