//! Which detection is right: each, best score first, takes the target it overlaps most of those still free.

use super::TrueBox;
use crate::coco_metrics::{THRESHOLDS, threshold};
use crate::nms::Detection;

/// Pairs of detection and target, each in one pair at most; `overlaps` is `[detection, target]`. Detections choose in their
/// order, among the free targets that `fits` allows, the one of greatest overlap; of equal ones the first.
pub(super) fn pairs(overlaps: &[f32], targets: usize, fits: impl Fn(f32, usize, usize) -> bool) -> Vec<(usize, usize)> {
    let mut taken = vec![false; targets];
    let mut pairs = Vec::new();
    for (detection, overlaps) in overlaps.chunks_exact(targets.max(1)).enumerate() {
        let mut best: Option<usize> = None;
        for (target, &overlap) in overlaps.iter().enumerate() {
            if !taken[target] && best.is_none_or(|best| overlap > overlaps[best]) && fits(overlap, detection, target) {
                best = Some(target);
            }
        }
        if let Some(target) = best {
            taken[target] = true;
            pairs.push((detection, target));
        }
    }
    pairs
}

/// For each detection a bit for each threshold at which it is right; `overlaps` is `[detection, target]`.
pub(super) fn match_image(detections: &[Detection], targets: &[TrueBox], overlaps: &[f32]) -> Vec<u16> {
    let mut matched = vec![0; detections.len()];
    for step in 0..THRESHOLDS {
        let least = threshold(step) as f32;
        let fits = |overlap: f32, detection: usize, target: usize| {
            overlap >= least && detections[detection].class == targets[target].class
        };
        for (detection, _) in pairs(overlaps, targets.len(), fits) {
            matched[detection] |= 1 << step;
        }
    }
    matched
}
