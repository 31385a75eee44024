//! Checkpoints: weights with what belongs to them, and the full state of a training.
//!
//! [`load`] reads, by content and not by name,
//! - an Ultralytics checkpoint (`.pt`): the pickled module under `ema` or `model`, half precision or not;
//! - a plain state dict (`.pt`), alone or under `model`, `state_dict`, `model_state_dict`, as [`save_state_dict`] writes it;
//! - safetensors, in float32, float16 or bfloat16.
//!
//! Scale and number of classes follow from the tensors, class names from the file (`class0`, `class1` … where it has none).
//! A pickle is a program; here it is read as data: a small machine builds a tree of inert values, a file that names anything a
//! detector's checkpoint has no use for is refused by that name, and memory stays within a small multiple of the file's size.
//!
//! [`save_pt`] writes what `ultralytics.YOLO(path)` opens, [`save_state_dict`] what `torch.load(path, weights_only=True)` opens with
//! PyTorch alone. One file cannot be both: the first program wants an object of its own class, which the second refuses by its
//! name before anything else in the file is looked at. Both are dictionaries:
//!
//! | key | value |
//! |---|---|
//! | `epoch` | int: epochs are counted from 0; −1 where unknown |
//! | `best_fitness` | float or None |
//! | `model` | the tree of modules, or an OrderedDict with the state dict; float32; `num_batches_tracked` int64 |
//! | `ema`, `updates`, `optimizer` | None, beside a tree of modules |
//! | `names` | dict from class number to name |
//! | `scale`, `task` | `n`, `s`, `m`, `l` or `x`; `detect` |
//! | `train_args` | dict: the training's settings |
//! | `train_metrics` | dict from metric to float |
//! | `date`, `version` | str or None: when (ISO 8601) and by which version of this program |
//!
//! [`save_state`] and [`StateFile`] keep what an exact resume needs. Every file is written under a temporary name beside it,
//! synced and renamed: a full disk or a lost process leaves the earlier file as it was.

mod archive;
mod archive_writer;
mod atomic;
mod content;
mod error;
mod model;
mod module_tree;
mod pickle;
mod pt;
mod safetensors_format;
mod source;
mod state;
mod tensor;
mod torch;
mod value;

use std::path::Path;

use yolo11_network::Model;

pub use archive_writer::save_archive;
pub use error::Error;
pub use model::{Transfer, transfer};
pub use pt::{save_pt, save_state_dict};
pub use safetensors_format::{Precision, save_safetensors, save_safetensors_as};
pub use state::{StateArray, StateFile, save_state, state_to_bytes};
pub use value::Value;

use archive::Archive;
use error::Problem;
use source::Source;

/// A model with what its training says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The weights; the network tells scale and number of classes.
    pub model: Model,
    /// One name per class. Where a file has none, or too few, `class0`, `class1` … stand in; surplus names are left out.
    pub names: Vec<String>,
    /// The last finished epoch, counted from 0; none where the file does not say or the training is closed.
    pub epoch: Option<usize>,
    /// The training's settings in the file's order.
    pub train_args: Vec<(String, Value)>,
    /// Metrics of the epoch by the name they have in results.csv.
    pub metrics: Vec<(String, f64)>,
    /// The best fitness so far (mAP50-95).
    pub best_fitness: Option<f64>,
    /// When the file was written, in ISO 8601.
    pub date: Option<String>,
    /// The version of the program that wrote it.
    pub version: Option<String>,
}

impl Checkpoint {
    /// The `imgsz` of the training arguments in pixels, where it is one this program can use.
    pub fn image_size(&self) -> Option<usize> {
        let (_, value) = self.train_args.iter().find(|(name, _)| name == "imgsz")?;
        let size = match value {
            Value::Int(size) => usize::try_from(*size).ok()?,
            Value::Float(size) => *size as usize,
            _ => return None,
        };
        ((32..=8192).contains(&size) && size.is_multiple_of(32)).then_some(size)
    }

    /// A checkpoint that knows its weights, names and this program's version only.
    pub fn new(model: Model, names: Vec<String>) -> Checkpoint {
        Checkpoint {
            model,
            names,
            epoch: None,
            train_args: Vec::new(),
            metrics: Vec::new(),
            best_fitness: None,
            date: None,
            version: Some(env!("CARGO_PKG_VERSION").to_string()),
        }
    }
}

/// Reads a checkpoint, `.pt` or safetensors. Nothing in the file is executed. Errors name the file and the part of it that is
/// missing, damaged, refused or of another architecture.
pub fn load(path: &Path) -> Result<Checkpoint, Error> {
    read(&Source::open(path)?).map_err(|problem| problem.at(path))
}

/// As [`load`], of a file in memory; `path` is what errors call it.
pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Checkpoint, Error> {
    read(&Source::memory(bytes)).map_err(|problem| problem.at(path))
}

fn read(source: &Source) -> Result<Checkpoint, Problem> {
    let head = source.head(16)?;
    let content = if Archive::is_zip(&head) {
        torch::read(source)?
    } else if safetensors_format::is_safetensors(&head) {
        safetensors_format::read(source)?
    } else {
        // Its first megabyte is enough to tell what it is.
        return Err(foreign(&source.head(1 << 20)?));
    };
    content.into_checkpoint(source)
}

/// What a file is that is neither a zip archive nor safetensors.
fn foreign(bytes: &[u8]) -> Problem {
    const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let download = "download it again, for example with `git lfs pull` or from its release page";
    let (problem, hint) = if bytes.is_empty() {
        ("the file is empty", "download or write it again")
    } else if bytes.starts_with(LEGACY) || bytes.get(257..262) == Some(b"ustar") {
        (
            "written in PyTorch's old format (before 1.6), which is not read",
            "write it again with a newer PyTorch: `torch.save(torch.load(path), path)`",
        )
    } else if bytes.starts_with(b"version https://git-lfs") {
        ("a Git LFS pointer, not the file it points to", download)
    } else if bytes.trim_ascii_start().starts_with(b"<") {
        ("a web page, not a checkpoint", download)
    } else if bytes[0] == 0x80 || bytes[0] == b'c' || bytes[0] == b'(' {
        if let Err(refused) = torch::refuse_bare_pickle(bytes) {
            return refused;
        }
        (
            "a bare pickle, not the zip archive that PyTorch writes",
            "write it with `torch.save(model.state_dict(), path)`",
        )
    } else {
        (
            "neither a PyTorch zip archive nor safetensors",
            "name a checkpoint written by `torch.save` or a .safetensors file",
        )
    };
    Problem::Format { problem: problem.into(), hint }
}
