//! Kernels that pass over pixels once: batch norm, activation, their gradients, sums, copies, depthwise convolution.
//!
//! A stretch of pixels is a pointer and the number of values between pixels; channels lie side by side.

use super::simd::{Simd, exp, sigmoid};

/// A stretch of pixels to read.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// First pixel's first channel.
    pub data: *const f32,
    /// Values between pixels.
    pub pixel: usize,
}

/// A stretch of pixels to write.
#[derive(Clone, Copy)]
pub(crate) struct Destination {
    /// First pixel's first channel.
    pub data: *mut f32,
    /// Values between pixels.
    pub pixel: usize,
}

/// sums\[channel\] = Σ x and squares\[channel\] = Σ (x − Σ x / pixels)² over the pixels. Taking the stretch's own mean away first
/// keeps the variance exact where the mean is large.
#[inline(always)]
pub(crate) unsafe fn sums<S: Simd>(x: Source, pixels: usize, channels: usize, sums: *mut f32, squares: *mut f32) {
    // SAFETY: the caller describes readable `x` and writable sums of `channels` values.
    unsafe {
        let share = S::splat(1.0 / pixels as f32);
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            let zero = S::splat(0.0);
            let first = x.data.add(channel);
            let (mut even, mut odd) = (zero, zero);
            for pixel in 0..pixels / 2 {
                let from = first.add(2 * pixel * x.pixel);
                even = S::add(even, S::load_first(from, count));
                odd = S::add(odd, S::load_first(from.add(x.pixel), count));
            }
            if pixels % 2 == 1 {
                even = S::add(even, S::load_first(first.add((pixels - 1) * x.pixel), count));
            }
            let sum = S::add(even, odd);
            let mean = S::mul(sum, share);
            (even, odd) = (zero, zero);
            for pixel in 0..pixels / 2 {
                let from = first.add(2 * pixel * x.pixel);
                let a = S::sub(S::load_first(from, count), mean);
                let b = S::sub(S::load_first(from.add(x.pixel), count), mean);
                even = S::mul_add(a, a, even);
                odd = S::mul_add(b, b, odd);
            }
            if pixels % 2 == 1 {
                let a = S::sub(S::load_first(first.add((pixels - 1) * x.pixel), count), mean);
                even = S::mul_add(a, a, even);
            }
            S::store_first(sums.add(channel), sum, count);
            S::store_first(squares.add(channel), S::add(even, odd), count);
            channel += S::LANES;
        }
    }
}

/// out = act(y · scale + shift) (+ residual), act being SiLU or nothing. `out` may be `y`.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(
    y: Source,
    out: Destination,
    residual: Option<Source>,
    pixels: usize,
    channels: usize,
    scale: *const f32,
    shift: *const f32,
    silu: bool,
) {
    // SAFETY: the caller describes stretches of `pixels` pixels and `channels` factors.
    unsafe {
        for pixel in 0..pixels {
            let mut channel = 0;
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                let y = S::load_first(y.data.add(pixel * y.pixel + channel), count);
                let scale = S::load_first(scale.add(channel), count);
                let mut z = S::mul_add(y, scale, S::load_first(shift.add(channel), count));
                if silu {
                    z = S::mul(z, sigmoid::<S>(z));
                }
                if let Some(residual) = residual {
                    z = S::add(z, S::load_first(residual.data.add(pixel * residual.pixel + channel), count));
                }
                S::store_first(out.data.add(pixel * out.pixel + channel), z, count);
                channel += S::LANES;
            }
        }
    }
}

/// x · σ(x) for inference, to some 3e-7 of its value: 2^t by a polynomial in the part of t behind the point.
#[inline(always)]
pub(super) unsafe fn silu<S: Simd>(x: S::V) -> S::V {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
        let t = S::mul(x, S::splat(-std::f32::consts::LOG2_E));
        let t = S::max(S::min(t, S::splat(126.0)), S::splat(-126.0));
        let whole = S::round(t);
        let rest = S::sub(t, whole);
        // Greatest relative error some 1.5e-7 for |rest| ≤ 1/2.
        let mut power = S::splat(1.326_47e-3);
        for coefficient in [9.671_51e-3, 5.550_734e-2, 2.402_224_2e-1, std::f32::consts::LN_2, 1.0] {
            power = S::mul_add(power, rest, S::splat(coefficient));
        }
        S::mul(x, S::reciprocal(S::add(S::scale(power, whole), S::splat(1.0))))
    }
}

/// y = act(y + bias) (+ residual), act being SiLU or nothing: what inference does to a convolution's sums.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd>(
    y: Destination,
    residual: Option<Source>,
    pixels: usize,
    channels: usize,
    bias: *const f32,
    act: bool,
) {
    // SAFETY: the caller describes stretches of `pixels` pixels and `channels` biases.
    unsafe {
        for pixel in 0..pixels {
            let mut channel = 0;
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                let at = y.data.add(pixel * y.pixel + channel);
                let mut z = S::add(S::load_first(at, count), S::load_first(bias.add(channel), count));
                if act {
                    z = silu::<S>(z);
                }
                if let Some(residual) = residual {
                    z = S::add(z, S::load_first(residual.data.add(pixel * residual.pixel + channel), count));
                }
                S::store_first(at, z, count);
                channel += S::LANES;
            }
        }
    }
}

