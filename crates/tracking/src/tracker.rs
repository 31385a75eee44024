//! What a training holds: takes everything in at once, ships it on a thread of its own.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::queue::{self, Position, Writer};
use crate::record::{
    Artifact, DatasetInput, LONGEST_PARAM, LONGEST_TAG, MOST_METRICS, MOST_PAIRS, Metric, ModelRecord, Record,
    RunStart, SeriesImage, clean_name, cut,
};
use crate::shipper::{Shipper, Step};
use crate::state::{FOLDER, Lock, State};
use crate::system::Sampler;
use crate::{Environment, Error, RetryPolicy, digest_of};

/// Pause in which records gather into a batch.
const GATHER: Duration = Duration::from_millis(1000);

/// Longest time that a record is not yet synced to the disk.
const SYNC: Duration = Duration::from_millis(300);

/// Time between two samples of the system's metrics.
const SAMPLE: Duration = Duration::from_secs(10);

/// How a run is tracked.
#[derive(Clone, Debug)]
pub struct TrackerOptions {
    /// The environment: server, credentials, time limits.
    pub environment: Environment,
    /// The server, where it is not the one of the run's start.
    pub uri: Option<String>,
    /// Whether CPU, memory, disk, network and GPU are tracked every 10 seconds.
    pub system_metrics: bool,
    /// Whether an outbox that is there belongs to this run and goes on.
    pub resume: bool,
}

/// Whether a file may still change after it was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stays as it is: shipped as soon as its turn comes.
    AsItIs,
    /// It changes: what it holds at the end of the run is shipped.
    UntilTheEnd,
    /// It may change: a copy of what it holds now is shipped.
    Copy,
}

/// Takes in what is to be tracked. No call waits for the server or fails; what goes wrong is told by [`Tracker::notes`].
pub struct Tracker {
    run_folder: PathBuf,
    shared: Arc<Shared>,
    housekeeper: Option<std::thread::JoinHandle<()>>,
    start_time: i64,
    has_server: bool,
}

struct Shared {
    folder: PathBuf,
    writer: Mutex<Writer>,
    signal: Mutex<Signal>,
    changed: Condvar,
    notes: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Signal {
    /// Records in the outbox, those shipped included.
    appended: u64,
    /// Records that are shipped.
    shipped: u64,
    /// Whether the disk holds less than the outbox.
    is_dirty: bool,
    /// Whether someone waits for the end of shipping.
    is_urgent: bool,
    is_stopped: bool,
    is_sampling: bool,
    write_failed: bool,
    run: Option<(String, String, String)>,
    last_error: Option<String>,
}

impl Tracker {
    /// Begins to track a run in its folder, or goes on with it.
    ///
    /// # Errors
    /// A folder that cannot be written to, or an outbox that another process ships.
    pub fn open(run_folder: &Path, start: RunStart, options: &TrackerOptions) -> Result<Self, Error> {
        let folder = run_folder.join(FOLDER);
        let lock = Lock::take(&folder)?;
        let mut notes = Vec::new();
        let mut backlog = queue::read(&folder, State::load(&folder)?.position, usize::MAX)?;
        let mut goes_on = State::load(&folder)?.run_id.is_some() || !backlog.is_empty();
        if goes_on && !options.resume {
            notes.extend(set_aside(run_folder, &folder, !backlog.is_empty())?);
            (goes_on, backlog) = (false, Vec::new());
        }
        let writer = Writer::open(&folder)?;
        let earlier = State::load(&folder)?.tracking_uri;
        let has_server = options.uri.is_some() || start.tracking_uri.is_some() || earlier.is_some();
        let (start_time, now) = (start.start_time, now());
        let signal = Signal {
            appended: backlog.len() as u64,
            is_sampling: options.system_metrics,
            run: State::load(&folder)?.run_id.map(|id| (id, String::new(), String::new())),
            ..Signal::default()
        };
        let shared = Arc::new(Shared {
            writer: Mutex::new(writer),
            signal: Mutex::new(signal),
            changed: Condvar::new(),
            notes: Mutex::new(notes),
            folder: folder.clone(),
        });
        shared.append(&if goes_on { Record::Resume { timestamp: now } } else { Record::Start(start) });
        let shipper = Shipper::open(run_folder, &options.environment, options.uri.as_deref())?;
        let policy = RetryPolicy::of(&options.environment);
        let for_shipper = shared.clone();
        // Not joined: a call that hangs must not hold up the end of the program.
        let spawned = std::thread::Builder::new().name("tracking".into()).spawn(move || {
            let _lock = lock;
            ship(&for_shipper, shipper, policy);
        });
        spawned.map_err(|source| Error::write(&folder, source))?;
        let for_housekeeper = shared.clone();
        let disk = run_folder.to_owned();
        let housekeeper = std::thread::Builder::new()
            .name("tracking-disk".into())
            .spawn(move || keep_house(&for_housekeeper, &disk, start_time))
            .map_err(|source| Error::write(&folder, source))?;
        Ok(Tracker {
            run_folder: run_folder.to_owned(),
            shared,
            housekeeper: Some(housekeeper),
            start_time,
            has_server,
        })
    }

