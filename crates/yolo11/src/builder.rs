//! How a detector is to be.

use std::path::{Path, PathBuf};

use yolo11_detection::NmsSettings;
use yolo11_inference::{BackendKind, OpenOptions, PredictOptions, Predictor, Tiling};

use crate::{Detector, Error};

/// Side of the network's input where neither the file nor the builder says.
const SIZE: usize = 640;

/// What runs the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Checkpoints by this crate's engine, ONNX files by ONNX Runtime where it is installed and by a reader in Rust elsewhere.
    #[default]
    Auto,
    /// This crate's engine: `.pt` and `.safetensors` files.
    Native,
    /// ONNX Runtime, loaded when the detector is made: `.onnx` files.
    OnnxRuntime,
    /// A reader in pure Rust: `.onnx` files.
    Rust,
}

/// Says how a [`Detector`] is to be, then [loads](DetectorBuilder::load) it.
///
/// ```no_run
/// let detector = yolo11::Detector::builder().confidence(0.4).classes([0, 2]).load("best.onnx")?;
/// # Ok::<(), yolo11::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it loads"]
pub struct DetectorBuilder {
    nms: NmsSettings,
    size: Option<usize>,
    tiling: Option<Tiling>,
    threads: Option<usize>,
    open: OpenOptions,
}

impl DetectorBuilder {
    /// Keeps only what is at least this likely, 0 to 1. Default 0.25.
    pub fn confidence(mut self, confidence: f32) -> Self {
        self.nms.confidence = confidence;
        self
    }

    /// Drops a box that overlaps a better one of its class by more than this share of both, 0 to 1. Default 0.7.
    pub fn iou(mut self, iou: f32) -> Self {
        self.nms.iou = iou;
        self
    }

    /// Keeps only these classes, by number. Default: all.
    pub fn classes(mut self, classes: impl IntoIterator<Item = usize>) -> Self {
        self.nms.classes = Some(classes.into_iter().collect());
        self
    }

    /// Lets boxes of different classes suppress each other. Default: not.
    pub fn class_agnostic(mut self, agnostic: bool) -> Self {
        self.nms.agnostic = agnostic;
        self
    }

    /// Objects on a picture at most. Default 300.
    pub fn max_detections(mut self, most: usize) -> Self {
        self.nms.max_detections = most;
        self
    }

    /// Long side of the network's input in pixels, a multiple of 32. Default: what the model was trained or exported with.
    pub fn size(mut self, size: usize) -> Self {
        self.size = Some(size);
        self
    }

    /// Cuts pictures larger than `side` pixels into tiles of that side that share `overlap` (0 to 0.9) with their neighbours, so that
    /// small objects on large pictures are found. Default: whole pictures.
    pub fn tiles(mut self, side: usize, overlap: f32) -> Self {
        self.tiling = Some(Tiling { side, overlap });
        self
    }

    /// Pictures that [`Detector::detect_batch`] runs together. Default 1.
    pub fn batch(mut self, pictures: usize) -> Self {
        self.open.batch = pictures.max(1);
        self
    }

    /// Threads that compute. Default: those of rayon's global pool, a thread a core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// What runs the model. Default: what suits the file.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.open.backend = match backend {
            Backend::Auto => BackendKind::Auto,
            Backend::Native => BackendKind::Native,
            Backend::OnnxRuntime => BackendKind::OnnxRuntime,
            Backend::Rust => BackendKind::Rust,
        };
        self
    }

    /// ONNX Runtime's library, a folder with it, or a Python environment. Default: `ORT_DYLIB_PATH`, else it is looked for.
    pub fn onnxruntime(mut self, library: impl Into<PathBuf>) -> Self {
        self.open.library = Some(library.into());
        self
    }

    /// Execution providers of ONNX Runtime in the order in which they are tried, such as `cuda`. Default: the CPU.
    pub fn providers(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.open.providers = names.into_iter().map(Into::into).collect();
        self
    }

    /// Reads a `.pt`, `.safetensors` or `.onnx` file.
    ///
    /// # Errors
    /// The file cannot be read or is no detector, or what was asked for does not go with it or is not installed.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Detector, Error> {
        let DetectorBuilder { nms, size, tiling, threads, mut open } = self;
        let pool = threads
            .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build())
            .transpose()
            .map_err(|error| Error::Options(format!("the threads could not be started: {error}")))?;
        if let Some(threads) = threads {
            open.threads = threads.max(1);
        }
        let backend = yolo11_inference::open(path.as_ref(), &open)?;
        let model = backend.model();
        let given = model.image_size.map(|[height, width]| height.max(width));
        let size = size.or(given).unwrap_or(SIZE);
        if size == 0 || !size.is_multiple_of(model.stride) {
            let (stride, next) = (model.stride, size.max(1).next_multiple_of(model.stride));
            return Err(Error::Options(format!(
                "size {size} is not a multiple of {stride}\nhint: the next one is {next}"
            )));
        }
        let classes = nms.classes.iter().flatten();
        if let Some(class) = classes.copied().find(|class| *class >= model.names.len() && !model.names.is_empty()) {
            return Err(Error::Options(format!("there is no class {class}: the model has {}", model.names.len())));
        }
        let options = PredictOptions { nms, size, batch: open.batch, tiling };
        Ok(Detector::new(Predictor::new(backend, options), pool))
    }
}
