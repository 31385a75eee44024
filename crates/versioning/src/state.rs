//! What each file of the workspace contained when it was last read, so that unchanged files need not be read again.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;

/// The first bytes of the file; a reader of another form starts anew.
const MAGIC: &[u8] = b"yolo11-state-1\n";

/// What tells that a file has been touched: size, inode, and both times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub size: u64,
    inode: u64,
    modified: i64,
    changed: i64,
}

impl Stamp {
    pub fn new(metadata: &Metadata) -> Stamp {
        Stamp {
            size: metadata.len(),
            inode: metadata.ino(),
            modified: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            changed: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec(),
        }
    }

    /// Whether it is the same file with the same content: naming and protecting it changes no more than the time of change.
    pub fn is_same_content(&self, other: &Stamp) -> bool {
        (self.size, self.inode, self.modified) == (other.size, other.inode, other.modified)
    }
}

/// Stamps and ids by path.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    known: RwLock<HashMap<String, (Stamp, String)>>,
    is_changed: AtomicBool,
}

impl StateFile {
    /// Reads the file; a damaged or missing one is an empty one, as everything in it can be found out again.
    pub fn load(path: PathBuf) -> StateFile {
        let bytes = std::fs::read(&path).unwrap_or_default();
        StateFile { path, known: RwLock::new(decoded(&bytes).unwrap_or_default()), is_changed: AtomicBool::new(false) }
    }

    /// The id of a file's content, if it has not been touched since.
    pub fn get(&self, path: &str, stamp: Stamp) -> Option<String> {
        let known = self.known.read().unwrap_or_else(|poison| poison.into_inner());
        known.get(path).filter(|(then, _)| *then == stamp).map(|(_, id)| id.clone())
    }

    /// Remembers.
    pub fn set(&self, path: &str, stamp: Stamp, id: &str) {
        let mut known = self.known.write().unwrap_or_else(|poison| poison.into_inner());
        known.insert(path.to_owned(), (stamp, id.to_owned()));
        self.is_changed.store(true, Ordering::Relaxed);
    }

    /// Writes the file, if there is something new to write.
    pub fn save(&self) -> Result<()> {
        if !self.is_changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let known = self.known.read().unwrap_or_else(|poison| poison.into_inner());
        let mut bytes = MAGIC.to_vec();
        for (path, (stamp, id)) in known.iter() {
            bytes.extend((path.len() as u32).to_le_bytes());
            bytes.extend(path.as_bytes());
            for number in [stamp.size, stamp.inode, stamp.modified as u64, stamp.changed as u64] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(id.as_bytes());
        }
        crate::write::make_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        crate::write::write(&self.path, &bytes)
    }
}

fn decoded(bytes: &[u8]) -> Option<HashMap<String, (Stamp, String)>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut known = HashMap::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let path = std::str::from_utf8(rest.get(4..4 + length)?).ok()?.to_owned();
        let numbers = rest.get(4 + length..36 + length)?;
        let number = |index: usize| numbers[index * 8..index * 8 + 8].try_into().map(u64::from_le_bytes).ok();
        let stamp =
            Stamp { size: number(0)?, inode: number(1)?, modified: number(2)? as i64, changed: number(3)? as i64 };
        let id = std::str::from_utf8(rest.get(36 + length..68 + length)?).ok()?.to_owned();
        known.insert(path, (stamp, id));
        rest = &rest[68 + length..];
    }
    Some(known)
}
