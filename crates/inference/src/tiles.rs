//! Large pictures piece by piece: overlapping tiles, and one list of objects without seams.

use yolo11_detection::geometry::{area, intersection};
use yolo11_detection::{Detection, NmsSettings};

/// How a picture is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Side of a tile in pixels of the picture.
    pub side: usize,
    /// Share of a tile that its neighbour has too, 0 to 0.9: objects smaller than it are whole in one of them.
    pub overlap: f32,
}

/// Distance from a seam within which a box counts as cut by it, as a share of the tile's longer side, and at least in pixels.
const AT_SEAM: f32 = 0.01;
const AT_SEAM_PIXELS: f32 = 3.0;
/// Share of a cut box that lies in a whole one of its class, above which it is a part of that object.
const INSIDE: f32 = 0.6;
/// Overlap of two parts along the seam, as a share of both together, above which they are one object.
const ALIGNED: f32 = 0.6;

/// A rectangle of a picture: `[left, top, right, bottom]` in its pixels.
pub(crate) type Rectangle = [usize; 4];

impl Tiling {
    /// The tiles of a picture of `[height, width]`; none where one would hold it whole. They all have the same size, and the last
    /// ones end with the picture.
    pub(crate) fn tiles(&self, [height, width]: [usize; 2]) -> Vec<Rectangle> {
        if height <= self.side && width <= self.side {
            return Vec::new();
        }
        let step = ((self.side as f32 * (1.0 - self.overlap.clamp(0.0, 0.9))) as usize).max(1);
        let starts = |length: usize| -> Vec<usize> {
            let rest = length.saturating_sub(self.side);
            let count = rest.div_ceil(step);
            (0..=count).map(|index| index * rest / count.max(1)).collect()
        };
        let mut tiles = Vec::new();
        for top in starts(height) {
            for left in starts(width) {
                tiles.push([left, top, (left + self.side).min(width), (top + self.side).min(height)]);
            }
        }
        tiles
    }
}

/// A detection in pixels of the whole picture, and by which sides of its tile it is cut: left, top, right, bottom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub detection: Detection,
    pub cut: [bool; 4],
    /// Pixels that count as nothing at a seam.
    seam: f32,
}

impl Piece {
    /// A detection found in a rectangle of a picture of `[height, width]`.
    pub fn new(detection: Detection, [left, top, right, bottom]: Rectangle, [height, width]: [usize; 2]) -> Piece {
        let bbox = detection.bbox;
        let seam = ((right - left).max(bottom - top) as f32 * AT_SEAM).max(AT_SEAM_PIXELS);
        let near = |side: f32, edge: usize| (side - edge as f32).abs() <= seam;
        let cut = [
            left > 0 && near(bbox[0], left),
            top > 0 && near(bbox[1], top),
            right < width && near(bbox[2], right),
            bottom < height && near(bbox[3], bottom),
        ];
        Piece { detection, cut, seam }
    }

    fn is_cut(&self) -> bool {
        self.cut.contains(&true)
    }
}

/// One list from all tiles, best first: parts of an object that another tile has whole are dropped, parts that meet at a seam become
/// one box, and what several tiles have found is suppressed as ever.
pub(crate) fn merge(pieces: Vec<Piece>, settings: &NmsSettings) -> Vec<Detection> {
    let (cut, whole): (Vec<Piece>, Vec<Piece>) = pieces.into_iter().partition(Piece::is_cut);
    let alike = |a: &Detection, b: &Detection| settings.agnostic || a.class == b.class;
    let is_part = |part: &Detection, of: &Detection| {
        alike(part, of) && intersection(part.bbox, of.bbox) > INSIDE * area(part.bbox)
    };
    let mut parts: Vec<Piece> = cut;
    parts.retain(|part| !whole.iter().any(|piece| is_part(&part.detection, &piece.detection)));
    parts.sort_by(|a, b| b.detection.score.total_cmp(&a.detection.score));
    // Joining may bring two parts together that did not meet before, so it goes on until nothing meets.
    let mut index = 0;
    while index < parts.len() {
        let met = (0..parts.len()).find(|&other| {
            let (a, b) = (&parts[index], &parts[other]);
            other != index && alike(&a.detection, &b.detection) && meet(a, b)
        });
        match met {
            Some(other) => {
                let joined = join(&parts[index], &parts[other]);
                parts.remove(index.max(other));
                parts[index.min(other)] = joined;
                index = 0;
            }
            None => index += 1,
        }
    }
    let mut all: Vec<Detection> = whole.iter().chain(&parts).map(|piece| piece.detection).collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    yolo11_detection::nms::suppress(all, settings)
}

