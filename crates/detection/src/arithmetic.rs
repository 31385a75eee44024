//! Exponential and binary cross entropy written so that the compiler turns loops over them into vector instructions:
//! no calls, no branches, no tables. Millions of class logits pass here in every training step.

use std::f32::consts::LN_2;

/// Below this e^x counts as the e^x of this: still a normal number, and nothing beside 1.
const LEAST_EXPONENT: f32 = -87.0;

/// `e^x` for `x <= 0`, within 2e-7 relative; undefined stays undefined.
#[inline(always)]
pub(crate) fn exp_nonpositive(x: f32) -> f32 {
    let x = if x < LEAST_EXPONENT { LEAST_EXPONENT } else { x };
    // Adding 1.5 * 2^23 rounds to a whole number and leaves that number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    // ln 2 in two parts, so that the difference keeps all its bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    let r = x - power * LN_2_HIGH - power * ((std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32);
    debug_assert!(r.is_nan() || r.abs() <= LN_2 * 0.51);
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + coefficient;
    }
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    series * scale
}

/// `ln(1 + e)` for `0 <= e <= 1`, within 2e-7: twice the inverse hyperbolic tangent of e / (2 + e), at most 1/3.
#[inline(always)]
fn ln_one_plus(e: f32) -> f32 {
    let z = e / (2.0 + e);
    let square = z * z;
    let mut series = 1.0 / 15.0;
    for coefficient in [1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        series = series * square + coefficient;
    }
    2.0 * z * series
}

/// Binary cross entropy of one logit against the target 0, and its derivative, the probability.
#[inline(always)]
fn background(logit: f32) -> (f32, f32) {
    let e = exp_nonpositive(-logit.abs());
    // max(logit, 0), but undefined stays undefined.
    let positive = 0.5 * (logit + logit.abs());
    let probability = (if logit >= 0.0 { 1.0 } else { e }) / (1.0 + e);
    (positive + ln_one_plus(e), probability)
}

const LANES: usize = 8;

/// Sum of binary cross entropies of all logits against the target 0.
pub(crate) fn background_loss(logits: &[f32]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(logits: &[f32]) -> f64 {
            loss_of(logits)
        }
        // SAFETY: the processor has been found to have AVX2.
        return unsafe { wide(logits) };
    }
    loss_of(logits)
}

/// [`background_loss`], writing `scale` times the derivative by each logit to `gradient`.
pub(crate) fn background_loss_with_gradient(logits: &[f32], gradient: &mut [f32], scale: f32) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(logits: &[f32], gradient: &mut [f32], scale: f32) -> f64 {
            loss_and_gradient_of(logits, gradient, scale)
        }
        // SAFETY: the processor has been found to have AVX2.
        return unsafe { wide(logits, gradient, scale) };
    }
    loss_and_gradient_of(logits, gradient, scale)
}

// The bodies are compiled once for every processor and once for AVX2. Products and sums are not fused in either, so that
// both give the same bits.

#[inline(always)]
fn loss_of(logits: &[f32]) -> f64 {
    let mut lanes = [0f64; LANES];
    let mut chunks = logits.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] += f64::from(background(chunk[lane]).0);
        }
    }
    lanes.iter().sum::<f64>() + chunks.remainder().iter().map(|&logit| f64::from(background(logit).0)).sum::<f64>()
}

#[inline(always)]
fn loss_and_gradient_of(logits: &[f32], gradient: &mut [f32], scale: f32) -> f64 {
    let mut lanes = [0f64; LANES];
    let mut chunks = logits.chunks_exact(LANES);
    let mut gradients = gradient.chunks_exact_mut(LANES);
    for (chunk, gradient) in (&mut chunks).zip(&mut gradients) {
        for lane in 0..LANES {
            let (loss, derivative) = background(chunk[lane]);
            lanes[lane] += f64::from(loss);
            gradient[lane] = scale * derivative;
        }
    }
    let mut sum = lanes.iter().sum::<f64>();
    for (&logit, gradient) in chunks.remainder().iter().zip(gradients.into_remainder()) {
        let (loss, derivative) = background(logit);
        sum += f64::from(loss);
        *gradient = scale * derivative;
    }
    sum
}

/// Whether every value is finite.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    // The exponent of infinite and undefined numbers is all ones; `max` over chunks keeps the loop free of branches.
    const EXPONENT: u32 = 0x7f80_0000;
    values
        .chunks(256)
        .all(|chunk| chunk.iter().fold(0, |greatest, value| greatest.max(value.to_bits() & EXPONENT)) < EXPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_and_cross_entropy_equal_f64() {
        for i in -2000..=2000 {
            let x = i as f32 * 0.02 + 0.003;
            let exact = f64::from(-x.abs()).exp();
            assert!((f64::from(exp_nonpositive(-x.abs())) / exact - 1.0).abs() < 3e-7, "{x}");
            let (loss, probability) = background(x);
            let exact = f64::from(x).max(0.0) + exact.ln_1p();
            assert!((f64::from(loss) - exact).abs() < 3e-7 * exact.max(1e-3), "{x}: {loss} {exact}");
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(probability) / exact - 1.0).abs() < 4e-7, "{x}");
        }
        let (loss, probability) = background(-1e30);
        assert!(loss > 0.0 && loss < 2e-38 && probability > 0.0 && probability < 2e-38);
        assert_eq!(background(200.0), (200.0, 1.0));
    }

    #[test]
    fn undefined_and_infinite_logits_show() {
        assert!(background(f32::NAN).0.is_nan() && background(f32::NAN).1.is_nan());
        assert_eq!(background(f32::INFINITY).0, f32::INFINITY);
        assert!(!background(f32::NEG_INFINITY).0.is_finite());
        let mut values = vec![1.0; 1000];
        assert!(all_finite(&values));
        values[777] = f32::NAN;
        assert!(!all_finite(&values));
        values[777] = f32::NEG_INFINITY;
        assert!(!all_finite(&values));
    }

    #[test]
    fn sums_and_gradients_cover_the_remainder() {
        let logits: Vec<f32> = (0..21).map(|i| i as f32 * 0.3 - 3.0).collect();
        let mut gradient = vec![0.0; 21];
        let loss = background_loss_with_gradient(&logits, &mut gradient, 2.0);
        let exact: f64 = logits.iter().map(|&x| f64::from(x).exp().ln_1p()).sum();
        assert!((loss - exact).abs() < 1e-6 && (background_loss(&logits) - loss).abs() < 1e-12);
        let mut plain = vec![0.0; 21];
        assert_eq!(loss_and_gradient_of(&logits, &mut plain, 2.0), loss);
        assert_eq!(plain, gradient);
        assert!((gradient[20] - 2.0 / (1.0 + (-3f32).exp())).abs() < 1e-6);
    }
}
