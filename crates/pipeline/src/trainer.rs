//! The loop of a training.
//!
//! A step's journey: the loader decodes, augments and batches; the engine runs forward; the loss gives three figures and the
//! gradients of the head's outputs; the engine runs backward; gradients of several batches add up; the optimiser moves the weights and
//! the average follows; an event tells what happened. After each epoch the average is measured and everything is saved by observers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use yolo11_config::{OptimizerName, Settings};
use yolo11_dataset::{Batch, DatasetDescription, Loader, Share, Split};
use yolo11_detection::{Gains, Heads, LossWorkspace};
use yolo11_engine::{
    Ema, EmaSettings, Gradients, Optimiser, OptimiserKind, OptimiserSettings, Peers, Rates, TrainingSession,
};
use yolo11_inference::{ModelInfo, Native};
use yolo11_machine::system::memory_in_use;
use yolo11_network::{Model, Network, TensorKind};

use crate::event::{Best, Counters, Ending, EpochReport, RunDescription, RunSummary, StepReport, TrainingState};
use crate::group::{self, Group};
use crate::resume::Resumed;
use crate::run_folder::RunFolder;
use crate::schedule::{OptimiserChoice, Schedule, ScheduleSettings};
use crate::validation::{Validation, Validator, gains};
use crate::{Announcer, Error, Event, data, state, weights};

/// Pictures of a validation's batch: without gradients twice as many fit into the same memory.
pub(crate) fn validation_batch(batch: usize) -> usize {
    2 * batch
}

/// What a run is made from.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) batch: usize,
    pub(crate) folder: RunFolder,
    pub(crate) description: DatasetDescription,
    pub(crate) training: Arc<Split>,
    pub(crate) validation: Arc<Split>,
}

/// A training under way.
pub(crate) struct Trainer<'a> {
    setup: &'a Setup,
    announcer: &'a mut Announcer,
    stop: &'a AtomicBool,
    /// The other processes of this training.
    group: Option<&'a mut Group>,
    /// Whether one of the processes was asked to stop.
    stop_agreed: bool,
    loader: Loader,
    /// Only the leader measures.
    measuring: Option<Measuring>,
    schedule: Schedule,
    session: TrainingSession,
    loss: LossWorkspace,
    gains: Gains,
    model: Model,
    ema: Ema,
    optimiser: Optimiser,
    gradients: Gradients,
    /// Those of one batch's share, and the row in which all shares are added up.
    share: Option<(Gradients, Vec<f32>)>,
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

/// What the averaged weights are measured by.
struct Measuring {
    validator: Validator,
    /// Runs the averaged weights.
    weights: Native,
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(
        setup: &'a Setup,
        model: Model,
        resumed: Option<Resumed>,
        announcer: &'a mut Announcer,
        stop: &'a AtomicBool,
        group: Option<&'a mut Group>,
    ) -> Result<Self, Error> {
        let Setup { settings, batch, training, validation, .. } = setup;
        let share = group.as_ref().map_or(Share::ALL, |group| Share { part: group.rank(), of: group.size() });
        let loader = data::training_loader(training.clone(), settings, *batch, share)?;
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
        let measuring = if share.part == 0 {
            let validator = Validator::new(validation.clone(), settings, validation_batch(*batch), false)?;
            let info = ModelInfo::native(setup.folder.path().to_owned(), training.names.clone());
            Some(Measuring { validator, weights: Native::new(ema.model().clone(), info, validation_batch(*batch)) })
        } else {
            None
        };
        Ok(Trainer {
            session: TrainingSession::plan(&network, batch.div_ceil(share.of), [settings.imgsz; 2])?,
            share: group.is_some().then(|| (Gradients::zeros(&network), Vec::new())),
            group,
            stop_agreed: false,
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
            measuring,
            schedule,
            model,
            ema,
            optimiser,
            gradients,
            frozen_statistics,
            counters,
        })
    }

