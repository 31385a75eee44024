//! What a data set's labels look like: how many of each class, how large, where.

use std::collections::HashSet;

use yolo11_detection::Target;

use crate::chart::{Axis, Chart};
use crate::image::{Colour, GRID, INK, Image, MUTED, WHITE, between};
use crate::palette::class_colour;
use crate::text::{self, Align, SMALLEST, Style, class_name};

const SIZE: [usize; 2] = [1960, 2010];
/// Top left corners of the four panels' fields, and their sides.
const FIELDS: [[i64; 2]; 4] = [[130, 230], [1110, 230], [130, 1180], [1110, 1180]];
const FIELD: i64 = 740;
/// Squares of a heat map along a side, for few and for many objects.
const SQUARES: [usize; 2] = [37, 74];
/// So many objects fill the finer squares.
const MANY: usize = 10_000;
/// Most boxes that are laid over each other: evenly chosen where there are more.
const OVERLAID: usize = 2000;
const LETTERS: f32 = 20.0;
const NAME: f32 = 130.0;

/// Four panels about the labels of a split: `pictures` is their number, `targets` all objects with the position of their picture.
/// Objects whose box is not finite are left out.
pub fn draw(pictures: usize, targets: &[Target], names: &[String]) -> Image {
    let mut image = Image::new(SIZE[0], SIZE[1], WHITE);
    let targets: Vec<&Target> =
        targets.iter().filter(|target| target.bbox.iter().all(|side| side.is_finite())).collect();
    let with: HashSet<usize> = targets.iter().map(|target| target.image).collect();
    let title = format!(
        "{} objects of {} classes on {} pictures",
        grouped(targets.len()),
        grouped(names.len()),
        grouped(pictures)
    );
    let left = FIELDS[0][0] as f32 - 80.0;
    text::draw(&mut image, &title, [left, 70.0], Align::Start, Style::bold(36.0, INK));
    let each = targets.len() as f64 / pictures.max(1) as f64;
    let empty = pictures.saturating_sub(with.len());
    let subtitle = format!("{each:.1} objects a picture, {} pictures without any", grouped(empty));
    text::draw(&mut image, &subtitle, [left, 114.0], Align::Start, Style::regular(23.0, MUTED));

    classes(&mut image, &targets, names);
    shapes(&mut image, &targets);
    let middle = |target: &&Target| (f64::from(target.bbox[0]), f64::from(target.bbox[1]));
    let places: Vec<(f64, f64)> = targets.iter().map(middle).collect();
    heat_map(&mut image, 2, "Positions", "of the boxes' centres in their picture", ["x", "y"], &places, true);
    let side = |target: &&Target| (f64::from(target.bbox[2]), f64::from(target.bbox[3]));
    let sizes: Vec<(f64, f64)> = targets.iter().map(side).collect();
    let median = match targets.is_empty() {
        true => "shares of the picture".to_owned(),
        false => format!(
            "shares of the picture; medians {:.3} wide, {:.3} high",
            median(sizes.iter().map(|size| size.0)),
            median(sizes.iter().map(|size| size.1))
        ),
    };
    heat_map(&mut image, 3, "Sizes", &median, ["width", "height"], &sizes, false);
    image
}

fn field(index: usize) -> [i64; 4] {
    let [left, top] = FIELDS[index];
    [left, top, left + FIELD, top + FIELD]
}

fn heading(image: &mut Image, index: usize, title: &str, subtitle: &str) {
    let [left, top] = FIELDS[index].map(|edge| edge as f32);
    let style = Style::bold(26.0, INK);
    text::draw(image, title, [left - 80.0, top - 34.0], Align::Start, style);
    let beside = left - 80.0 + text::width(title, style) + 16.0;
    text::draw(image, subtitle, [beside, top - 34.0], Align::Start, Style::regular(LETTERS, MUTED));
}

