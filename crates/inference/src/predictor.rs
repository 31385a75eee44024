//! From pictures to objects in their own pixels.

use std::time::Instant;

use rayon::prelude::*;
use yolo11_dataset::{Letterbox, Picture, letterbox};
use yolo11_detection::{Detection, NmsSettings};

use crate::tiles::{Piece, Rectangle, Tiling, merge};
use crate::{Backend, Error, ModelInfo};

/// How objects are looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictOptions {
    /// What suppression keeps.
    pub nms: NmsSettings,
    /// Long side of the network's input in pixels.
    pub size: usize,
    /// Pictures that are run together.
    pub batch: usize,
    /// Cuts pictures that are larger than a tile.
    pub tiling: Option<Tiling>,
}

/// Milliseconds that a picture took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Milliseconds {
    /// Scaling to the network's input.
    pub preprocess: f64,
    /// The network.
    pub inference: f64,
    /// Decoding of boxes and suppression.
    pub postprocess: f64,
}

/// What was found on a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Best first; boxes `[x1, y1, x2, y2]` in the picture's pixels.
    pub detections: Vec<Detection>,
    /// How long it took: a picture's share of what was run together.
    pub milliseconds: Milliseconds,
}

/// Looks at pictures with a model.
pub struct Predictor {
    backend: Box<dyn Backend>,
    options: PredictOptions,
}

/// A picture, or a tile of one, in the network's input.
struct View {
    picture: usize,
    rectangle: Rectangle,
    shape: [usize; 2],
    pixels: Vec<u8>,
    place: Letterbox,
}

impl Predictor {
    /// Looks with this model.
    pub fn new(backend: Box<dyn Backend>, options: PredictOptions) -> Self {
        Predictor { backend, options }
    }

    /// The model.
    pub fn model(&self) -> &ModelInfo {
        self.backend.model()
    }

    /// What runs it.
    pub fn backend_name(&self) -> &str {
        self.backend.name()
    }

    /// How it looks.
    pub fn options(&self) -> &PredictOptions {
        &self.options
    }

    /// Looks at pictures: those whose inputs have one shape are run together, as many at a time as the options say.
    ///
    /// # Errors
    /// The model cannot be run.
    pub fn predict(&mut self, pictures: &[&Picture]) -> Result<Vec<Found>, Error> {
        let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let (options, model) = (&self.options, self.backend.model());
        let cuts: Vec<(usize, Rectangle)> = (pictures.iter().enumerate())
            .flat_map(|(index, picture)| {
                let tiles = options.tiling.map(|tiling| tiling.tiles(picture.size())).unwrap_or_default();
                // The whole picture comes with its tiles: what is larger than a tile is seen there.
                std::iter::once([0, 0, picture.width, picture.height]).chain(tiles).map(move |tile| (index, tile))
            })
            .collect();
        let views: Vec<View> =
            cuts.into_par_iter().map(|(index, tile)| view(pictures[index], index, tile, options.size, model)).collect();
        let mut views = views;
        views.sort_by_key(|view| view.shape);
        let preprocess = milliseconds(begun);

        let (mut inference, mut postprocess) = (0.0, 0.0);
        let mut pieces: Vec<Vec<Piece>> = pictures.iter().map(|_| Vec::new()).collect();
        let mut input = Vec::new();
        for alike in views.chunk_by(|a, b| a.shape == b.shape) {
            for together in alike.chunks(self.options.batch.max(1)) {
                let begun = Instant::now();
                input.clear();
                together.iter().for_each(|view| input.extend_from_slice(&view.pixels));
                let predictions = self.backend.run(&input, together[0].shape)?;
                inference += milliseconds(begun);

                let begun = Instant::now();
                for (image, view) in together.iter().enumerate() {
                    let found = predictions.detect(image, &self.options.nms);
                    pieces[view.picture].extend(found.into_iter().map(|detection| view.piece(detection, pictures)));
                }
                postprocess += milliseconds(begun);
            }
        }
        let begun = Instant::now();
        let found: Vec<Vec<Detection>> = (pieces.into_iter().zip(pictures))
            .map(|(pieces, picture)| match self.options.tiling {
                Some(tiling) if !tiling.tiles(picture.size()).is_empty() => merge(pieces, &self.options.nms),
                _ => pieces.into_iter().map(|piece| piece.detection).collect(),
            })
            .collect();
        postprocess += milliseconds(begun);
        let share = 1.0 / pictures.len().max(1) as f64;
        let milliseconds = Milliseconds {
            preprocess: preprocess * share,
            inference: inference * share,
            postprocess: postprocess * share,
        };
        Ok(found.into_iter().map(|detections| Found { detections, milliseconds }).collect())
    }
}

impl View {
    /// A detection of this view in pixels of its picture.
    fn piece(&self, mut detection: Detection, pictures: &[&Picture]) -> Piece {
        let [left, top, ..] = self.rectangle.map(|side| side as f32);
        let [x1, y1, x2, y2] = self.place.to_original(detection.bbox);
        detection.bbox = [x1 + left, y1 + top, x2 + left, y2 + top];
        Piece::new(detection, self.rectangle, pictures[self.picture].size())
    }
}

/// A rectangle of a picture in the network's input.
fn view(picture: &Picture, index: usize, rectangle: Rectangle, size: usize, model: &ModelInfo) -> View {
    let [left, top, right, bottom] = rectangle;
    let whole = [bottom - top, right - left] == picture.size();
    let part = (!whole).then(|| {
        let rows = (top..bottom).flat_map(|row| {
            picture.pixels[(row * picture.width + left) * 3..(row * picture.width + right) * 3].iter().copied()
        });
        Picture { height: bottom - top, width: right - left, pixels: rows.collect() }
    });
    let picture = part.as_ref().unwrap_or(picture);
    let shape = input_shape(picture.size(), size, model);
    let (pixels, place) = letterbox(picture, shape, true);
    View { picture: index, rectangle, shape, pixels, place }
}

/// The smallest input in multiples of the stride that holds the picture with its long side at `size`; the model's own where it
/// takes no other.
fn input_shape(original: [usize; 2], size: usize, model: &ModelInfo) -> [usize; 2] {
    let fitting = |side: usize| side.div_ceil(model.stride).max(1) * model.stride;
    model.fixed_size.unwrap_or_else(|| Letterbox::new(original, [size; 2], true).scaled.map(fitting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_the_smallest_that_hold_the_picture() {
        let mut model = ModelInfo::native("a.pt".into(), Vec::new());
        assert_eq!(input_shape([1080, 810], 640, &model), [640, 480]);
        assert_eq!(input_shape([720, 1280], 640, &model), [384, 640]);
        assert_eq!(input_shape([1, 5000], 640, &model), [32, 640]);
        model.fixed_size = Some([640, 320]);
        assert_eq!(input_shape([720, 1280], 640, &model), [640, 320]);
    }
}
