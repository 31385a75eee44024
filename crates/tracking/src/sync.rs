//! What of a run is not on the server yet, and sending it: after a training, or from another machine.

use std::path::{Path, PathBuf};

use crate::queue::{self, Position};
use crate::record::Record;
use crate::shipper::{Shipper, Step};
use crate::state::{Counts, FOLDER, Lock, State};
use crate::tracker::chance;
use crate::{Environment, Error, RetryPolicy};

/// What is not shipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// Lines of the outbox.
    pub records: u64,
    /// Points of metrics.
    pub metrics: u64,
    /// Settings.
    pub params: u64,
    /// Tags.
    pub tags: u64,
    /// Files, pictures and models.
    pub artifacts: u64,
}

/// A run's standing.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunStatus {
    /// Its folder.
    pub folder: PathBuf,
    /// The server, without credentials; none where none was known yet.
    pub tracking_uri: Option<String>,
    /// The experiment's id there.
    pub experiment_id: Option<String>,
    /// The run's id there.
    pub run_id: Option<String>,
    /// What the server was told last: `FINISHED`, `FAILED`, `KILLED`; none while it runs.
    pub status: Option<String>,
    /// Whether a training or another `sync` ships it just now.
    pub is_busy: bool,
    /// What is not shipped.
    pub left: Left,
    /// What is.
    pub shipped: Counts,
}

/// Folders of tracked runs: `path` itself, or those in it.
///
/// # Errors
/// A folder that cannot be read.
pub fn find_runs(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.join(FOLDER).is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|source| Error::read(path, source))?.flatten() {
        if entry.path().join(FOLDER).is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// A run's standing.
///
/// # Errors
/// [`Error::NoOutbox`], and files that cannot be read.
pub fn status(run_folder: &Path) -> Result<RunStatus, Error> {
    let folder = run_folder.join(FOLDER);
    if !folder.is_dir() {
        return Err(Error::NoOutbox { folder: run_folder.to_owned() });
    }
    let is_busy = matches!(Lock::take(&folder), Err(Error::Busy { .. }));
    let state = State::load(&folder)?;
    let mut left = Left::default();
    let mut tracking_uri = state.tracking_uri.clone();
    for entry in queue::read(&folder, state.position, usize::MAX)? {
        left.records += 1;
        match entry.record {
            Some(Record::Metrics { metrics }) => left.metrics += metrics.len() as u64,
            Some(Record::Params { params }) => left.params += params.len() as u64,
            Some(Record::Tags { tags }) => left.tags += tags.len() as u64,
            Some(Record::Artifact(_) | Record::Image(_) | Record::Model(_)) => left.artifacts += 1,
            Some(Record::Start(start)) => tracking_uri = tracking_uri.or(start.tracking_uri),
            _ => {}
        }
    }
    Ok(RunStatus {
        folder: run_folder.to_owned(),
        tracking_uri,
        experiment_id: state.experiment_id,
        run_id: state.run_id,
        status: state.status,
        is_busy,
        left,
        shipped: state.counts,
    })
}

/// Ships what is left of a run. `tell` hears of pauses and of what is worth knowing; `stop` ends it between two calls.
///
/// # Errors
/// [`Error::Busy`] while a training ships it, and the way's last error after as many repetitions as the environment says.
pub fn sync(
    run_folder: &Path,
    environment: &Environment,
    uri: Option<&str>,
    mut tell: impl FnMut(&str),
    stop: impl Fn() -> bool,
) -> Result<RunStatus, Error> {
    let folder = run_folder.join(FOLDER);
    if !folder.is_dir() {
        return Err(Error::NoOutbox { folder: run_folder.to_owned() });
    }
    let lock = Lock::take(&folder)?;
    let policy = RetryPolicy::of(environment);
    let mut shipper = Shipper::open(run_folder, environment, uri)?;
    let mut failures = 0;
    while !stop() {
        // A run that broke off never said that it was over; nobody writes its files any more.
        let step = shipper.step().and_then(|step| match step {
            Step::Shipped => Ok(step),
            Step::Idle => shipper.ship_remainder().map(|()| step),
        });
        shipper.take_notes().iter().for_each(|note| tell(note));
        match step {
            Ok(Step::Shipped) => failures = 0,
            Ok(Step::Idle) => break,
            Err(error) if error.is_passing() && failures < policy.most => {
                let pause = policy.pause(failures, chance(), error.retry_after());
                failures += 1;
                tell(&format!("{}; trying again in {:.1} s", error.headline(), pause.as_secs_f64()));
                let end = std::time::Instant::now() + pause;
                while std::time::Instant::now() < end && !stop() {
                    std::thread::sleep(pause.min(std::time::Duration::from_millis(50)));
                }
            }
            Err(error) => return Err(error),
        }
    }
    drop(lock);
    status(run_folder)
}

/// Deletes what an outbox holds of a run that is shipped: its own files only.
pub(crate) fn forget(folder: &Path) -> Result<(), Error> {
    queue::drop_shipped(folder, Position { segment: u64::MAX, offset: 0 })?;
    for name in ["position.json", "refused.jsonl"] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::write(path, error)),
            _ => {}
        }
    }
    Ok(())
}
