//! PyTorch itself opens what is written here, and what it writes in other ways is read here. Runs the Python named in
//! `YOLO11_PYTHON` (with `torch` and `ultralytics`, as black boxes).

mod common;

use common::{assert_same_bits, checkpoint, python, run};
use half::bf16;
use yolo11_checkpoint::{load, save_safetensors, save_state_dict};

/// Prints each tensor's name, type, shape and the sum of its bits, then the other entries.
const DESCRIBE: &str = r#"
import json, torch
file = torch.load("best.pt", weights_only=True)
assert type(file).__name__ == "dict" and type(file["model"]).__name__ == "OrderedDict"
for name, tensor in file["model"].items():
    bits = tensor.reshape(-1).view(torch.int32 if tensor.dtype == torch.float32 else torch.int64).to(torch.int64)
    assert tensor.is_contiguous() and not tensor.requires_grad
    print(name, tensor.dtype, list(tensor.shape), int(bits.sum()), sep="|")
print(json.dumps({key: value for key, value in file.items() if key != "model"}, sort_keys=True))
from safetensors.torch import load_file
other = load_file("best.safetensors")
assert set(other) == set(file["model"]), set(other) ^ set(file["model"])
assert all(torch.equal(other[name], tensor) and other[name].dtype == tensor.dtype for name, tensor in file["model"].items())
mapped = torch.load("best.pt", weights_only=True, mmap=True)
assert all(torch.equal(mapped["model"][name], tensor) for name, tensor in file["model"].items())
"#;

#[test]
fn torch_load_opens_ours_with_weights_only() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = checkpoint(3);
    save_state_dict(&folder.path().join("best.pt"), &original).unwrap();
    save_safetensors(&folder.path().join("best.safetensors"), &original).unwrap();
    let printed = run(&python, DESCRIBE, folder.path());
    let lines: Vec<&str> = printed.lines().collect();
    let specs = original.model.network().tensors();
    assert_eq!(lines.len(), specs.len() + 1);
    for (index, spec) in specs.iter().enumerate() {
        let values = original.model.tensor(index);
        let (kind, sum) = if spec.name.ends_with("num_batches_tracked") {
            ("torch.int64", values[0] as i64)
        } else {
            ("torch.float32", values.iter().map(|value| i64::from(value.to_bits() as i32)).sum())
        };
        assert_eq!(lines[index], format!("{}|{kind}|{:?}|{sum}", spec.name, spec.shape));
    }
    let expected = r#"{"best_fitness": 0.30000000000000004, "date": "2026-11-23T12:00:00Z", "epoch": 41, "names": {"0": "class \"0\" \u00e9", "1": "class \"1\" \u00e9", "2": "class \"2\" \u00e9"}, "scale": "n", "task": "detect", "train_args": {"augmentation": {"degrees": 0, "mosaic": 1.0}, "batch": 300, "cos_lr": true, "data": "data/dataset.yaml", "freeze": [0, 1], "imgsz": 640, "lr0": 0.001, "resume": false, "seed": -5000000000, "time": null}, "train_metrics": {"metrics/mAP50(B)": 0.817, "metrics/mAP50-95(B)": 0.508}, "version": "VERSION"}"#;
    assert_eq!(lines[specs.len()], expected.replace("VERSION", env!("CARGO_PKG_VERSION")));
}

/// Writes our weights in the other ways that people save them.
const REWRITE: &str = r#"
import datetime, pathlib, torch
from collections import OrderedDict
file = torch.load("best.pt", weights_only=True)
weights = file["model"]
torch.save(weights, "plain.pt")
torch.save({"state_dict": {"module." + name: tensor for name, tensor in weights.items()}}, "wrapped.pt", pickle_protocol=4)
torch.save({"model": OrderedDict((name, torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor) for name, tensor in weights.items()),
            "names": ["a", "b", "c"], "train_args": {"data": pathlib.Path("/data/set.yaml"), "when": datetime.datetime(2026, 1, 1)}, "optimizer": None},
           "parameters.pt", pickle_protocol=5)
torch.save({name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}, "bfloat16.pt")
strided = {}
for name, tensor in weights.items():
    if tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    elif tensor.dim() == 1:
        tensor = torch.stack([tensor, tensor], dim=1)[:, 1]
    strided[name] = tensor
assert not all(tensor.is_contiguous() for tensor in strided.values())
torch.save(strided, "strided.pt")
from ultralytics.nn.tasks import DetectionModel
net = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
net.load_state_dict(weights)
net.names = {0: "x", 1: "y", 2: "z"}
other = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
import numpy
torch.save({"epoch": 7, "best_fitness": numpy.float64(0.25), "model": other, "ema": net, "train_args": {"lr0": 0.5}, "train_metrics": {"fitness": numpy.float32(0.5)}}, "ema.pt")
torch.save(net, "module.pt")
torch.save(weights, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(DetectionModel("yolov8n.yaml", verbose=False).state_dict(), "yolov8n.pt")
torch.save(DetectionModel("yolov8n.yaml", verbose=False), "yolov8n_module.pt")
from ultralytics import YOLO
YOLO("yolo11n-seg.yaml").save("segmentation.pt")
torch.save(net.eval().fuse(verbose=False).state_dict(), "fused.pt")
class Evil:
    def __reduce__(self):
        import os
        return (os.system, ("touch executed",))
torch.save({"model": weights, "extra": Evil()}, "evil.pt")
"#;

#[test]
fn what_pytorch_writes_in_other_ways_is_read() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = checkpoint(3);
    let path = |name: &str| folder.path().join(name);
    save_state_dict(&path("best.pt"), &original).unwrap();
    run(&python, REWRITE, folder.path());
    for name in ["plain.pt", "wrapped.pt", "parameters.pt", "strided.pt", "ema.pt", "module.pt"] {
        let read = load(&path(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_same_bits(&read.model, &original.model);
    }
    assert_eq!(load(&path("plain.pt")).unwrap().names, ["class0", "class1", "class2"]);
    let parameters = load(&path("parameters.pt")).unwrap();
    assert_eq!(parameters.names, ["a", "b", "c"]);
    assert_eq!(parameters.train_args[0].1, yolo11_checkpoint::Value::String("/data/set.yaml".into()));
    let ema = load(&path("ema.pt")).unwrap();
    assert_eq!((ema.names, ema.epoch), (vec!["x".to_string(), "y".into(), "z".into()], Some(7)));
    assert_eq!((ema.best_fitness, ema.metrics), (Some(0.25), vec![("fitness".to_string(), 0.5)]));
    let rounded = load(&path("bfloat16.pt")).unwrap();
    let values = original.model.tensor(0).iter().map(|value| bf16::from_f32(*value).to_f32());
    assert!(rounded.model.tensor(0).iter().copied().eq(values));

    for (name, part) in [
        ("legacy.pt", "written in PyTorch's old format (before 1.6)"),
        ("yolov8n.pt", "these are not the weights of a YOLO11 detector: "),
        (
            "yolov8n_module.pt",
            "yolov8n_module.pt: it holds a DetectionModel (yolov8n.yaml), a model of another family than YOLO11\nhint: ",
        ),
        (
            "segmentation.pt",
            "segmentation.pt: it holds a SegmentationModel (yolo11n-seg.yaml), a model for segmentation, where",
        ),
        ("fused.pt", "multiplied into the convolutions (fused)"),
        ("evil.pt", "the file names code to run (`posix.system`); it was refused and nothing was executed"),
    ] {
        let message = load(&path(name)).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    assert!(!path("executed").exists());
}
