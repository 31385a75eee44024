//! The reference trainer opens what is written here, of every size, as if it had written it itself; and what it writes opens
//! here. Runs the Python named in `YOLO11_PYTHON` (with `torch` and `ultralytics`, as black boxes).

mod common;

use common::{assert_same_bits, checkpoint, python, run};
use half::f16;
use yolo11_checkpoint::{Checkpoint, Value, load, save_pt};
use yolo11_network::{Model, Network, Scale, TensorKind};

/// Opens each size, holds its modules against a model that the program builds itself, and writes it again in its own way.
const OPEN: &str = r#"
import torch
torch.set_num_threads(1)
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
TREE = ("_modules", "_parameters", "_buffers")

def differences(ours, theirs):
    """Attributes in which two modules differ, but for those that tell where a model comes from."""
    found = [name for name in TREE if list(getattr(ours, name)) != list(getattr(theirs, name))]
    ours, theirs = vars(ours), vars(theirs)
    for name in sorted((set(ours) | set(theirs)) - set(TREE) - {"training", "args", "names", "nc", "pt_path", "task", "yaml"}):
        a, b = ours.get(name), theirs.get(name)
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b and type(a) is type(b)
        if not same and not (name in ("anchors", "strides") and b is None and a.numel() == 0):
            found.append(f"{name}: {a} and not {b}")
    return found

modules = []
for scale in "nsmlx":
    model = YOLO(f"ours_{scale}.pt")
    reference = DetectionModel(f"yolo11{scale}.yaml", nc=3, verbose=False)
    reference.model[0].act.inplace = True  # set when a file is opened
    ours, theirs = dict(model.model.named_modules()), dict(reference.named_modules())
    assert list(ours) == list(theirs)
    for path, module in theirs.items():
        assert type(ours[path]) is type(module), path
        assert not differences(ours[path], module), (path, differences(ours[path], module))
    shapes = lambda model: [(name, tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()]
    assert shapes(model.model) == shapes(reference)
    # The architecture it would train anew from.
    rebuilt = DetectionModel(dict(model.model.yaml), verbose=False)
    assert shapes(rebuilt) == shapes(reference)
    assert [type(module) for module in rebuilt.modules()] == [type(module) for module in reference.modules()]
    assert model.task == "detect" and model.names == {0: "a", 1: "b", 2: "c"} and model.overrides["imgsz"] == 64, model.overrides
    # The same function: the reference with our weights.
    reference.load_state_dict(model.model.state_dict())
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model.model.eval()(image)[0], reference.eval()(image)[0]), scale
    model.save(f"theirs_{scale}.pt")
    modules.append(len(ours))
print(modules)
"#;

#[test]
fn ultralytics_opens_every_size_of_ours_and_its_own_opens_here() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = ["a", "b", "c"].map(str::to_string);
    let original = |scale: Scale| {
        let mut checkpoint = Checkpoint::new(Model::initialise(&Network::yolo11(scale, 3), 1), names.to_vec());
        checkpoint.train_args = vec![("imgsz".into(), Value::Int(64)), ("tracking".into(), Value::Bool(true))];
        checkpoint
    };
    for scale in Scale::ALL {
        save_pt(&path(&format!("ours_{}.pt", scale.letter())), &original(scale)).unwrap();
    }
    let printed = run(&python, OPEN, folder.path());
    assert!(printed.ends_with("[319, 319, 409, 631, 631]\n"), "{printed}");
    for scale in Scale::ALL {
        let (original, theirs) = (original(scale), load(&path(&format!("theirs_{}.pt", scale.letter()))).unwrap());
        assert_eq!(theirs.names, names);
        let network = original.model.network();
        assert_eq!(theirs.model.network(), network);
        for (index, spec) in network.tensors().iter().enumerate() {
            // It writes half precision.
            let half = |value: &f32| {
                if spec.kind == TensorKind::BatchesTracked { *value } else { f16::from_f32(*value).to_f32() }
            };
            let expected: Vec<f32> = original.model.tensor(index).iter().map(half).collect();
            assert_eq!(theirs.model.tensor(index), expected, "{}", spec.name);
        }
    }
}

/// Loads with `weights_only=True`: refused by the name of a class, and read where the classes are allowed.
const ALLOWED: &str = r#"
import importlib, torch
try:
    torch.load("best.pt", weights_only=True)
    raise AssertionError("not refused")
except Exception as error:
    assert "GLOBAL ultralytics.nn.tasks.DetectionModel was not an allowed global" in str(error), error
classes = torch.serialization.get_unsafe_globals_in_checkpoint("best.pt")
assert all(name.startswith(("ultralytics.nn.", "torch.nn.modules.")) for name in classes), classes
found = [getattr(importlib.import_module(module), name) for module, name in (path.rsplit(".", 1) for path in classes)]
with torch.serialization.safe_globals(found):
    checkpoint = torch.load("best.pt", weights_only=True)
    torch.load("best.pt", weights_only=True, mmap=True)
assert checkpoint["ema"] is None and checkpoint["optimizer"] is None and checkpoint["epoch"] == 41
torch.save(checkpoint["model"].state_dict(), "state.pt")
print(len(checkpoint["model"].state_dict()), not any(value.requires_grad for value in checkpoint["model"].parameters()))
"#;

#[test]
fn weights_only_reads_the_module_tree_where_its_classes_are_allowed() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = checkpoint(3);
    save_pt(&folder.path().join("best.pt"), &original).unwrap();
    let printed = run(&python, ALLOWED, folder.path());
    assert!(printed.ends_with("499 True\n"), "{printed}");
    assert_same_bits(&load(&folder.path().join("state.pt")).unwrap().model, &original.model);
}
