//! Boxes with their class and confidence on a picture.

use font8x8::{BASIC_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use yolo11_dataset::Picture;
use yolo11_detection::nms::Detection;

/// Pixels of a letter's side in the font.
const CELL: usize = 8;

/// Colour of a class: hues a golden angle apart, so that neighbours in number differ, in three strengths.
pub fn class_colour(class: usize) -> [u8; 3] {
    let hue = (class as f64 * 0.618_033_988_75 + 0.02).fract() * 6.0;
    let (saturation, value) = [(0.85, 1.0), (0.65, 0.85), (1.0, 0.7)][class / 7 % 3];
    let channel = |offset: f64| {
        let distance = (hue + offset).rem_euclid(6.0);
        let share = (distance.min(4.0 - distance)).clamp(0.0, 1.0);
        ((value - value * saturation * share) * 255.0).round() as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// Draws every detection with `name confidence` above its box. Boxes are `[x1, y1, x2, y2]` in the picture's pixels.
pub fn draw_detections(picture: &mut Picture, detections: &[Detection], names: &[String]) {
    // The least confident first, so that the surest lie on top.
    let mut order: Vec<&Detection> = detections.iter().collect();
    order.sort_by(|a, b| a.score.total_cmp(&b.score));
    let thickness = ((picture.width + picture.height) as f64 / 2.0 * 0.003).round().max(1.0) as usize;
    let scale = ((picture.width + picture.height) as f64 / 1200.0).round().max(1.0) as usize;
    for detection in order {
        let colour = class_colour(detection.class);
        let name = names.get(detection.class).map_or_else(|| detection.class.to_string(), String::clone);
        draw_box(picture, detection.bbox, thickness, colour);
        draw_label(picture, detection.bbox, &format!("{name} {:.2}", detection.score), scale, colour);
    }
}

fn draw_box(picture: &mut Picture, bbox: [f32; 4], thickness: usize, colour: [u8; 3]) {
    let [x1, y1, x2, y2] = bbox.map(|side| side.round() as i64);
    let thick = thickness as i64;
    let half = thick / 2;
    let (left, top) = (x1 - half, y1 - half);
    let (right, bottom) = (x2 - half + thick, y2 - half + thick);
    fill(picture, [left, top, right, top + thick], colour);
    fill(picture, [left, bottom - thick, right, bottom], colour);
    fill(picture, [left, top, left + thick, bottom], colour);
    fill(picture, [right - thick, top, right, bottom], colour);
}

/// The text on a ground of the class's colour, above the box, or inside it at the picture's upper edge; shifted left where it would
/// run over the right edge.
fn draw_label(picture: &mut Picture, bbox: [f32; 4], text: &str, scale: usize, colour: [u8; 3]) {
    let margin = scale as i64;
    let letters: Vec<char> = text.chars().collect();
    let width = (letters.len() * CELL * scale) as i64 + 2 * margin;
    let height = (CELL * scale) as i64 + 2 * margin;
    let left = (bbox[0].round() as i64).min(picture.width as i64 - width).max(0);
    let above = bbox[1].round() as i64 - height;
    let top = if above >= 0 { above } else { (bbox[1].round() as i64).max(0) };
    fill(picture, [left, top, left + width, top + height], colour);
    let [red, green, blue] = colour.map(u32::from);
    // Perceived brightness (ITU-R BT.601) decides between black and white letters.
    let ink = if 299 * red + 587 * green + 114 * blue > 140_000 { [0; 3] } else { [255; 3] };
    for (position, &letter) in letters.iter().enumerate() {
        let x = left + margin + (position * CELL * scale) as i64;
        draw_letter(picture, letter, [x, top + margin], scale, ink);
    }
}

fn draw_letter(picture: &mut Picture, letter: char, [x, y]: [i64; 2], scale: usize, ink: [u8; 3]) {
    let rows = [BASIC_FONTS.get(letter), LATIN_FONTS.get(letter), GREEK_FONTS.get(letter), BASIC_FONTS.get('?')];
    let Some(rows) = rows.into_iter().flatten().next() else {
        return;
    };
    let scale = scale as i64;
    for (row, bits) in rows.into_iter().enumerate() {
        for column in (0..CELL).filter(|column| bits >> column & 1 == 1) {
            let (left, top) = (x + column as i64 * scale, y + row as i64 * scale);
            fill(picture, [left, top, left + scale, top + scale], ink);
        }
    }
}

/// Fills `[left, top, right, bottom)`; what lies outside the picture is left out.
fn fill(picture: &mut Picture, [left, top, right, bottom]: [i64; 4], colour: [u8; 3]) {
    let columns = left.clamp(0, picture.width as i64) as usize..right.clamp(0, picture.width as i64) as usize;
    let rows = top.clamp(0, picture.height as i64) as usize..bottom.clamp(0, picture.height as i64) as usize;
    if columns.is_empty() {
        return;
    }
    for row in rows {
        let start = row * picture.width;
        let pixels = &mut picture.pixels[(start + columns.start) * 3..(start + columns.end) * 3];
        pixels.as_chunks_mut::<3>().0.fill(colour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey() -> Picture {
        Picture { height: 60, width: 100, pixels: vec![114; 60 * 100 * 3] }
    }

    fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
        std::array::from_fn(|channel| picture.pixels[(y * picture.width + x) * 3 + channel])
    }

    #[test]
    fn a_box_has_its_colour_on_its_sides_and_nothing_inside() {
        let mut picture = grey();
        let detection = Detection { bbox: [20.0, 30.0, 60.0, 50.0], score: 0.875, class: 1 };
        draw_detections(&mut picture, &[detection], &["a".into(), "b".into()]);
        let colour = class_colour(1);
        for (x, y) in [(20, 40), (60, 40), (40, 50), (40, 30), (20, 30), (60, 50)] {
            assert_eq!(pixel(&picture, x, y), colour, "{x} {y}");
        }
        assert_eq!(pixel(&picture, 40, 40), [114; 3]);
        // The label's ground lies above the box: its first corner, and some ink of the letter b.
        assert_eq!(pixel(&picture, 20, 20), colour);
        let ink = (20..30).flat_map(|y| (20..30).map(move |x| (x, y)));
        assert!(ink.filter(|&(x, y)| ![colour, [114; 3]].contains(&pixel(&picture, x, y))).count() > 8);
    }

    #[test]
    fn boxes_over_the_edge_are_cut_and_classes_differ() {
        let mut picture = grey();
        let detection = Detection { bbox: [-20.0, -5.0, 1e6, 1e6], score: 0.5, class: 300 };
        draw_detections(&mut picture, &[detection], &[]);
        assert_eq!(picture.pixels.len(), 60 * 100 * 3);
        let colours: std::collections::HashSet<[u8; 3]> = (0..80).map(class_colour).collect();
        assert_eq!(colours.len(), 80);
    }
}