/// How many objects each class has: a bar each.
fn classes(image: &mut Image, targets: &[&Target], names: &[String]) {
    heading(image, 0, "Classes", "objects of each");
    let mut counts = vec![0u64; names.len()];
    for target in targets {
        if let Some(count) = counts.get_mut(target.class) {
            *count += 1;
        }
    }
    let [left, top, right, full_bottom] = field(0);
    let pitch = (right - left) as f32 / counts.len().max(1) as f32;
    let letters = (pitch * 0.7).clamp(SMALLEST, LETTERS);
    let style = Style::regular(letters, INK);
    let label = |class: usize| text::fit(&class_name(names, class), style, NAME);
    let every = (letters * 1.15 / pitch).ceil().max(1.0) as usize;
    let labelled: Vec<usize> = (0..counts.len()).step_by(every).collect();
    let longest = labelled.iter().map(|&class| text::width(&label(class), style)).fold(0.0, f32::max);
    // Names stand level where they fit below their bar, else upright.
    let level = longest < pitch * 0.92;
    let bottom = if level { full_bottom } else { full_bottom + 40 - longest.ceil() as i64 };
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let whole = Axis { from: 0.0, to: most as f64 * 1.08, whole: true };
    let chart = Chart { area: [left, top, right, bottom], x: Axis { from: 0.0, to: 0.0, whole: true }, y: whole };
    chart.draw(image, LETTERS, ["", ""]);
    for (class, &count) in counts.iter().enumerate() {
        let (from, to) = bar(left, pitch, class);
        let y = chart.place(0.0, count as f64)[1].round() as i64;
        let y = if count > 0 { y.min(bottom - 1) } else { bottom };
        image.fill([from, y, to, bottom], class_colour(class));
        let middle = (from + to) as f32 / 2.0;
        let written = grouped(count as usize);
        let small = Style::regular(letters.min(18.0), MUTED);
        if text::width(&written, small) < pitch * 0.95 {
            text::draw(image, &written, [middle, y as f32 - 7.0], Align::Middle, small);
        }
        if class % every == 0 && level {
            let at = [middle, bottom as f32 + 12.0 + letters];
            text::draw(image, &label(class), at, Align::Middle, style);
        } else if class % every == 0 {
            let at = [text::baseline(middle, letters), bottom as f32 + 10.0];
            text::draw_upwards(image, &label(class), at, Align::End, style);
        }
    }
}

/// Left and right edge of a class's bar.
fn bar(left: i64, pitch: f32, class: usize) -> (i64, i64) {
    let share = if pitch >= 4.0 { 0.8 } else { 1.0 };
    let width = (pitch * share).min(150.0);
    let from = left as f32 + (class as f32 + 0.5) * pitch - width / 2.0;
    let from_pixel = from.round() as i64;
    (from_pixel, ((from + width).round() as i64).max(from_pixel + 1))
}

/// All boxes about one centre: their shapes.
fn shapes(image: &mut Image, targets: &[&Target]) {
    let step = targets.len().div_ceil(OVERLAID).max(1);
    let shown = targets.iter().step_by(step).count();
    let subtitle = if step == 1 { "all boxes about one centre" } else { "boxes about one centre" };
    let subtitle = if step == 1 { subtitle.to_owned() } else { format!("{} {subtitle}", grouped(shown)) };
    heading(image, 1, "Shapes", &subtitle);
    let [left, top, right, bottom] = field(1);
    image.fill([left, top, right, bottom], [250, 251, 253]);
    let middle = [(left + right) as f32 / 2.0, (top + bottom) as f32 / 2.0];
    // The more there are, the fainter each.
    let share = (12.0 / (shown.max(1) as f32).sqrt()).clamp(0.12, 0.8);
    for target in targets.iter().step_by(step) {
        let half = [target.bbox[2], target.bbox[3]].map(|side| (side.clamp(0.0, 1.0) * FIELD as f32 / 2.0).max(1.0));
        let edge = |value: f32| value.round() as i64;
        let area = [middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]].map(edge);
        image.frame(area, 2, class_colour(target.class), share);
    }
    image.frame([left, top, right, bottom], 1, GRID, 1.0);
}

