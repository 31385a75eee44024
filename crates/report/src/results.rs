//! Losses and metrics over the epochs, from the run's own table.

use crate::Error;
use crate::chart::{Axis, Chart};
use crate::image::{Colour, INK, Image, MUTED, WHITE};
use crate::line::{Stroke, dot, polyline};
use crate::text::{self, Align, Style};

/// Columns of `results.csv` in the order of their panels, five a row: losses of the training before those of the validation.
const PANELS: [&str; 10] = [
    "train/box_loss",
    "train/cls_loss",
    "train/dfl_loss",
    "metrics/precision(B)",
    "metrics/recall(B)",
    "val/box_loss",
    "val/cls_loss",
    "val/dfl_loss",
    "metrics/mAP50(B)",
    "metrics/mAP50-95(B)",
];
const ACROSS: usize = 5;
const PANEL: [usize; 2] = [480, 400];
const TOP: usize = 90;
/// Most epochs whose points are marked one by one.
const DOTTED: usize = 60;
/// Epochs that the smooth line looks around at most, as the standard deviation of a Gaussian; a twelfth of all where there are few.
const SMOOTHING: f64 = 3.0;
/// Fewest epochs that are smoothed.
const SMOOTHED: usize = 8;

const LINE: Colour = [46, 111, 222];
const SMOOTH: Colour = [240, 138, 24];

/// One epoch's row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Epoch, counted from 1.
    pub epoch: f64,
    /// Values in the order of the panels; not a number where the table has none.
    values: [f64; PANELS.len()],
}

impl Row {
    /// The value of a column of `results.csv`, where it is one that is drawn.
    pub fn value(&self, column: &str) -> Option<f64> {
        PANELS.iter().position(|panel| *panel == column).map(|index| self.values[index])
    }
}

/// Reads the text of a `results.csv`. Columns go by their names; those that are missing or empty, or hold no number, leave gaps.
///
/// # Errors
/// There is no column `epoch`, or a row's epoch is no number.
pub fn parse(csv: &str) -> Result<Vec<Row>, Error> {
    let mut lines = csv.lines().enumerate();
    let header: Vec<&str> = lines.next().map_or("", |(_, line)| line).split(',').map(str::trim).collect();
    let column = |name: &str| header.iter().position(|column| *column == name);
    let Some(epoch) = column("epoch") else {
        return Err(Error::Results { line: 1, message: "no column is called `epoch`".into() });
    };
    let columns = PANELS.map(column);
    let rows = lines.filter(|(_, line)| !line.trim().is_empty()).map(|(index, line)| {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |column: usize| cells.get(column).and_then(|cell| cell.parse::<f64>().ok());
        let epoch = number(epoch).filter(|epoch| epoch.is_finite()).ok_or_else(|| Error::Results {
            line: index + 1,
            message: format!("the epoch is not a number: `{}`", cells.get(epoch).unwrap_or(&"")),
        })?;
        Ok(Row { epoch, values: columns.map(|column| column.and_then(number).unwrap_or(f64::NAN)) })
    });
    rows.collect()
}

/// Ten panels, one for each loss and metric: a thin line through the epochs, a light one that smooths it.
pub fn draw(rows: &[Row]) -> Image {
    let mut image = Image::new(ACROSS * PANEL[0] + 40, TOP + 2 * PANEL[1] + 30, WHITE);
    heading(&mut image, rows);
    for (index, name) in PANELS.iter().enumerate() {
        let left = 20 + index % ACROSS * PANEL[0];
        let top = TOP + index / ACROSS * PANEL[1];
        let values: Vec<(f64, f64)> = rows.iter().map(|row| (row.epoch, row.values[index])).collect();
        panel(&mut image, [left, top], name, &values);
    }
    image
}

fn heading(image: &mut Image, rows: &[Row]) {
    let title = match rows {
        [] => "Results".to_owned(),
        [_] => "Results of 1 epoch".to_owned(),
        rows => format!("Results of {} epochs", rows.len()),
    };
    text::draw(image, &title, [44.0, 58.0], Align::Start, Style::bold(30.0, INK));
    let style = Style::regular(20.0, MUTED);
    let mut right = image.width as f32 - 48.0;
    let lines = [("smoothed", SMOOTH, 5.0), ("each epoch", LINE, 3.0)];
    for (name, colour, width) in lines.into_iter().skip(usize::from(rows.len() < SMOOTHED)) {
        text::draw(image, name, [right, 56.0], Align::End, style);
        right -= text::width(name, style) + 14.0;
        let everywhere = [0, 0, image.width as i64, image.height as i64];
        polyline(image, &[[right - 36.0, 49.0], [right, 49.0]], Stroke { width, colour, share: 1.0 }, everywhere);
        right -= 36.0 + 36.0;
    }
}

