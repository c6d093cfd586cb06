//! What a process did to the files of a folder, and what a power failure may leave of it.
//!
//! What was made durable is there afterwards. Of the rest anything may be: a file without its last writes, with some
//! sectors of them and not others, a name without its file or a file without its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// A disk writes these whole or not at all.
const SECTOR: usize = 512;

/// One thing done. Files are numbered: a name may be another file's later.
#[derive(Clone, Debug)]
enum Event {
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: usize,
        length: usize,
    },
    /// All that was done to the file so far is durable.
    Sync {
        file: usize,
    },
    /// All names so far are durable.
    SyncNames,
    Create {
        name: String,
        file: usize,
    },
    Remove {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
}

/// All that was done, and what there was before.
pub(crate) struct Events {
    before: BTreeMap<String, Vec<u8>>,
    events: Vec<Event>,
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.next().is_multiple_of(many)
    }
}

/// What becomes of what was not made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// Each sector, each change of a length and each name by itself.
    Torn(u64),
}

/// What is taken for durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    AsTheyAre,
    /// A disk that lies: nothing that was done to files whose names end so is ever durable.
    LieAbout(&'static str),
}

/// The regular files of a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let entries = entries.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

impl Events {
    /// Reads the records that `disk.c` wrote, of a folder in which `before` was.
    pub(crate) fn read(log: &Path, before: &BTreeMap<String, Vec<u8>>) -> Self {
        let log = fs::read(log).unwrap();
        let mut names: BTreeMap<String, usize> = before.keys().cloned().zip(0..).collect();
        let mut next = names.len();
        let (mut events, mut folders) = (Vec::new(), BTreeSet::new());
        let mut rest = &log[..];
        while !rest.is_empty() {
            let (head, more) = rest.split_at(16);
            let (name, more) = more.split_at(usize::from(head[1]));
            let (bytes, more) = more.split_at(u32::from_ne_bytes(head[4..8].try_into().unwrap()) as usize);
            rest = more;
            let offset = u64::from_ne_bytes(head[8..16].try_into().unwrap()) as usize;
            let name = String::from_utf8(name.to_vec()).unwrap();
            let file = names.get(&name).copied();
            // The folder itself, whose name is durable (`durable.rs`), and folders in it, which hold nothing that counts.
            if head[0] == b'm' || name.contains('/') && name != "/" || folders.contains(&name) {
                folders.extend((head[0] == b'm' && name != "/").then_some(name));
                continue;
            }
            let file = || file.unwrap_or_else(|| panic!("{} of {name}, which nobody made", char::from(head[0])));
            events.push(match head[0] {
                b's' if name == "/" => Event::SyncNames,
                b'w' => Event::Write { file: file(), offset, bytes: bytes.to_vec() },
                b't' => Event::Truncate { file: file(), length: offset },
                b's' => Event::Sync { file: file() },
                b'c' => {
                    names.insert(name.clone(), next);
                    next += 1;
                    Event::Create { name, file: next - 1 }
                }
                b'u' => {
                    names.remove(&name);
                    Event::Remove { name }
                }
                b'r' => {
                    let to = String::from_utf8(bytes.to_vec()).unwrap();
                    names.remove(&name);
                    names.insert(to.clone(), file());
                    Event::Rename { from: name, to }
                }
                other => panic!("a record of {:?} for {name}", char::from(other)),
            });
        }
        Self { before: before.clone(), events }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Writes to the new folder `to` what may be found if the power failed after the first `count` events. Answers
    /// what was done last, for who is told that something is wrong.
    pub(crate) fn leave(&self, count: usize, fate: Fate, syncs: Syncs, to: &Path) -> String {
        let done = &self.events[..count];
        let mut dice = Dice(match fate {
            Fate::Torn(seed) => seed,
            _ => 0,
        });
        let mut names: BTreeMap<String, usize> = self.before.keys().cloned().zip(0..).collect();
        let mut contents: BTreeMap<usize, Vec<u8>> = (0..).zip(self.before.values().cloned()).collect();
        let lied = self.lied_about(syncs);
        for (at, event) in done.iter().enumerate() {
            let is_durable = |wanted: &dyn Fn(&Event) -> bool| done[at..].iter().any(wanted);
            let mut survives = |durable: bool| match fate {
                _ if durable => true,
                Fate::Lost => false,
                Fate::Kept => true,
                Fate::Torn(_) => dice.one_in(2),
            };
            let synced = |of: usize| {
                is_durable(&|later| matches!(later, Event::Sync { file } if *file == of)) && !lied.contains(&of)
            };
            let named = || is_durable(&|later| matches!(later, Event::SyncNames));
            match event {
                Event::Sync { .. } | Event::SyncNames => {}
                Event::Write { file, offset, bytes } => {
                    let durable = synced(*file);
                    let content = contents.entry(*file).or_default();
                    // By sectors of the file, not of what was written.
                    let mut begin = 0;
                    while begin < bytes.len() {
                        let end = bytes.len().min(begin + SECTOR - (offset + begin) % SECTOR);
                        if survives(durable) {
                            let place = offset + begin..offset + end;
                            content.resize(content.len().max(place.end), 0);
                            content[place].copy_from_slice(&bytes[begin..end]);
                        }
                        begin = end;
                    }
                }
                Event::Truncate { file, length } if survives(synced(*file)) => {
                    contents.entry(*file).or_default().resize(*length, 0);
                }
                Event::Create { name, file } if survives(named()) => drop(names.insert(name.clone(), *file)),
                Event::Remove { name } if survives(named()) => drop(names.remove(name)),
                Event::Rename { from, to } if survives(named()) => {
                    if let Some(file) = names.remove(from) {
                        names.insert(to.clone(), file);
                    }
                }
                _ => {}
            }
        }
        fs::DirBuilder::new().mode(0o700).create(to).unwrap();
        for (name, file) in names {
            let mut content = contents.remove(&file).unwrap_or_default();
            // Written through memory, so that nobody recorded it: anything may be in it.
            if name.ends_with("-shm") && matches!(fate, Fate::Torn(_)) {
                content.iter_mut().for_each(|byte| *byte = dice.next() as u8);
            }
            let mut options = fs::OpenOptions::new();
            let mut written = options.write(true).create_new(true).mode(0o600).open(to.join(name)).unwrap();
            written.write_all(&content).unwrap();
        }
        done.last().map_or_else(String::new, |event| match event {
            Event::Write { file, offset, bytes } => format!("wrote {} bytes to file {file} at {offset}", bytes.len()),
            other => format!("{other:?}"),
        })
    }

    fn lied_about(&self, syncs: Syncs) -> Vec<usize> {
        let Syncs::LieAbout(end) = syncs else { return Vec::new() };
        let there = self.before.keys().zip(0..);
        let made = self.events.iter().filter_map(|event| match event {
            Event::Create { name, file } => Some((name, *file)),
            _ => None,
        });
        there.chain(made).filter(|(name, _)| name.ends_with(end)).map(|(_, file)| file).collect()
    }
}
