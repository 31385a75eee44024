//! The run on an MLflow server: settings, figures, files and the model, by way of the run's outbox.
//!
//! The training never waits for the server and never fails with it; only at its end it waits a little, visibly, for what is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use yolo11_config::{ExportFormat, ModelSource, Settings};
use yolo11_dataset::{DatasetDescription, Split, label_path};
use yolo11_tracking::dataset::{DatasetFacts, input};
use yolo11_tracking::record::{ModelRecord, RunStart};
use yolo11_tracking::{Environment, Keep, Tracker, TrackerOptions, git, secret};

use crate::data::STATISTICS;
use crate::event::{EpochReport, Notice, RunDescription, RunSummary, StepReport};
use crate::{Announcer, Error, Event, Observer};

/// Endings of the files at the top of a run's folder that belong to it.
const KEPT: [&str; 6] = ["csv", "yaml", "json", "png", "jpg", "txt"];

/// The log is sent this often at most while the training goes on, and only while no more than so many records wait to be sent: a server
/// that is away gets it at the end, once.
const LOG_PAUSE: Duration = Duration::from_secs(10);
const LOG_BACKLOG: u64 = 100;

/// A wait that is too short to be told of.
const UNSEEN: Duration = Duration::from_millis(500);

/// Takes the secrets out of the settings before anything is written: the server's address keeps neither user nor password, tags that
/// are named like secrets are masked. The environment gets what the settings said, and the settings win.
pub fn take_secrets(settings: &mut Settings, environment: &mut Environment) {
    if let Some(uri) = &mut settings.mlflow.tracking_uri {
        environment.set("MLFLOW_TRACKING_URI", uri.clone());
        *uri = secret::split_credentials(uri).0;
    }
    for (name, value) in &mut settings.mlflow.tags {
        *value = secret::masked(name, value);
    }
}

/// Whether a run is tracked: as `tracking` says; where it is not given, if a server or a setting of `mlflow` is.
pub fn is_wanted(settings: &Settings, environment: &Environment) -> bool {
    if settings.is_given("tracking") {
        return settings.tracking;
    }
    let given = |name: &str| name.starts_with("mlflow.") && settings.is_given(name);
    environment.get("MLFLOW_TRACKING_URI").is_some() || yolo11_config::table().any(|setting| given(setting.name))
}

/// Tells the tracker what happens.
pub struct Tracking {
    tracker: Arc<Tracker>,
    folder: PathBuf,
    announced: BTreeSet<PathBuf>,
    epoch: usize,
    log: Option<PathBuf>,
    log_sent: Option<Instant>,
    training: Option<Instant>,
    /// Of the thread that trains.
    spent: Duration,
    is_over: bool,
}

/// The tracked run beyond its training: how it ended, and the wait for the server.
pub struct TrackedRun {
    tracker: Arc<Tracker>,
    folder: PathBuf,
    settings: Settings,
    names: Vec<String>,
    digest: Option<JoinHandle<()>>,
}

/// Begins to track a run in its folder. `resumed`: it goes on with the same run on the server. `log`: the file that grows meanwhile.
///
/// # Errors
/// An outbox that cannot be written, or that another process ships.
pub fn track(
    settings: &Settings,
    environment: &Environment,
    folder: &Path,
    resumed: bool,
    description: &DatasetDescription,
    splits: [&Arc<Split>; 2],
    log: Option<&Path>,
) -> Result<(Tracking, TrackedRun), yolo11_tracking::Error> {
    let options = TrackerOptions {
        environment: environment.clone(),
        uri: environment.get("MLFLOW_TRACKING_URI").map(str::to_owned),
        system_metrics: settings.mlflow.system_metrics,
        resume: resumed,
    };
    let tracker = Arc::new(Tracker::open(folder, start(settings, environment, folder), &options)?);
    let (known, file, own) = (tracker.clone(), description.file.clone(), folder.to_owned());
    let splits = splits.map(Arc::clone);
    let names = splits[0].names.clone();
    // Looking at every file's size may take a while on a large set.
    let digest = std::thread::spawn(move || describe_data(&known, &own, &file, &splits));
    let observer = Tracking {
        tracker: tracker.clone(),
        folder: folder.to_owned(),
        announced: BTreeSet::new(),
        epoch: 0,
        log: log.map(Path::to_owned),
        log_sent: None,
        training: None,
        spent: Duration::ZERO,
        is_over: false,
    };
    let run =
        TrackedRun { tracker, folder: folder.to_owned(), settings: settings.clone(), names, digest: Some(digest) };
    Ok((observer, run))
}

