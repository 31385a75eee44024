//! Which anchor answers for which target: task-aligned assignment (TOOD, Feng et al., 2021) of one image.

use crate::Target;
use crate::anchors::{BOX_LOGITS, Level, anchor};
use crate::decode::{decode_corners, sigmoid};
use crate::geometry::{ciou_with_angles, shape_angle, xywh_to_xyxy};

/// Anchors a target may claim.
const TOP: usize = 10;

/// Shortest side of the box that an anchor's centre must lie in, in pixels: two cells of the finest level.
const LEAST_SIDE: f32 = 16.0;

/// How far inside that box a centre must lie at least, in pixels; also what keeps the soft target's quotient defined.
const EPSILON: f32 = 1e-9;

const UNCLAIMED: u32 = u32::MAX;
const CONTESTED: u32 = u32::MAX - 1;

/// One target in pixels of the network input.
pub(super) struct PixelTarget {
    pub(super) class: usize,
    /// Corners.
    pub(super) bbox: [f32; 4],
    /// Corners of the box that the centres of its anchors lie in.
    reach: [f32; 4],
    angle: f32,
    /// Its claimed anchors with their metric, greatest first.
    top: [(u32, f32); TOP],
    claims: usize,
    best_metric: f32,
    best_overlap: f32,
}

impl PixelTarget {
    fn new(target: &Target, size: [usize; 2]) -> Self {
        let [height, width] = size.map(|side| side as f32);
        let [cx, cy, w, h] = target.bbox;
        let bbox = [cx * width, cy * height, w * width, h * height];
        let [cx, cy, w, h] = bbox;
        let widen = |side: f32| if side < LEAST_SIDE { LEAST_SIDE } else { side };
        let corners = xywh_to_xyxy(bbox);
        Self {
            class: target.class,
            bbox: corners,
            reach: xywh_to_xyxy([cx, cy, widen(w), widen(h)]),
            angle: shape_angle(corners),
            top: [(0, 0.0); TOP],
            claims: 0,
            best_metric: 0.0,
            best_overlap: 0.0,
        }
    }

    fn reaches(&self, [x, y]: [f32; 2]) -> bool {
        let [x1, y1, x2, y2] = self.reach;
        (x - x1).min(y - y1).min(x2 - x).min(y2 - y) > EPSILON
    }

    /// Keeps the greatest `TOP` metrics; of equal ones the anchor offered first.
    fn offer(&mut self, anchor: u32, metric: f32) {
        if self.claims == TOP && metric <= self.top[TOP - 1].1 {
            return;
        }
        let mut place = self.claims.min(TOP - 1);
        while place > 0 && self.top[place - 1].1 < metric {
            self.top[place] = self.top[place - 1];
            place -= 1;
        }
        self.top[place] = (anchor, metric);
        self.claims = (self.claims + 1).min(TOP);
    }
}

/// An anchor that was given a target.
pub(super) struct Foreground {
    pub(super) anchor: usize,
    /// Position in [`ImageAssignment::targets`].
    pub(super) target: usize,
    /// What its class probability should be.
    pub(super) soft_target: f32,
}

/// Assignment of one image, with the buffers to make it.
#[derive(Default)]
pub(super) struct ImageAssignment {
    pub(super) targets: Vec<PixelTarget>,
    /// In the order of the anchors.
    pub(super) foreground: Vec<Foreground>,
    /// Who claims each anchor.
    claimant: Vec<u32>,
    claimed: Vec<u32>,
    /// Predicted corners in pixels and their shape's angle, for the anchors inside some target.
    predictions: Vec<Prediction>,
}

#[derive(Clone, Copy)]
struct Prediction {
    bbox: [f32; 4],
    angle: f32,
    known: bool,
}

const UNKNOWN: Prediction = Prediction { bbox: [0.0; 4], angle: 0.0, known: false };

