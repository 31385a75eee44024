//! Labelled boxes on a picture.

use yolo11_detection::{Detection, TrueBox};

use crate::image::{Colour, Image};
use crate::palette::{class_colour, ink_on};
use crate::text::{self, Align, SMALLEST, Style, class_name};

/// One box to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledBox {
    /// `[x1, y1, x2, y2]` in the picture's pixels.
    pub bbox: [f32; 4],
    /// Class, from 0.
    pub class: usize,
    /// Confidence, of a detection.
    pub score: Option<f32>,
}

impl From<&Detection> for LabelledBox {
    fn from(detection: &Detection) -> Self {
        LabelledBox { bbox: detection.bbox, class: detection.class, score: Some(detection.score) }
    }
}

impl From<&TrueBox> for LabelledBox {
    fn from(target: &TrueBox) -> Self {
        LabelledBox { bbox: target.bbox, class: target.class, score: None }
    }
}

/// How boxes are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxStyle {
    /// Pixels of a box's sides.
    pub thickness: i64,
    /// Pixels of the letters.
    pub text: f32,
    /// Whether a label is left out where it would cover others: the colour then tells the class.
    pub omit_crowded: bool,
}

impl BoxStyle {
    /// What suits a picture of this size: each label is drawn, if need be over another.
    pub fn for_picture(width: usize, height: usize) -> Self {
        let side = (width + height) as f32 / 2.0;
        BoxStyle {
            thickness: (side * 0.0035).round().max(1.0) as i64,
            text: (side * 0.022).max(SMALLEST + 1.0),
            omit_crowded: false,
        }
    }
}

/// Draws boxes with `name confidence` on a ground of the class's colour. Labels look for a place beside their box where they cover
/// no other; the surest choose first and lie on top. Boxes that are not finite are left out.
pub fn draw_boxes(image: &mut Image, boxes: &[LabelledBox], names: &[String], style: &BoxStyle) {
    draw_boxes_around(image, boxes, names, style, Vec::new());
}

/// Like [`draw_boxes`]; labels also keep clear of what is `taken`.
pub(crate) fn draw_boxes_around(
    image: &mut Image,
    boxes: &[LabelledBox],
    names: &[String],
    style: &BoxStyle,
    mut taken: Vec<[i64; 4]>,
) {
    let mut order: Vec<&LabelledBox> =
        boxes.iter().filter(|one| one.bbox.iter().all(|side| side.is_finite())).collect();
    order.sort_by(|a, b| b.score.unwrap_or(1.0).total_cmp(&a.score.unwrap_or(1.0)));
    for one in order.iter().rev() {
        image.frame(frame_of(image, one, style), style.thickness, class_colour(one.class), 1.0);
    }
    let mut labels = Vec::new();
    for one in order {
        let letters = Style::regular(style.text, ink_on(class_colour(one.class)));
        let mut label = class_name(names, one.class);
        if let Some(score) = one.score {
            label = format!("{} {score:.2}", text::fit(&label, letters, image.width as f32 * 0.5));
        }
        let label = text::fit(&label, letters, (image.width as f32 - 4.0).max(0.0));
        let frame = frame_of(image, one, style);
        if let Some(place) = find_place(image, frame, text::width(&label, letters), style, &taken) {
            taken.push(place);
            labels.push((place, label, class_colour(one.class), letters));
        }
    }
    for (place, label, colour, letters) in labels.iter().rev() {
        draw_label(image, *place, label, *colour, *letters);
    }
}

/// The box in whole pixels, its outer edge; what is far outside is brought near, so that no sum overflows.
fn frame_of(image: &Image, one: &LabelledBox, style: &BoxStyle) -> [i64; 4] {
    let limit = 2.0 * image.width.max(image.height) as f32;
    let [x1, y1, x2, y2] = one.bbox.map(|side| side.clamp(-limit, limit).round() as i64);
    let half = style.thickness / 2;
    let rest = style.thickness - half;
    [x1.min(x2) - half, y1.min(y2) - half, x1.max(x2) + rest, y1.max(y2) + rest]
}

fn padding(style: &BoxStyle) -> i64 {
    (style.text * 0.22).round().max(2.0) as i64
}

