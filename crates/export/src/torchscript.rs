//! TorchScript: an archive that `torch.jit.load` runs, in Python and in C++.
//!
//! The archive holds one module: its code as text, its tensors, and a pickle that joins them. The form is what PyTorch's own
//! description lays down: <https://github.com/pytorch/pytorch/blob/main/torch/csrc/jit/docs/serialization.md>. Only operators that
//! are as old as the form are used, so that every PyTorch since 1.7 reads it.

mod code;
mod pickle;

use yolo11_network::Model;

use crate::lower::{Form, lower};
use crate::metadata::json;
use crate::numbers::{halves, singles};
use crate::options::check;
use crate::program::{Operation, Program};
use crate::{Error, ExportOptions, Head};

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name inside the archive.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// A constant of the module: its shape and values.
struct Weight<'a> {
    name: String,
    shape: Vec<usize>,
    values: &'a [f32],
    half: bool,
}

/// Writes a model as the entries of a TorchScript archive (a zip archive whose entries are stored, not compressed). Batch and size
/// are always free. The same model and options make the same bytes.
///
/// # Errors
/// The options do not fit the model; suppression is asked for, which PyTorch has no operator for.
pub fn torchscript(model: &Model, options: &ExportOptions) -> Result<Vec<Entry>, Error> {
    check(model, options)?;
    if let Head::Suppressed(_) = options.head {
        return Err(Error::NoSuppression { format: "PyTorch" });
    }
    if options.precision.calibration().is_some() {
        return Err(Error::NoInt8 { format: "torchscript" });
    }
    let form = Form { computes_in_half: true, dynamic: true, ..Form::fixed(options.precision) };
    let program = lower(model, options, form);
    let weights = weights(&program);
    let code = code::write(&program, &weights);
    let entry = |name: &str, content: Vec<u8>| Entry { name: format!("archive/{name}"), content };
    let mut entries = vec![
        entry("data.pkl", pickle::module(&weights)),
        entry("byteorder", b"little".to_vec()),
        entry("code/__torch__.py", code.into_bytes()),
        entry("constants.pkl", pickle::NO_CONSTANTS.to_vec()),
        entry("extra/config.txt", json(model, options).into_bytes()),
    ];
    for (number, weight) in weights.iter().enumerate() {
        let content = match weight.half {
            true => halves(weight.values),
            false => singles(weight.values),
        };
        entries.push(entry(&format!("data/{number}"), content));
    }
    entries.push(entry("version", b"3\n".to_vec()));
    Ok(entries)
}

/// Weight and bias of every convolution in turn, and what else is constant.
fn weights(program: &Program) -> Vec<Weight<'_>> {
    let mut weights = Vec::new();
    for step in &program.steps {
        let half = step.half;
        let mut add = |what: &str, shape: Vec<usize>, values| {
            weights.push(Weight { name: code::attribute(step, what), shape, values, half });
        };
        match &step.operation {
            Operation::Convolution(convolution) => {
                add("_weight", convolution.weight_shape().to_vec(), convolution.weight.as_slice());
                add("_bias", vec![convolution.output_channels], &convolution.bias);
            }
            Operation::Constant(values) if !step.shape.is_empty() => add("", step.shape.clone(), values),
            _ => {}
        }
    }
    weights
}
