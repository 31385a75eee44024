//! Where a picture lies in the network's input: scaled as a whole, centred, the rest filled with grey.

use crate::Picture;
use crate::resample::{Axis, resample};

/// Value of the pixels outside the picture.
pub const FILL: u8 = 114;

/// The place of one picture in a network input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Pixels of the input for one of the picture.
    pub ratio: f32,
    /// `[height, width]` of the scaled picture.
    pub scaled: [usize; 2],
    /// Columns left of it, rows above it.
    pub pad: [usize; 2],
}

impl Letterbox {
    /// Fits a picture of `original` `[height, width]` into `shape` `[height, width]`, neither side longer than `limit`.
    /// With `scale_up` false a small picture keeps its size.
    pub fn new(original: [usize; 2], shape: [usize; 2], limit: usize, scale_up: bool) -> Self {
        let fit = |axis: usize| shape[axis].min(limit) as f64 / original[axis].max(1) as f64;
        let ratio = fit(0).min(fit(1));
        let ratio = if scale_up { ratio } else { ratio.min(1.0) };
        let scaled = scale(original, ratio, shape);
        let pad = |axis: usize| ((shape[axis] - scaled[axis]) as f64 / 2.0 - 0.1).round().max(0.0) as usize;
        Self { ratio: ratio as f32, scaled, pad: [pad(1), pad(0)] }
    }

    /// A box `[x1, y1, x2, y2]` of the input in pixels of the original picture (`[height, width]`), clipped to it.
    pub fn to_original(&self, bbox: [f32; 4], original: [usize; 2]) -> [f32; 4] {
        let [left, top] = self.pad.map(|pad| pad as f32);
        let [height, width] = original.map(|side| side as f32);
        let x = |value: f32| ((value - left) / self.ratio).clamp(0.0, width);
        let y = |value: f32| ((value - top) / self.ratio).clamp(0.0, height);
        [x(bbox[0]), y(bbox[1]), x(bbox[2]), y(bbox[3])]
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

/// The size of a scaled picture: rounded, at least a pixel, at most `shape`.
pub(crate) fn scale(original: [usize; 2], ratio: f64, shape: [usize; 2]) -> [usize; 2] {
    let side = |axis: usize| ((original[axis] as f64 * ratio).round() as usize).clamp(1, shape[axis]);
    [side(0), side(1)]
}

/// A picture in an input of `shape` `[height, width]`: RGB `[height, width, 3]`, and where it lies.
/// For prediction; training goes through the [`Loader`](crate::Loader).
pub fn letterbox(picture: &Picture, shape: [usize; 2], scale_up: bool) -> (Vec<u8>, Letterbox) {
    let place = Letterbox::new(picture.size(), shape, shape[0].max(shape[1]), scale_up);
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
    let axis = |to: usize, from: usize| Axis::new(0..to, from as f64 / to as f64, 0.0, from);
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
        let tall = Letterbox::new([1080, 810], [640, 640], 640, true);
        assert_eq!((tall.scaled, tall.pad), ([640, 480], [80, 0]));
        // An odd rest: the smaller half comes first.
        let odd = Letterbox::new([427, 640], [640, 640], 640, true);
        assert_eq!((odd.scaled, odd.pad, odd.ratio), ([427, 640], [0, 106], 1.0));
        let small = Letterbox::new([100, 50], [640, 640], 640, false);
        assert_eq!((small.scaled, small.pad, small.ratio), ([100, 50], [295, 270], 1.0));
        // A rectangular shape is half a stride larger than the picture, which keeps its size.
        let wide = Letterbox::new([480, 640], [512, 672], 640, true);
        assert_eq!((wide.scaled, wide.pad, wide.ratio), ([480, 640], [16, 16], 1.0));
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
            let place = Letterbox::new([height, width], [size, size], size, true);
            prop_assert!(place.pad[0] + place.scaled[1] <= size && place.pad[1] + place.scaled[0] <= size);
            let (x1, x2) = (corners[0].min(corners[1]), corners[0].max(corners[1]));
            let (y1, y2) = (corners[2].min(corners[3]), corners[2].max(corners[3]));
            let [cx, cy, w, h] = place.place([(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1], [size, size])
                .map(|share| share * size as f32);
            let back = place.to_original([cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0], [height, width]);
            // The scaled size is rounded to whole pixels: half a pixel of the input is the most that can be lost.
            let tolerance = 0.51 / place.ratio + 0.01;
            let expected = [x1 * width as f32, y1 * height as f32, x2 * width as f32, y2 * height as f32];
            for (value, expected) in back.iter().zip(expected) {
                prop_assert!((value - expected).abs() <= tolerance, "{back:?} {expected:?}");
            }
        }
    }
}
