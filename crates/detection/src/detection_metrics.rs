//! The trainer's table: average precision, and precision, recall and F1 at the confidence where the mean F1 is best.
//!
//! Two average precisions stand side by side. [`DetectionSummary::map50_95`] is COCO's own. The *interpolated* one joins
//! the points of the precision-recall curve by straight lines and integrates them by trapezoids; trainers of this family
//! print it, and it reads a little lower. They also match boxes with targets before the boxes are clipped to the image.
//!
//! Of each detection some 50 bytes stay in memory, of each target a count.

mod confusion;
mod curves;
mod matching;

pub use confusion::ConfusionMatrix;
pub use curves::{CONFIDENCES, Curves};

use rayon::prelude::*;

use crate::coco_metrics::{CocoDetection, CocoEvaluator, CocoMetrics, CocoTruth};
use crate::nms::Detection;
use crate::{Error, geometry};
use curves::{ClassCurves, smoothed_peak};
use matching::match_image;

/// One object of an image, in the same pixels as its detections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrueBox {
    /// Class, from 0.
    pub class: usize,
    /// Corners `x1 y1 x2 y2`.
    pub bbox: [f32; 4],
}

/// What stays of a detection for the curves.
#[derive(Clone, Copy, Debug)]
struct Scored {
    score: f32,
    /// A bit for each threshold .50 to .95: right.
    matched: u16,
}

/// Collects images, then gives the table.
#[derive(Clone, Debug)]
pub struct DetectionMetrics {
    coco: CocoEvaluator,
    scored: Vec<Vec<Scored>>,
    /// Targets by class, and images with such a target.
    targets: Vec<u64>,
    images_with: Vec<u64>,
    images: u64,
    confusion: ConfusionMatrix,
}

/// One class's row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassSummary {
    /// Class, from 0.
    pub class: usize,
    /// Images with a target of the class.
    pub images: u64,
    /// Targets of the class; where there are none all figures are 0.
    pub targets: u64,
    /// Share of its detections that are right, at the summary's confidence.
    pub precision: f64,
    /// Share of its targets that are found, at the summary's confidence.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// COCO's average precision at IoU .50.
    pub ap50: f64,
    /// COCO's average precision over IoU .50 to .95.
    pub ap50_95: f64,
    /// Interpolated average precision at IoU .50.
    pub interpolated_ap50: f64,
    /// Interpolated average precision over IoU .50 to .95.
    pub interpolated_ap50_95: f64,
}

/// The table, its curves and the confusion matrix; means are over the classes with targets, 0 where there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionSummary {
    /// Images seen.
    pub images: u64,
    /// Targets seen.
    pub targets: u64,
    /// COCO's mean average precision at IoU .50.
    pub map50: f64,
    /// COCO's mean average precision over IoU .50 to .95: the fitness.
    pub map50_95: f64,
    /// Interpolated mean average precision at IoU .50.
    pub interpolated_map50: f64,
    /// Interpolated mean average precision over IoU .50 to .95.
    pub interpolated_map50_95: f64,
    /// Mean precision at [`DetectionSummary::confidence`].
    pub precision: f64,
    /// Mean recall at that confidence.
    pub recall: f64,
    /// Mean F1 at that confidence.
    pub f1: f64,
    /// Confidence where the smoothed mean F1 is greatest.
    pub confidence: f64,
    /// A row for each class, in order.
    pub classes: Vec<ClassSummary>,
    /// Curves of the classes with targets.
    pub curves: Curves,
    /// Which class was taken for which.
    pub confusion: ConfusionMatrix,
    /// All of COCO's figures, with 1, 10 and 300 detections.
    pub coco: CocoMetrics,
}

