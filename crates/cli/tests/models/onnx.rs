//! ONNX files and TorchScript archives in the hands of onnx's checker, ONNX Runtime, OpenCV, PyTorch and ultralytics, beside our own
//! engine on the same pictures.

use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use yolo11_dataset::decode::decode_file;
use yolo11_dataset::letterbox;
use yolo11_detection::decode::decode;
use yolo11_detection::{Detection, Heads, NmsSettings, detect};
use yolo11_engine::InferenceSession;
use yolo11_network::{Model, Scale};

use crate::bench::{self, apart, random, said, variable};

/// Runs the jobs that it reads from stdin.
const RUN: &str = include_str!("onnx_run.py");

struct Bench {
    bench: bench::Bench,
    python: String,
}

impl Deref for Bench {
    type Target = bench::Bench;

    fn deref(&self) -> &bench::Bench {
        &self.bench
    }
}

/// What Python made of one job.
struct Ran {
    about: Value,
    /// Each output with its shape.
    outputs: Vec<(Vec<usize>, Vec<f32>)>,
}

/// Pictures in one input, and what our engine makes of them.
struct Case {
    pictures: PathBuf,
    count: usize,
    size: [usize; 2],
    /// `[image, anchor]`.
    boxes: Vec<[f32; 4]>,
    /// `[image, anchor, class]`.
    scores: Vec<f32>,
    /// Of each image.
    detections: Vec<Vec<Detection>>,
}

impl Bench {
    fn new() -> Option<Bench> {
        let python = variable("YOLO11_PYTHON")?;
        Some(Bench { bench: bench::Bench::new()?, python })
    }

    /// Runs `yolo11 export` and gives the file.
    fn export(&self, weights: &Path, name: &str, settings: &[&str]) -> PathBuf {
        let file = self.path(name);
        let named = [format!("model={}", weights.display()), format!("file={}", file.display())];
        let output = self.bench.run(&[&["export", "--json", &named[0], &named[1]], settings].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["bytes"], std::fs::metadata(&file).unwrap().len(), "{report}");
        file
    }

    /// The two photos in turn, `count` of them, in an input of this size, through our engine.
    fn case(&self, model: &Model, count: usize, size: [usize; 2]) -> Case {
        let mut bytes = Vec::new();
        for index in 0..count {
            bytes.extend(letterbox(&decode_file(&self.photos()[index % 2]).unwrap(), size, true).0);
        }
        let pictures = self.path(format!("{}-{count}-{}-{}", model.network().scale.letter(), size[0], size[1]));
        std::fs::write(&pictures, &bytes).unwrap();
        let mut session = InferenceSession::plan(model, count, size).unwrap();
        let heads = session.forward(&bytes).unwrap();
        let classes = model.network().classes;
        let heads = Heads { boxes: heads.boxes, scores: heads.scores, images: count, classes, size };
        let decoded = decode(&heads).unwrap();
        let detections = (0..count).map(|image| detect(&heads, image, &NmsSettings::default())).collect();
        Case { pictures, count, size, boxes: decoded.boxes, scores: decoded.scores, detections }
    }

    /// Checks the files and runs them on the cases.
    fn open(&self, jobs: &[(&Path, &Case)]) -> Vec<Ran> {
        self.open_with(jobs, "onnxruntime")
    }

