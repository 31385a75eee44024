//! ONNX, opset 13 to 21.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/IR.md> and the operators' pages beside it.

mod graph;
mod layers;
mod suppression;

use std::ops::RangeInclusive;

use yolo11_network::Model;

use crate::lower::{Form, lower};
use crate::metadata::metadata;
use crate::options::check;
use crate::program::Program;
use crate::protobuf::Message;
use crate::{Error, ExportOptions, Head};
use graph::{Dimension, Graph};

/// The operator versions that can be written.
pub const OPSETS: RangeInclusive<usize> = 13..=21;

/// Writes a model as the bytes of an ONNX file. The same model and options make the same bytes.
///
/// # Errors
/// The options do not fit the model or the format.
pub fn onnx(model: &Model, options: &ExportOptions) -> Result<Vec<u8>, Error> {
    if !OPSETS.contains(&options.opset) {
        return Err(Error::Opset { given: options.opset });
    }
    check(model, options)?;
    let form = Form { computes_in_half: true, dynamic: options.dynamic, ..Form::fixed(options.precision) };
    let program = lower(model, options, form);
    let file = Message::new()
        .int(1, ir_version(options.opset))
        .bytes(2, "yolo11")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .message(8, Message::new().bytes(1, "").int(2, options.opset as i64))
        .messages(
            14,
            metadata(model, options).into_iter().map(|(key, value)| Message::new().bytes(1, key).bytes(2, value)),
        )
        .message(7, graph(&program, options).finish(&model.network().scale.model_name()))
        .into_bytes();
    match i32::try_from(file.len()) {
        Ok(_) => Ok(file),
        Err(_) => Err(Error::TooLarge { bytes: file.len() }),
    }
}

fn graph(program: &Program, options: &ExportOptions) -> Graph {
    /// Names of what is free, by output and axis.
    const FREE: [[&str; 2]; 3] = [["rows0", "columns0"], ["rows1", "columns1"], ["rows2", "columns2"]];
    let mut graph = Graph::default();
    let values = layers::write(&mut graph, program, options.dynamic);
    let free = |name, size| if options.dynamic { Dimension::Any(name) } else { Dimension::Fixed(size) };
    let [height, width] = options.size;
    let batch = free("batch", options.batch);
    graph.input("images", &[batch, Dimension::Fixed(3), free("height", height), free("width", width)]);
    if let Head::Suppressed(suppression) = &options.head {
        let [boxes, scores] = [0, 1].map(|output: usize| values[program.outputs[output].1].as_str());
        let rows = suppression::write(&mut graph, boxes, scores, suppression);
        graph.output("output0", &rows, &[batch, Dimension::Fixed(suppression.max_detections), Dimension::Fixed(6)]);
        return graph;
    }
    for (index, (name, value)) in program.outputs.iter().enumerate() {
        let shape = program.shape(*value);
        let mut dimensions = vec![batch, Dimension::Fixed(shape[1])];
        match options.head {
            Head::Raw => dimensions.extend([2, 3].map(|axis| free(FREE[index.min(2)][axis - 2], shape[axis]))),
            _ => dimensions.push(free("anchors", shape[2])),
        }
        graph.output(name, &values[*value], &dimensions);
    }
    graph
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
    use crate::{Head, Precision};

    fn options(names: &[String]) -> ExportOptions<'_> {
        ExportOptions {
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
        let half = onnx(&model, &ExportOptions { precision: Precision::Float16, ..options(&names) }).unwrap();
        let ratio = half.len() as f64 / whole.len() as f64;
        assert!((0.5..0.53).contains(&ratio), "{ratio}");
        // Format version 8, then the producer.
        assert_eq!(&whole[..10], b"\x08\x08\x12\x06yolo11");
    }

    #[test]
    fn options_that_do_not_fit_are_named() {
        let model = Model::initialise(&Network::yolo11(Scale::Nano, 2), 1);
        let names = ["a".to_owned(), "b".to_owned()];
        let good = options(&names);
        let message = |options: ExportOptions| onnx(&model, &options).unwrap_err().to_string();
        assert_eq!(
            message(ExportOptions { opset: 12, ..good.clone() }),
            "opset 12 is not written\nhint: choose one from 13 to 21"
        );
        assert_eq!(
            message(ExportOptions { size: [64, 100], ..good.clone() }),
            "image size 64×100 is not a multiple of 32\nhint: use a size such as 320 or 640"
        );
        assert_eq!(message(ExportOptions { batch: 0, ..good.clone() }), "batch is 0\nhint: it must be at least 1");
        assert_eq!(
            message(ExportOptions { names: &names[..1], ..good }),
            "1 names for 2 classes\nhint: give one name for each class"
        );
    }
}
