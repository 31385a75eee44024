//! Writes `.pt` files: as Ultralytics has them, or with nothing in them but tensors and plain values.

use std::path::Path;

use yolo11_network::{Network, TensorKind};

use crate::archive_writer::{ArchiveWriter, Data};
use crate::module_tree::{self, STRIDE_VALUES, write_names};
use crate::pickle::Writer;
use crate::safetensors_format::Encoding;
use crate::tensor::contiguous_strides;
use crate::{Checkpoint, Error, Value, atomic};

/// Writes a checkpoint as `ultralytics.YOLO(path)` opens it, in float32, atomically: under `model` lies the tree of modules, named
/// by their public classes. The [crate's page](crate) lists the other keys. Unpickling it takes `ultralytics`;
/// [`save_state_dict`] writes what PyTorch alone opens.
pub fn save_pt(path: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    save(path, checkpoint, Form::Modules)
}

/// As [`save_pt`], but `model` is the state dictionary: `torch.load(path, weights_only=True)` opens it, without any class or code
/// beside PyTorch's own.
pub fn save_state_dict(path: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    save(path, checkpoint, Form::StateDict)
}

/// What lies under `model`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Modules,
    StateDict,
}

fn save(path: &Path, checkpoint: &Checkpoint, form: Form) -> Result<(), Error> {
    let pickle = pickle(checkpoint, form);
    let model = &checkpoint.model;
    atomic::write(path, |writer| {
        let mut archive = ArchiveWriter::new(writer);
        archive.add("archive/data.pkl", &Data::Bytes(&pickle))?;
        archive.add("archive/.format_version", &Data::Bytes(b"1"))?;
        archive.add("archive/.storage_alignment", &Data::Bytes(b"64"))?;
        archive.add("archive/byteorder", &Data::Bytes(b"little"))?;
        let specs = model.network().tensors();
        for (index, spec) in specs.iter().enumerate() {
            let (_, encoding) = storage(spec.kind);
            archive.add(&format!("archive/data/{index}"), &Data::Numbers(model.tensor(index), encoding))?;
        }
        if form == Form::Modules {
            let name = format!("archive/data/{}", specs.len());
            archive.add(&name, &Data::Numbers(&STRIDE_VALUES, Encoding::F32))?;
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

/// A tensor of the state; its storage has its number.
pub(crate) fn write_tensor(writer: &mut Writer, network: &Network, index: usize) {
    let spec = &network.tensors()[index];
    writer.tensor(index, storage(spec.kind).0, &spec.shape, &contiguous_strides(&spec.shape), spec.elements());
}

fn pickle(checkpoint: &Checkpoint, form: Form) -> Vec<u8> {
    let network = checkpoint.model.network();
    let mut writer = Writer::new();
    writer.begin_dict();
    writer.entry("epoch", checkpoint.epoch.map_or(-1, |epoch| epoch as i64));
    writer.entry("best_fitness", checkpoint.best_fitness);
    writer.text("model");
    match form {
        Form::Modules => {
            module_tree::write(&mut writer, checkpoint);
            for absent in ["ema", "updates", "optimizer"] {
                writer.entry(absent, Value::None);
            }
        }
        Form::StateDict => {
            writer.begin_ordered_dict();
            for (index, spec) in network.tensors().iter().enumerate() {
                writer.text(&spec.name);
                write_tensor(&mut writer, network, index);
            }
            writer.end_dict();
        }
    }
    writer.text("names");
    write_names(&mut writer, &checkpoint.names);
    writer.entry("scale", network.scale.letter().to_string());
    writer.entry("task", "detect");
    writer.text("train_args");
    writer.map(&checkpoint.train_args);
    writer.text("train_metrics");
    writer.begin_dict();
    for (key, value) in &checkpoint.metrics {
        writer.entry(key, *value);
    }
    writer.end_dict();
    writer.entry("date", checkpoint.date.clone());
    writer.entry("version", checkpoint.version.clone());
    writer.end_dict();
    writer.finish()
}
