//! Bilinear sampling where columns and rows are independent: scaling, moving, cutting out.
//!
//! The integers are those of OpenCV's `INTER_LINEAR` on bytes, found by comparing pictures: a share out of 2048 on each axis, columns
//! first, and what is below a quarter dropped from each of the two rows. A scaled picture has the very bytes that published weights
//! were trained and measured on; a step more here and there moves mAP by a thousandth.

use std::ops::Range;

/// Weights of the two neighbouring source pixels are out of this.
const ONE: u32 = 1 << 11;

/// Which source pixels an output column (or row) is made of.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// The two neighbours; beyond the edge both are the edge pixel.
    pairs: Vec<[u32; 2]>,
    /// Share of the second, out of 2048.
    weight: Vec<u32>,
    /// Whether output pixels are consecutive source pixels, unmixed.
    copy: bool,
}

impl Axis {
    /// For output pixels `range`, of which pixel o has its centre at `(o + 0.5) · step + offset` in a source of
    /// `length` pixels (pixel s has its centre at s + 0.5). Beyond the edge the edge pixel is repeated.
    pub fn new(range: Range<usize>, step: f64, offset: f64, length: usize) -> Self {
        let last = length.saturating_sub(1) as f32;
        let mut axis =
            Self { pairs: Vec::with_capacity(range.len()), weight: Vec::with_capacity(range.len()), copy: false };
        for output in range {
            let position = ((output as f64 + 0.5) * step + offset - 0.5) as f32;
            let first = position.floor();
            axis.pairs.push([first, first + 1.0].map(|pixel| pixel.clamp(0.0, last) as u32));
            axis.weight.push(((position - first) * ONE as f32).round_ties_even() as u32);
        }
        axis.copy = axis.weight.iter().all(|&weight| weight == 0)
            && axis.pairs.windows(2).all(|pair| pair[0][0] + 1 == pair[1][0]);
        axis
    }

    fn len(&self) -> usize {
        self.pairs.len()
    }
}

/// Fills a block of `out` (RGB, rows of `out_width` pixels) whose top left pixel is `[x, y]`, from `source` (RGB, rows
/// of `source_width` pixels). Differs by at most 1 from exact arithmetic.
pub(crate) fn resample(
    source: &[u8],
    source_width: usize,
    columns: &Axis,
    rows: &Axis,
    out: &mut [u8],
    out_width: usize,
    [x, y]: [usize; 2],
) {
    if columns.len() == 0 || rows.len() == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all the function asks for.
        return unsafe { resample_avx2(source, source_width, columns, rows, out, out_width, [x, y]) };
    }
    resample_any(source, source_width, columns, rows, out, out_width, [x, y]);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn resample_avx2(
    source: &[u8],
    source_width: usize,
    columns: &Axis,
    rows: &Axis,
    out: &mut [u8],
    out_width: usize,
    position: [usize; 2],
) {
    resample_any(source, source_width, columns, rows, out, out_width, position);
}

