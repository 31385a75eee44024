//! Reads and writes safetensors: a JSON header, then the numbers.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::json;
use yolo11_network::TensorKind;

use crate::content::Content;
use crate::error::Problem;
use crate::source::Source;
use crate::tensor::{ElementType, Storage, StoredTensor, contiguous_strides};
use crate::{Checkpoint, Error, Value, atomic};

const PART: &str = "safetensors header";
/// Headers of weights up to this size are read however small the file is.
const SMALL_HEADER: u64 = 1 << 14;

/// How the numbers of a model are written. Counters are int64 in any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// float32: exact.
    #[default]
    F32,
    /// float16: half the size, 11 significant bits.
    F16,
    /// bfloat16: half the size, 8 significant bits, float32's range.
    BF16,
}

/// Whether the bytes begin as a safetensors file does.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// The header of a safetensors file.
pub(crate) struct Header {
    tensors: Metadata,
    /// Where the numbers begin in the file.
    start: u64,
}

impl Header {
    /// Reads the header; the `safetensors` crate checks that the tensors fill the file without gaps. A header above `small` bytes
    /// must not be more than an eighth of the file: parsed it takes several times its text.
    pub fn read(source: &Source, small: u64) -> Result<Header, Problem> {
        let damaged = |problem: String| Problem::damaged(PART, problem);
        let length = source.head(8)?.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
        let length = length.filter(|&length| source.holds(8, length));
        let length = length.ok_or_else(|| damaged("it is longer than the file: the file is cut short".into()))?;
        if length > small && length > source.length() / 8 {
            return Err(damaged(format!(
                "it takes {length} of the file's {} bytes, too much for a checkpoint",
                source.length()
            )));
        }
        let text = source.read(8, length)?;
        let tensors: Metadata = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let start = 8 + length;
        let held = source.length() - start;
        if tensors.data_len() as u64 != held {
            let problem = match (tensors.data_len() as u64).checked_sub(held) {
                Some(missing) if missing > 0 => {
                    format!("{missing} bytes of its tensors are missing: the file is cut short")
                }
                _ => "the file holds more than its tensors".into(),
            };
            return Err(damaged(problem));
        }
        Ok(Header { tensors, start })
    }

    /// The texts beside the tensors.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.tensors.metadata().clone().unwrap_or_default().into_iter().collect()
    }

    /// A tensor's type, shape, and place in the file.
    pub fn tensor(&self, name: &str) -> Option<(Dtype, &[usize], Storage)> {
        let info = self.tensors.info(name)?;
        let (from, to) = info.data_offsets;
        let (start, length) = (self.start + from as u64, (to - from) as u64);
        Some((info.dtype, &info.shape, Storage { name: format!("tensor `{name}`"), start, length, checksum: None }))
    }
}

fn element_type(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::U8 => ElementType::U8,
        Dtype::I8 => ElementType::I8,
        Dtype::I16 => ElementType::I16,
        Dtype::I32 => ElementType::I32,
        Dtype::I64 => ElementType::I64,
        _ => ElementType::Other,
    }
}

/// Reads a checkpoint's weights and what its metadata says about them.
pub(crate) fn read(source: &Source) -> Result<Content, Problem> {
    let header = Header::read(source, SMALL_HEADER)?;
    let metadata = header.metadata();
    let mut tensors = Vec::new();
    for name in header.tensors.offset_keys() {
        let Some((dtype, shape, storage)) = header.tensor(&name) else { continue };
        let (shape, strides) = (shape.to_vec(), contiguous_strides(shape));
        let tensor = StoredTensor { name, element: element_type(dtype), shape, strides, storage, offset: 0 };
        tensor.check().map_err(|problem| Problem::damaged(&*tensor.storage.name, problem))?;
        tensors.push(tensor);
    }
    let json = |key: &str| metadata.get(key).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let number = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    };
    let entries = |key| match json(key) {
        Some(Value::Map(entries)) => entries,
        _ => Vec::new(),
    };
    Ok(Content {
        tensors,
        names: metadata.get("names").and_then(|text| names(text)),
        epoch: metadata.get("epoch").and_then(|epoch| epoch.parse().ok()),
        train_args: entries("train_args"),
        metrics: entries("train_metrics").into_iter().filter_map(|(key, value)| Some((key, number(&value)?))).collect(),
        best_fitness: json("best_fitness").and_then(|value| number(&value)),
        date: metadata.get("date").cloned(),
        version: metadata.get("version").cloned(),
        kind: None,
    })
}

/// Class names as a JSON list, or as others write them: a JSON object from class number to name.
fn names(text: &str) -> Option<Vec<String>> {
    let name = |value: Value| match value {
        Value::String(name) => Some(name),
        _ => None,
    };
    match serde_json::from_str(text).ok()? {
        Value::List(values) => values.into_iter().map(name).collect(),
        Value::Map(entries) => {
            let numbered = entries.into_iter().map(|(class, value)| Some((class.parse::<usize>().ok()?, name(value)?)));
            let numbered: BTreeMap<usize, String> = numbered.collect::<Option<_>>()?;
            (numbered.keys().copied().eq(0..numbered.len())).then(|| numbered.into_values().collect())
        }
        _ => None,
    }
}

