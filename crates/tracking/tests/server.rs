//! Whole runs against a real MLflow server, read back by the official Python client.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use yolo11_test_servers::{KEYS, S3Server, Server, mlflow, python, run_python};
use yolo11_tracking::record::{DatasetInput, Metric, ModelRecord, RunStart};
use yolo11_tracking::{Environment, Keep, Tracker, TrackerOptions, sync};

const READ_RUN: &str = r#"
import sys, json, mlflow, hashlib, os, tempfile
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
run = client.get_run(sys.argv[2])
points = {key: [[m.step, m.timestamp, repr(m.value)] for m in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics}
files = {}
with tempfile.TemporaryDirectory() as folder:
    root = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=folder)
    for place, _, names in os.walk(root):
        for name in names:
            path = os.path.join(place, name)
            files[os.path.relpath(path, root)] = hashlib.sha256(open(path, 'rb').read()).hexdigest()
print(json.dumps({
  'params': run.data.params, 'tags': run.data.tags, 'metrics': points, 'files': files, 'status': run.info.status,
  'start': run.info.start_time, 'end': run.info.end_time, 'name': run.info.run_name, 'uri': run.info.artifact_uri,
  'experiment': client.get_experiment(run.info.experiment_id).name,
  'inputs': [[i.dataset.name, i.dataset.digest, i.tags[0].value] for i in run.inputs.dataset_inputs],
}))
"#;

const READ_MODEL: &str = r#"
import sys, json, mlflow, hashlib
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias(sys.argv[2], 'champion')
model = mlflow.pyfunc.load_model(f'models:/{sys.argv[2]}@champion')
checkpoint = model._model_impl.checkpoint
print(json.dumps({'version': str(version.version), 'tags': version.tags,
  'versions': len(client.search_model_versions(f"name='{sys.argv[2]}'")),
  'sha256': hashlib.sha256(open(checkpoint, 'rb').read()).hexdigest()}))
"#;

fn environment(server: &Server, more: &[(&str, &str)]) -> Environment {
    let own = [
        ("MLFLOW_TRACKING_URI".to_owned(), server.uri()),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR".to_owned(), "0.5".to_owned()),
    ];
    let more = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Environment::from_pairs(own.into_iter().chain(more))
}

fn start(server: &Server, name: &str) -> RunStart {
    RunStart {
        key: yolo11_tracking::unique_key(),
        tracking_uri: Some(server.uri()),
        experiment_name: "detectors".into(),
        run_name: name.into(),
        user: "ann".into(),
        start_time: yolo11_tracking::now(),
        tags: vec![("team".into(), "vision".into()), ("mlflow.user".into(), "ann".into())],
        ..RunStart::default()
    }
}

fn open(folder: &Path, start: RunStart, environment: &Environment) -> Tracker {
    let options = TrackerOptions { environment: environment.clone(), uri: None, system_metrics: false, resume: false };
    Tracker::open(folder, start, &options).unwrap()
}

fn picture(path: &Path, side: u32) {
    image::RgbImage::from_fn(side, side / 2, |x, y| image::Rgb([x as u8, y as u8, 9])).save(path).unwrap();
}

fn points(count: i64) -> Vec<Metric> {
    let metric =
        |step: i64, key: &str, value: f64| Metric { key: key.into(), value, timestamp: 1_700_000_000_000 + step, step };
    (0..count)
        .flat_map(|step| [metric(step, "train/box_loss", 1.0 / (step as f64 + 3.0)), metric(step, "lr/pg0", 1e-3)])
        .collect()
}

