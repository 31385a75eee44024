//! What a run tells while it goes on, and who listens.
//!
//! The training loop announces [`Event`]s through an [`Announcer`] and knows none of its observers: progress bar, results table,
//! log file, checkpoints and trackers are all [`Observer`]s.

use std::path::{Path, PathBuf};

use yolo11_dataset::Batch;
use yolo11_engine::{Ema, Gradients, Optimiser, Rates};
use yolo11_network::Model;

use crate::Error;
use crate::validation::{PictureDetections, Validation};

/// What is known before the first epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDescription {
    /// The run's folder.
    pub folder: PathBuf,
    /// Every setting by its name, for tables and trackers.
    pub settings: Vec<(String, serde_json::Value)>,
    /// The settings as the YAML of `args.yaml`.
    pub settings_yaml: String,
    /// Names of the classes, in order.
    pub names: Vec<String>,
    /// Model name, layers, parameters, GFLOPs in a sentence.
    pub model: String,
    /// Optimiser and its rates in a sentence.
    pub optimiser: String,
    /// The data set's file.
    pub data: PathBuf,
    /// Pictures to train on.
    pub training_pictures: usize,
    /// Pictures to validate on.
    pub validation_pictures: usize,
    /// Pictures of a batch.
    pub batch: usize,
    /// Training picture size in pixels.
    pub image_size: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Epochs that were finished before: 0 unless resumed.
    pub finished_epochs: usize,
    /// Best fitness before: only where resumed.
    pub best: Option<Best>,
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Its fitness: mAP50-95.
    pub fitness: f64,
}

/// One batch was learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Batch in the epoch, counted from 1.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Batches since the run began.
    pub iteration: u64,
    /// Pictures in the batch.
    pub pictures: usize,
    /// Labelled objects in the batch.
    pub instances: usize,
    /// Input `[height, width]`.
    pub size: [usize; 2],
    /// Box, class and distribution loss of this batch.
    pub losses: [f32; 3],
    /// The same, mean over the epoch so far.
    pub mean_losses: [f64; 3],
    /// Learning rates and momentum of the batch.
    pub rates: Rates,
    /// Norm of the gradient before clipping, where the optimiser stepped after this batch.
    pub gradient_norm: Option<f64>,
}

/// One epoch is over: training and validation.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Seconds since the run began, those before a resume included.
    pub seconds: f64,
    /// Box, class and distribution loss, mean over the epoch's batches.
    pub losses: [f64; 3],
    /// Learning rates at the epoch's last batch.
    pub rates: Rates,
    /// Figures of the validation; absent where the epoch was not validated.
    pub validation: Option<Validation>,
    /// Pictures trained on in one second.
    pub images_per_second: f64,
    /// Bytes of memory in use, where the system tells.
    pub memory: Option<u64>,
}

impl EpochReport {
    /// What decides which epoch is best: mAP50-95 of the validation.
    pub fn fitness(&self) -> Option<f64> {
        self.validation.as_ref().map(|validation| validation.summary.map50_95)
    }
}

/// Everything that a training can go on from to the bit.
#[derive(Clone, Copy, Debug)]
pub struct TrainingState<'a> {
    /// The trained model.
    pub model: &'a Model,
    /// Its average, which is validated and saved as weights.
    pub ema: &'a Ema,
    /// The optimiser with its moments.
    pub optimiser: &'a Optimiser,
    /// Gradients that wait for the optimiser's next step.
    pub gradients: &'a Gradients,
    /// Counters and sums.
    pub counters: &'a Counters,
}

/// The numbers among a training's state.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Epochs that are over.
    pub epoch: usize,
    /// Batches of the current epoch that are over.
    pub batch: usize,
    /// Batches since the run began.
    pub iteration: u64,
    /// Batches whose gradients wait for the optimiser's next step.
    pub waiting: u64,
    /// Sums of the three losses over the current epoch's batches, as bits of a float64.
    pub loss_sums: [u64; 3],
    /// Seconds spent, as bits of a float64.
    pub seconds: u64,
    /// Best epoch, counted from 1; 0 where none was validated.
    pub best_epoch: usize,
    /// Its fitness, as bits of a float64.
    pub best_fitness: u64,
}

impl Counters {
    /// Before the first step.
    pub fn start() -> Self {
        Counters {
            epoch: 0,
            batch: 0,
            iteration: 0,
            waiting: 0,
            loss_sums: [0f64.to_bits(); 3],
            seconds: 0f64.to_bits(),
            best_epoch: 0,
            best_fitness: 0f64.to_bits(),
        }
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<Best> {
        (self.best_epoch > 0).then(|| Best { epoch: self.best_epoch, fitness: f64::from_bits(self.best_fitness) })
    }
}

/// Why a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs are done.
    Complete,
    /// No better fitness for as many epochs as `patience` says.
    Patience,
    /// The next epoch would not have ended within `time`.
    Time,
}

/// What a run has brought.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// The run's folder.
    pub folder: PathBuf,
    /// Epochs done, earlier ones included.
    pub epochs: usize,
    /// Seconds, those before a resume included.
    pub seconds: f64,
    /// The best epoch, where one was validated.
    pub best: Option<Best>,
    /// Why it ended.
    pub ending: Ending,
    /// Validation of `best.pt`, or of the last weights where no epoch was better than another.
    pub validation: Option<Validation>,
    /// Number of this process among those that trained together; only 0, which is also one that trains alone, has anything to show.
    pub process: usize,
}

