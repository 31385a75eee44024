//! Whole trainings of the program, read back from a real MLflow server by the official client. Needs `YOLO11_PYTHON`.

use std::path::Path;
use std::process::{Command, Output};

use yolo11_test_servers as servers;

/// Every run of the experiment, by name: state, settings, tags, the history of one figure, and the digests of its weights.
const READ_BACK: &str = r#"
import hashlib, json, os, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("drawn")
runs = {}
for run in client.search_runs([experiment.experiment_id]):
    digests = {}
    for file in client.list_artifacts(run.info.run_id, "weights"):
        path = client.download_artifacts(run.info.run_id, file.path)
        digests[os.path.basename(file.path)] = hashlib.md5(open(path, "rb").read()).hexdigest()
    history = [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, "metrics/mAP50-95B")]
    runs[run.info.run_name] = {"status": run.info.status, "params": run.data.params, "tags": run.data.tags,
        "history": history, "metrics": sorted(run.data.metrics), "weights": digests}
print(json.dumps(runs))
"#;

fn train(folder: &Path, uri: &str, name: &str, arguments: &[&str]) -> Output {
    let names = [format!("name={name}"), format!("mlflow.run_name={name}"), format!("mlflow.tracking_uri={uri}")];
    Command::new(env!("CARGO_BIN_EXE_yolo11"))
        .args(["train", "data=demo", "imgsz=64", "batch=8", "fraction=0.1", "plots=false", "tracking_wait=120"])
        .args(["mlflow.experiment_name=drawn", "mlflow.tags={team: vision}"])
        .args(names)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn a_finished_and_a_failed_training_are_read_back_by_the_official_client() {
    let Some(python) = servers::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let backend = format!("sqlite:///{}/mlflow.db", folder.display());
    let destination = format!("{}/artifacts", folder.display());
    let server = servers::mlflow(&python, folder, &backend, &["--artifacts-destination", &destination], &[]);

    let finished = train(folder, &server.uri(), "finished", &["epochs=2"]);
    assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    // A folder stands where the checkpoint has to go.
    std::fs::create_dir_all(folder.join("runs/failed/weights/last.pt/taken")).unwrap();
    let failed = train(folder, &server.uri(), "failed", &["epochs=2", "exist_ok=true"]);
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));

    let runs = servers::run_python(&python, READ_BACK, &[&server.uri()], &[]);
    let run = &runs["finished"];
    assert_eq!(run["status"], "FINISHED", "{runs}");
    for (name, value) in [("epochs", "2"), ("imgsz", "64"), ("batch", "8"), ("data", "demo")] {
        assert_eq!(run["params"][name], value, "{name}");
    }
    assert_eq!(run["tags"]["team"], "vision");
    let table = std::fs::read_to_string(folder.join("runs/finished/results.csv")).unwrap();
    let column =
        table.lines().next().unwrap().split(',').position(|name| name.trim() == "metrics/mAP50-95(B)").unwrap();
    let history = run["history"].as_array().unwrap();
    assert_eq!(history.len(), 2, "{history:?}");
    for (row, point) in table.lines().skip(1).zip(history) {
        let written: f64 = row.split(',').nth(column).unwrap().trim().parse().unwrap();
        assert!((point[1].as_f64().unwrap() - written).abs() < 1e-5, "{row} {point}");
    }
    let metrics: Vec<&str> = run["metrics"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    for name in ["train/box_loss", "val/cls_loss", "metrics/mAP50B", "metrics/precisionB", "lr/pg0"] {
        assert!(metrics.contains(&name), "{name} is not in {metrics:?}");
    }
    for name in ["best.pt", "last.pt"] {
        let digest = servers::run_python(
            &python,
            "import hashlib,json,sys\nprint(json.dumps(hashlib.md5(open(sys.argv[1],'rb').read()).hexdigest()))",
            &[&folder.join("runs/finished/weights").join(name).display().to_string()],
            &[],
        );
        assert_eq!(run["weights"][name], digest, "{name}");
    }

    let run = &runs["failed"];
    assert_eq!(run["status"], "FAILED", "{runs}");
    let error = run["tags"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("last.pt"), "{error}");
}
