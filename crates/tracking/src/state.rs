//! How far a run's outbox is shipped, and under which ids: `tracking/position.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::queue::Position;
use crate::record::{Artifact, Digest};

/// Name of the tracking folder in a run's folder.
pub const FOLDER: &str = "tracking";
const FILE: &str = "position.json";

/// What was shipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Points of metrics.
    pub metrics: u64,
    /// Settings.
    pub params: u64,
    /// Tags.
    pub tags: u64,
    /// Files and pictures.
    pub artifacts: u64,
    /// Entries that the server refused; they are listed in `tracking/refused.jsonl`.
    pub refused: u64,
    /// Lines of the outbox that were damaged.
    pub damaged: u64,
}

/// How far things are. Written after the server has acknowledged, so a crash repeats but never leaves out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The server, without credentials.
    pub tracking_uri: Option<String>,
    /// The experiment's id.
    pub experiment_id: Option<String>,
    /// The run's id.
    pub run_id: Option<String>,
    /// Where its artifacts belong.
    pub artifact_uri: Option<String>,
    /// Creations that were begun and perhaps done: `run`, or a model's name. The server is asked before they are tried again.
    pub begun: BTreeSet<String>,
    /// Everything before it is shipped.
    pub position: Position,
    /// What was shipped.
    pub counts: Counts,
    /// Params on the server; they cannot be changed there.
    pub params: BTreeMap<String, String>,
    /// Files that still change, by their place among the artifacts; they are shipped at the end.
    pub changing: BTreeMap<String, Artifact>,
    /// What those held when they were shipped last.
    pub uploaded: BTreeMap<String, Digest>,
    /// Ids of logged models by name.
    pub models: BTreeMap<String, String>,
    /// The status that the server was told last.
    pub status: Option<String>,
}

impl State {
    /// Reads a run's state; an empty one where nothing was shipped yet.
    ///
    /// # Errors
    /// A file that cannot be read or makes no sense.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = path(folder);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
                path,
                problem: format!("not the position of an outbox: {error}"),
                hint: "delete the file: the outbox is then shipped again from its start, which doubles nothing but models",
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(source) => Err(Error::read(path, source)),
        }
    }

    /// Writes it whole or not at all. `durable` also outlasts a crash of the machine: for ids, which cannot be asked for twice.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path, durable: bool) -> Result<(), Error> {
        let path = path(folder);
        let temporary = folder.join(format!(".{FILE}.tmp"));
        let text = serde_json::to_vec(self).unwrap_or_default();
        let written = File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(&text)?;
                if durable { file.sync_all() } else { Ok(()) }
            })
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|source| {
            let _ = fs::remove_file(&temporary);
            Error::write(path, source)
        })
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Keeps two processes from shipping the same outbox. Goes when it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a tracking folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process has it.
    pub fn take(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
        let path = folder.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|source| Error::write(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::Busy { folder: folder.parent().unwrap_or(folder).to_owned() })
            }
            // A file system without locks: better to go on than not to track at all.
            Err(fs::TryLockError::Error(_)) => Ok(Lock { _file: file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_a_lock_holds() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), State::default());
        let state =
            State { run_id: Some("r".into()), position: Position { segment: 2, offset: 7 }, ..State::default() };
        state.save(folder.path(), true).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), state);
        fs::write(folder.path().join(FILE), "{").unwrap();
        let text = State::load(folder.path()).unwrap_err().to_string();
        assert!(text.contains("not the position of an outbox"), "{text}");
        let lock = Lock::take(folder.path()).unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(Error::Busy { .. })));
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }
}
