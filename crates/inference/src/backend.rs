//! What runs a model, whatever file it came in.

use std::path::PathBuf;

use yolo11_detection::nms::{detect_decoded, suppress};
use yolo11_detection::{Detection, Heads, NmsSettings, detect};

use crate::Error;

/// Runs a model on pictures. Who uses it knows no file format.
pub trait Backend: Send {
    /// What the model is.
    fn model(&self) -> &ModelInfo;

    /// What runs it, for people: `native (avx512)`, `onnxruntime 1.32.0 (CPU)`, `rust`.
    fn name(&self) -> &str;

    /// Bytes of memory it has planned, where it plans.
    fn memory_bytes(&self) -> Option<usize> {
        None
    }

    /// What the last run took, where the model runs in a process of its own.
    fn last_run(&self) -> Option<LastRun> {
        None
    }

    /// Predictions for pictures `[image, height, width, 3]` of RGB bytes; `size` is `[height, width]`, multiples of the model's
    /// stride. Any number of pictures is taken; a model of a fixed batch is run as often as they need.
    ///
    /// # Errors
    /// The model takes another size ([`ModelInfo::fixed_size`]), or the runtime fails.
    fn run(&mut self, pictures: &[u8], size: [usize; 2]) -> Result<Predictions<'_>, Error>;
}

/// What a run took in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastRun {
    /// Seconds, without what bringing pictures there takes.
    pub seconds: f64,
    /// Most bytes of memory that the process has used so far, where the system tells.
    pub peak_memory: Option<u64>,
}

/// What a model is, as far as those who use it must know.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The file it came from.
    pub path: PathBuf,
    /// Names of the classes.
    pub names: Vec<String>,
    /// Sides of the input are multiples of this.
    pub stride: usize,
    /// `[height, width]` it was trained or exported with, where the file says.
    pub image_size: Option<[usize; 2]>,
    /// The only `[height, width]` it takes, where it is fixed.
    pub fixed_size: Option<[usize; 2]>,
    /// The only number of pictures it runs at a time, where it is fixed.
    pub fixed_batch: Option<usize>,
}

/// What a model says about a batch, borrowed from what ran it.
#[derive(Clone, Copy, Debug)]
pub enum Predictions<'a> {
    /// The head's logits: what a loss can be computed from.
    Logits(Heads<'a>),
    /// Boxes in pixels and probabilities of all anchors.
    Decoded {
        /// Centre and size `cx cy w h` in pixels of the input, `[image, anchor]`.
        boxes: &'a [[f32; 4]],
        /// Probabilities `[image, anchor, class]`.
        scores: &'a [f32],
        /// Pictures.
        images: usize,
    },
    /// Detections of each picture: suppression has taken place inside the file, by the file's own settings.
    Suppressed(&'a [Vec<Detection>]),
}

impl Predictions<'_> {
    /// Pictures in the batch.
    pub fn images(&self) -> usize {
        match self {
            Predictions::Logits(heads) => heads.images,
            Predictions::Decoded { images, .. } => *images,
            Predictions::Suppressed(found) => found.len(),
        }
    }

    /// Detections of one picture in pixels of the input, best first. What the file has suppressed does not come back.
    ///
    /// # Panics
    /// Where `image` is beyond the batch.
    pub fn detect(&self, image: usize, settings: &NmsSettings) -> Vec<Detection> {
        match self {
            Predictions::Logits(heads) => detect(heads, image, settings),
            Predictions::Decoded { boxes, scores, images } => {
                let (anchors, values) = (boxes.len() / images, scores.len() / images);
                let boxes = &boxes[image * anchors..][..anchors];
                detect_decoded(boxes, &scores[image * values..][..values], values / anchors.max(1), settings)
            }
            Predictions::Suppressed(found) => {
                let wanted = |detection: &&Detection| {
                    detection.score > settings.confidence
                        && settings.classes.as_ref().is_none_or(|classes| classes.contains(&detection.class))
                };
                suppress(found[image].iter().filter(wanted).copied(), settings)
            }
        }
    }
}
