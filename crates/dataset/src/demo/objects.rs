//! Bottles, coins, leaves and clutter as distance fields: how far a point lies outside, and which colour it has inside.

use std::f32::consts::{PI, TAU};

use super::paint::{Colour, Noise};
use crate::random::Random;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Body, shoulders, neck, cap and label; glass.
    Bottle,
    /// A disc with a milled rim and a stamped figure; metal.
    Coin,
    /// A pointed blade with a midrib and side veins.
    Leaf,
    /// Clutter: an irregular rounded stone.
    Pebble,
    /// Clutter: a thin bent rod.
    Twig,
    /// Clutter: a star with five points.
    Star,
    /// Clutter: a rounded sheet with lines.
    Paper,
}

impl Kind {
    pub fn of_class(class: usize) -> Self {
        [Self::Bottle, Self::Coin, Self::Leaf][class]
    }

    pub fn class(self) -> Option<usize> {
        [Self::Bottle, Self::Coin, Self::Leaf].iter().position(|&kind| kind == self)
    }

    pub fn clutter(random: &mut Random) -> Self {
        [Self::Pebble, Self::Twig, Self::Star, Self::Paper][random.below(4)]
    }
}

/// One thing at its place. Inside, lengths are shares of half its size: the thing lies in -1 to 1.
pub(super) struct Shape {
    pub kind: Kind,
    /// Longer side in pixels.
    pub size: f32,
    /// How much of what lies below it hides.
    pub opacity: f32,
    centre: [f32; 2],
    turn: [f32; 2],
    /// Width by length of the thing itself.
    aspect: f32,
    colour: Colour,
    accent: Colour,
    /// Light's direction in the thing's own frame.
    light: [f32; 2],
    variant: [f32; 3],
    noise: Noise,
}

impl Shape {
    pub fn new(kind: Kind, centre: [f32; 2], size: f32, light: [f32; 2], random: &mut Random) -> Self {
        let mut uniform = |low: f32, high: f32| random.uniform(f64::from(low), f64::from(high)) as f32;
        let angle = uniform(0.0, TAU);
        let aspect = match kind {
            Kind::Bottle => uniform(0.30, 0.42),
            Kind::Coin => uniform(0.82, 1.0),
            Kind::Leaf => uniform(0.36, 0.58),
            Kind::Pebble => uniform(0.55, 0.95),
            Kind::Twig => uniform(0.05, 0.10),
            Kind::Star => 1.0,
            Kind::Paper => uniform(0.5, 0.9),
        };
        let variant = [uniform(0.0, 1.0), uniform(0.0, 1.0), uniform(0.0, 1.0)];
        let brightness = uniform(0.75, 1.2);
        let turn = [angle.cos(), angle.sin()];
        // One palette for all: colour alone tells nothing.
        let palette: [Colour; 9] = [
            [0.16, 0.42, 0.20],
            [0.45, 0.26, 0.10],
            [0.78, 0.62, 0.22],
            [0.70, 0.71, 0.72],
            [0.66, 0.36, 0.22],
            [0.20, 0.36, 0.56],
            [0.72, 0.20, 0.14],
            [0.48, 0.58, 0.18],
            [0.82, 0.78, 0.66],
        ];
        let likely: &[usize] = match kind {
            Kind::Bottle => &[0, 0, 1, 1, 5, 5, 3, 7, 6],
            Kind::Coin => &[2, 2, 3, 3, 4, 4, 7, 1],
            Kind::Leaf => &[0, 0, 7, 7, 2, 6, 4, 1],
            _ => &[0, 1, 2, 3, 4, 5, 6, 7, 8],
        };
        let colour = palette[likely[random.below(likely.len())]].map(|value| value * brightness);
        let accent = palette[random.below(palette.len())];
        let light = [light[0] * turn[0] + light[1] * turn[1], light[1] * turn[0] - light[0] * turn[1]];
        let opacity = if kind == Kind::Bottle { 0.9 } else { 1.0 };
        Self { kind, size, opacity, centre, turn, aspect, colour, accent, light, variant, noise: Noise::new(random) }
    }

    /// Its upright box `[x1, y1, x2, y2]` in pixels, a little generous.
    pub fn extent(&self) -> [f32; 4] {
        let (along, across) = (self.size / 2.0, self.size / 2.0 * self.aspect);
        let [cosine, sine] = self.turn.map(f32::abs);
        let (width, height) = (along * cosine + across * sine, along * sine + across * cosine);
        [self.centre[0] - width, self.centre[1] - height, self.centre[0] + width, self.centre[1] + height]
    }