/// The gradient before the activation: gradient · act'(z).
#[inline(always)]
unsafe fn before_activation<S: Simd>(gradient: S::V, z: S::V, silu: bool) -> S::V {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
        if !silu {
            return gradient;
        }
        // d silu(z) = σ (1 + z (1 − σ))
        let s = sigmoid::<S>(z);
        let slope = S::mul(s, S::mul_add(z, S::sub(S::splat(1.0), s), S::splat(1.0)));
        S::mul(gradient, slope)
    }
}

/// First pass of batch norm's backward: for z = y · scale + shift and h = gradient · act'(z), `sums`\[channel\] = Σ h and
/// `products`\[channel\] = Σ h · (y − mean).
#[inline(always)]
pub(crate) unsafe fn norm_gradient_sums<S: Simd>(
    y: Source,
    gradient: Source,
    pixels: usize,
    channels: usize,
    scale: *const f32,
    shift: *const f32,
    mean: *const f32,
    silu: bool,
    sums: *mut f32,
    products: *mut f32,
) {
    // SAFETY: the caller describes stretches of `pixels` pixels and `channels` factors and sums.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            let scale = S::load_first(scale.add(channel), count);
            let shift = S::load_first(shift.add(channel), count);
            let mean = S::load_first(mean.add(channel), count);
            let zero = S::splat(0.0);
            let (mut s0, mut s1, mut p0, mut p1) = (zero, zero, zero, zero);
            let mut y_at = y.data.add(channel);
            let mut g_at = gradient.data.add(channel);
            for _ in 0..pixels / 2 {
                let (y0, y1) = (S::load_first(y_at, count), S::load_first(y_at.add(y.pixel), count));
                let (g0, g1) = (S::load_first(g_at, count), S::load_first(g_at.add(gradient.pixel), count));
                let h0 = before_activation::<S>(g0, S::mul_add(y0, scale, shift), silu);
                let h1 = before_activation::<S>(g1, S::mul_add(y1, scale, shift), silu);
                s0 = S::add(s0, h0);
                s1 = S::add(s1, h1);
                p0 = S::mul_add(h0, S::sub(y0, mean), p0);
                p1 = S::mul_add(h1, S::sub(y1, mean), p1);
                y_at = y_at.add(2 * y.pixel);
                g_at = g_at.add(2 * gradient.pixel);
            }
            if pixels % 2 == 1 {
                let y = S::load_first(y_at, count);
                let h = before_activation::<S>(S::load_first(g_at, count), S::mul_add(y, scale, shift), silu);
                s0 = S::add(s0, h);
                p0 = S::mul_add(h, S::sub(y, mean), p0);
            }
            S::store_first(sums.add(channel), S::add(s0, s1), count);
            S::store_first(products.add(channel), S::add(p0, p1), count);
            channel += S::LANES;
        }
    }
}

/// Second pass of batch norm's backward, in place: y becomes its gradient `scale · h + y · slope + offset`.
#[inline(always)]
pub(crate) unsafe fn norm_gradient<S: Simd>(
    y: Destination,
    gradient: Source,
    pixels: usize,
    channels: usize,
    scale: *const f32,
    shift: *const f32,
    slope: *const f32,
    offset: *const f32,
    silu: bool,
) {
    // SAFETY: the caller describes stretches of `pixels` pixels and `channels` factors.
    unsafe {
        for pixel in 0..pixels {
            let mut channel = 0;
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                let at = y.data.add(pixel * y.pixel + channel);
                let value = S::load_first(at, count);
                let g = S::load_first(gradient.data.add(pixel * gradient.pixel + channel), count);
                let scale = S::load_first(scale.add(channel), count);
                let z = S::mul_add(value, scale, S::load_first(shift.add(channel), count));
                let h = before_activation::<S>(g, z, silu);
                let rest = S::mul_add(
                    value,
                    S::load_first(slope.add(channel), count),
                    S::load_first(offset.add(channel), count),
                );
                S::store_first(at, S::mul_add(h, scale, rest), count);
                channel += S::LANES;
            }
        }
    }
}

/// to (+)= from
#[inline(always)]
pub(crate) unsafe fn copy<S: Simd>(from: Source, to: Destination, pixels: usize, channels: usize, accumulate: bool) {
    // SAFETY: the caller describes stretches of `pixels` pixels.
    unsafe {
        for pixel in 0..pixels {
            let mut channel = 0;
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                let mut value = S::load_first(from.data.add(pixel * from.pixel + channel), count);
                let at = to.data.add(pixel * to.pixel + channel);
                if accumulate {
                    value = S::add(value, S::load_first(at, count));
                }
                S::store_first(at, value, count);
                channel += S::LANES;
            }
        }
    }
}

