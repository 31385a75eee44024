//! One training, from its settings to its last checkpoint.
//!
//! A step's journey: the loader decodes, augments and batches; the engine runs forward; the loss gives three figures and the
//! gradients of the head's outputs; the engine runs backward; gradients of several batches add up; the optimiser moves the weights and
//! the average follows; an event tells what happened. After each epoch the average is measured and everything is saved by observers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use yolo11_config::{Batch as BatchSetting, OptimizerName, Resume, Settings};
use yolo11_dataset::{Batch, DatasetDescription, Loader, Split, SplitName};
use yolo11_detection::{Gains, Heads, LossWorkspace};
use yolo11_engine::{Ema, EmaSettings, Gradients, Optimiser, OptimiserKind, OptimiserSettings, Rates, TrainingSession};
use yolo11_inference::{ModelInfo, Native};
use yolo11_network::{Model, Network, TensorKind};
use yolo11_tracking::Environment;

use crate::data::Opened;
use crate::event::{Best, Counters, Ending, EpochReport, RunDescription, RunSummary, StepReport, TrainingState};
use crate::file::write_atomically;
use crate::observers::tracking::{self, TrackedRun};
use crate::observers::{Checkpoints, LogFile, Plots, Progress, ResultsTable};
use crate::resume::{self, Resumed};
use crate::run_folder::RunFolder;
use crate::schedule::{OptimiserChoice, Schedule, ScheduleSettings};
use crate::validation::{Validation, Validator, gains};
use crate::{Announcer, Error, Event, compute, data, weights};

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
pub fn train(settings: &Settings, options: &TrainOptions, stop: &AtomicBool) -> Result<RunSummary, Error> {
    let mut announcer = Announcer::new();
    if options.progress {
        announcer.add(Progress::new(settings.verbose));
    }
    if let Some(log) = &options.log {
        announcer.add(LogFile::open(log)?);
    }
    train_and_track(settings, announcer, options.log.as_deref(), stop)
}

/// Trains with observers of the caller's choice; those of the run's folder (results.csv, checkpoints) are added.
pub fn train_with(settings: &Settings, announcer: Announcer, stop: &AtomicBool) -> Result<RunSummary, Error> {
    train_and_track(settings, announcer, None, stop)
}

