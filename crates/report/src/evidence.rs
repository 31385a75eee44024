//! A picture, or the part of it that matters, with the boxes in question marked.

use crate::image::{Colour, Image, WHITE};

/// Most pixels of a drawn part, across and down.
const LARGEST: [f32; 2] = [480.0, 360.0];
/// Share of the picture below which only the surroundings of the boxes are shown.
const NEAR: f32 = 0.06;
/// Of the surroundings so many times the boxes' size, and at least this share of the picture.
const AROUND: f32 = 4.0;
const LEAST: f32 = 0.18;
/// Shares of the picture that may be shown beyond its edge.
const BEYOND: f32 = 0.2;
const OUTSIDE: Colour = [128, 132, 140];
const MARK: Colour = [229, 50, 62];
const OTHER: Colour = [250, 214, 90];

/// Marks `faulty` boxes strongly and `others` faintly; all are centre x, centre y, width, height as shares of the picture and may
/// reach outside. Few and small faulty boxes are shown from near.
pub fn draw(picture: &Image, faulty: &[[f32; 4]], others: &[[f32; 4]]) -> Image {
    let faulty: Vec<[f32; 4]> = faulty.iter().copied().filter(sensible).collect();
    let (width, height) = (picture.width as f32, picture.height as f32);
    let [left, top, right, bottom] = window(&faulty);
    let part = [left * width, top * height, right * width, bottom * height].map(|edge| edge.round() as i64);
    let (columns, rows) = ((part[2] - part[0]).max(1) as usize, (part[3] - part[1]).max(1) as usize);
    let mut shown = Image::new(columns, rows, OUTSIDE);
    for y in part[1].max(0)..part[3].min(picture.height as i64) {
        let (from, to) = (part[0].max(0), part[2].min(picture.width as i64));
        if from >= to {
            break;
        }
        let source = (y as usize * picture.width + from as usize) * 3;
        let target = ((y - part[1]) as usize * columns + (from - part[0]) as usize) * 3;
        let bytes = (to - from) as usize * 3;
        shown.pixels[target..target + bytes].copy_from_slice(&picture.pixels[source..source + bytes]);
    }
    let fit = (LARGEST[0] / columns as f32).min(LARGEST[1] / rows as f32);
    // Enlarged by whole factors pixels stay squares: it is seen how few there are.
    let scale = if fit > 1.0 { fit.floor() } else { fit };
    let mut shown = shown.resized((columns as f32 * scale).round() as usize, (rows as f32 * scale).round() as usize);
    let place = |[cx, cy, w, h]: [f32; 4]| {
        let x = |share: f32| ((share * width - part[0] as f32) * scale).round() as i64;
        let y = |share: f32| ((share * height - part[1] as f32) * scale).round() as i64;
        [
            x(cx - w / 2.0),
            y(cy - h / 2.0),
            x(cx + w / 2.0).max(x(cx - w / 2.0) + 1),
            y(cy + h / 2.0).max(y(cy - h / 2.0) + 1),
        ]
    };
    for other in others.iter().filter(|other| sensible(other)) {
        shown.frame(place(*other), 1, OTHER, 0.8);
    }
    for bbox in &faulty {
        let [left, top, right, bottom] = place(*bbox);
        shown.frame([left - 3, top - 3, right + 3, bottom + 3], 1, WHITE, 0.9);
        shown.frame([left - 2, top - 2, right + 2, bottom + 2], 2, MARK, 1.0);
    }
    shown
}

/// Whether a box is near enough to its picture to be drawn.
fn sensible(bbox: &[f32; 4]) -> bool {
    bbox.iter().all(|side| side.is_finite() && side.abs() <= 3.0)
}

/// Left, top, right and bottom of what is shown, as shares of the picture.
fn window(faulty: &[[f32; 4]]) -> [f32; 4] {
    let start = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    let [x1, y1, x2, y2] = faulty.iter().fold(start, |[x1, y1, x2, y2], [cx, cy, w, h]| {
        [x1.min(cx - w / 2.0), y1.min(cy - h / 2.0), x2.max(cx + w / 2.0), y2.max(cy + h / 2.0)]
    });
    if faulty.is_empty() {
        return [0.0, 0.0, 1.0, 1.0];
    }
    if (x2 - x1).max(0.01) * (y2 - y1).max(0.01) < NEAR {
        let side = ((x2 - x1).max(y2 - y1).max(LEAST / AROUND) * AROUND).min(1.0);
        // Inside the picture, as far as the boxes are.
        let start = |low: f32, high: f32| {
            let (first, last) = (low.clamp(-BEYOND, 0.0), high.clamp(1.0, 1.0 + BEYOND) - side);
            ((low + high - side) / 2.0).clamp(first.min(last), last.max(first))
        };
        let (x, y) = (start(x1, x2), start(y1, y2));
        return [x, y, x + side, y + side];
    }
    [x1.clamp(-BEYOND, 0.0), y1.clamp(-BEYOND, 0.0), x2.clamp(1.0, 1.0 + BEYOND), y2.clamp(1.0, 1.0 + BEYOND)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_box_is_shown_from_near_and_marked() {
        let picture = Image::new(1000, 800, [10, 20, 30]);
        let shown = draw(&picture, &[[0.5, 0.5, 0.02, 0.02]], &[]);
        // A fifth of the picture: 180 × 144 pixels, twice as large.
        assert_eq!((shown.width, shown.height), (360, 288));
        assert!(shown.pixels.as_chunks::<3>().0.contains(&MARK));
        let whole = draw(&picture, &[], &[[0.5, 0.5, 0.5, 0.5]]);
        assert_eq!((whole.width, whole.height), (450, 360));
        assert!(!whole.pixels.as_chunks::<3>().0.contains(&MARK));
    }

    #[test]
    fn what_lies_outside_is_grey_and_nonsense_does_no_harm() {
        let picture = Image::new(100, 100, [10, 20, 30]);
        let shown = draw(&picture, &[[1.0, 0.5, 0.3, 0.9]], &[]);
        assert!(shown.width > shown.height);
        assert_eq!(shown.pixel(shown.width - 1, 0), OUTSIDE);
        for bbox in [[f32::NAN; 4], [320.0, 240.0, 50.0, 50.0], [0.0; 4], [-2.0, 5.0, 1.0, 1.0], [0.5, 0.5, -0.1, 0.1]]
        {
            let shown = draw(&picture, &[bbox], &[bbox]);
            assert!(shown.width > 0 && shown.width <= 480 && shown.height <= 480, "{bbox:?}");
        }
        assert_eq!(draw(&Image::new(1, 1, WHITE), &[], &[]).width, 360);
    }
}