/// One row of a depthwise convolution: `out[x, c] (+)= Σ from[ky · row + (x · step + kx) · channels + c] · weights[ky, kx, c]`.
/// `from` is a padded strip whose pixels lie side by side.
#[inline(always)]
pub(crate) unsafe fn depthwise_row<S: Simd>(
    from: *const f32,
    row: usize,
    kernel: usize,
    step: usize,
    weights: *const f32,
    out: Destination,
    width: usize,
    channels: usize,
    accumulate: bool,
) {
    // SAFETY: the caller describes a strip of `kernel` rows, `kernel`² · `channels` weights and `width` output pixels.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            for x in 0..width {
                let mut sum = S::splat(0.0);
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let value = S::load_first(from.add(ky * row + (x * step + kx) * channels + channel), count);
                        let weight = S::load_first(weights.add((ky * kernel + kx) * channels + channel), count);
                        sum = S::mul_add(value, weight, sum);
                    }
                }
                let at = out.data.add(x * out.pixel + channel);
                if accumulate {
                    sum = S::add(sum, S::load_first(at, count));
                }
                S::store_first(at, sum, count);
            }
            channel += S::LANES;
        }
    }
}

/// Adds one row's share to a depthwise convolution's weight gradient `[ky, kx, c]`.
#[inline(always)]
pub(crate) unsafe fn depthwise_weight_row<S: Simd>(
    from: *const f32,
    row: usize,
    kernel: usize,
    step: usize,
    gradient: Source,
    weights: *mut f32,
    width: usize,
    channels: usize,
) {
    // SAFETY: the caller describes a strip of `kernel` rows, `kernel`² · `channels` weights and `width` output pixels.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            for ky in 0..kernel {
                for kx in 0..kernel {
                    let mut sum = S::splat(0.0);
                    for x in 0..width {
                        let value = S::load_first(from.add(ky * row + (x * step + kx) * channels + channel), count);
                        let g = S::load_first(gradient.data.add(x * gradient.pixel + channel), count);
                        sum = S::mul_add(value, g, sum);
                    }
                    let at = weights.add((ky * kernel + kx) * channels + channel);
                    S::store_first(at, S::add(sum, S::load_first(at, count)), count);
                }
            }
            channel += S::LANES;
        }
    }
}

/// One row of a max pooling with a `kernel`×`kernel` window and step 1: row `y` of an image of `[height, width]` pixels that begins at
/// `image`. `winners`, where given, receives the number of the first window position that held each maximum.
#[inline(always)]
pub(crate) unsafe fn max_pool_row<S: Simd>(
    image: Source,
    [height, width]: [usize; 2],
    kernel: usize,
    y: usize,
    out: Destination,
    winners: Option<Destination>,
    channels: usize,
) {
    // SAFETY: the caller describes an image of that size and a row to write; window positions outside the image are left out.
    unsafe {
        let half = kernel / 2;
        // The window positions that lie inside, for a coordinate.
        let inside = |at: usize, length: usize| (half.saturating_sub(at), kernel.min(length + half - at));
        let (first_row, last_row) = inside(y, height);
        for x in 0..width {
            let (first_column, last_column) = inside(x, width);
            let mut channel = 0;
            while channel < channels {
                let count = (channels - channel).min(S::LANES);
                let mut best = S::splat(f32::NEG_INFINITY);
                let mut winner = S::splat(0.0);
                for row in first_row..last_row {
                    for column in first_column..last_column {
                        let pixel = (y + row - half) * width + x + column - half;
                        let value = S::load_first(image.data.add(pixel * image.pixel + channel), count);
                        if winners.is_some() {
                            let position = S::splat((row * kernel + column) as f32);
                            winner = S::where_greater(value, best, position, winner);
                        }
                        best = S::max(value, best);
                    }
                }
                S::store_first(out.data.add(x * out.pixel + channel), best, count);
                if let Some(winners) = winners {
                    S::store_first(winners.data.add(x * winners.pixel + channel), winner, count);
                }
                channel += S::LANES;
            }
        }
    }
}

/// Softmax of `row · factor`, in place.
#[inline(always)]
pub(crate) unsafe fn softmax<S: Simd>(row: *mut f32, length: usize, factor: f32) {
    // SAFETY: the caller gives `length` values.
    unsafe {
        let row = std::slice::from_raw_parts_mut(row, length);
        let most = row.iter().fold(f32::NEG_INFINITY, |most, &value| if value > most { value } else { most });
        let (factor_v, most_v) = (S::splat(factor), S::splat(most * factor));
        let mut total = S::splat(0.0);
        let mut at = 0;
        while at < length {
            let count = (length - at).min(S::LANES);
            let value = S::load_first(row.as_ptr().add(at), count);
            let e = exp::<S>(S::sub(S::mul(value, factor_v), most_v));
            S::store_first(row.as_mut_ptr().add(at), e, count);
            // Read back so that lanes past the end count nothing.
            total = S::add(total, S::load_first(row.as_ptr().add(at), count));
            at += S::LANES;
        }
        let mut lanes = [0.0f32; 16];
        S::store(lanes.as_mut_ptr(), total);
        let inverse = 1.0 / lanes.iter().sum::<f32>();
        for value in row {
            *value *= inverse;
        }
    }
}