    /// The point in the thing's own frame: x along it.
    fn local(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let half = self.size / 2.0;
        [(dx * self.turn[0] + dy * self.turn[1]) / half, (dy * self.turn[0] - dx * self.turn[1]) / half]
    }

    /// Pixels that the point lies outside of the edge; negative inside. Exact near the edge only.
    pub fn distance(&self, x: f32, y: f32) -> f32 {
        let [u, v] = self.local(x, y);
        let half = self.size / 2.0;
        half * match self.kind {
            Kind::Bottle => v.abs().max((u.abs() - 1.0) * 4.0 + self.bottle_width(u)) - self.bottle_width(u),
            Kind::Coin => ((u * u + v * v / (self.aspect * self.aspect)).sqrt() - 1.0) * self.aspect,
            Kind::Leaf => {
                let bend = 0.12 * (self.variant[0] - 0.5) * (1.0 - u * u);
                let saw = 0.025 * ((u * 26.0).sin().abs() - 0.5) * self.variant[1];
                ((v - bend).abs() - self.leaf_width(u) - saw).max((u.abs() - 1.0) * 2.0) * 0.85
            }
            Kind::Pebble => {
                let angle = v.atan2(u);
                let bump = 0.10 * (2.0 * angle + self.variant[0] * TAU).sin()
                    + 0.07 * (3.0 * angle + self.variant[1] * TAU).sin();
                ((u * u + v * v / (self.aspect * self.aspect)).sqrt() - 0.86 - bump) * self.aspect
            }
            Kind::Twig => {
                let bend = 0.16 * (self.variant[0] - 0.5) * (u * PI).cos();
                let thick = self.aspect * (0.75 - 0.25 * u);
                ((v - bend).abs() - thick).max(u.abs() - 1.0)
            }
            Kind::Star => {
                let angle = v.atan2(u).rem_euclid(TAU / 5.0) - TAU / 10.0;
                let radius = (u * u + v * v).sqrt();
                let inner = 0.42 + 0.12 * self.variant[0];
                let share = angle.abs() / (TAU / 10.0);
                (radius - (inner + (1.0 - inner) * share * share)) * 0.7
            }
            Kind::Paper => (u.abs() - 0.97).max(v.abs() - self.aspect * 0.97),
        }
    }

    /// Half the bottle's width at a place along it: base at -1, mouth at 1.
    fn bottle_width(&self, u: f32) -> f32 {
        let body = self.aspect;
        let neck = body * (0.30 + 0.12 * self.variant[0]);
        let shoulder = 0.12 + 0.25 * self.variant[1];
        let share = ((u - shoulder) / 0.3).clamp(0.0, 1.0);
        let share = share * share * (3.0 - 2.0 * share);
        let rim = if u > 0.8 { neck * 0.22 } else { 0.0 };
        let corner = ((-0.93 - u).max(0.0) / 0.07).powi(2) * 0.25 * body;
        body + (neck - body) * share + rim - corner
    }

    fn leaf_width(&self, u: f32) -> f32 {
        let position = ((u + 1.0) / 2.0).clamp(0.0, 1.0);
        if position < 0.10 {
            return 0.035;
        }
        let share = (position - 0.10) / 0.90;
        let peak = 0.75 + 0.4 * self.variant[2];
        self.aspect * (PI * share.powf(peak)).sin().max(0.0).powf(0.85) + 0.012
    }

    /// The colour at a point inside.
    pub fn colour(&self, x: f32, y: f32) -> Colour {
        let [u, v] = self.local(x, y);
        let facing = u * self.light[0] + v * self.light[1];
        match self.kind {
            Kind::Bottle => self.bottle_colour(u, v),
            Kind::Coin => self.coin_colour(u, v / self.aspect, facing),
            Kind::Leaf => self.leaf_colour(u, v, facing),
            Kind::Pebble => {
                let speckle = self.noise.layers(u * 6.0, v * 6.0, 3);
                lit(self.colour, 0.72 + 0.3 * facing + 0.5 * (speckle - 0.4))
            }
            Kind::Twig => {
                let bark = self.noise.at(u * 22.0, v * 60.0);
                lit([0.42, 0.30, 0.20], 0.7 + 0.5 * bark + 0.3 * facing.signum() * 0.3)
            }
            Kind::Star => lit(self.colour, 0.95 + 0.25 * facing),
            Kind::Paper => {
                let line = (v * 16.0 / self.aspect).sin() > 0.75 && u.abs() < 0.8;
                let written = line && self.noise.at(u * 14.0, (v * 16.0).floor()) > 0.35;
                let sheet = [0, 1, 2].map(|channel| 0.55 + 0.45 * self.accent[channel]);
                if written { lit(sheet, 0.45) } else { lit(sheet, 0.95 + 0.1 * facing) }
            }
        }
    }

