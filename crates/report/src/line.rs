//! Lines with smooth edges.

use crate::image::{Colour, Image};

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stroke {
    /// Pixels across.
    pub width: f32,
    pub colour: Colour,
    /// 1 covers what is below.
    pub share: f32,
}

/// Draws a line through points with round corners and ends, cut off at `clip` `[left, top, right, bottom)`. A point that is not
/// finite leaves a gap. Where a line crosses itself it is no darker.
pub(crate) fn polyline(image: &mut Image, points: &[[f32; 2]], stroke: Stroke, clip: [i64; 4]) {
    let clip = [clip[0].max(0), clip[1].max(0), clip[2].min(image.width as i64), clip[3].min(image.height as i64)];
    let reach = stroke.width / 2.0 + 0.5;
    let Some(area) = bounds(points, reach + 1.0, clip) else {
        return;
    };
    let (columns, rows) = ((area[2] - area[0]) as usize, (area[3] - area[1]) as usize);
    let mut mask = vec![0u8; columns * rows];
    let lone = points.len() == 1;
    for pair in points.windows(2).chain(points.chunks(1).filter(|_| lone)) {
        let (from, to) = (pair[0], pair[pair.len() - 1]);
        let Some(part) = bounds(&[from, to], reach + 1.0, area).filter(|_| finite(from) && finite(to)) else {
            continue;
        };
        for y in part[1]..part[3] {
            for x in part[0]..part[2] {
                // Coverage of a pixel falls over the one pixel about the line's edge.
                let covered = (reach - distance([x as f32 + 0.5, y as f32 + 0.5], from, to)).clamp(0.0, 1.0);
                let pixel = &mut mask[(y - area[1]) as usize * columns + (x - area[0]) as usize];
                *pixel = (*pixel).max((covered * 255.0) as u8);
            }
        }
    }
    for (index, &covered) in mask.iter().enumerate().filter(|(_, covered)| **covered > 0) {
        let (x, y) = (area[0] + (index % columns) as i64, area[1] + (index / columns) as i64);
        image.blend(x, y, stroke.colour, f32::from(covered) / 255.0 * stroke.share);
    }
}

/// A disc.
pub(crate) fn dot(image: &mut Image, at: [f32; 2], diameter: f32, colour: Colour) {
    let everywhere = [0, 0, image.width as i64, image.height as i64];
    polyline(image, &[at], Stroke { width: diameter, colour, share: 1.0 }, everywhere);
}

/// A line in dashes: as long as gaps.
pub(crate) fn dashes(image: &mut Image, from: [f32; 2], to: [f32; 2], dash: f32, stroke: Stroke) {
    let length = (to[0] - from[0]).hypot(to[1] - from[1]);
    let everywhere = [0, 0, image.width as i64, image.height as i64];
    let at = |place: f32| {
        let share = place.min(length) / length;
        [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share]
    };
    let count = if length.is_finite() { (length / (2.0 * dash)).ceil() as usize } else { 0 };
    for index in 0..count {
        let start = index as f32 * 2.0 * dash;
        polyline(image, &[at(start), at(start + dash)], stroke, everywhere);
    }
}

fn finite(point: [f32; 2]) -> bool {
    point.iter().all(|place| place.is_finite())
}

/// Whole pixels around the finite points, inside `clip`; none where nothing is left.
fn bounds(points: &[[f32; 2]], margin: f32, clip: [i64; 4]) -> Option<[i64; 4]> {
    let mut around = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    for &[x, y] in points.iter().filter(|point| finite(**point)) {
        around = [around[0].min(x), around[1].min(y), around[2].max(x), around[3].max(y)];
    }
    let left = (around[0] - margin).floor().max(clip[0] as f32) as i64;
    let top = (around[1] - margin).floor().max(clip[1] as f32) as i64;
    let right = (around[2] + margin).ceil().min(clip[2] as f32) as i64;
    let bottom = (around[3] + margin).ceil().min(clip[3] as f32) as i64;
    (left < right && top < bottom).then_some([left, top, right, bottom])
}

/// From a point to the nearest one of a stretch.
fn distance([x, y]: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let squared = dx * dx + dy * dy;
    let share = if squared > 0.0 { ((x - from[0]) * dx + (y - from[1]) * dy) / squared } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    (x - from[0] - share * dx).hypot(y - from[1] - share * dy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::WHITE;

    const BLACK: Stroke = Stroke { width: 2.0, colour: [0; 3], share: 1.0 };

    #[test]
    fn a_line_covers_its_pixels_and_is_soft_at_the_edge() {
        let mut image = Image::new(20, 10, WHITE);
        let clip = [0, 0, 20, 10];
        polyline(&mut image, &[[5.0, 5.0], [15.0, 5.0]], BLACK, clip);
        for x in 5..15 {
            assert_eq!([3, 4, 5, 6].map(|y| image.pixel(x, y)), [WHITE, [0; 3], [0; 3], WHITE], "{x}");
        }
        let mut between = Image::new(20, 10, WHITE);
        polyline(&mut between, &[[5.0, 5.5], [15.0, 5.5]], BLACK, clip);
        assert_eq!([4, 5, 6].map(|y| between.pixel(10, y)[0]), [128, 0, 128]);
    }

    #[test]
    fn gaps_clips_and_wild_points_do_no_harm() {
        let mut image = Image::new(30, 10, WHITE);
        let points = [[2.0, 5.0], [8.0, 5.0], [f32::NAN, 5.0], [20.0, 5.0], [1e9, 5.0]];
        polyline(&mut image, &points, BLACK, [0, 0, 25, 10]);
        assert_eq!([5, 14, 22, 27].map(|x| image.pixel(x, 5)[0]), [0, 255, 0, 255]);
        let before = image.clone();
        polyline(&mut image, &[], BLACK, [0, 0, 25, 10]);
        polyline(&mut image, &[[f32::INFINITY, f32::NAN]], BLACK, [0, 0, 25, 10]);
        dashes(&mut image, [0.0, 0.0], [f32::INFINITY, 0.0], 3.0, BLACK);
        assert_eq!(image, before);
        dot(&mut image, [15.0, 5.0], 4.0, [9, 9, 9]);
        assert_eq!(image.pixel(15, 5), [9, 9, 9]);
    }
}
