//! The same pictures and weights through every back end: the same boxes and scores. Needs the reference data (`YOLO11_SHARED`); ONNX
//! Runtime is tried where it is found.

use std::path::{Path, PathBuf};

use yolo11_dataset::decode::decode_file;
use yolo11_dataset::letterbox;
use yolo11_detection::{Detection, NmsSettings};
use yolo11_export::{ExportOptions, Head, Precision, Suppression, onnx};
use yolo11_inference::{Backend, BackendKind, OpenOptions, Predictions, onnxruntime_is_installed, open};

struct Bench {
    shared: PathBuf,
    folder: tempfile::TempDir,
    native: Box<dyn Backend>,
}

/// How a file is written.
#[derive(Clone, Copy)]
struct Form {
    opset: usize,
    dynamic: bool,
    half: bool,
    head: Head,
    batch: usize,
    size: usize,
}

const DYNAMIC: Form = Form { opset: 17, dynamic: true, half: false, head: Head::Decoded, batch: 1, size: 640 };

fn suppressed() -> Head {
    Head::Suppressed(Suppression { confidence: 0.25, iou: 0.7, agnostic: false, max_detections: 300 })
}

impl Bench {
    fn new() -> Option<Bench> {
        let Some(shared) = std::env::var_os("YOLO11_SHARED").map(PathBuf::from) else {
            eprintln!("skipped: YOLO11_SHARED is not set");
            return None;
        };
        let weights = shared.join("weights/yolo11n_coco_approx.pt");
        let native = open(&weights, &OpenOptions::default()).unwrap();
        assert!(native.name().starts_with("native ("), "{}", native.name());
        assert_eq!((native.model().names.len(), native.model().names[5].as_str()), (80, "bus"));
        Some(Bench { shared, folder: tempfile::tempdir().unwrap(), native })
    }

    fn export(&self, name: &str, form: Form) -> PathBuf {
        let checkpoint = yolo11_checkpoint::load(&self.shared.join("weights/yolo11n_coco_approx.pt")).unwrap();
        let options = ExportOptions {
            names: &checkpoint.names,
            size: [form.size; 2],
            batch: form.batch,
            dynamic: form.dynamic,
            opset: form.opset,
            precision: if form.half { Precision::Float16 } else { Precision::Float32 },
            head: form.head,
        };
        let path = self.folder.path().join(format!("{name}.onnx"));
        std::fs::write(&path, onnx(&checkpoint.model, &options).unwrap()).unwrap();
        path
    }

    /// The file in every back end there is here.
    fn readers(&self, file: &Path) -> Vec<Box<dyn Backend>> {
        let mut kinds = vec![BackendKind::Rust];
        if onnxruntime_is_installed(None) {
            kinds.push(BackendKind::OnnxRuntime);
        } else {
            eprintln!("skipped: ONNX Runtime is not found");
        }
        let open = |backend| open(file, &OpenOptions { backend, threads: 2, ..OpenOptions::default() }).unwrap();
        kinds.into_iter().map(open).collect()
    }

    /// The two photographs in turn.
    fn pictures(&self, count: usize, size: [usize; 2]) -> Vec<u8> {
        let photo = |index: usize| self.shared.join("data/photos").join(["bus.jpg", "zidane.jpg"][index % 2]);
        (0..count).flat_map(|index| letterbox(&decode_file(&photo(index)).unwrap(), size, true).0).collect()
    }

    /// Runs the file on the pictures and holds what is found against the engine's; returns how much was found.
    fn compare(&mut self, reader: &mut dyn Backend, count: usize, size: [usize; 2], bounds: [f32; 2]) -> usize {
        let pictures = self.pictures(count, size);
        let name = reader.name().to_owned();
        let wanted = self.native.run(&pictures, size).unwrap();
        let found = reader.run(&pictures, size).unwrap();
        assert_eq!((wanted.images(), found.images()), (count, count));
        let settings = NmsSettings::default();
        let (mut objects, mut boxes, mut scores) = (0, 0f32, 0f32);
        for image in 0..count {
            let (wanted, found) = (wanted.detect(image, &settings), found.detect(image, &settings));
            let [apart, off] = differences(&wanted, &found, bounds[1]);
            (objects, boxes, scores) = (objects + found.len(), boxes.max(apart), scores.max(off));
        }
        eprintln!("{name}, {count} × {size:?}: {objects} objects, boxes {boxes:.5} px, scores {scores:.7}");
        assert!(boxes < bounds[0] && scores < bounds[1], "{name}, {count} × {size:?}");
        objects
    }
}

/// Greatest differences of boxes and scores. An object whose score is that near the threshold may be missing on either side.
fn differences(wanted: &[Detection], found: &[Detection], tolerance: f32) -> [f32; 2] {
    let (mut boxes, mut scores) = (0f32, 0f32);
    let sides =
        |a: &Detection, b: &Detection| (0..4).fold(0f32, |most, side| most.max((a.bbox[side] - b.bbox[side]).abs()));
    for (one, other) in [(wanted, found), (found, wanted)] {
        for detection in one {
            let same = other.iter().filter(|other| other.class == detection.class);
            let nearest = same.min_by(|a, b| sides(a, detection).total_cmp(&sides(b, detection)));
            match nearest.filter(|nearest| sides(nearest, detection) < 5.0) {
                Some(nearest) => {
                    boxes = boxes.max(sides(nearest, detection));
                    scores = scores.max((nearest.score - detection.score).abs());
                }
                None => assert!(
                    detection.score < 0.25 + tolerance,
                    "{detection:?} is found by one only: {wanted:?} {found:?}"
                ),
            }
        }
    }
    [boxes, scores]
}