fn train_and_track(
    settings: &Settings,
    mut announcer: Announcer,
    log: Option<&Path>,
    stop: &AtomicBool,
) -> Result<RunSummary, Error> {
    let mut tracked = None;
    let result =
        compute::pool(settings.threads)?.install(|| prepare_and_run(settings, &mut announcer, log, stop, &mut tracked));
    if let Err(error) = &result {
        announcer.announce_failure(error);
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
) -> Result<RunSummary, Error> {
    let resumed = match &settings.resume {
        Resume::No => None,
        _ => Some(resume::find(settings)?),
    };
    let mut settings = resumed.as_ref().map_or_else(|| settings.clone(), |resumed| resumed.settings.clone());
    let mut environment = Environment::of_process();
    tracking::take_secrets(&mut settings, &mut environment);
    if let Some(note) = compute::device_note(&settings)? {
        announcer.note(note)?;
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
    let batch = resolve_batch(&mut settings, model.network(), training.images.len(), announcer)?;

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

    let setup = Setup { settings, batch, folder, description, training, validation };
    Trainer::new(&setup, model, resumed, announcer, stop)?.run()
}

/// Pictures of a validation's batch: without gradients twice as many fit into the same memory.
fn validation_batch(batch: usize) -> usize {
    2 * batch
}

/// What a run is made from.
struct Setup {
    settings: Settings,
    batch: usize,
    folder: RunFolder,
    description: DatasetDescription,
    training: Arc<Split>,
    validation: Arc<Split>,
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
    announcer: &mut Announcer,
) -> Result<usize, Error> {
    let batch = match settings.batch {
        BatchSetting::Images(batch) => return Ok(batch),
        BatchSetting::Automatic => compute::automatic_batch(network, [settings.imgsz; 2])?,
    };
    let batch = batch.min(pictures.max(1));
    announcer.note(format!("batch      {batch} pictures, chosen by the free memory"))?;
    settings.batch = BatchSetting::Images(batch);
    Ok(batch)
}

/// A training under way.
struct Trainer<'a> {
    setup: &'a Setup,
    announcer: &'a mut Announcer,
    stop: &'a AtomicBool,
    loader: Loader,
    validator: Validator,
    /// Runs the averaged weights.
    measured: Native,
    schedule: Schedule,
    session: TrainingSession,
    loss: LossWorkspace,
    gains: Gains,
    model: Model,
    ema: Ema,
    optimiser: Optimiser,
    gradients: Gradients,
    /// Running statistics of frozen modules, which a forward pass would move.
    frozen_statistics: Vec<(usize, Vec<f32>)>,
    counters: Counters,
    earlier_seconds: f64,
    started: Instant,
    last_rates: Rates,
    best_validation: Option<Validation>,
    last_validation: Option<Validation>,
    /// Findings that were told already.
    told: HashSet<String>,
}

impl<'a> Trainer<'a> {
    fn new(
        setup: &'a Setup,
        model: Model,
        resumed: Option<Resumed>,
        announcer: &'a mut Announcer,
        stop: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let Setup { settings, batch, training, validation, .. } = setup;
        let loader = data::training_loader(training.clone(), settings, *batch)?;
        let validator = Validator::new(validation.clone(), settings, validation_batch(*batch), false)?;
        let choice = choose_optimiser(settings, training.images.len(), *batch, training.names.len());
        let schedule = Schedule::new(schedule_settings(settings, &choice, *batch, loader.batches()), choice.kind);
        let network = model.network().clone();
        let frozen = frozen_tensors(&network, &settings.freeze.modules());
        let optimiser_settings = OptimiserSettings {
            weight_decay: schedule.weight_decay(),
            clip_norm: settings.max_grad_norm,
            ..OptimiserSettings::default()
        };
        let mut optimiser = Optimiser::new(choice.kind, &network, optimiser_settings, |index| frozen[index]);
        let is_statistic = |kind| matches!(kind, TensorKind::RunningMean | TensorKind::RunningVar);
        let frozen_statistics = network.tensors().iter().enumerate().filter(|(index, spec)| {
            frozen[*index] && (is_statistic(spec.kind) || spec.kind == TensorKind::BatchesTracked)
        });
        let frozen_statistics = frozen_statistics.map(|(index, _)| (index, model.tensor(index).to_vec())).collect();

        let averaging = EmaSettings { decay: settings.ema_decay, tau: settings.ema_tau };
        let (ema, gradients, counters) = match resumed {
            Some(resumed) => {
                resumed.state.restore(&mut optimiser, &resumed.state_path)?;
                (resumed.state.ema(averaging), resumed.state.gradients, resumed.state.counters)
            }
            None => (Ema::new(&model, averaging), Gradients::zeros(&network), Counters::start()),
        };
        let run = RunDescription {
            folder: setup.folder.path().to_owned(),
            settings: settings_by_name(settings),
            settings_yaml: settings.to_yaml(),
            names: training.names.clone(),
            model: weights::describe(&network, settings.imgsz),
            optimiser: describe_optimiser(&choice, &schedule, settings),
            data: setup.description.file.clone(),
            training_pictures: training.images.len(),
            validation_pictures: validation.images.len(),
            batch: *batch,
            image_size: settings.imgsz,
            epochs: settings.epochs,
            finished_epochs: counters.epoch,
            best: counters.best(),
        };
        announcer.announce(&Event::RunStarted(&run))?;
        Ok(Trainer {
            session: TrainingSession::plan(&network, *batch, [settings.imgsz; 2])?,
            last_rates: schedule.at(counters.iteration.saturating_sub(1), counters.epoch).rates,
            earlier_seconds: f64::from_bits(counters.seconds),
            started: Instant::now(),
            loss: LossWorkspace::new(),
            gains: gains(settings),
            best_validation: None,
            last_validation: None,
            told: HashSet::new(),
            setup,
            announcer,
            stop,
            loader,
            validator,
            measured: Native::new(
                ema.model().clone(),
                ModelInfo::native(setup.folder.path().to_owned(), training.names.clone()),
                validation_batch(*batch),
            ),
            schedule,
            model,
            ema,
            optimiser,
            gradients,
            frozen_statistics,
            counters,
        })
    }

    fn run(mut self) -> Result<RunSummary, Error> {
        let epochs = self.setup.settings.epochs;
        let mut ending = Ending::Complete;
        let first = self.counters.epoch;
        while self.counters.epoch < epochs {
            self.train_epoch()?;
            if self.counters.epoch == epochs {
                break;
            }
            if let Some(early) = self.ends_early(self.counters.epoch - first) {
                ending = early;
                break;
            }
        }
        let summary = RunSummary {
            folder: self.setup.folder.path().to_owned(),
            epochs: self.counters.epoch,
            seconds: self.seconds(),
            best: self.counters.best(),
            ending,
            validation: self.final_validation()?,
        };
        self.announcer.announce(&Event::RunFinished(&summary))?;
        Ok(summary)
    }

    /// One epoch: every batch, the validation, the saving.
    fn train_epoch(&mut self) -> Result<(), Error> {
        let (epoch, epochs, batches) = (self.counters.epoch, self.setup.settings.epochs, self.loader.batches());
        self.announcer.announce(&Event::EpochStarted { epoch: epoch + 1, epochs, batches })?;
        let begun = Instant::now();
        let mut pictures = 0;
        // A run that was stopped within an epoch goes on behind the batches it has learnt.
        let done = self.counters.batch;
        if done < batches {
            let mut order = self.loader.epoch(epoch);
            for _ in 0..done {
                if let Some(batch) = order.next() {
                    self.loader.recycle(batch?);
                }
            }
            for batch in order {
                let batch = batch?;
                pictures += batch.count;
                self.train_batch(&batch, epoch, batches)?;
                self.loader.recycle(batch);
                self.check_stop()?;
            }
        }
        let images_per_second = pictures as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        self.tell_findings()?;

        let validation = if self.setup.settings.val || epoch + 1 == epochs { Some(self.validate()?) } else { None };
        let losses = self.mean_losses();
        let report = EpochReport {
            epoch: epoch + 1,
            epochs,
            seconds: self.seconds(),
            losses,
            rates: self.last_rates,
            validation,
            images_per_second,
            memory: compute::memory_in_use(),
        };
        self.finish_epoch(report)
    }

    /// Tells of pictures whose damage showed only when they were decoded, each once.
    fn tell_findings(&mut self) -> Result<(), Error> {
        let findings = self.loader.findings().into_iter().chain(self.validator.findings());
        for finding in findings.collect::<Vec<_>>() {
            let text = finding.to_string();
            if self.told.insert(text.clone()) {
                self.announcer.warn(text)?;
            }
        }
        Ok(())
    }

    /// One batch through forward, loss and backward, and, where enough have added up, the optimiser.
    fn train_batch(&mut self, batch: &Batch, epoch: usize, batches: usize) -> Result<(), Error> {
        let plan = self.schedule.at(self.counters.iteration, epoch);
        self.announcer.announce(&Event::BatchLoaded { iteration: self.counters.iteration, batch })?;
        let not_finite = |what| Error::NotFinite { what, epoch: epoch + 1, batch: self.counters.batch + 1 };

        let classes = self.model.network().classes;
        let heads = self.session.forward(&mut self.model, &batch.images)?;
        let heads = Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size: batch.size };
        let loss = self.loss.compute(&heads, &batch.targets, &self.gains)?;
        if !loss.is_finite() {
            return Err(not_finite("loss"));
        }
        for (index, statistics) in &self.frozen_statistics {
            self.model.tensor_mut(*index).copy_from_slice(statistics);
        }
        let (boxes, scores) = self.loss.gradients();
        self.session.backward(&self.model, boxes, scores, &mut self.gradients)?;

        let mut gradient_norm = None;
        if self.counters.waiting + 1 >= plan.accumulate {
            let norm = self.optimiser.step(&mut self.model, &self.gradients, &plan.rates).gradient_norm;
            if !norm.is_finite() {
                return Err(not_finite("gradient"));
            }
            self.gradients.clear();
            self.ema.update(&self.model);
            self.counters.waiting = 0;
            gradient_norm = Some(norm);
        } else {
            self.counters.waiting += 1;
        }

        self.counters.iteration += 1;
        self.counters.batch += 1;
        for (sum, item) in self.counters.loss_sums.iter_mut().zip(loss.items) {
            *sum = (f64::from_bits(*sum) + f64::from(item)).to_bits();
        }
        self.last_rates = plan.rates;
        let report = StepReport {
            epoch: epoch + 1,
            epochs: self.setup.settings.epochs,
            batch: self.counters.batch,
            batches,
            iteration: self.counters.iteration,
            pictures: batch.count,
            instances: batch.targets.len(),
            size: batch.size,
            losses: loss.items,
            mean_losses: self.mean_losses(),
            rates: plan.rates,
            gradient_norm,
        };
        self.announcer.announce(&Event::StepFinished(&report))
    }

    /// Measures the averaged weights.
    fn validate(&mut self) -> Result<Validation, Error> {
        let (announcer, stop) = (&mut *self.announcer, self.stop);
        self.measured.update(self.ema.model());
        let measured = self.validator.run(&mut self.measured, |batch, batches| {
            announcer.announce(&Event::ValidationStep { batch, batches })?;
            Ok(!stop.load(Ordering::Relaxed))
        })?;
        match measured {
            Some((validation, found)) => {
                self.announcer.announce(&Event::DetectionsFound(&found))?;
                self.announcer.announce(&Event::ValidationFinished(&validation))?;
                Ok(validation)
            }
            // Its batches are learnt, only the measuring is left for the resumed run.
            None => Err(self.interrupt()?),
        }
    }

    fn finish_epoch(&mut self, report: EpochReport) -> Result<(), Error> {
        let best = self.counters.best();
        let improved = report.fitness().filter(|&fitness| {
            // As long as nothing is found at all, the later epoch is the better one.
            best.is_none_or(|best| fitness > best.fitness || best.fitness == 0.0)
        });
        if let Some(fitness) = improved {
            self.counters.best_epoch = report.epoch;
            self.counters.best_fitness = fitness.to_bits();
            self.best_validation = report.validation.clone();
        }
        self.last_validation = report.validation.clone();
        self.counters.epoch += 1;
        self.counters.batch = 0;
        self.counters.loss_sums = [0f64.to_bits(); 3];
        self.counters.seconds = report.seconds.to_bits();
        if let Some(fitness) = improved {
            self.announcer.announce(&Event::BestImproved(Best { epoch: report.epoch, fitness }))?;
        }
        let state = state(&self.model, &self.ema, &self.optimiser, &self.gradients, &self.counters);
        let event = Event::EpochFinished { report: &report, state, improved: improved.is_some() };
        self.announcer.announce(&event)?;
        // The epoch is saved: a stop that came while it was measured or saved loses nothing.
        if self.stop.load(Ordering::Relaxed) && self.counters.epoch < self.setup.settings.epochs {
            return Err(Error::Interrupted { folder: Some(self.setup.folder.path().to_owned()) });
        }
        Ok(())
    }

    fn check_stop(&mut self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(self.interrupt()?) } else { Ok(()) }
    }

    /// Saves all and gives the error that ends the run.
    fn interrupt(&mut self) -> Result<Error, Error> {
        self.counters.seconds = self.seconds().to_bits();
        let state = state(&self.model, &self.ema, &self.optimiser, &self.gradients, &self.counters);
        self.announcer.announce(&Event::Interrupted { state })?;
        Ok(Error::Interrupted { folder: Some(self.setup.folder.path().to_owned()) })
    }

    /// Whether the run ends before its last epoch; `done`: epochs of this process.
    fn ends_early(&self, done: usize) -> Option<Ending> {
        let settings = &self.setup.settings;
        let waited = self.counters.epoch - self.counters.best_epoch;
        if settings.patience > 0 && self.counters.best_epoch > 0 && waited >= settings.patience {
            return Some(Ending::Patience);
        }
        let each = self.started.elapsed().as_secs_f64() / done.max(1) as f64;
        let limit = settings.time.map(|hours| hours * 3600.0);
        limit.filter(|&limit| self.seconds() + each > limit).map(|_| Ending::Time)
    }

    /// The figures of best.pt: remembered, or measured again where the best epoch lies before a resume.
    fn final_validation(&mut self) -> Result<Option<Validation>, Error> {
        if self.best_validation.is_some() || self.counters.best().is_none() {
            return Ok(self.best_validation.take().or(self.last_validation.take()));
        }
        let path = self.setup.folder.weights()?.join("best.pt");
        let best = yolo11_checkpoint::load(&path)?;
        self.measured.update(&best.model);
        let Some((validation, found)) = self.validator.run(&mut self.measured, |_, _| Ok(true))? else {
            return Ok(None);
        };
        self.announcer.announce(&Event::DetectionsFound(&found))?;
        Ok(Some(validation))
    }

    fn mean_losses(&self) -> [f64; 3] {
        let batches = self.counters.batch.max(1) as f64;
        self.counters.loss_sums.map(|sum| f64::from_bits(sum) / batches)
    }

    fn seconds(&self) -> f64 {
        self.earlier_seconds + self.started.elapsed().as_secs_f64()
    }
}

