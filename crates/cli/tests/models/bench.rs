//! What the tests share: where things are, the program, the reference trainer as a black box.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use yolo11_checkpoint::Checkpoint;
use yolo11_network::{Model, Network, Scale, TensorKind};

/// Opens each file and prints class, confidence and corners of what it finds.
const FIND: &str = r#"
import json, sys
from ultralytics import YOLO
picture, *files = sys.argv[1:]
for file in files:
    result = YOLO(file, task="detect").predict(picture, imgsz=640, conf=0.25, device="cpu", verbose=False)[0]
    boxes = result.boxes
    print("FOUND " + json.dumps([[result.names[int(c)], float(s), *map(float, b)] for c, s, b in zip(boxes.cls, boxes.conf, boxes.xyxy)]))
"#;

/// The reference data, and a folder to work in.
pub struct Bench {
    pub shared: PathBuf,
    pub folder: tempfile::TempDir,
}

impl Bench {
    /// None, and a word about it, where the machine lacks the data.
    pub fn new() -> Option<Bench> {
        let shared = variable("YOLO11_SHARED")?.into();
        Some(Bench { shared, folder: tempfile::tempdir().unwrap() })
    }

    /// Nano weights that know COCO's classes.
    pub fn weights(&self) -> PathBuf {
        self.shared.join("weights/yolo11n_coco_approx.pt")
    }

    pub fn photos(&self) -> [PathBuf; 2] {
        ["bus.jpg", "zidane.jpg"].map(|name| self.shared.join("data/photos").join(name))
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `yolo11`, in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs `yolo11`, which must succeed.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}\n{}", said(&output));
        output
    }

    /// A checkpoint of weights that no training made.
    pub fn save(&self, model: &Model, name: &str) -> PathBuf {
        let path = self.path(name);
        let names = ["cat", "dog", "driver's cab"].map(String::from).to_vec();
        yolo11_checkpoint::save_safetensors(&path, &Checkpoint::new(model.clone(), names)).unwrap();
        path
    }

    /// A data set with the first of the recorded pictures: so many to train on, so many to validate on.
    pub fn data(&self, train: usize, val: usize) -> PathBuf {
        let source = self.shared.join("data/coco128");
        for (split, from, count) in [("train", "train2017", train), ("val", "val2017", val)] {
            let [images, labels] = ["images", "labels"].map(|kind| self.path("data").join(kind).join(split));
            std::fs::create_dir_all(&images).unwrap();
            std::fs::create_dir_all(&labels).unwrap();
            let all = std::fs::read_dir(source.join("images").join(from)).unwrap();
            let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            for name in &names[..count] {
                std::fs::copy(source.join("images").join(from).join(name), images.join(name)).unwrap();
                let label = Path::new(name).with_extension("txt");
                // A picture without labels is background.
                let _ = std::fs::copy(source.join("labels").join(from).join(&label), labels.join(label));
            }
        }
        let description = std::fs::read_to_string(source.join("dataset.yaml")).unwrap();
        let names = &description[description.find("names:").unwrap()..];
        let text = format!("path: {}\ntrain: images/train\nval: images/val\n{names}", self.path("data").display());
        let path = self.path("data.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a script with the reference trainer, as a black box: nothing is fetched, installed or reported. Gives what it printed.
    pub fn script<S: AsRef<OsStr>>(
        &self,
        python: &str,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let output = Command::new(python)
            .args(["-c", script])
            .args(arguments)
            .env("YOLO_OFFLINE", "true")
            .env("YOLO_AUTOINSTALL", "false")
            .env("YOLO_CONFIG_DIR", self.folder.path())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{talk}\n{}", said(&output));
        talk
    }

    /// What ultralytics finds in a picture with each of the files: class, confidence, corners. `beside` is a folder of further
    /// packages.
    pub fn find_there(&self, python: &str, beside: &str, picture: &Path, files: &[PathBuf]) -> Vec<Vec<Value>> {
        let script = format!("import sys\nsys.path.append({beside:?})\n{FIND}");
        let talk = self.script(python, &script, [picture].into_iter().chain(files.iter().map(PathBuf::as_path)));
        let found = talk.lines().filter_map(|line| line.strip_prefix("FOUND "));
        let found: Vec<_> = found.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found.len(), files.len(), "{talk}");
        found
    }
}

/// A variable that names what a test needs; none, and a word about it, where it is not set.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        eprintln!("skipped: {name} is not set");
    }
    value
}

/// What a command wrote to stderr.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How far two numbers are from each other.
pub fn apart(one: &Value, other: &Value) -> f64 {
    (one.as_f64().unwrap() - other.as_f64().unwrap()).abs()
}

/// A model of random weights whose values neither die out nor explode on the way to the head; a smaller `variance` makes them livelier.
pub fn random(scale: Scale, variance: f32) -> Model {
    let network = Network::yolo11(scale, 3);
    let mut model = Model::initialise(&network, 3);
    let kinds: Vec<TensorKind> = network.tensors().iter().map(|spec| spec.kind).collect();
    for (index, kind) in kinds.into_iter().enumerate() {
        let uneven = |place: usize| (place * 37 % 19) as f32 / 18.0 - 0.5;
        for (place, value) in model.tensor_mut(index).iter_mut().enumerate() {
            match kind {
                TensorKind::NormWeight => *value = 1.0 + 0.4 * uneven(place),
                TensorKind::NormBias | TensorKind::RunningMean => *value = 0.2 * uneven(place + index),
                TensorKind::RunningVar => *value = variance,
                TensorKind::ConvBias => *value = 3.0 * uneven(place),
                _ => {}
            }
        }
    }
    model
}
