//! The pictures of a run: which there are, that they can be read, and that they never stop it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use yolo11_config::{ModelSource, Settings};
use yolo11_dataset::decode::decode_file;
use yolo11_pipeline::event::RunSummary;
use yolo11_pipeline::train::{TrainOptions, train_with};
use yolo11_pipeline::val::{CategoryIds, validate};
use yolo11_pipeline::{Announcer, Error, Event, Observer};

const PICTURES: [&str; 15] = [
    "BoxF1_curve.png",
    "BoxPR_curve.png",
    "BoxP_curve.png",
    "BoxR_curve.png",
    "confusion_matrix.png",
    "confusion_matrix_normalized.png",
    "labels.jpg",
    "results.png",
    "train_batch0.jpg",
    "train_batch1.jpg",
    "train_batch2.jpg",
    "val_batch0_labels.jpg",
    "val_batch0_pred.jpg",
    "val_batch1_labels.jpg",
    "val_batch1_pred.jpg",
];

/// Collects warnings and drawn pictures; stops the run after an epoch, if asked to.
#[derive(Clone, Default)]
struct Listener {
    warnings: Arc<Mutex<Vec<String>>>,
    pictures: Arc<Mutex<Vec<String>>>,
    stop_after: Option<usize>,
    stop: Arc<AtomicBool>,
}

impl Observer for Listener {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Warning(text) => self.warnings.lock().unwrap().push((*text).to_owned()),
            Event::PictureSaved { path } => {
                self.pictures.lock().unwrap().push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
            Event::EpochFinished { report, .. } if Some(report.epoch) == self.stop_after => {
                self.stop.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        Ok(())
    }
}

fn settings(folder: &Path, name: &str) -> Settings {
    let mut settings = Settings::default();
    let data = yolo11_dataset::demo::generate(&folder.join("demo"), 0).unwrap();
    let arguments = ["epochs=2", "batch=4", "imgsz=64", "fraction=0.1", "workers=1", "threads=2", "close_mosaic=1"];
    for argument in arguments.into_iter().chain(["optimizer=AdamW", "lr=0.002"]) {
        settings.apply_argument(argument).unwrap();
    }
    settings.data = Some(data.display().to_string());
    settings.project = folder.join("runs");
    settings.name = Some(name.to_owned());
    settings
}

fn run(settings: &Settings, listener: &Listener) -> Result<RunSummary, Error> {
    let mut announcer = Announcer::new();
    announcer.add(listener.clone());
    train_with(settings, announcer, &listener.stop)
}

/// Names in a folder, sorted, folders left out.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_has_all_its_pictures_and_a_resumed_one_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::default();
    let straight = run(&settings(folder.path(), "straight"), &listener).unwrap().folder;
    let mut wanted: Vec<String> = PICTURES.map(String::from).to_vec();
    // 60 pictures in batches of 8: all three batches of the validation are there.
    wanted.extend(["val_batch2_labels.jpg".into(), "val_batch2_pred.jpg".into()]);
    let mut all =
        [wanted.clone(), vec!["args.yaml".into(), "data_statistics.json".into(), "results.csv".into()]].concat();
    all.sort();
    assert_eq!(files(&straight), all, "nothing is missing, nothing half written is left");
    for picture in &wanted {
        let decoded = decode_file(&straight.join(picture)).unwrap();
        assert!(decoded.width >= 600 && decoded.height >= 600, "{picture}: {:?}", decoded.size());
    }
    // Four pictures of 64 pixels, enlarged five times.
    assert_eq!(decode_file(&straight.join("train_batch0.jpg")).unwrap().size(), [658, 658]);
    let mut told = listener.pictures.lock().unwrap().clone();
    told.sort();
    told.dedup();
    assert_eq!(told, wanted);
    assert_eq!(listener.warnings.lock().unwrap().as_slice(), &[] as &[String]);

    let stopping = Listener { stop_after: Some(1), ..Listener::default() };
    let error = run(&settings(folder.path(), "stopped"), &stopping).unwrap_err();
    let Error::Interrupted { folder: Some(stopped) } = error else { panic!("{error}") };
    let mut resuming = Settings::default();
    resuming.apply_argument(&format!("resume={}", stopped.display())).unwrap();
    resuming.apply_argument("threads=1").unwrap();
    run(&resuming, &Listener::default()).unwrap();
    assert_eq!(files(&stopped), all);
    for picture in &wanted {
        let read = |folder: &Path| std::fs::read(folder.join(picture)).unwrap();
        assert!(read(&straight) == read(&stopped), "{picture} differs");
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let mut blocked = settings(folder.path(), "blocked");
    blocked.exist_ok = true;
    let run_folder = blocked.project.join("blocked");
    // No file can take the place of a folder that holds something.
    for name in ["results.png/x", "labels.jpg/x", "BoxPR_curve.png/x"] {
        std::fs::create_dir_all(run_folder.join(name)).unwrap();
    }
    let listener = Listener::default();
    let summary = run(&blocked, &listener).unwrap();
    assert_eq!(summary.epochs, 2);
    assert!(run_folder.join("weights/best.pt").is_file());
    let warnings = listener.warnings.lock().unwrap().clone();
    assert_eq!(warnings.len(), 3, "each is told once: {warnings:?}");
    for name in ["results.png", "labels.jpg", "BoxPR_curve.png"] {
        let start = format!("{}: cannot be written: ", run_folder.join(name).display());
        assert!(warnings.iter().any(|warning| warning.starts_with(&start)), "{warnings:?}");
        assert!(run_folder.join(name).join("x").is_dir());
    }
    let left: Vec<String> = files(&run_folder).into_iter().filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(left, [] as [String; 0]);
    assert!(run_folder.join("BoxF1_curve.png").is_file());
}

#[test]
fn val_draws_what_it_measured_and_plots_false_draws_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), "plain");
    settings.plots = false;
    settings.epochs = 1;
    let summary = run(&settings, &Listener::default()).unwrap();
    assert_eq!(files(&summary.folder), ["args.yaml", "data_statistics.json", "results.csv"]);

    settings.model = ModelSource::Weights(summary.folder.join("weights/best.pt"));
    settings.name = Some("measured".into());
    let options = TrainOptions { log: None, progress: false };
    let measure =
        |settings: &Settings| validate(settings, &options, CategoryIds::Model, &AtomicBool::new(false)).unwrap().folder;
    assert_eq!(measure(&settings), None);
    settings.plots = true;
    let drawn = measure(&settings).unwrap();
    assert_eq!(drawn, settings.project.join("measured"));
    assert_eq!(files(&drawn).len(), 12);
    assert!(files(&drawn).iter().all(|name| decode_file(&drawn.join(name)).is_ok()));
}
