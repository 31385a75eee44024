//! Random hue, saturation and brightness.

/// Gains for one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HsvGains {
    /// Turn of the hue, as a share of the colour circle.
    pub hue: f32,
    /// Factor of the saturation.
    pub saturation: f32,
    /// Factor of the value (brightness).
    pub value: f32,
}

/// Pixels that are worked on together.
const BLOCK: usize = 64;

/// Turns hue, scales saturation and value of RGB pixels. In floating point: unlike tables of 8-bit HSV it rounds once.
pub(crate) fn shift_hsv(pixels: &mut [u8], gains: HsvGains) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all the function asks for.
        return unsafe { shift_avx2(pixels, gains) };
    }
    shift_any(pixels, gains);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn shift_avx2(pixels: &mut [u8], gains: HsvGains) {
    shift_any(pixels, gains);
}

#[inline(always)]
fn shift_any(pixels: &mut [u8], gains: HsvGains) {
    let mut blocks = pixels.chunks_exact_mut(BLOCK * 3);
    for block in &mut blocks {
        shift_block(block, gains);
    }
    let rest = blocks.into_remainder();
    let mut block = [0; BLOCK * 3];
    block[..rest.len()].copy_from_slice(rest);
    shift_block(&mut block, gains);
    rest.copy_from_slice(&block[..rest.len()]);
}

/// One loop per step over plain arrays, without branches, so that it compiles to vector code.
#[inline(always)]
fn shift_block(block: &mut [u8], gains: HsvGains) {
    let mut bytes = [[0u8; BLOCK]; 3];
    let (triples, _) = block.as_chunks::<3>();
    for (pixel, triple) in triples.iter().enumerate().take(BLOCK) {
        for channel in 0..3 {
            bytes[channel][pixel] = triple[channel];
        }
    }
    // A turn in sixths of the circle, from 0 to 6.
    let turn = (gains.hue * 6.0).rem_euclid(6.0);
    for pixel in 0..BLOCK {
        let [r, g, b] = [0, 1, 2].map(|channel| f32::from(bytes[channel][pixel]));
        let highest = larger(larger(r, g), b);
        let chroma = highest - smaller(smaller(r, g), b);
        let per_chroma = 1.0 / larger(chroma, 1.0);
        let blue_part = (r - g) * per_chroma + 4.0;
        let green_part = (b - r) * per_chroma + 2.0;
        let red_part = (g - b) * per_chroma + 6.0;
        let hue = if highest == g { green_part } else { blue_part };
        let hue = if highest == r { red_part } else { hue } + turn;
        let share = smaller(chroma / larger(highest, 1.0) * gains.saturation, 1.0);
        let value = smaller(highest * gains.value, 255.0);
        let depth = value * share;
        // Smith's hexcone (1978) without cases: a channel is full, rises or falls with the hue's distance.
        bytes[0][pixel] = to_byte(value - depth * ramp(hue + 5.0));
        bytes[1][pixel] = to_byte(value - depth * ramp(hue + 3.0));
        bytes[2][pixel] = to_byte(value - depth * ramp(hue + 1.0));
    }
    let (triples, _) = block.as_chunks_mut::<3>();
    for (pixel, triple) in triples.iter_mut().enumerate().take(BLOCK) {
        for channel in 0..3 {
            triple[channel] = bytes[channel][pixel];
        }
    }
}

/// 2²³ more puts the rounded value into the lowest bits: a conversion without special cases.
#[inline(always)]
fn to_byte(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}

/// The larger one; unlike `f32::max` without care for NaN, so one instruction.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// How much of the depth a channel loses at this hue (0 to 18, in sixths of the circle).
#[inline(always)]
fn ramp(hue: f32) -> f32 {
    let hue = if hue >= 12.0 { hue - 12.0 } else { hue };
    let hue = if hue >= 6.0 { hue - 6.0 } else { hue };
    larger(smaller(smaller(hue, 4.0 - hue), 1.0), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: HsvGains = HsvGains { hue: 0.0, saturation: 1.0, value: 1.0 };

    #[test]
    fn no_gain_changes_nothing() {
        let mut pixels = Vec::new();
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    pixels.extend([r as u8, g as u8, b as u8]);
                }
            }
        }
        let mut changed = pixels.clone();
        shift_hsv(&mut changed, NONE);
        assert_eq!(changed, pixels);
    }

    #[test]
    fn known_colours() {
        let shift = |colour: [u8; 3], gains: HsvGains| {
            let mut pixels = colour.to_vec();
            shift_hsv(&mut pixels, gains);
            [pixels[0], pixels[1], pixels[2]]
        };
        let third = HsvGains { hue: 1.0 / 3.0, ..NONE };
        assert_eq!(shift([255, 0, 0], third), [0, 255, 0]);
        assert_eq!(shift([0, 0, 255], third), [255, 0, 0]);
        assert_eq!(shift([200, 100, 50], HsvGains { hue: -1.0 / 3.0, ..NONE }), [100, 50, 200]);
        assert_eq!(shift([200, 100, 50], HsvGains { hue: 1.0, ..NONE }), [200, 100, 50]);
        assert_eq!(shift([200, 100, 100], HsvGains { saturation: 0.0, ..NONE }), [200, 200, 200]);
        assert_eq!(shift([200, 100, 100], HsvGains { saturation: 9.0, ..NONE }), [200, 0, 0]);
        assert_eq!(shift([100, 50, 20], HsvGains { value: 2.0, ..NONE }), [200, 100, 40]);
        assert_eq!(shift([200, 100, 40], HsvGains { value: 9.0, ..NONE })[0], 255);
        assert_eq!(shift([90, 90, 90], third), [90, 90, 90]);
    }
}