    pub(crate) fn run(mut self) -> Result<RunSummary, Error> {
        let epochs = self.setup.settings.epochs;
        let mut ending = Ending::Complete;
        let first = self.counters.epoch;
        while self.counters.epoch < epochs {
            self.train_epoch()?;
            if self.counters.epoch == epochs {
                break;
            }
            let early = self.ends_early(self.counters.epoch - first);
            if let Some(early) = self.agree_on_end(early)? {
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
            process: self.group.as_ref().map_or(0, |group| group.rank()),
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
                pictures += self.loader.pictures(self.counters.batch);
                self.train_batch(&batch, epoch, batches)?;
                self.loader.recycle(batch);
                self.check_stop()?;
            }
        }
        let images_per_second = pictures as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        self.tell_findings()?;

        let validation = if self.setup.settings.val || epoch + 1 == epochs { self.validate()? } else { None };
        let losses = self.mean_losses();
        let report = EpochReport {
            epoch: epoch + 1,
            epochs,
            seconds: self.seconds(),
            losses,
            rates: self.last_rates,
            validation,
            images_per_second,
            memory: memory_in_use(),
        };
        self.finish_epoch(report)
    }

    /// Tells of pictures whose damage showed only when they were decoded, each once.
    fn tell_findings(&mut self) -> Result<(), Error> {
        let measured = self.measuring.iter().flat_map(|measuring| measuring.validator.findings());
        let findings = self.loader.findings().into_iter().chain(measured);
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
        let number = self.counters.batch + 1;
        let not_finite = |what| Error::NotFinite { what, epoch: epoch + 1, batch: number };

        let (items, instances) = match self.share {
            Some(_) => self.learn_share(batch)?,
            None => self.learn(batch)?,
        };
        if !items.iter().all(|item| item.is_finite()) {
            return Err(not_finite("loss"));
        }

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
        for (sum, item) in self.counters.loss_sums.iter_mut().zip(items) {
            *sum = (f64::from_bits(*sum) + f64::from(item)).to_bits();
        }
        self.last_rates = plan.rates;
        let report = StepReport {
            epoch: epoch + 1,
            epochs: self.setup.settings.epochs,
            batch: self.counters.batch,
            batches,
            iteration: self.counters.iteration,
            pictures: self.loader.pictures(self.counters.batch - 1),
            instances,
            size: batch.size,
            losses: items,
            mean_losses: self.mean_losses(),
            rates: plan.rates,
            gradient_norm,
        };
        self.announcer.announce(&Event::StepFinished(&report))
    }