/// What the run is called and where it belongs: the settings, then the environment, then the folders' names.
fn start(settings: &Settings, environment: &Environment, folder: &Path) -> RunStart {
    let name_of = |path: &Path, default: &str| {
        path.file_name().map_or_else(|| default.to_owned(), |name| name.to_string_lossy().into_owned())
    };
    let own = |setting: &Option<String>, variable: &str| {
        setting.clone().or_else(|| environment.get(variable).map(str::to_owned))
    };
    let user = environment.first(&["USER", "LOGNAME", "USERNAME"]).unwrap_or("unknown").to_owned();
    let named = settings.mlflow.experiment_name.is_some();
    RunStart {
        key: yolo11_tracking::unique_key(),
        tracking_uri: environment.get("MLFLOW_TRACKING_URI").map(|uri| secret::split_credentials(uri).0),
        experiment_name: own(&settings.mlflow.experiment_name, "MLFLOW_EXPERIMENT_NAME")
            .unwrap_or_else(|| name_of(&settings.project, "yolo11")),
        experiment_id: environment.get("MLFLOW_EXPERIMENT_ID").filter(|_| !named).map(str::to_owned),
        run_id: environment.get("MLFLOW_RUN_ID").map(str::to_owned),
        run_name: own(&settings.mlflow.run_name, "MLFLOW_RUN").unwrap_or_else(|| name_of(folder, "train")),
        parent_run: settings.mlflow.parent_run.clone().filter(|_| settings.mlflow.parent_run_id.is_none()),
        tags: tags(settings, &user),
        user,
        start_time: yolo11_tracking::now(),
    }
}