/// A free place for a label: above the box, inside at its top, below, inside at its bottom, each from its left, from its right and
/// between, then beside it. Where all are taken the one that covers least, unless crowded labels are to be left out.
fn find_place(image: &Image, frame: [i64; 4], length: f32, style: &BoxStyle, taken: &[[i64; 4]]) -> Option<[i64; 4]> {
    let (width, height) = (image.width as i64, image.height as i64);
    let wide = length.ceil() as i64 + 2 * padding(style);
    let high = (style.text * 1.1).ceil() as i64 + padding(style);
    let [left, top, right, bottom] = frame;
    let columns = [left, right - wide, (left + right - wide) / 2];
    let rows = [(top - high, true), (top, false), (bottom, true), (bottom - high, false)];
    let about = rows.into_iter().flat_map(|(y, outside)| columns.map(|x| (x, y, outside)));
    let beside = [right, left - wide].into_iter().flat_map(|x| [(x, top, true), (x, bottom - high, true)]);
    let mut best: Option<([i64; 4], i64)> = None;
    for (x, y, outside) in about.chain(beside) {
        // Beyond the picture's upper and lower edge there is no place outside the box.
        if outside && (y < 0 || y + high > height) {
            continue;
        }
        let x = x.min(width - wide).max(0);
        let y = y.min(height - high).max(0);
        let place = [x, y, x + wide, y + high];
        let covered: i64 = taken.iter().map(|other| common(place, *other)).sum();
        if covered == 0 {
            return Some(place);
        }
        if best.is_none_or(|(_, least)| covered < least) {
            best = Some((place, covered));
        }
    }
    best.filter(|_| !style.omit_crowded).map(|(place, _)| place)
}

/// Pixels that two areas share.
fn common(one: [i64; 4], other: [i64; 4]) -> i64 {
    let side = |axis: usize| (one[axis + 2].min(other[axis + 2]) - one[axis].max(other[axis])).max(0);
    side(0) * side(1)
}

/// A text on a ground that fills `place`.
pub(crate) fn draw_label(image: &mut Image, place: [i64; 4], label: &str, ground: Colour, letters: Style) {
    image.fill(place, ground);
    let start = (place[0] as f32) + ((place[2] - place[0]) as f32 - text::width(label, letters)) / 2.0;
    let baseline = text::baseline((place[1] + place[3]) as f32 / 2.0, letters.size);
    text::draw(image, label, [start.round(), baseline], Align::Start, letters);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey() -> Image {
        Image::new(200, 120, [114; 3])
    }

    fn detection(bbox: [f32; 4], class: usize, score: f32) -> LabelledBox {
        LabelledBox { bbox, class, score: Some(score) }
    }

    #[test]
    fn a_box_has_its_colour_on_its_sides_and_nothing_inside() {
        let mut image = grey();
        let style = BoxStyle { thickness: 1, ..BoxStyle::for_picture(200, 120) };
        draw_boxes(&mut image, &[detection([20.0, 40.0, 150.0, 90.0], 1, 0.875)], &["a".into(), "b".into()], &style);
        let colour = class_colour(1);
        for (x, y) in [(20, 60), (150, 60), (80, 90), (80, 40), (20, 40), (150, 90)] {
            assert_eq!(image.pixel(x, y), colour, "{x} {y}");
        }
        assert_eq!([(21, 60), (149, 60), (80, 41), (19, 60), (151, 60)].map(|(x, y)| image.pixel(x, y)), [[114; 3]; 5]);
        // The label's ground lies above the box, from its left side on.
        assert_eq!((image.pixel(20, 39), image.pixel(20, 26), image.pixel(19, 30)), (colour, colour, [114; 3]));
        let ink = (20..60).flat_map(|x| (26..40).map(move |y| (x, y)));
        assert!(ink.filter(|&(x, y)| ![colour, [114; 3]].contains(&image.pixel(x, y))).count() > 40);
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let image = Image::new(400, 400, [0; 3]);
        let style = BoxStyle::for_picture(400, 400);
        let mut taken: Vec<[i64; 4]> = Vec::new();
        for index in 0..8 {
            let frame = [100 + index, 100 + 2 * index, 260 + index, 300 + 2 * index];
            let place = find_place(&image, frame, 60.0, &style, &taken).unwrap();
            assert!(taken.iter().all(|other| common(place, *other) == 0), "{index}: {place:?} {taken:?}");
            taken.push(place);
        }
        // A crowd leaves no place: left out or laid over another, as asked for.
        let frame = [100, 100, 110, 110];
        let full = [[0, 0, 400, 400]];
        assert!(find_place(&image, frame, 60.0, &style, &full).is_some());
        let omitting = BoxStyle { omit_crowded: true, ..style };
        assert!(find_place(&image, frame, 60.0, &omitting, &full).is_none());
    }

    #[test]
    fn wild_boxes_and_names_do_no_harm() {
        let boxes = [
            detection([-20.0, -5.0, 1e9, 1e9], 300, 0.5),
            detection([f32::NAN, 0.0, 5.0, 5.0], 0, 0.9),
            detection([50.0, 50.0, 50.0, 50.0], 0, f32::NAN),
            detection([90.0, 90.0, 30.0, 30.0], 1, 0.1),
            LabelledBox { bbox: [0.0, 0.0, 200.0, 120.0], class: 2, score: None },
        ];
        let names = ["long ".repeat(500), "猫".into(), String::new()];
        let mut image = grey();
        draw_boxes(&mut image, &boxes, &names, &BoxStyle::for_picture(200, 120));
        assert_eq!(image.pixels.len(), 200 * 120 * 3);
        let mut small = Image::new(3, 2, [0; 3]);
        draw_boxes(&mut small, &boxes, &names, &BoxStyle::for_picture(3, 2));
        assert_eq!(small.pixels.len(), 18);
    }
}
