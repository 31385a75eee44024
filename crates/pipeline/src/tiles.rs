//! Pictures of a data set as tiles of a sheet.

use std::ops::Range;

use yolo11_dataset::decode::decode_file;
use yolo11_dataset::{Batch, ImageEntry, Split};
use yolo11_detection::geometry::xywh_to_xyxy;
use yolo11_report::mosaic::Tile;
use yolo11_report::{Image, LabelledBox};

/// Some pictures of a batch as the network sees them.
pub(crate) fn batch_tiles(batch: &Batch, split: &Split, positions: Range<usize>) -> Vec<Tile> {
    let [height, width] = batch.size;
    let pictures = batch.images.chunks_exact((height * width * 3).max(1)).take(batch.count).enumerate();
    let pictures = pictures.skip(positions.start).take(positions.len());
    let tiles = pictures.filter_map(|(position, pixels)| {
        let image = Image::from_pixels(width, height, pixels.to_vec()).ok()?;
        let own = batch.targets.iter().filter(|target| target.image == position);
        let boxes = own.map(|target| labelled(target.class, target.bbox, [height, width])).collect();
        let entry = batch.samples.get(position).and_then(|sample| split.images.get(sample.index));
        Some(Tile { image, boxes, caption: entry.map(file_name).unwrap_or_default() })
    });
    tiles.collect()
}

/// A picture with its labels, neither side longer than `limit`, and its scale; None where it cannot be read.
pub(crate) fn picture_tile(entry: &ImageEntry, limit: usize) -> Option<(Tile, f32)> {
    let decoded = decode_file(&entry.path).ok()?;
    let [height, width] = entry.size;
    let image = Image::from_pixels(decoded.width, decoded.height, decoded.pixels).ok()?;
    let scale = (limit as f32 / width.max(height).max(1) as f32).min(1.0);
    let scaled = |side: usize| ((side as f32 * scale).round() as usize).max(1);
    let image = image.resized(scaled(width), scaled(height));
    let size = [image.height, image.width];
    let boxes = entry.labels.iter().map(|label| labelled(label.class, label.bbox, size)).collect();
    Some((Tile { image, boxes, caption: file_name(entry) }, scale))
}

/// A labelled box of shares `[cx, cy, w, h]` in pixels of a picture of this `[height, width]`.
fn labelled(class: usize, bbox: [f32; 4], [height, width]: [usize; 2]) -> LabelledBox {
    let [x1, y1, x2, y2] = xywh_to_xyxy(bbox);
    let (width, height) = (width as f32, height as f32);
    LabelledBox { bbox: [x1 * width, y1 * height, x2 * width, y2 * height], class, score: None }
}

fn file_name(entry: &ImageEntry) -> String {
    entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