    /// Logs points of metrics.
    pub fn metrics(&self, metrics: &[Metric]) {
        let clean: Vec<Metric> =
            metrics.iter().map(|metric| Metric { key: clean_name(&metric.key), ..metric.clone() }).collect();
        for part in clean.chunks(MOST_METRICS) {
            self.shared.append(&Record::Metrics { metrics: part.to_vec() });
        }
    }

    /// Logs named values of one step, as of now.
    pub fn values<N: AsRef<str>>(&self, step: i64, values: &[(N, f64)]) {
        let timestamp = now();
        let metric =
            |(name, value): &(N, f64)| Metric { key: name.as_ref().to_owned(), value: *value, timestamp, step };
        self.metrics(&values.iter().map(metric).collect::<Vec<_>>());
    }

    /// Logs settings; secrets are masked, values that are too long are cut.
    pub fn params(&self, params: impl IntoIterator<Item = (String, String)>) {
        let clean = params.into_iter().map(|(name, value)| {
            let value = cut(&crate::secret::masked(&name, &value), LONGEST_PARAM);
            (clean_name(&name), value)
        });
        for params in clean.collect::<Vec<_>>().chunks(MOST_PAIRS) {
            self.shared.append(&Record::Params { params: params.to_vec() });
        }
    }

    /// Sets tags; secrets are masked, values that are too long are cut.
    pub fn tags(&self, tags: impl IntoIterator<Item = (String, String)>) {
        for tags in clean_tags(tags).chunks(MOST_PAIRS) {
            self.shared.append(&Record::Tags { tags: tags.to_vec() });
        }
    }

    /// Names the data.
    pub fn input(&self, input: DatasetInput) {
        self.shared.append(&Record::Input(input));
    }

    /// Keeps a file with the run, at `path` among its artifacts.
    pub fn artifact(&self, file: &Path, path: &str, keep: Keep) {
        let record = match keep {
            Keep::UntilTheEnd => {
                Ok(Artifact { file: self.named(file), path: path.to_owned(), digest: None, is_copy: false })
            }
            Keep::AsItIs => digest_of(file).map(|digest| Artifact {
                file: self.named(file),
                path: path.to_owned(),
                digest: Some(digest),
                is_copy: false,
            }),
            Keep::Copy => self.copy(file).and_then(|copy| {
                let digest = digest_of(&copy)?;
                Ok(Artifact { file: self.named(&copy), path: path.to_owned(), digest: Some(digest), is_copy: true })
            }),
        };
        match record {
            Ok(record) => self.shared.append(&Record::Artifact(record)),
            Err(error) => self.shared.tell(format!("{path} is not tracked: {}", error.headline())),
        }
    }

    /// Adds a picture (PNG, JPEG or WebP) to a series; a copy is taken.
    pub fn image(&self, file: &Path, key: &str, step: i64) {
        match self.copy(file) {
            Ok(copy) => self.shared.append(&Record::Image(SeriesImage {
                file: self.named(&copy),
                key: clean_name(key),
                step,
                timestamp: now(),
                id: unique_key(),
            })),
            Err(error) => self.shared.tell(format!("picture {key} is not tracked: {}", error.headline())),
        }
    }

    /// Logs a model and registers it where it says so.
    pub fn model(&self, model: ModelRecord) {
        let onnx = model.onnx.as_ref().map(|onnx| self.named(Path::new(onnx)));
        self.shared.append(&Record::Model(ModelRecord { file: self.named(Path::new(&model.file)), onnx, ..model }));
    }

    /// Says that the run is over: `FINISHED`, `FAILED` or `KILLED`.
    pub fn finish(&self, status: &str) {
        self.shared.signal().is_sampling = false;
        self.shared.append(&Record::Finish { status: status.to_owned(), end_time: now() });
        self.shared.sync();
    }

    /// What is worth telling since the last call.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.notes))
    }

    /// Records that are not on the server yet.
    pub fn remaining(&self) -> u64 {
        let signal = self.shared.signal();
        signal.appended.saturating_sub(signal.shipped)
    }

