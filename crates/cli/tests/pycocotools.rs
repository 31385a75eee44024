//! Validation of real pictures beside pycocotools on the same detections. Needs the reference data (`YOLO11_SHARED`) and a Python
//! with pycocotools (`YOLO11_PYTHON`).

use std::process::Command;

/// Reads the labels as ground truth, evaluates the detections, prints COCO's AP and AP50.
const EVALUATE: &str = r#"
import contextlib, glob, io, json, os, struct, sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
images_folder, labels_folder, detections = sys.argv[1:]
from PIL import Image
images, annotations = [], []
for path in sorted(glob.glob(images_folder + "/*")):
    stem = os.path.splitext(os.path.basename(path))[0]
    width, height = Image.open(path).size
    images.append({"id": int(stem), "width": width, "height": height})
    label = os.path.join(labels_folder, stem + ".txt")
    rows = {line.strip() for line in open(label) if line.strip()} if os.path.exists(label) else set()
    for row in sorted(rows):
        c, x, y, w, h = map(float, row.split())
        box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        annotations.append({"id": len(annotations) + 1, "image_id": int(stem), "category_id": int(c), "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
truth = COCO()
truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": str(i)} for i in range(80)]}
with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
    evaluation.evaluate(); evaluation.accumulate(); evaluation.summarize()
print(json.dumps([float(evaluation.stats[0]), float(evaluation.stats[1])]))
"#;

#[test]
fn map_of_real_pictures_is_what_pycocotools_makes_of_the_same_detections() {
    let (Ok(shared), Ok(python)) = (std::env::var("YOLO11_SHARED"), std::env::var("YOLO11_PYTHON")) else {
        eprintln!("skipped: YOLO11_SHARED or YOLO11_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = format!("{shared}/data/coco128");
    let description = std::fs::read_to_string(format!("{data}/dataset.yaml")).unwrap();
    let description = description.replace("path: .", &format!("path: {data}"));
    std::fs::write(folder.path().join("coco128.yaml"), description).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_yolo11"))
        .args(["val", "--json", "data=coco128.yaml", "save_json=true"])
        .arg(format!("model={shared}/weights/yolo11n_coco_approx.pt"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    let evaluated = Command::new(python)
        .args(["-c", EVALUATE])
        .arg(format!("{data}/images/val2017"))
        .arg(format!("{data}/labels/val2017"))
        .arg(folder.path().join("runs/val/predictions.json"))
        .output()
        .unwrap();
    assert!(evaluated.status.success(), "{}", String::from_utf8_lossy(&evaluated.stderr));
    let theirs: Vec<f64> = serde_json::from_slice(&evaluated.stdout).unwrap();
    eprintln!("ours {ours}\npycocotools {theirs:?}");
    let figure = |name: &str| ours[name].as_f64().unwrap_or_else(|| panic!("{name} is missing in {ours}"));
    assert!(theirs[0] > 0.3, "{theirs:?}");
    assert!((figure("mAP50-95") - theirs[0]).abs() < 0.003, "{} {theirs:?}", figure("mAP50-95"));
    assert!((figure("mAP50") - theirs[1]).abs() < 0.003, "{} {theirs:?}", figure("mAP50"));
}