/// A run with everything in it.
fn whole_run(folder: &Path, tracker: &Tracker, fitness: f64) {
    std::fs::create_dir_all(folder.join("weights")).unwrap();
    std::fs::write(folder.join("results.csv"), "epoch\n").unwrap();
    std::fs::write(folder.join("weights/best.pt"), fitness.to_string()).unwrap();
    tracker.params([
        ("epochs".into(), "3".into()),
        ("data".into(), "https://u:hush@h/x".into()),
        ("long".into(), "x".repeat(7000)),
    ]);
    tracker.artifact(&folder.join("results.csv"), "results.csv", Keep::UntilTheEnd);
    tracker.metrics(&points(1500));
    tracker.values(3, &[("metrics/mAP50-95(B)", fitness), ("odd", f64::NAN)]);
    tracker.tags([("mlflow.note.content".into(), "a note".into()), ("api_key".into(), "hush".into())]);
    tracker.input(DatasetInput {
        name: "cells".into(),
        digest: "0123".into(),
        source_type: "local".into(),
        source: "{}".into(),
        schema: "{}".into(),
        profile: "{}".into(),
        context: "training".into(),
    });
    picture(&folder.join("curve.png"), 400);
    tracker.artifact(&folder.join("curve.png"), "curve.png", Keep::AsItIs);
    tracker.image(&folder.join("curve.png"), "val/first", 2);
    std::fs::write(folder.join("results.csv"), "epoch\n1\n2\n").unwrap();
    tracker.artifact(&folder.join("weights/best.pt"), "weights/best.pt", Keep::UntilTheEnd);
    tracker.model(ModelRecord {
        name: "best".into(),
        file: folder.join("weights/best.pt").display().to_string(),
        onnx: None,
        metadata: json!({"imgsz": 640, "names": ["cell"]}),
        register: Some("detector".into()),
        fitness: Some(fitness),
        timestamp: yolo11_tracking::now(),
    });
    tracker.finish("FINISHED");
}

fn sha256(path: &Path) -> String {
    yolo11_tracking::digest_of(path).unwrap().sha256
}

fn check_whole_run(read: &Value, folder: &Path, fitness: f64) {
    assert_eq!(read["params"], json!({"epochs": "3", "data": "https://***@h/x", "long": "x".repeat(6000)}));
    for (tag, value) in [
        ("team", "vision"),
        ("mlflow.note.content", "a note"),
        ("api_key", "***"),
        ("mlflow.user", "ann"),
        ("mlflow.loggedImages", "True"),
        ("mlflow.runName", "first"),
    ] {
        assert_eq!(read["tags"][tag], value, "{tag} {}", read["tags"]);
    }
    for key in ["train/box_loss", "lr/pg0"] {
        let wanted: Vec<Metric> = points(1500).into_iter().filter(|metric| metric.key == key).collect();
        let found = read["metrics"][key].as_array().unwrap();
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(&wanted) {
            let value: f64 = found[2].as_str().unwrap().parse().unwrap();
            assert_eq!(
                (found[0].as_i64(), found[1].as_i64(), value),
                (Some(wanted.step), Some(wanted.timestamp), wanted.value)
            );
        }
    }
    assert_eq!(read["metrics"]["metrics/mAP50-95B"][0][2], fitness.to_string());
    assert_eq!(read["metrics"]["odd"][0][2], "nan");
    let files = read["files"].as_object().unwrap();
    for name in ["results.csv", "curve.png", "weights/best.pt"] {
        assert_eq!(files[name], sha256(&folder.join(name)), "{name}");
    }
    let images: Vec<&String> =
        files.keys().filter(|name| name.starts_with("images/val~first+step+2+timestamp+")).collect();
    assert_eq!(images.len(), 2, "{images:?}");
    let whole = images.iter().find(|name| name.ends_with(".png")).unwrap();
    assert_eq!(files[*whole], sha256(&folder.join("curve.png")));
    assert!(images.iter().any(|name| name.ends_with("+compressed.webp")));
    assert_eq!(read["inputs"], json!([["cells", "0123", "training"]]));
    assert_eq!((read["status"].as_str(), read["experiment"].as_str()), (Some("FINISHED"), Some("detectors")));
}

