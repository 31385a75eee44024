//! Bilinear sampling along any projective map: rotation, shear, perspective.

use crate::letterbox::FILL;

/// A 3 × 3 matrix of a projective map of the plane, row by row; points are columns `(x, y, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Projection(pub [[f64; 3]; 3]);

impl Projection {
    /// This map after another one.
    pub fn after(self, first: Self) -> Self {
        let mut product = [[0.0; 3]; 3];
        for row in 0..3 {
            for column in 0..3 {
                product[row][column] = (0..3).map(|inner| self.0[row][inner] * first.0[inner][column]).sum();
            }
        }
        Self(product)
    }

    /// Where a point goes.
    pub fn apply(&self, x: f64, y: f64) -> [f64; 2] {
        let [u, v, w] = self.0.map(|row| row[0] * x + row[1] * y + row[2]);
        [u / w, v / w]
    }

    /// The map back; None for a map that flattens the plane.
    pub fn inverse(&self) -> Option<Self> {
        let m = &self.0;
        let minor = |r: usize, c: usize| {
            let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
            m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
        };
        let determinant: f64 = (0..3).map(|column| m[0][column] * minor(0, column)).sum();
        if determinant.abs() < 1e-12 {
            return None;
        }
        let mut inverse = [[0.0; 3]; 3];
        for row in 0..3 {
            for column in 0..3 {
                inverse[row][column] = minor(column, row) / determinant;
            }
        }
        Some(Self(inverse))
    }

    /// Whether columns and rows stay independent, nothing is mirrored: scale and position only.
    pub fn is_scale_and_shift(&self) -> bool {
        let m = &self.0;
        m[0][1] == 0.0 && m[1][0] == 0.0 && m[2] == [0.0, 0.0, 1.0] && m[0][0] > 0.0 && m[1][1] > 0.0
    }

    fn is_affine(&self) -> bool {
        self.0[2] == [0.0, 0.0, 1.0]
    }
}

/// Writes `out` (RGB `[height, width]` = `size`), each pixel taken from where `back` leads in `source` (RGB, rows of
/// `source_size[1]` pixels); outside there is grey.
pub(crate) fn warp(source: &[u8], source_size: [usize; 2], back: &Projection, out: &mut [u8], size: [usize; 2]) {
    let m = &back.0;
    for (y, row) in out.chunks_exact_mut(size[1] * 3).take(size[0]).enumerate() {
        // The first pixel's centre; half a source pixel less, because a source pixel's centre lies at a half, too.
        let start = m.map(|line| line[0] * 0.5 + line[1] * (y as f64 + 0.5) + line[2]);
        if back.is_affine() {
            // Equal steps along the row: exact sums of fixed-point numbers.
            let [mut u, mut v] = [fixed(start[0] - 0.5), fixed(start[1] - 0.5)];
            let [step_u, step_v] = [fixed(m[0][0]), fixed(m[1][0])];
            for pixel in row.chunks_exact_mut(3) {
                sample(source, source_size, u, v, pixel);
                (u, v) = (u + step_u, v + step_v);
            }
        } else {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let [u, v, w] = [0, 1, 2].map(|line| start[line] + m[line][0] * x as f64);
                let far = f64::from(-FAR);
                let [u, v] = if w > 1e-9 { [u / w - 0.5, v / w - 0.5] } else { [far, far] };
                sample(source, source_size, fixed(u), fixed(v), pixel);
            }
        }
    }
}

/// Bits after the point of a position.
const FRACTION: u32 = 32;

/// Positions are kept this near, in pixels: farther ones are outside of any picture just as well.
const FAR: i32 = 1 << 20;

fn fixed(value: f64) -> i64 {
    let far = f64::from(FAR);
    (value.clamp(-far, far) * (1u64 << FRACTION) as f64) as i64
}

/// One pixel at a place given in fixed-point source pixels (centres at whole numbers).
#[inline(always)]
fn sample(source: &[u8], [height, width]: [usize; 2], u: i64, v: i64, pixel: &mut [u8]) {
    let (x, y) = (u >> FRACTION, v >> FRACTION);
    let share = |value: i64| ((value >> (FRACTION - 11)) & 2047) as u32;
    let (fx, fy) = (share(u), share(v));
    if x >= 0 && y >= 0 && x + 1 < width as i64 && y + 1 < height as i64 {
        let start = (y as usize * width + x as usize) * 3;
        let upper = &source[start..start + 6];
        let lower = &source[start + width * 3..start + width * 3 + 6];
        for channel in 0..3 {
            let above = u32::from(upper[channel]) * (2048 - fx) + u32::from(upper[channel + 3]) * fx;
            let below = u32::from(lower[channel]) * (2048 - fx) + u32::from(lower[channel + 3]) * fx;
            pixel[channel] = mix(above, below, fy);
        }
    } else if x >= -1 && y >= -1 && x < width as i64 && y < height as i64 {
        let at = |x: i64, y: i64, channel: usize| {
            let inside = x >= 0 && y >= 0 && x < width as i64 && y < height as i64;
            u32::from(if inside { source[(y as usize * width + x as usize) * 3 + channel] } else { FILL })
        };
        for channel in 0..3 {
            let above = at(x, y, channel) * (2048 - fx) + at(x + 1, y, channel) * fx;
            let below = at(x, y + 1, channel) * (2048 - fx) + at(x + 1, y + 1, channel) * fx;
            pixel[channel] = mix(above, below, fy);
        }
    } else {
        pixel.fill(FILL);
    }
}

/// Two sums of 8 and 11 bits mixed to 8 bits: at most 255 · 2²² + 2²¹, which fits into 32 bits.
#[inline(always)]
fn mix(above: u32, below: u32, weight: u32) -> u8 {
    ((above * (2048 - weight) + below * weight + (1 << 21)) >> 22) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes() {
        let map = Projection([[1.2, 0.3, 5.0], [-0.2, 0.8, -3.0], [0.001, -0.0005, 1.0]]);
        let back = map.inverse().unwrap();
        let [x, y] = map.apply(17.0, 40.0);
        let [u, v] = back.apply(x, y);
        assert!((u - 17.0).abs() < 1e-9 && (v - 40.0).abs() < 1e-9);
        assert_eq!(Projection([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).inverse(), None);
    }

    #[test]
    fn whole_turns_and_shifts_move_pixels_unchanged() {
        let source: Vec<u8> = (0..4 * 5 * 3).map(|value| value as u8 * 4).collect();
        let mut out = vec![0; source.len()];
        warp(&source, [4, 5], &Projection([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), &mut out, [4, 5]);
        assert_eq!(out[..12], source[3..15]);
        assert_eq!(out[12..15], [FILL; 3]);
        // Half a turn about the middle of the picture reverses it.
        warp(&source, [4, 5], &Projection([[-1.0, 0.0, 5.0], [0.0, -1.0, 4.0], [0.0, 0.0, 1.0]]), &mut out, [4, 5]);
        let reversed: Vec<u8> = source.chunks(3).rev().flatten().copied().collect();
        assert_eq!(out, reversed);
        // 255 everywhere does not overflow.
        warp(&[255; 60], [4, 5], &Projection([[0.5, 0.1, 1.0], [0.1, 0.5, 1.0], [0.0, 0.0, 1.0]]), &mut out, [4, 5]);
        assert_eq!(out[..3], [255; 3]);
    }
}
