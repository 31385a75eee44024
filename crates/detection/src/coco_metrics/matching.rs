//! Which detection finds which object: COCO's matching of one image and class.

use super::{AREA_BOUNDS, AREAS, ClassRecords, CocoDetection, CocoTruth, Record, THRESHOLDS, threshold};

/// IoU of a detection and an object, both left, top, width, height; of a crowd, the share of the detection inside it.
fn overlap(detection: [f64; 4], truth: &CocoTruth) -> f64 {
    let [dx, dy, dw, dh] = detection;
    let [x, y, w, h] = truth.bbox;
    let width = (dx + dw).min(x + w) - dx.max(x);
    let height = (dy + dh).min(y + h) - dy.max(y);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let inter = width * height;
    inter / if truth.crowd { dw * dh } else { dw * dh + w * h - inter }
}

/// Matches one image's detections of one class, best first, and adds their records.
pub(super) fn match_class(
    truths: &[&CocoTruth],
    detections: &[&CocoDetection],
    limit: usize,
    class: &mut ClassRecords,
) {
    let mut detections = detections.to_vec();
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    detections.truncate(limit);
    let overlaps: Vec<f64> =
        detections.iter().flat_map(|detection| truths.iter().map(|truth| overlap(detection.bbox, truth))).collect();
    let first = class.records.len();
    class.records.extend(detections.iter().enumerate().map(|(rank, detection)| Record {
        score: detection.score,
        rank: rank as u32,
        matched: [0; AREAS],
        ignored: [0; AREAS],
    }));
    let records = &mut class.records[first..];
    let mut taken = vec![0u16; truths.len()];
    for area in 0..AREAS {
        let [least, greatest] = AREA_BOUNDS[area];
        let outside = |area: f64| area < least || area > greatest;
        let ignored: Vec<bool> = truths.iter().map(|truth| truth.crowd || outside(truth.area)).collect();
        class.truths[area] += ignored.iter().filter(|&&ignored| !ignored).count() as u64;
        // Objects that count come first: a detection is given to one that does not only where none that does fits.
        let mut order: Vec<usize> = (0..truths.len()).collect();
        order.sort_by_key(|&index| ignored[index]);
        taken.fill(0);
        for (index, record) in records.iter_mut().enumerate() {
            let overlaps = &overlaps[index * truths.len()..][..truths.len()];
            let outside = outside(detections[index].bbox[2] * detections[index].bbox[3]);
            for step in 0..THRESHOLDS {
                let bit = 1 << step;
                let mut best = None;
                let mut least = threshold(step).min(1.0 - 1e-10);
                for &candidate in &order {
                    if taken[candidate] & bit != 0 && !truths[candidate].crowd {
                        continue;
                    }
                    if ignored[candidate] && best.is_some_and(|best: usize| !ignored[best]) {
                        break;
                    }
                    // Of equal overlaps the later object wins.
                    if overlaps[candidate] >= least {
                        least = overlaps[candidate];
                        best = Some(candidate);
                    }
                }
                let ignore = match best {
                    Some(best) => {
                        taken[best] |= bit;
                        record.matched[area] |= bit;
                        ignored[best]
                    }
                    None => outside,
                };
                if ignore {
                    record.ignored[area] |= bit;
                }
            }
        }
    }
}
