//! ONNX files, whoever wrote them and whatever runs them: pictures to the input's form, outputs to predictions.

pub(crate) mod file;
mod literal;
pub(crate) mod wire;

use std::path::Path;

use yolo11_detection::{Detection, Heads};

use crate::{Backend, Error, LastRun, ModelInfo, Predictions};
use file::Description;

/// Bins of a box's side in the raw head.
const BINS: usize = 16;
/// Strides of the three levels.
const STRIDES: [usize; 3] = [8, 16, 32];

/// An output: its shape and its values as float32.
pub(crate) type Output = (Vec<usize>, Vec<f32>);

/// Runs a graph.
pub(crate) trait Runtime: Send {
    /// For messages.
    const NAME: &'static str;

    /// All outputs in the file's order for an input `[batch, 3, height, width]`.
    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, String>;

    /// What that took, where it runs in a process of its own.
    fn last_run(&self) -> Option<LastRun> {
        None
    }
}

/// A model in an ONNX file.
pub(crate) struct Onnx<R> {
    runtime: R,
    info: ModelInfo,
    name: String,
    input: Vec<f32>,
    predicted: Predicted,
}

/// The last batch's predictions.
enum Predicted {
    Logits { boxes: Vec<f32>, scores: Vec<f32>, classes: usize },
    Decoded { boxes: Vec<[f32; 4]>, scores: Vec<f32> },
    Suppressed(Vec<Vec<Detection>>),
}

impl ModelInfo {
    /// Of an ONNX file.
    pub(crate) fn onnx(path: &Path, description: &Description) -> Result<ModelInfo, Error> {
        if let Some(task) = &description.other_task {
            let reason = format!("it is for the task `{task}`, and only detection is run here");
            return Err(Error::Malformed { path: path.to_owned(), reason });
        }
        let [batch, _, height, width] = description.shape;
        let stride = description.stride.unwrap_or(STRIDES[2]).max(STRIDES[2]);
        let fixed_size = height.zip(width).map(|(height, width)| [height, width]);
        if let Some([height, width]) =
            fixed_size.filter(|size| size.iter().any(|side| !side.is_multiple_of(STRIDES[2])))
        {
            let reason = format!("its input is {height}×{width}, not a multiple of {}", STRIDES[2]);
            return Err(Error::Malformed { path: path.to_owned(), reason });
        }
        Ok(ModelInfo {
            path: path.to_owned(),
            names: description.names.clone().unwrap_or_default(),
            stride,
            image_size: fixed_size.or(description.size),
            fixed_size,
            fixed_batch: batch,
        })
    }
}

impl<R: Runtime> Onnx<R> {
    /// A runtime that has opened the file. It is run once on grey pictures, so that what it cannot do is known at once.
    pub(crate) fn new(runtime: R, info: ModelInfo, name: String) -> Result<Self, Error> {
        let predicted = Predicted::Suppressed(Vec::new());
        let mut onnx = Onnx { runtime, info, name, input: Vec::new(), predicted };
        let size = onnx.info.fixed_size.unwrap_or([2 * onnx.info.stride; 2]);
        let classes = onnx.probe(size)?;
        if onnx.info.names.is_empty() {
            onnx.info.names = (0..classes).map(|class| format!("class {class}")).collect();
        }
        Ok(onnx)
    }

    /// The number of classes, as far as the outputs tell.
    fn probe(&mut self, size: [usize; 2]) -> Result<usize, Error> {
        let anchors = anchors(size);
        self.run(&vec![114; size[0] * size[1] * 3], size)?;
        Ok(match &self.predicted {
            Predicted::Logits { classes, .. } => *classes,
            Predicted::Decoded { scores, .. } => scores.len() / anchors,
            Predicted::Suppressed(_) => 0,
        })
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Run { path: self.info.path.clone(), backend: R::NAME, reason: reason.into() }
    }

