//! Which class was taken for which.

use yolo11_detection::detection_metrics::ConfusionMatrix;

use crate::image::{Colour, GRID, INK, Image, MUTED, WHITE, between};
use crate::palette::ink_on;
use crate::text::{self, Align, SMALLEST, Style, class_name};

/// Pixels that all cells of a row take, about.
const BREADTH: usize = 1500;
/// Most and least pixels of a cell's side; more classes than fit get smaller cells, and not each row its name.
const CELL: [usize; 2] = [15, 150];
/// Side beyond which cells shrink below their least.
const WIDEST: usize = 6000;
/// Room for a name beside the cells, in sizes of its letters.
const NAME: f32 = 11.5;

const FULL: Colour = [12, 44, 116];
const HALF: Colour = [58, 130, 222];

/// A square for each pair of predicted (rows) and actual (columns) class and for the background, the darker the more. `normalised`
/// shows shares of each column, so that a class with few objects is seen as well as one with many.
pub fn draw(matrix: &ConfusionMatrix, names: &[String], normalised: bool) -> Image {
    let side = matrix.classes() + 1;
    let value = |row: usize, column: usize| match normalised {
        true => matrix.share(row, column),
        false => matrix.count(row, column) as f64,
    };
    let largest = (0..side).flat_map(|row| (0..side).map(move |column| (row, column)));
    let largest = largest.map(|(row, column)| value(row, column)).fold(0.0, f64::max);
    let top_value = if normalised { 1.0 } else { largest.max(1.0) };

    let cell = (BREADTH / side).clamp(CELL[0], CELL[1]).min((WIDEST / side).max(1));
    let letters = (cell as f32 * 0.62).clamp(SMALLEST, 24.0);
    // Where a name is higher than a row, every second, third … is written.
    let every = (letters * 1.15 / cell as f32).ceil().max(1.0) as usize;
    let label_style = Style::regular(letters, INK);
    let label = |index: usize| {
        let name = if index + 1 == side { "background".into() } else { class_name(names, index) };
        text::fit(&name, label_style, NAME * letters)
    };
    let labelled: Vec<usize> = (0..side).filter(|index| index % every == 0 || index + 1 == side).collect();
    let longest = labelled.iter().map(|&index| text::width(&label(index), label_style)).fold(40.0, f32::max).ceil();

    let grid = side * cell;
    let left = 90 + longest as usize;
    let top = 150;
    let (width, height) = (left + grid + 170, top + grid + longest as usize + 90);
    let mut image = Image::new(width.max(760), height, WHITE);
    let at = |index: usize| (index * cell) as i64;

    title(&mut image, left as f32, normalised);
    for row in 0..side {
        for column in 0..side {
            let (x, y) = (left as i64 + at(column), top as i64 + at(row));
            let colour = shade(value(row, column) / top_value);
            let gap = i64::from(cell >= 12);
            image.fill([x, y, x + cell as i64 - gap, y + cell as i64 - gap], colour);
            let written = write(value(row, column), normalised);
            let style = Style::regular((cell as f32 * 0.3).min(26.0), ink_on(colour));
            if value(row, column) > 0.0 && style.size >= SMALLEST + 1.0 {
                let room = cell as f32 - 6.0;
                let style = Style { size: style.size * (room / text::width(&written, style)).min(1.0), ..style };
                let baseline = text::baseline((y + cell as i64 / 2) as f32, style.size);
                text::draw(&mut image, &written, [(x + cell as i64 / 2) as f32, baseline], Align::Middle, style);
            }
        }
    }
    let frame = [left as i64 - 1, top as i64 - 1, left as i64 + at(side), top as i64 + at(side)];
    image.frame(frame, 1, [170, 176, 188], 1.0);
    let mut free_from = 0;
    for &index in &labelled {
        // The background's name is always there; the one before it gives way.
        let next_is_last = index + 1 != side && side - 1 - index < every;
        if index < free_from || next_is_last {
            continue;
        }
        free_from = index + every;
        let middle = (at(index) + cell as i64 / 2) as f32;
        let baseline = text::baseline(middle, letters);
        let place = [left as f32 - 10.0, top as f32 + baseline];
        text::draw(&mut image, &label(index), place, Align::End, label_style);
        let place = [left as f32 + baseline, (top + grid) as f32 + 10.0];
        text::draw_upwards(&mut image, &label(index), place, Align::End, label_style);
    }
    let middle = grid as f32 / 2.0;
    let axis = Style::bold(24.0, MUTED);
    text::draw(&mut image, "actual", [left as f32 + middle, height as f32 - 28.0], Align::Middle, axis);
    text::draw_upwards(&mut image, "predicted", [48.0, top as f32 + middle], Align::Middle, axis);
    scale(&mut image, [left + grid + 40, top], grid, top_value, normalised);
    image
}

fn title(image: &mut Image, left: f32, normalised: bool) {
    let (title, subtitle) = match normalised {
        true => ("Confusion matrix, normalised", "share of each actual class; confidence > 0.25, IoU > 0.45"),
        false => ("Confusion matrix", "number of boxes; confidence > 0.25, IoU > 0.45"),
    };
    // Small matrices are narrower than the words: these begin further left, then.
    let room = image.width as f32 - 40.0;
    let (bold, regular) = (Style::bold(34.0, INK), Style::regular(22.0, MUTED));
    let longest = text::width(title, bold).max(text::width(subtitle, regular));
    let left = left.min(room - longest).max(20.0);
    text::draw(image, title, [left, 62.0], Align::Start, bold);
    text::draw(image, subtitle, [left, 104.0], Align::Start, regular);
}

/// White for nothing, then ever deeper blue. Small shares are lifted: a tenth must be seen.
fn shade(share: f64) -> Colour {
    if share.is_nan() || share <= 0.0 {
        return [247, 249, 252];
    }
    let lifted = share.min(1.0).powf(0.6) as f32;
    match lifted < 0.5 {
        true => between([226, 236, 250], HALF, lifted * 2.0),
        false => between(HALF, FULL, lifted * 2.0 - 1.0),
    }
}

fn write(value: f64, normalised: bool) -> String {
    if normalised { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// The bar that says which shade means what.
fn scale(image: &mut Image, [left, top]: [usize; 2], grid: usize, top_value: f64, normalised: bool) {
    let length = grid.min(900);
    for row in 0..length {
        let y = (top + row) as i64;
        let share = 1.0 - (row as f64 + 0.5) / length as f64;
        image.fill([left as i64, y, left as i64 + 22, y + 1], shade(share));
    }
    image.frame([left as i64, top as i64, left as i64 + 22, (top + length) as i64], 1, GRID, 1.0);
    let style = Style::regular(19.0, MUTED);
    let marks = if length < 120 { 1 } else { 4 };
    let mut last = String::new();
    for mark in 0..=marks {
        let share = f64::from(mark) / f64::from(marks);
        let y = top as f32 + length as f32 * (1.0 - share as f32);
        let written = if normalised { format!("{share:.2}") } else { format!("{:.0}", share * top_value) };
        if written != last {
            text::draw(image, &written, [left as f32 + 32.0, text::baseline(y, 19.0)], Align::Start, style);
        }
        last = written;
    }
}
