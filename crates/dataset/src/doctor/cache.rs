//! What was found out about pictures, kept from one time to the next. A picture whose length and time are as they were is not
//! read again.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::fingerprint::{View, digest};
use crate::write::write_atomically;
use crate::{Check, Finding};

/// First line of a cache file: the format's name and version.
const HEADER: &str = "yolo11 picture facts 1";

/// What is known of one picture's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub length: u64,
    /// Nanoseconds since 1970; 0 where the system does not tell.
    pub modified: u128,
    pub digest: Option<u128>,
    pub view: Option<View>,
}

/// The facts of one data set's pictures.
pub(crate) struct FactCache {
    file: Option<PathBuf>,
    known: HashMap<PathBuf, Facts>,
    /// Those of this time, in order of their paths; others are forgotten.
    kept: BTreeMap<PathBuf, Facts>,
}

impl FactCache {
    /// The cache of a data set in this folder. What cannot be read is as if it were not there.
    pub fn open(folder: Option<&Path>, description: &Path) -> Self {
        let file = folder.map(|folder| {
            let whole = fs::canonicalize(description).unwrap_or_else(|_| description.to_path_buf());
            folder.join(format!("{:032x}.facts", digest(whole.as_os_str().as_encoded_bytes())))
        });
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let mut lines = text.lines();
        let known = match lines.next() == Some(HEADER) {
            true => lines.filter_map(parse).collect(),
            false => HashMap::new(),
        };
        Self { file, known, kept: BTreeMap::new() }
    }

    /// What is known of this file as it is now.
    pub fn lookup(&self, path: &Path) -> Facts {
        let Ok(metadata) = fs::metadata(path) else { return Facts::default() };
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_nanos());
        let length = metadata.len();
        let known = self
            .known
            .get(&absolute(path))
            .filter(|known| (known.length, known.modified) == (length, modified) && modified != 0);
        known.cloned().unwrap_or(Facts { length, modified, ..Facts::default() })
    }

    /// Keeps what is known now.
    pub fn keep(&mut self, path: &Path, facts: &Facts) {
        if self.file.is_some() && (facts.digest.is_some() || facts.view.is_some()) {
            self.kept.insert(absolute(path), facts.clone());
        }
    }

    /// Writes what changed.
    pub fn save(self) -> Result<(), Box<Finding>> {
        let Some(file) = self.file else { return Ok(()) };
        let unchanged = self.kept.len() == self.known.len()
            && self.kept.iter().all(|(path, facts)| self.known.get(path) == Some(facts));
        if unchanged {
            return Ok(());
        }
        let mut text = format!("{HEADER}\n");
        for (path, facts) in &self.kept {
            // A name with a line break, or that is no text, is looked at each time.
            let Some(path) = path.to_str().filter(|path| !path.contains(['\n', '\r'])) else { continue };
            let _ = write!(text, "{} {} ", facts.length, facts.modified);
            let _ = match facts.digest {
                Some(digest) => write!(text, "{digest:032x} "),
                None => write!(text, "- "),
            };
            let _ = match facts.view {
                Some(view) => {
                    let _ = write!(text, "{:016x}", view.bits);
                    view.fields.iter().for_each(|field| {
                        let _ = write!(text, "{field:02x}");
                    });
                    write!(text, "{} ", u8::from(view.flat))
                }
                None => write!(text, "- "),
            };
            let _ = writeln!(text, "{path}");
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder).and_then(|()| write_atomically(&file, text.as_bytes()));
        written.map_err(|error| {
            let message = format!("cannot be written, so the next check takes as long: {error}");
            Box::new(Finding::new(Check::Cache, file, message))
        })
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn parse(line: &str) -> Option<(PathBuf, Facts)> {
    let mut parts = line.splitn(5, ' ');
    let mut next = || parts.next();
    let length = next()?.parse().ok()?;
    let modified = next()?.parse().ok()?;
    let digest = match next()? {
        "-" => None,
        digits => Some(u128::from_str_radix(digits, 16).ok()?),
    };
    let view = match next()? {
        "-" => None,
        digits if digits.len() == 16 + 128 + 1 && digits.is_ascii() => {
            let mut fields = [0; 64];
            for (index, field) in fields.iter_mut().enumerate() {
                *field = u8::from_str_radix(&digits[16 + 2 * index..18 + 2 * index], 16).ok()?;
            }
            let bits = u64::from_str_radix(&digits[..16], 16).ok()?;
            Some(View { bits, fields, flat: &digits[144..] == "1" })
        }
        _ => return None,
    };
    Some((PathBuf::from(next()?), Facts { length, modified, digest, view }))
}

/// Where caches of this program belong on this system: `$XDG_CACHE_HOME/yolo11`, `~/.cache/yolo11`; None where the system names no
/// such place.
pub fn default_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| {
        if cfg!(windows) { variable("LOCALAPPDATA") } else { variable("HOME").map(|home| home.join(".cache")) }
    });
    base.map(|base| base.join("yolo11"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (description, picture) = (folder.path().join("dataset.yaml"), folder.path().join("a b.jpg"));
        fs::write(&picture, "12345").unwrap();
        let place = folder.path().join("cache");
        let mut cache = FactCache::open(Some(&place), &description);
        let view =
            View { bits: 0x00ff_1234_5678_9abc, fields: std::array::from_fn(|index| index as u8 * 3), flat: true };
        let facts = Facts { digest: Some(7), view: Some(view), ..cache.lookup(&picture) };
        cache.keep(&picture, &facts);
        cache.save().unwrap();
        assert_eq!(FactCache::open(Some(&place), &description).lookup(&picture), facts);
        fs::write(&picture, "123456").unwrap();
        let again = FactCache::open(Some(&place), &description).lookup(&picture);
        assert_eq!((again.length, again.digest, again.view), (6, None, None));
        // Nonsense is as nothing.
        let file = fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
        fs::write(&file, format!("{HEADER}\n6 1 zz - x\n\n1 2\n")).unwrap();
        assert!(FactCache::open(Some(&place), &description).known.is_empty());
    }
}
