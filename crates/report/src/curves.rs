//! Precision, recall and F1 of a validation, class by class and their mean.

use yolo11_detection::DetectionSummary;
use yolo11_detection::detection_metrics::Curves;

use crate::chart::{Axis, Chart};
use crate::image::{GRID, INK, Image, MUTED, WHITE};
use crate::line::{Stroke, dashes, dot, polyline};
use crate::palette::class_colour;
use crate::text::{self, Align, Style, class_name};

const SIZE: [usize; 2] = [1600, 1000];
const AREA: [i64; 4] = [130, 150, 1150, 880];
/// Where the legend begins and ends.
const LEGEND: [f32; 2] = [1190.0, 1570.0];
/// Most classes that the legend names one by one.
const NAMED: usize = 20;
/// Of more classes, as many with the highest and as many with the lowest values.
const EXTREMES: usize = 9;
/// Letters of marks and legend.
const LETTERS: f32 = 21.0;

/// Which curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Precision against recall.
    PrecisionRecall,
    /// F1 against confidence.
    F1,
    /// Precision against confidence.
    Precision,
    /// Recall against confidence.
    Recall,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::PrecisionRecall, Kind::F1, Kind::Precision, Kind::Recall];

    /// The file's name as users know it.
    pub fn file_name(self) -> &'static str {
        match self {
            Kind::PrecisionRecall => "BoxPR_curve.png",
            Kind::F1 => "BoxF1_curve.png",
            Kind::Precision => "BoxP_curve.png",
            Kind::Recall => "BoxR_curve.png",
        }
    }

    fn curves(self, curves: &Curves) -> &[Vec<f64>] {
        match self {
            Kind::PrecisionRecall => &curves.precision_by_recall,
            Kind::F1 => &curves.f1,
            Kind::Precision => &curves.precision,
            Kind::Recall => &curves.recall,
        }
    }

    /// Names of the axes.
    fn axes(self) -> [&'static str; 2] {
        match self {
            Kind::PrecisionRecall => ["recall", "precision"],
            Kind::F1 => ["confidence", "F1"],
            Kind::Precision => ["confidence", "precision"],
            Kind::Recall => ["confidence", "recall"],
        }
    }

    fn title(self, summary: &DetectionSummary) -> [String; 2] {
        let at = format!("at confidence {:.3}, where the mean F1 is best", summary.confidence);
        match self {
            Kind::PrecisionRecall => [
                "Precision–recall".into(),
                format!("mAP50 {:.3}: the mean over classes of the area under their curve", summary.map50),
            ],
            Kind::F1 => ["F1–confidence".into(), format!("mean F1 {:.3} {at}", summary.f1)],
            Kind::Precision => ["Precision–confidence".into(), format!("mean precision {:.3} {at}", summary.precision)],
            Kind::Recall => ["Recall–confidence".into(), format!("mean recall {:.3} {at}", summary.recall)],
        }
    }

    /// What the legend says of all classes, and of one.
    fn value(self, summary: &DetectionSummary, class: Option<usize>) -> f64 {
        let Some(class) = class else {
            return match self {
                Kind::PrecisionRecall => summary.map50,
                Kind::F1 => summary.f1,
                Kind::Precision => summary.precision,
                Kind::Recall => summary.recall,
            };
        };
        summary.classes.get(class).map_or(0.0, |class| match self {
            Kind::PrecisionRecall => class.ap50,
            Kind::F1 => class.f1,
            Kind::Precision => class.precision,
            Kind::Recall => class.recall,
        })
    }
}

/// One of the four charts: a thin line for each class with objects, a thick one for their mean.
pub fn draw(kind: Kind, summary: &DetectionSummary, names: &[String]) -> Image {
    let mut image = Image::new(SIZE[0], SIZE[1], WHITE);
    let [title, subtitle] = kind.title(summary);
    text::draw(&mut image, &title, [AREA[0] as f32, 70.0], Align::Start, Style::bold(34.0, INK));
    text::draw(&mut image, &subtitle, [AREA[0] as f32, 112.0], Align::Start, Style::regular(22.0, MUTED));
    let chart = Chart { area: AREA, x: Axis::UNIT, y: Axis::UNIT };
    chart.draw(&mut image, LETTERS, kind.axes());

    let curves = kind.curves(&summary.curves);
    if curves.is_empty() {
        let middle = [(AREA[0] + AREA[2]) as f32 / 2.0, (AREA[1] + AREA[3]) as f32 / 2.0];
        let style = Style::regular(26.0, MUTED);
        text::draw(&mut image, "no labelled objects", middle, Align::Middle, style);
        return image;
    }
    let (width, share) = if curves.len() <= NAMED { (2.2, 0.9) } else { (1.4, 0.5) };
    for (curve, &class) in curves.iter().zip(&summary.curves.classes) {
        chart.line(&mut image, points(curve), Stroke { width, colour: class_colour(class), share });
    }
    let mean = mean(curves);
    chart.line(&mut image, points(&mean), Stroke { width: 9.0, colour: WHITE, share: 0.75 });
    chart.line(&mut image, points(&mean), Stroke { width: 5.0, colour: INK, share: 1.0 });
    if kind != Kind::PrecisionRecall {
        mark(&mut image, &chart, summary.confidence, kind.value(summary, None));
    }
    legend(&mut image, kind, summary, names);
    image
}