    /// Whether a server is known at all; without one there is nothing to wait for.
    pub fn has_server(&self) -> bool {
        self.has_server
    }

    /// Why shipping does not go on, where it does not.
    pub fn last_error(&self) -> Option<String> {
        self.shared.signal().last_error.clone()
    }

    /// The run's id, experiment and server, once they are known.
    pub fn run(&self) -> Option<(String, String, String)> {
        self.shared.signal().run.clone()
    }

    /// Milliseconds at which the run began.
    pub fn start_time(&self) -> i64 {
        self.start_time
    }

    /// Waits until everything is shipped, at most so long, or until `skip`. Gives what is left.
    pub fn wait(&self, longest: Duration, skip: impl Fn() -> bool) -> u64 {
        let deadline = Instant::now() + longest;
        let mut signal = self.shared.signal();
        signal.is_urgent = true;
        self.shared.changed.notify_all();
        loop {
            let left = signal.appended.saturating_sub(signal.shipped);
            let now = Instant::now();
            if left == 0 || now >= deadline || skip() {
                return left;
            }
            let pause = (deadline - now).min(Duration::from_millis(50));
            signal = match self.shared.changed.wait_timeout(signal, pause) {
                Ok((signal, _)) => signal,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// A file as records name it: below the run's folder where it lies there, so that the folder can be moved.
    fn named(&self, file: &Path) -> String {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (file, folder) = (absolute(file), absolute(&self.run_folder));
        let path = file.strip_prefix(&folder).unwrap_or(&file);
        path.components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/")
            .replace("//", "/")
    }

    /// A new place in the outbox for a file of its own, which is deleted when it is shipped.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn new_copy(&self, ending: &str) -> Result<PathBuf, Error> {
        let folder = self.shared.folder.join("copies");
        std::fs::create_dir_all(&folder).map_err(|source| Error::write(&folder, source))?;
        Ok(folder.join(format!("{}.{ending}", unique_key())))
    }

    fn copy(&self, file: &Path) -> Result<PathBuf, Error> {
        let copy = self.new_copy(&file.extension().unwrap_or_default().to_string_lossy())?;
        std::fs::copy(file, &copy).map_err(|source| Error::read(file, source))?;
        Ok(copy)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.shared.signal().is_stopped = true;
        self.shared.changed.notify_all();
        if let Some(housekeeper) = self.housekeeper.take() {
            let _ = housekeeper.join();
        }
        self.shared.sync();
    }
}

/// Tags as the server takes them.
pub(crate) fn clean_tags(tags: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let clean = |(name, value): (String, String)| {
        let value = cut(&crate::secret::masked(&name, &value), LONGEST_TAG);
        (clean_name(&name), value)
    };
    tags.into_iter().map(clean).collect()
}

/// Makes room for a new run in a folder that was used before: what is shipped goes, what is not is kept beside it.
fn set_aside(run_folder: &Path, folder: &Path, is_unshipped: bool) -> Result<Option<String>, Error> {
    let keep = (1..).map(|number| run_folder.join(format!("{FOLDER}-{number}"))).find(|path| !path.exists());
    let Some(keep) = keep.filter(|_| is_unshipped) else {
        return crate::sync::forget(folder).map(|()| None);
    };
    std::fs::create_dir_all(&keep).map_err(|source| Error::write(&keep, source))?;
    for entry in std::fs::read_dir(folder).map_err(|source| Error::read(folder, source))?.flatten() {
        // The lock is held and stays.
        if entry.file_name() != "lock" {
            let target = keep.join(entry.file_name());
            std::fs::rename(entry.path(), &target).map_err(|source| Error::write(&target, source))?;
        }
    }
    Ok(Some(format!("an earlier run's outbox that was never shipped was moved to {}", keep.display())))
}

impl Shared {
    fn signal(&self) -> MutexGuard<'_, Signal> {
        lock(&self.signal)
    }

    fn tell(&self, note: String) {
        lock(&self.notes).push(note);
    }

    fn append(&self, record: &Record) {
        let result = lock(&self.writer).append(record);
        let mut signal = self.signal();
        signal.appended += 1;
        signal.is_dirty = true;
        let told = std::mem::replace(&mut signal.write_failed, result.is_err());
        drop(signal);
        self.changed.notify_all();
        if let (Err(error), false) = (result, told) {
            self.tell(format!("{}; what is tracked waits in memory", error.headline()));
        }
    }

    fn sync(&self) {
        self.signal().is_dirty = false;
        let file = {
            let mut writer = lock(&self.writer);
            let _ = writer.write_waiting();
            writer.file_to_sync()
        };
        // Outside the lock: the training goes on appending while the disk works.
        if let Ok(file) = file {
            let _ = file.sync_data();
        }
    }

    /// Waits for a change, at most so long.
    fn pause(&self, longest: Duration, goes_on: impl Fn(&Signal) -> bool) {
        let deadline = Instant::now() + longest;
        let mut signal = self.signal();
        while !signal.is_stopped && goes_on(&signal) {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            signal = match self.changed.wait_timeout(signal, left) {
                Ok((signal, _)) => signal,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Ships until the tracker goes.
fn ship(shared: &Shared, mut shipper: Shipper, policy: RetryPolicy) {
    let mut failures = 0;
    let mut told: Option<bool> = None;
    loop {
        let appended = shared.signal().appended;
        if shared.signal().is_stopped {
            return;
        }
        let before = shipper.position();
        let result = shipper.step();
        let held_up = lock(&shared.writer).is_held_up();
        for note in shipper.take_notes() {
            shared.tell(note);
        }
        match result {
            Ok(Step::Shipped) => {
                if told.take().is_some() {
                    shared.tell("the tracking server answers again; what was missed is on its way".to_owned());
                }
                failures = 0;
                let behind = count_between(&shipper, before);
                let mut signal = shared.signal();
                signal.shipped += behind;
                signal.last_error = None;
                signal.run = run_of(&shipper);
                drop(signal);
                shared.changed.notify_all();
            }
            Ok(Step::Idle) => {
                let mut signal = shared.signal();
                // What the outbox holds is shipped; the figures say so even where a line was damaged.
                if signal.appended == appended && !held_up {
                    signal.shipped = appended;
                }
                drop(signal);
                shared.changed.notify_all();
                shared.pause(Duration::from_secs(3600), |signal| signal.appended == appended && !held_up);
                shared.pause(GATHER, |signal| !signal.is_urgent);
            }
            Err(error) => {
                let passing = error.is_passing();
                if told != Some(passing) {
                    told = Some(passing);
                    shared.tell(format!(
                        "{}\ntraining goes on; everything is kept in {} and sent as soon as that works",
                        error.to_string().replace("\nhint: ", "; "),
                        shared.folder.display()
                    ));
                }
                shared.signal().last_error = Some(error.to_string());
                let number = if passing { failures } else { 16 };
                let pause = policy.pause(number, chance(), error.retry_after());
                failures += 1;
                let asked = error.retry_after().unwrap_or_default();
                let was_urgent = shared.signal().is_urgent;
                // Someone waits: try at once and then every half second, unless the server wants more.
                let pause = if was_urgent { Duration::from_millis(500).max(asked) } else { pause };
                shared.pause(pause, |signal| was_urgent || !signal.is_urgent || !asked.is_zero());
            }
        }
    }
}

fn count_between(shipper: &Shipper, before: Position) -> u64 {
    if shipper.position() == before { 0 } else { shipper.last_taken() }
}

fn run_of(shipper: &Shipper) -> Option<(String, String, String)> {
    let state = shipper.state();
    Some((
        state.run_id.clone()?,
        state.experiment_id.clone().unwrap_or_default(),
        state.tracking_uri.clone().unwrap_or_default(),
    ))
}

/// Syncs the outbox to the disk and samples the system's metrics.
fn keep_house(shared: &Shared, disk: &Path, start_time: i64) {
    let mut sampler = Sampler::new(disk);
    let mut next = Instant::now() + SAMPLE;
    loop {
        shared.pause(SYNC, |_| true);
        let (stopped, dirty, sampling) = {
            let signal = shared.signal();
            (signal.is_stopped, signal.is_dirty, signal.is_sampling)
        };
        if dirty {
            shared.sync();
        }
        if stopped {
            return;
        }
        if sampling && Instant::now() >= next {
            next += SAMPLE;
            let timestamp = now();
            let step = (timestamp - start_time).max(0) / SAMPLE.as_millis() as i64;
            let metrics = sampler.sample().into_iter().map(|(key, value)| Metric { key, value, timestamp, step });
            shared.append(&Record::Metrics { metrics: metrics.collect() });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// 32 hexadecimal digits that no other call gives.
pub fn unique_key() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A number from 0 to 1.
pub(crate) fn chance() -> f64 {
    random() as f64 / u64::MAX as f64
}

/// The standard library seeds its hashes from the system's random numbers.
fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u128(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()));
    hasher.write_u32(std::process::id());
    hasher.finish()
}
