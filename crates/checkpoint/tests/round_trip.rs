//! What is written is read again, bit for bit.

mod common;

use std::collections::BTreeMap;

use common::{assert_same_bits, checkpoint};
use half::{bf16, f16};
use yolo11_checkpoint::{
    Precision, StateArray, StateFile, load, save_pt, save_safetensors, save_safetensors_as, save_state,
    save_state_dict, transfer,
};
use yolo11_network::{Model, Network, Scale, TensorKind};

#[test]
fn pt_and_safetensors_keep_every_field_and_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut original = checkpoint(3);
    // Bits that arithmetic would not keep: a quiet NaN with a payload, a signalling one, negative zero, the least subnormal.
    for (place, bits) in [0x7fc0_1234u32, 0x7f80_0001, 0x8000_0000, 1].into_iter().enumerate() {
        original.model.tensor_mut(0)[place] = f32::from_bits(bits);
    }
    let [pt, dict, safetensors] = ["best.pt", "dict.pt", "best.safetensors"].map(|name| folder.path().join(name));
    save_pt(&pt, &original).unwrap();
    save_state_dict(&dict, &original).unwrap();
    save_safetensors(&safetensors, &original).unwrap();
    for path in [&pt, &dict, &safetensors] {
        let read = load(path).unwrap();
        assert_same_bits(&read.model, &original.model);
        assert_eq!(read.names, original.names);
        assert_eq!(read.epoch, Some(41));
        assert_eq!(read.best_fitness, Some(0.1 + 0.2));
        assert_eq!(read.train_args, original.train_args);
        assert_eq!(read.metrics, original.metrics);
        assert_eq!(read.date, original.date);
        assert_eq!(read.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }
    // Equal checkpoints are equal files, and nothing else lies in the folder.
    let again = folder.path().join("again.pt");
    save_pt(&again, &original).unwrap();
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&pt).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn every_scale_and_several_numbers_of_classes_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    for (scale, classes) in
        [(Scale::Nano, 1), (Scale::Nano, 200), (Scale::Small, 80), (Scale::Medium, 7), (Scale::Large, 2)]
    {
        let model = Model::initialise(&Network::yolo11(scale, classes), 1);
        let names = (0..classes).map(|class| format!("class{class}")).collect();
        let original = yolo11_checkpoint::Checkpoint::new(model, names);
        let path = folder.path().join("model.pt");
        save_pt(&path, &original).unwrap();
        assert_eq!(load(&path).unwrap(), original);
    }
}

#[test]
fn half_precisions_round_each_number_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let original = checkpoint(3);
    for precision in [Precision::F16, Precision::BF16] {
        save_safetensors_as(&path, &original, precision).unwrap();
        let read = load(&path).unwrap();
        for (index, spec) in original.model.network().tensors().iter().enumerate() {
            for (&written, &read) in original.model.tensor(index).iter().zip(read.model.tensor(index)) {
                let rounded = match (spec.kind, precision) {
                    (TensorKind::BatchesTracked, _) => written,
                    (_, Precision::F16) => f16::from_f32(written).to_f32(),
                    _ => bf16::from_f32(written).to_f32(),
                };
                assert_eq!(read.to_bits(), rounded.to_bits(), "{} {precision:?}", spec.name);
            }
        }
    }
}

#[test]
fn a_training_state_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let metadata = BTreeMap::from([
        ("epoch".to_owned(), "12".to_owned()),
        ("config".to_owned(), "lr0: 0.01\nname: \"é\"\n".repeat(2000)),
    ]);
    let odd = [0x7fc0_1234u32, 0x7f80_0001, 0xffff_ffff, 0x8000_0000, 1, 0x3f80_0000].map(f32::from_bits);
    let array = |name: &str, shape: &[usize], values| StateArray { name: name.into(), shape: shape.to_vec(), values };
    let arrays =
        [array("ema/model.0.conv.weight", &[2, 3], &odd), array("step", &[], &[7.0]), array("empty", &[0, 4], &[])];
    save_state(&path, &metadata, &arrays).unwrap();
    let read = StateFile::open(&path).unwrap();
    assert_eq!(*read.metadata(), metadata);
    for array in &arrays {
        assert_eq!(read.shape(&array.name), Some(&array.shape[..]));
        let mut values = vec![1.0; array.values.len()];
        read.read(&array.name, &mut values).unwrap();
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
        assert_eq!(bits(&values), bits(array.values));
    }
    let error = |name: &str, count: usize| read.read(name, &mut vec![0.0; count]).unwrap_err().to_string();
    assert!(error("absent", 1).contains("state.safetensors: tensor `absent`: it is missing"), "{}", error("absent", 1));
    let other = error("ema/model.0.conv.weight", 5);
    assert!(other.contains("tensor `ema/model.0.conv.weight`: its shape is [2, 3] where 5 values were"), "{other}");
    // The format's own library agrees.
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("ema/model.0.conv.weight").unwrap().shape(), [2, 3]);
    let error = save_state(&path, &metadata, &[array("wrong", &[2], &[1.0])]).unwrap_err().to_string();
    assert!(error.ends_with("state.safetensors: tensor `wrong` has shape [2] and 1 values"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn another_number_of_classes_takes_every_tensor_that_fits() {
    let from = checkpoint(80);
    let network = Network::yolo11(Scale::Nano, 3);
    let mut into = Model::initialise(&network, 0);
    let start = into.clone();
    let taken = transfer(&from, &mut into);
    assert_eq!(taken.to_string(), "448 of 499 tensors");
    assert_eq!(taken.left.len(), 51);
    for (index, spec) in network.tensors().iter().enumerate() {
        let source = from.model.network().tensor_index(&spec.name).unwrap();
        let expected = if taken.left.contains(&spec.name) { start.tensor(index) } else { from.model.tensor(source) };
        assert_eq!(into.tensor(index), expected, "{}", spec.name);
        assert!(!taken.left.contains(&spec.name) || spec.name.starts_with("model.23.cv3."), "{}", spec.name);
    }
    let mut same = Model::initialise(from.model.network(), 0);
    assert_eq!(transfer(&from, &mut same).to_string(), "499 of 499 tensors");
    assert_same_bits(&same, &from.model);
}