/// Mixes the columns of source rows, each row once while it is needed, then two such rows.
#[inline(always)]
fn resample_any(
    source: &[u8],
    source_width: usize,
    columns: &Axis,
    rows: &Axis,
    out: &mut [u8],
    out_width: usize,
    [x, y]: [usize; 2],
) {
    let stride = source_width * 3;
    let width = columns.len() * 3;
    // Only the source columns that are needed, and five bytes more: the last column reads a neighbour it gives no weight, four at a time.
    let begin = columns.pairs.iter().map(|pair| pair[0]).min().unwrap_or(0) as usize * 3;
    let end = columns.pairs.iter().map(|pair| pair[1]).max().unwrap_or(0) as usize * 3 + 3;
    let mut needed = vec![0; end - begin + 5];
    let starts: Vec<u32> = columns.pairs.iter().map(|pair| pair[0] * 3 - begin as u32).collect();
    let shares = columns.pairs.iter().zip(&columns.weight);
    let shares: Vec<u32> = shares.map(|(pair, &weight)| if pair[0] == pair[1] { 0 } else { weight }).collect();
    // The two rows that are mixed now, in 15 bits, and which ones of the source they are.
    let mut mixed = [vec![0u16; width + 1], vec![0u16; width + 1]];
    let mut held = [u32::MAX; 2];
    for (row, (&pair, &weight)) in rows.pairs.iter().zip(&rows.weight).enumerate() {
        let target = &mut out[((y + row) * out_width + x) * 3..][..width];
        if columns.copy && weight == 0 {
            target.copy_from_slice(&source[pair[0] as usize * stride + begin..][..width]);
            continue;
        }
        // Where it goes down by a row, the lower one is the upper one now.
        if held[0] != pair[0] {
            mixed.swap(0, 1);
            held.swap(0, 1);
        }
        for ((mixed, held), place) in mixed.iter_mut().zip(&mut held).zip(pair) {
            if *held == place {
                continue;
            }
            *held = place;
            needed[..end - begin].copy_from_slice(&source[place as usize * stride..][begin..end]);
            for (column, (&start, &share)) in starts.iter().zip(&shares).enumerate() {
                let pixels = &needed[start as usize..start as usize + 7];
                let mixed = &mut mixed[column * 3..column * 3 + 4];
                for channel in 0..4 {
                    let right = if channel < 3 { pixels[channel + 3] } else { 0 };
                    mixed[channel] =
                        ((u32::from(pixels[channel]) * (ONE - share) + u32::from(right) * share) >> 4) as u16;
                }
            }
        }
        let [upper, lower] = &mixed;
        for ((target, &upper), &lower) in target.iter_mut().zip(upper).zip(lower) {
            let part = |value: u16, weight: u32| (u32::from(value) * weight) >> 16;
            *target = ((part(upper, ONE - weight) + part(lower, weight) + 2) >> 2) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    /// OpenCV's definition of `INTER_LINEAR` in double precision.
    fn exact(source: &[u8], [height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> Vec<f64> {
        let at = |y: usize, x: usize, c: usize| f64::from(source[(y * width + x) * 3 + c]);
        let mut out = Vec::new();
        for y in 0..new_height {
            let v = ((y as f64 + 0.5) * height as f64 / new_height as f64 - 0.5).clamp(0.0, (height - 1) as f64);
            for x in 0..new_width {
                let u = ((x as f64 + 0.5) * width as f64 / new_width as f64 - 0.5).clamp(0.0, (width - 1) as f64);
                let (y0, x0) = (v as usize, u as usize);
                let (y1, x1) = ((y0 + 1).min(height - 1), (x0 + 1).min(width - 1));
                let (fy, fx) = (v - y0 as f64, u - x0 as f64);
                for c in 0..3 {
                    out.push(
                        (at(y0, x0, c) * (1.0 - fx) + at(y0, x1, c) * fx) * (1.0 - fy)
                            + (at(y1, x0, c) * (1.0 - fx) + at(y1, x1, c) * fx) * fy,
                    );
                }
            }
        }
        out
    }

    #[test]
    fn resizing_gives_the_bytes_of_opencv() {
        // Digests of what `cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)` of OpenCV 5.0 gives.
        for (from, to, digest) in [
            ([37, 53], [64, 91], 0x334f_ead0_u32),
            ([64, 48], [21, 17], 0x28fd_0bf9),
            ([40, 30], [20, 15], 0xe33d_d12c),
            ([1, 1], [5, 7], 0x7536_1cd9),
            ([9, 1], [3, 4], 0x7405_0a80),
            ([33, 65], [33, 32], 0x111a_6e1a),
            ([302, 500], [387, 640], 0xafee_8ec8),
            ([427, 640], [214, 320], 0x6d1a_bcf6),
        ] {
            let value = |i: u64| (i.wrapping_mul(i).wrapping_mul(2_654_435_761).wrapping_add(i * 40_503) >> 13) as u8;
            let pixels: Vec<u8> = (0..(from[0] * from[1] * 3) as u64).map(value).collect();
            let picture = crate::Picture { height: from[0], width: from[1], pixels };
            let resized = crate::letterbox::resize(&picture, to).unwrap();
            assert_eq!(resized.size(), to);
            for (value, expected) in resized.pixels.iter().zip(exact(&picture.pixels, from, to)) {
                assert!((f64::from(*value) - expected).abs() <= 1.0, "{value} {expected} {from:?} {to:?}");
            }
            let sum = resized.pixels.iter().fold(0u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
            assert_eq!(sum, digest, "{from:?} {to:?}");
        }
    }

    #[test]
    fn flat_pictures_stay_flat() {
        for value in [0, 1, 114, 254, 255] {
            let picture = crate::Picture { height: 13, width: 11, pixels: vec![value; 13 * 11 * 3] };
            let resized = crate::letterbox::resize(&picture, [29, 7]).unwrap();
            assert!(resized.pixels.iter().all(|&pixel| pixel == value));
        }
    }
}