/// How many values fall into each square of the unit's plane. `down`: the second one grows downwards, as in a picture.
fn heat_map(
    image: &mut Image,
    index: usize,
    title: &str,
    subtitle: &str,
    axes: [&str; 2],
    values: &[(f64, f64)],
    down: bool,
) {
    heading(image, index, title, subtitle);
    let squares = SQUARES[usize::from(values.len() >= MANY)];
    let mut counts = vec![0u32; squares * squares];
    let square = |value: f64| ((value * squares as f64) as usize).min(squares - 1);
    for &(x, y) in values {
        let row = if down { square(y) } else { squares - 1 - square(y) };
        counts[row * squares + square(x)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let y_axis = if down { Axis { from: 1.0, to: 0.0, whole: false } } else { Axis::UNIT };
    let area = field(index);
    let chart = Chart { area, x: Axis::UNIT, y: Axis::UNIT };
    image.fill(area, [250, 251, 253]);
    let side = FIELD / squares as i64;
    for (position, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (x, y) = (area[0] + (position % squares) as i64 * side, area[1] + (position / squares) as i64 * side);
        // The root lets single boxes be seen beside crowds.
        image.fill([x, y, x + side, y + side], heat((f64::from(count) / f64::from(most)).sqrt()));
    }
    image.frame(area, 1, GRID, 1.0);
    let style = Style::regular(LETTERS, MUTED);
    let [left, top, right, bottom] = area;
    for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let x = chart.place(tick, 0.0)[0];
        text::draw(image, &format!("{tick:.1}"), [x, bottom as f32 + 32.0], Align::Middle, style);
        let y = top as f32 + ((y_axis.to - tick) / (y_axis.to - y_axis.from)) as f32 * FIELD as f32;
        text::draw(image, &format!("{tick:.1}"), [left as f32 - 12.0, text::baseline(y, LETTERS)], Align::End, style);
    }
    let middle = [(left + right) as f32 / 2.0, (top + bottom) as f32 / 2.0];
    text::draw(image, axes[0], [middle[0], bottom as f32 + 64.0], Align::Middle, style);
    text::draw_upwards(image, axes[1], [left as f32 - 62.0, middle[1]], Align::Middle, style);
}

fn heat(share: f64) -> Colour {
    let share = share as f32;
    match share < 0.5 {
        true => between([214, 228, 248], [58, 130, 222], share * 2.0),
        false => between([58, 130, 222], [12, 32, 88], share * 2.0 - 1.0),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `12 345`: thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(image: usize, class: usize, bbox: [f32; 4]) -> Target {
        Target { image, class, bbox }
    }

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let bbox = [0.5, 0.5, 0.2, 0.4];
        let targets: Vec<Target> = (0..30).map(|index| target(index, usize::from(index >= 20), bbox)).collect();
        let image = draw(40, &targets, &["a".into(), "b".into(), "c".into()]);
        let [left, top, right, bottom] = field(0);
        let pitch = (right - left) as f32 / 3.0;
        let height = |class: usize| {
            let (from, to) = bar(left, pitch, class);
            let x = ((from + to) / 2) as usize;
            (top..bottom).filter(|&y| image.pixel(x, y as usize) == class_colour(class)).count()
        };
        // The axis ends 8 % above the highest.
        let full = FIELD as f32 / 1.08;
        assert!((height(0) as f32 - full).abs() <= 1.0, "{}", height(0));
        assert!((height(1) as f32 - full / 2.0).abs() <= 1.0, "{}", height(1));
        assert_eq!(height(2), 0);
    }

    #[test]
    fn heat_maps_have_their_squares_where_the_boxes_are() {
        let targets = [target(0, 0, [0.25, 0.1, 0.6, 0.9])];
        let image = draw(1, &targets, &["a".into()]);
        let at = |index: usize, x: f64, y: f64| {
            let [left, top, ..] = field(index);
            image.pixel((left as f64 + x * FIELD as f64) as usize, (top as f64 + y * FIELD as f64) as usize)
        };
        let empty = [250, 251, 253];
        // Positions grow downwards, heights upwards.
        assert_eq!((at(2, 0.25, 0.1), at(2, 0.25, 0.9)), (heat(1.0), empty));
        assert_eq!((at(3, 0.601, 0.099), at(3, 0.601, 0.9)), (heat(1.0), empty));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1\u{a0}000", "1\u{a0}234\u{a0}567"]);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
    }
}
