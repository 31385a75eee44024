//! Whole trainings on a small part of the demo set: stopping, resuming, failing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use yolo11_checkpoint::Checkpoint;
use yolo11_config::{Batch, ModelSource, OptimizerName, Settings};
use yolo11_network::{Model, Network, Scale};
use yolo11_pipeline::event::RunSummary;
use yolo11_pipeline::train::train_with;
use yolo11_pipeline::val::{CategoryIds, validate};
use yolo11_pipeline::{Announcer, Error, Event, Observer, state};

/// Sets the flag of a user's stop at a chosen moment.
struct StopAt {
    stop: Arc<AtomicBool>,
    when: fn(&Event) -> bool,
}

impl Observer for StopAt {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        if (self.when)(event) {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::default();
    let data = yolo11_dataset::demo::generate(&folder.join("demo"), 0).unwrap();
    for argument in [
        "epochs=4",
        "batch=4",
        "imgsz=64",
        "fraction=0.1",
        "workers=1",
        "threads=2",
        "optimizer=AdamW",
        "lr=0.002",
        "close_mosaic=1",
        "warmup_epochs=1",
        "nbs=8",
    ] {
        settings.apply_argument(argument).unwrap();
    }
    settings.data = Some(data.display().to_string());
    settings.project = folder.join("runs");
    settings
}

fn run(settings: &Settings, when: fn(&Event) -> bool) -> Result<RunSummary, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut announcer = Announcer::new();
    announcer.add(StopAt { stop: stop.clone(), when });
    train_with(settings, announcer, &stop)
}

/// The settings of a command that says no more than which run to go on with.
fn resuming(folder: &Path, threads: usize) -> Settings {
    let mut settings = Settings::default();
    settings.apply_argument(&format!("resume={}", folder.display())).unwrap();
    settings.apply_argument(&format!("threads={threads}")).unwrap();
    settings
}

/// When the user stops.
type Moment = fn(&Event) -> bool;

/// Rows of results.csv without the column of times.
fn rows(folder: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("results.csv")).unwrap();
    let row = |line: &str| {
        line.split(',').enumerate().filter(|(column, _)| *column != 1).map(|(_, cell)| cell.to_owned()).collect()
    };
    text.lines().map(row).collect()
}

#[test]
fn a_resumed_training_gives_the_bits_of_one_that_was_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.name = Some("straight".into());
    let summary = run(&settings, |_| false).unwrap();
    assert_eq!((summary.epochs, summary.folder.clone()), (4, settings.project.join("straight")));
    let straight = state::load(&summary.folder.join("weights/last.state.safetensors")).unwrap();
    let table = rows(&summary.folder);
    assert_eq!(table.len(), 5);
    assert_eq!(table[0][..3], ["epoch", "train/box_loss", "train/cls_loss"]);
    assert!(summary.folder.join("args.yaml").is_file() && summary.folder.join("weights/last.pt").is_file());

    let stops: [(&str, Moment); 3] = [
        ("after an epoch", |event| matches!(event, Event::EpochFinished { report, .. } if report.epoch == 2)),
        ("within an epoch", |event| matches!(event, Event::StepFinished(step) if step.epoch == 3 && step.batch == 2)),
        ("while measuring", |event| matches!(event, Event::ValidationStep { batch: 2, .. })),
    ];
    for (position, (moment, when)) in stops.into_iter().enumerate() {
        settings.name = Some(format!("stopped{position}"));
        let error = run(&settings, when).unwrap_err();
        let Error::Interrupted { folder: Some(stopped) } = &error else { panic!("{moment}: {error}") };
        assert_eq!(error.exit_code(), 130);
        assert!(stopped.join("weights/last.pt").is_file(), "{moment}");
        // The resumed run has another number of threads: it must not matter.
        let summary = run(&resuming(stopped, 1), |_| false).unwrap();
        assert_eq!((summary.epochs, &summary.folder), (4, stopped), "{moment}");
        let state = state::load(&summary.folder.join("weights/last.state.safetensors")).unwrap();
        assert_eq!(state.counters.iteration, straight.counters.iteration, "{moment}");
        assert_eq!(state.counters.best(), straight.counters.best(), "{moment}");
        assert!(state.model == straight.model, "{moment}: the weights differ");
        assert!(state.average == straight.average, "{moment}: the average differs");
        assert_eq!(rows(stopped), table, "{moment}");
    }

    let finished = settings.project.join("straight");
    let text = run(&resuming(&finished, 2), |_| false).unwrap_err().to_string();
    assert!(text.contains("the run is finished: 4 of 4 epochs are done\nhint: give epochs=N above 4"), "{text}");
}

#[test]
fn best_weights_are_those_that_were_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.epochs = 2;
    settings.optimizer = OptimizerName::Auto;
    settings.save_period = 1;
    let summary = run(&settings, |_| false).unwrap();
    let weights = summary.folder.join("weights");
    assert!(weights.join("epoch1.pt").is_file() && weights.join("epoch2.pt").is_file());
    let best = yolo11_checkpoint::load(&weights.join("best.pt")).unwrap();
    assert_eq!(best.names, yolo11_dataset::demo::NAMES);
    assert_eq!(best.best_fitness, summary.best.map(|best| best.fitness));
    settings.model = ModelSource::Weights(weights.join("best.pt"));
    // Rectangular batches are made of the same pictures as during the training.
    settings.batch = Batch::Images(8);
    settings.save_json = true;
    let quiet = yolo11_pipeline::train::TrainOptions { log: None, progress: false };
    let report = validate(&settings, &quiet, CategoryIds::Model, &AtomicBool::new(false)).unwrap();
    let in_training = summary.validation.unwrap();
    assert_eq!(report.validation.summary.map50_95, in_training.summary.map50_95);
    assert_eq!(report.validation.losses, in_training.losses);
    let text = std::fs::read_to_string(report.detections_file.unwrap()).unwrap();
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!rows.as_array().unwrap().is_empty());
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    let network = Network::yolo11(Scale::Nano, 3);
    let mut model = Model::initialise(&network, 0);
    model.tensor_mut(0)[0] = f32::NAN;
    let path = folder.path().join("broken.safetensors");
    let names = ["a", "b", "c"].map(String::from).to_vec();
    yolo11_checkpoint::save_safetensors(&path, &Checkpoint::new(model, names)).unwrap();
    settings.model = ModelSource::Weights(path);
    let kept = settings.project.join("train/weights/last.pt");
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::write(&kept, "kept").unwrap();
    settings.exist_ok = true;
    let error = run(&settings, |_| false).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().starts_with("the loss is not finite at epoch 1, batch 1\nhint: lower lr0"), "{error}");
    assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
}

#[test]
fn frozen_modules_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.epochs = 1;
    settings.apply_argument("freeze=10").unwrap();
    let summary = run(&settings, |_| false).unwrap();
    let trained = state::load(&summary.folder.join("weights/last.state.safetensors")).unwrap().model;
    let start = Model::initialise(trained.network(), settings.seed);
    let module = |name: &str| name.split('.').nth(1).unwrap().parse::<usize>().unwrap();
    let (mut kept, mut moved) = (0, 0);
    for (index, spec) in trained.network().tensors().iter().enumerate() {
        if module(&spec.name) < 10 {
            assert_eq!(trained.tensor(index), start.tensor(index), "{}", spec.name);
            kept += 1;
        } else {
            moved += usize::from(trained.tensor(index) != start.tensor(index));
        }
    }
    assert!(kept > 100 && moved > 100, "{kept} {moved}");
}