    /// Forward, loss and backward; the gradients are added to those that wait. Gives the losses and the number of objects.
    fn learn(&mut self, batch: &Batch) -> Result<([f32; 3], usize), Error> {
        let classes = self.model.network().classes;
        let heads = self.session.forward(&mut self.model, &batch.images)?;
        let heads = Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size: batch.size };
        let loss = self.loss.compute(&heads, &batch.targets, &self.gains)?;
        if loss.is_finite() {
            let (boxes, scores) = self.loss.gradients();
            self.session.backward(&self.model, boxes, scores, &mut self.gradients)?;
        }
        self.keep_frozen();
        Ok((loss.items, batch.targets.len()))
    }

    /// The same where other processes learn the rest of the batch: gradients and losses are those of all of it.
    fn learn_share(&mut self, batch: &Batch) -> Result<([f32; 3], usize), Error> {
        let (Some(group), Some((gradients, row))) = (&mut self.group, &mut self.share) else {
            return self.learn(batch);
        };
        let synchronised = self.setup.settings.sync_bn;
        let classes = self.model.network().classes;
        let peers = synchronised.then_some(&mut **group as &mut dyn Peers);
        let heads = self.session.forward_among(&mut self.model, (&batch.images).into(), peers)?;
        let heads = Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size: batch.size };
        let images = self.loader.pictures(self.counters.batch);
        let loss = self.loss.compute_share(&heads, &batch.targets, &self.gains, images, |sum| {
            let mut whole = [sum];
            Peers::sum(&mut **group, &mut whole);
            whole[0]
        })?;
        group.take_failure()?;
        gradients.clear();
        let (boxes, scores) = self.loss.gradients();
        let peers = synchronised.then_some(&mut **group as &mut dyn Peers);
        self.session.backward_among(&self.model, boxes, scores, gradients, peers)?;
        group.take_failure()?;

        row.clear();
        gradients.to_row(row);
        let figures = row.len();
        let stop = f32::from(u8::from(self.stop.load(Ordering::Relaxed)));
        row.extend(loss.items.into_iter().chain([batch.targets.len() as f32, stop]));
        group.sum(row)?;
        self.gradients.add_row(&row[..figures]);
        let whole = &row[figures..];
        let found = ([whole[0], whole[1], whole[2]], whole[3] as usize);
        self.stop_agreed = whole[4] > 0.0;
        self.keep_frozen();
        Ok(found)
    }

    /// Gives frozen modules their running statistics back.
    fn keep_frozen(&mut self) {
        for (index, statistics) in &self.frozen_statistics {
            self.model.tensor_mut(*index).copy_from_slice(statistics);
        }
    }

    /// Gives all processes the state to start from; they check that they see the same.
    pub(crate) fn start_together(&mut self) -> Result<(), Error> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let settings = &self.setup.settings;
        group.give(settings.to_yaml().into_bytes())?;
        group.check_same("what it was asked for", &group::what_counts(settings))?;
        group.check_same("the training data", &data::digest(&self.setup.training))?;
        let state = training_state(&self.model, &self.ema, &self.optimiser, &self.gradients, &self.counters);
        group.give(state::to_bytes(&state, &self.setup.training.names, self.setup.folder.path())?)?;
        Ok(())
    }

    /// The leader says whether the run ends before its last epoch.
    fn agree_on_end(&mut self, own: Option<Ending>) -> Result<Option<Ending>, Error> {
        let Some(group) = &mut self.group else { return Ok(own) };
        let endings = [None, Some(Ending::Patience), Some(Ending::Time)];
        let own = endings.iter().position(|ending| *ending == own).unwrap_or_default();
        let agreed = group.give(vec![own as u8])?;
        Ok(agreed.first().and_then(|&at| endings.get(usize::from(at))).copied().flatten())
    }

    /// Measures the averaged weights, where that is this process's part.
    fn validate(&mut self) -> Result<Option<Validation>, Error> {
        let (announcer, stop) = (&mut *self.announcer, self.stop);
        let Some(Measuring { validator, weights }) = &mut self.measuring else { return Ok(None) };
        weights.update(self.ema.model());
        let measured = validator.run(weights, |batch, batches| {
            announcer.announce(&Event::ValidationStep { batch, batches })?;
            Ok(!stop.load(Ordering::Relaxed))
        })?;
        match measured {
            Some((validation, found)) => {
                self.announcer.announce(&Event::DetectionsFound(&found))?;
                self.announcer.announce(&Event::ValidationFinished(&validation))?;
                Ok(Some(validation))
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
        let state = training_state(&self.model, &self.ema, &self.optimiser, &self.gradients, &self.counters);
        let event = Event::EpochFinished { report: &report, state, improved: improved.is_some() };
        self.announcer.announce(&event)?;
        // The epoch is saved: a stop that came while it was measured or saved loses nothing.
        let decides = self.group.as_ref().is_none_or(|group| group.rank() == 0);
        if decides && self.stop.load(Ordering::Relaxed) && self.counters.epoch < self.setup.settings.epochs {
            return Err(Error::Interrupted { folder: Some(self.setup.folder.path().to_owned()) });
        }
        Ok(())
    }

    fn check_stop(&mut self) -> Result<(), Error> {
        let stop = if self.group.is_some() { self.stop_agreed } else { self.stop.load(Ordering::Relaxed) };
        if stop { Err(self.interrupt()?) } else { Ok(()) }
    }

    /// Saves all and gives the error that ends the run.
    fn interrupt(&mut self) -> Result<Error, Error> {
        self.counters.seconds = self.seconds().to_bits();
        let state = training_state(&self.model, &self.ema, &self.optimiser, &self.gradients, &self.counters);
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
        let Some(Measuring { validator, weights }) = &mut self.measuring else { return Ok(None) };
        let path = self.setup.folder.weights()?.join("best.pt");
        let best = yolo11_checkpoint::load(&path)?;
        weights.update(&best.model);
        let Some((validation, found)) = validator.run(weights, |_, _| Ok(true))? else {
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

fn training_state<'a>(
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
