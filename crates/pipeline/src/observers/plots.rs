//! The run folder's pictures: training and validation batches, label statistics, results, curves, confusion matrices.
//!
//! While the training goes on a thread of its own draws; what is left is drawn at the end on all threads. A picture that cannot be
//! drawn or written becomes a warning: it never stops a run.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use yolo11_dataset::{Batch, Split};
use yolo11_detection::DetectionSummary;
use yolo11_report::mosaic::{self, MOST_TILES, Tile};
use yolo11_report::{Image, LabelledBox, confusion, curves, labels, results};

use crate::event::Notice;
use crate::file::write_atomically;
use crate::tiles::{batch_tiles, picture_tile};
use crate::validation::{PictureDetections, Validation};
use crate::{Error, Event, Observer, data};

/// Batches of the training and of the validation that are shown.
const BATCHES: usize = 3;
/// Confidence below which a detection is not shown.
const CONFIDENCE: f32 = 0.25;
/// The results are drawn again after this many times as long as the last drawing took.
const PACE: u32 = 400;

/// Names and contents of files.
type Files = Vec<(String, Vec<u8>)>;

/// Files that belong together, by their name in the run's folder, still to be drawn.
struct Drawing {
    /// What a warning calls it.
    name: String,
    draw: Box<dyn FnOnce() -> Result<Files, yolo11_report::Error> + Send>,
}

impl Drawing {
    /// One file, as PNG or JPEG by its ending.
    fn one(name: impl Into<String>, draw: impl FnOnce() -> Image + Send + 'static) -> Self {
        let name = name.into();
        let file = name.clone();
        Drawing { name, draw: Box::new(move || Ok(vec![encode(file, &draw())?])) }
    }

    /// Draws and writes, and tells what came of it.
    fn carry_out(self, folder: &Path) -> Vec<Notice> {
        // A fault in drawing must not end a training of days.
        let drawn = catch_unwind(AssertUnwindSafe(self.draw));
        let failed = |reason: String| vec![Notice::Warning(format!("{}: cannot be drawn: {reason}", self.name))];
        let files = match drawn {
            Ok(Ok(files)) => files,
            Ok(Err(error)) => return failed(error.to_string()),
            Err(_) => return failed("the drawing broke off".into()),
        };
        let write = |(name, bytes): (String, Vec<u8>)| {
            let path = folder.join(name);
            match write_atomically(&path, &bytes) {
                Ok(()) => Notice::PictureSaved(path),
                Err(error) => Notice::Warning(error.to_string()),
            }
        };
        files.into_iter().map(write).collect()
    }
}

fn encode(name: String, image: &Image) -> Result<(String, Vec<u8>), yolo11_report::Error> {
    let bytes = if name.ends_with(".jpg") { image.to_jpeg()? } else { image.to_png()? };
    Ok((name, bytes))
}

/// Draws a run's pictures into its folder.
pub struct Plots {
    folder: PathBuf,
    names: Vec<String>,
    training: Arc<Split>,
    validation: Arc<Split>,
    validation_batch: usize,
    worker: Option<Worker>,
    /// Detections on the first batches: of the latest validation, of the best one.
    latest: Option<Vec<PictureDetections>>,
    best: Option<Vec<PictureDetections>>,
    notices: Vec<Notice>,
    /// Warnings that were told already: a disk stays full for a while.
    told: HashSet<String>,
}

impl Plots {
    /// Nothing is drawn yet. `validation_batch`: pictures of a validation's batch.
    pub fn new(folder: &Path, training: Arc<Split>, validation: Arc<Split>, validation_batch: usize) -> Self {
        Plots {
            folder: folder.to_owned(),
            names: training.names.clone(),
            training,
            validation,
            validation_batch: validation_batch.max(1),
            worker: None,
            latest: None,
            best: None,
            notices: Vec::new(),
            told: HashSet::new(),
        }
    }

    fn later(&mut self, drawing: Drawing) {
        if self.worker.is_none() {
            match Worker::start(self.folder.clone()) {
                Ok(worker) => self.worker = Some(worker),
                // Without a thread the training waits for the drawing.
                Err(_) => return self.now(vec![drawing]),
            }
        }
        if let Some(worker) = &self.worker {
            worker.take_on(drawing);
        }
    }

