//! TorchScript: an archive that `torch.jit.load` runs, in Python and in C++.
//!
//! The archive holds one module: its code as text, its tensors, and a pickle that joins them. The form is what PyTorch's own
//! description lays down: <https://github.com/pytorch/pytorch/blob/main/torch/csrc/jit/docs/serialization.md>. Only operators that
//! are as old as the form are used, so that every PyTorch since 1.7 reads it.

mod code;
mod pickle;

use half::f16;
use yolo11_network::{Model, Operation};

use crate::metadata::json;
use crate::options::check;
use crate::{Error, ExportOptions, Head, Precision};

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name inside the archive.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// A constant of the module: its shape and values.
struct Weight {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Writes a model as the entries of a TorchScript archive (a zip archive whose entries are stored, not compressed). Batch and size
/// are always free. The same model and options make the same bytes.
///
/// # Errors
/// The options do not fit the model; suppression is asked for, which PyTorch has no operator for.
pub fn torchscript(model: &Model, options: &ExportOptions) -> Result<Vec<Entry>, Error> {
    check(model, options)?;
    if let Head::Suppressed(_) = options.head {
        return Err(Error::NoSuppression);
    }
    let weights = weights(model);
    let half = options.precision == Precision::Float16;
    let code = code::write(model.network(), &weights, options);
    let entry = |name: &str, content: Vec<u8>| Entry { name: format!("archive/{name}"), content };
    let mut entries = vec![
        entry("data.pkl", pickle::module(&weights, half)),
        entry("byteorder", b"little".to_vec()),
        entry("code/__torch__.py", code.into_bytes()),
        entry("constants.pkl", pickle::NO_CONSTANTS.to_vec()),
        entry("extra/config.txt", json(model, options).into_bytes()),
    ];
    for (number, weight) in weights.iter().enumerate() {
        let content = match half {
            true => {
                let halves = weight.values.iter().map(|value| value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
                halves.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
            }
            false => weight.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        entries.push(entry(&format!("data/{number}"), content));
    }
    entries.push(entry("version", b"3\n".to_vec()));
    Ok(entries)
}

/// Weight and bias of every convolution in turn, batch norm folded in.
fn weights(model: &Model) -> Vec<Weight> {
    let mut weights = Vec::new();
    for node in &model.network().nodes {
        if let Operation::Convolution(convolution) = &node.operation {
            let folded = model.fold(convolution);
            let (kernel, output) = (convolution.kernel, convolution.output_channels);
            let shape = vec![output, convolution.input_channels_per_group(), kernel, kernel];
            let name = node.name.replace('.', "_");
            weights.push(Weight { name: format!("{name}_weight"), shape, values: folded.weight });
            weights.push(Weight { name: format!("{name}_bias"), shape: vec![output], values: folded.bias });
        }
    }
    weights
}
