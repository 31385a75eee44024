//! The few vector operations the kernels are written in, once for each instruction set.
//!
//! Kernels are generic over [`Simd`] and always inlined into a function that enables the instruction set's features; the tables in
//! [`kernels`](super::kernels) pick one at run time.

/// A float32 vector unit. All operations act on each lane alone.
pub(crate) trait Simd: Copy {
    /// Values in a vector.
    const LANES: usize;
    /// Vector registers.
    const REGISTERS: usize;
    /// A vector.
    type V: Copy;

    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self::V;
    /// `LANES` values from memory.
    unsafe fn load(from: *const f32) -> Self::V;
    /// `LANES` values to memory.
    unsafe fn store(to: *mut f32, value: Self::V);
    /// The first `count` ≤ `LANES` values from memory, the other lanes 0.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V;
    /// The first `count` ≤ `LANES` lanes to memory.
    unsafe fn store_first(to: *mut f32, value: Self::V, count: usize);
    /// a + b
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a − b
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a · b
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// max(a, b)
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// min(a, b)
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Where a > b the lane of x, else that of y.
    unsafe fn where_greater(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// 1 / a, to a unit or two in the last place.
    unsafe fn reciprocal(a: Self::V) -> Self::V;
    /// The nearest whole number.
    unsafe fn round(a: Self::V) -> Self::V;
    /// a · 2^exponent for whole exponents in −126 … 127.
    unsafe fn scale(a: Self::V, exponent: Self::V) -> Self::V;
    /// Asks for a line of memory that is soon to be used.
    #[inline(always)]
    unsafe fn prefetch(_of: *const f32) {}
}

/// e^x to about one unit in the last place, for −87 ≤ x ≤ 88 (clamped): 2^n · e^r with |r| ≤ ln 2 / 2 and e^r by its minimax
/// polynomial.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
        let x = S::max(S::min(x, S::splat(88.0)), S::splat(-87.0));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::mul_add(n, S::splat(-0.693_359_4), x);
        let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5] {
            p = S::mul_add(p, r, S::splat(coefficient));
        }
        let p = S::mul_add(S::mul(p, r), r, S::add(r, S::splat(1.0)));
        S::scale(p, n)
    }
}

/// The logistic function 1 / (1 + e^−x).
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: lane-wise arithmetic only.
    unsafe { S::reciprocal(S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x)))) }
}

/// Plain code in groups of four: SSE2 on x86-64, NEON on 64-bit Arm (both always there), whatever the compiler finds elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

macro_rules! lanes {
    ($lane:ident => $value:expr) => {{
        let mut result = [0.0f32; 4];
        for $lane in 0..4 {
            result[$lane] = $value;
        }
        result
    }};
}

impl Simd for Portable {
    const LANES: usize = 4;
    const REGISTERS: usize = if cfg!(target_arch = "aarch64") { 32 } else { 16 };
    type V = [f32; 4];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller gives four readable values.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        // SAFETY: the caller gives room for four values.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        // SAFETY: the caller gives `count` readable values.
        unsafe {
            if count >= 4 {
                return Self::load(from);
            }
            let mut result = [0.0; 4];
            std::ptr::copy_nonoverlapping(from, result.as_mut_ptr(), count);
            result
        }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, value: Self::V, count: usize) {
        // SAFETY: the caller gives room for `count` values.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, count.min(4)) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // x86-64 without the FMA extension would call a library function for the fused form.
        if cfg!(target_arch = "aarch64") {
            lanes!(i => a[i].mul_add(b[i], c[i]))
        } else {
            lanes!(i => a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn where_greater(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanes!(i => if a[i] > b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    unsafe fn reciprocal(a: Self::V) -> Self::V {
        lanes!(i => 1.0 / a[i])
    }
    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::V {
        // Adding and taking away 1.5 · 2^23 rounds to the nearest whole number.
        lanes!(i => (a[i] + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    unsafe fn scale(a: Self::V, exponent: Self::V) -> Self::V {
        lanes!(i => a[i] * f32::from_bits((((exponent[i] as i32) + 127) as u32) << 23))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// AVX2 with FMA: eight lanes.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    /// The lanes below `count` switched on.
    #[inline(always)]
    unsafe fn mask(count: usize) -> __m256i {
        // SAFETY: reached only where the processor has AVX2.
        unsafe {
            let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), index)
        }
    }

    // SAFETY of every operation below: reached only through a function table that is chosen where the processor has AVX2 and FMA;
    // memory is the caller's to vouch for.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx2 {
        const LANES: usize = 8;
        const REGISTERS: usize = 16;
        type V = __m256;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m256) {
            unsafe { _mm256_storeu_ps(to, value) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> __m256 {
            unsafe { if count >= 8 { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, mask(count)) } }
        }
        #[inline(always)]
        unsafe fn store_first(to: *mut f32, value: __m256, count: usize) {
            unsafe {
                if count >= 8 { _mm256_storeu_ps(to, value) } else { _mm256_maskstore_ps(to, mask(count), value) }
            }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn where_greater(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
            unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) }
        }
        #[inline(always)]
        unsafe fn reciprocal(a: __m256) -> __m256 {
            unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), a) }
        }
        #[inline(always)]
        unsafe fn round(a: __m256) -> __m256 {
            unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn prefetch(of: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(of.cast()) }
        }
        #[inline(always)]
        unsafe fn scale(a: __m256, exponent: __m256) -> __m256 {
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
                _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
            }
        }
    }

    /// AVX-512: sixteen lanes.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    // SAFETY of every operation below: reached only through a function table that is chosen where the processor has AVX-512F;
    // memory is the caller's to vouch for.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx512 {
        const LANES: usize = 16;
        const REGISTERS: usize = 32;
        type V = __m512;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m512) {
            unsafe { _mm512_storeu_ps(to, value) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> __m512 {
            unsafe {
                if count >= 16 {
                    _mm512_loadu_ps(from)
                } else {
                    _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, from)
                }
            }
        }
        #[inline(always)]
        unsafe fn store_first(to: *mut f32, value: __m512, count: usize) {
            unsafe {
                if count >= 16 {
                    _mm512_storeu_ps(to, value)
                } else {
                    _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as u16, value)
                }
            }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn where_greater(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
            unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
        }
        #[inline(always)]
        unsafe fn reciprocal(a: __m512) -> __m512 {
            unsafe {
                // A 14-bit guess and one Newton step; much faster than the division. Infinity would give NaN in the step, but no
                // caller passes more than 1 + e^88.
                let guess = _mm512_rcp14_ps(a);
                let error = _mm512_fnmadd_ps(a, guess, _mm512_set1_ps(1.0));
                _mm512_fmadd_ps(guess, error, guess)
            }
        }
        #[inline(always)]
        unsafe fn round(a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn prefetch(of: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(of.cast()) }
        }
        #[inline(always)]
        unsafe fn scale(a: __m512, exponent: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(a, exponent) }
        }
    }
}
