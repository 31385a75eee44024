//! The ground, shading, and which pixels belong to whom.

use std::fmt::Write;

use super::objects::{Kind, Shape};
use crate::random::Random;

/// A colour, linear steps of 0 to 1.
pub(super) type Colour = [f32; 3];

/// A picture in the making.
pub(super) struct Painting {
    width: usize,
    height: usize,
    colours: Vec<Colour>,
    /// Who is on top at each pixel: number of the thing, from 1; 0 is the ground.
    owners: Vec<u16>,
    things: Vec<Thing>,
    /// Where the light comes from, a unit vector in the picture.
    light: [f32; 2],
}

/// Something that was painted.
struct Thing {
    class: Option<usize>,
    /// Its extent `[x1, y1, x2, y2]` as if nothing covered it, for keeping things apart.
    extent: [f32; 4],
    /// Pixels it had when painted.
    pixels: usize,
}

impl Painting {
    /// One of several grounds: cloth, wood, gravel, grass, a smooth table.
    pub fn ground(width: usize, height: usize, random: &mut Random) -> Self {
        let palettes: [[Colour; 2]; 6] = [
            [[0.52, 0.40, 0.28], [0.36, 0.25, 0.16]],
            [[0.55, 0.56, 0.54], [0.38, 0.39, 0.40]],
            [[0.34, 0.44, 0.24], [0.20, 0.30, 0.14]],
            [[0.72, 0.68, 0.60], [0.56, 0.52, 0.45]],
            [[0.28, 0.34, 0.44], [0.18, 0.22, 0.30]],
            [[0.60, 0.42, 0.38], [0.42, 0.28, 0.26]],
        ];
        let [light_colour, dark_colour] = palettes[random.below(palettes.len())];
        let style = random.below(4);
        let noise = Noise::new(random);
        let angle = random.uniform(0.0, std::f64::consts::TAU) as f32;
        let (sine, cosine) = angle.sin_cos();
        let grain = random.uniform(0.8, 1.6) as f32;
        let brightness = random.uniform(0.75, 1.2) as f32;
        let mut colours = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 * cosine + y as f32 * sine, y as f32 * cosine - x as f32 * sine);
                let coarse = noise.layers(u / 70.0, v / 70.0, 3);
                let fine = noise.at(x as f32 / 2.2, y as f32 / 2.2);
                let share = match style {
                    // Wood: long rings, distorted.
                    0 => {
                        let rings = (v / (9.0 * grain) + 2.5 * noise.layers(u / 160.0, v / 40.0, 2)).sin();
                        0.5 + 0.3 * rings + 0.25 * (noise.at(u / 30.0, v / 1.5) - 0.5)
                    }
                    // Cloth: a weave.
                    1 => {
                        let weave = (u / (1.3 * grain)).sin() * (v / (1.3 * grain)).sin();
                        0.5 + 0.18 * weave + 0.5 * (coarse - 0.5)
                    }
                    // Gravel or grass: layers of noise.
                    2 => 1.1 * noise.layers(u / (16.0 * grain), v / (11.0 * grain), 4) - 0.05 + 0.2 * (fine - 0.5),
                    // A smooth table.
                    _ => coarse + 0.08 * (fine - 0.5),
                };
                let share = share.clamp(0.0, 1.0);
                colours.push(
                    [0, 1, 2].map(|c| (dark_colour[c] + (light_colour[c] - dark_colour[c]) * share) * brightness),
                );
            }
        }
        let from = random.uniform(0.0, std::f64::consts::TAU) as f32;
        let light = [from.cos(), from.sin()];
        Self { width, height, colours, owners: vec![0; width * height], things: Vec::new(), light }
    }

    /// Paints a thing of about this many pixels at a random place where it hides little of the others; left out where
    /// there is none.
    pub fn add(&mut self, kind: Kind, size: f32, random: &mut Random) {
        for _ in 0..12 {
            let margin = size * 0.32;
            let x = random.uniform(f64::from(margin), self.width as f64 - f64::from(margin)) as f32;
            let y = random.uniform(f64::from(margin), self.height as f64 - f64::from(margin)) as f32;
            let shape = Shape::new(kind, [x, y], size, self.light, random);
            if self.hides_too_much(shape.extent()) {
                continue;
            }
            self.paint(&shape);
            return;
        }
    }

    fn hides_too_much(&self, extent: [f32; 4]) -> bool {
        let area = |[x1, y1, x2, y2]: [f32; 4]| (x2 - x1).max(0.0) * (y2 - y1).max(0.0);
        self.things.iter().any(|thing| {
            let other = thing.extent;
            let common =
                [extent[0].max(other[0]), extent[1].max(other[1]), extent[2].min(other[2]), extent[3].min(other[3])];
            let limit = if thing.class.is_some() { 0.22 } else { 0.6 };
            area(common) > limit * area(other).min(area(extent) * 2.0)
        })
    }

    fn paint(&mut self, shape: &Shape) {
        let number = (self.things.len() + 1) as u16;
        let [x1, y1, x2, y2] = shape.extent();
        let reach = 2.0 + shape.size * 0.12;
        let columns = ((x1 - reach).max(0.0) as usize)..((x2 + reach).clamp(0.0, self.width as f32) as usize);
        let rows = ((y1 - reach).max(0.0) as usize)..((y2 + reach).clamp(0.0, self.height as f32) as usize);
        let mut pixels = 0;
        let shadow = shape.size * 0.06;
        for y in rows {
            for x in columns.clone() {
                let at = y * self.width + x;
                let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
                // A soft shadow on the side away from the light.
                let distance = shape.distance(px + self.light[0] * shadow, py + self.light[1] * shadow);
                let dark = 0.45 * (0.5 - distance / (shadow * 2.0 + 1.0)).clamp(0.0, 1.0);
                let mut colour = self.colours[at].map(|value| value * (1.0 - dark));
                let cover = (0.5 - shape.distance(px, py)).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let own = shape.colour(px, py);
                    for channel in 0..3 {
                        colour[channel] += (own[channel] - colour[channel]) * cover * shape.opacity;
                    }
                    if cover > 0.5 {
                        self.owners[at] = number;
                        pixels += 1;
                    }
                }
                self.colours[at] = colour;
            }
        }
        self.things.push(Thing { class: shape.kind.class(), extent: shape.extent(), pixels });
    }

    /// Label rows: the box around the pixels that can be seen of each object.
    pub fn rows(&self) -> String {
        let mut boxes = vec![[usize::MAX, usize::MAX, 0, 0, 0]; self.things.len() + 1];
        for (at, &owner) in self.owners.iter().enumerate() {
            let (x, y) = (at % self.width, at / self.width);
            let [x1, y1, x2, y2, count] = boxes[owner as usize];
            boxes[owner as usize] = [x1.min(x), y1.min(y), x2.max(x + 1), y2.max(y + 1), count + 1];
        }
        let mut rows = String::new();
        for (thing, &[x1, y1, x2, y2, count]) in self.things.iter().zip(&boxes[1..]) {
            let Some(class) = thing.class else { continue };
            // Nearly nothing of it is to be seen: not an object any more.
            if count < 30 || count * 5 < thing.pixels {
                continue;
            }
            let share = |low: usize, high: usize, side: usize| {
                ((low + high) as f64 / 2.0 / side as f64, (high - low) as f64 / side as f64)
            };
            let ((cx, w), (cy, h)) = (share(x1, x2, self.width), share(y1, y2, self.height));
            // Writing to text never fails.
            let _ = writeln!(rows, "{class} {cx:.6} {cy:.6} {w:.6} {h:.6}");
        }
        rows
    }

    /// Light falling off, grain of a camera, 8 bits.
    pub fn finish(self, random: &mut Random) -> Vec<u8> {
        let grain = random.uniform(0.006, 0.025) as f32;
        let fall_off = random.uniform(0.0, 0.35) as f32;
        let warm = random.uniform(-0.06, 0.06) as f32;
        let mut pixels = Vec::with_capacity(self.colours.len() * 3);
        for (at, colour) in self.colours.iter().enumerate() {
            let x = (at % self.width) as f32 / self.width as f32 - 0.5;
            let y = (at / self.width) as f32 / self.height as f32 - 0.5;
            let light = 1.0 + fall_off * (x * self.light[0] + y * self.light[1]) - 0.3 * fall_off * (x * x + y * y);
            let noise = grain * (random.unit() + random.unit() + random.unit() - 1.5) as f32 * 2.0;
            for (channel, tint) in [1.0 + warm, 1.0, 1.0 - warm].into_iter().enumerate() {
                let value = colour[channel] * light * tint + noise;
                pixels.push((value.clamp(0.0, 1.0) * 255.0).round() as u8);
            }
        }
        pixels
    }
}

