//! Whole trainings of the program, read back from a real MLflow server by the official client. Needs `YOLO11_PYTHON`.
#![cfg(unix)]

mod outage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use yolo11_test_servers::{KEYS, Postgres, S3Server, mlflow, moto, python, run_python};
use yolo11_tracking::digest_of;
use yolo11_tracking::queue::{self, Position};
use yolo11_tracking::record::Record;

const READ_BACK: &str = include_str!("read_back.py");
const LOAD_MODEL: &str = include_str!("load_model.py");

/// Secrets that a user may have around. None may turn up anywhere.
const SECRETS: [(&str, &str); 5] = [
    ("MLFLOW_TRACKING_USERNAME", "ann"),
    ("MLFLOW_TRACKING_PASSWORD", "hush-password"),
    ("MLFLOW_TRACKING_TOKEN", "hush-bearer"),
    ("AWS_SECRET_ACCESS_KEY", "hush-aws"),
    ("AWS_SESSION_TOKEN", "hush-session"),
];

/// `yolo11 train` on a few drawn pictures in a folder, as the run `name`.
fn training(folder: &Path, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
    command
        .args(["train", "data=demo", "imgsz=64", "batch=8", "fraction=0.1", "tracking_wait=240"])
        .arg(format!("name={name}"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(folder);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Every run of an experiment, by name.
fn read_back(python: &Path, uri: &str, experiment: &str, environment: &[(&str, &str)]) -> Value {
    run_python(python, READ_BACK, &[uri, experiment], environment)
}

/// What a run announced: its outbox, all of which is still there in so short a run.
fn announced(run_folder: &Path) -> Vec<Record> {
    let entries = queue::read(&run_folder.join("tracking"), Position::default(), usize::MAX).unwrap();
    entries.into_iter().map(|entry| entry.record.unwrap()).collect()
}

/// Files below a folder with their digests, by their paths in it.
fn files_below(folder: &Path) -> BTreeMap<String, String> {
    let (mut found, mut places) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(place) = places.pop() {
        for path in std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                places.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, digest_of(&path).unwrap().sha256);
            }
        }
    }
    found
}

/// What was read back is what was announced: params, points with their times, tags.
fn check_records(run: &Value, run_folder: &Path) {
    let (mut params, mut tags) = (BTreeMap::new(), BTreeMap::new());
    let mut points: BTreeMap<String, BTreeSet<(i64, i64, u64)>> = BTreeMap::new();
    for record in announced(run_folder) {
        match record {
            Record::Start(start) => tags.extend(start.tags),
            Record::Params { params: more } => params.extend(more),
            Record::Tags { tags: more } => tags.extend(more),
            Record::Metrics { metrics } => metrics.into_iter().for_each(|metric| {
                let point = (metric.step, metric.timestamp, metric.value.to_bits());
                points.entry(metric.key).or_default().insert(point);
            }),
            _ => {}
        }
    }
    assert_eq!(run["params"], json!(params));
    for (name, value) in &tags {
        assert_eq!(run["tags"][name], json!(value), "{name}");
    }
    let found: BTreeMap<String, BTreeSet<(i64, i64, u64)>> = points_of(run)
        .into_iter()
        .map(|(key, points)| {
            (key, points.into_iter().map(|(step, time, value)| (step, time, value.to_bits())).collect())
        })
        .collect();
    assert_eq!(found, points);
}

/// Points of every metric: step, time, value.
fn points_of(run: &Value) -> BTreeMap<String, Vec<(i64, i64, f64)>> {
    let point = |point: &Value| {
        (point[0].as_i64().unwrap(), point[1].as_i64().unwrap(), point[2].as_str().unwrap().parse().unwrap())
    };
    let points = run["points"].as_object().unwrap().iter();
    points.map(|(key, points)| (key.clone(), points.as_array().unwrap().iter().map(point).collect())).collect()
}

