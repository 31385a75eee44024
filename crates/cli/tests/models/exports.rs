//! Every format of `export` in the runtime it is for, beside our own engine on the two reference photographs.

use std::ops::Deref;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use yolo11_network::Scale;

use crate::bench::{self, apart, random, said, variable};

/// Formats with what runs them.
const FORMATS: [(&str, &str); 5] = [
    ("onnx", "onnxruntime 1."),
    ("torchscript", "PyTorch 2."),
    ("openvino", "OpenVINO 20"),
    ("ncnn", "ncnn 1."),
    ("tflite", "LiteRT 2."),
];

struct Bench {
    bench: bench::Bench,
    /// A Python with PyTorch, ultralytics and ONNX Runtime.
    peers: String,
    /// A Python with OpenVINO, NCNN and LiteRT.
    runtimes: String,
}

impl Deref for Bench {
    type Target = bench::Bench;

    fn deref(&self) -> &bench::Bench {
        &self.bench
    }
}

impl Bench {
    fn new() -> Option<Bench> {
        let [peers, runtimes] = [variable("YOLO11_PYTHON")?, variable("YOLO11_PYTHON_EXPORT")?];
        Some(Bench { bench: bench::Bench::new()?, peers, runtimes })
    }

    /// Runs `yolo11 export` into `name`.
    fn try_export(&self, weights: &Path, format: &str, name: &str, settings: &[&str]) -> Output {
        let python = if format == "torchscript" { &self.peers } else { &self.runtimes };
        let [first, second] = self.photos();
        self.command(&["export", "--json", &format!("format={format}"), &format!("python={python}")])
            .arg(format!("onnxruntime={}", Path::new(&self.peers).parent().unwrap().parent().unwrap().display()))
            .arg(format!("model={}", weights.display()))
            .arg(format!("file={}", self.path(name).display()))
            .arg(format!("source=[{}, {}]", first.display(), second.display()))
            .args(settings)
            .output()
            .unwrap()
    }