/// What happens in a run, in this order: one `RunStarted`, for each epoch `EpochStarted`, many `StepFinished`, `ValidationFinished`,
/// `EpochFinished`, and at the end one of `RunFinished` and `RunFailed`; the others in between.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Everything is read and planned.
    RunStarted(&'a RunDescription),
    /// An epoch begins.
    EpochStarted {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Epochs of the run.
        epochs: usize,
        /// Batches of the epoch.
        batches: usize,
    },
    /// A batch is about to be learnt, exactly as the network sees it.
    BatchLoaded {
        /// Batches since the run began, before this one.
        iteration: u64,
        /// Pictures, objects and where they come from.
        batch: &'a Batch,
    },
    /// A batch was learnt.
    StepFinished(&'a StepReport),
    /// A batch of the validation is done.
    ValidationStep {
        /// Batch, counted from 1.
        batch: usize,
        /// Batches of the validation.
        batches: usize,
    },
    /// What the weights that are measured found, picture by picture in the order of the batches; comes before `ValidationFinished`.
    DetectionsFound(&'a [PictureDetections]),
    /// The epoch's weights were measured.
    ValidationFinished(&'a Validation),
    /// An epoch is over. `improved`: its fitness is the best so far.
    EpochFinished {
        /// Its figures.
        report: &'a EpochReport,
        /// What to save.
        state: TrainingState<'a>,
        /// Whether the fitness is the best so far.
        improved: bool,
    },
    /// The fitness is the best so far.
    BestImproved(Best),
    /// The user stopped the run after a step.
    Interrupted {
        /// What to save.
        state: TrainingState<'a>,
    },
    /// A file with weights or state stands complete.
    CheckpointSaved {
        /// The file.
        path: &'a Path,
    },
    /// A picture of the run stands complete.
    PictureSaved {
        /// The file.
        path: &'a Path,
    },
    /// Data that is versioned or lies elsewhere is on its way: how far it is.
    DataMoved(&'a yolo11_versioning::Progress),
    /// It is here, or will not come.
    DataRests,
    /// Worth knowing.
    Note(&'a str),
    /// Something was left out or is not as it was asked for.
    Warning(&'a str),
    /// For the log alone: one of many findings.
    Detail(&'a str),
    /// The run ended as it should.
    RunFinished(&'a RunSummary),
    /// The run broke off.
    RunFailed(&'a str),
}

/// What an observer has to tell the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A picture was drawn: becomes [`Event::PictureSaved`].
    PictureSaved(PathBuf),
    /// Something could not be done that the run does not depend on: becomes [`Event::Warning`].
    Warning(String),
    /// For the log: becomes [`Event::Detail`].
    Detail(String),
}

/// Someone who listens to a run.
pub trait Observer: Send {
    /// Takes in an event. An error stops the run.
    fn on(&mut self, event: &Event) -> Result<(), Error>;

    /// Files that were completed since the last call; they are announced to all.
    fn saved(&mut self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What came up since the last call; it is announced to all.
    fn notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }
}

/// Passes events to observers, in the order in which they were added.
#[derive(Default)]
pub struct Announcer {
    observers: Vec<Box<dyn Observer>>,
}

impl Announcer {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a listener.
    pub fn add(&mut self, observer: impl Observer + 'static) {
        self.observers.push(Box::new(observer));
    }

    /// Tells everyone; stops at the first that cannot go on.
    pub fn announce(&mut self, event: &Event) -> Result<(), Error> {
        let (mut saved, mut notices) = (Vec::new(), Vec::new());
        for observer in &mut self.observers {
            observer.on(event)?;
            saved.append(&mut observer.saved());
            notices.append(&mut observer.notices());
        }
        for path in saved {
            self.announce(&Event::CheckpointSaved { path: &path })?;
        }
        notices.iter().try_for_each(|notice| self.pass_on(notice))
    }

    /// Tells everyone what one of them has to tell.
    pub fn pass_on(&mut self, notice: &Notice) -> Result<(), Error> {
        match notice {
            Notice::PictureSaved(path) => self.announce(&Event::PictureSaved { path }),
            Notice::Warning(text) => self.warn(text),
            Notice::Detail(text) => self.announce(&Event::Detail(text)),
        }
    }

    /// Tells everyone that the run broke off; those that fail at it are passed over, the run's own error matters more.
    pub fn announce_failure(&mut self, error: &Error) {
        let text = error.to_string();
        for observer in &mut self.observers {
            let _ = observer.on(&Event::RunFailed(&text));
        }
    }

    /// A [`Event::Note`].
    pub fn note(&mut self, text: impl AsRef<str>) -> Result<(), Error> {
        self.announce(&Event::Note(text.as_ref()))
    }

    /// A [`Event::Warning`].
    pub fn warn(&mut self, text: impl AsRef<str>) -> Result<(), Error> {
        self.announce(&Event::Warning(text.as_ref()))
    }
}
