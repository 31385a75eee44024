//! By what a picture is known again: a digest of its bytes, and a rough view of its content.

use md5::{Digest, Md5};

use crate::Picture;

/// Columns and rows of brightness that differences are taken from.
const COLUMNS: usize = 9;
const ROWS: usize = 8;
/// Bits of the difference hash that two views of one scene may differ in; what these let
/// through is compared by correlation.
pub(crate) const NEAR_BITS: u32 = 6;
/// Correlation of the brightness from which two pictures look alike.
const NEAR_CORRELATION: f32 = 0.985;
/// Spread of the brightness below which a picture shows nothing.
const FLAT: u8 = 3;

/// MD5 of a file's bytes.
pub(crate) fn digest(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(bytes).into())
}

/// What a picture looks like from afar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Whether each of 64 fields is brighter than its right neighbour (dHash; N. Krawetz, 2013).
    pub bits: u64,
    /// Mean brightness of 8 × 8 fields.
    pub fields: [u8; 64],
    /// Whether all pixels have nearly one colour.
    pub flat: bool,
}

impl View {
    pub fn of(picture: &Picture) -> View {
        let wide = brightness(picture, COLUMNS, ROWS);
        let mut bits = 0;
        for row in wide.chunks_exact(COLUMNS) {
            for pair in row.windows(2) {
                bits = bits << 1 | u64::from(pair[0] > pair[1]);
            }
        }
        let square = brightness(picture, ROWS, ROWS);
        let mut fields = [0; 64];
        fields.iter_mut().zip(&square).for_each(|(field, value)| *field = value.round() as u8);
        View { bits, fields, flat: is_flat(picture) }
    }

    /// Whether two pictures likely show the same: their coarse brightness runs alike.
    pub fn resembles(&self, other: &View) -> bool {
        !self.flat
            && !other.flat
            && (self.bits ^ other.bits).count_ones() <= NEAR_BITS
            && correlation(&self.fields, &other.fields) >= NEAR_CORRELATION
    }
}

/// Mean brightness of the fields of a grid, row by row.
fn brightness(picture: &Picture, columns: usize, rows: usize) -> Vec<f32> {
    let (height, width) = (picture.height, picture.width);
    let mut sums = vec![(0u64, 0u64); columns * rows];
    // Of large pictures a part of the pixels tells as much.
    let step = (height.min(width) / 256).max(1);
    for y in (0..height).step_by(step) {
        let row = &picture.pixels[y * width * 3..][..width * 3];
        let (pixels, _) = row.as_chunks::<3>();
        let fields = &mut sums[y * rows / height * columns..][..columns];
        for (x, &[r, g, b]) in pixels.iter().enumerate().step_by(step) {
            let field = &mut fields[x * columns / width];
            // Rec. 601, in 1/1024.
            field.0 += u64::from(r) * 306 + u64::from(g) * 601 + u64::from(b) * 117;
            field.1 += 1;
        }
    }
    let mut means: Vec<f32> = sums.iter().map(|&(sum, count)| sum as f32 / (count.max(1) * 1024) as f32).collect();
    // Of a picture of few pixels some fields have none: they are as their neighbour before.
    for field in 1..means.len() {
        if sums[field].1 == 0 {
            means[field] = means[field - 1];
        }
    }
    means
}

fn is_flat(picture: &Picture) -> bool {
    let (pixels, _) = picture.pixels.as_chunks::<3>();
    let (mut low, mut high) = ([255u8; 3], [0u8; 3]);
    for pixel in pixels {
        for channel in 0..3 {
            low[channel] = low[channel].min(pixel[channel]);
            high[channel] = high[channel].max(pixel[channel]);
        }
        if low.iter().zip(high).any(|(low, high)| high - low > FLAT) {
            return false;
        }
    }
    true
}

/// Pearson's correlation; 1 where both run alike, whatever their brightness and contrast.
fn correlation(a: &[u8; 64], b: &[u8; 64]) -> f32 {
    let mean = |values: &[u8; 64]| values.iter().map(|&value| f32::from(value)).sum::<f32>() / 64.0;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut only_a, mut only_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f32::from(a) - mean_a, f32::from(b) - mean_b);
        both += a * b;
        only_a += a * a;
        only_b += b * b;
    }
    if only_a > 0.0 && only_b > 0.0 { both / (only_a * only_b).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(shift: usize, gain: f32) -> Picture {
        let (height, width) = (120, 160);
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let wave = ((x + shift) as f32 / 19.0).sin() * (y as f32 / 13.0).cos() + (x as f32 / 50.0).sin();
                pixels.extend([(120.0 + 50.0 * wave * gain) as u8; 3]);
            }
        }
        Picture { height, width, pixels }
    }

    #[test]
    fn a_darker_copy_is_known_again_and_another_scene_is_not() {
        let view = View::of(&scene(0, 1.0));
        assert!(view.resembles(&View::of(&scene(0, 0.8))));
        assert!(view.resembles(&View::of(&scene(1, 1.0))));
        assert!(!view.resembles(&View::of(&scene(40, 1.0))));
        assert!(!view.flat);
    }

    #[test]
    fn pictures_of_one_colour_and_of_one_pixel_are_no_trouble() {
        let plain = View::of(&Picture { height: 50, width: 40, pixels: vec![90; 50 * 40 * 3] });
        assert!(plain.flat && !plain.resembles(&plain));
        let dot = View::of(&Picture { height: 1, width: 1, pixels: vec![1, 2, 3] });
        assert!(dot.flat);
    }
}