fn panel(image: &mut Image, [left, top]: [usize; 2], name: &str, values: &[(f64, f64)]) {
    let area = [left as i64 + 84, top as i64 + 62, (left + PANEL[0]) as i64 - 28, (top + PANEL[1]) as i64 - 62];
    let start = area[0] as f32 - 60.0;
    text::draw(image, name, [start, top as f32 + 40.0], Align::Start, Style::bold(21.0, INK));
    let last = values.iter().rev().map(|(_, value)| *value).find(|value| value.is_finite());
    if let Some(last) = last {
        let written = if last.abs() >= 1e4 { format!("{last:.2e}") } else { format!("{last:.3}") };
        text::draw(image, &written, [area[2] as f32, top as f32 + 40.0], Align::End, Style::regular(20.0, MUTED));
    }
    let epochs = values.iter().map(|(epoch, _)| *epoch);
    let (first, end) = epochs.fold((f64::INFINITY, 1f64), |(low, high), epoch| (low.min(epoch), high.max(epoch)));
    let first = first.min(end);
    let air = ((end - first) * 0.03).max(if first == end { 0.6 } else { 0.0 });
    let x = Axis { from: first - air, to: end + air, whole: true };
    let chart = Chart { area, x, y: Axis::around(values.iter().map(|(_, value)| *value)) };
    chart.draw(image, 17.0, ["epoch", ""]);
    if last.is_none() {
        let middle = [(area[0] + area[2]) as f32 / 2.0, (area[1] + area[3]) as f32 / 2.0];
        text::draw(image, "no values", middle, Align::Middle, Style::regular(20.0, MUTED));
        return;
    }
    let finite: Vec<(f64, f64)> = values.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let each = Stroke { width: 2.4, colour: LINE, share: 0.85 };
    chart.line(image, values.iter().copied(), each);
    if finite.len() <= DOTTED {
        for &(epoch, value) in &finite {
            dot(image, chart.place(epoch, value), 7.0, LINE);
        }
    }
    let smooth = smoothed(&finite);
    if finite.len() >= SMOOTHED {
        chart.line(image, smooth.into_iter(), Stroke { width: 4.0, colour: SMOOTH, share: 0.75 });
    }
}

/// At each epoch the straight line that fits the values around best, the nearer ones counting more (local linear regression, W. S.
/// Cleveland, 1979): unlike a mean it does not lag behind at the ends.
fn smoothed(values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let width = (values.len() as f64 / 12.0).min(SMOOTHING);
    let reach = (width * 4.0).ceil() as usize;
    let fitted = |index: usize| {
        let around = index.saturating_sub(reach)..(index + reach + 1).min(values.len());
        // Sums of the weights, and weighted by the distance and the value.
        let (mut w, mut wx, mut wxx, mut wy, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(epoch, value) in &values[around] {
            let x = epoch - values[index].0;
            let weight = (-(x / width).powi(2) / 2.0).exp();
            w += weight;
            wx += weight * x;
            wxx += weight * x * x;
            wy += weight * value;
            wxy += weight * x * value;
        }
        let spread = w * wxx - wx * wx;
        (values[index].0, if spread > 1e-9 { (wxx * wy - wx * wxy) / spread } else { wy / w })
    };
    (0..values.len()).map(fitted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_by_the_names_of_their_columns() {
        let rows = parse("epoch, val/box_loss,time\n1,2.5,9\n\n2,,9\n3,nan,9\n4\n").unwrap();
        assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(rows[0].value("val/box_loss"), Some(2.5));
        assert!(rows[1..].iter().all(|row| row.value("val/box_loss").is_some_and(f64::is_nan)));
        assert_eq!(rows[0].value("time"), None);
        assert_eq!(parse("").unwrap_err().to_string(), "results.csv, line 1: no column is called `epoch`");
        let error = parse("epoch\n1\nx\n").unwrap_err();
        assert_eq!(error.to_string(), "results.csv, line 3: the epoch is not a number: `x`");
    }

    #[test]
    fn smoothing_keeps_straight_lines_and_tames_spikes() {
        let straight: Vec<(f64, f64)> = (1..60).map(|epoch| (f64::from(epoch), 4.0 - 0.5 * f64::from(epoch))).collect();
        for ((_, smooth), (_, value)) in smoothed(&straight).iter().zip(&straight) {
            assert!((smooth - value).abs() < 1e-9, "{smooth} {value}");
        }
        let mut spiked = straight.clone();
        spiked[30].1 += 10.0;
        let lifted = smoothed(&spiked)[30].1 - straight[30].1;
        // One of the Gaussian's weights: 10 / (3 √(2π)).
        assert!((lifted - 1.3298).abs() < 0.01, "{lifted}");
    }
}
