//! Measures a model on a split: detections, losses, precision, recall, mAP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use yolo11_config::Settings;
use yolo11_dataset::{Batch, Loader, Split};
use yolo11_detection::detection_metrics::{DetectionMetrics, DetectionSummary, TrueBox};
use yolo11_detection::geometry::xywh_to_xyxy;
use yolo11_detection::{Detection, Gains, LossWorkspace, NmsSettings};
use yolo11_inference::{Backend, Predictions};

use crate::{Error, data};

/// Confidence below which no detection counts, unless the settings say otherwise.
const CONFIDENCE: f32 = 0.001;

/// What a validation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Figures over all classes and of each, curves and confusion matrix. `map50_95`, COCO's own, is the fitness.
    pub summary: DetectionSummary,
    /// Names of the classes.
    pub names: Vec<String>,
    /// Box, class and distribution loss, mean over the batches; NaN where the model's file gives no logits.
    pub losses: [f64; 3],
    /// Milliseconds a picture.
    pub speed: Speed,
    /// Seconds in all.
    pub seconds: f64,
}

/// Milliseconds a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Waiting for decoded and scaled pictures.
    pub preprocess: f64,
    /// The network.
    pub inference: f64,
    /// Decoding of boxes and suppression.
    pub postprocess: f64,
}

impl Validation {
    /// Figures by the names they have in results.csv.
    pub fn named_metrics(&self) -> Vec<(String, f64)> {
        let summary = &self.summary;
        let mut named = vec![
            ("metrics/precision(B)".to_owned(), summary.precision),
            ("metrics/recall(B)".to_owned(), summary.recall),
            ("metrics/mAP50(B)".to_owned(), summary.map50),
            ("metrics/mAP50-95(B)".to_owned(), summary.map50_95),
            ("metrics/mAP50-interpolated(B)".to_owned(), summary.interpolated_map50),
            ("metrics/mAP50-95-interpolated(B)".to_owned(), summary.interpolated_map50_95),
        ];
        let parts = ["box", "cls", "dfl"];
        named.extend(parts.iter().zip(self.losses).map(|(part, loss)| (format!("val/{part}_loss"), loss)));
        named
    }
}

/// Detections of one picture, in its own pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureDetections {
    /// Position in the split's pictures.
    pub index: usize,
    /// Best first, clipped to it.
    pub detections: Vec<Detection>,
    /// Their boxes before they were clipped.
    pub unclipped: Vec<[f32; 4]>,
}

/// A split to measure models on, again and again.
pub struct Validator {
    loader: Loader,
    loss: LossWorkspace,
    nms: NmsSettings,
    gains: Gains,
    single_class: bool,
}

impl Validator {
    /// Prepares a split; nothing is read yet.
    /// `square`: every batch in the same square input, for models that take no other.
    pub fn new(split: Arc<Split>, settings: &Settings, batch: usize, square: bool) -> Result<Self, Error> {
        let nms = NmsSettings {
            confidence: settings.conf.unwrap_or(CONFIDENCE),
            iou: settings.iou,
            agnostic: settings.agnostic_nms || settings.single_cls,
            max_detections: settings.max_det,
            classes: (!settings.classes.is_empty() && !settings.single_cls).then(|| settings.classes.clone()),
            ..NmsSettings::evaluation()
        };
        Ok(Validator {
            loader: data::validation_loader(split, settings, batch, square)?,
            loss: LossWorkspace::new(),
            nms,
            gains: gains(settings),
            single_class: settings.single_cls,
        })
    }

    /// The split.
    pub fn split(&self) -> &Split {
        self.loader.split()
    }

    /// Pictures that turned out unreadable.
    pub fn findings(&self) -> Vec<yolo11_dataset::Finding> {
        self.loader.findings()
    }