impl DetectionMetrics {
    /// Nothing seen yet, of this many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            coco: CocoEvaluator::with_max_detections(classes, [1, 10, 300]),
            scored: vec![Vec::new(); classes],
            targets: vec![0; classes],
            images_with: vec![0; classes],
            images: 0,
            confusion: ConfusionMatrix::new(classes),
        }
    }

    /// Adds one image.
    ///
    /// Fails, adding nothing, where a class is out of range.
    pub fn add_image(&mut self, detections: &[Detection], targets: &[TrueBox]) -> Result<(), Error> {
        let boxes: Vec<[f32; 4]> = detections.iter().map(|detection| detection.bbox).collect();
        self.add_clipped_image(detections, &boxes, targets)
    }

    /// Adds one image whose detections were clipped to it; `unclipped` are their boxes before. COCO's figures are of the clipped boxes, all
    /// others of the unclipped ones.
    ///
    /// Fails, adding nothing, where a class is out of range.
    pub fn add_clipped_image(
        &mut self,
        detections: &[Detection],
        unclipped: &[[f32; 4]],
        targets: &[TrueBox],
    ) -> Result<(), Error> {
        let xywh = |[x1, y1, x2, y2]: [f32; 4]| {
            let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(f64::from);
            [x1, y1, x2 - x1, y2 - y1]
        };
        let truths: Vec<CocoTruth> = targets
            .iter()
            .map(|target| {
                let bbox = xywh(target.bbox);
                CocoTruth { class: target.class, bbox, area: bbox[2] * bbox[3], crowd: false }
            })
            .collect();
        let found: Vec<CocoDetection> = detections
            .iter()
            .map(|d| CocoDetection { class: d.class, bbox: xywh(d.bbox), score: f64::from(d.score) })
            .collect();
        self.coco.add_image(&truths, &found)?;

        let whole = detections.iter().zip(unclipped).map(|(detection, &bbox)| Detection { bbox, ..*detection });
        let mut detections: Vec<Detection> = whole.collect();
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        let overlaps: Vec<f32> = detections
            .iter()
            .flat_map(|detection| targets.iter().map(|target| geometry::iou(detection.bbox, target.bbox)))
            .collect();
        for (detection, matched) in detections.iter().zip(match_image(&detections, targets, &overlaps)) {
            self.scored[detection.class].push(Scored { score: detection.score, matched });
        }
        let mut seen = vec![false; self.targets.len()];
        for target in targets {
            self.targets[target.class] += 1;
            seen[target.class] = true;
        }
        for (images, seen) in self.images_with.iter_mut().zip(seen) {
            *images += u64::from(seen);
        }
        self.images += 1;
        self.confusion.add_image(&detections, targets, &overlaps);
        Ok(())
    }

    /// The table over all images added so far.
    pub fn finish(&self) -> DetectionSummary {
        let coco = self.coco.finish();
        let own: Vec<Option<ClassCurves>> =
            self.scored.par_iter().zip(&self.targets).map(|(scored, &n)| ClassCurves::new(scored, n)).collect();
        let with_targets: Vec<(usize, &ClassCurves)> =
            own.iter().enumerate().filter_map(|(class, curves)| Some((class, curves.as_ref()?))).collect();
        let best = smoothed_peak(&curves::mean(with_targets.iter().map(|(_, curves)| &curves.f1[..])));

        let classes: Vec<ClassSummary> = own
            .iter()
            .enumerate()
            .map(|(class, curves)| {
                let at_best = |curve: fn(&ClassCurves) -> &[f64]| curves.as_ref().map_or(0.0, |c| curve(c)[best]);
                let average = |from: usize, to: usize| {
                    let values = curves.as_ref().map_or(&[0.0; 10][from..to], |c| &c.average_precision[from..to]);
                    values.iter().sum::<f64>() / values.len() as f64
                };
                ClassSummary {
                    class,
                    images: self.images_with[class],
                    targets: self.targets[class],
                    precision: at_best(|c| &c.precision),
                    recall: at_best(|c| &c.recall),
                    f1: at_best(|c| &c.f1),
                    ap50: coco.per_class[class].ap50.max(0.0),
                    ap50_95: coco.per_class[class].ap.max(0.0),
                    interpolated_ap50: average(0, 1),
                    interpolated_ap50_95: average(0, 10),
                }
            })
            .collect();
        let mean = |value: fn(&ClassSummary) -> f64| {
            let count = with_targets.len().max(1) as f64;
            with_targets.iter().map(|&(class, _)| value(&classes[class])).sum::<f64>() / count
        };
        DetectionSummary {
            images: self.images,
            targets: self.targets.iter().sum(),
            map50: coco.ap50.max(0.0),
            map50_95: coco.ap.max(0.0),
            interpolated_map50: mean(|class| class.interpolated_ap50),
            interpolated_map50_95: mean(|class| class.interpolated_ap50_95),
            precision: mean(|class| class.precision),
            recall: mean(|class| class.recall),
            f1: mean(|class| class.f1),
            confidence: Curves::axis(best),
            curves: Curves::new(&with_targets),
            confusion: self.confusion.clone(),
            classes,
            coco,
        }
    }
}

#[cfg(test)]
mod tests;
