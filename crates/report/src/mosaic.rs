//! The pictures of a batch side by side, with their boxes and file names.

use crate::boxes::{BoxStyle, LabelledBox, draw_boxes_around};
use crate::image::{Image, WHITE};
use crate::text::{self, Align, Style};

/// Most pictures on one sheet.
pub const MOST_TILES: usize = 16;
/// Longest side of a sheet, without the gaps.
const LONGEST: usize = 1920;
/// Pixels between pictures.
const GAP: usize = 6;
/// Side below which small pictures are enlarged by a whole factor, so that names have room.
const SMALL: usize = 320;

/// One picture of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Its pixels.
    pub image: Image,
    /// Boxes in its pixels.
    pub boxes: Vec<LabelledBox>,
    /// File name.
    pub caption: String,
}

/// Pixels of a tile's side on a sheet of `count` pictures: what pictures larger than that are reduced to, so that a caller need not
/// keep them whole.
pub fn tile_limit(count: usize) -> usize {
    LONGEST / columns(count.clamp(1, MOST_TILES))
}

fn columns(count: usize) -> usize {
    (1..).find(|side| side * side >= count).unwrap_or(1)
}

/// A sheet of up to [`MOST_TILES`] pictures, row by row. All are scaled alike: reduced where the sheet would be larger than 1920
/// pixels, enlarged by a whole factor where they are small.
pub fn draw(tiles: &[Tile], names: &[String]) -> Image {
    let tiles = &tiles[..tiles.len().min(MOST_TILES)];
    let count = tiles.len().max(1);
    let (columns, limit) = (columns(count), tile_limit(count));
    let largest = tiles.iter().map(|tile| tile.image.width.max(tile.image.height)).max().unwrap_or(SMALL).max(1);
    let scale = if largest > limit {
        limit as f64 / largest as f64
    } else {
        SMALL.div_ceil(largest).min(limit / largest).max(1) as f64
    };
    let scaled = |side: usize| ((side as f64 * scale).round() as usize).max(1);
    let cell_width = scaled(tiles.iter().map(|tile| tile.image.width).max().unwrap_or(SMALL));
    let cell_height = scaled(tiles.iter().map(|tile| tile.image.height).max().unwrap_or(SMALL));
    let width = columns * cell_width + (columns + 1) * GAP;
    let height = count.div_ceil(columns) * cell_height + (count.div_ceil(columns) + 1) * GAP;
    let mut sheet = Image::new(width, height, WHITE);
    for (index, tile) in tiles.iter().enumerate() {
        let picture = draw_tile(tile, scaled(tile.image.width), scaled(tile.image.height), scale as f32, names);
        let left = GAP + index % columns * (cell_width + GAP) + (cell_width - picture.width) / 2;
        let top = GAP + index / columns * (cell_height + GAP) + (cell_height - picture.height) / 2;
        sheet.paste(&picture, left, top);
    }
    sheet
}

fn draw_tile(tile: &Tile, width: usize, height: usize, scale: f32, names: &[String]) -> Image {
    let mut picture = tile.image.resized(width, height);
    let boxes: Vec<LabelledBox> =
        tile.boxes.iter().map(|one| LabelledBox { bbox: one.bbox.map(|side| side * scale), ..*one }).collect();
    let side = width.max(height) as f32;
    let text = (side * 0.028).clamp(12.0, 20.0);
    let style = BoxStyle { thickness: if side > 500.0 { 3 } else { 2 }, text, omit_crowded: true };
    let caption = Caption::new(&tile.caption, text, &picture);
    draw_boxes_around(&mut picture, &boxes, names, &style, caption.iter().map(|caption| caption.area).collect());
    if let Some(caption) = caption {
        caption.draw(&mut picture);
    }
    picture
}

/// The file name in a dark strip in the lower left corner.
struct Caption {
    text: String,
    style: Style,
    area: [i64; 4],
}

impl Caption {
    fn new(text: &str, size: f32, picture: &Image) -> Option<Self> {
        let style = Style::regular(size, WHITE);
        let (width, height) = (picture.width as f32, picture.height as i64);
        let text = text::fit(&text::shown(text), style, width - 0.8 * size);
        let right = (text::width(&text, style) + 0.8 * size).ceil() as i64;
        let area = [0, height - (size * 1.5).round() as i64, right, height];
        (!text.is_empty()).then_some(Caption { text, style, area })
    }

    fn draw(&self, picture: &mut Image) {
        let (size, middle) = (self.style.size, (self.area[1] + self.area[3]) as f32 / 2.0);
        picture.shade(self.area, [16, 18, 24], 0.72);
        text::draw(picture, &self.text, [0.4 * size, text::baseline(middle, size)], Align::Start, self.style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::class_colour;

    fn tile(width: usize, height: usize) -> Tile {
        let bbox = [width as f32 * 0.25, height as f32 * 0.25, width as f32 * 0.75, height as f32 * 0.75];
        Tile {
            image: Image::new(width, height, [90; 3]),
            boxes: vec![LabelledBox { bbox, class: 0, score: None }],
            caption: "a.jpg".into(),
        }
    }

    #[test]
    fn sheets_have_the_size_of_their_grid() {
        let size = |count: usize, side: usize| {
            let sheet = draw(&vec![tile(side, side); count], &[]);
            (sheet.width, sheet.height)
        };
        assert_eq!(size(1, 640), (652, 652));
        assert_eq!(size(3, 640), (2 * 640 + 18, 2 * 640 + 18));
        // 16 pictures of 640 are reduced to 480, those of 160 enlarged to 320.
        assert_eq!(size(16, 640), (4 * 480 + 30, 4 * 480 + 30));
        assert_eq!(size(40, 640), (4 * 480 + 30, 4 * 480 + 30));
        assert_eq!(size(16, 160), (4 * 320 + 30, 4 * 320 + 30));
        assert_eq!(size(6, 100), (3 * 400 + 24, 2 * 400 + 18));
        assert_eq!(draw(&[], &[]).width, 332);
        assert_eq!((tile_limit(16), tile_limit(4), tile_limit(1), tile_limit(0)), (480, 960, 1920, 1920));
    }

    #[test]
    fn boxes_are_scaled_with_their_picture() {
        let sheet = draw(&vec![tile(160, 160); 16], &["a".into()]);
        // The second picture of the second row, its box from 80 to 240 of 320 pixels.
        let corner = GAP + 320 + GAP;
        assert_eq!(sheet.pixel(corner + 80, corner + 160), class_colour(0));
        assert_eq!(sheet.pixel(corner + 160, corner + 240), class_colour(0));
        assert_eq!(sheet.pixel(corner + 160, corner + 160), [90; 3]);
        assert_eq!(sheet.pixel(corner - 1, corner - 1), WHITE);
        // The caption's strip is in the lower left corner.
        assert!(sheet.pixel(corner + 1, corner + 318)[0] < 50);
        assert_eq!(sheet.pixel(corner + 318, corner + 318), [90; 3]);
    }

    #[test]
    fn pictures_of_different_shapes_share_a_sheet() {
        let sheet = draw(&[tile(640, 480), tile(480, 640), tile(1, 1), tile(640, 20)], &[]);
        assert_eq!((sheet.width, sheet.height), (2 * 640 + 18, 2 * 640 + 18));
    }
}
