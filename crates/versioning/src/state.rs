//! What each file of the workspace contained when it was last read, so that unchanged files need not be read again.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;

/// The first bytes of the file; a reader of another form starts anew.
const MAGIC: &[u8] = b"yolo11-state-2\n";
/// Bytes of a boot's name.
const BOOT: usize = 36;

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

/// How far a remembered content can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Trust {
    /// It is on the disk.
    Disk = 0,
    /// The system may have it in memory only; true as long as the system runs.
    ThisBoot = 1,
    /// It was in memory when the system went down: a power cut may have left the same stamp on fewer bytes. Read once more, it is on the disk.
    Doubtful = 2,
}

#[derive(Clone, Debug)]
struct Known {
    stamp: Stamp,
    trust: Trust,
    id: String,
}

/// Stamps and ids by path.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    known: RwLock<HashMap<String, Known>>,
    is_changed: AtomicBool,
}

impl StateFile {
    /// Reads the file; a damaged or missing one is an empty one, as everything in it can be found out again.
    pub fn load(path: PathBuf) -> StateFile {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let known = decoded(&bytes, boot()).unwrap_or_default();
        StateFile { path, known: RwLock::new(known), is_changed: AtomicBool::new(false) }
    }

    /// The id of a file's content, if it has not been touched since.
    pub fn get(&self, path: &str, stamp: Stamp) -> Option<String> {
        let known = self.known.read().unwrap_or_else(|poison| poison.into_inner());
        known
            .get(path)
            .filter(|known| known.stamp == stamp && known.trust != Trust::Doubtful)
            .map(|known| known.id.clone())
    }

    /// Remembers. `is_synced`: the content has been synced to the disk.
    pub fn set(&self, path: &str, stamp: Stamp, id: &str, is_synced: bool) {
        let mut known = self.known.write().unwrap_or_else(|poison| poison.into_inner());
        let before = known.get(path).filter(|known| known.stamp == stamp && known.id == id);
        let trust = match before.map(|known| known.trust) {
            Some(Trust::Disk | Trust::Doubtful) => Trust::Disk,
            _ if is_synced => Trust::Disk,
            _ => Trust::ThisBoot,
        };
        known.insert(path.to_owned(), Known { stamp, trust, id: id.to_owned() });
        self.is_changed.store(true, Ordering::Relaxed);
    }

    /// Whether a file was torn when the machine went down: nobody has touched it since it had another content.
    pub fn is_torn(&self, path: &str, stamp: Stamp, id: &str) -> bool {
        let known = self.known.read().unwrap_or_else(|poison| poison.into_inner());
        known.get(path).is_some_and(|known| {
            let untouched = Stamp { size: known.stamp.size, ..stamp } == known.stamp;
            known.trust == Trust::Doubtful && untouched && (known.stamp.size != stamp.size || known.id != id)
        })
    }

    /// Writes the file, if there is something new to write.
    pub fn save(&self) -> Result<()> {
        if !self.is_changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let known = self.known.read().unwrap_or_else(|poison| poison.into_inner());
        crate::write::make_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        crate::write::write(&self.path, &encoded(&known, boot()))
    }
}

/// What tells one run of the system from the next; nothing where the system does not say.
fn boot() -> Option<[u8; BOOT]> {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    text.get(..BOOT)?.try_into().ok()
}

fn encoded(known: &HashMap<String, Known>, boot: Option<[u8; BOOT]>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(boot.unwrap_or([0; BOOT]));
    for (path, Known { stamp, trust, id }) in known {
        bytes.extend((path.len() as u32).to_le_bytes());
        bytes.extend(path.as_bytes());
        for number in [stamp.size, stamp.inode, stamp.modified as u64, stamp.changed as u64] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.push(*trust as u8);
        bytes.extend(id.as_bytes());
    }
    bytes
}

fn decoded(bytes: &[u8], boot: Option<[u8; BOOT]>) -> Option<HashMap<String, Known>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (then, mut rest) = rest.split_at_checked(BOOT)?;
    let is_this_boot = boot.is_some_and(|boot| boot == then);
    // An entry takes some 120 bytes.
    let mut known = HashMap::with_capacity(rest.len() / 96);
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let path = std::str::from_utf8(rest.get(4..4 + length)?).ok()?.to_owned();
        let numbers = rest.get(4 + length..36 + length)?;
        let number = |index: usize| numbers[index * 8..index * 8 + 8].try_into().map(u64::from_le_bytes).ok();
        let stamp =
            Stamp { size: number(0)?, inode: number(1)?, modified: number(2)? as i64, changed: number(3)? as i64 };
        let trust = match rest.get(36 + length)? {
            0 => Trust::Disk,
            1 if is_this_boot => Trust::ThisBoot,
            1 | 2 => Trust::Doubtful,
            _ => return None,
        };
        let id = std::str::from_utf8(rest.get(37 + length..69 + length)?).ok()?.to_owned();
        known.insert(path, Known { stamp, trust, id });
        rest = &rest[69 + length..];
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { size: 5, inode: 7, modified: -3, changed: 9 };
    const ID: &str = "d41d8cd98f00b204e9800998ecf8427e";

    const OTHER: &str = "00000000000000000000000000000000";

    fn state() -> StateFile {
        StateFile { path: PathBuf::new(), known: RwLock::default(), is_changed: AtomicBool::new(false) }
    }

    /// What is there after the system has gone down and come up again.
    fn after_boot(state: &StateFile, from: u8, to: u8) -> StateFile {
        let bytes = encoded(&state.known.read().unwrap(), Some([from; BOOT]));
        let known = RwLock::new(decoded(&bytes, Some([to; BOOT])).unwrap());
        StateFile { known, ..self::state() }
    }

    #[test]
    fn what_was_not_synced_is_read_again_after_a_boot_and_then_known_for_good() {
        let state = state();
        state.set("copy", STAMP, ID, false);
        state.set("synced", STAMP, ID, true);
        let same = after_boot(&state, 1, 1);
        assert_eq!(same.get("copy", STAMP).as_deref(), Some(ID));
        let next = after_boot(&state, 1, 2);
        assert_eq!(next.get("copy", STAMP), None);
        assert_eq!(next.get("synced", STAMP).as_deref(), Some(ID));
        // With another content or length under the same times it was torn, unless somebody has touched it.
        let (short, touched) = (Stamp { size: 0, ..STAMP }, Stamp { changed: 10, ..STAMP });
        assert!(next.is_torn("copy", STAMP, OTHER) && next.is_torn("copy", short, OTHER));
        assert!(!next.is_torn("copy", STAMP, ID) && !next.is_torn("copy", touched, OTHER));
        assert!(!same.is_torn("copy", STAMP, OTHER) && !next.is_torn("synced", STAMP, OTHER));
        // Not read again in that boot: as doubtful in the same one and in the next.
        let again = after_boot(&next, 2, 2);
        assert_eq!(again.get("copy", STAMP), None);
        again.set("copy", STAMP, ID, false);
        assert_eq!(after_boot(&again, 2, 3).get("copy", STAMP).as_deref(), Some(ID));
        // Another content under the same stamp is as new.
        next.set("copy", STAMP, OTHER, false);
        assert_eq!(after_boot(&next, 2, 3).get("copy", STAMP), None);
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let state = state();
        state.set("a", STAMP, ID, true);
        let bytes = encoded(&state.known.read().unwrap(), None);
        assert_eq!(decoded(&bytes, None).unwrap().len(), 1);
        for length in 0..bytes.len() {
            let found = decoded(&bytes[..length], None);
            assert!(found.is_none_or(|known| known.is_empty()), "{length}");
        }
    }
}
