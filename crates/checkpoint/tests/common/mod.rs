//! What the tests share.
#![allow(dead_code)] // each test uses some of it

use std::path::{Path, PathBuf};
use std::process::Command;

use yolo11_checkpoint::{Checkpoint, Value};
use yolo11_network::{Model, Network, Scale, TensorKind};

/// The folder with the recorded references, or none with a visible note.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("YOLO11_SHARED").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: YOLO11_SHARED is not set");
    }
    folder
}

/// Python with PyTorch, or none with a visible note.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("YOLO11_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: YOLO11_PYTHON is not set");
    }
    python
}

/// Runs a Python script in a folder and gives what it printed. Nothing is fetched, installed or reported while it runs.
pub fn run(python: &Path, script: &str, folder: &Path) -> String {
    let output = Command::new(python)
        .args(["-c", script])
        .current_dir(folder)
        .env("YOLO_CONFIG_DIR", folder)
        .env("YOLO_OFFLINE", "true")
        .env("YOLO_AUTOINSTALL", "false")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A nano model whose every tensor differs from its start value.
pub fn model(classes: usize) -> Model {
    let network = Network::yolo11(Scale::Nano, classes);
    let mut model = Model::initialise(&network, 11);
    let mut random = Random(5);
    for (index, spec) in network.tensors().iter().enumerate() {
        for value in model.tensor_mut(index) {
            match spec.kind {
                TensorKind::ConvWeight | TensorKind::DflWeight => {}
                TensorKind::BatchesTracked => *value = 1234.0,
                _ => *value = (random.next() >> 40) as f32 / 1e5,
            }
        }
    }
    model
}

/// A checkpoint with something in every field.
pub fn checkpoint(classes: usize) -> Checkpoint {
    let names = (0..classes).map(|class| format!("class \"{class}\" é")).collect();
    let mut checkpoint = Checkpoint::new(model(classes), names);
    checkpoint.epoch = Some(41);
    checkpoint.best_fitness = Some(0.1 + 0.2);
    checkpoint.date = Some("2026-11-23T12:00:00Z".into());
    checkpoint.train_args = vec![
        ("imgsz".into(), Value::Int(640)),
        ("seed".into(), Value::Int(-5_000_000_000)),
        ("batch".into(), Value::Int(300)),
        ("lr0".into(), Value::Float(0.001)),
        ("data".into(), Value::String("data/dataset.yaml".into())),
        ("cos_lr".into(), Value::Bool(true)),
        ("resume".into(), Value::Bool(false)),
        ("time".into(), Value::None),
        ("freeze".into(), Value::List(vec![Value::Int(0), Value::Int(1)])),
        (
            "augmentation".into(),
            Value::Map(vec![("mosaic".into(), Value::Float(1.0)), ("degrees".into(), Value::Int(0))]),
        ),
    ];
    checkpoint.metrics = vec![("metrics/mAP50(B)".into(), 0.817), ("metrics/mAP50-95(B)".into(), 0.508)];
    checkpoint
}

/// Asserts that two models agree in every bit.
pub fn assert_same_bits(a: &Model, b: &Model) {
    assert_eq!(a.network(), b.network());
    for (index, spec) in a.network().tensors().iter().enumerate() {
        let same = a.tensor(index).iter().zip(b.tensor(index)).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && a.tensor(index).len() == b.tensor(index).len(), "{}", spec.name);
    }
}

/// A zip archive of stored entries, written without the crate under test.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zip_in(entries, false)
}

/// As [`zip`]; with `large` the directory says every size and offset in ZIP64's fields only, as archives above 4 GiB do.
pub fn zip_in(entries: &[(&str, &[u8])], large: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in entries {
        let mut fields = vec![10, 0, 0, 8, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32fast::hash(data).to_le_bytes());
        fields.extend((data.len() as u32).to_le_bytes());
        fields.extend((data.len() as u32).to_le_bytes());
        fields.extend((name.len() as u32).to_le_bytes());
        directory.extend(b"PK\x01\x02\0\0");
        if large {
            directory.extend(&fields[..14]);
            directory.extend([0xff; 8]);
            directory.extend([name.len() as u8, 0, 28, 0]);
            directory.extend([0; 10]);
            directory.extend([0xff; 4]);
            directory.extend(name.as_bytes());
            directory.extend([1, 0, 24, 0]);
            directory.extend([data.len(), data.len(), file.len()].map(|value| (value as u64).to_le_bytes()).concat());
        } else {
            directory.extend(&fields);
            directory.extend([0; 10]);
            directory.extend((file.len() as u32).to_le_bytes());
            directory.extend(name.as_bytes());
        }
        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(*data);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    if large {
        let record = file.len() as u64;
        file.extend(b"PK\x06\x06");
        file.extend(44u64.to_le_bytes());
        file.extend([0; 12]);
        let numbers = [entries.len(), entries.len(), directory.len(), start as usize];
        file.extend(numbers.map(|value| (value as u64).to_le_bytes()).concat());
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(record.to_le_bytes());
        file.extend([1, 0, 0, 0]);
        file.extend(b"PK\x05\x06\0\0\0\0");
        file.extend([0xff; 12]);
        file.extend([0, 0]);
        return file;
    }
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([(entries.len() as u16).to_le_bytes(); 2].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}
