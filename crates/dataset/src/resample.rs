//! Bilinear sampling where columns and rows are independent: scaling, moving, cutting out.

use std::ops::Range;

/// Weights of the two neighbouring source pixels are out of this.
const ONE: u32 = 1 << 11;

/// Which source pixels an output column (or row) is made of.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// The first of the two neighbours; the other one follows it.
    first: Vec<u32>,
    /// Share of the second, out of 2048.
    weight: Vec<u32>,
    /// Whether output pixels are consecutive source pixels, unmixed.
    copy: bool,
}

impl Axis {
    /// For output pixels `range`, of which pixel o has its centre at `(o + 0.5) · step + offset` in a source of
    /// `length` pixels (pixel s has its centre at s + 0.5). Beyond the edge the edge pixel is repeated.
    pub fn new(range: Range<usize>, step: f64, offset: f64, length: usize) -> Self {
        let last = length.saturating_sub(1);
        let mut axis =
            Self { first: Vec::with_capacity(range.len()), weight: Vec::with_capacity(range.len()), copy: false };
        for output in range {
            let position = ((output as f64 + 0.5) * step + offset - 0.5).clamp(0.0, last as f64);
            let mut first = position as usize;
            let mut weight = ((position - first as f64) * f64::from(ONE)).round() as u32;
            if weight == ONE {
                (first, weight) = (first + 1, 0);
            }
            axis.first.push(first as u32);
            axis.weight.push(weight);
        }
        axis.copy =
            axis.weight.iter().all(|&weight| weight == 0) && axis.first.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        axis
    }

    fn len(&self) -> usize {
        self.first.len()
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

/// First mixes two source rows (long runs of the same operation), then picks and mixes columns of the result.
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
    let source_height = source.len() / stride;
    // Only the source columns that are needed.
    let begin = columns.first.iter().copied().min().unwrap_or(0) as usize;
    let end = (columns.first.iter().copied().max().unwrap_or(0) as usize + 2).min(source_width);
    let width = (end - begin) * 3;
    // Five values more: the last column reads a neighbour it gives no weight, four values at a time.
    let mut mixed = vec![0u16; width + 5];
    let starts: Vec<u32> = columns.first.iter().map(|first| (first - begin as u32) * 3).collect();
    let mut mixed_row = None;
    for (row, (&first, &weight)) in rows.first.iter().zip(&rows.weight).enumerate() {
        let first = first as usize;
        let upper = &source[first * stride + begin * 3..][..width];
        let target = &mut out[((y + row) * out_width + x) * 3..][..columns.len() * 3];
        if columns.copy && weight == 0 {
            target.copy_from_slice(&upper[..columns.len() * 3]);
            continue;
        }
        if mixed_row != Some((first, weight)) {
            mixed_row = Some((first, weight));
            if weight == 0 {
                for (mixed, &a) in mixed[..width].iter_mut().zip(upper) {
                    *mixed = u16::from(a) << 7;
                }
            } else {
                let lower = &source[(first + 1).min(source_height - 1) * stride + begin * 3..][..width];
                for ((mixed, &a), &b) in mixed[..width].iter_mut().zip(upper).zip(lower) {
                    *mixed = ((u32::from(a) * (ONE - weight) + u32::from(b) * weight + 8) >> 4) as u16;
                }
            }
        }
        for ((target, &start), &weight) in target.chunks_exact_mut(3).zip(&starts).zip(&columns.weight) {
            let pair = &mixed[start as usize..start as usize + 7];
            let other = ONE - weight;
            let mut sum = [0u32; 4];
            for channel in 0..4 {
                let right = if channel < 3 { pair[channel + 3] } else { 0 };
                sum[channel] = (u32::from(pair[channel]) * other + u32::from(right) * weight + (1 << 17)) >> 18;
            }
            target[0] = sum[0] as u8;
            target[1] = sum[1] as u8;
            target[2] = sum[2] as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::random::Random;

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
    fn resizing_is_opencv_linear_within_one() {
        let mut random = Random::new(&[5]);
        for (from, to) in [
            ([37, 53], [64, 91]),
            ([64, 48], [21, 17]),
            ([40, 30], [20, 15]),
            ([1, 1], [5, 7]),
            ([9, 1], [3, 4]),
            ([33, 65], [33, 32]),
        ] {
            let pixels: Vec<u8> = (0..from[0] * from[1] * 3).map(|_| random.bits() as u8).collect();
            let picture = crate::Picture { height: from[0], width: from[1], pixels };
            let resized = crate::letterbox::resize(&picture, to).unwrap();
            assert_eq!(resized.size(), to);
            for (value, expected) in resized.pixels.iter().zip(exact(&picture.pixels, from, to)) {
                assert!((f64::from(*value) - expected).abs() <= 1.0, "{value} {expected} {from:?} {to:?}");
            }
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
