//! Finds objects.

use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;
use yolo11_dataset::Picture;
use yolo11_inference::Predictor;

use crate::{DetectorBuilder, Error, Image};

/// Finds objects in pictures. It may be sent to another thread; several threads have one each, or share one behind a lock.
pub struct Detector {
    predictor: Predictor,
    pool: Option<ThreadPool>,
    names: Vec<Arc<str>>,
}

/// One object on a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Where it is.
    pub bbox: BoundingBox,
    /// How likely it is, 0 to 1.
    pub score: f32,
    /// Which class, from 0.
    pub class: usize,
    /// That class's name.
    pub name: Arc<str>,
}

/// A rectangle in pixels of the picture, which it does not leave. `x` counts from the left, `y` from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// Left side.
    pub x1: f32,
    /// Top side.
    pub y1: f32,
    /// Right side.
    pub x2: f32,
    /// Bottom side.
    pub y2: f32,
}

impl BoundingBox {
    /// Pixels across.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Pixels down.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Its middle, `(x, y)`.
    pub fn centre(&self) -> (f32, f32) {
        ((self.x1 + self.x2) / 2.0, (self.y1 + self.y2) / 2.0)
    }
}

impl Detector {
    /// Reads a `.pt`, `.safetensors` or `.onnx` file and takes the defaults; [`Detector::builder`] takes others.
    ///
    /// # Errors
    /// The file cannot be read or is no detector.
    pub fn load(path: impl AsRef<Path>) -> Result<Detector, Error> {
        Detector::builder().load(path)
    }

    /// To say how a detector is to be.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder::default()
    }

    pub(crate) fn new(predictor: Predictor, pool: Option<ThreadPool>) -> Detector {
        let names = predictor.model().names.iter().map(|name| Arc::from(name.as_str())).collect();
        Detector { predictor, pool, names }
    }

    /// Names of the classes, by number.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// What runs the model, for people: `native (avx512)`.
    pub fn backend(&self) -> &str {
        self.predictor.backend_name()
    }

    /// Long side of the network's input in pixels.
    pub fn size(&self) -> usize {
        self.predictor.options().size
    }

    /// What is on a picture, best first.
    ///
    /// # Errors
    /// The model cannot be run.
    pub fn detect(&mut self, image: &Image) -> Result<Vec<Detection>, Error> {
        let mut found = self.detect_batch(std::slice::from_ref(image))?;
        Ok(found.pop().unwrap_or_default())
    }

    /// What is on each of several pictures, in their order.
    ///
    /// # Errors
    /// The model cannot be run.
    pub fn detect_batch(&mut self, images: &[Image]) -> Result<Vec<Vec<Detection>>, Error> {
        let pictures: Vec<&Picture> = images.iter().map(|image| &image.0).collect();
        let predictor = &mut self.predictor;
        let found = match &self.pool {
            Some(pool) => pool.install(|| predictor.predict(&pictures))?,
            None => predictor.predict(&pictures)?,
        };
        let name = |class: usize| self.names.get(class).cloned().unwrap_or_else(|| format!("class {class}").into());
        let detection = |found: yolo11_detection::Detection| {
            let [x1, y1, x2, y2] = found.bbox;
            Detection {
                bbox: BoundingBox { x1, y1, x2, y2 },
                score: found.score,
                class: found.class,
                name: name(found.class),
            }
        };
        Ok(found.into_iter().map(|found| found.detections.into_iter().map(detection).collect()).collect())
    }
}
