use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

use crate::error::Problem;
use crate::safetensors_format::{self, Encoding, Entry, Header};
use crate::source::Source;
use crate::tensor::elements;
use crate::{Error, atomic};

/// A training's text may be long beside few tensors; anything above this is damage.
const LARGEST_HEADER: u64 = 1 << 24;

/// A row-major array of float32 to save.
#[derive(Clone, Debug)]
pub struct StateArray<'a> {
    /// What to find it by.
    pub name: String,
    /// Sizes of the axes; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the product of the axes.
    pub values: &'a [f32],
}

/// Writes everything an exact resume needs, under names of the caller's choice: weights, average and moments as arrays; epoch,
/// step, seed, configuration and the like as text. The file is safetensors, written atomically; every bit of every value is kept,
/// and nothing is copied on the way. An [`Error::Unwritable`] names an array whose shape and values disagree.
pub fn save_state(path: &Path, metadata: &BTreeMap<String, String>, arrays: &[StateArray]) -> Result<(), Error> {
    let entries = entries(path, arrays)?;
    atomic::write(path, |writer| safetensors_format::write(writer, metadata, &entries))
}

/// The bytes that [`save_state`] writes, for someone who is to read them by [`StateFile::from_bytes`]; `path` is what errors call them.
pub fn state_to_bytes(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    arrays: &[StateArray],
) -> Result<Vec<u8>, Error> {
    let (entries, mut bytes) = (entries(path, arrays)?, Vec::new());
    let written = safetensors_format::write(&mut bytes, metadata, &entries);
    written.map_err(|source| Error::Io { path: path.to_path_buf(), action: "cannot write", source })?;
    Ok(bytes)
}

fn entries<'a>(path: &Path, arrays: &'a [StateArray]) -> Result<Vec<Entry<'a>>, Error> {
    let mut entries = Vec::with_capacity(arrays.len());
    for StateArray { name, shape, values } in arrays {
        if elements(shape) != Some(values.len()) || name == "__metadata__" {
            let problem = format!("tensor `{name}` has shape {shape:?} and {} values", values.len());
            return Err(Error::Unwritable { path: path.to_path_buf(), problem });
        }
        entries.push(Entry { name, shape, values, encoding: Encoding::F32 });
    }
    Ok(entries)
}

/// What [`save_state`] wrote: the texts, and the arrays as they are asked for. Errors name the file and the part of it that is
/// missing or damaged.
pub struct StateFile<'a> {
    path: PathBuf,
    source: Source<'a>,
    header: Header,
    metadata: BTreeMap<String, String>,
}

impl StateFile<'static> {
    /// Opens a file and reads its texts.
    pub fn open(path: &Path) -> Result<Self, Error> {
        StateFile::of(Source::open(path)?, path)
    }
}

impl<'a> StateFile<'a> {
    /// As [`StateFile::open`], of a file in memory; `path` is what errors call it.
    pub fn from_bytes(bytes: impl Into<Cow<'a, [u8]>>, path: &Path) -> Result<Self, Error> {
        StateFile::of(Source::memory(bytes), path)
    }

    fn of(source: Source<'a>, path: &Path) -> Result<Self, Error> {
        let header = header(&source).map_err(|problem| problem.at(path))?;
        Ok(StateFile { path: path.to_path_buf(), metadata: header.metadata(), source, header })
    }

    /// The texts by their keys.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The shape of an array, where the file has it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.tensor(name).map(|(_, shape, _)| shape)
    }

    /// Reads an array. Its shape holds as many values as there are places; an array that is absent or has another number of them
    /// is an error.
    pub fn read(&self, name: &str, values: &mut [f32]) -> Result<(), Error> {
        self.read_or_problem(name, values).map_err(|problem| problem.at(&self.path))
    }

    fn read_or_problem(&self, name: &str, values: &mut [f32]) -> Result<(), Problem> {
        /// Values that are held at a time.
        const PIECE: usize = 1 << 18;
        let damaged = |problem: String| Problem::damaged(format!("tensor `{name}`"), problem);
        let (dtype, shape, storage) = self.header.tensor(name).ok_or_else(|| damaged("it is missing".into()))?;
        if dtype != Dtype::F32 {
            return Err(damaged(format!("it is {dtype:?}, not float32")));
        }
        if elements(shape) != Some(values.len()) {
            return Err(damaged(format!("its shape is {shape:?} where {} values were expected", values.len())));
        }
        let (mut start, mut piece) = (storage.start, Vec::new());
        for values in values.chunks_mut(PIECE) {
            let length = size_of_val(values) as u64;
            self.source.read_into(start, length, &mut piece)?;
            for (value, bytes) in values.iter_mut().zip(piece.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
            start += length;
        }
        Ok(())
    }
}

fn header(source: &Source) -> Result<Header, Problem> {
    if !safetensors_format::is_safetensors(&source.head(9)?) {
        return Err(Problem::Format {
            problem: "not a training state (no safetensors header)".into(),
            hint: "name the state that the training wrote beside its weights",
        });
    }
    Header::read(source, LARGEST_HEADER)
}
