//! Colours for classes: far apart for the eye, however many there are.
//!
//! Distances are taken in OKLab (B. Ottosson, 2020), where equal steps look equally large. A few chosen colours come first; each
//! further one is that of a fine grid which is farthest from all before it. So the first few are the most different, and any
//! number of classes gets the best that is left.

use std::sync::OnceLock;

use crate::image::Colour;

/// Colours before they repeat.
const COLOURS: usize = 256;
/// Steps of a channel in the grid that colours are taken from.
const STEPS: usize = 18;
/// Lightness in which a line is seen on white paper as well as a box on a dark picture.
const LIGHTNESS: std::ops::RangeInclusive<f32> = 0.42..=0.75;
/// Least colourfulness: greys belong to paper and grid.
const CHROMA: f32 = 0.06;

const FIRST: [Colour; 8] = [
    [46, 111, 222],
    [240, 138, 24],
    [32, 158, 88],
    [220, 50, 64],
    [140, 80, 214],
    [20, 170, 196],
    [228, 72, 158],
    [140, 86, 40],
];

/// The colour of a class, the same in every picture. Colours repeat after 256 classes.
pub fn class_colour(class: usize) -> Colour {
    static COLOURS_OF_CLASSES: OnceLock<Vec<Colour>> = OnceLock::new();
    let colours = COLOURS_OF_CLASSES.get_or_init(choose);
    colours[class % colours.len()]
}

/// Black or white, whichever is read more easily on this ground.
pub fn ink_on(ground: Colour) -> Colour {
    // Relative luminance as the web's rules on contrast (WCAG 2) count it.
    let linear = ground.map(|channel| to_linear(f32::from(channel) / 255.0));
    let luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    // Towards white, which looks lighter on strong colours than the rule has it.
    if luminance > 0.30 { [16, 18, 24] } else { [255; 3] }
}

fn choose() -> Vec<Colour> {
    let channel = |step: usize| (step * 255 / (STEPS - 1)) as u8;
    let mut candidates = Vec::new();
    for index in 0..STEPS * STEPS * STEPS {
        let colour = [channel(index / STEPS / STEPS), channel(index / STEPS % STEPS), channel(index % STEPS)];
        let lab = oklab(colour);
        if LIGHTNESS.contains(&lab[0]) && lab[1].hypot(lab[2]) >= CHROMA {
            candidates.push((colour, lab));
        }
    }
    let mut chosen: Vec<Colour> = FIRST.to_vec();
    let mut nearest = vec![f32::INFINITY; candidates.len()];
    for next in 0..COLOURS {
        if next >= chosen.len() {
            let mut best = 0;
            for index in 1..nearest.len() {
                if nearest[index] > nearest[best] {
                    best = index;
                }
            }
            chosen.push(candidates[best].0);
        }
        let taken = oklab(chosen[next]);
        for (distance, (_, lab)) in nearest.iter_mut().zip(&candidates) {
            *distance = distance.min(apart(taken, *lab));
        }
    }
    chosen
}

fn apart(one: [f32; 3], other: [f32; 3]) -> f32 {
    one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

fn to_linear(channel: f32) -> f32 {
    if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
}

/// Lightness, green to red, blue to yellow.
fn oklab(colour: Colour) -> [f32; 3] {
    let [r, g, b] = colour.map(|channel| to_linear(f32::from(channel) / 255.0));
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least_distance(count: usize) -> f32 {
        let labs: Vec<[f32; 3]> = (0..count).map(|class| oklab(class_colour(class))).collect();
        let pairs = (0..count).flat_map(|one| (0..one).map(move |other| (one, other)));
        pairs.map(|(one, other)| apart(labs[one], labs[other])).fold(f32::INFINITY, f32::min)
    }

    #[test]
    fn colours_are_apart_for_few_and_for_many_classes() {
        // About 0.02 is what an eye can just tell apart side by side.
        for (count, least) in [(8, 0.11), (20, 0.09), (80, 0.045), (200, 0.028)] {
            let found = least_distance(count);
            assert!(found >= least, "{count} classes: {found}");
        }
        assert_eq!(class_colour(3), class_colour(3 + COLOURS));
    }

    #[test]
    fn every_colour_stands_out_from_paper_and_carries_letters() {
        let luminance = |colour: Colour| {
            let [r, g, b] = colour.map(|channel| to_linear(f32::from(channel) / 255.0));
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let contrast = |a: Colour, b: Colour| {
            let (a, b) = (luminance(a), luminance(b));
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        for class in 0..COLOURS {
            let colour = class_colour(class);
            assert!(contrast(colour, [255; 3]) > 1.5, "{class}: {colour:?} on white");
            assert!(contrast(colour, ink_on(colour)) > 2.9, "{class}: letters on {colour:?}");
        }
    }
}
