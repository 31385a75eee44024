//! Which class was taken for which.

use super::TrueBox;
use super::matching::pairs;
use crate::nms::Detection;

/// Detections with less confidence do not count.
const CONFIDENCE: f32 = 0.25;

/// A detection and a target that overlap more than this belong together, whatever their classes.
const IOU: f32 = 0.45;

/// Counts of predicted and actual classes; the index after the last class is the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    pub(super) fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; (classes + 1) * (classes + 1)] }
    }

    /// Number of classes; also the background's index.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Targets of class `actual` that were taken for `predicted`: with `predicted` the background those that were missed,
    /// with `actual` the background the detections where nothing was.
    pub fn count(&self, predicted: usize, actual: usize) -> u64 {
        self.counts[predicted * (self.classes + 1) + actual]
    }

    /// The count as a share of all of `actual`; 0 where there are none.
    pub fn share(&self, predicted: usize, actual: usize) -> f64 {
        let all: u64 = (0..=self.classes).map(|row| self.count(row, actual)).sum();
        if all == 0 { 0.0 } else { self.count(predicted, actual) as f64 / all as f64 }
    }

    fn add(&mut self, predicted: usize, actual: usize) {
        self.counts[predicted * (self.classes + 1) + actual] += 1;
    }

    /// Adds one image; `overlaps` is `[detection, target]`.
    pub(super) fn add_image(&mut self, detections: &[Detection], targets: &[TrueBox], overlaps: &[f32]) {
        let background = self.classes;
        let counts = |row: usize| detections[row].score > CONFIDENCE;
        let pairs = pairs(overlaps, targets.len(), |overlap, row, _| overlap > IOU && counts(row));
        let mut found = vec![false; targets.len()];
        let mut right = vec![false; detections.len()];
        for (row, column) in pairs {
            self.add(detections[row].class, targets[column].class);
            right[row] = true;
            found[column] = true;
        }
        for target in targets.iter().zip(found).filter(|(_, found)| !found).map(|(target, _)| target) {
            self.add(background, target.class);
        }
        for (row, detection) in detections.iter().enumerate() {
            if counts(row) && !right[row] {
                self.add(detection.class, background);
            }
        }
    }
}
