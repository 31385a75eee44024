//! ONNX, opset 13 to 21.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/IR.md> and the operators' pages beside it.

mod graph;
mod head;
mod layers;

use std::ops::RangeInclusive;

use yolo11_network::Model;

use crate::Error;
use crate::metadata::metadata;
use crate::protobuf::Message;
use graph::{Dimension, Element, Graph};

/// The operator versions that can be written.
pub const OPSETS: RangeInclusive<usize> = 13..=21;

/// What a file is to be like.
#[derive(Clone, Debug)]
pub struct OnnxOptions<'a> {
    /// One name for each class.
    pub names: &'a [String],
    /// `[height, width]` of the input, multiples of 32; with `dynamic` only a suggestion, noted in the metadata.
    pub size: [usize; 2],
    /// Images in a batch; with `dynamic` only a suggestion.
    pub batch: usize,
    /// Whether any batch and any size in multiples of 32 can be fed.
    pub dynamic: bool,
    /// Version of the operators, one of [`OPSETS`].
    pub opset: usize,
    /// How weights are stored and the network's layers computed.
    pub precision: Precision,
    /// What comes out.
    pub head: Head,
}

/// The numbers of weights and layers. Input and outputs are float32 either way, and so is the decoding of boxes: half precision
/// has steps of 0.5 pixels at 640.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// float32
    Float32,
    /// float16
    Float16,
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

/// Writes a model as the bytes of an ONNX file. The same model and options make the same bytes.
///
/// # Errors
/// The options do not fit the model or the format.
pub fn onnx(model: &Model, options: &OnnxOptions) -> Result<Vec<u8>, Error> {
    check(model, options)?;
    let element = match options.precision {
        Precision::Float32 => Element::Float32,
        Precision::Float16 => Element::Float16,
    };
    let mut graph = Graph::new(element);
    let values = layers::write(&mut graph, model, options);
    head::write(&mut graph, model.network(), options, &values);
    let [height, width] = options.size;
    let dimension = |name, size| if options.dynamic { Dimension::Any(name) } else { Dimension::Fixed(size) };
    graph.input(
        "images",
        [
            dimension("batch", options.batch),
            Dimension::Fixed(3),
            dimension("height", height),
            dimension("width", width),
        ],
    );
    let file = Message::new()
        .int(1, ir_version(options.opset))
        .bytes(2, "yolo11")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .message(8, Message::new().bytes(1, "").int(2, options.opset as i64))
        .messages(
            14,
            metadata(model, options).into_iter().map(|(key, value)| Message::new().bytes(1, key).bytes(2, value)),
        )
        .message(7, graph.finish(&model.network().scale.model_name()))
        .into_bytes();
    match i32::try_from(file.len()) {
        Ok(_) => Ok(file),
        Err(_) => Err(Error::TooLarge { bytes: file.len() }),
    }
}

fn check(model: &Model, options: &OnnxOptions) -> Result<(), Error> {
    let [height, width] = options.size;
    if !OPSETS.contains(&options.opset) {
        return Err(Error::Opset { given: options.opset });
    }
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

/// The version of the file format that came with an opset, so that readers of that time take it.
fn ir_version(opset: usize) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use yolo11_network::{Network, Scale};

    use super::*;

    fn options(names: &[String]) -> OnnxOptions<'_> {
        OnnxOptions {
            names,
            size: [64, 96],
            batch: 1,
            dynamic: false,
            opset: 17,
            precision: Precision::Float32,
            head: Head::Decoded,
        }
    }

    #[test]
    fn the_same_model_makes_the_same_bytes_and_half_precision_half_of_them() {
        let model = Model::initialise(&Network::yolo11(Scale::Nano, 2), 1);
        let names = ["a".to_owned(), "b".to_owned()];
        let whole = onnx(&model, &options(&names)).unwrap();
        assert_eq!(whole, onnx(&model, &options(&names)).unwrap());
        let half = onnx(&model, &OnnxOptions { precision: Precision::Float16, ..options(&names) }).unwrap();
        let ratio = half.len() as f64 / whole.len() as f64;
        assert!((0.5..0.52).contains(&ratio), "{ratio}");
        // Format version 8, then the producer.
        assert_eq!(&whole[..10], b"\x08\x08\x12\x06yolo11");
    }

    #[test]
    fn options_that_do_not_fit_are_named() {
        let model = Model::initialise(&Network::yolo11(Scale::Nano, 2), 1);
        let names = ["a".to_owned(), "b".to_owned()];
        let good = options(&names);
        let message = |options: OnnxOptions| onnx(&model, &options).unwrap_err().to_string();
        assert_eq!(
            message(OnnxOptions { opset: 12, ..good.clone() }),
            "opset 12 is not written\nhint: choose one from 13 to 21"
        );
        assert_eq!(
            message(OnnxOptions { size: [64, 100], ..good.clone() }),
            "image size 64×100 is not a multiple of 32\nhint: use a size such as 320 or 640"
        );
        assert_eq!(message(OnnxOptions { batch: 0, ..good.clone() }), "batch is 0\nhint: it must be at least 1");
        assert_eq!(
            message(OnnxOptions { names: &names[..1], ..good }),
            "1 names for 2 classes\nhint: give one name for each class"
        );
    }
}
