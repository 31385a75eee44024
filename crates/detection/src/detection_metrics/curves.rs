//! Curves of one class and what is read off them.

use super::Scored;
use crate::coco_metrics::{THRESHOLDS, linspace};

/// Points of every curve's axis, from 0 to 1.
pub const CONFIDENCES: usize = 1000;

/// Recall levels at which interpolated average precision samples its curve.
const RECALLS: usize = 101;

/// Keeps the quotients of precision, recall and F1 defined.
const EPSILON: f64 = 1e-16;

/// Share of the axis that the mean F1 is smoothed over before its peak is read.
const SMOOTHING: f64 = 0.1;

/// Curves for plots, at IoU .50; of the classes with targets only, in the order of [`Curves::classes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// Which class each curve is of.
    pub classes: Vec<usize>,
    /// Precision against confidence, `CONFIDENCES` points a class.
    pub precision: Vec<Vec<f64>>,
    /// Recall against confidence.
    pub recall: Vec<Vec<f64>>,
    /// F1 against confidence.
    pub f1: Vec<Vec<f64>>,
    /// Precision against recall.
    pub precision_by_recall: Vec<Vec<f64>>,
}

impl Curves {
    pub(super) fn new(curves: &[(usize, &ClassCurves)]) -> Self {
        let each = |curve: fn(&ClassCurves) -> &Vec<f64>| curves.iter().map(|(_, own)| curve(own).clone()).collect();
        Self {
            classes: curves.iter().map(|&(class, _)| class).collect(),
            precision: each(|own| &own.precision),
            recall: each(|own| &own.recall),
            f1: each(|own| &own.f1),
            precision_by_recall: each(|own| &own.precision_by_recall),
        }
    }

    /// Place on the axis, 0 to 1, of the point with this index.
    pub fn axis(index: usize) -> f64 {
        linspace(0.0, 1.0, CONFIDENCES, index)
    }
}

/// All curves of one class with targets.
pub(super) struct ClassCurves {
    pub(super) precision: Vec<f64>,
    pub(super) recall: Vec<f64>,
    pub(super) f1: Vec<f64>,
    pub(super) precision_by_recall: Vec<f64>,
    /// Interpolated average precision at each threshold.
    pub(super) average_precision: [f64; THRESHOLDS],
}

impl ClassCurves {
    /// Curves from all detections of the class in the order seen; none where it has no targets.
    pub(super) fn new(scored: &[Scored], targets: u64) -> Option<Self> {
        if targets == 0 {
            return None;
        }
        let mut scored = scored.to_vec();
        scored.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut curves = Self {
            precision: vec![0.0; CONFIDENCES],
            recall: vec![0.0; CONFIDENCES],
            f1: vec![0.0; CONFIDENCES],
            precision_by_recall: vec![0.0; CONFIDENCES],
            average_precision: [0.0; THRESHOLDS],
        };
        if scored.is_empty() {
            return Some(curves);
        }
        for threshold in 0..THRESHOLDS {
            let mut right = 0u64;
            let (recall, precision): (Vec<f64>, Vec<f64>) = scored
                .iter()
                .enumerate()
                .map(|(index, entry)| {
                    right += u64::from(entry.matched >> threshold & 1);
                    (right as f64 / (targets as f64 + EPSILON), right as f64 / (index + 1) as f64)
                })
                .unzip();
            if threshold == 0 {
                curves.against_confidence(&scored, &recall, &precision);
            }
            let (recall, precision) = envelope(&recall, &precision);
            if threshold == 0 {
                curves.precision_by_recall =
                    (0..CONFIDENCES).map(|i| interpolate(Curves::axis(i), &recall, &precision)).collect();
            }
            curves.average_precision[threshold] = area_under(&recall, &precision);
        }
        Some(curves)
    }

    fn against_confidence(&mut self, scored: &[Scored], recall: &[f64], precision: &[f64]) {
        // Interpolation wants a rising axis: confidences with their sign turned.
        let axis: Vec<f64> = scored.iter().map(|entry| -f64::from(entry.score)).collect();
        for index in 0..CONFIDENCES {
            let at = -Curves::axis(index);
            // Above the greatest confidence nothing is found and nothing is wrong.
            let (p, r) = if at < axis[0] {
                (1.0, 0.0)
            } else {
                (interpolate(at, &axis, precision), interpolate(at, &axis, recall))
            };
            self.precision[index] = p;
            self.recall[index] = r;
            self.f1[index] = 2.0 * p * r / (p + r + EPSILON);
        }
    }
}