    /// The report of an export that was verified, with its greatest differences of boxes and scores.
    fn export(&self, weights: &Path, format: &str, name: &str, settings: &[&str]) -> (Value, [f64; 2]) {
        let output = self.try_export(weights, format, name, settings);
        assert!(output.status.success(), "{format} {settings:?}: {}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let verification = &report["verification"];
        let number = |name: &str| verification[name].as_f64().unwrap_or_else(|| panic!("{format}: {report}"));
        let greatest = [number("boxes_px"), number("scores")];
        eprintln!(
            "{name} {settings:?}, {}: {} boxes {:.4} px, scores {:.6}, all scores {:.6}, {} bytes",
            verification["runtime"],
            verification["compared"],
            greatest[0],
            greatest[1],
            number("all_scores"),
            report["bytes"]
        );
        assert!(verification["pictures"] == 2 && number("compared") >= 1.0, "{report}");
        (report, greatest)
    }
}

#[test]
fn every_format_gives_what_the_engine_gives() {
    let Some(bench) = Bench::new() else { return };
    let weights = bench.weights();
    for (format, runtime) in FORMATS {
        for (settings, bounds) in [
            (&["imgsz=640"][..], [0.5, 1e-3]),
            (&["imgsz=640", "half=true"], [0.5, 1e-2]),
            (&["imgsz=320", "raw=true"], [0.5, 1e-3]),
        ] {
            let name = format!("{format}-{}", settings.len() + usize::from(settings[0] == "imgsz=320"));
            let name = if format == "onnx" { format!("{name}.onnx") } else { name };
            let (report, [boxes, scores]) = bench.export(&weights, format, &name, settings);
            assert!(
                report["verification"]["runtime"].as_str().unwrap().to_lowercase().contains(&runtime.to_lowercase())
            );
            assert!(boxes < bounds[0] && scores < bounds[1], "{format} {settings:?}: {boxes} {scores}");
            assert_eq!(
                report["precision"],
                if settings.len() == 2 && settings[1] == "half=true" { "float16" } else { "float32" }
            );
        }
    }
    let (report, [boxes, scores]) = bench.export(&weights, "openvino", "free", &["dynamic=true", "imgsz=352"]);
    assert_eq!(report["input"], serde_json::json!([null, 3, null, null]));
    assert!(boxes < 0.5 && scores < 1e-3);
    for format in ["openvino", "tflite"] {
        let (_, [boxes, scores]) = bench.export(&weights, format, &format!("{format}-two"), &["batch=2", "imgsz=320"]);
        assert!(boxes < 0.5 && scores < 1e-3);
    }
    // What readers of these folders look for.
    let text = std::fs::read_to_string(bench.path("ncnn-1/metadata.yaml")).unwrap();
    for line in
        ["stride: 32\n", "task: \"detect\"\n", "imgsz: [640, 640]\n", "  0: \"person\"\n", "  79: \"toothbrush\"\n"]
    {
        assert!(text.contains(line), "{text}");
    }
    for file in [
        "openvino-1/openvino-1.xml",
        "openvino-1/openvino-1.bin",
        "openvino-1/metadata.yaml",
        "ncnn-1/model.ncnn.param",
    ] {
        assert!(bench.path(file).is_file(), "{file}");
    }
}

/// In float16 the smallest and the deepest network. What ONNX Runtime and PyTorch make of all five in float32 is seen by
/// `onnx::all_five_scales_agree`, without `export`'s own comparison.
#[test]
fn all_five_sizes_agree_in_every_format() {
    let Some(bench) = Bench::new() else { return };
    let mut onnx = Vec::new();
    for scale in Scale::ALL {
        // Rounding to half precision is blown up by lively random weights as by no trained ones.
        let weights = bench.save(&random(scale, 0.3), &format!("{}.safetensors", scale.model_name()));
        let ends = [Scale::Nano, Scale::ExtraLarge].contains(&scale);
        for (format, _) in FORMATS {
            let elsewhere = ["onnx", "torchscript"].contains(&format);
            for (half, bound, is_wanted) in [("half=false", 1e-3, !elsewhere), ("half=true", 1e-2, ends)] {
                if !is_wanted {
                    continue;
                }
                let name = format!("{}-{half}-{format}.onnx", scale.model_name());
                let name = if format == "onnx" { &name } else { name.trim_end_matches(".onnx") };
                let (_, [boxes, scores]) = bench.export(&weights, format, name, &["imgsz=256", half]);
                assert!(boxes < 0.5 && scores < bound, "{scale:?} {format} {half}: {boxes} {scores}");
                let path = bench.path(name);
                if format == "onnx" {
                    onnx.push(path);
                } else {
                    std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)).unwrap();
                }
            }
        }
    }
    let script = "import onnx, sys\nfor file in sys.argv[1:]: onnx.checker.check_model(file, full_check=True)";
    assert_eq!(onnx.len(), 2);
    bench.script(&bench.peers, script, onnx);
}

#[test]
fn eight_bits_cost_little() {
    let Some(bench) = Bench::new() else { return };
    let data = format!("data={}", bench.shared.join("data/coco128/dataset.yaml").display());
    for format in ["onnx", "openvino", "tflite", "ncnn"] {
        let name = if format == "onnx" { "int8.onnx" } else { format };
        let settings = ["int8=true", &data, "fraction=0.25", "imgsz=320"];
        let (report, _) = bench.export(&bench.weights(), format, name, &settings);
        let map = |kind: &str| report["mAP50-95"][kind].as_f64().unwrap();
        eprintln!("{format}: mAP50-95 {:.4} of the weights, {:.4} in 8 bits", map("float32"), map("int8"));
        assert_eq!(report["calibrated_on"], 32);
        assert_eq!(report["precision"], "int8");
        assert!(map("float32") > 0.3 && map("float32") - map("int8") < 0.03, "{format}: {report}");
        // A quarter of float32's size, and the head's last layers.
        assert!(report["bytes"].as_u64().unwrap() < 3_600_000, "{report}");
    }
    let refused = bench.try_export(&bench.weights(), "onnx", "none.onnx", &["int8=true"]);
    assert_eq!(refused.status.code(), Some(3));
    let text = said(&refused);
    assert!(text.starts_with("error: int8=true needs pictures"), "{text}");
}