/// Every file of the run's folder is on the server, byte for byte, and the log beside them.
fn check_files(run: &Value, run_folder: &Path, log: &Path) {
    let mut wanted = files_below(run_folder);
    // The outbox, and the state for resuming in this folder.
    wanted.retain(|name, _| !name.starts_with("tracking/") && (!name.starts_with("weights/") || name.ends_with(".pt")));
    wanted.insert("training.log".into(), digest_of(log).unwrap().sha256);
    for name in
        ["weights/best.pt", "weights/last.pt", "results.csv", "args.yaml", "results.png", "data_statistics.json"]
    {
        assert!(wanted.contains_key(name), "{name} is not in {wanted:?}");
    }
    let mut found: BTreeMap<String, String> = serde_json::from_value(run["files"].clone()).unwrap();
    let series: Vec<String> = found.keys().filter(|name| name.starts_with("images/")).cloned().collect();
    assert!(series.iter().any(|name| name.starts_with("images/val_batch0_pred+step+")), "{series:?}");
    found.retain(|name, _| !name.starts_with("images/"));
    // The log goes on behind what was attached: with the run's address.
    let log_on_server = found.insert("training.log".into(), wanted["training.log"].clone());
    assert!(log_on_server.is_some());
    assert_eq!(found, wanted);
}

