//! Checkpoints that the reference wrote.

mod common;

use common::{assert_same_bits, shared};
use half::f16;
use safetensors::{Dtype, SafeTensors};
use yolo11_checkpoint::{Value, load, transfer};
use yolo11_network::{Model, Network, Scale, TensorKind};

#[test]
fn ultralytics_checkpoints_hold_the_recorded_weights_in_half_precision() {
    let Some(shared) = shared() else { return };
    for classes in [3, 80] {
        let stem = format!("yolo11n_nc{classes}_s0");
        let checkpoint = load(&shared.join(format!("oracle/{stem}.pt"))).unwrap();
        let network = checkpoint.model.network();
        assert_eq!((network.scale, network.classes), (Scale::Nano, classes));
        assert_eq!(checkpoint.names.len(), classes);
        assert_eq!(checkpoint.epoch, None);
        assert_eq!(checkpoint.version.as_deref(), Some("8.4.190"));
        let setting =
            |key: &str| checkpoint.train_args.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        assert_eq!(setting("imgsz"), Some(Value::Int(640)));
        assert_eq!(setting("model"), Some(Value::String("yolo11n.yaml".into())));

        let path = shared.join(format!("oracle/{stem}_weights.safetensors"));
        let bytes = std::fs::read(&path).unwrap();
        let weights = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(weights.len(), network.tensors().len());
        let from_safetensors = load(&path).unwrap();
        for (index, spec) in network.tensors().iter().enumerate() {
            let view = weights.tensor(&spec.name).unwrap();
            let expected: Vec<f32> = match view.dtype() {
                Dtype::I64 => view.data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f32).collect(),
                Dtype::F32 => view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
                other => panic!("{other:?}"),
            };
            assert_eq!(view.shape(), spec.shape, "{}", spec.name);
            assert_eq!(from_safetensors.model.tensor(index), expected, "{}", spec.name);
            let rounded = |value: &f32| match spec.kind {
                TensorKind::BatchesTracked => *value,
                _ => f16::from_f32(*value).to_f32(),
            };
            let rounded: Vec<f32> = expected.iter().map(rounded).collect();
            assert_eq!(checkpoint.model.tensor(index), rounded, "{}", spec.name);
        }
    }
}

#[test]
fn the_pretrained_weights_load_with_their_names() {
    let Some(shared) = shared() else { return };
    let checkpoint = load(&shared.join("weights/yolo11n_coco_approx.pt")).unwrap();
    assert_eq!(checkpoint.names.len(), 80);
    assert_eq!([&checkpoint.names[0], &checkpoint.names[5], &checkpoint.names[79]], ["person", "bus", "toothbrush"]);
    let mut model = Model::initialise(&Network::yolo11(Scale::Nano, 3), 0);
    assert_eq!(transfer(&checkpoint, &mut model).to_string(), "448 of 499 tensors");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.pt");
    yolo11_checkpoint::save_pt(&path, &checkpoint).unwrap();
    let again = load(&path).unwrap();
    assert_same_bits(&again.model, &checkpoint.model);
    assert_eq!(again.train_args, checkpoint.train_args);
}