    fn now(&mut self, drawings: Vec<Drawing>) {
        self.notices.extend(carry_out_all(&self.folder, drawings));
    }

    /// Waits for what the thread still draws.
    fn settle(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.notices.extend(worker.finish());
        }
    }

    fn labels(&self) -> Drawing {
        let training = self.training.clone();
        Drawing::one("labels.jpg", move || {
            labels::draw(training.images.len(), &data::targets(&training), &training.names)
        })
    }

    fn training_batch(&self, number: usize, batch: &Batch) -> Drawing {
        let tiles = batch_tiles(batch, &self.training, 0..MOST_TILES);
        let names = self.names.clone();
        Drawing::one(format!("train_batch{number}.jpg"), move || mosaic::draw(&tiles, &names))
    }

    /// From the table in the run's folder, so that a resumed run's picture shows all epochs.
    fn results(&self) -> Drawing {
        let table = self.folder.join("results.csv");
        let draw = move || {
            // A run that broke off before its first epoch has no table.
            let Ok(text) = std::fs::read_to_string(table) else { return Ok(Vec::new()) };
            let rows = results::parse(&text)?;
            Ok(vec![encode("results.png".into(), &results::draw(&rows))?])
        };
        Drawing { name: "results.png".into(), draw: Box::new(draw) }
    }

    fn finish(&mut self, validation: Option<&Validation>) {
        self.settle();
        let mut drawings = vec![self.results()];
        if let Some(validation) = validation {
            // Measured once more after the last epoch: these are the best weights' own.
            let found = self.latest.take().or(self.best.take()).unwrap_or_default();
            drawings.extend(validation_drawings(validation, found, &self.validation, self.validation_batch));
        }
        self.now(drawings);
    }
}

impl Observer for Plots {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::RunStarted(run) if run.finished_epochs == 0 => self.later(self.labels()),
            Event::BatchLoaded { iteration, batch } if *iteration < BATCHES as u64 => {
                self.later(self.training_batch(*iteration as usize, batch));
            }
            Event::DetectionsFound(found) => self.latest = Some(shown(found, self.validation_batch)),
            Event::EpochFinished { improved, .. } => {
                if let Some(latest) = self.latest.take().filter(|_| *improved || self.best.is_none()) {
                    self.best = Some(latest);
                }
                if self.worker.as_ref().is_none_or(Worker::has_time) {
                    self.later(self.results());
                }
            }
            Event::RunFinished(summary) => self.finish(summary.validation.as_ref()),
            Event::Interrupted { .. } => self.finish(None),
            Event::RunFailed(_) if self.worker.is_some() => self.finish(None),
            _ => {}
        }
        Ok(())
    }

    fn notices(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        if let Some(worker) = &self.worker {
            notices.extend(worker.reports.try_iter().flatten());
        }
        notices.retain(|notice| !matches!(notice, Notice::Warning(text) if !self.told.insert(text.clone())));
        notices
    }
}

/// Draws what one validation brought into a folder: curves, confusion matrices, the first batches with labels and with detections.
/// `batch`: pictures of one of its batches. Gives the files that were written, and a warning for each that could not be.
pub fn draw_validation(
    folder: &Path,
    validation: &Validation,
    found: &[PictureDetections],
    split: &Arc<Split>,
    batch: usize,
) -> Vec<Notice> {
    let batch = batch.max(1);
    carry_out_all(folder, validation_drawings(validation, shown(found, batch), split, batch))
}

fn carry_out_all(folder: &Path, drawings: Vec<Drawing>) -> Vec<Notice> {
    drawings
        .into_par_iter()
        .map(|drawing| drawing.carry_out(folder))
        .collect::<Vec<_>>()
        .into_iter()
        .flatten()
        .collect()
}

/// Of the first batches what is shown: the pictures that have room on a sheet, their sure detections.
fn shown(found: &[PictureDetections], batch: usize) -> Vec<PictureDetections> {
    let sure = |picture: &PictureDetections| {
        let all = picture.detections.iter().copied().zip(picture.unclipped.iter().copied());
        let (detections, unclipped) = all.filter(|(found, _)| found.score >= CONFIDENCE).unzip();
        PictureDetections { index: picture.index, detections, unclipped }
    };
    found.iter().take(BATCHES * batch).map(sure).collect()
}

