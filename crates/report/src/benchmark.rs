//! What each format of a model costs and keeps: a bar for its time, its accuracy and sizes beside it.

use crate::image::{Colour, GRID, INK, Image, MUTED, WHITE};
use crate::palette::class_colour;
use crate::text::{self, Align, Style};

/// Pixels across.
const WIDTH: usize = 1560;
const MARGIN: i64 = 60;
/// Where the bars begin and end.
const BARS: [i64; 2] = [420, 980];
/// Where the columns of figures end.
const COLUMNS: [(i64, &str); 3] = [(1180, "mAP50-95"), (1335, "file, MB"), (1500, "memory, MB")];
const TOP: i64 = 190;
const ROW: i64 = 62;
const BAR: i64 = 30;
const LETTERS: f32 = 21.0;

/// One format in one back end.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the file is: `onnx, float16`.
    pub format: String,
    /// What ran it; what stands there where nothing did.
    pub backend: String,
    /// Median and best milliseconds a picture.
    pub milliseconds: Option<[f64; 2]>,
    /// Accuracy, 0 to 1.
    pub map50_95: Option<f64>,
    /// Megabytes of the file.
    pub file: f64,
    /// Megabytes that the process used at most.
    pub memory: Option<f64>,
}

/// The rows under a title, in their order; the fastest is set in bold.
pub fn draw(title: &str, subtitle: &str, rows: &[Row]) -> Image {
    let height = TOP + ROW * rows.len() as i64 + MARGIN;
    let mut image = Image::new(WIDTH, height as usize, WHITE);
    let left = MARGIN as f32;
    text::draw(&mut image, title, [left, 70.0], Align::Start, Style::bold(34.0, INK));
    text::draw(&mut image, subtitle, [left, 110.0], Align::Start, Style::regular(LETTERS, MUTED));
    let heading = Style::regular(LETTERS, MUTED);
    text::draw(&mut image, "ms a picture: median, best", [BARS[0] as f32, 165.0], Align::Start, heading);
    for (right, name) in COLUMNS {
        text::draw(&mut image, name, [right as f32, 165.0], Align::End, heading);
    }
    image.fill([MARGIN, TOP - 12, WIDTH as i64 - MARGIN, TOP - 10], GRID);
    let times = || rows.iter().filter_map(|row| row.milliseconds).filter(|times| times[0].is_finite());
    let slowest = times().fold(0.0, |most: f64, times| most.max(times[0]));
    let fastest = times().fold(f64::INFINITY, |least, times| least.min(times[0]));
    let mut backends: Vec<&str> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let known = backends.iter().position(|backend| *backend == row.backend);
        let colour = class_colour(known.unwrap_or(backends.len()));
        if known.is_none() {
            backends.push(&row.backend);
        }
        let is_fastest = row.milliseconds.is_some_and(|times| times[0] == fastest);
        draw_row(&mut image, row, TOP + ROW * index as i64, colour, slowest, is_fastest);
    }
    image
}

fn draw_row(image: &mut Image, row: &Row, top: i64, colour: Colour, slowest: f64, bold: bool) {
    let middle = (top + ROW / 2) as f32;
    let base = text::baseline(middle, LETTERS);
    let style = Style { size: LETTERS, bold, colour: INK };
    let names = Style::regular(LETTERS * 0.85, MUTED);
    let width = (BARS[0] - MARGIN - 20) as f32;
    let name = text::fit(&row.format, style, width);
    text::draw(image, &name, [MARGIN as f32, base - 11.0], Align::Start, style);
    let backend = text::fit(&row.backend, names, width);
    text::draw(image, &backend, [MARGIN as f32, base + 15.0], Align::Start, names);
    if let Some([median, best]) = row.milliseconds.filter(|times| times[0].is_finite() && slowest > 0.0) {
        // Room for the figures behind the longest bar.
        let scale = (BARS[1] - BARS[0] - 170) as f64 / slowest;
        let end = BARS[0] + ((median * scale) as i64).max(2);
        let bar = top + (ROW - BAR) / 2;
        image.fill([BARS[0], bar, end, bar + BAR], colour);
        // The best time as a notch in the bar.
        let notch = BARS[0] + ((best * scale) as i64).clamp(1, end - BARS[0]);
        image.fill([notch - 1, bar, notch + 1, bar + BAR], WHITE);
        let figures = format!("{median:.1}, {best:.1}");
        text::draw(image, &figures, [end as f32 + 12.0, base], Align::Start, style);
    } else {
        text::draw(image, "not run here", [BARS[0] as f32, base], Align::Start, Style::regular(LETTERS, MUTED));
    }
    let figures = [
        row.map50_95.map(|map| format!("{map:.4}")),
        Some(format!("{:.1}", row.file)),
        row.memory.map(|memory| format!("{memory:.0}")),
    ];
    for ((right, _), figure) in COLUMNS.into_iter().zip(figures) {
        let figure = figure.unwrap_or_else(|| "–".to_owned());
        text::draw(image, &figure, [right as f32, base], Align::End, style);
    }
    image.fill([MARGIN, top + ROW - 1, WIDTH as i64 - MARGIN, top + ROW], GRID);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_times() {
        let row = |format: &str, milliseconds: Option<[f64; 2]>| Row {
            format: format.into(),
            backend: format!("{format} runner"),
            milliseconds,
            map50_95: Some(0.5),
            file: 10.0,
            memory: None,
        };
        let rows = [row("a", Some([10.0, 9.0])), row("b", Some([20.0, 19.0])), row("c", None)];
        let image = draw("title", "subtitle", &rows);
        assert_eq!((image.width, image.height), (WIDTH, (TOP + 3 * ROW + MARGIN) as usize));
        let length = |index: i64| {
            let y = (TOP + ROW * index + ROW / 2 - BAR / 2 + 1) as usize;
            let colour = class_colour(index as usize);
            (BARS[0] as usize..BARS[1] as usize).filter(|&x| image.pixel(x, y) == colour).count()
        };
        let (first, second) = (length(0), length(1));
        assert!((second as f64 / first as f64 - 2.0).abs() < 0.05, "{first} {second}");
        assert_eq!(length(2), 0);
    }
}