/// The curve from recall 0 at precision 1 on, falling to precision 0 after its greatest recall, each point at the greatest
/// precision from it on.
fn envelope(recall: &[f64], precision: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let greatest = recall.last().copied().unwrap_or(0.0);
    let recall = [&[0.0], recall, &[greatest, 1.0]].concat();
    let mut precision = [&[1.0], precision, &[0.0, 0.0]].concat();
    for index in (1..precision.len()).rev() {
        precision[index - 1] = precision[index - 1].max(precision[index]);
    }
    (recall, precision)
}

/// Trapezoids between 101 equally spaced recalls.
fn area_under(recall: &[f64], precision: &[f64]) -> f64 {
    let at = |level: usize| linspace(0.0, 1.0, RECALLS, level);
    let values: Vec<f64> = (0..RECALLS).map(|level| interpolate(at(level), recall, precision)).collect();
    (1..RECALLS).map(|level| (at(level) - at(level - 1)) * (values[level] + values[level - 1]) / 2.0).sum()
}

/// Linear interpolation at `x` on the rising axis `xs`, constant beyond its ends; where several points share an `x`, the
/// last of them counts.
fn interpolate(x: f64, xs: &[f64], ys: &[f64]) -> f64 {
    let after = xs.partition_point(|&place| place <= x);
    if after == 0 {
        return ys[0];
    }
    if after == xs.len() {
        return ys[after - 1];
    }
    let (x0, x1, y0, y1) = (xs[after - 1], xs[after], ys[after - 1], ys[after]);
    y0 + (y1 - y0) / (x1 - x0) * (x - x0)
}

/// Mean of several curves, point by point; zero where there are none.
pub(super) fn mean<'a>(curves: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
    let mut sum = vec![0.0; CONFIDENCES];
    let mut count = 0;
    for curve in curves {
        sum.iter_mut().zip(curve).for_each(|(sum, value)| *sum += value);
        count += 1;
    }
    sum.iter().map(|value| value / f64::from(count.max(1))).collect()
}

/// Index of the greatest value after a box filter over a tenth of the curve, whose ends go on beyond it; the first of
/// equal ones.
pub(super) fn smoothed_peak(curve: &[f64]) -> usize {
    let width = ((curve.len() as f64 * SMOOTHING * 2.0).round() as usize / 2) | 1;
    let half = (width / 2) as isize;
    let last = curve.len() as isize - 1;
    let smoothed = |index: usize| {
        let around = index as isize - half..=index as isize + half;
        around.map(|place| curve[place.clamp(0, last) as usize]).sum::<f64>() / width as f64
    };
    let mut best = (0, smoothed(0));
    for index in 1..curve.len() {
        let value = smoothed(index);
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_is_that_of_numpy() {
        let (xs, ys) = ([0.0, 1.0, 1.0, 3.0], [5.0, 7.0, 1.0, 2.0]);
        let at = |x| interpolate(x, &xs, &ys);
        assert_eq!(
            [at(-1.0), at(0.0), at(0.5), at(1.0), at(2.0), at(3.0), at(9.0)],
            [5.0, 5.0, 6.0, 1.0, 1.5, 2.0, 2.0]
        );
    }

    #[test]
    fn the_peak_is_the_middle_of_a_plateau_as_wide_as_the_filter() {
        let mut curve = vec![0.0; CONFIDENCES];
        curve[400..=500].fill(1.0);
        // A lone spike is higher, but not over a tenth of the axis.
        curve[800] = 20.0;
        assert_eq!(smoothed_peak(&curve), 450);
    }

    #[test]
    fn areas_of_known_curves() {
        let area = |recall: &[f64], precision: &[f64]| {
            let (recall, precision) = envelope(recall, precision);
            area_under(&recall, &precision)
        };
        // The level of the greatest recall itself is already past the fall.
        assert!((area(&[0.5, 1.0], &[1.0, 1.0]) - 0.995).abs() < 1e-12);
        assert!((area(&[0.5], &[1.0]) - 0.495).abs() < 1e-12);
        assert!((area(&[0.25, 0.5], &[1.0, 0.8]) - 0.471).abs() < 1e-12);
        assert_eq!(area(&[0.0], &[0.0]), 0.0);
    }
}