/// A training, and all of it read back. Gives the run, and what the training printed.
fn check_training(
    python: &Path,
    folder: &Path,
    uri: &str,
    experiment: &str,
    environment: &[(&str, &str)],
    reader: &[(&str, &str)],
) -> (Value, String) {
    std::fs::create_dir_all(folder).unwrap();
    let register = format!("cells-{experiment}");
    let arguments = [
        "epochs=2",
        &format!("mlflow.experiment_name={experiment}"),
        &format!("mlflow.register={register}"),
        "mlflow.note=What is different",
        "mlflow.tags={team: vision, api_key: hush-tag}",
    ];
    let output = training(folder, "whole", &arguments, environment).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let run_folder = folder.join("runs/whole");
    let runs = read_back(python, uri, experiment, reader);
    let run = &runs["whole"];
    assert_eq!(run["status"], "FINISHED", "{}", text(&output));
    check_records(run, &run_folder);
    let log = folder.join("logs/training.log");
    check_files(run, &run_folder, &log);
    let lines = std::fs::read_to_string(log).unwrap();
    let share = lines.lines().find(|line| line.contains("tracking   took ") && line.ends_with(" %)"));
    assert!(share.is_some(), "{lines}");

    // And that what was announced is what there was to announce.
    let settings = Command::new(env!("CARGO_BIN_EXE_yolo11")).args(["config", "--json"]).output().unwrap();
    let settings: Value = serde_json::from_slice(&settings.stdout).unwrap();
    let names: BTreeSet<&str> =
        settings.as_array().unwrap().iter().filter_map(|entry| entry["name"].as_str()).collect();
    let params = run["params"].as_object().unwrap();
    assert_eq!(params.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for (name, value) in [("epochs", "2"), ("imgsz", "64"), ("batch", "8"), ("data", "demo")] {
        assert_eq!(params[name], value, "{name}");
    }
    let points = points_of(run);
    let table = std::fs::read_to_string(run_folder.join("results.csv")).unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split(',').map(str::trim).collect();
    for (column, name) in header.iter().enumerate().filter(|(_, name)| name.contains('/')) {
        let found = &points[&name.replace(['(', ')'], "")];
        assert_eq!(found.len(), 2, "{name}");
        for (row, (step, _, value)) in table.lines().skip(1).zip(found) {
            let cells: Vec<f64> = row.split(',').map(|cell| cell.trim().parse().unwrap_or(f64::NAN)).collect();
            assert_eq!(cells[0], *step as f64);
            assert!((cells[column] - value).abs() <= 1e-5 * value.abs().max(1.0), "{name} {row} {value}");
        }
    }
    let steps: Vec<i64> = points["step/box_loss"].iter().map(|(step, ..)| *step).collect();
    assert_eq!(steps, (1..=steps.len() as i64).collect::<Vec<_>>());
    assert!(steps.len() >= 4 && steps.len().is_multiple_of(2), "{steps:?}");
    for name in ["step/lr", "step/gradient_norm"] {
        assert_eq!(points[name].len(), steps.len(), "{name}");
    }
    for (name, value) in [
        ("team", "vision"),
        ("api_key", "***"),
        ("mlflow.note.content", "What is different"),
        ("mlflow.source.type", "LOCAL"),
        ("mlflow.loggedImages", "True"),
        ("mlflow.runName", "whole"),
    ] {
        assert_eq!(run["tags"][name], value, "{name}");
    }
    let inputs = run["inputs"].as_array().unwrap();
    assert_eq!(
        inputs.iter().map(|input| input[2].as_str().unwrap()).collect::<BTreeSet<_>>(),
        BTreeSet::from(["training", "validation"])
    );
    assert!(inputs.iter().all(|input| input[1].as_str().unwrap().len() == 32), "{inputs:?}");

    // The registered model, as ONNX and by its checkpoint, which hands pictures to this program.
    let program = Path::new(env!("CARGO_BIN_EXE_yolo11")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let picture = files_below(&folder.join("data/demo/images/val")).into_keys().find(|name| !name.ends_with(".cache"));
    let picture = folder.join("data/demo/images/val").join(picture.unwrap()).display().to_string();
    let variables = [reader, &[("PATH", path.as_str())]].concat();
    let model = run_python(python, LOAD_MODEL, &[uri, &register, &picture], &variables);
    assert_eq!((model["version"].as_str(), &model["run"]), (Some("1"), &run["id"]));
    let classes = std::fs::read_to_string(folder.join("data/demo/dataset.yaml")).unwrap();
    assert!(classes.contains("names"), "{classes}");
    // Boxes and a score for each class; 64 · 64 / 64 · (1 + 1/4 + 1/16) anchors.
    assert_eq!(model["shapes"][0][2], 84, "{model}");
    assert_eq!((&model["shapes"][1][0], &model["shapes"][1][2]), (&json!(2), &json!(315)), "{model}");
    assert_eq!(model["sha256"], digest_of(&run_folder.join("weights/best.pt")).unwrap().sha256);
    assert_eq!(model["predictions"].as_array().map(Vec::len), Some(1), "{model}");
    assert!(!Path::new("runs").exists(), "a prediction in Python leaves nothing behind");
    // The copies that the outbox held are gone.
    assert_eq!(std::fs::read_dir(run_folder.join("tracking/copies")).unwrap().count(), 0);
    (run.clone(), text(&output))
}

/// No secret stands in what was printed, in any file of the folder, or in what the server has.
fn check_secrets(folder: &Path, printed: &str, run: &Value) {
    let secrets = SECRETS[1..].iter().map(|(_, secret)| *secret).chain(["hush-tag", "hush-uri", KEYS[1].1]);
    for secret in secrets {
        assert!(!printed.contains(secret), "{secret} was printed: {printed}");
        assert!(!run.to_string().contains(secret), "{secret} is on the server");
        for name in files_below(folder).keys() {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} stands in {name}");
        }
    }
}

#[test]
fn everything_of_a_training_is_read_back_by_the_official_client() {
    let Some(python) = python() else { return };
    let Some(postgres) = Postgres::start("scram-sha-256", "database-password") else { return };
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let first = moto(&python, home);
    let second = S3Server::start(&home.join("s3"), 0).unwrap();
    let keys = |uri: &'static str| KEYS.into_iter().chain([("MLFLOW_S3_ENDPOINT_URL", uri)]).collect::<Vec<_>>();
    let (first_uri, second_uri): (&'static str, &'static str) = (first.uri().leak(), second.uri().leak());
    let server =
        mlflow(&python, home, &postgres.uri(), &["--artifacts-destination", "s3://artifacts/served"], &keys(first_uri));

    // Artifacts by the server, which passes them on to the first S3: nothing here knows of that store.
    let with_secret = server.uri().replace("http://", "http://bob:hush-uri@");
    let environment = [&SECRETS[..], &[("MLFLOW_TRACKING_URI", with_secret.as_str())]].concat();
    let folder = home.join("served");
    let (run, printed) = check_training(&python, &folder, &server.uri(), "served", &environment, &[]);
    assert!(run["artifact_uri"].as_str().unwrap().starts_with("mlflow-artifacts:/"), "{run}");
    check_secrets(&folder, &printed, &run);

    // Straight to either S3.
    for (name, store) in [("moto", first_uri), ("s3s", second_uri)] {
        let place = format!("s3://artifacts/direct-{name}");
        let make = "import mlflow, sys\nmlflow.set_tracking_uri(sys.argv[1])\nmlflow.create_experiment(sys.argv[2], artifact_location=sys.argv[3])\nprint('null')";
        run_python(&python, make, &[&server.uri(), name, &place], &[]);
        let uri = server.uri();
        let environment = [&keys(store)[..], &[("MLFLOW_TRACKING_URI", uri.as_str())]].concat();
        let folder = home.join(name);
        let (run, printed) = check_training(&python, &folder, &uri, name, &environment, &keys(store));
        assert!(run["artifact_uri"].as_str().unwrap().starts_with(&place), "{run}");
        check_secrets(&folder, &printed, &run);
    }
}

#[test]
fn failed_killed_resumed_and_nested_trainings_are_told_apart() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let backend = format!("sqlite:///{}/mlflow.db", folder.display());
    let destination = format!("{}/artifacts", folder.display());
    let server = mlflow(&python, folder, &backend, &["--artifacts-destination", &destination], &[]);
    let uri = server.uri();
    let environment = [("MLFLOW_TRACKING_URI", uri.as_str())];
    let own = ["plots=false", "mlflow.experiment_name=drawn", "mlflow.onnx=false"];
    let train = |name: &str, arguments: &[&str]| {
        training(folder, name, &[&own, arguments].concat(), &environment).output().unwrap()
    };

    // A folder stands where the second epoch's checkpoint has to go.
    std::fs::create_dir_all(folder.join("runs/failed/weights/epoch2.pt/taken")).unwrap();
    let failed = train("failed", &["epochs=3", "save_period=2", "exist_ok=true"]);
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));

    // The process is killed as by a power cut, and goes on in the same run.
    let run_folder = folder.join("runs/killed");
    let mut child = training(folder, "killed", &[&own[..], &["epochs=12"]].concat(), &environment)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| rows(&run_folder) >= 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = Command::new(env!("CARGO_BIN_EXE_yolo11"))
        .args(["train", "resume=runs/killed", "tracking_wait=240"])
        .envs(environment)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed));
    let undisturbed = train("undisturbed", &["epochs=12"]);
    assert!(undisturbed.status.success(), "{}", text(&undisturbed));

    for rate in ["0.01", "0.02"] {
        let output = train(&format!("rate{rate}"), &["epochs=1", &format!("lr0={rate}"), "mlflow.parent_run=rates"]);
        assert!(output.status.success(), "{}", text(&output));
    }

    let runs = read_back(&python, &uri, "drawn", &[]);
    let run = &runs["failed"];
    assert_eq!(run["status"], "FAILED", "{runs}");
    let error = run["tags"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("epoch2.pt"), "{error}");
    for name in ["weights/last.pt", "training.log", "results.csv", "args.yaml"] {
        assert!(run["files"][name].is_string(), "{name} is not in {}", run["files"]);
    }

    let (killed, whole) = (&runs["killed"], &runs["undisturbed"]);
    assert_eq!(killed["status"], "FINISHED");
    assert_eq!(runs.as_object().unwrap().len(), 6, "{:?}", runs.as_object().unwrap().keys());
    let values = |run: &Value| -> BTreeMap<String, BTreeSet<(i64, u64)>> {
        let mut points = points_of(run);
        points.retain(|key, _| is_reproducible(key));
        let bare =
            |points: Vec<(i64, i64, f64)>| points.into_iter().map(|(step, _, value)| (step, value.to_bits())).collect();
        points.into_iter().map(|(key, points)| (key, bare(points))).collect()
    };
    assert_eq!(values(killed), values(whole));

    let parent = &runs["rates"];
    assert_eq!(parent["status"], "FINISHED");
    for rate in ["0.01", "0.02"] {
        let child = &runs[format!("rate{rate}")];
        assert_eq!(child["tags"]["mlflow.parentRunId"], parent["id"]);
        assert_eq!(child["params"]["lr0"], rate);
    }
}

/// Whether a metric has the same value in every run with the same seed.
fn is_reproducible(key: &str) -> bool {
    !key.starts_with("system/") && !matches!(key, "images_per_second" | "seconds")
}

/// Epochs in a run's table.
fn rows(run_folder: &Path) -> usize {
    std::fs::read_to_string(run_folder.join("results.csv")).map_or(0, |text| text.lines().count().saturating_sub(1))
}

/// Waits for what is sure to come.
fn wait_for(condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed().as_secs() < 240, "nothing came");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