    /// Measures a model. `progress` hears each batch and how many there are; when it says false the measuring ends without result.
    pub fn run(
        &mut self,
        backend: &mut dyn Backend,
        mut progress: impl FnMut(usize, usize) -> Result<bool, Error>,
    ) -> Result<Option<(Validation, Vec<PictureDetections>)>, Error> {
        let started = Instant::now();
        let (mut found, mut losses) = (Vec::new(), [0f64; 3]);
        let (mut batches, mut times) = (0, Times::default());
        let total = self.loader.batches();
        let mut epoch = self.loader.epoch(0);
        loop {
            let waited = Instant::now();
            let Some(batch) = epoch.next() else { break };
            let batch = batch?;
            times.preprocess += waited.elapsed();
            let loss = self.measure_batch(backend, &batch, &mut found, &mut times)?;
            losses.iter_mut().zip(loss).for_each(|(sum, item)| *sum += f64::from(item));
            batches += 1;
            self.loader.recycle(batch);
            if !progress(batches, total)? {
                return Ok(None);
            }
        }
        let split = self.loader.split();
        let validation = Validation {
            summary: measure(split, &found)?,
            names: split.names.clone(),
            losses: losses.map(|sum| sum / f64::from(batches.max(1) as u32)),
            speed: times.each(found.len()),
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok(Some((validation, found)))
    }

    fn measure_batch(
        &mut self,
        backend: &mut dyn Backend,
        batch: &Batch,
        found: &mut Vec<PictureDetections>,
        times: &mut Times,
    ) -> Result<[f32; 3], Error> {
        let begun = Instant::now();
        let predictions = backend.run(&batch.images, batch.size)?;
        times.inference += begun.elapsed();

        let begun = Instant::now();
        let samples = batch.samples.par_iter().enumerate().map(|(image, sample)| {
            let mut detections = predictions.detect(image, &self.nms);
            let mut unclipped = Vec::with_capacity(detections.len());
            for detection in &mut detections {
                let bbox = detection.bbox;
                unclipped.push(sample.place.map_or(bbox, |place| place.to_original_plane(bbox)));
                detection.bbox = sample.place.map_or(bbox, |place| place.to_original(bbox));
                if self.single_class {
                    detection.class = 0;
                }
            }
            PictureDetections { index: sample.index, detections, unclipped }
        });
        found.extend(samples.collect::<Vec<_>>());
        times.postprocess += begun.elapsed();
        match predictions {
            Predictions::Logits(heads) => Ok(self.loss.evaluate(&heads, &batch.targets, &self.gains)?.items),
            _ => Ok([f32::NAN; 3]),
        }
    }
}

/// Compares detections with the labels, both in the pictures' own pixels.
fn measure(split: &Split, found: &[PictureDetections]) -> Result<DetectionSummary, Error> {
    let mut metrics = DetectionMetrics::new(split.names.len());
    for picture in found {
        let image = &split.images[picture.index];
        let [height, width] = image.size.map(|side| side as f32);
        let targets = image.labels.iter().map(|label| {
            let [x1, y1, x2, y2] = xywh_to_xyxy(label.bbox);
            TrueBox { class: label.class, bbox: [x1 * width, y1 * height, x2 * width, y2 * height] }
        });
        metrics.add_clipped_image(&picture.detections, &picture.unclipped, &targets.collect::<Vec<_>>())?;
    }
    Ok(metrics.finish())
}

/// The loss's gains of the settings.
pub fn gains(settings: &Settings) -> Gains {
    let gains = &settings.gains;
    Gains { box_loss: gains.bbox, class_loss: gains.cls, dfl_loss: gains.dfl }
}

#[derive(Default)]
struct Times {
    preprocess: Duration,
    inference: Duration,
    postprocess: Duration,
}

impl Times {
    fn each(&self, images: usize) -> Speed {
        let each = |time: Duration| time.as_secs_f64() * 1e3 / images.max(1) as f64;
        Speed {
            preprocess: each(self.preprocess),
            inference: each(self.inference),
            postprocess: each(self.postprocess),
        }
    }
}