fn tags(settings: &Settings, user: &str) -> Vec<(String, String)> {
    let mut tags = vec![
        ("mlflow.user".to_owned(), user.to_owned()),
        ("mlflow.source.name".to_owned(), "yolo11 train".to_owned()),
        ("mlflow.source.type".to_owned(), "LOCAL".to_owned()),
        ("yolo11.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut add = |name: &str, value: Option<String>| tags.extend(value.map(|value| (name.to_owned(), value)));
    let repository = std::env::current_dir().ok().and_then(|folder| git::state_of(&folder)).unwrap_or_default();
    add("mlflow.source.git.commit", Some(repository.commit).filter(|commit| !commit.is_empty()));
    add("mlflow.source.git.branch", repository.branch);
    add("mlflow.source.git.repoURL", repository.repository);
    add("mlflow.note.content", settings.mlflow.note.clone());
    add("mlflow.parentRunId", settings.mlflow.parent_run_id.clone());
    tags.extend(settings.mlflow.tags.clone());
    tags
}

/// Logs both splits as inputs, and the file with all their figures.
fn describe_data(tracker: &Tracker, folder: &Path, file: &Path, splits: &[Arc<Split>; 2]) {
    for (split, context) in splits.iter().zip(["training", "validation"]) {
        let files = split.images.iter().flat_map(|image| [image.path.clone(), label_path(&image.path)]);
        let files = files.filter(|path| path.exists()).collect();
        let (file, names) = (file.to_owned(), split.names.clone());
        let profile = split.statistics().profile();
        tracker.input(input(&DatasetFacts { file, files, names, profile, context: context.to_owned() }));
    }
    tracker.artifact(&folder.join(STATISTICS), STATISTICS, Keep::UntilTheEnd);
}

impl Tracking {
    fn begin(&mut self, run: &RunDescription) {
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.tracker.params(run.settings.iter().map(|(name, value)| (name.clone(), text(value))));
        let facts = [("model", &run.model), ("optimiser", &run.optimiser)];
        self.tracker.tags(facts.map(|(name, value)| (format!("yolo11.{name}"), value.clone())));
        self.announce(&self.folder.join("args.yaml"));
        self.announce(&self.folder.join("results.csv"));
    }

    fn step(&self, step: &StepReport) {
        let [bbox, cls, dfl] = step.losses.map(f64::from);
        let mut values = vec![
            ("step/box_loss", bbox),
            ("step/cls_loss", cls),
            ("step/dfl_loss", dfl),
            ("step/lr", step.rates.weights),
        ];
        values.extend(step.gradient_norm.map(|norm| ("step/gradient_norm", norm)));
        self.tracker.values(step.iteration as i64, &values);
    }

    /// Names and steps are those of the reference trainer.
    fn epoch(&self, report: &EpochReport) {
        let mut values: Vec<(String, f64)> = Vec::new();
        for (part, loss) in ["box", "cls", "dfl"].iter().zip(report.losses) {
            values.push((format!("train/{part}_loss"), loss));
        }
        for (group, rate) in [report.rates.weights, report.rates.norms, report.rates.biases].into_iter().enumerate() {
            values.push((format!("lr/pg{group}"), rate));
        }
        values.extend(report.validation.iter().flat_map(|validation| validation.named_metrics()));
        values.push(("images_per_second".to_owned(), report.images_per_second));
        values.push(("seconds".to_owned(), report.seconds));
        self.tracker.values(report.epoch as i64, &values);
    }

    /// A file that is shipped at the end, also when this process does not live to see it.
    fn announce(&mut self, path: &Path) {
        if self.announced.insert(path.to_owned())
            && let Some(name) = artifact_path(&self.folder, path)
        {
            self.tracker.artifact(path, &name, Keep::UntilTheEnd);
        }
    }

    /// Sends the log as it is now, so that whoever follows the run on the server sees it grow.
    fn send_log(&mut self) {
        let due = self.log_sent.is_none_or(|sent| sent.elapsed() >= LOG_PAUSE);
        let Some(log) = self.log.as_deref().filter(|log| due && log.is_file()) else { return };
        if self.tracker.has_server() && self.tracker.remaining() <= LOG_BACKLOG {
            self.tracker.artifact(log, &name_of_log(log), Keep::Copy);
            self.log_sent = Some(Instant::now());
        }
    }

    /// What tracking took of the training's own time, once, at its end.
    fn share(&mut self) -> Option<Notice> {
        let whole = self.training.take_if(|_| self.is_over)?.elapsed().as_secs_f64();
        let own = self.spent.as_secs_f64();
        let percent = 100.0 * own / whole.max(f64::MIN_POSITIVE);
        Some(Notice::Detail(format!("tracking   took {own:.3} s of the training's {whole:.1} s ({percent:.3} %)")))
    }

    fn picture(&mut self, path: &Path) {
        self.announce(path);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if stem.starts_with("train_batch") || stem.starts_with("val_batch") {
            self.tracker.image(path, &stem, self.epoch as i64);
        }
    }
}

fn name_of_log(log: &Path) -> String {
    log.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where a file of the run's folder belongs among its artifacts; nothing for what is not kept.
fn artifact_path(folder: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(folder).ok()?;
    let parts: Vec<String> = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let ending = path.extension()?.to_string_lossy().to_lowercase();
    let kept = match parts.as_slice() {
        [name] => !name.starts_with('.') && KEPT.contains(&ending.as_str()),
        // The training state is for resuming in the folder, several times as large as the weights.
        [place, _] => place == "weights" && ending == "pt",
        _ => false,
    };
    kept.then(|| parts.join("/"))
}

impl Observer for Tracking {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        let since = Instant::now();
        match event {
            Event::RunStarted(run) => self.begin(run),
            Event::EpochStarted { epoch, .. } => self.epoch = *epoch,
            Event::StepFinished(step) => self.step(step),
            Event::EpochFinished { report, .. } => {
                self.epoch(report);
                self.send_log();
            }
            Event::CheckpointSaved { path } => self.announce(path),
            Event::PictureSaved { path } => self.picture(path),
            _ => {}
        }
        self.spent += since.elapsed();
        match event {
            Event::RunStarted(_) => self.training = Some(since),
            Event::RunFinished(_) => self.is_over = true,
            _ => {}
        }
        Ok(())
    }

    fn notices(&mut self) -> Vec<Notice> {
        let warnings = self.tracker.notes().into_iter().map(|note| Notice::Warning(format!("tracking   {note}")));
        warnings.chain(self.share()).collect()
    }
}

impl TrackedRun {
    /// Says how the run ended, hands over its files and its model, and waits for the server as long as `tracking_wait` says or until
    /// `stop` is set meanwhile.
    ///
    /// # Errors
    /// Observers that cannot take in a note.
    pub fn close(
        mut self,
        result: &Result<RunSummary, Error>,
        log: Option<&Path>,
        announcer: &mut Announcer,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        if let Some(digest) = self.digest.take() {
            let _ = digest.join();
        }
        self.hand_over_files(log);
        let status = match result {
            Ok(summary) => {
                self.finished(summary, announcer)?;
                "FINISHED"
            }
            Err(Error::Interrupted { .. }) => "KILLED",
            Err(error) => {
                self.tracker.tags([("error".to_owned(), secret::mask_addresses(&error.to_string()))]);
                "FAILED"
            }
        };
        self.tracker.finish(status);
        self.wait(announcer, stop)
    }

    fn hand_over_files(&self, log: Option<&Path>) {
        for place in [self.folder.clone(), self.folder.join("weights")] {
            let mut paths: Vec<PathBuf> =
                std::fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths.iter().filter(|path| path.is_file()) {
                if let Some(name) = artifact_path(&self.folder, path) {
                    self.tracker.artifact(path, &name, Keep::UntilTheEnd);
                }
            }
        }
        // Later runs write on in the same log: this run's is what it holds now.
        if let Some(log) = log.filter(|log| log.is_file()) {
            self.tracker.artifact(log, &name_of_log(log), Keep::Copy);
        }
    }

    fn finished(&self, summary: &RunSummary, announcer: &mut Announcer) -> Result<(), Error> {
        if let Some(best) = summary.best {
            self.tracker.tags([("yolo11.best_epoch".to_owned(), best.epoch.to_string())]);
        }
        let weights = self.folder.join("weights");
        let file = [weights.join("best.pt"), weights.join("last.pt")].into_iter().find(|path| path.is_file());
        let Some(file) = file else { return Ok(()) };
        let onnx = if self.settings.mlflow.onnx { self.onnx(&file, announcer)? } else { None };
        self.tracker.model(ModelRecord {
            name: "best".to_owned(),
            file: file.display().to_string(),
            onnx: onnx.map(|path| path.display().to_string()),
            metadata: json!({"imgsz": self.settings.imgsz, "names": self.names, "task": "detect"}),
            register: self.settings.mlflow.register.clone(),
            fitness: summary.best.map(|best| best.fitness),
            timestamp: yolo11_tracking::now(),
        });
        Ok(())
    }

    /// The weights as ONNX for pictures of any size, in the outbox; that it cannot be written costs the run nothing but this file.
    fn onnx(&self, weights: &Path, announcer: &mut Announcer) -> Result<Option<PathBuf>, Error> {
        let written = self.tracker.new_copy("onnx").map_err(|error| error.to_string()).and_then(|path| {
            let mut settings = Settings::default();
            settings.model = ModelSource::Weights(weights.to_owned());
            settings.format = ExportFormat::Onnx;
            settings.imgsz = self.settings.imgsz;
            (settings.dynamic, settings.file) = (true, Some(path));
            crate::export::export(&settings).map(|report| report.path).map_err(|error| error.to_string())
        });
        match written {
            Ok(path) => Ok(Some(path)),
            Err(error) => {
                announcer.warn(format!("tracking   the model goes without ONNX: {error}"))?;
                Ok(None)
            }
        }
    }

    fn wait(&self, announcer: &mut Announcer, stop: &AtomicBool) -> Result<(), Error> {
        let longest =
            Duration::from_secs_f64(if self.tracker.has_server() { self.settings.tracking_wait } else { 0.0 });
        // A run that Ctrl-C ended still gets its wait; the next Ctrl-C ends the program, and the outbox keeps everything.
        let was_stopped = stop.load(Ordering::Relaxed);
        let skip = || !was_stopped && stop.load(Ordering::Relaxed);
        let mut left = self.tracker.wait(longest.min(UNSEEN), skip);
        if left > 0 && longest > UNSEEN {
            let seconds = self.settings.tracking_wait;
            announcer
                .note(format!("tracking   {left} records are on their way (at most {seconds} s, Ctrl-C skips)"))?;
            left = self.tracker.wait(longest - UNSEEN, skip);
        }
        for note in self.tracker.notes() {
            announcer.warn(format!("tracking   {note}"))?;
        }
        if !self.tracker.has_server() {
            let folder = self.folder.display();
            return announcer.note(format!(
                "tracking   kept in {folder}; with MLFLOW_TRACKING_URI set, `yolo11 tracking sync {folder}` sends it"
            ));
        }
        if left > 0 {
            let folder = self.folder.display();
            let reason = self.tracker.last_error();
            let reason =
                reason.and_then(|error| error.lines().next().map(|line| format!(": {line}"))).unwrap_or_default();
            return announcer.warn(format!(
                "tracking   {left} records are not sent yet{reason}\nhint: when the server answers, run `yolo11 tracking sync {folder}`"
            ));
        }
        match self.tracker.run() {
            Some((run, experiment, server)) if !server.is_empty() => {
                announcer.note(format!("tracking   {server}/#/experiments/{experiment}/runs/{run}"))
            }
            _ => Ok(()),
        }
    }
}
