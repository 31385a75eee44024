//! Numbers as the bytes that files hold: little-endian.

use half::f16;

/// float16. What is beyond it becomes its greatest number instead of infinity.
pub(crate) fn halves(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|value| value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
    halves.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
}

/// float32.
pub(crate) fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