/// Whether two parts are two sides of one object: cut by facing sides, reaching each other, and alike along the seam.
fn meet(a: &Piece, b: &Piece) -> bool {
    let (p, q) = (a.detection.bbox, b.detection.bbox);
    [0, 1].into_iter().any(|axis| {
        let (before, after) = (axis, axis + 2);
        let facing = |first: &Piece, second: &Piece| {
            let (x, y) = (first.detection.bbox, second.detection.bbox);
            first.cut[after]
                && second.cut[before]
                && x[after] + first.seam.max(second.seam) >= y[before]
                && x[before] <= y[after]
        };
        let across = 1 - axis;
        let shared = p[across + 2].min(q[across + 2]) - p[across].max(q[across]);
        let both = p[across + 2].max(q[across + 2]) - p[across].min(q[across]);
        (facing(a, b) || facing(b, a)) && shared > ALIGNED * both
    })
}

fn join(a: &Piece, b: &Piece) -> Piece {
    let (p, q) = (a.detection.bbox, b.detection.bbox);
    let bbox = [p[0].min(q[0]), p[1].min(q[1]), p[2].max(q[2]), p[3].max(q[3])];
    let better = if a.detection.score >= b.detection.score { a } else { b };
    // A side stays cut where the part that reaches furthest is cut there.
    let cut = std::array::from_fn(|side| {
        let further = if side < 2 { p[side] <= q[side] } else { p[side] >= q[side] };
        if further { a.cut[side] } else { b.cut[side] }
    });
    Piece { detection: Detection { bbox, ..better.detection }, cut, seam: a.seam.max(b.seam) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bbox: [f32; 4], score: f32) -> Detection {
        Detection { bbox, score, class: 0 }
    }

    #[test]
    fn tiles_cover_the_picture_and_overlap() {
        let tiling = Tiling { side: 640, overlap: 0.2 };
        assert!(tiling.tiles([640, 500]).is_empty());
        let tiles = tiling.tiles([700, 1500]);
        assert_eq!(tiles.len(), 2 * 3);
        assert_eq!((tiles[0], tiles[5]), ([0, 0, 640, 640], [860, 60, 1500, 700]));
        let lefts: Vec<usize> = tiles[..3].iter().map(|tile| tile[0]).collect();
        assert_eq!(lefts, [0, 430, 860]);
        // A strip that is lower than a tile.
        assert_eq!(tiling.tiles([100, 700]), [[0, 0, 640, 100], [60, 0, 700, 100]]);
    }

    #[test]
    fn parts_of_an_object_become_one_box() {
        let size = [640, 1000];
        let (left, right) = ([0, 0, 600, 640], [480, 0, 1000, 640]);
        let settings = NmsSettings::default();
        // Wider than the overlap: each tile sees one side of it.
        let pieces = vec![
            Piece::new(found([300.0, 100.0, 599.0, 300.0], 0.8), left, size),
            Piece::new(found([481.0, 104.0, 800.0, 305.0], 0.7), right, size),
        ];
        assert_eq!(merge(pieces.clone(), &settings), [found([300.0, 100.0, 800.0, 305.0], 0.8)]);
        // The whole picture has it whole.
        let mut with_whole = pieces;
        with_whole.push(Piece::new(found([298.0, 99.0, 802.0, 304.0], 0.6), [0, 0, 1000, 640], size));
        assert_eq!(merge(with_whole, &settings), [found([298.0, 99.0, 802.0, 304.0], 0.6)]);
    }

    #[test]
    fn what_several_tiles_find_is_kept_once_and_neighbours_stay_apart() {
        let size = [640, 1000];
        let (left, right) = ([0, 0, 600, 640], [480, 0, 1000, 640]);
        let settings = NmsSettings::default();
        let pieces = vec![
            // Whole in both.
            Piece::new(found([500.0, 10.0, 560.0, 80.0], 0.9), left, size),
            Piece::new(found([501.0, 10.0, 561.0, 81.0], 0.8), right, size),
            // Cut by the left tile, whole in the right one.
            Piece::new(found([550.0, 200.0, 600.0, 260.0], 0.7), left, size),
            Piece::new(found([550.0, 200.0, 640.0, 260.0], 0.6), right, size),
            // Two objects that only touch the same seam.
            Piece::new(found([400.0, 400.0, 600.0, 440.0], 0.5), left, size),
            Piece::new(found([480.0, 500.0, 700.0, 560.0], 0.4), right, size),
        ];
        let merged = merge(pieces, &settings);
        let scores: Vec<f32> = merged.iter().map(|detection| detection.score).collect();
        assert_eq!(scores, [0.9, 0.6, 0.5, 0.4]);
    }
}
