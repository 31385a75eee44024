//! A checkpoint's way to the reference trainer and back.

use serde_json::Value;

use crate::bench::{Bench, apart, said, variable};

/// Uses our best.pt as anyone would: measures, looks at a picture, exports, trains two epochs, measures again.
const THERE: &str = r#"
import json, os, sys
import torch
torch.set_num_threads(2)
from ultralytics import YOLO, settings
settings.update({"sync": False, "mlflow": False})
ours, picture = sys.argv[1:]
common = dict(data="data.yaml", imgsz=320, device="cpu", workers=0, plots=False, verbose=False, project=os.path.abspath("there"), exist_ok=True)

def measured(path, **settings):
    results = YOLO(path).val(batch=1, name="val", **{**common, **settings}).results_dict
    return [float(results["metrics/mAP50(B)"]), float(results["metrics/mAP50-95(B)"])]

before = measured(ours)
[result] = YOLO(ours).predict(picture, imgsz=640, conf=0.25, device="cpu", verbose=False)
boxes = result.boxes
found = [[result.names[int(c)], float(s), *map(float, b)] for c, s, b in zip(boxes.cls, boxes.conf, boxes.xyxy)]
exported = [YOLO(ours).export(format="onnx", imgsz=64, simplify=False), YOLO(ours).export(format="torchscript", imgsz=64)]
YOLO(ours).train(epochs=2, batch=4, amp=False, save_period=1, name="train", **common)
trained = "there/train/weights/last.pt"
print(json.dumps({"before": before, "after": measured(trained), "larger": measured(trained, imgsz=640), "found": found, "exported": exported}))
"#;

/// Keeps pictures as PNG: two decoders of JPEG differ by a step here and there.
const KEEP: &str = r#"
import cv2, os, sys
for file in sys.argv[1:]:
    cv2.imwrite(os.path.splitext(file)[0] + ".png", cv2.imread(file), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    os.remove(file)
"#;

#[test]
fn a_checkpoint_goes_to_the_reference_trainer_and_back() {
    let (Some(python), Some(bench)) = (variable("YOLO11_PYTHON"), Bench::new()) else { return };
    bench.data(16, 64);
    let pictures = ["train", "val"].map(|split| std::fs::read_dir(bench.path("data/images").join(split)).unwrap());
    bench.script(&python, KEEP, pictures.into_iter().flatten().map(|picture| picture.unwrap().path()));
    let weights = format!("model={}", bench.weights().display());
    let train = ["data=data.yaml", "imgsz=320", "batch=4", "plots=false"];
    bench.run(&[&["train", &weights, "epochs=1", "name=ours"], &train[..]].concat());
    let ours = "runs/ours/weights/best.pt";
    let json = |arguments: &[&str]| -> Value { serde_json::from_slice(&bench.run(arguments).stdout).unwrap() };
    // One picture at a time: pictures of a batch share an input, and in which order the reference takes those of one shape, and so which
    // share one, depends on the processor.
    let measure = |weights: &str, size: &str| {
        let model = format!("model={weights}");
        let report = json(&["val", "--json", &model, "data=data.yaml", size, "batch=1", "plots=false"]);
        ["mAP50 (interpolated)", "mAP50-95 (interpolated)"].map(|name| report[name].as_f64().unwrap())
    };
    let before = measure(ours, "imgsz=320");

    let [photo, _] = bench.photos();
    let talk = bench.script(&python, THERE, [ours.as_ref(), photo.as_os_str()]);
    assert!(talk.contains("Transferred 499/499 items from pretrained weights"), "{talk}");
    let there: Value = serde_json::from_str(talk.lines().last().unwrap()).unwrap();
    assert_eq!(there["exported"].as_array().unwrap().len(), 2);

    // The same figures on each side, before and after its training.
    let trained = "there/train/weights/last.pt";
    let after = ["imgsz=320", "imgsz=640"].map(|size| measure(trained, size));
    for (name, here) in [("before", before), ("after", after[0]), ("larger", after[1])] {
        let figures: Vec<f64> = serde_json::from_value(there[name].clone()).unwrap();
        eprintln!("{name}: here {here:?}, there {figures:?}");
        assert!(figures[1] > 0.2, "{figures:?}");
        for (here, there) in here.iter().zip(&figures) {
            assert!((here - there).abs() < 1e-3, "{name}: {here} here, {there} there");
        }
    }

    // The same objects in a picture.
    let [model, source] = [format!("model={ours}"), format!("source={}", photo.display())];
    let found = json(&["predict", "--json", &model, &source, "imgsz=640", "save=false"]);
    let (found, theirs) = (found[0]["detections"].as_array().unwrap(), there["found"].as_array().unwrap());
    assert_eq!(found.len(), theirs.len(), "{found:?} {theirs:?}");
    for (our, their) in found.iter().zip(theirs) {
        assert_eq!(our["name"], their[0]);
        assert!(apart(&our["confidence"], &their[1]) < 0.01, "{our} {their}");
        for (place, side) in ["x1", "y1", "x2", "y2"].into_iter().enumerate() {
            assert!(apart(&our["box"][side], &their[2 + place]) < 2.0, "{our} {their}");
        }
    }

    // What it saved in the middle of its training, with optimiser and average, is fine-tuned here; and PyTorch alone opens the
    // result where that was asked for.
    for weights in [trained, "there/train/weights/epoch0.pt"] {
        let model = format!("model={weights}");
        let again = ["train", &model, "epochs=1", "checkpoint_format=state_dict", "name=again", "exist_ok=true"];
        let talk = said(&bench.run(&[&again, &train[..]].concat()));
        assert!(talk.contains(&format!("yolo11n from {weights}: 499 of 499 tensors")), "{talk}");
    }
    let script = r#"import torch; print(len(torch.load("runs/again/weights/best.pt", weights_only=True)["model"]))"#;
    assert_eq!(bench.script(&python, script, [""; 0]), "499\n");

    // It is not one of our runs: to go on with its weights is another thing than to resume.
    let refused = bench.command(&["train", &format!("resume={trained}")]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let text = said(&refused);
    assert!(text.contains("there is no last.state.safetensors to resume from\nhint: "), "{text}");
    assert!(text.contains("to start anew from weights alone use model="), "{text}");
}