/// Smooth noise on a lattice (value noise), from 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct Noise {
    seed: u32,
}

impl Noise {
    pub fn new(random: &mut Random) -> Self {
        Self { seed: random.bits() as u32 }
    }

    fn corner(&self, x: i32, y: i32) -> f32 {
        let mut value = self.seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
        value = (value ^ (value >> 15)).wrapping_mul(0x2c1b_3c6d);
        value = (value ^ (value >> 12)).wrapping_mul(0x297a_2d39);
        ((value ^ (value >> 15)) >> 8) as f32 / (1 << 24) as f32
    }

    pub fn at(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let ease = |share: f32| share * share * (3.0 - 2.0 * share);
        let (u, v) = (ease(x - left), ease(y - top));
        let (left, top) = (left as i32, top as i32);
        let above = self.corner(left, top) * (1.0 - u) + self.corner(left + 1, top) * u;
        let below = self.corner(left, top + 1) * (1.0 - u) + self.corner(left + 1, top + 1) * u;
        above * (1.0 - v) + below * v
    }

    /// Several octaves, each half as strong and twice as fine.
    pub fn layers(&self, x: f32, y: f32, count: usize) -> f32 {
        let (mut sum, mut total, mut strength, mut fine) = (0.0, 0.0, 1.0, 1.0);
        for layer in 0..count {
            sum += strength * self.at(x * fine + layer as f32 * 17.3, y * fine - layer as f32 * 9.1);
            total += strength;
            strength *= 0.5;
            fine *= 2.0;
        }
        sum / total
    }
}