#[test]
fn a_file_that_differs_is_not_left_under_its_name() {
    let Some(bench) = Bench::new() else { return };
    let mut model = random(Scale::Nano, 0.3);
    // Weights beyond what half precision holds: they become its greatest number.
    let first = model.network().tensor_index("model.0.bn.weight").unwrap();
    model.tensor_mut(first).iter_mut().for_each(|value| *value *= 1e7);
    let weights = bench.save(&model, "large.safetensors");
    for (format, name) in [("onnx", "large.onnx"), ("openvino", "large")] {
        let output = bench.try_export(&weights, format, name, &["half=true", "imgsz=64"]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        let text = said(&output);
        let start = format!("error: {}: not written: in ", bench.path(name).display());
        assert!(text.contains(&start) && text.contains(" it differs from our own engine by "), "{text}");
        assert!(text.contains("hint: export without half=true"), "{text}");
    }
    let left: Vec<_> =
        std::fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["large.safetensors"]);
}

#[test]
fn a_runtime_that_is_missing_is_said_with_what_would_bring_it() {
    let Some(bench) = bench::Bench::new() else { return };
    let weights = bench.save(&random(Scale::Nano, 0.3), "best.safetensors");
    let export = |settings: &[&str]| {
        bench
            .command(&["export", &format!("model={}", weights.display()), "python=no-such-python", "imgsz=64"])
            .args(settings)
            .output()
            .unwrap()
    };
    let output = export(&["format=ncnn"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && bench.path("best_ncnn_model/model.ncnn.bin").is_file(), "{text}");
    assert!(
        text.contains("not verified: its runtime is not at hand. python3 -m venv check && check/bin/pip install ncnn"),
        "{text}"
    );
    for (settings, message) in [
        (["format=ncnn", "dynamic=true"], "error: dynamic=true: a file of ncnn has one input size"),
        (["format=ncnn", "batch=2"], "error: batch: a file of ncnn takes one picture at a time"),
        (["format=openvino", "nms=true"], "error: nms=true: openvino has no operator"),
        (["half=true", "int8=true"], "error: half=true and int8=true contradict each other"),
    ] {
        let output = export(&settings);
        let text = said(&output);
        assert!(output.status.code() == Some(3) && text.starts_with(message), "{text}");
    }
}

#[test]
fn ultralytics_opens_every_format() {
    let Some(bench) = Bench::new() else { return };
    let weights = bench.weights();
    let files = [
        ("onnx", "best.onnx"),
        ("openvino", "best_openvino_model"),
        ("ncnn", "best_ncnn_model"),
        ("tflite", "best.tflite"),
    ];
    for (format, name) in files {
        bench.export(&weights, format, name, &["imgsz=640"]);
    }
    // The runtimes beside ultralytics.
    let site = bench.script(&bench.runtimes, "import sysconfig; print(sysconfig.get_path('purelib'))", [""; 0]);
    let paths = files.map(|(_, name)| bench.path(name));
    let found = bench.find_there(&bench.peers, site.trim(), &bench.photos()[0], &paths);
    assert!(found[0].len() >= 4, "{found:?}");
    for (theirs, (format, _)) in found[1..].iter().zip(&files[1..]) {
        assert_eq!(theirs.len(), found[0].len(), "{format}: {theirs:?}");
        let (mut boxes, mut scores) = (0f64, 0f64);
        for (one, other) in theirs.iter().zip(&found[0]) {
            assert_eq!(one[0], other[0], "{format}");
            scores = scores.max(apart(&one[1], &other[1]));
            boxes = (2..6).map(|place| apart(&one[place], &other[place])).fold(boxes, f64::max);
        }
        eprintln!("ultralytics, {format} beside ONNX: boxes {boxes:.3} px, scores {scores:.5}");
        // Its OpenVINO reader computes in bfloat16 where the processor has it.
        let bounds = if *format == "openvino" { [4.0, 0.02] } else { [0.1, 1e-3] };
        assert!(boxes < bounds[0] && scores < bounds[1], "{format}: {boxes} {scores}");
    }
}
