//! Loss and gradient of the anchors that were given a target.

use super::assignment::ImageAssignment;
use crate::Heads;
use crate::anchors::{BINS, BOX_LOGITS, Level, anchor};
use crate::decode::side_distribution;
use crate::geometry::ciou_with_gradient;

/// Greatest distance the distribution is taught, in units of the stride: just inside its last bin.
const GREATEST_DISTANCE: f32 = (BINS - 1) as f32 - 0.01;

/// One image's sums, not yet normalised.
#[derive(Clone, Copy, Default)]
pub(super) struct ForegroundLoss {
    /// Of (1 - CIoU) x soft target.
    pub(super) boxes: f64,
    /// What the class cross entropy against 0 has too much: logit x soft target.
    pub(super) class: f64,
    /// Of the mean cross entropy of four sides x soft target.
    pub(super) dfl: f64,
}

/// Where one image's gradients go.
pub(super) struct Gradients<'a> {
    /// By the box logits `[anchor, 64]`; rows without a target are left alone.
    pub(super) boxes: &'a mut [f32],
    /// By the class logits `[anchor, class]`, holding the gradient against 0.
    pub(super) scores: &'a mut [f32],
    /// Factors of the box, class and distribution sums in the total.
    pub(super) scale: [f32; 3],
}

/// Sums of one image and, where wanted, their gradients.
pub(super) fn foreground_loss(
    heads: &Heads,
    image: usize,
    levels: &[Level; 3],
    assignment: &ImageAssignment,
    mut gradients: Option<Gradients>,
) -> ForegroundLoss {
    let anchors = heads.anchors();
    let mut sums = ForegroundLoss::default();
    for entry in &assignment.foreground {
        let target = &assignment.targets[entry.target];
        let weight = entry.soft_target;
        let row = image * anchors + entry.anchor;
        let logits = &heads.boxes[row * BOX_LOGITS..][..BOX_LOGITS];
        sums.class += f64::from(heads.scores[row * heads.classes + target.class]) * f64::from(weight);

        let place = anchor(levels, entry.anchor);
        let [x, y] = place.centre;
        let sides: [_; 4] = std::array::from_fn(|side| side_distribution(&logits[side * BINS..][..BINS]));
        let [left, top, right, bottom] = sides.map(|(_, distance)| distance);
        let target_box = target.bbox.map(|value| value / place.stride);
        let (ciou, by_corner) = ciou_with_gradient([x - left, y - top, x + right, y + bottom], target_box);
        sums.boxes += f64::from((1.0 - ciou) * weight);

        let wanted = [x - target_box[0], y - target_box[1], target_box[2] - x, target_box[3] - y];
        let mut cross_entropy = 0.0;
        for side in 0..4 {
            let (bins, expectation) = &sides[side];
            let distance = wanted[side].clamp(0.0, GREATEST_DISTANCE);
            let lower = distance as usize;
            let upper_share = distance - lower as f32;
            let lower_share = 1.0 - upper_share;
            let logits = &logits[side * BINS..][..BINS];
            cross_entropy += log_sum_exp(logits) - lower_share * logits[lower] - upper_share * logits[lower + 1];

            if let Some(gradients) = &mut gradients {
                let [box_scale, _, dfl_scale] = gradients.scale;
                // Left and top go against their corner; the loss goes against CIoU.
                let sign = if side < 2 { 1.0 } else { -1.0 };
                let by_distance = box_scale * weight * sign * by_corner[side];
                let by_share = dfl_scale * weight / 4.0;
                let gradient = &mut gradients.boxes[entry.anchor * BOX_LOGITS + side * BINS..][..BINS];
                for (bin, gradient) in gradient.iter_mut().enumerate() {
                    *gradient = bins[bin] * (by_distance * (bin as f32 - expectation) + by_share);
                }
                gradient[lower] -= by_share * lower_share;
                gradient[lower + 1] -= by_share * upper_share;
            }
        }
        sums.dfl += f64::from(cross_entropy / 4.0 * weight);
        if let Some(gradients) = &mut gradients {
            gradients.scores[entry.anchor * heads.classes + target.class] -= gradients.scale[1] * weight;
        }
    }
    sums
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    greatest + logits.iter().map(|logit| (logit - greatest).exp()).sum::<f32>().ln()
}
