use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::Dtype;

use crate::error::Problem;
use crate::safetensors_format::{self, Encoding, Entry};
use crate::tensor::elements;
use crate::{Error, atomic};

/// A training's text may be long beside few tensors; anything above this is damage.
const LARGEST_HEADER: usize = 1 << 24;

/// Everything an exact resume needs, under names of the caller's choice: model, EMA and moments as tensors; epoch, step, seed,
/// configuration and the like as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Text by key.
    pub metadata: BTreeMap<String, String>,
    /// Arrays by name.
    pub tensors: BTreeMap<String, Array>,
}

/// A row-major array of float32.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array {
    /// Sizes of the axes; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the product of the axes.
    pub values: Vec<f32>,
}

/// Writes a training state in safetensors format, atomically; every bit of every value is kept. An [`Error::Unwritable`] names an
/// array whose shape and values disagree.
pub fn save_state(path: &Path, state: &State) -> Result<(), Error> {
    let entries = entries(path, state)?;
    atomic::write(path, |writer| safetensors_format::write(writer, &state.metadata, &entries))
}

/// The bytes that [`save_state`] writes, for someone who is to read them by [`state_from_bytes`]; `path` is what errors call them.
pub fn state_to_bytes(state: &State, path: &Path) -> Result<Vec<u8>, Error> {
    let entries = entries(path, state)?;
    let mut bytes = Vec::new();
    safetensors_format::write(&mut bytes, &state.metadata, &entries).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        action: "cannot write",
        source,
    })?;
    Ok(bytes)
}

fn entries<'a>(path: &Path, state: &'a State) -> Result<Vec<Entry<'a>>, Error> {
    let mut entries = Vec::with_capacity(state.tensors.len());
    for (name, array) in &state.tensors {
        if elements(&array.shape) != Some(array.values.len()) || name == "__metadata__" {
            let problem = format!("tensor `{name}` has shape {:?} and {} values", array.shape, array.values.len());
            return Err(Error::Unwritable { path: path.to_path_buf(), problem });
        }
        entries.push(Entry { name, shape: &array.shape, values: &array.values, encoding: Encoding::F32 });
    }
    Ok(entries)
}

/// Reads what [`save_state`] wrote. Errors name the file and the part of it that is missing or damaged.
pub fn load_state(path: &Path) -> Result<State, Error> {
    let bytes =
        fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), action: "cannot read", source })?;
    state_from_bytes(&bytes, path)
}

/// As [`load_state`], of a file in memory; `path` is what errors call it.
pub fn state_from_bytes(bytes: &[u8], path: &Path) -> Result<State, Error> {
    read(bytes).map_err(|problem| problem.at(path))
}

fn read(bytes: &[u8]) -> Result<State, Problem> {
    if !safetensors_format::is_safetensors(bytes) {
        return Err(Problem::Format {
            problem: "not a training state (no safetensors header)".into(),
            hint: "name the state that the training wrote beside its weights",
        });
    }
    let (file, metadata) = safetensors_format::open(bytes, LARGEST_HEADER)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(Problem::damaged(format!("tensor `{name}`"), format!("it is {:?}, not float32", view.dtype())));
        }
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.insert(name.to_string(), Array { shape: view.shape().to_vec(), values });
    }
    Ok(State { metadata, tensors })
}