impl ImageAssignment {
    /// Assigns one image: `boxes` are its `[anchor, 64]` logits, `scores` its `[anchor, class]` logits.
    pub(super) fn assign<'a>(
        &mut self,
        boxes: &[f32],
        scores: &[f32],
        classes: usize,
        size: [usize; 2],
        levels: &[Level; 3],
        targets: impl Iterator<Item = &'a Target>,
    ) {
        let anchors = boxes.len() / BOX_LOGITS;
        self.targets.clear();
        self.targets.extend(targets.map(|target| PixelTarget::new(target, size)));
        self.foreground.clear();
        self.claimed.clear();
        self.claimant.clear();
        self.claimant.resize(anchors, UNCLAIMED);
        self.predictions.clear();
        self.predictions.resize(anchors, UNKNOWN);

        for target in &mut self.targets {
            for level in levels {
                offer_level(target, level, boxes, scores, classes, &mut self.predictions);
            }
        }
        self.settle(levels);
        self.weigh(scores, classes);
    }

    /// Sum of the soft targets.
    pub(super) fn soft_target_sum(&self) -> f64 {
        self.foreground.iter().map(|entry| f64::from(entry.soft_target)).sum()
    }

    /// Gives each claimed anchor to one target: of several, to the one its prediction overlaps most among all that reach it.
    fn settle(&mut self, levels: &[Level; 3]) {
        for (index, target) in self.targets.iter().enumerate() {
            for &(anchor, _) in &target.top[..target.claims] {
                let claimant = &mut self.claimant[anchor as usize];
                if *claimant == UNCLAIMED {
                    *claimant = index as u32;
                    self.claimed.push(anchor);
                } else {
                    *claimant = CONTESTED;
                }
            }
        }
        self.claimed.sort_unstable();
        for &index in &self.claimed {
            let index = index as usize;
            let mut owner = self.claimant[index] as usize;
            if self.claimant[index] == CONTESTED {
                let place = anchor(levels, index);
                let centre = place.centre.map(|value| value * place.stride);
                let mut most = 0.0;
                for (candidate, target) in self.targets.iter().enumerate() {
                    let overlap = if target.reaches(centre) { overlap(target, &self.predictions[index]) } else { 0.0 };
                    if overlap > most {
                        most = overlap;
                        owner = candidate;
                    }
                }
            }
            self.foreground.push(Foreground { anchor: index, target: owner, soft_target: 0.0 });
        }
    }

    /// Soft targets: the metric, scaled so that each target's best anchor gets that target's best overlap.
    fn weigh(&mut self, scores: &[f32], classes: usize) {
        for entry in &mut self.foreground {
            let target = &mut self.targets[entry.target];
            let overlap = overlap(target, &self.predictions[entry.anchor]);
            let metric = metric(scores[entry.anchor * classes + target.class], overlap);
            entry.soft_target = metric;
            target.best_metric = target.best_metric.max(metric);
            target.best_overlap = target.best_overlap.max(overlap);
        }
        for entry in &mut self.foreground {
            let target = &self.targets[entry.target];
            entry.soft_target *= target.best_overlap / (target.best_metric + EPSILON);
        }
    }
}

/// Offers a target the anchors of one level whose centre it reaches.
fn offer_level(
    target: &mut PixelTarget,
    level: &Level,
    boxes: &[f32],
    scores: &[f32],
    classes: usize,
    predictions: &mut [Prediction],
) {
    let stride = level.stride as f32;
    // A cell more on either side than the box spans: `reaches` decides.
    let range = |low: f32, high: f32, cells: usize| {
        let first = (low / stride - 1.0).max(0.0) as usize;
        let end = ((high / stride + 1.0).max(0.0) as usize).min(cells);
        first.min(end)..end
    };
    for row in range(target.reach[1], target.reach[3], level.grid[0]) {
        for column in range(target.reach[0], target.reach[2], level.grid[1]) {
            let centre = [(column as f32 + 0.5) * stride, (row as f32 + 0.5) * stride];
            if !target.reaches(centre) {
                continue;
            }
            let index = level.first + row * level.grid[1] + column;
            let prediction = &mut predictions[index];
            if !prediction.known {
                let place = crate::anchors::Anchor { centre: [column as f32 + 0.5, row as f32 + 0.5], stride };
                let bbox = decode_corners(&boxes[index * BOX_LOGITS..][..BOX_LOGITS], place).map(|v| v * stride);
                *prediction = Prediction { bbox, angle: shape_angle(bbox), known: true };
            }
            let overlap = overlap(target, prediction);
            // Most boxes near a target do not overlap it by CIoU; also leaves out undefined predictions.
            if overlap > 0.0 {
                let metric = metric(scores[index * classes + target.class], overlap);
                if metric > 0.0 {
                    target.offer(index as u32, metric);
                }
            }
        }
    }
}

/// CIoU of a prediction and a target, not below 0; 0 where undefined.
fn overlap(target: &PixelTarget, prediction: &Prediction) -> f32 {
    ciou_with_angles(target.bbox, prediction.bbox, target.angle, prediction.angle).max(0.0)
}

/// Alignment of class and place: probability^0.5 x overlap^6.
fn metric(logit: f32, overlap: f32) -> f32 {
    let cube = overlap * overlap * overlap;
    sigmoid(logit).sqrt() * (cube * cube)
}