/// Runs, champions and a folder that is shipped from elsewhere.
fn check_server(python: &Path, server: &Server, more: &[(&str, &str)]) {
    let environment = environment(server, more);
    let read = |run: &str| run_python(python, READ_RUN, &[&server.uri(), run], more);
    let champion = || run_python(python, READ_MODEL, &[&server.uri(), "detector"], more);
    let folder = tempfile::tempdir().unwrap();
    for (number, (fitness, champion_version)) in [(0.5, "1"), (0.25, "1"), (0.75, "3")].into_iter().enumerate() {
        let run_folder = folder.path().join(format!("run{number}"));
        std::fs::create_dir_all(&run_folder).unwrap();
        let tracker = open(&run_folder, start(server, "first"), &environment);
        whole_run(&run_folder, &tracker, fitness);
        let left = tracker.wait(Duration::from_secs(240), || false);
        assert_eq!(left, 0, "{:?} {:?}", tracker.notes(), tracker.last_error());
        // A busy machine may have locked the server's database for a while; that anything was refused is another matter.
        assert_eq!(sync::status(&run_folder).unwrap().shipped.refused, 0, "{:?}", tracker.notes());
        let (run_id, ..) = tracker.run().unwrap();
        if number == 0 {
            check_whole_run(&read(&run_id), &run_folder, fitness);
        }
        let found = champion();
        assert_eq!(found["version"], champion_version);
        assert_eq!(found["versions"].as_u64(), Some(number as u64 + 1));
        assert_eq!(std::fs::read_dir(run_folder.join("tracking/copies")).unwrap().count(), 0);
    }
    assert_eq!(champion()["sha256"], sha256(&folder.path().join("run2/weights/best.pt")));

    // Nobody answers while it trains; its folder is shipped from another place.
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    std::fs::create_dir_all(&here).unwrap();
    let nowhere = Environment::from_pairs([("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")]);
    let tracker = open(&here, start(server, "first"), &nowhere);
    let tracker_start = tracker.start_time();
    whole_run(&here, &tracker, 0.1);
    drop(tracker);
    while sync::status(&here).unwrap().is_busy {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::rename(&here, &there).unwrap();
    let before = sync::status(&there).unwrap();
    assert_eq!((before.left.metrics, before.left.params, before.left.artifacts), (3002, 3, 5));
    let status = sync::sync(&there, &environment, Some(&server.uri()), |_| {}, || false).unwrap();
    assert_eq!((status.left.records, status.shipped.metrics, status.shipped.refused), (0, 3002, 0));
    let found = read(&status.run_id.unwrap());
    check_whole_run(&found, &there, 0.1);
    assert_eq!(found["start"].as_i64(), Some(tracker_start));

    // A resumed run is the same one; its changed setting stands beside the first.
    let options = TrackerOptions { environment: environment.clone(), uri: None, system_metrics: true, resume: true };
    let tracker = Tracker::open(&there, start(server, "other"), &options).unwrap();
    tracker.params([("epochs".into(), "5".into())]);
    tracker.values(4, &[("metrics/mAP50-95(B)", 0.2)]);
    tracker.finish("KILLED");
    assert_eq!(tracker.wait(Duration::from_secs(240), || false), 0, "{:?}", tracker.notes());
    let again = read(&tracker.run().unwrap().0);
    assert_eq!((again["status"].as_str(), again["tags"]["resumed.epochs"].as_str()), (Some("KILLED"), Some("5")));
    assert_eq!(again["params"], found["params"]);
    assert_eq!(again["metrics"]["metrics/mAP50-95B"].as_array().unwrap().len(), 2);
}

#[test]
fn a_whole_run_is_read_back_from_the_server_s_own_store() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let backend = format!("sqlite:///{}/mlflow.db", folder.path().display());
    let destination = folder.path().join("artifacts");
    let arguments = ["--artifacts-destination", destination.to_str().unwrap()];
    let server = mlflow(&python, folder.path(), &backend, &arguments, &[]);
    check_server(&python, &server, &[]);
}

#[test]
fn a_whole_run_is_read_back_from_s3() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = S3Server::start(&folder.path().join("s3"), 0).unwrap();
    let uri = store.uri();
    let mut keys = KEYS.to_vec();
    keys.push(("MLFLOW_S3_ENDPOINT_URL", &uri));
    let backend = format!("sqlite:///{}/mlflow.db", folder.path().display());
    let arguments = ["--default-artifact-root", "s3://artifacts/runs", "--no-serve-artifacts"];
    let server = mlflow(&python, folder.path(), &backend, &arguments, &keys);
    check_server(&python, &server, &keys);
}
