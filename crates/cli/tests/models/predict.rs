//! `yolo11 predict` and `benchmark` as their users run them: lines as they come, videos, tiles, every back end.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bench::{Bench, apart, said, variable};

impl Bench {
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
        let video = self.path("street.mp4");
        let [photo, _] = self.photos();
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

fn names(line: &Value) -> Vec<&str> {
    line["detections"].as_array().unwrap().iter().map(|found| found["name"].as_str().unwrap()).collect()
}

/// Greatest differences of boxes and scores between two pictures' detections, which must be the same objects in the same order.
fn differences(one: &Value, other: &Value) -> [f64; 2] {
    assert_eq!(names(one), names(other));
    let pairs = one["detections"].as_array().unwrap().iter().zip(other["detections"].as_array().unwrap());
    pairs.fold([0.0, 0.0], |[boxes, scores], (a, b)| {
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
    // Where nothing is written there is no folder for it either.
    assert!(!bench.path("runs").exists());
    let whole: Vec<Value> = serde_json::from_str(&bench.predict(&bench.weights(), &photos, &["--json"])).unwrap();
    assert_eq!(lines[0]["detections"], whole[0]["detections"]);
    assert!(bench.path("runs/predict/bus.jpg").exists());

    // Two pictures in one input of the same shape.
    let square = bench.lines(&bench.weights(), &photos, &["batch=2"]);
    let [boxes, scores] = differences(&lines[1], &square[1]);
    assert!(boxes < 1e-3 && scores < 1e-6, "{boxes} {scores}");

    let buses = bench.lines(&bench.weights(), &photos, &["classes=5"]);
    assert_eq!((names(&buses[0]), names(&buses[1]).len()), (vec!["bus"], 0));
    let settings = [format!("model={}", bench.weights().display()), format!("source={}", photos.display())];
    let place = |save: &str| said(&bench.run(&["predict", save, "name=place", &settings[0], &settings[1]]));
    assert!(place("save=false").ends_with("2 pictures\n"));
    assert!(place("save_txt=true").ends_with("2 pictures; results in runs/place\n"));
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
    let folder = bench.path("runs/predict");
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
fn a_stream_is_read_from_its_address() {
    let Some(bench) = Bench::new() else { return };
    let Some(video) = bench.video() else { return };
    let stream = bench.path("live.ts");
    let packed = Command::new("ffmpeg").arg("-i").arg(video).args(["-c", "copy"]).arg(&stream).output().unwrap();
    assert!(packed.status.success(), "{}", said(&packed));
    let content = std::fs::read(stream).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("source=http://{}/live", listener.local_addr().unwrap());
    // It is looked into first, and then read.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n");
            let _ = connection.write_all(&content);
        }
    });
    let model = format!("model={}", bench.weights().display());
    let output = bench.run(&["predict", "--jsonl", &model, &address, "save=true"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Frames that came while another was looked at may have been passed over.
    let frames: Vec<u64> = lines.iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    assert!(!frames.is_empty() && frames.is_sorted_by(|a, b| a < b) && frames.iter().all(|frame| *frame < 10));
    assert!(lines.iter().all(|line| names(line).contains(&"bus")), "{lines:?}");
    assert!(bench.path("runs/predict/live.mp4").exists());
}

#[test]
fn tiles_find_what_is_small_in_a_large_picture() {
    let Some(bench) = Bench::new() else { return };
    // Eighty times the photograph of a bus and four people, each 216 pixels wide.
    let sheet = bench.path("sheet.png");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-loop", "1", "-i"])
        .arg(&bench.photos()[0])
        .args(["-vf", "scale=216:288,tile=10x8:padding=40:color=gray", "-frames:v", "1"])
        .arg(&sheet)
        .output();
    let Ok(made) = made else {
        eprintln!("skipped: ffmpeg is not installed");
        return;
    };
    assert!(made.status.success(), "{}", said(&made));
    let settings = ["save=false", "imgsz=640", "conf=0.5", "max_det=1000"];
    let count = |more: &[&str], name: &str| {
        let lines = bench.lines(&bench.weights(), &sheet, &[&settings, more].concat());
        let found = lines[0]["detections"].as_array().unwrap();
        for detection in found {
            let side = |name: &str| detection["box"][name].as_f64().unwrap();
            assert!(side("x1") >= 0.0 && side("y1") >= 0.0 && side("x2") <= 2520.0 && side("y2") <= 2584.0);
        }
        names(&lines[0]).iter().filter(|found| **found == name).count()
    };
    let [whole, tiled] = [count(&[], "person"), count(&["tile=640"], "person")];
    eprintln!("of 320 people {whole} on the whole picture, {tiled} in tiles");
    assert!(whole < 20 && tiled > 200 && tiled <= 320, "{whole} {tiled}");
    // On a seam a bus is seen by two tiles and counted once.
    assert_eq!(count(&["tile=640", "tile_overlap=0.3"], "bus"), 80);
}

#[test]
fn videos_that_cannot_be_read_are_named() {
    let Some(bench) = Bench::new() else { return };
    let broken = bench.path("broken.mp4");
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
        assert_eq!(refused.status.code(), Some(3));
        let wanted = format!("error: {}: cannot be read as a video: ", broken.display());
        assert!(said(&refused).starts_with(&wanted), "{}", said(&refused));
    }
}

#[test]
fn files_of_the_reference_trainer_give_the_same() {
    let Some(bench) = Bench::new() else { return };
    let Some(python) = variable("YOLO11_PYTHON") else { return };
    const EXPORT: &str = r#"
import shutil, sys
from ultralytics import YOLO
for name, options in {"dynamic": {"dynamic": True}, "suppressed": {"nms": True, "conf": 0.25, "iou": 0.7}}.items():
    shutil.copy(sys.argv[1], name + ".pt")
    YOLO(name + ".pt").export(format="onnx", simplify=False, opset=17, **options)
"#;
    bench.script(&python, EXPORT, [bench.weights()]);
    let [photo, _] = bench.photos();
    let ours = bench.lines(&bench.weights(), &photo, &["save=false", "imgsz=640"]);
    // A file of fixed size takes squares, in which the picture lies otherwise: so it is held against a square file of ours.
    let square = bench.path("square.onnx");
    let settings = [format!("model={}", bench.weights().display()), format!("file={}", square.display())];
    bench.run(&["export", "imgsz=640", &settings[0], &settings[1]]);
    let square = bench.lines(&square, &photo, &["save=false", "backend=rust"]);
    for (name, ours) in [("dynamic.onnx", &ours[0]), ("suppressed.onnx", &square[0])] {
        for backend in ["backend=rust", "backend=auto"] {
            let file = bench.path(name);
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
    let data = bench.data(0, 12);
    let mut command =
        bench.command(&["benchmark", "formats=pt,onnx,torchscript,tflite", "imgsz=320", "--json", "--repeats", "2"]);
    // It has PyTorch, and no LiteRT.
    let python = variable("YOLO11_PYTHON");
    command.arg(format!("python={}", python.as_deref().unwrap_or("no-such-python")));
    let command = command.arg(format!("model={}", bench.weights().display())).arg(format!("data={}", data.display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let native = rows[0]["mAP50-95"].as_f64().unwrap();
    assert!(native > 0.3, "{report}");
    let ran: Vec<&Value> = rows.iter().filter(|row| row["median_ms"].is_number()).collect();
    assert!(ran.len() >= 2 + usize::from(python.is_some()), "{report}");
    for row in &ran {
        let map = row["mAP50-95"].as_f64().unwrap();
        eprintln!("{} in {}: mAP50-95 {map:.5}", row["format"], row["backend"]);
        assert!((map - native).abs() < 1e-3, "{report}");
        assert!(row["best_ms"].as_f64() <= row["median_ms"].as_f64());
        assert!(row["bytes"].as_u64().unwrap() > 1_000_000 && row["memory_bytes"].as_u64().unwrap() > 10_000_000);
    }
    let last = rows.last().unwrap();
    assert_eq!((&last["format"], &last["backend"]), (&Value::from("tflite"), &Value::Null));
    assert!(
        last["note"].as_str().unwrap().starts_with("not run: its runtime is not at hand. python3 -m venv "),
        "{last}"
    );
    let folder = bench.path("runs/benchmark");
    for name in ["benchmark.csv", "benchmark.json", "benchmark.png", "yolo11n_coco_approx.onnx"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    let csv = std::fs::read_to_string(folder.join("benchmark.csv")).unwrap();
    assert_eq!(csv.lines().count(), rows.len() + 1);
}
