//! How the workspace and the cache stand to what is recorded.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::pointer::Output;
use crate::{Repository, Result, Tracked, Watch};

/// How one tracked path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As recorded, in the workspace and in the cache.
    Clean,
    /// Never taken in.
    New,
    /// The workspace has another content.
    Modified,
    /// The workspace has nothing.
    Deleted,
    /// The recorded content is not, or not whole, in the cache.
    NotInCache,
}

impl State {
    /// DVC's word for it.
    pub fn name(self) -> &'static str {
        match self {
            State::Clean => "clean",
            State::New => "new",
            State::Modified => "modified",
            State::Deleted => "deleted",
            State::NotInCache => "not in cache",
        }
    }
}

/// A tracked path and how it stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// What is tracked.
    pub tracked: Tracked,
    /// How it stands.
    pub state: State,
}

/// Tracked data that a path has to do with.
#[derive(Clone, Debug)]
pub struct Covering {
    /// What is tracked.
    pub tracked: Tracked,
    /// How the workspace stands to what is recorded; never [`State::NotInCache`].
    pub state: State,
    /// The id of what is in the workspace.
    pub id: Option<String>,
}

impl Repository {
    /// Compares the workspace with what is recorded. Changes nothing but the memory of what was read.
    pub fn status(&self, targets: &[PathBuf], watch: &Watch) -> Result<Vec<Status>> {
        let mut result = Vec::new();
        for tracked in self.targets(targets)? {
            result.push(Status { state: self.state_of(&tracked, watch)?, tracked });
        }
        self.state.save()?;
        Ok(result)
    }

    /// The tracked data that lies at, in or around a path, and how the workspace stands to what is recorded, whatever the cache has.
    pub fn covering(&self, path: &Path, watch: &Watch) -> Result<Vec<Covering>> {
        let path = self.absolute(path)?;
        let mut found = Vec::new();
        for tracked in self.tracked()? {
            if !path.starts_with(&tracked.path) && !tracked.path.starts_with(&path) {
                continue;
            }
            let id = self.content(self.find(&tracked.path)?, tracked.output.is_legacy, watch)?.id();
            let state = match (&tracked.output.md5, &id) {
                (_, None) => State::Deleted,
                (None, _) => State::New,
                (Some(recorded), Some(id)) if recorded == id => State::Clean,
                _ => State::Modified,
            };
            found.push(Covering { tracked, state, id });
        }
        self.state.save()?;
        Ok(found)
    }

    fn state_of(&self, tracked: &Tracked, watch: &Watch) -> Result<State> {
        let output = &tracked.output;
        let (has_all, found) = rayon::join(|| self.has_all(output, watch), || self.find(&tracked.path));
        if output.md5.is_some() && output.is_cached && !has_all? {
            return Ok(State::NotInCache);
        }
        let id = self.content(found?, output.is_legacy, watch)?.id();
        Ok(match (&output.md5, id) {
            (_, None) => State::Deleted,
            (None, Some(_)) => State::New,
            (Some(recorded), Some(id)) if *recorded == id => State::Clean,
            _ => State::Modified,
        })
    }

    /// Whether the cache has an output's content: the object, of a folder also its files'.
    pub(crate) fn has_all(&self, output: &Output, watch: &Watch) -> Result<bool> {
        let Some(id) = &output.md5 else { return Ok(false) };
        if !self.cache.has(id, output.is_legacy, watch)? {
            return Ok(false);
        }
        if !output.is_directory() {
            return Ok(true);
        }
        let Some(directory) = self.cache.directory(id, output.is_legacy)? else { return Ok(false) };
        let missing = directory.entries.par_iter().find_map_any(|entry| {
            match self.cache.has(&entry.md5, output.is_legacy, watch) {
                Ok(true) => None,
                other => Some(other),
            }
        });
        missing.unwrap_or(Ok(true))
    }
}
