//! Where a picture lies in the network's input: scaled as a whole, centred, the rest filled with grey.

use crate::Picture;
use crate::resample::{Axis, resample};

/// Value of the pixels outside the picture.
pub const FILL: u8 = 114;

/// The place of one picture in a network input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// `[height, width]` of the picture.
    pub original: [usize; 2],
    /// `[height, width]` of the scaled picture.
    pub scaled: [usize; 2],
    /// Columns left of it, rows above it.
    pub pad: [usize; 2],
}

impl Letterbox {
    /// Fits a picture of `original` `[height, width]` into `shape` `[height, width]`; the scaled picture is rounded to whole pixels.
    /// With `scale_up` false a small picture keeps its size.
    pub fn new(original: [usize; 2], shape: [usize; 2], scale_up: bool) -> Self {
        Self::rounded(original, shape, shape[0].max(shape[1]), scale_up, f64::round)
    }

    /// As pictures of a batch lie: neither side longer than `limit`, part of a pixel counts as a whole one. The reference trains and
    /// validates so, and rounds to the nearest where it predicts; a row more or less moves mAP by some thousandths.
    pub(crate) fn of_batch(original: [usize; 2], shape: [usize; 2], limit: usize, scale_up: bool) -> Self {
        Self::rounded(original, shape, limit, scale_up, f64::ceil)
    }

    fn rounded(
        original: [usize; 2],
        shape: [usize; 2],
        limit: usize,
        scale_up: bool,
        round: impl Fn(f64) -> f64,
    ) -> Self {
        let fit = |axis: usize| shape[axis].min(limit) as f64 / original[axis].max(1) as f64;
        let ratio = fit(0).min(fit(1));
        let ratio = if scale_up { ratio } else { ratio.min(1.0) };
        let side = |axis: usize| (round(original[axis] as f64 * ratio) as usize).clamp(1, shape[axis].min(limit));
        let scaled = [side(0), side(1)];
        let pad = |axis: usize| ((shape[axis] - scaled[axis]) as f64 / 2.0 - 0.1).round().max(0.0) as usize;
        Self { original, scaled, pad: [pad(1), pad(0)] }
    }

    /// A box `[x1, y1, x2, y2]` of the input in pixels of the original picture, clipped to it.
    pub fn to_original(&self, bbox: [f32; 4]) -> [f32; 4] {
        let [height, width] = self.original.map(|side| side as f32);
        let [x1, y1, x2, y2] = self.to_original_plane(bbox);
        [x1.clamp(0.0, width), y1.clamp(0.0, height), x2.clamp(0.0, width), y2.clamp(0.0, height)]
    }

    /// As [`Letterbox::to_original`], also where the box lies beyond the picture. Height and width have a scale each, since the scaled
    /// picture is rounded to whole pixels.
    pub fn to_original_plane(&self, bbox: [f32; 4]) -> [f32; 4] {
        let back = |value: f32, axis: usize| {
            (value - self.pad[1 - axis] as f32) * (self.original[axis] as f32 / self.scaled[axis] as f32)
        };
        [back(bbox[0], 1), back(bbox[1], 0), back(bbox[2], 1), back(bbox[3], 0)]
    }

    /// A box `[cx, cy, w, h]` as shares of the picture, as shares of the input of this shape.
    pub(crate) fn place(&self, bbox: [f32; 4], shape: [usize; 2]) -> [f32; 4] {
        let [height, width] = shape.map(|side| side as f32);
        let [scaled_height, scaled_width] = self.scaled.map(|side| side as f32);
        [
            (bbox[0] * scaled_width + self.pad[0] as f32) / width,
            (bbox[1] * scaled_height + self.pad[1] as f32) / height,
            bbox[2] * scaled_width / width,
            bbox[3] * scaled_height / height,
        ]
    }
}

/// A picture in an input of `shape` `[height, width]`: RGB `[height, width, 3]`, and where it lies.
/// For prediction; training goes through the [`Loader`](crate::Loader).
pub fn letterbox(picture: &Picture, shape: [usize; 2], scale_up: bool) -> (Vec<u8>, Letterbox) {
    let place = Letterbox::new(picture.size(), shape, scale_up);
    let resized = resize(picture, place.scaled);
    let mut pixels = vec![FILL; shape[0] * shape[1] * 3];
    paste(resized.as_ref().unwrap_or(picture), &place, shape, &mut pixels);
    (pixels, place)
}

/// The picture at another size (bilinear, half-pixel centres, no smoothing when shrinking: what OpenCV's
/// `INTER_LINEAR` does, and what published weights were trained with). None where it has that size already.
pub(crate) fn resize(picture: &Picture, size: [usize; 2]) -> Option<Picture> {
    if picture.size() == size {
        return None;
    }
    let [height, width] = size;
    let mut pixels = vec![0; height * width * 3];
    // The reciprocal of how much larger it becomes, as OpenCV rounds it.
    let axis = |to: usize, from: usize| Axis::new(0..to, 1.0 / (to as f64 / from as f64), 0.0, from);
    let (columns, rows) = (axis(width, picture.width), axis(height, picture.height));
    resample(&picture.pixels, picture.width, &columns, &rows, &mut pixels, width, [0, 0]);
    Some(Picture { height, width, pixels })
}

