//! From the head's logits to boxes in pixels and class probabilities.

use crate::anchors::{Anchor, BINS, BOX_LOGITS, Level, anchor};
use crate::arithmetic::exp_nonpositive;
use crate::{Error, Heads};

/// Probability of a class logit.
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Softmax of one side's 16 bins, and its expectation: the distance in units of the stride.
pub(crate) fn side_distribution(logits: &[f32]) -> ([f32; BINS], f32) {
    let mut bins = [0.0; BINS];
    bins.copy_from_slice(logits);
    let greatest = fold(bins, f32::max);
    let exponentials = bins.map(|logit| exp_nonpositive(logit - greatest));
    let scale = 1.0 / fold(exponentials, |a, b| a + b);
    let bins = exponentials.map(|value| value * scale);
    let weighted = std::array::from_fn(|distance| distance as f32 * bins[distance]);
    (bins, fold(weighted, |a, b| a + b))
}

/// Folds pairs four times over instead of one after the other: fewer steps wait for each other.
#[inline(always)]
fn fold(mut values: [f32; BINS], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = BINS / 2;
    while half > 0 {
        for i in 0..half {
            values[i] = join(values[i], values[i + half]);
        }
        half /= 2;
    }
    values[0]
}

/// Distances left, top, right, bottom from the anchor's centre in units of the stride, from its 64 logits.
pub fn distances(logits: &[f32]) -> [f32; 4] {
    std::array::from_fn(|side| side_distribution(&logits[side * BINS..][..BINS]).1)
}

/// Corners `x1 y1 x2 y2` in units of the stride, from the anchor's 64 logits.
pub fn decode_corners(logits: &[f32], anchor: Anchor) -> [f32; 4] {
    let [left, top, right, bottom] = distances(logits);
    let [x, y] = anchor.centre;
    [x - left, y - top, x + right, y + bottom]
}

/// Centre and size `cx cy w h` in pixels of the network input, from the anchor's 64 logits.
pub fn decode_box(logits: &[f32], anchor: Anchor) -> [f32; 4] {
    crate::geometry::xyxy_to_xywh(decode_corners(logits, anchor)).map(|value| value * anchor.stride)
}

/// A batch in pixels and probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Boxes `[image, anchor]` as centre and size `cx cy w h` in pixels of the network input.
    pub boxes: Vec<[f32; 4]>,
    /// Class probabilities `[image, anchor, class]`.
    pub scores: Vec<f32>,
}

/// Decodes a whole batch; [`crate::nms::detect`] decodes only the anchors it needs.
pub fn decode(heads: &Heads) -> Result<Decoded, Error> {
    heads.check()?;
    let levels = Level::all(heads.size);
    let anchors = heads.anchors();
    let boxes = heads
        .boxes
        .chunks_exact(BOX_LOGITS)
        .enumerate()
        .map(|(row, logits)| decode_box(logits, anchor(&levels, row % anchors)))
        .collect();
    Ok(Decoded { boxes, scores: heads.scores.iter().map(|&logit| sigmoid(logit)).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peaked_distribution_decodes_to_its_bins() {
        let mut logits = [0.0; BOX_LOGITS];
        for (side, bin) in [1, 2, 3, 15].into_iter().enumerate() {
            logits[side * BINS + bin] = 100.0;
        }
        let anchor = Anchor { centre: [4.5, 5.5], stride: 16.0 };
        assert_eq!(decode_corners(&logits, anchor), [3.5, 3.5, 7.5, 20.5]);
        assert_eq!(decode_box(&logits, anchor), [88.0, 192.0, 64.0, 272.0]);
        assert_eq!(distances(&[0.0; BOX_LOGITS]), [7.5; 4]);
        assert_eq!(sigmoid(0.0), 0.5);
    }
}