fn state<'a>(
    model: &'a Model,
    ema: &'a Ema,
    optimiser: &'a Optimiser,
    gradients: &'a Gradients,
    counters: &'a Counters,
) -> TrainingState<'a> {
    TrainingState { model, ema, optimiser, gradients, counters }
}

fn choose_optimiser(settings: &Settings, pictures: usize, batch: usize, classes: usize) -> OptimiserChoice {
    let kind = match settings.optimizer {
        OptimizerName::Auto => {
            return OptimiserChoice::automatic(pictures, batch, settings.nbs, settings.epochs, classes);
        }
        OptimizerName::Sgd => OptimiserKind::Sgd,
        OptimizerName::Adam => OptimiserKind::Adam,
        OptimizerName::AdamW => OptimiserKind::AdamW,
    };
    OptimiserChoice { kind, lr0: settings.lr0, momentum: settings.momentum, warmup_bias_lr: settings.warmup_bias_lr }
}

fn schedule_settings(settings: &Settings, choice: &OptimiserChoice, batch: usize, batches: usize) -> ScheduleSettings {
    ScheduleSettings {
        epochs: settings.epochs,
        batches,
        batch,
        nominal_batch: settings.nbs,
        lr0: choice.lr0,
        lrf: settings.lrf,
        cosine: settings.cos_lr,
        momentum: choice.momentum,
        weight_decay: settings.weight_decay,
        warmup_epochs: settings.warmup_epochs,
        warmup_momentum: settings.warmup_momentum,
        warmup_bias_lr: choice.warmup_bias_lr,
    }
}

fn describe_optimiser(choice: &OptimiserChoice, schedule: &Schedule, settings: &Settings) -> String {
    let chosen = if settings.optimizer == OptimizerName::Auto { " (chosen by auto)" } else { "" };
    format!(
        "{}{chosen}, lr {} to {}, momentum {}, weight decay {}, {} batches a step",
        choice.kind.name(),
        choice.lr0,
        choice.lr0 * settings.lrf,
        choice.momentum,
        schedule.weight_decay(),
        schedule.accumulate()
    )
}

/// For each tensor whether it belongs to a frozen module (`model.N.`).
fn frozen_tensors(network: &Network, modules: &[usize]) -> Vec<bool> {
    let module = |name: &str| name.split('.').nth(1).and_then(|number| number.parse::<usize>().ok());
    network.tensors().iter().map(|spec| module(&spec.name).is_some_and(|number| modules.contains(&number))).collect()
}

fn settings_by_name(settings: &Settings) -> Vec<(String, serde_json::Value)> {
    yolo11_config::table().map(|setting| (setting.name.to_owned(), setting.value(settings))).collect()
}