    fn bottle_colour(&self, u: f32, v: f32) -> Colour {
        let across = (v / self.bottle_width(u).max(0.01)).clamp(-1.0, 1.0);
        if u > 0.78 {
            // The cap, ribbed.
            let ribs = 0.12 * (across * 22.0).sin();
            return lit(self.accent, 0.85 - 0.35 * across * across + ribs + 0.2 * self.light[1] * across);
        }
        let edge = across.abs();
        let mut colour = lit(self.colour, 1.05 - 0.55 * edge.powi(3) + 0.1 * (1.0 - edge));
        if (-0.62..0.02).contains(&u) {
            // The label with a frame and a few lines.
            let frame = (u + 0.57).abs() < 0.03 || (u + 0.03).abs() < 0.03;
            let text = (-0.45..-0.15).contains(&u) && (u * 38.0).sin() > 0.3 && edge < 0.6;
            let paper = [0, 1, 2].map(|channel| 0.6 + 0.4 * self.accent[channel]);
            let shade = 1.0 - 0.45 * edge * edge;
            colour = if frame { lit(self.accent, shade) } else { lit(paper, if text { 0.55 * shade } else { shade }) };
        }
        // Two reflections along the glass.
        let side = if self.light[1] >= 0.0 { 1.0 } else { -1.0 };
        let shine = (-((across - 0.5 * side) / 0.10).powi(2)).exp() * 0.75
            + (-((across + 0.68 * side) / 0.07).powi(2)).exp() * 0.3;
        let shine = shine * if u.abs() < 0.9 { 1.0 } else { 0.3 };
        colour.map(|value| value + (1.0 - value) * shine * 0.8)
    }

    fn coin_colour(&self, u: f32, v: f32, facing: f32) -> Colour {
        let radius = (u * u + v * v).sqrt();
        let angle = v.atan2(u);
        // A sheen like that of turned metal: two bright and two dark sectors.
        let toward = self.light[1].atan2(self.light[0]);
        let mut light = 0.85 + 0.22 * (2.0 * (angle - toward)).cos() * radius + 0.18 * facing;
        if radius > 0.86 {
            light += 0.22 * (angle * 48.0).sin() + 0.12 * facing;
        } else if radius > 0.78 {
            // The groove inside the rim is dark toward the light.
            light -= 0.35 * (0.6 + 0.6 * facing / radius);
        } else {
            let corners = 3.0 + (self.variant[0] * 4.0).floor();
            let petals = 0.42 + 0.16 * (corners * angle + self.variant[1] * TAU).cos();
            let edge = radius - petals;
            let relief = (-(edge / 0.05).powi(2)).exp();
            light += relief * (0.45 * facing / radius.max(0.1)) + if edge < 0.0 { 0.10 } else { -0.06 };
            light += 0.12 * (self.noise.layers(u * 5.0, v * 5.0, 2) - 0.5);
        }
        lit(self.colour, light)
    }

    fn leaf_colour(&self, u: f32, v: f32, facing: f32) -> Colour {
        let bend = 0.12 * (self.variant[0] - 0.5) * (1.0 - u * u);
        let across = v - bend;
        let width = self.leaf_width(u);
        let patches = self.noise.layers(u * 3.0 + 5.0, v * 3.0, 3);
        let mut light = 0.78 + 0.35 * (patches - 0.5) + 0.22 * facing;
        // The two halves are tilted against each other.
        light += 0.12 * across.signum() * self.light[1].signum();
        light -= 0.15 * (across.abs() / width.max(0.01)).powi(4);
        let midrib = (-(across / 0.028).powi(2)).exp();
        let slant = (u - across.abs() * 0.9) * 19.0;
        let vein = (slant.sin().max(0.0)).powi(8) * (1.0 - (across.abs() / width.max(0.01)).powi(2)).max(0.0);
        let mut colour = lit(self.colour, light);
        let pale = [0.86, 0.88, 0.62];
        let strength = (0.75 * midrib + 0.45 * vein).min(0.8);
        for channel in 0..3 {
            colour[channel] += (pale[channel] - colour[channel]) * strength;
        }
        colour
    }
}

fn lit(colour: Colour, light: f32) -> Colour {
    colour.map(|value| (value * light).clamp(0.0, 1.0))
}