/// Writes an input of this shape: the scaled picture in its place, grey around.
pub(crate) fn paste(scaled: &Picture, place: &Letterbox, shape: [usize; 2], out: &mut [u8]) {
    let [left, top] = place.pad;
    let row_bytes = shape[1] * 3;
    let rows = top..top + scaled.height;
    for (y, row) in out.chunks_exact_mut(row_bytes).take(shape[0]).enumerate() {
        if rows.contains(&y) {
            let (start, length) = (left * 3, scaled.width * 3);
            row[..start].fill(FILL);
            row[start..start + length].copy_from_slice(&scaled.pixels[(y - top) * length..][..length]);
            row[start + length..].fill(FILL);
        } else {
            row.fill(FILL);
        }
    }
}

/// Shapes of rectangular batches: for each batch of aspect ratios (height / width, in sorted order) the smallest input
/// `[height, width]` in multiples of `stride`, with half a stride to spare, for pictures whose long side is `size`.
pub(crate) fn batch_shape(ratios: &[f64], size: usize, stride: usize) -> [usize; 2] {
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    let (height, width) = if high < 1.0 {
        (high, 1.0)
    } else if low > 1.0 {
        (1.0, 1.0 / low)
    } else {
        (1.0, 1.0)
    };
    [height, width].map(|side| (side * size as f64 / stride as f64 + 0.5).ceil() as usize * stride)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn geometry_of_the_reference() {
        // 1080 × 810 into 640: ratio .5926, 640 × 480, 80 columns left and right.
        let tall = Letterbox::new([1080, 810], [640, 640], true);
        assert_eq!((tall.scaled, tall.pad), ([640, 480], [80, 0]));
        // An odd rest: the smaller half comes first.
        let odd = Letterbox::new([427, 640], [640, 640], true);
        assert_eq!((odd.scaled, odd.pad), ([427, 640], [0, 106]));
        let small = Letterbox::new([100, 50], [640, 640], false);
        assert_eq!((small.scaled, small.pad), ([100, 50], [295, 270]));
        // A rectangular shape is half a stride larger than the picture, which keeps its size.
        let wide = Letterbox::of_batch([480, 640], [512, 672], 640, true);
        assert_eq!((wide.scaled, wide.pad), ([480, 640], [16, 16]));
        // As ultralytics 8.4.190 validates them at 320 px: recorded from its batches.
        for (original, shape, scaled, pad) in [
            ([315, 640], [224, 352], [158, 320], [16, 33]),
            ([302, 500], [256, 352], [194, 320], [16, 31]),
            ([427, 640], [256, 352], [214, 320], [16, 21]),
            ([483, 640], [352, 352], [242, 320], [16, 55]),
            ([640, 621], [352, 352], [320, 311], [20, 16]),
        ] {
            let place = Letterbox::of_batch(original, shape, 320, true);
            assert_eq!((place.scaled, place.pad), (scaled, pad), "{original:?}");
        }
    }

    #[test]
    fn batch_shapes() {
        assert_eq!(batch_shape(&[0.5, 0.75], 640, 32), [512, 672]);
        assert_eq!(batch_shape(&[0.75, 1.0], 640, 32), [672, 672]);
        assert_eq!(batch_shape(&[4.0 / 3.0, 2.0], 640, 32), [672, 512]);
        assert_eq!(batch_shape(&[0.5, 0.5], 320, 32), [192, 352]);
    }

    #[test]
    fn a_letterboxed_picture_keeps_pixels_and_fill() {
        let picture = Picture { height: 2, width: 4, pixels: (0..24).collect() };
        let (pixels, place) = letterbox(&picture, [4, 4], true);
        assert_eq!(place.pad, [0, 1]);
        assert_eq!(pixels[..12], [FILL; 12]);
        assert_eq!(pixels[12..36], (0..24).collect::<Vec<u8>>()[..]);
        assert_eq!(pixels[36..], [FILL; 12]);
    }

    proptest! {
        #[test]
        fn boxes_come_back(height in 16usize..3000, width in 16usize..3000, size in 2usize..40,
                           corners in proptest::array::uniform4(0.0f32..1.0)) {
            let size = size * 32;
            let place = Letterbox::new([height, width], [size, size], true);
            prop_assert!(place.pad[0] + place.scaled[1] <= size && place.pad[1] + place.scaled[0] <= size);
            let (x1, x2) = (corners[0].min(corners[1]), corners[0].max(corners[1]));
            let (y1, y2) = (corners[2].min(corners[3]), corners[2].max(corners[3]));
            let [cx, cy, w, h] = place.place([(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1], [size, size])
                .map(|share| share * size as f32);
            let back = place.to_original([cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]);
            let expected = [x1 * width as f32, y1 * height as f32, x2 * width as f32, y2 * height as f32];
            for (value, expected) in back.iter().zip(expected) {
                prop_assert!((value - expected).abs() <= 0.02, "{back:?} {expected:?}");
            }
        }
    }
}
