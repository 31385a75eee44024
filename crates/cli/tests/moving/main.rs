//! A server's content on its way to another one and back, seen by the official client. Needs `YOLO11_PYTHON`.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use yolo11_test_servers::{Server, mlflow, python, run_python};

const FILL: &str = include_str!("fill.py");
const LOOK: &str = include_str!("look.py");

fn tracking(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_yolo11")).arg("tracking").args(arguments).output().unwrap()
}

/// What a command says as JSON.
fn told(arguments: &[&str]) -> Value {
    let output = tracking(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn server(python: &Path, folder: &Path, name: &str) -> Server {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let backend = format!("sqlite:///{}/mlflow.db", folder.display());
    let destination = folder.join("artifacts").display().to_string();
    mlflow(python, &folder, &backend, &["--artifacts-destination", &destination], &[])
}

#[test]
fn a_server_moves_to_another_and_back() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (first, second) = (server(&python, home, "first"), server(&python, home, "second"));
    let (first, second) = (first.uri(), second.uri());
    run_python(&python, FILL, &[&first], &[]);
    let look = |uri: &str| run_python(&python, LOOK, &[uri], &[]);
    let before = look(&first);
    assert_eq!(before["experiments"]["cells"]["runs"].as_object().unwrap().len(), 6, "{before}");
    let folder = home.join("export").display().to_string();

    let moved = told(&["export", &folder, "--from", &first]);
    // Three runs of 1504 points (of which two are one) and one of one.
    let counts = |moved: &Value| {
        ["experiments", "runs", "runs_there", "models", "registered", "versions"]
            .map(|name| moved[name].as_u64().unwrap())
    };
    assert_eq!(counts(&moved), [3, 7, 0, 3, 1, 2], "{moved}");
    assert_eq!(moved["points"], 3 * 1504 + 1);
    let again = told(&["export", &folder, "--from", &first]);
    // Three runs that were never ended may have got points since.
    assert_eq!((counts(&again)[2], &again["points"]), (4, &json!(1)), "{again}");

    // Something of the target's own is there and stays.
    run_python(
        &python,
        "import mlflow, sys\nmlflow.set_tracking_uri(sys.argv[1])\nmlflow.set_experiment('own')\nwith mlflow.start_run(run_name='own'): mlflow.log_metric('a', 1)\nprint('null')",
        &[&second],
        &[],
    );
    // A file that was damaged on the way is named before anything of its run is called whole.
    let files = Command::new("find").args([&folder, "-name", "weights.bin"]).output().unwrap();
    let damaged = String::from_utf8(files.stdout).unwrap().lines().next().unwrap().to_owned();
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[1..]).unwrap();
    let output = tracking(&["import", &folder, "--to", &second]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1)
            && text.contains(&format!("{damaged}: is not what was exported\nhint: export again")),
        "{text}"
    );
    std::fs::write(&damaged, &bytes).unwrap();

    let moved = told(&["import", &folder, "--to", &second]);
    assert_eq!(counts(&moved)[0..2], [3, 7], "{moved}");
    assert!(counts(&moved)[2] < 7, "{moved}");
    let mut after = look(&second);
    let own = after["experiments"].as_object_mut().unwrap().remove("own").unwrap();
    assert_eq!(own["runs"]["own"]["status"], "FINISHED");
    assert_eq!(after["experiments"], before["experiments"]);
    assert_eq!(after["registry"], before["registry"]);
    let mapping = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.display().to_string().contains("mapping-"));
    let mapping: Value = serde_json::from_slice(&std::fs::read(mapping.unwrap()).unwrap()).unwrap();
    for (name, old) in before["ids"].as_object().unwrap() {
        assert_eq!(mapping["runs"][old.as_str().unwrap()], after["ids"][name], "{name}");
    }

    // Again: everything is there. And back: everything was made there.
    let again = told(&["import", &folder, "--to", &second]);
    assert_eq!(counts(&again)[1..3], [7, 7], "{again}");
    assert_eq!(look(&second)["ids"].as_object().unwrap().len(), after["ids"].as_object().unwrap().len());
    let back = home.join("back").display().to_string();
    told(&["export", &back, "--from", &second, "--experiment", "cells"]);
    let returned = told(&["import", &back, "--to", &first]);
    assert_eq!(counts(&returned)[0..3], [1, 6, 6], "{returned}");
    assert_eq!(look(&first), before);

    check_gc(&python, &home.join("first/artifacts"), &first, &before);

    let output = tracking(&["export", &folder, "--from", &second]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the folder holds the export of another server\nhint: name an empty folder"), "{text}");
    let output = tracking(&["export", &back, "--from", &second, "--experiment", "cell"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("there is no experiment `cell`\nhint: leave the names out"), "{text}");
}

/// Of a deleted run and of what belongs to nobody everything goes, and nothing else.
fn check_gc(python: &Path, artifacts: &Path, uri: &str, before: &Value) {
    let experiment = "1";
    let orphan = "0123456789abcdef0123456789abcdef";
    for (path, text) in
        [(format!("{experiment}/{orphan}/artifacts/a.txt"), "orphan"), (format!("{experiment}/notes/mine.txt"), "mine")]
    {
        let path = artifacts.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // A deleted run that a registered version comes from stays.
    let used = before["ids"]["child0"].as_str().unwrap();
    run_python(
        python,
        "import mlflow, sys\nmlflow.set_tracking_uri(sys.argv[1])\nmlflow.MlflowClient().delete_run(sys.argv[2])\nprint('null')",
        &[uri, used],
        &[],
    );
    let deleted = before["ids"]["deleted"].as_str().unwrap();
    let found = told(&["gc", "--from", uri]);
    let list: Vec<(&str, &str, u64)> = found["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["kind"].as_str().unwrap(), item["id"].as_str().unwrap(), item["bytes"].as_u64().unwrap()))
        .collect();
    assert_eq!(list, [("deleted run", deleted, 4), ("orphaned run", orphan, 6)]);
    assert_eq!(found["removed"], Value::Null);
    assert!(artifacts.join(experiment).join(deleted).exists(), "listing removes nothing");
    let output = tracking(&["gc", "--from", uri]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nothing was removed\nhint: --yes removes them for good"), "{text}");

    let removed = told(&["gc", "--from", uri, "--yes"]);
    assert_eq!(removed["removed"], json!({"runs": 0, "runs_left": 1, "files": 2, "bytes": 10}));
    for path in [deleted, orphan] {
        assert!(!artifacts.join(experiment).join(path).join("artifacts").exists(), "{path}");
    }
    assert!(artifacts.join(experiment).join(used).join("artifacts/weights/weights.bin").exists());
    assert!(artifacts.join(experiment).join("notes/mine.txt").exists());
}
