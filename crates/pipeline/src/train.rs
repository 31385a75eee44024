//! One training, from its settings to its last checkpoint: what is read and made before the first step, and who listens. The steps are
//! in `trainer.rs`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use yolo11_config::{Batch as BatchSetting, Resume, Settings};
use yolo11_dataset::SplitName;
use yolo11_network::Network;
use yolo11_tracking::Environment;

use crate::compute::Work;
use crate::data::Opened;
use crate::event::RunSummary;
use crate::file::write_atomically;
use crate::group::{self, Group, Place};
use crate::observers::tracking::{self, TrackedRun};
use crate::observers::{Checkpoints, LogFile, Plots, Progress, ResultsTable};
use crate::resume::{self, Resumed};
use crate::run_folder::RunFolder;
use crate::trainer::{Setup, Trainer, validation_batch};
use crate::{Announcer, Error, compute, data, state, weights};

/// Where a training tells what it does, beside its run folder.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The log file; none for no log.
    pub log: Option<PathBuf>,
    /// Whether the terminal shows the progress.
    pub progress: bool,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions { log: Some(PathBuf::from("logs/training.log")), progress: true }
    }
}

/// Trains as the settings say, with the usual observers. `stop` may be set at any time: the step under way is finished, weights
/// and state are saved, and the result is [`Error::Interrupted`].
///
/// Where a launcher has started several processes ([`group::place`]) they train together, and only the first of them tells.
pub fn train(settings: &Settings, options: &TrainOptions, stop: &AtomicBool) -> Result<RunSummary, Error> {
    let place = group::place(&Environment::of_process())?;
    if place.as_ref().is_some_and(|place| place.rank > 0) {
        return train_and_track(settings, Announcer::new(), None, place, stop);
    }
    let mut announcer = Announcer::new();
    if options.progress {
        announcer.add(Progress::new(settings.verbose));
    }
    if let Some(log) = &options.log {
        announcer.add(LogFile::open(log)?);
    }
    train_and_track(settings, announcer, options.log.as_deref(), place, stop)
}

/// Trains in this process alone with observers of the caller's choice; those of the run's folder (results.csv, checkpoints) are added.
pub fn train_with(settings: &Settings, announcer: Announcer, stop: &AtomicBool) -> Result<RunSummary, Error> {
    train_and_track(settings, announcer, None, None, stop)
}

fn train_and_track(
    settings: &Settings,
    mut announcer: Announcer,
    log: Option<&Path>,
    place: Option<Place>,
    stop: &AtomicBool,
) -> Result<RunSummary, Error> {
    let (mut tracked, mut group) = (None, None);
    let mut threads = settings.threads;
    if let Some(place) = place.as_ref().filter(|_| !settings.is_given("threads")) {
        threads = (threads / place.on_machine).max(1);
    }
    let mut work = || {
        if let Some(place) = &place {
            if place.rank == 0 {
                announcer.note(format!("processes  waiting for {} more at port {}", place.size - 1, place.port))?;
            }
            group = Some(group::meet(place, stop)?);
        }
        match &mut group {
            Some(group) if group.rank() > 0 => follow(settings, &mut announcer, stop, group),
            _ => prepare_and_run(settings, &mut announcer, log, stop, &mut tracked, group.as_mut()),
        }
    };
    let result = compute::pool(threads)?.install(&mut work);
    if let Err(error) = &result {
        announcer.announce_failure(error);
        if let Some(group) = &mut group {
            group.leave(error);
        }
    }
    if let Some(tracked) = tracked {
        tracked.close(&result, log, &mut announcer, stop)?;
    }
    result
}