/// Writes a checkpoint as safetensors in float32, atomically. The metadata holds `format` (`pt`), `task`, `scale`, `classes`, and
/// as JSON `names`, `train_args`, `train_metrics`, `best_fitness`; `epoch`, `date` and `version` where known.
pub fn save_safetensors(path: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    save_safetensors_as(path, checkpoint, Precision::F32)
}

/// As [`save_safetensors`], in another precision.
pub fn save_safetensors_as(path: &Path, checkpoint: &Checkpoint, precision: Precision) -> Result<(), Error> {
    let model = &checkpoint.model;
    let specs = model.network().tensors();
    let is_counter = |&index: &usize| specs[index].kind == TensorKind::BatchesTracked;
    // Eight-byte numbers first, so that every tensor is aligned to its element.
    let order = (0..specs.len()).filter(is_counter).chain((0..specs.len()).filter(|index| !is_counter(index)));
    let entries: Vec<Entry> = order
        .map(|index| {
            let encoding = match precision {
                _ if is_counter(&index) => Encoding::I64,
                Precision::F32 => Encoding::F32,
                Precision::F16 => Encoding::F16,
                Precision::BF16 => Encoding::BF16,
            };
            Entry { name: &specs[index].name, shape: &specs[index].shape, values: model.tensor(index), encoding }
        })
        .collect();
    atomic::write(path, |writer| write(writer, &metadata(checkpoint), &entries))
}

fn metadata(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let network = checkpoint.model.network();
    let json = |value: &Value| serde_json::to_string(value).unwrap_or_default();
    let metrics = checkpoint.metrics.iter().map(|(key, value)| (key.clone(), Value::Float(*value)));
    let entries = [
        ("format", Some("pt".to_string())),
        ("task", Some("detect".to_string())),
        ("scale", Some(network.scale.letter().to_string())),
        ("classes", Some(network.classes.to_string())),
        ("names", Some(json!(checkpoint.names).to_string())),
        ("train_args", Some(json(&Value::Map(checkpoint.train_args.clone())))),
        ("train_metrics", Some(json(&Value::Map(metrics.collect())))),
        ("best_fitness", checkpoint.best_fitness.map(|fitness| json(&Value::Float(fitness)))),
        ("epoch", checkpoint.epoch.map(|epoch| epoch.to_string())),
        ("date", checkpoint.date.clone()),
        ("version", checkpoint.version.clone()),
    ];
    entries.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
}

/// How one tensor's float32 values are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    F32,
    F16,
    BF16,
    I64,
}

impl Encoding {
    pub fn size(self) -> usize {
        match self {
            Encoding::F32 => 4,
            Encoding::F16 | Encoding::BF16 => 2,
            Encoding::I64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::F32 => "F32",
            Encoding::F16 => "F16",
            Encoding::BF16 => "BF16",
            Encoding::I64 => "I64",
        }
    }

    /// Hands the little-endian bytes of the values over in pieces.
    pub fn encode(self, values: &[f32], mut hand_over: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut piece = Vec::with_capacity(self.size() * 4096);
        for values in values.chunks(4096) {
            piece.clear();
            match self {
                Encoding::F32 => values.iter().for_each(|value| piece.extend(value.to_le_bytes())),
                Encoding::F16 => values.iter().for_each(|value| piece.extend(f16::from_f32(*value).to_le_bytes())),
                Encoding::BF16 => values.iter().for_each(|value| piece.extend(bf16::from_f32(*value).to_le_bytes())),
                Encoding::I64 => values.iter().for_each(|value| piece.extend((*value as i64).to_le_bytes())),
            }
            hand_over(&piece)?;
        }
        Ok(())
    }
}

/// One tensor to write.
pub(crate) struct Entry<'a> {
    pub name: &'a str,
    pub shape: &'a [usize],
    pub values: &'a [f32],
    pub encoding: Encoding,
}

/// Writes a whole file. By hand and not through the crate: its metadata has no fixed order, and equal models give equal files here.
pub(crate) fn write(
    writer: &mut dyn Write,
    metadata: &BTreeMap<String, String>,
    entries: &[Entry<'_>],
) -> io::Result<()> {
    let mut header = format!("{{\"__metadata__\":{}", json!(metadata));
    let mut offset = 0;
    for entry in entries {
        let end = offset + entry.values.len() * entry.encoding.size();
        let info = json!({"dtype": entry.encoding.name(), "shape": entry.shape, "data_offsets": [offset, end]});
        header.push_str(&format!(",{}:{info}", json!(entry.name)));
        offset = end;
    }
    header.push('}');
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    for entry in entries {
        entry.encoding.encode(entry.values, |bytes| writer.write_all(bytes))?;
    }
    Ok(())
}