const EXACT: [f32; 2] = [0.5, 1e-3];
const HALF: [f32; 2] = [0.5, 1e-2];

#[test]
fn a_dynamic_file_runs_with_every_size_and_batch() {
    let Some(mut bench) = Bench::new() else { return };
    let files = [bench.export("decoded", DYNAMIC), bench.export("nms", Form { head: suppressed(), ..DYNAMIC })];
    let shapes =
        [(1, [320, 320]), (2, [640, 480]), (3, [384, 640]), (4, [320, 1280]), (8, [320, 320]), (1, [1280, 1280])];
    for file in files {
        for mut reader in bench.readers(&file) {
            assert_eq!((reader.model().fixed_size, reader.model().fixed_batch), (None, None));
            assert_eq!(reader.model().names, bench.native.model().names);
            let shapes = shapes.iter().map(|&(count, size)| bench.compare(reader.as_mut(), count, size, EXACT));
            assert!(shapes.sum::<usize>() > 40);
        }
    }
}

#[test]
fn every_opset_and_head_gives_the_same() {
    let Some(mut bench) = Bench::new() else { return };
    for opset in 13..=21 {
        for (name, head) in [("decoded", Head::Decoded), ("raw", Head::Raw), ("nms", suppressed())] {
            let file = bench.export(name, Form { opset, dynamic: false, head, size: 320, ..DYNAMIC });
            for mut reader in bench.readers(&file) {
                assert_eq!((reader.model().fixed_size, reader.model().fixed_batch), (Some([320, 320]), Some(1)));
                // Two pictures in a file that takes one at a time.
                assert!(bench.compare(reader.as_mut(), 2, [320, 320], EXACT) > 4, "opset {opset}, {name}");
            }
        }
    }
}

#[test]
fn half_precision_and_fixed_batches_are_read() {
    let Some(mut bench) = Bench::new() else { return };
    let half = bench.export("half", Form { half: true, ..DYNAMIC });
    let four = bench.export("four", Form { dynamic: false, batch: 4, ..DYNAMIC });
    for mut reader in bench.readers(&half) {
        bench.compare(reader.as_mut(), 2, [640, 640], HALF);
    }
    for mut reader in bench.readers(&four) {
        assert_eq!(reader.model().fixed_batch, Some(4));
        bench.compare(reader.as_mut(), 3, [640, 640], EXACT);
        bench.compare(reader.as_mut(), 5, [640, 640], EXACT);
        let refused = reader.run(&bench.pictures(1, [320, 320]), [320, 320]).unwrap_err().to_string();
        assert!(refused.contains("takes pictures of 640×640 only, and not 320×320\nhint: "), "{refused}");
    }
}

#[test]
fn raw_heads_give_the_engines_logits() {
    let Some(mut bench) = Bench::new() else { return };
    let raw = bench.export("raw", Form { head: Head::Raw, ..DYNAMIC });
    let pictures = bench.pictures(2, [320, 256]);
    let Predictions::Logits(wanted) = bench.native.run(&pictures, [320, 256]).unwrap() else { unreachable!() };
    let (boxes, scores) = (wanted.boxes.to_vec(), wanted.scores.to_vec());
    for mut reader in bench.readers(&raw) {
        let Predictions::Logits(found) = reader.run(&pictures, [320, 256]).unwrap() else { panic!("no logits") };
        assert_eq!((found.boxes.len(), found.scores.len(), found.classes), (boxes.len(), scores.len(), 80));
        for (found, wanted) in [(found.boxes, &boxes), (found.scores, &scores)] {
            let most = found.iter().zip(wanted).fold(0f32, |most, (found, wanted)| most.max((found - wanted).abs()));
            assert!(most < 0.02, "{most}");
        }
    }
}

#[test]
fn what_does_not_go_together_is_said() {
    let Some(bench) = Bench::new() else { return };
    let weights = bench.shared.join("weights/yolo11n_coco_approx.pt");
    let file = bench.export("plain", DYNAMIC);
    let refused = |path: &Path, backend: BackendKind| {
        let options = OpenOptions { backend, ..OpenOptions::default() };
        open(path, &options).err().unwrap().to_string()
    };
    assert!(
        refused(&weights, BackendKind::Rust).ends_with("hint: write one with `yolo11 export`, or leave backend out")
    );
    assert!(refused(&file, BackendKind::Native).contains("backend=native runs .pt and .safetensors files\nhint: "));
    let options = OpenOptions { backend: BackendKind::Rust, ..OpenOptions::default() };
    let missing = open(Path::new("none.onnx"), &options).err().unwrap().to_string();
    assert!(missing.starts_with("none.onnx: cannot be read: "), "{missing}");
}
