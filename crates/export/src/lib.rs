//! A network written for others.
//!
//! [`onnx`] walks the description of a network and writes an ONNX file with the interface that readers of YOLO files know: input
//! `images` `[batch, 3, height, width]` in RGB, 0 to 1; output `output0` in pixels of that input and probabilities. Nothing is
//! traced and no other framework takes part: what is written is what the description says, with batch norm folded away.
//! [`torchscript`] writes the same for `torch.jit.load`.

mod calibration;
mod lower;
mod metadata;
mod ncnn;
mod numbers;
mod onnx;
mod openvino;
mod options;
mod program;
mod protobuf;
mod tflite;
mod torchscript;

pub use calibration::{Calibration, ConvolutionRanges};
pub use ncnn::ncnn;
pub use onnx::{OPSETS, onnx};
pub use openvino::openvino;
pub use options::{ExportOptions, Head, Precision, Suppression};
pub use tflite::tflite;
pub use torchscript::{Entry, torchscript};

/// Why a network cannot be written as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The version of the operators is one this program does not write.
    #[error("opset {given} is not written\nhint: choose one from {} to {}", OPSETS.start(), OPSETS.end())]
    Opset {
        /// What was asked for.
        given: usize,
    },
    /// The input size does not fit the strides.
    #[error("image size {height}×{width} is not a multiple of 32\nhint: use a size such as 320 or 640")]
    Size {
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
    },
    /// A figure that must be at least one is zero.
    #[error("{what} is 0\nhint: it must be at least 1")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// The class names do not fit the network.
    #[error("{names} names for {classes} classes\nhint: give one name for each class")]
    Names {
        /// How many names.
        names: usize,
        /// How many classes.
        classes: usize,
    },
    /// Suppression inside a file of a format that has no operator for it.
    #[error(
        "nms=true: {format} has no operator that a file could suppress with\nhint: export with format=onnx, or suppress where the file is used"
    )]
    NoSuppression {
        /// The format.
        format: &'static str,
    },
    /// Free sizes in a format whose files have one.
    #[error(
        "dynamic=true: a file of {format} has one input size\nhint: choose it with imgsz, or export with format=onnx"
    )]
    NotDynamic {
        /// The format.
        format: &'static str,
    },
    /// Batches in a format that takes one picture at a time.
    #[error("batch: a file of {format} takes one picture at a time\nhint: leave batch out")]
    NoBatch {
        /// The format.
        format: &'static str,
    },
    /// 8 bits in a format that this program writes no 8 bits for.
    #[error("int8=true: not written for format={format}\nhint: use format=onnx, or half=true for a smaller file")]
    NoInt8 {
        /// The format.
        format: &'static str,
    },
    /// The file would be larger than its format allows.
    #[error("the file would take {bytes} bytes, and a protobuf message holds 2 GiB at most")]
    TooLarge {
        /// What it would take.
        bytes: usize,
    },
}
