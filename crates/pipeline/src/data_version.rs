//! Which version of the data a run is on: brought here where it is missing, and told.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use yolo11_tracking::git;
use yolo11_versioning::{Address, Covering, Progress, Repository, State, Watch, fetch_once};

use crate::{Announcer, Error, Event};

/// What is known of the version of a run's data. Nothing, where it is not versioned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataVersion {
    /// What `data=` said, where the data came from elsewhere.
    pub source: Option<String>,
    /// The git commit of the repository that holds the data.
    pub revision: Option<String>,
    /// What is tracked, each once.
    pub tracked: Vec<TrackedData>,
}

/// A file or folder that DVC tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedData {
    /// Where it stands in its repository.
    pub path: String,
    /// The id of its content as it is here.
    pub md5: String,
    /// Whether that is not what is recorded.
    pub is_modified: bool,
}

/// Where data from elsewhere is kept: `YOLO11_CACHE`, else the user's cache folder.
fn cache_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || variable("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    variable("YOLO11_CACHE").unwrap_or_else(|| home().unwrap_or_else(std::env::temp_dir).join("yolo11"))
}

/// Fetches data from elsewhere once into the cache folder. Returns its description's path.
pub fn fetch(
    data: &str,
    address: &Address,
    announcer: &mut Announcer,
    stop: &AtomicBool,
) -> Result<(PathBuf, DataVersion), Error> {
    let cache = cache_folder();
    std::fs::create_dir_all(&cache).map_err(|source| Error::Write { path: cache.clone(), source })?;
    let fetched = watched(announcer, stop, |watch| fetch_once(address, &cache, watch))?;
    let source = yolo11_tracking::secret::mask_addresses(data);
    let what = match fetched.fetched {
        0 => "was fetched before".to_owned(),
        count => format!("{count} files fetched"),
    };
    let at = fetched.revision.as_ref().map(|commit| format!(", commit {}", short(commit))).unwrap_or_default();
    announcer.note(format!("data       {source}: {what}{at}"))?;
    let tracked = fetched.digest.map(|md5| TrackedData { path: source.clone(), md5, is_modified: false });
    let version =
        DataVersion { source: Some(source), revision: fetched.revision, tracked: tracked.into_iter().collect() };
    Ok((fetched.path, version))
}

impl DataVersion {
    /// Takes up what DVC tracks at a path; what is missing is pulled, or refused with the command that pulls it.
    pub fn look_at(
        &mut self,
        path: &Path,
        auto_pull: bool,
        announcer: &mut Announcer,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let Some(root) = Repository::root_of(path) else { return Ok(()) };
        let repository = Repository::open(&root)?;
        for mut item in watched(announcer, stop, |watch| repository.covering(path, watch))? {
            let name = repository.shown(&item.tracked.path);
            if self.tracked.iter().any(|known| known.path == name) {
                continue;
            }
            if item.state == State::Deleted {
                item = bring(&repository, item, auto_pull, announcer, stop)?;
            }
            let is_modified = item.state != State::Clean;
            self.tracked.extend(item.id.map(|md5| TrackedData { path: name, md5, is_modified }));
            if self.revision.is_none() {
                let commit = git::state_of(&root).map(|state| state.commit);
                self.revision = commit.filter(|commit| !commit.is_empty());
            }
        }
        Ok(())
    }

    /// Says it: which content, of which commit, and what is not as recorded.
    pub fn announce(&self, announcer: &mut Announcer) -> Result<(), Error> {
        for data in &self.tracked {
            let at = self.revision.as_ref().map(|commit| format!(", commit {}", short(commit))).unwrap_or_default();
            announcer.note(format!("data       {} is {}{at}", data.path, data.md5))?;
            if data.is_modified {
                announcer.warn(format!(
                    "{} is not as {}.dvc records it; `yolo11 data add {}` would record it",
                    data.path, data.path, data.path
                ))?;
            }
        }
        Ok(())
    }

    /// The tags of a run on this data.
    pub fn tags(&self) -> Vec<(String, String)> {
        let mut tags = Vec::new();
        let mut add = |name: &str, value: String| tags.push((format!("yolo11.{name}"), value));
        match &self.tracked[..] {
            [] => {}
            [data] => add("data_digest", data.md5.clone()),
            several => {
                let each: Vec<String> = several.iter().map(|data| format!("{}: {}", data.path, data.md5)).collect();
                add("data_digest", each.join(", "));
            }
        }
        if let Some(revision) = &self.revision {
            add("data_revision", revision.clone());
        }
        if let Some(source) = &self.source {
            add("data_source", source.clone());
        }
        if !self.tracked.is_empty() {
            add("data_modified", self.tracked.iter().any(|data| data.is_modified).to_string());
        }
        tags
    }

    /// For the run's folder; nothing where nothing is known.
    pub fn to_json(&self) -> Option<Value> {
        let tracked: Vec<Value> = self
            .tracked
            .iter()
            .map(|data| json!({ "path": data.path, "md5": data.md5, "modified": data.is_modified }))
            .collect();
        (*self != DataVersion::default())
            .then(|| json!({ "source": self.source, "revision": self.revision, "tracked": tracked }))
    }
}

/// Work on versioned data whose progress is announced.
fn watched<T>(
    announcer: &mut Announcer,
    stop: &AtomicBool,
    work: impl FnOnce(&Watch) -> yolo11_versioning::Result<T>,
) -> yolo11_versioning::Result<T> {
    let hearing = Mutex::new(announcer);
    let hear = |progress: &Progress| {
        // Observers only show it: none has a reason to stop the work.
        let _ = hearing.lock().unwrap_or_else(PoisonError::into_inner).announce(&Event::DataMoved(progress));
    };
    let done = work(&Watch::new(stop, &hear));
    let _ = hearing.into_inner().unwrap_or_else(PoisonError::into_inner).announce(&Event::DataRests);
    done
}

fn bring(
    repository: &Repository,
    item: Covering,
    auto_pull: bool,
    announcer: &mut Announcer,
    stop: &AtomicBool,
) -> Result<Covering, Error> {
    let path = item.tracked.path.clone();
    let name = repository.shown(&path);
    if !auto_pull {
        return Err(Error::Setup {
            message: format!("`{name}` is versioned but not here, and auto_pull=false"),
            hint: format!("fetch it: (cd '{}' && yolo11 data pull '{name}')", repository.root().display()),
        });
    }
    let targets = [path.clone()];
    // What the cache has needs no remote.
    let checkout =
        |announcer: &mut Announcer| watched(announcer, stop, |watch| repository.checkout(&targets, false, watch));
    let done = match checkout(announcer) {
        Ok(done) => done,
        Err(yolo11_versioning::Error::Stopped) => return Err(yolo11_versioning::Error::Stopped.into()),
        Err(_) => {
            announcer.note(format!("data       {name} is not here; fetching it"))?;
            watched(announcer, stop, |watch| repository.fetch(&targets, None, watch))?;
            checkout(announcer)?
        }
    };
    let files: usize = done.iter().map(|done| done.written).sum();
    announcer.note(format!("data       {name}: {files} files put in place"))?;
    let found = watched(announcer, stop, |watch| repository.covering(&path, watch))?;
    Ok(found.into_iter().find(|found| found.tracked.path == path).unwrap_or(item))
}

fn short(commit: &str) -> &str {
    &commit[..commit.len().min(10)]
}