fn validation_drawings(
    validation: &Validation,
    found: Vec<PictureDetections>,
    split: &Arc<Split>,
    batch: usize,
) -> Vec<Drawing> {
    let summary: Arc<DetectionSummary> = Arc::new(validation.summary.clone());
    let names = Arc::new(validation.names.clone());
    let mut drawings = Vec::new();
    for (number, pictures) in found.chunks(batch).take(BATCHES).enumerate() {
        let pictures = pictures[..pictures.len().min(MOST_TILES)].to_vec();
        let (split, names) = (split.clone(), names.clone());
        let draw = move || {
            let [labels, detections] = validation_sheets(&pictures, &split, &names);
            Ok(vec![
                encode(format!("val_batch{number}_labels.jpg"), &labels)?,
                encode(format!("val_batch{number}_pred.jpg"), &detections)?,
            ])
        };
        drawings.push(Drawing { name: format!("val_batch{number}"), draw: Box::new(draw) });
    }
    for kind in curves::Kind::ALL {
        let (summary, names) = (summary.clone(), names.clone());
        drawings.push(Drawing::one(kind.file_name(), move || curves::draw(kind, &summary, &names)));
    }
    for (file, normalised) in [("confusion_matrix.png", false), ("confusion_matrix_normalized.png", true)] {
        let (summary, names) = (summary.clone(), names.clone());
        drawings.push(Drawing::one(file, move || confusion::draw(&summary.confusion, &names, normalised)));
    }
    drawings
}

/// The same pictures twice: with their labels, with what was found.
fn validation_sheets(pictures: &[PictureDetections], split: &Split, names: &[String]) -> [Image; 2] {
    let limit = mosaic::tile_limit(pictures.len());
    let (mut labelled_tiles, mut found_tiles) = (Vec::new(), Vec::new());
    for picture in pictures {
        let Some(entry) = split.images.get(picture.index) else { continue };
        let Some((tile, scale)) = picture_tile(entry, limit) else { continue };
        let boxes = picture.detections.iter().map(|found| {
            let whole = LabelledBox::from(found);
            LabelledBox { bbox: whole.bbox.map(|side| side * scale), ..whole }
        });
        found_tiles.push(Tile { boxes: boxes.collect(), ..tile.clone() });
        labelled_tiles.push(tile);
    }
    [mosaic::draw(&labelled_tiles, names), mosaic::draw(&found_tiles, names)]
}

/// A thread that draws while the training goes on.
struct Worker {
    drawings: Sender<Drawing>,
    reports: Receiver<Vec<Notice>>,
    thread: JoinHandle<()>,
    /// When the thread will have earned its next drawing; none while it has one to do.
    free_from: Arc<Mutex<Option<Instant>>>,
}

impl Worker {
    fn start(folder: PathBuf) -> std::io::Result<Self> {
        let (drawings, waiting) = channel::<Drawing>();
        let (report, reports) = channel();
        let free_from = Arc::new(Mutex::new(Some(Instant::now())));
        let free = free_from.clone();
        let draw = move || {
            for drawing in waiting {
                let begun = Instant::now();
                let name = drawing.name.clone();
                // Nobody listens any more: then nobody needs to know.
                let _ = report.send(drawing.carry_out(&folder));
                if name == "results.png" {
                    let rest: Duration = begun.elapsed() * PACE;
                    *free.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + rest);
                }
            }
        };
        let thread = std::thread::Builder::new().name("plots".into()).spawn(draw)?;
        Ok(Worker { drawings, reports, thread, free_from })
    }

    fn take_on(&self, drawing: Drawing) {
        if drawing.name == "results.png" {
            *self.free_from.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        // The thread ends only when this sender is dropped.
        let _ = self.drawings.send(drawing);
    }

    /// Whether the results may be drawn again without taking the training's time.
    fn has_time(&self) -> bool {
        self.free_from.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|from| Instant::now() >= from)
    }

    fn finish(self) -> Vec<Notice> {
        drop(self.drawings);
        let _ = self.thread.join();
        self.reports.try_iter().flatten().collect()
    }
}
