//! Pictures laid out on a plane, and a view of that plane: pixels and boxes go through the same map.

use std::sync::Arc;

use crate::Picture;
use crate::labels::Label;
use crate::letterbox::FILL;
use crate::resample::{Axis, resample};
use crate::warp::{Projection, warp};

/// An object's box in pixels of the plane or of the view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PixelBox {
    pub class: usize,
    /// `[x1, y1, x2, y2]`.
    pub corners: [f64; 4],
}

impl PixelBox {
    pub fn area(&self) -> f64 {
        let [x1, y1, x2, y2] = self.corners;
        (x2 - x1).max(0.0) * (y2 - y1).max(0.0)
    }

    /// The part inside `[x1, y1, x2, y2]`.
    pub fn clipped(&self, to: [f64; 4]) -> Self {
        let [x1, y1, x2, y2] = self.corners;
        let x = |value: f64| value.clamp(to[0], to[2]);
        let y = |value: f64| value.clamp(to[1], to[3]);
        Self { class: self.class, corners: [x(x1), y(y1), x(x2), y(y2)] }
    }

    /// Whether what is left of a box is still worth learning: sides over 2 pixels, at least a tenth of the area it had,
    /// sides within a factor of 100.
    pub fn worth_keeping(&self, area_before: f64) -> bool {
        let [x1, y1, x2, y2] = self.corners;
        let (width, height) = (x2 - x1, y2 - y1);
        width > 2.0 && height > 2.0 && self.area() >= 0.1 * area_before && (width / height).max(height / width) < 100.0
    }
}

struct Tile {
    picture: Arc<Picture>,
    /// The plane's x and y of the picture's top left corner; may be negative.
    origin: [i64; 2],
    /// The part of the plane it covers: `[x1, y1, x2, y2]`.
    clip: [i64; 4],
}

/// A plane of some size with pictures on it and grey between them.
pub(crate) struct Canvas {
    size: [usize; 2],
    tiles: Vec<Tile>,
    boxes: Vec<PixelBox>,
}

impl Canvas {
    /// An empty plane of `[height, width]`.
    pub fn new(size: [usize; 2]) -> Self {
        Self { size, tiles: Vec::with_capacity(4), boxes: Vec::new() }
    }

    /// `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Lays a picture with its objects at `origin` (x, y); what reaches over the plane's edge is cut off. Pictures must
    /// not overlap.
    pub fn place(&mut self, picture: Arc<Picture>, labels: &[Label], origin: [i64; 2]) {
        let [height, width] = self.size.map(|side| side as i64);
        let clip = [
            origin[0].max(0),
            origin[1].max(0),
            (origin[0] + picture.width as i64).min(width),
            (origin[1] + picture.height as i64).min(height),
        ];
        if clip[0] >= clip[2] || clip[1] >= clip[3] {
            return;
        }
        let (scale_x, scale_y) = (picture.width as f64, picture.height as f64);
        for label in labels {
            let [cx, cy, w, h] = label.bbox.map(f64::from);
            let x = |value: f64| value * scale_x + origin[0] as f64;
            let y = |value: f64| value * scale_y + origin[1] as f64;
            let corners = [x(cx - w / 2.0), y(cy - h / 2.0), x(cx + w / 2.0), y(cy + h / 2.0)];
            let bbox = PixelBox { class: label.class, corners }.clipped(clip.map(|edge| edge as f64));
            if bbox.area() > 0.0 {
                self.boxes.push(bbox);
            }
        }
        self.tiles.push(Tile { picture, origin, clip });
    }

    /// Writes the view (RGB, `[height, width]` = `size`) that `projection` makes of the plane, and gives the objects in
    /// it. `scale` is the projection's enlargement, by which the objects' areas are compared. `scratch` is room for the
    /// plane, used only where columns and rows do not stay independent.
    pub fn view(
        &self,
        projection: &Projection,
        scale: f64,
        size: [usize; 2],
        out: &mut [u8],
        scratch: &mut Vec<u8>,
    ) -> Vec<PixelBox> {
        if projection.is_scale_and_shift() {
            self.view_by_tiles(projection, size, out);
        } else if let Some(back) = projection.inverse() {
            self.paint(scratch);
            warp(scratch, self.size, &back, out, size);
        } else {
            out.fill(FILL);
            return Vec::new();
        }
        let edge = [0.0, 0.0, size[1] as f64, size[0] as f64];
        let moved = self.boxes.iter().filter_map(|bbox| {
            let moved = PixelBox { class: bbox.class, corners: move_box(projection, bbox.corners)? }.clipped(edge);
            moved.worth_keeping(bbox.area() * scale * scale).then_some(moved)
        });
        moved.collect()
    }

    /// Each tile straight into the view, the plane itself is never painted.
    fn view_by_tiles(&self, projection: &Projection, size: [usize; 2], out: &mut [u8]) {
        out.fill(FILL);
        let m = &projection.0;
        for tile in &self.tiles {
            // The view's pixels whose centre falls on the tile.
            let range = |axis: usize, limit: usize| {
                let edge = |at: i64| (at as f64 * m[axis][axis] + m[axis][2] - 0.5).ceil().clamp(0.0, limit as f64);
                edge(tile.clip[axis]) as usize..edge(tile.clip[axis + 2]) as usize
            };
            let (columns, rows) = (range(0, size[1]), range(1, size[0]));
            let start = [columns.start, rows.start];
            let axis = |axis: usize, range: std::ops::Range<usize>, length: usize| {
                let step = 1.0 / m[axis][axis];
                Axis::new(range, step, -m[axis][2] * step - tile.origin[axis] as f64, length)
            };
            let columns = axis(0, columns, tile.picture.width);
            let rows = axis(1, rows, tile.picture.height);
            resample(&tile.picture.pixels, tile.picture.width, &columns, &rows, out, size[1], start);
        }
    }

    fn paint(&self, scratch: &mut Vec<u8>) {
        let [height, width] = self.size;
        scratch.clear();
        scratch.resize(height * width * 3, FILL);
        for tile in &self.tiles {
            let [x1, y1, x2, y2] = tile.clip;
            let length = (x2 - x1) as usize * 3;
            for y in y1..y2 {
                let from = ((y - tile.origin[1]) as usize * tile.picture.width + (x1 - tile.origin[0]) as usize) * 3;
                let to = (y as usize * width + x1 as usize) * 3;
                scratch[to..to + length].copy_from_slice(&tile.picture.pixels[from..from + length]);
            }
        }
    }
}

/// The upright box around a moved box; None where a corner lies behind the viewer.
fn move_box(projection: &Projection, [x1, y1, x2, y2]: [f64; 4]) -> Option<[f64; 4]> {
    let mut moved = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for (x, y) in [(x1, y1), (x2, y1), (x2, y2), (x1, y2)] {
        let depth = projection.0[2];
        if depth[0] * x + depth[1] * y + depth[2] <= 1e-6 {
            return None;
        }
        let [u, v] = projection.apply(x, y);
        moved = [moved[0].min(u), moved[1].min(v), moved[2].max(u), moved[3].max(v)];
    }
    Some(moved)
}
