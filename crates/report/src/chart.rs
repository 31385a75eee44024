//! A field with two axes, on which points have their place.

use crate::image::{GRID, Image, MUTED};
use crate::line::{Stroke, polyline};
use crate::text::{self, Align, Style};

/// From which value to which an axis goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    pub from: f64,
    pub to: f64,
    /// Whether only whole numbers mean something, as of epochs.
    pub whole: bool,
}

impl Axis {
    /// From 0 to 1.
    pub const UNIT: Axis = Axis { from: 0.0, to: 1.0, whole: false };

    /// Room for all finite values with some air.
    pub fn around(values: impl Iterator<Item = f64>) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return Axis::UNIT;
        }
        let air = match high - low {
            0.0 if low == 0.0 => 0.5,
            0.0 => low.abs() * 0.2,
            // Halves, so that the difference of huge values stays finite.
            range => (range * 0.06).min(f64::MAX / 8.0),
        };
        // Losses and shares never lie below zero: neither does their axis.
        let from = if low >= 0.0 { (low - air).max(0.0) } else { low - air };
        Axis { from, to: high + air, whole: false }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }

    /// Round values for marks, `most` at the most.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        let range = self.to - self.from;
        if !(range.is_finite() && range > 0.0) {
            return Vec::new();
        }
        let rough = range / most.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let mut step = steps.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(power * 10.0);
        if self.whole {
            step = step.ceil().max(1.0);
        }
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).take(most + 2).map(|index| index as f64 * step).collect()
    }

    /// The ticks as they are written, all with as many decimals.
    pub fn labels(&self, ticks: &[f64]) -> Vec<String> {
        let step = if ticks.len() > 1 { ticks[1] - ticks[0] } else { self.to - self.from };
        let largest = ticks.iter().fold(0f64, |largest, tick| largest.max(tick.abs()));
        let write = |tick: &f64| {
            if largest >= 1e5 || step < 1e-5 {
                return format!("{tick:.1e}");
            }
            let decimals = (-step.log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize;
            format!("{:.decimals$}", tick + 0.0)
        };
        ticks.iter().map(write).collect()
    }
}

/// A field on an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart {
    /// `[left, top, right, bottom)`.
    pub area: [i64; 4],
    pub x: Axis,
    pub y: Axis,
}

impl Chart {
    /// Where a point lies on the image.
    pub fn place(&self, x: f64, y: f64) -> [f32; 2] {
        let [left, top, right, bottom] = self.area.map(|edge| edge as f64);
        [(left + self.x.share(x) * (right - left)) as f32, (bottom - self.y.share(y) * (bottom - top)) as f32]
    }

    /// Grid lines, marks and their values, the axes' names.
    pub fn draw(&self, image: &mut Image, size: f32, [x_name, y_name]: [&str; 2]) {
        let [left, top, right, bottom] = self.area;
        let style = Style::regular(size, MUTED);
        let ticks = self.y.ticks(((bottom - top) as f32 / (size * 2.5)) as usize);
        let mut widest = 0f32;
        for (tick, label) in ticks.iter().zip(self.y.labels(&ticks)) {
            let y = self.place(self.x.from, *tick)[1];
            image.fill([left, y.round() as i64, right, y.round() as i64 + 1], GRID);
            widest = widest.max(text::width(&label, style));
            let at = [left as f32 - size * 0.6, text::baseline(y, size)];
            text::draw(image, &label, at, Align::End, style);
        }
        let ticks = self.x.ticks(((right - left) as f32 / (size * 4.5)) as usize);
        for (tick, label) in ticks.iter().zip(self.x.labels(&ticks)) {
            let x = self.place(*tick, self.y.from)[0];
            image.fill([x.round() as i64, top, x.round() as i64 + 1, bottom], GRID);
            let at = [x, bottom as f32 + size * 1.5];
            text::draw(image, &label, at, Align::Middle, style);
        }
        image.fill([left, bottom, right, bottom + 2], [170, 176, 188]);
        let middle = [(left + right) as f32 / 2.0, (top + bottom) as f32 / 2.0];
        if !x_name.is_empty() {
            text::draw(image, x_name, [middle[0], bottom as f32 + size * 3.1], Align::Middle, style);
        }
        if !y_name.is_empty() {
            let x = left as f32 - size * 1.3 - widest;
            text::draw_upwards(image, y_name, [x, middle[1]], Align::Middle, style);
        }
    }

    /// A line through `(x, y)` values; one that is not finite leaves a gap.
    pub fn line(&self, image: &mut Image, values: impl Iterator<Item = (f64, f64)>, stroke: Stroke) {
        let points: Vec<[f32; 2]> = values.map(|(x, y)| self.place(x, y)).collect();
        let margin = stroke.width.ceil() as i64;
        let [left, top, right, bottom] = self.area;
        polyline(image, &points, stroke, [left - margin, top - margin, right + margin, bottom + margin]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let written = |from: f64, to: f64, whole: bool, most: usize| {
            let axis = Axis { from, to, whole };
            axis.labels(&axis.ticks(most)).join(" ")
        };
        assert_eq!(written(0.0, 1.0, false, 5), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(written(0.53, 2.31, false, 4), "1.0 1.5 2.0");
        assert_eq!(written(-0.02, 0.02, false, 4), "-0.02 -0.01 0.00 0.01 0.02");
        assert_eq!(written(1.0, 3.0, true, 9), "1 2 3");
        assert_eq!(written(0.5, 1.5, true, 9), "1");
        assert_eq!(written(1.0, 300.0, true, 6), "50 100 150 200 250 300");
        assert_eq!(written(0.0, 3e6, false, 3), "0.0e0 1.0e6 2.0e6 3.0e6");
        assert_eq!(written(f64::NAN, 1.0, false, 5), "");
    }

    #[test]
    fn axes_leave_air_and_bear_any_values() {
        let around = |values: &[f64]| Axis::around(values.iter().copied());
        assert_eq!(around(&[]), Axis::UNIT);
        assert_eq!(around(&[f64::NAN, f64::INFINITY]), Axis::UNIT);
        let axis = around(&[1.0, f64::NAN, 2.0]);
        assert!((axis.from - 0.94).abs() < 1e-12 && (axis.to - 2.06).abs() < 1e-12);
        assert_eq!(around(&[0.0, 0.0]).from, 0.0);
        assert_eq!(around(&[5.0]), Axis { from: 4.0, to: 6.0, whole: false });
        assert!(around(&[-3.0, 3.0]).from < -3.0);
    }

    #[test]
    fn points_have_their_pixels() {
        let chart = Chart { area: [100, 50, 300, 150], x: Axis::UNIT, y: Axis { from: 0.0, to: 10.0, whole: false } };
        assert_eq!(chart.place(0.0, 0.0), [100.0, 150.0]);
        assert_eq!(chart.place(1.0, 10.0), [300.0, 50.0]);
        assert_eq!(chart.place(0.25, 5.0), [150.0, 100.0]);
    }
}