    /// Runs `count` pictures, with empty ones behind them where the batch is fixed, and adds what is predicted.
    fn run_some(&mut self, pictures: &[u8], count: usize, [height, width]: [usize; 2]) -> Result<(), Error> {
        let batch = self.info.fixed_batch.unwrap_or(count);
        let area = height * width;
        self.input.clear();
        self.input.resize(batch * 3 * area, 0.0);
        for (planes, picture) in self.input.chunks_exact_mut(3 * area).zip(pictures.chunks_exact(3 * area)) {
            for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
                for (value, pixel) in plane.iter_mut().zip(picture.as_chunks::<3>().0) {
                    *value = f32::from(pixel[channel]) * (1.0 / 255.0);
                }
            }
        }
        let outputs = self.runtime.run(&self.input, [batch, 3, height, width]);
        let outputs = outputs.map_err(|reason| self.failed(reason))?;
        self.take(&outputs, count, batch, [height, width])
    }

    /// Adds the outputs of `count` pictures of a batch to what is predicted.
    fn take(&mut self, outputs: &[Output], count: usize, batch: usize, size: [usize; 2]) -> Result<(), Error> {
        let known = (!self.info.names.is_empty()).then_some(self.info.names.len());
        if let Some((classes, levels)) = raw_levels(outputs, batch, size, known) {
            self.take_raw(levels, count, classes, anchors(size));
            return Ok(());
        }
        let Some((shape, values)) = outputs.first() else { return Err(self.failed("it has no output")) };
        match shape[..] {
            [images, channels, rows]
                if images == batch
                    && rows == anchors(size)
                    && channels > 4
                    && known.is_none_or(|classes| channels == 4 + classes) =>
            {
                self.take_decoded(values, count, channels, rows);
                Ok(())
            }
            [images, rows, 6] if images == batch => {
                self.take_suppressed(values, count, rows);
                Ok(())
            }
            _ => {
                let classes = known.map_or("classes".to_owned(), |classes| classes.to_string());
                let reason = format!(
                    "its output is {shape:?}, where a detector has [{batch}, 4 + {classes}, {}] or [{batch}, detections, 6]",
                    anchors(size)
                );
                Err(Error::Malformed { path: self.info.path.clone(), reason })
            }
        }
    }

    /// Logits `[image, 64 + class, row, column]` of each level, to `[image, anchor, …]`.
    fn take_raw(&mut self, levels: [&Output; 3], count: usize, classes: usize, anchors: usize) {
        let channels = 4 * BINS + classes;
        let (mut boxes, mut scores) = match std::mem::replace(&mut self.predicted, Predicted::Suppressed(Vec::new())) {
            Predicted::Logits { boxes, scores, .. } => (boxes, scores),
            _ => (Vec::new(), Vec::new()),
        };
        let (first_box, first_score) = (boxes.len(), scores.len());
        boxes.resize(first_box + count * anchors * 4 * BINS, 0.0);
        scores.resize(first_score + count * anchors * classes, 0.0);
        for image in 0..count {
            let mut first = image * anchors;
            for (shape, values) in levels {
                let cells = shape[2] * shape[3];
                let values = &values[image * channels * cells..][..channels * cells];
                let (sides, probabilities) = values.split_at(4 * BINS * cells);
                transpose(sides, cells, &mut boxes[first_box + first * 4 * BINS..]);
                transpose(probabilities, cells, &mut scores[first_score + first * classes..]);
                first += cells;
            }
        }
        self.predicted = Predicted::Logits { boxes, scores, classes };
    }

    /// `[image, 4 + class, anchor]` to boxes and `[image, anchor, class]`.
    fn take_decoded(&mut self, values: &[f32], count: usize, channels: usize, anchors: usize) {
        let (mut boxes, mut scores) = match std::mem::replace(&mut self.predicted, Predicted::Suppressed(Vec::new())) {
            Predicted::Decoded { boxes, scores } => (boxes, scores),
            _ => (Vec::new(), Vec::new()),
        };
        let first_score = scores.len();
        scores.resize(first_score + count * anchors * (channels - 4), 0.0);
        for image in 0..count {
            let (sides, probabilities) =
                values[image * channels * anchors..][..channels * anchors].split_at(4 * anchors);
            boxes.extend((0..anchors).map(|anchor| [0, 1, 2, 3].map(|side| sides[side * anchors + anchor])));
            transpose(probabilities, anchors, &mut scores[first_score + image * anchors * (channels - 4)..]);
        }
        self.predicted = Predicted::Decoded { boxes, scores };
    }

    /// Rows `x1 y1 x2 y2 score class`, best first, with zeros at the end.
    fn take_suppressed(&mut self, values: &[f32], count: usize, rows: usize) {
        if !matches!(self.predicted, Predicted::Suppressed(_)) {
            self.predicted = Predicted::Suppressed(Vec::new());
        }
        let Predicted::Suppressed(found) = &mut self.predicted else { return };
        for image in 0..count {
            let rows = values[image * rows * 6..][..rows * 6].as_chunks::<6>().0;
            let mut detections: Vec<Detection> = (rows.iter())
                .filter(|row| row[4] > 0.0 && row[5] >= 0.0)
                .map(|&[x1, y1, x2, y2, score, class]| Detection {
                    bbox: [x1, y1, x2, y2],
                    score,
                    class: class as usize,
                })
                .collect();
            detections.sort_by(|a, b| b.score.total_cmp(&a.score));
            found.push(detections);
        }
    }
}

