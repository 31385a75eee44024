//! The inner loops of convolution: small blocks of output held in registers.

use super::simd::Simd;

/// Most pixels (or weight rows) in a block.
pub(crate) const MOST_ROWS: usize = 12;
/// Most vectors of channels in a block.
pub(crate) const MOST_VECTORS: usize = 4;
/// Values of k by which weights are asked for before they are needed.
const AHEAD: usize = 8;

/// Pixels by channels: `c[pixel, channel] (+)= Σ a[pixel, k] · b[k, channel]`. The sum over k runs over `segments` stretches of
/// `depth` values each; b is packed so that the block's channels stand side by side for each k.
#[derive(Clone, Copy)]
pub(crate) struct PixelTile {
    /// First pixel's first value.
    pub a: *const f32,
    /// Values between pixels of `a`.
    pub a_pixel: usize,
    /// Values between segments of `a`.
    pub a_segment: usize,
    /// Number of segments.
    pub segments: usize,
    /// Values of a segment.
    pub depth: usize,
    /// Packed weights `[segment · depth, vectors · LANES]`.
    pub b: *const f32,
    /// First pixel's first channel.
    pub c: *mut f32,
    /// Values between pixels of `c`.
    pub c_pixel: usize,
    /// Channels to write; the last vector may be partly used.
    pub columns: usize,
    /// Whether to add to what stands in `c`.
    pub accumulate: bool,
}

/// Weights' gradient: `c[k, channel] += Σ over pixels a[pixel, k] · g[pixel, channel]`.
#[derive(Clone, Copy)]
pub(crate) struct WeightTile {
    /// First pixel's first k.
    pub a: *const f32,
    /// Values between pixels of `a`.
    pub a_pixel: usize,
    /// Values between rows of `a`.
    pub a_row: usize,
    /// First pixel's first channel of the output's gradient. Whole vectors are read.
    pub g: *const f32,
    /// Values between pixels of `g`.
    pub g_pixel: usize,
    /// Values between rows of `g`.
    pub g_row: usize,
    /// Rows.
    pub rows: usize,
    /// Pixels in a row.
    pub width: usize,
    /// First k's first channel.
    pub c: *mut f32,
    /// Values between ks of `c`, whole vectors.
    pub c_stride: usize,
}

/// A block of `M` pixels by `N` vectors.
#[inline(always)]
pub(crate) unsafe fn pixel_tile<S: Simd, const M: usize, const N: usize>(tile: &PixelTile) {
    // SAFETY: the caller describes readable `a`, `b` and writable `c` of these extents.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        let mut b = tile.b;
        let mut segment = tile.a;
        // Where the depth is small, the sums would wait for these lines in the end.
        for i in 0..M {
            for j in 0..N {
                S::prefetch(tile.c.add(i * tile.c_pixel + j * S::LANES));
            }
        }
        for _ in 0..tile.segments {
            let rows: [*const f32; M] = std::array::from_fn(|i| segment.add(i * tile.a_pixel));
            for k in 0..tile.depth {
                let mut weights = [S::splat(0.0); N];
                for j in 0..N {
                    weights[j] = S::load(b.add(j * S::LANES));
                    // A block of one vector reads more than once for each product as it is.
                    if N > 1 {
                        S::prefetch(b.wrapping_add((AHEAD * N + j) * S::LANES));
                    }
                }
                b = b.add(N * S::LANES);
                for i in 0..M {
                    let value = S::splat(*rows[i].add(k));
                    for j in 0..N {
                        sums[i][j] = S::mul_add(value, weights[j], sums[i][j]);
                    }
                }
            }
            segment = segment.add(tile.a_segment);
        }
        for i in 0..M {
            for j in 0..N {
                let to = tile.c.add(i * tile.c_pixel + j * S::LANES);
                let columns = if j + 1 == N { tile.columns - j * S::LANES } else { S::LANES };
                let mut value = sums[i][j];
                if tile.accumulate {
                    value = S::add(value, S::load_first(to, columns));
                }
                S::store_first(to, value, columns);
            }
        }
    }
}

/// A block of `M` ks by `N` vectors.
#[inline(always)]
pub(crate) unsafe fn weight_tile<S: Simd, const M: usize, const N: usize>(tile: &WeightTile) {
    // SAFETY: the caller describes readable `a`, `g` and writable `c` of these extents.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        for row in 0..tile.rows {
            let mut a = tile.a.add(row * tile.a_row);
            let mut g = tile.g.add(row * tile.g_row);
            for _ in 0..tile.width {
                let mut gradients = [S::splat(0.0); N];
                for j in 0..N {
                    gradients[j] = S::load(g.add(j * S::LANES));
                }
                for i in 0..M {
                    let value = S::splat(*a.add(i));
                    for j in 0..N {
                        sums[i][j] = S::mul_add(value, gradients[j], sums[i][j]);
                    }
                }
                a = a.add(tile.a_pixel);
                g = g.add(tile.g_pixel);
            }
        }
        for i in 0..M {
            for j in 0..N {
                let to = tile.c.add(i * tile.c_stride + j * S::LANES);
                S::store(to, S::add(sums[i][j], S::load(to)));
            }
        }
    }
}
