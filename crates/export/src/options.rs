//! What a file is to be like.

use yolo11_network::Model;

use crate::{Calibration, Error};

/// What a file is to be like.
#[derive(Clone, Debug)]
pub struct ExportOptions<'a> {
    /// One name for each class.
    pub names: &'a [String],
    /// `[height, width]` of the input, multiples of 32; with `dynamic` only a suggestion, noted in the metadata.
    pub size: [usize; 2],
    /// Images in a batch; with `dynamic` only a suggestion.
    pub batch: usize,
    /// Whether any batch and any size in multiples of 32 can be fed.
    pub dynamic: bool,
    /// Version of ONNX's operators, one of [`OPSETS`](crate::OPSETS).
    pub opset: usize,
    /// How weights are stored and the network's layers computed.
    pub precision: Precision<'a>,
    /// What comes out.
    pub head: Head,
}

/// The numbers of weights and layers. Input and outputs are float32 either way, and so is the decoding of boxes: half precision
/// has steps of 0.5 pixels at 640.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision<'a> {
    /// float32
    Float32,
    /// float16
    Float16,
    /// Convolutions in 8 bits, weights symmetric and channel by channel, what they read and sum by their calibrated ranges; the rest
    /// in float32.
    Int8(&'a Calibration),
}

impl<'a> Precision<'a> {
    pub(crate) fn calibration(self) -> Option<&'a Calibration> {
        match self {
            Precision::Int8(calibration) => Some(calibration),
            _ => None,
        }
    }
}

/// What comes out of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// `output0`, `output1`, `output2`, a level of the head each: `[batch, 64 + classes, rows, columns]`, logits.
    Raw,
    /// `output0` `[batch, 4 + classes, anchors]`: centre x, centre y, width, height in pixels of the input, then a probability
    /// for each class.
    Decoded,
    /// `output0` `[batch, detections, 6]`: x1, y1, x2, y2 in pixels of the input, score, class; best first, zeros at the end.
    Suppressed(Suppression),
}

/// How overlapping boxes are suppressed inside the file: the best class of each anchor is a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suppression {
    /// Keeps only scores above this.
    pub confidence: f32,
    /// Drops a box that overlaps a better one of its class by more than this IoU.
    pub iou: f32,
    /// Lets boxes of different classes suppress each other.
    pub agnostic: bool,
    /// Rows of the output.
    pub max_detections: usize,
}

/// Checks what every format asks of the options.
pub(crate) fn check(model: &Model, options: &ExportOptions) -> Result<(), Error> {
    let [height, width] = options.size;
    if [height, width].iter().any(|side| *side == 0 || !side.is_multiple_of(32)) {
        return Err(Error::Size { height, width });
    }
    if options.batch == 0 {
        return Err(Error::Zero { what: "batch" });
    }
    if matches!(options.head, Head::Suppressed(Suppression { max_detections: 0, .. })) {
        return Err(Error::Zero { what: "max_det" });
    }
    let (names, classes) = (options.names.len(), model.network().classes);
    if names != classes {
        return Err(Error::Names { names, classes });
    }
    Ok(())
}
