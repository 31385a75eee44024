//! Writes `.pt` files that PyTorch opens with `weights_only=True`.

use std::path::Path;

use yolo11_network::TensorKind;

use crate::archive_writer::{ArchiveWriter, Data};
use crate::pickle::Writer;
use crate::safetensors_format::Encoding;
use crate::tensor::contiguous_strides;
use crate::{Checkpoint, Error, Value, atomic};

/// Writes a checkpoint in PyTorch's zip format, in float32, atomically. The [crate's page](crate) lists the keys of its dictionary.
pub fn save_pt(path: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    let pickle = pickle(checkpoint);
    let model = &checkpoint.model;
    atomic::write(path, |writer| {
        let mut archive = ArchiveWriter::new(writer);
        archive.add("archive/data.pkl", &Data::Bytes(&pickle))?;
        archive.add("archive/.format_version", &Data::Bytes(b"1"))?;
        archive.add("archive/.storage_alignment", &Data::Bytes(b"64"))?;
        archive.add("archive/byteorder", &Data::Bytes(b"little"))?;
        for (index, spec) in model.network().tensors().iter().enumerate() {
            let (_, encoding) = storage(spec.kind);
            archive.add(&format!("archive/data/{index}"), &Data::Numbers(model.tensor(index), encoding))?;
        }
        archive.add("archive/version", &Data::Bytes(b"3\n"))?;
        archive.finish()
    })
}

/// PyTorch's class of the storage and how its numbers lie in it.
fn storage(kind: TensorKind) -> (&'static str, Encoding) {
    match kind {
        TensorKind::BatchesTracked => ("LongStorage", Encoding::I64),
        _ => ("FloatStorage", Encoding::F32),
    }
}

fn pickle(checkpoint: &Checkpoint) -> Vec<u8> {
    let network = checkpoint.model.network();
    let mut writer = Writer::new();
    writer.begin_dict();
    writer.text("epoch");
    writer.int(checkpoint.epoch.map_or(-1, |epoch| epoch as i64));
    writer.text("best_fitness");
    writer.value(&checkpoint.best_fitness.map_or(Value::None, Value::Float));
    writer.text("model");
    writer.begin_ordered_dict();
    for (index, spec) in network.tensors().iter().enumerate() {
        writer.text(&spec.name);
        writer.tensor(index, storage(spec.kind).0, &spec.shape, &contiguous_strides(&spec.shape), spec.elements());
    }
    writer.end_dict();
    writer.text("names");
    writer.begin_dict();
    for (class, name) in checkpoint.names.iter().enumerate() {
        writer.int(class as i64);
        writer.text(name);
    }
    writer.end_dict();
    for (key, value) in [("scale", network.scale.letter().to_string()), ("task", "detect".into())] {
        writer.text(key);
        writer.text(&value);
    }
    writer.text("train_args");
    writer.map(&checkpoint.train_args);
    writer.text("train_metrics");
    writer.begin_dict();
    for (key, value) in &checkpoint.metrics {
        writer.text(key);
        writer.float(*value);
    }
    writer.end_dict();
    for (key, value) in [("date", &checkpoint.date), ("version", &checkpoint.version)] {
        writer.text(key);
        writer.value(&value.clone().map_or(Value::None, Value::String));
    }
    writer.end_dict();
    writer.finish()
}
