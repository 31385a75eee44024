//! Non-maximum suppression: from thousands of overlapping predictions to one box an object.
//!
//! It always runs to its end: what bounds it is the number of candidates, never a clock. Candidates of equal score keep
//! the order of the head, anchor by anchor and class by class, so the result is the same on every machine.

use crate::Heads;
use crate::anchors::{BOX_LOGITS, Level, anchor};
use crate::decode::{decode_box, sigmoid};
use crate::geometry::{area, intersection, xywh_to_xyxy};

/// One object found in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Corners `x1 y1 x2 y2` in pixels of the network input, not clipped to it.
    pub bbox: [f32; 4],
    /// Probability of the class, 0 to 1.
    pub score: f32,
    /// Class, from 0.
    pub class: usize,
}

/// What suppression keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct NmsSettings {
    /// Keeps only scores above this: 0.25 to show, 0.001 to evaluate.
    pub confidence: f32,
    /// Drops a box that overlaps a better one of its class by more than this IoU.
    pub iou: f32,
    /// Lets boxes of different classes suppress each other.
    pub agnostic: bool,
    /// Every class of an anchor above the confidence is a candidate, not only its best.
    pub multi_label: bool,
    /// Detections an image at most.
    pub max_detections: usize,
    /// Candidates an image at most, best scores first.
    pub max_candidates: usize,
    /// Keeps only these classes; all where absent.
    pub classes: Option<Vec<usize>>,
}

impl Default for NmsSettings {
    /// To show: confidence 0.25, IoU 0.7, the best label of each box, 300 detections.
    fn default() -> Self {
        Self {
            confidence: 0.25,
            iou: 0.7,
            agnostic: false,
            multi_label: false,
            max_detections: 300,
            max_candidates: 30_000,
            classes: None,
        }
    }
}

impl NmsSettings {
    /// To evaluate: confidence 0.001, IoU 0.7, several labels a box, 300 detections.
    pub fn evaluation() -> Self {
        Self { confidence: 0.001, multi_label: true, ..Self::default() }
    }

    fn wants(&self, class: usize) -> bool {
        self.classes.as_ref().is_none_or(|classes| classes.contains(&class))
    }
}

/// Detections of one image of a batch, best first, straight from the head: only candidates are decoded.
///
/// # Panics
/// Where the slices do not have the lengths of their shapes ([`Heads::check`]) or `image` is beyond the batch.
pub fn detect(heads: &Heads, image: usize, settings: &NmsSettings) -> Vec<Detection> {
    let anchors = heads.anchors();
    let boxes = &heads.boxes[image * anchors * BOX_LOGITS..][..anchors * BOX_LOGITS];
    let scores = &heads.scores[image * anchors * heads.classes..][..anchors * heads.classes];
    let levels = Level::all(heads.size);
    // No logit below this can pass; the little that rounding could add is left to the exact comparison.
    let confidence = f64::from(settings.confidence);
    let least = if confidence <= 0.0 {
        f32::NEG_INFINITY
    } else {
        ((confidence / (1.0 - confidence).max(0.0)).ln() - 1e-3) as f32
    };
    let candidates = candidates(scores, heads.classes, least, sigmoid, settings);
    let bbox = |index: usize| decode_box(&boxes[index * BOX_LOGITS..][..BOX_LOGITS], anchor(&levels, index));
    suppress(candidates.iter().map(|candidate| candidate.detection(heads.classes, bbox)), settings)
}

/// Detections of one image from decoded predictions: `boxes` `[anchor]` as centre and size in pixels, `scores`
/// `[anchor, class]` as probabilities.
///
/// # Panics
/// Where `scores` does not hold `classes` values for each box.
pub fn detect_decoded(boxes: &[[f32; 4]], scores: &[f32], classes: usize, settings: &NmsSettings) -> Vec<Detection> {
    assert_eq!(scores.len(), boxes.len() * classes, "scores must be [anchor, class]");
    let candidates = candidates(scores, classes, settings.confidence, |score| score, settings);
    suppress(candidates.iter().map(|candidate| candidate.detection(classes, |index| boxes[index])), settings)
}

/// A score and its place in `[anchor, class]` in one number that sorts best first: the score's bits, inverted, above the
/// place. Scores are positive, so their bits are in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

impl Candidate {
    fn new(score: f32, place: usize) -> Self {
        Self(u64::from(!score.to_bits()) << 32 | place as u64)
    }

    /// The detection it stands for; `bbox` gives an anchor's box as centre and size.
    fn detection(self, classes: usize, bbox: impl Fn(usize) -> [f32; 4]) -> Detection {
        let place = self.0 as u32 as usize;
        let score = f32::from_bits(!((self.0 >> 32) as u32));
        Detection { bbox: xywh_to_xyxy(bbox(place / classes)), score, class: place % classes }
    }
}

/// All candidates above the confidence, best first, as many as the settings allow.
///
/// `least` is a bound on the values in `values` below which `probability` cannot exceed the confidence.
fn candidates(
    values: &[f32],
    classes: usize,
    least: f32,
    probability: impl Fn(f32) -> f32,
    settings: &NmsSettings,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    let wanted: Option<Vec<bool>> =
        settings.classes.as_ref().map(|_| (0..classes).map(|class| settings.wants(class)).collect());
    let mut offer = |place: usize, value: f32| {
        let score = probability(value);
        if score > settings.confidence && wanted.as_ref().is_none_or(|wanted| wanted[place % classes]) {
            found.push(Candidate::new(score, place));
        }
    };
    for (anchor, row) in values.chunks_exact(classes).enumerate() {
        // One pass without branches decides most rows.
        if !row.iter().fold(false, |any, &value| any | (value >= least)) {
            continue;
        }
        if settings.multi_label {
            for (class, &value) in row.iter().enumerate() {
                if value >= least {
                    offer(anchor * classes + class, value);
                }
            }
        } else {
            let best = (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            offer(anchor * classes + best, row[best]);
        }
    }
    if found.len() > settings.max_candidates {
        found.select_nth_unstable(settings.max_candidates);
        found.truncate(settings.max_candidates);
    }
    found.sort_unstable();
    found
}

/// Walks candidates best first and keeps each that no better one of its class (of any, where agnostic) overlaps by more
/// than the threshold, until there are enough. Looks at the settings `iou`, `agnostic` and `max_detections` only.
pub fn suppress(candidates: impl IntoIterator<Item = Detection>, settings: &NmsSettings) -> Vec<Detection> {
    let mut detections = Vec::new();
    // Boxes kept so far with their areas, by class.
    let mut kept: Vec<Vec<([f32; 4], f32)>> = Vec::new();
    for detection in candidates {
        if detections.len() >= settings.max_detections {
            break;
        }
        let group = if settings.agnostic { 0 } else { detection.class };
        if group >= kept.len() {
            kept.resize_with(group + 1, Vec::new);
        }
        let (bbox, own_area) = (detection.bbox, area(detection.bbox));
        let overlaps = kept[group].iter().any(|&(better, better_area)| {
            let inter = intersection(bbox, better);
            inter / (better_area + own_area - inter) > settings.iou
        });
        if !overlaps {
            kept[group].push((bbox, own_area));
            detections.push(detection);
        }
    }
    detections
}

#[cfg(test)]
mod tests;
