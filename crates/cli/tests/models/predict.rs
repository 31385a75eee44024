//! `yolo11 predict` and `benchmark` as their users run them: lines as they come, videos, tiles, every back end. Needs the reference data
//! (`YOLO11_SHARED`); videos need ffmpeg; the reference trainer's own files need a Python with it (`YOLO11_PYTHON`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Bench {
    shared: PathBuf,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Option<Bench> {
        let Some(shared) = std::env::var_os("YOLO11_SHARED").map(PathBuf::from) else {
            eprintln!("skipped: YOLO11_SHARED is not set");
            return None;
        };
        Some(Bench { shared, folder: tempfile::tempdir().unwrap() })
    }

    fn weights(&self) -> PathBuf {
        self.shared.join("weights/yolo11n_coco_approx.pt")
    }

    fn photo(&self, name: &str) -> PathBuf {
        self.shared.join("data/photos").join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs `predict`, which must succeed, and gives what it wrote to stdout.
    fn predict(&self, model: &Path, source: &Path, more: &[&str]) -> String {
        let mut command = self.command(&["predict", &format!("model={}", model.display())]);
        let output = command.arg(format!("source={}", source.display())).args(more).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn lines(&self, model: &Path, source: &Path, more: &[&str]) -> Vec<Value> {
        let text = self.predict(model, source, &[more, &["--jsonl"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A second of the photograph of a bus, ten frames; none where ffmpeg is missing.
    fn video(&self) -> Option<PathBuf> {
        let video = self.folder.path().join("street.mp4");
        let photo = self.photo("bus.jpg");
        let made = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-loop", "1", "-i"])
            .arg(photo)
            .args(["-t", "1", "-r", "10", "-vf", "scale=406:540", "-pix_fmt", "yuv420p"])
            .arg(&video)
            .output();
        match made {
            Ok(output) => {
                assert!(output.status.success(), "{}", said(&output));
                Some(video)
            }
            Err(_) => {
                eprintln!("skipped: ffmpeg is not installed");
                None
            }
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(line: &Value) -> Vec<&str> {
    line["detections"].as_array().unwrap().iter().map(|found| found["name"].as_str().unwrap()).collect()
}

/// Greatest differences of boxes and scores between two pictures' detections, which must be the same objects in the same order.
fn differences(one: &Value, other: &Value) -> [f64; 2] {
    assert_eq!(names(one), names(other));
    let pairs = one["detections"].as_array().unwrap().iter().zip(other["detections"].as_array().unwrap());
    pairs.fold([0.0, 0.0], |[boxes, scores], (a, b)| {
        let apart = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs();
        let sides = ["x1", "y1", "x2", "y2"].map(|side| apart(&a["box"][side], &b["box"][side]));
        [sides.into_iter().fold(boxes, f64::max), apart(&a["confidence"], &b["confidence"]).max(scores)]
    })
}

#[test]
fn lines_classes_and_batches() {
    let Some(bench) = Bench::new() else { return };
    let photos = bench.shared.join("data/photos");
    let lines = bench.lines(&bench.weights(), &photos, &["save=false"]);
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["path"].as_str().unwrap().ends_with("bus.jpg"));
    assert_eq!(names(&lines[0]).iter().filter(|name| **name == "person").count(), 4);
    assert!(!bench.folder.path().join("runs/predict/bus.jpg").exists());
    let whole: Vec<Value> = serde_json::from_str(&bench.predict(&bench.weights(), &photos, &["--json"])).unwrap();
    assert_eq!(lines[0]["detections"], whole[0]["detections"]);
    assert!(bench.folder.path().join("runs/predict2/bus.jpg").exists());

    // Two pictures in one input of the same shape.
    let square = bench.lines(&bench.weights(), &photos, &["batch=2"]);
    let [boxes, scores] = differences(&lines[1], &square[1]);
    assert!(boxes < 1e-3 && scores < 1e-6, "{boxes} {scores}");

    let buses = bench.lines(&bench.weights(), &photos, &["classes=5"]);
    assert_eq!((names(&buses[0]), names(&buses[1]).len()), (vec!["bus"], 0));
    let settings = [format!("model={}", bench.weights().display()), format!("source={}", photos.display())];
    let refused = bench.command(&["predict", "classes=99", &settings[0], &settings[1]]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        said(&refused).starts_with("error: classes: there is no class 99, the model has 80\nhint: "),
        "{}",
        said(&refused)
    );
    // Where any class suppresses any other, there are at most as many.
    let agnostic = bench.lines(&bench.weights(), &photos, &["agnostic_nms=true", "conf=0.05"]);
    let plain = bench.lines(&bench.weights(), &photos, &["conf=0.05"]);
    assert!(names(&agnostic[0]).len() <= names(&plain[0]).len());
}

#[test]
fn videos_are_looked_at_frame_by_frame() {
    let Some(bench) = Bench::new() else { return };
    let Some(video) = bench.video() else { return };
    let lines = bench.lines(&bench.weights(), &video, &["vid_stride=3", "batch=2", "save_txt=true"]);
    let frames: Vec<u64> = lines.iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    assert_eq!(frames, [0, 3, 6, 9]);
    assert_eq!(lines[3]["seconds"], 0.9);
    assert!(lines.iter().all(|line| names(line).contains(&"bus")), "{lines:?}");
    let folder = bench.folder.path().join("runs/predict");
    assert!(folder.join("labels/street_000003.txt").exists());
    let result = folder.join("street.mp4");
    // What was written can be read again: the labelled frames.
    let again = bench.lines(&bench.weights(), &result, &["save=false"]);
    assert_eq!(again.len(), 4);
    assert!(names(&again[0]).contains(&"bus"));
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn videos_that_cannot_be_read_are_named() {
    let Some(bench) = Bench::new() else { return };
    let broken = bench.folder.path().join("broken.mp4");
    std::fs::write(&broken, "this is no video").unwrap();
    let model = format!("model={}", bench.weights().display());
    let source = format!("source={}", broken.display());
    let missing =
        bench.command(&["predict", &model, &source]).env("YOLO11_FFMPEG", "/nowhere/ffmpeg").output().unwrap();
    assert_eq!(missing.status.code(), Some(3));
    assert_eq!(
        said(&missing),
        "error: videos and cameras need ffmpeg, and `/nowhere/ffmpeg` is not installed\n\
         hint: install it (apt install ffmpeg, brew install ffmpeg), or name it in YOLO11_FFMPEG\n"
    );
    if bench.video().is_some() {
        let refused = bench.command(&["predict", &model, &source]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let wanted = format!("error: {}: cannot be read as a video: ", broken.display());
        assert!(said(&refused).starts_with(&wanted), "{}", said(&refused));
    }
}

#[test]
fn files_of_the_reference_trainer_give_the_same() {
    let Some(bench) = Bench::new() else { return };
    let Ok(python) = std::env::var("YOLO11_PYTHON") else {
        eprintln!("skipped: YOLO11_PYTHON is not set");
        return;
    };
    const EXPORT: &str = r#"
import shutil, sys
from ultralytics import YOLO
for name, options in {"dynamic": {"dynamic": True}, "suppressed": {"nms": True, "conf": 0.25, "iou": 0.7}}.items():
    shutil.copy(sys.argv[1], name + ".pt")
    YOLO(name + ".pt").export(format="onnx", simplify=False, opset=17, **options)
"#;
    let exported = Command::new(python)
        .args(["-c", EXPORT])
        .arg(bench.weights())
        .current_dir(bench.folder.path())
        .env("YOLO_OFFLINE", "true")
        .env("YOLO_CONFIG_DIR", bench.folder.path())
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", said(&exported));
    let photo = bench.photo("bus.jpg");
    let ours = bench.lines(&bench.weights(), &photo, &["save=false", "imgsz=640"]);
    // A file of fixed size takes squares, in which the picture lies otherwise: so it is held against a square file of ours.
    let square = bench.folder.path().join("square.onnx");
    let settings = [format!("model={}", bench.weights().display()), format!("file={}", square.display())];
    let written = bench.command(&["export", "imgsz=640", &settings[0], &settings[1]]).output().unwrap();
    assert!(written.status.success(), "{}", said(&written));
    let square = bench.lines(&square, &photo, &["save=false", "backend=rust"]);
    for (name, ours) in [("dynamic.onnx", &ours[0]), ("suppressed.onnx", &square[0])] {
        for backend in ["backend=rust", "backend=auto"] {
            let file = bench.folder.path().join(name);
            let found = bench.lines(&file, &photo, &["save=false", backend]);
            let [boxes, scores] = differences(ours, &found[0]);
            eprintln!("{name}, {backend}: boxes {boxes:.4} px, scores {scores:.6}");
            assert!(boxes < 0.5 && scores < 1e-3, "{name}, {backend}");
        }
    }
}

#[test]
fn accuracy_is_the_same_in_every_back_end_and_the_formats_are_compared() {
    let Some(bench) = Bench::new() else { return };
    let coco = bench.shared.join("data/coco128");
    let images = coco.join("images/train2017");
    let mut pictures: Vec<PathBuf> = std::fs::read_dir(images).unwrap().map(|entry| entry.unwrap().path()).collect();
    pictures.sort();
    let list: String = pictures.iter().take(12).map(|path| format!("{}\n", path.display())).collect();
    std::fs::write(bench.folder.path().join("some.txt"), list).unwrap();
    let original = std::fs::read_to_string(coco.join("dataset.yaml")).unwrap();
    let names = &original[original.find("names:").unwrap()..];
    let data = bench.folder.path().join("some.yaml");
    std::fs::write(&data, format!("path: .\ntrain: some.txt\nval: some.txt\n{names}")).unwrap();
    let mut command =
        bench.command(&["benchmark", "formats=pt,onnx,torchscript", "imgsz=320", "--json", "--repeats", "2"]);
    let command = command.arg(format!("model={}", bench.weights().display())).arg(format!("data={}", data.display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let native = rows[0]["mAP50-95"].as_f64().unwrap();
    assert!(native > 0.3, "{report}");
    let ran: Vec<&Value> = rows.iter().filter(|row| row["median_ms"].is_number()).collect();
    assert!(ran.len() >= 2, "{report}");
    for row in &ran {
        let map = row["mAP50-95"].as_f64().unwrap();
        eprintln!("{} in {}: mAP50-95 {map:.5}", row["format"], row["backend"]);
        assert!((map - native).abs() < 1e-3, "{report}");
        assert!(row["best_ms"].as_f64() <= row["median_ms"].as_f64());
        assert!(row["bytes"].as_u64().unwrap() > 1_000_000 && row["memory_bytes"].as_u64().unwrap() > 10_000_000);
    }
    let last = rows.last().unwrap();
    assert_eq!((&last["format"], &last["backend"]), (&Value::from("torchscript"), &Value::Null));
    let folder = bench.folder.path().join("runs/benchmark");
    for name in ["benchmark.csv", "benchmark.json", "benchmark.png", "yolo11n_coco_approx.onnx"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    let csv = std::fs::read_to_string(folder.join("benchmark.csv")).unwrap();
    assert_eq!(csv.lines().count(), rows.len() + 1);
}
