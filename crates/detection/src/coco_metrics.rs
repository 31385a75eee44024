//! COCO's detection evaluation: average precision and recall, equal to pycocotools' `COCOeval` for boxes.
//!
//! Images are matched one after the other and only a small record of each detection is kept, so that memory grows by 32
//! bytes a detection whatever the images hold.

mod matching;

use rayon::prelude::*;

use crate::Error;
use matching::match_class;

/// IoU thresholds .50, .55 … .95.
pub const THRESHOLDS: usize = 10;

/// Recall levels 0, .01 … 1.
const RECALLS: usize = 101;

/// Ranges of areas: all, small, medium, large.
const AREAS: usize = 4;

/// Lower and upper bounds of the areas in square pixels, both included.
const AREA_BOUNDS: [[f64; 2]; AREAS] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// `start`, `start + step` … `stop` as numpy's linspace rounds them.
pub(crate) fn linspace(start: f64, stop: f64, count: usize, index: usize) -> f64 {
    if index + 1 == count { stop } else { start + index as f64 * ((stop - start) / (count - 1) as f64) }
}

/// The IoU threshold with this index, 0 to 9.
pub fn threshold(index: usize) -> f64 {
    linspace(0.5, 0.95, THRESHOLDS, index)
}

/// One object that is in the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CocoTruth {
    /// Class, from 0.
    pub class: usize,
    /// Left, top, width, height in pixels.
    pub bbox: [f64; 4],
    /// Area in square pixels by which it counts as small, medium or large: of its outline where known, else of its box.
    pub area: f64,
    /// A crowd: detections inside it count neither as right nor as wrong.
    pub crowd: bool,
}

/// One detection of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CocoDetection {
    /// Class, from 0.
    pub class: usize,
    /// Left, top, width, height in pixels.
    pub bbox: [f64; 4],
    /// Confidence; only its order counts.
    pub score: f64,
}

/// What the evaluation remembers of a detection.
#[derive(Clone, Copy, Debug)]
struct Record {
    score: f64,
    /// Its place among its image's detections of its class, best score first.
    rank: u32,
    /// For each range of areas, a bit for each threshold: matched to an object.
    matched: [u16; AREAS],
    /// Likewise: counts neither as right nor as wrong.
    ignored: [u16; AREAS],
}

/// All images' records of one class.
#[derive(Clone, Debug, Default)]
struct ClassRecords {
    records: Vec<Record>,
    /// Objects to be found in each range of areas.
    truths: [u64; AREAS],
}

/// Collects images, then gives COCO's figures.
#[derive(Clone, Debug)]
pub struct CocoEvaluator {
    max_detections: [usize; 3],
    classes: Vec<ClassRecords>,
}

/// Average precision of one class; -1 where it has no object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassPrecision {
    /// Mean over the thresholds .50 to .95.
    pub ap: f64,
    /// At IoU .50.
    pub ap50: f64,
    /// At IoU .75.
    pub ap75: f64,
}

/// COCO's figures, 0 to 1; -1 where no object would count.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoMetrics {
    /// Mean average precision over classes and thresholds: mAP50-95.
    pub ap: f64,
    /// At IoU .50: mAP50.
    pub ap50: f64,
    /// At IoU .75.
    pub ap75: f64,
    /// Of objects below 32² pixels, 32² to 96², above.
    pub ap_by_size: [f64; 3],
    /// Mean greatest recall with each of the three limits of detections an image and class (1, 10, 100 by default).
    pub ar: [f64; 3],
    /// With the last limit, of objects below 32² pixels, 32² to 96², above.
    pub ar_by_size: [f64; 3],
    /// By class.
    pub per_class: Vec<ClassPrecision>,
}

impl CocoMetrics {
    /// Names of the twelve figures, with COCO's own limits of detections.
    pub const NAMES: [&'static str; 12] = [
        "AP",
        "AP50",
        "AP75",
        "AP_small",
        "AP_medium",
        "AP_large",
        "AR1",
        "AR10",
        "AR100",
        "AR_small",
        "AR_medium",
        "AR_large",
    ];

    /// The twelve figures in the order of [`CocoMetrics::NAMES`].
    pub fn figures(&self) -> [f64; 12] {
        let (p, r, s) = (self.ap_by_size, self.ar, self.ar_by_size);
        [self.ap, self.ap50, self.ap75, p[0], p[1], p[2], r[0], r[1], r[2], s[0], s[1], s[2]]
    }
}

impl CocoEvaluator {
    /// An evaluation of this many classes with COCO's limits of 1, 10 and 100 detections an image and class.
    pub fn new(classes: usize) -> Self {
        Self::with_max_detections(classes, [1, 10, 100])
    }

    /// The same with other limits, rising; the last holds for all figures but the first two recalls.
    pub fn with_max_detections(classes: usize, max_detections: [usize; 3]) -> Self {
        Self { max_detections, classes: vec![ClassRecords::default(); classes] }
    }