    fn open_with(&self, jobs: &[(&Path, &Case)], reader: &str) -> Vec<Ran> {
        let jobs: Vec<Value> = (jobs.iter())
            .map(|(model, case)| {
                let shape = [case.count, case.size[0], case.size[1], 3];
                json!({"model": model, "pictures": case.pictures, "shape": shape, "reader": reader})
            })
            .collect();
        let mut child = Command::new(&self.python)
            .args(["-c", RUN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(Value::Array(jobs).to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        found.into_iter().map(Ran::read).collect()
    }
}

impl Ran {
    fn read(about: Value) -> Ran {
        let files: Vec<PathBuf> = serde_json::from_value(about["files"].clone()).unwrap();
        let shapes: Vec<Vec<usize>> = serde_json::from_value(about["shapes"].clone()).unwrap();
        let outputs = (files.iter().zip(shapes))
            .map(|(file, shape)| {
                let bytes = std::fs::read(file).unwrap();
                let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                (shape, values)
            })
            .collect();
        Ran { about, outputs }
    }

    /// Greatest differences to our engine over all anchors: of boxes, counted where `counts` takes the anchor's best score, in
    /// pixels, and of scores.
    fn differences(&self, case: &Case, counts: impl Fn(f32) -> bool) -> [f32; 2] {
        let anchors = case.boxes.len() / case.count;
        let classes = case.scores.len() / case.boxes.len();
        let (shape, values) = &self.outputs[0];
        assert_eq!(*shape, [case.count, 4 + classes, anchors]);
        let (mut boxes, mut scores) = (0f32, 0f32);
        for (row, expected) in case.boxes.iter().enumerate() {
            let (image, anchor) = (row / anchors, row % anchors);
            let value = |channel: usize| values[(image * (4 + classes) + channel) * anchors + anchor];
            let own = &case.scores[row * classes..][..classes];
            for class in 0..classes {
                let difference = (value(4 + class) - own[class]).abs();
                assert!(difference.is_finite());
                scores = scores.max(difference);
            }
            if counts(own.iter().copied().fold(0.0, f32::max)) {
                for side in 0..4 {
                    boxes = boxes.max((value(side) - expected[side]).abs());
                }
            }
        }
        [boxes, scores]
    }

    /// Greatest differences of the detections of a file with suppression inside to ours.
    fn detection_differences(&self, case: &Case) -> [f32; 2] {
        let (shape, values) = &self.outputs[0];
        assert_eq!(*shape, [case.count, 300, 6]);
        let (mut boxes, mut scores) = (0f32, 0f32);
        for (image, ours) in case.detections.iter().enumerate() {
            let rows: Vec<&[f32]> = values[image * 1800..][..1800].chunks(6).collect();
            let found = rows.iter().take_while(|row| row[4] > 0.0).count();
            assert_eq!(found, ours.len(), "{ours:?} {:?}", &rows[..found]);
            assert!(rows[found..].iter().all(|row| row.iter().all(|value| *value == 0.0)));
            for (row, own) in rows.iter().zip(ours) {
                assert_eq!(row[5] as usize, own.class);
                scores = scores.max((row[4] - own.score).abs());
                (0..4).for_each(|side| boxes = boxes.max((row[side] - own.bbox[side]).abs()));
            }
        }
        [boxes, scores]
    }
}

fn trained(bench: &Bench) -> Model {
    yolo11_checkpoint::load(&bench.weights()).unwrap().model
}

#[test]
fn a_file_of_fixed_size_gives_what_the_engine_gives() {
    let Some(bench) = Bench::new() else { return };
    let file = bench.export(&bench.weights(), "fixed.onnx", &["imgsz=640"]);
    let model = trained(&bench);
    let case = bench.case(&model, 1, [640, 640]);
    let ran = &bench.open(&[(&file, &case)])[0];
    assert_eq!(ran.about["inputs"], json!([["images", "tensor(float)", [1, 3, 640, 640]]]));
    assert_eq!(ran.about["outputs"], json!([["output0", "tensor(float)", [1, 84, 8400]]]));
    assert_eq!(ran.about["opset"], 17);
    let metadata = &ran.about["metadata"];
    for (key, value) in [("stride", "32"), ("task", "detect"), ("imgsz", "[640, 640]"), ("batch", "1")] {
        assert_eq!(metadata[key], value);
    }
    assert!(metadata["names"].as_str().unwrap().starts_with("{0: 'person', 1: 'bicycle', "), "{metadata}");
    let [boxes, scores] = ran.differences(&case, |_| true);
    eprintln!("fixed, all anchors: boxes {boxes:.5} px, scores {scores:.7}");
    assert!(boxes < 0.5 && scores < 1e-3);

    let [boxes, scores] = bench.open_with(&[(&file, &case)], "opencv")[0].differences(&case, |_| true);
    eprintln!("OpenCV, all anchors: boxes {boxes:.5} px, scores {scores:.7}");
    assert!(boxes < 0.5 && scores < 1e-3);
}

#[test]
fn a_dynamic_file_takes_every_size_and_batch() {
    let Some(bench) = Bench::new() else { return };
    let decoded = bench.export(&bench.weights(), "dynamic.onnx", &["dynamic=true"]);
    let suppressed = bench.export(&bench.weights(), "nms.onnx", &["dynamic=true", "nms=true"]);
    let model = trained(&bench);
    let shapes = [
        (1, [320, 320]),
        (2, [640, 480]),
        (3, [384, 640]),
        (4, [320, 1280]),
        (5, [320, 320]),
        (6, [352, 416]),
        (7, [32, 64]),
        (8, [320, 640]),
        (1, [1280, 1280]),
    ];
    let cases: Vec<Case> = shapes.into_iter().map(|(count, size)| bench.case(&model, count, size)).collect();
    let jobs: Vec<(&Path, &Case)> = cases.iter().map(|case| (decoded.as_path(), case)).collect();
    for (ran, case) in bench.open(&jobs).iter().zip(&cases) {
        let [boxes, scores] = ran.differences(case, |_| true);
        eprintln!("dynamic, {} × {:?}: boxes {boxes:.5} px, scores {scores:.7}", case.count, case.size);
        assert!(boxes < 0.5 && scores < 1e-3);
        assert_eq!(ran.about["inputs"][0][2], json!(["batch", 3, "height", "width"]));
        assert_eq!(ran.about["outputs"][0][2], json!(["batch", 84, "anchors"]));
    }
    let jobs: Vec<(&Path, &Case)> = cases.iter().map(|case| (suppressed.as_path(), case)).collect();
    let mut found = 0;
    for (ran, case) in bench.open(&jobs).iter().zip(&cases) {
        let [boxes, scores] = ran.detection_differences(case);
        eprintln!("suppressed, {} × {:?}: boxes {boxes:.5} px, scores {scores:.7}", case.count, case.size);
        assert!(boxes < 0.5 && scores < 1e-3);
        found += case.detections.iter().map(Vec::len).sum::<usize>();
    }
    assert!(found > 100, "{found}");
}

#[test]
fn half_precision_stays_within_its_bounds() {
    let Some(bench) = Bench::new() else { return };
    let file = bench.export(&bench.weights(), "half.onnx", &["half=true", "imgsz=640"]);
    let model = trained(&bench);
    let pair: Vec<Case> = [[640, 640], [640, 480]].into_iter().map(|size| bench.case(&model, 1, size)).collect();
    let dynamic = bench.export(&bench.weights(), "half-nms.onnx", &["half=true", "dynamic=true", "nms=true"]);
    let ran = bench.open(&[(&file, &pair[0]), (&dynamic, &pair[0]), (&dynamic, &pair[1])]);
    // Shapes are int64, decoding is float32.
    assert_eq!(ran[0].about["weights"], json!(["FLOAT", "FLOAT16", "INT64"]));
    let [boxes, scores] = ran[0].differences(&pair[0], |score| score > 0.25);
    eprintln!("half: boxes of scores above 0.25 {boxes:.4} px, scores of all anchors {scores:.5}");
    assert!(boxes < 0.5 && scores < 1e-2);
    for (ran, case) in ran[1..].iter().zip(&pair) {
        let [boxes, scores] = ran.detection_differences(case);
        eprintln!("half, suppressed: boxes {boxes:.4} px, scores {scores:.5}");
        assert!(boxes < 0.5 && scores < 1e-2);
    }
}

#[test]
fn pytorch_runs_the_torchscript_archive() {
    let Some(bench) = Bench::new() else { return };
    let whole = bench.export(&bench.weights(), "whole.torchscript", &["format=torchscript"]);
    let half = bench.export(&bench.weights(), "half.torchscript", &["format=torchscript", "half=true"]);
    let raw = bench.export(&bench.weights(), "raw.torchscript", &["format=torchscript", "raw=true"]);
    let model = trained(&bench);
    let shapes = [(1, [640, 640]), (2, [640, 480]), (8, [320, 320]), (1, [1280, 960])];
    let cases: Vec<Case> = shapes.into_iter().map(|(count, size)| bench.case(&model, count, size)).collect();
    let mut jobs: Vec<(&Path, &Case)> = cases.iter().map(|case| (whole.as_path(), case)).collect();
    jobs.extend([(half.as_path(), &cases[0]), (raw.as_path(), &cases[0])]);
    let ran = bench.open_with(&jobs, "torch");
    for (ran, case) in ran.iter().zip(&cases) {
        let [boxes, scores] = ran.differences(case, |_| true);
        eprintln!("PyTorch, {} × {:?}: boxes {boxes:.5} px, scores {scores:.7}", case.count, case.size);
        assert!(boxes < 0.5 && scores < 1e-3);
    }
    let [boxes, scores] = ran[4].differences(&cases[0], |score| score > 0.25);
    eprintln!("PyTorch, half: boxes of scores above 0.25 {boxes:.4} px, scores of all anchors {scores:.5}");
    assert!(boxes < 0.5 && scores < 1e-2);
    let shapes: Vec<_> = ran[5].outputs.iter().map(|(shape, _)| shape.as_slice()).collect();
    assert_eq!(shapes, [[1, 144, 80, 80], [1, 144, 40, 40], [1, 144, 20, 20]]);

    let refused = bench
        .command(&["export", "format=torchscript", "nms=true", &format!("model={}", bench.weights().display())])
        .arg(format!("file={}", bench.path("nms.torchscript").display()))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let text = said(&refused);
    assert!(text.starts_with("error: nms=true: PyTorch has no operator"), "{text}");
}

#[test]
fn every_opset_and_mode_is_valid() {
    let Some(bench) = Bench::new() else { return };
    let model = trained(&bench);
    let case = bench.case(&model, 1, [320, 320]);
    for opset in 13..=21 {
        let settings = format!("opset={opset}");
        let fixed = ["imgsz=320", &settings];
        let files = [
            bench.export(&bench.weights(), "decoded.onnx", &fixed),
            bench.export(&bench.weights(), "raw.onnx", &[fixed[0], fixed[1], "raw=true"]),
            bench.export(&bench.weights(), "raw-dynamic.onnx", &[fixed[1], "raw=true", "dynamic=true"]),
            bench.export(&bench.weights(), "nms.onnx", &[fixed[0], fixed[1], "nms=true"]),
            bench.export(&bench.weights(), "half.onnx", &[fixed[0], fixed[1], "nms=true", "half=true"]),
        ];
        let jobs: Vec<(&Path, &Case)> = files.iter().map(|file| (file.as_path(), &case)).collect();
        let ran = bench.open(&jobs);
        assert!(ran.iter().all(|ran| ran.about["opset"] == opset));
        let [boxes, scores] = ran[0].differences(&case, |_| true);
        assert!(boxes < 0.5 && scores < 1e-3, "opset {opset}: {boxes} {scores}");
        for raw in &ran[1..3] {
            let shapes: Vec<_> = raw.outputs.iter().map(|(shape, _)| shape.as_slice()).collect();
            assert_eq!(shapes, [[1, 144, 40, 40], [1, 144, 20, 20], [1, 144, 10, 10]]);
        }
        // The first anchor's class logits, through the sigmoid, are its scores.
        let probability = |class: usize| 1.0 / (1.0 + (-ran[1].outputs[0].1[(64 + class) * 1600]).exp());
        assert!((0..80).all(|class| (probability(class) - case.scores[class]).abs() < 1e-3));
        let [boxes, scores] = ran[3].detection_differences(&case);
        assert!(boxes < 0.5 && scores < 1e-3, "opset {opset}: {boxes} {scores}");
        let [boxes, scores] = ran[4].detection_differences(&case);
        assert!(boxes < 0.5 && scores < 1e-2, "opset {opset}: {boxes} {scores}");
    }
}

#[test]
fn all_five_scales_agree() {
    let Some(bench) = Bench::new() else { return };
    for scale in Scale::ALL {
        // In the deepest network livelier ones would blow float32's rounding up to half a pixel in any two programs.
        let model = random(scale, if scale == Scale::ExtraLarge { 0.17 } else { 0.14 });
        let weights = bench.save(&model, &format!("{}.safetensors", scale.model_name()));
        let file = bench.export(&weights, &format!("{}.onnx", scale.model_name()), &["dynamic=true"]);
        let case = bench.case(&model, 2, [256, 320]);
        // Of one class over the anchors: what the pictures move, beside what the biases set.
        let spread =
            case.scores.iter().skip(1).step_by(3).fold([1f32, 0.0], |[least, most], &s| [least.min(s), most.max(s)]);
        assert!(spread[1] - spread[0] > 0.005, "{scale:?}: scores of {spread:?} say little");
        eprintln!("{scale:?}: scores of one class {spread:?}");
        let archive = bench.export(&weights, &format!("{}.torchscript", scale.model_name()), &["format=torchscript"]);
        let [boxes, scores] = bench.open_with(&[(&archive, &case)], "torch")[0].differences(&case, |_| true);
        eprintln!("{}, PyTorch: boxes {boxes:.5} px, scores {scores:.7}", scale.model_name());
        assert!(boxes < 0.5 && scores < 1e-3);
        let [boxes, scores] = bench.open(&[(&file, &case)])[0].differences(&case, |_| true);
        let size = std::fs::metadata(&file).unwrap().len();
        eprintln!("{}, {size} bytes: boxes {boxes:.5} px, scores {scores:.7}", scale.model_name());
        assert!(boxes < 0.5 && scores < 1e-3);
    }
}

#[test]
fn ultralytics_opens_the_files_and_finds_what_we_find() {
    let Some(bench) = Bench::new() else { return };
    let files = [
        (bench.export(&bench.weights(), "dynamic.onnx", &["dynamic=true"]), 0.01),
        (bench.export(&bench.weights(), "nms.onnx", &["dynamic=true", "nms=true"]), 0.01),
        (bench.export(&bench.weights(), "half.onnx", &["dynamic=true", "half=true"]), 0.02),
        (bench.export(&bench.weights(), "whole.torchscript", &["format=torchscript"]), 0.01),
    ];
    let paths = files.each_ref().map(|(file, _)| file.clone());
    for photo in bench.photos() {
        let settings = [format!("model={}", bench.weights().display()), format!("source={}", photo.display())];
        let output = bench.bench.run(&["predict", "--json", "imgsz=640", &settings[0], &settings[1]]);
        let ours: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = ours[0]["detections"].as_array().unwrap();
        assert!(ours.len() >= 3, "{ours:?}");
        for (theirs, (file, bound)) in bench.find_there(&bench.python, "", &photo, &paths).iter().zip(&files) {
            assert_eq!(theirs.len(), ours.len(), "{theirs:?} {ours:?}");
            let (mut boxes, mut scores) = (0f64, 0f64);
            for (their, our) in theirs.iter().zip(ours) {
                assert_eq!(their[0], our["name"]);
                scores = scores.max(apart(&their[1], &our["confidence"]));
                for (place, side) in ["x1", "y1", "x2", "y2"].into_iter().enumerate() {
                    boxes = boxes.max(apart(&their[2 + place], &our["box"][side]));
                }
            }
            eprintln!("ultralytics, {}: boxes {boxes:.3} px, scores {scores:.5}", file.display());
            // Two decoders of JPEG and two ways of rounding a resized pixel lie between them, in pixels of the photo.
            assert!(boxes < 2.0 && scores < *bound);
        }
    }
}