/// Points of a curve over the axis from 0 to 1.
fn points(curve: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    curve.iter().enumerate().map(|(index, &value)| (Curves::axis(index), value))
}

fn mean(curves: &[Vec<f64>]) -> Vec<f64> {
    let length = curves.iter().map(Vec::len).min().unwrap_or(0);
    (0..length).map(|index| curves.iter().map(|curve| curve[index]).sum::<f64>() / curves.len() as f64).collect()
}

/// The point that the figures of the run are read at.
fn mark(image: &mut Image, chart: &Chart, x: f64, y: f64) {
    let at = chart.place(x, y);
    if !(at[0].is_finite() && at[1].is_finite()) {
        return;
    }
    let stroke = Stroke { width: 2.0, colour: MUTED, share: 1.0 };
    dashes(image, [at[0], chart.area[3] as f32], at, 6.0, stroke);
    dot(image, at, 21.0, WHITE);
    dot(image, at, 15.0, INK);
}

fn legend(image: &mut Image, kind: Kind, summary: &DetectionSummary, names: &[String]) {
    let mut y = AREA[1] as f32 + 10.0;
    let figure = if kind == Kind::PrecisionRecall { "AP50" } else { kind.axes()[1] };
    text::draw(image, figure, [LEGEND[1], y - 30.0], Align::End, Style::regular(17.0, MUTED));
    entry(image, y, &format!("mean of {}", classes(summary.curves.classes.len())), None, kind.value(summary, None));
    y += 22.0;
    image.fill([LEGEND[0] as i64, y as i64, LEGEND[1] as i64, y as i64 + 1], GRID);
    y += 24.0;
    let mut listed: Vec<(usize, f64)> =
        summary.curves.classes.iter().map(|&class| (class, kind.value(summary, Some(class)))).collect();
    let few = listed.len() <= NAMED;
    if !few {
        listed.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }
    let step = 34.0;
    let list = |image: &mut Image, listed: &[(usize, f64)], y: &mut f32| {
        for &(class, value) in listed {
            entry(image, *y, &class_name(names, class), Some(class), value);
            *y += step;
        }
    };
    if few {
        return list(image, &listed, &mut y);
    }
    let heading = Style::regular(17.0, MUTED);
    text::draw(image, "highest", [LEGEND[0], y + 6.0], Align::Start, heading);
    y += step;
    list(image, &listed[..EXTREMES], &mut y);
    text::draw(image, "lowest", [LEGEND[0], y + 6.0], Align::Start, heading);
    y += step;
    list(image, &listed[listed.len() - EXTREMES..], &mut y);
}

fn classes(count: usize) -> String {
    if count == 1 { "1 class".into() } else { format!("{count} classes") }
}

/// One row: a piece of the line, the name, the value.
fn entry(image: &mut Image, y: f32, name: &str, class: Option<usize>, value: f64) {
    let stroke = match class {
        Some(class) => Stroke { width: 5.0, colour: class_colour(class), share: 1.0 },
        None => Stroke { width: 7.0, colour: INK, share: 1.0 },
    };
    let everywhere = [0, 0, image.width as i64, image.height as i64];
    polyline(image, &[[LEGEND[0] + 4.0, y], [LEGEND[0] + 34.0, y]], stroke, everywhere);
    let baseline = text::baseline(y, LETTERS);
    let style = if class.is_some() { Style::regular(LETTERS, INK) } else { Style::bold(LETTERS, INK) };
    let name = text::fit(name, style, LEGEND[1] - LEGEND[0] - 130.0);
    text::draw(image, &name, [LEGEND[0] + 50.0, baseline], Align::Start, style);
    let value = if value.is_finite() { format!("{value:.3}") } else { "–".into() };
    text::draw(image, &value, [LEGEND[1], baseline], Align::End, Style::regular(LETTERS, MUTED));
}