/// The three levels of a raw head in the order of their strides, and the number of classes.
fn raw_levels(
    outputs: &[Output],
    batch: usize,
    size: [usize; 2],
    known: Option<usize>,
) -> Option<(usize, [&Output; 3])> {
    let mut levels = [None; 3];
    for output in outputs {
        let [images, channels, rows, columns] = output.0[..] else { continue };
        let level = STRIDES.iter().position(|stride| size.map(|side| side / stride) == [rows, columns])?;
        let classes = channels.checked_sub(4 * BINS).filter(|classes| *classes > 0)?;
        if images != batch || known.is_some_and(|known| known != classes) {
            return None;
        }
        levels[level] = Some((classes, output));
    }
    let [Some((classes, a)), Some((_, b)), Some((_, c))] = levels else { return None };
    Some((classes, [a, b, c]))
}

/// Anchors of all levels.
fn anchors(size: [usize; 2]) -> usize {
    STRIDES.iter().map(|stride| (size[0] / stride) * (size[1] / stride)).sum()
}

/// `[channel, cell]` to `[cell, channel]`, in blocks that stay in the cache.
fn transpose(from: &[f32], cells: usize, to: &mut [f32]) {
    let channels = from.len() / cells.max(1);
    for first in (0..cells).step_by(64) {
        for channel in 0..channels {
            let row = &from[channel * cells..][..cells];
            for (cell, value) in row.iter().enumerate().skip(first).take(64) {
                to[cell * channels + channel] = *value;
            }
        }
    }
}

impl<R: Runtime> Backend for Onnx<R> {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn last_run(&self) -> Option<LastRun> {
        self.runtime.last_run()
    }

    fn run(&mut self, pictures: &[u8], size: [usize; 2]) -> Result<Predictions<'_>, Error> {
        let refused = |reason| Err(Error::Input { path: self.info.path.clone(), reason });
        let [height, width] = size;
        if let Some([rows, columns]) = self.info.fixed_size.filter(|fixed| *fixed != size) {
            return refused(format!(
                "it takes pictures of {rows}×{columns} only, and not {height}×{width}\nhint: leave imgsz out, or export with dynamic=true"
            ));
        }
        let picture = height * width * 3;
        if picture == 0 || [height, width].iter().any(|side| !side.is_multiple_of(STRIDES[2])) {
            return refused(format!(
                "{height}×{width} is not a multiple of {}\nhint: use a size such as 640",
                STRIDES[2]
            ));
        }
        if pictures.is_empty() || !pictures.len().is_multiple_of(picture) {
            return refused(format!("{} bytes are not whole pictures of {height}×{width}", pictures.len()));
        }
        let images = pictures.len() / picture;
        match &mut self.predicted {
            Predicted::Logits { boxes, scores, .. } => (boxes.clear(), scores.clear()),
            Predicted::Decoded { boxes, scores } => (boxes.clear(), scores.clear()),
            Predicted::Suppressed(found) => (found.clear(), ()),
        };
        let most = self.info.fixed_batch.unwrap_or(images);
        for some in pictures.chunks(most * picture) {
            self.run_some(some, some.len() / picture, size)?;
        }
        Ok(match &self.predicted {
            Predicted::Logits { boxes, scores, classes } => {
                Predictions::Logits(Heads { boxes, scores, images, classes: *classes, size })
            }
            Predicted::Decoded { boxes, scores } => Predictions::Decoded { boxes, scores, images },
            Predicted::Suppressed(found) => Predictions::Suppressed(found),
        })
    }
}