fn prepare_and_run(
    settings: &Settings,
    announcer: &mut Announcer,
    log: Option<&Path>,
    stop: &AtomicBool,
    tracked: &mut Option<TrackedRun>,
    group: Option<&mut Group>,
) -> Result<RunSummary, Error> {
    let resumed = match &settings.resume {
        Resume::No => None,
        _ => Some(resume::find(settings)?),
    };
    let mut settings = resumed.as_ref().map_or_else(|| settings.clone(), |resumed| resumed.settings.clone());
    let mut environment = Environment::of_process();
    tracking::take_secrets(&mut settings, &mut environment);
    if let Some(note) = compute::device_note(&settings, Work::Engine)? {
        announcer.warn(note)?;
    }
    if settings.rect {
        announcer.warn("rect=true applies to validation only; training batches are square")?;
    }
    let suited = if resumed.is_none() { settings.suit_demo()? } else { Vec::new() };
    if !suited.is_empty() {
        announcer.note(format!("demo       {} (unless you give others)", suited.join(" ")))?;
    }
    let Opened { description, version } = data::open(&settings, announcer, stop)?;
    let training = data::scan(&description, SplitName::Train, &settings, announcer)?;
    let validation = data::scan(&description, SplitName::Val, &settings, announcer)?;
    data::compare(&description, &[&training, &validation], &settings, announcer)?;

    let (model, model_note) = match &resumed {
        Some(resumed) => {
            check_names(resumed, &training.names)?;
            (resumed.state.model.clone(), format!("resumed from {}", resumed.state_path.display()))
        }
        None => weights::start(&settings, training.names.len())?,
    };
    announcer.note(format!("weights    {model_note}"))?;
    let processes = group.as_ref().map_or(1, |group| group.size());
    let batch = resolve_batch(&mut settings, model.network(), training.images.len(), processes, announcer)?;

    let folder = match &resumed {
        Some(resumed) => RunFolder::open(&resumed.folder)?,
        None => RunFolder::create(&settings.project, settings.name.as_deref().unwrap_or("train"), settings.exist_ok)?,
    };
    folder.write_settings(&settings.to_yaml())?;
    if let Some(version) = version.to_json() {
        let file = folder.file("data_version.json");
        write_atomically(&file, format!("{version:#}\n").as_bytes())?;
    }
    let figures = data::statistics(&[("training", &training), ("validation", &validation)]);
    write_atomically(&folder.file(data::STATISTICS), format!("{figures:#}\n").as_bytes())?;
    let finished = resumed.as_ref().map_or(0, |resumed| resumed.state.counters.epoch);
    announcer.add(ResultsTable::open(folder.file("results.csv"), finished)?);
    let save_period = usize::try_from(settings.save_period).ok().filter(|&period| period > 0);
    announcer.add(Checkpoints::new(folder.path(), save_period, settings.checkpoint_format)?);
    if settings.plots {
        // Behind the table, from which it draws the results.
        announcer.add(Plots::new(folder.path(), training.clone(), validation.clone(), validation_batch(batch)));
    }

    if tracking::is_wanted(&settings, &environment) {
        let (place, splits) = (folder.path(), [&training, &validation]);
        let mut settings = settings.clone();
        settings.mlflow.tags.extend(version.tags());
        match tracking::track(&settings, &environment, place, resumed.is_some(), &description, splits, log) {
            Ok((observer, run)) => {
                announcer.add(observer);
                *tracked = Some(run);
            }
            // Tracking never stops a training.
            Err(error) => announcer.warn(format!("tracking   {error}"))?,
        }
    }

    if processes > 1 {
        announcer.note(format!("processes  {processes}, each learns its share of a batch's {batch} pictures"))?;
    }
    let setup = Setup { settings, batch, folder, description, training, validation };
    let mut trainer = Trainer::new(&setup, model, resumed, announcer, stop, group)?;
    trainer.start_together()?;
    trainer.run()
}

/// A process that is not the leader: everything but its pictures comes from there, and it tells nothing.
fn follow(
    given: &Settings,
    announcer: &mut Announcer,
    stop: &AtomicBool,
    group: &mut Group,
) -> Result<RunSummary, Error> {
    let place = PathBuf::from("what process 0 gave");
    // The leader has opened the data before: what it makes or fetches in a shared folder is complete.
    let yaml = String::from_utf8_lossy(&group.give(Vec::new())?).into_owned();
    let mut settings = Settings::default();
    settings.apply_yaml(&yaml, &place)?;
    settings.overlay(given);
    tracking::take_secrets(&mut settings, &mut Environment::of_process());
    group.check_same("what it was asked for", &group::what_counts(&settings))?;
    compute::device_note(&settings, Work::Engine)?;
    let Opened { description, .. } = data::open(&settings, announcer, stop)?;
    let training = data::scan(&description, SplitName::Train, &settings, announcer)?;
    group.check_same("the training data", &data::digest(&training))?;
    let state = state::from_bytes(group.give(Vec::new())?, &place)?;

    let BatchSetting::Images(batch) = settings.batch else {
        return Err(Error::Setup { message: "process 0 gave no batch".into(), hint: "please report this".into() });
    };
    let folder = RunFolder::of_leader(settings.project.join(settings.name.as_deref().unwrap_or("train")));
    let resumed = Resumed { folder: folder.path().to_owned(), state_path: place, state, settings: settings.clone() };
    let model = resumed.state.model.clone();
    let setup = Setup { settings, batch, folder, description, validation: training.clone(), training };
    Trainer::new(&setup, model, Some(resumed), announcer, stop, Some(group))?.run()
}

fn check_names(resumed: &Resumed, names: &[String]) -> Result<(), Error> {
    if resumed.state.names == names {
        return Ok(());
    }
    Err(Error::Setup {
        message: format!(
            "{}: the run was trained on the classes {}, the data set now has {}",
            resumed.state_path.display(),
            resumed.state.names.join(", "),
            names.join(", ")
        ),
        hint: "start a new run from its weights with model=PATH/last.pt".into(),
    })
}

/// The batch in pictures; where the memory decides, the settings take the figure over, so that a resumed run uses the same.
pub(crate) fn resolve_batch(
    settings: &mut Settings,
    network: &Network,
    pictures: usize,
    processes: usize,
    announcer: &mut Announcer,
) -> Result<usize, Error> {
    let batch = match settings.batch {
        BatchSetting::Images(batch) => return Ok(batch),
        BatchSetting::Automatic => processes * compute::automatic_batch(network, [settings.imgsz; 2])?,
    };
    let batch = batch.min(pictures.max(1));
    announcer.note(format!("batch      {batch} pictures, chosen by the free memory"))?;
    settings.batch = BatchSetting::Images(batch);
    Ok(batch)
}