    /// Adds one image. Of detections with equal scores those of the image added first count first.
    ///
    /// Fails, adding nothing, where a class is out of range.
    pub fn add_image(&mut self, truths: &[CocoTruth], detections: &[CocoDetection]) -> Result<(), Error> {
        let classes = self.classes.len();
        let named = truths.iter().map(|truth| truth.class).chain(detections.iter().map(|found| found.class));
        if let Some((index, class)) = named.enumerate().find(|&(_, class)| class >= classes) {
            let index = if index < truths.len() { index } else { index - truths.len() };
            return Err(Error::TargetClass { index, class, classes });
        }
        // Stable sorts, so that each class keeps the given order.
        let mut truths: Vec<&CocoTruth> = truths.iter().collect();
        truths.sort_by_key(|truth| truth.class);
        let mut detections: Vec<&CocoDetection> = detections.iter().collect();
        detections.sort_by_key(|detection| detection.class);
        let (mut truths, mut detections) = (&truths[..], &detections[..]);
        while let Some(class) =
            [truths.first().map(|t| t.class), detections.first().map(|d| d.class)].into_iter().flatten().min()
        {
            let (own_truths, rest) = truths.split_at(truths.partition_point(|truth| truth.class == class));
            truths = rest;
            let (found, rest) = detections.split_at(detections.partition_point(|found| found.class == class));
            detections = rest;
            match_class(own_truths, found, self.max_detections[2], &mut self.classes[class]);
        }
        Ok(())
    }

    /// The figures over all images added so far.
    pub fn finish(&self) -> CocoMetrics {
        let classes: Vec<ClassFigures> = self.classes.par_iter().map(|class| self.class_figures(class)).collect();
        let mean = |value: &dyn Fn(&ClassFigures) -> Option<f64>| {
            let values: Vec<f64> = classes.iter().filter_map(value).collect();
            if values.is_empty() { -1.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
        };
        let at = |threshold: usize| mean(&|class| class.precision[0].map(|by_threshold| by_threshold[threshold]));
        let over_thresholds = |area: usize| mean(&|class| class.precision[area].map(mean_of));
        CocoMetrics {
            ap: over_thresholds(0),
            ap50: at(0),
            ap75: at(5),
            ap_by_size: std::array::from_fn(|size| over_thresholds(size + 1)),
            ar: std::array::from_fn(|limit| mean(&|class| class.recall[limit])),
            ar_by_size: std::array::from_fn(|size| mean(&|class| class.recall_by_size[size])),
            per_class: classes
                .iter()
                .map(|class| match class.precision[0] {
                    Some(precision) => {
                        ClassPrecision { ap: mean_of(precision), ap50: precision[0], ap75: precision[5] }
                    }
                    None => ClassPrecision { ap: -1.0, ap50: -1.0, ap75: -1.0 },
                })
                .collect(),
        }
    }

    fn class_figures(&self, class: &ClassRecords) -> ClassFigures {
        let mut order: Vec<&Record> = class.records.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score));
        let figures = |area: usize, limit: usize| class.area_figures(&order, area, self.max_detections[limit]);
        let by_area: [_; AREAS] = std::array::from_fn(|area| figures(area, 2));
        let recall = |figures: Option<[Curve; THRESHOLDS]>| figures.map(|c| mean_of(c.map(|curve| curve.recall)));
        ClassFigures {
            precision: by_area.map(|curves| curves.map(|c| c.map(|curve| curve.precision))),
            recall: std::array::from_fn(|limit| recall(if limit == 2 { by_area[0] } else { figures(0, limit) })),
            recall_by_size: std::array::from_fn(|size| recall(by_area[size + 1])),
        }
    }
}

/// One class's part in the figures; absent where it has no object in the range of areas.
struct ClassFigures {
    /// Average precision by range of areas and threshold, with the last limit of detections.
    precision: [Option<[f64; THRESHOLDS]>; AREAS],
    /// Mean greatest recall by limit of detections.
    recall: [Option<f64>; 3],
    recall_by_size: [Option<f64>; 3],
}

/// What one threshold's precision-recall curve comes to.
#[derive(Clone, Copy)]
struct Curve {
    /// Mean precision at the 101 recall levels.
    precision: f64,
    /// Greatest recall.
    recall: f64,
}

fn mean_of<const N: usize>(values: [f64; N]) -> f64 {
    values.iter().sum::<f64>() / N as f64
}

impl ClassRecords {
    /// Curves of all thresholds for one range of areas, from the records in the order of their scores.
    fn area_figures(&self, order: &[&Record], area: usize, limit: usize) -> Option<[Curve; THRESHOLDS]> {
        let truths = self.truths[area];
        if truths == 0 {
            return None;
        }
        // Recall and precision after each detection that counts.
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(order.len());
        Some(std::array::from_fn(|threshold| {
            points.clear();
            let (mut right, mut wrong) = (0u64, 0u64);
            for record in order.iter().filter(|record| (record.rank as usize) < limit) {
                // An ignored detection repeats the point before it and changes nothing.
                if record.ignored[area] >> threshold & 1 == 1 {
                    continue;
                }
                if record.matched[area] >> threshold & 1 == 1 {
                    right += 1
                } else {
                    wrong += 1
                }
                points.push((right as f64 / truths as f64, right as f64 / (right + wrong) as f64));
            }
            let recall = points.last().map_or(0.0, |point| point.0);
            // Precision never rises with recall: each point takes the greatest of those after it.
            for index in (1..points.len()).rev() {
                points[index - 1].1 = points[index - 1].1.max(points[index].1);
            }
            let mut place = 0;
            let mut sum = 0.0;
            for level in 0..RECALLS {
                let level = linspace(0.0, 1.0, RECALLS, level);
                while place < points.len() && points[place].0 < level {
                    place += 1;
                }
                sum += points.get(place).map_or(0.0, |point| point.1);
            }
            Curve { precision: sum / RECALLS as f64, recall }
        }))
    }
}

#[cfg(test)]
mod tests;
