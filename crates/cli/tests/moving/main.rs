//! A server's content on its way to another one and back, seen by the official client. Needs `YOLO11_PYTHON`.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use yolo11_test_servers::{Server, free_port, mlflow, python, run_python};

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

/// This program's own server.
fn own_server(folder: &Path) -> Server {
    let folder = folder.join("own");
    std::fs::create_dir_all(&folder).unwrap();
    let port = free_port();
    let command = [
        env!("CARGO_BIN_EXE_yolo11"),
        "server",
        "--port",
        &port.to_string(),
        "--backend-store-uri",
        &format!("sqlite:///{}/own.db", folder.display()),
        "--artifacts-destination",
        &folder.join("artifacts").display().to_string(),
    ];
    Server::new(&command.map(str::to_owned), &[], &folder, port, Some("/health"))
}

/// Experiments, runs, runs that were there, logged models, registered models, versions.
fn counts(moved: &Value) -> [u64; 6] {
    ["experiments", "runs", "runs_there", "models", "registered", "versions"].map(|name| moved[name].as_u64().unwrap())
}

#[test]
fn a_server_moves_to_ours_on_to_another_and_back() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (first, second, own) = (server(&python, home, "first"), server(&python, home, "second"), own_server(home));
    let (first, second, own) = (first.uri(), second.uri(), own.uri());
    run_python(&python, FILL, &[&first], &[]);
    let look = |uri: &str| run_python(&python, LOOK, &[uri], &[]);
    let before = look(&first);
    assert_eq!(before["experiments"]["cells"]["runs"].as_object().unwrap().len(), 6, "{before}");
    let folder = |name: &str| home.join(name).display().to_string();
    let export = folder("export");

    let moved = told(&["export", &export, "--from", &first]);
    assert_eq!(counts(&moved), [3, 7, 0, 3, 1, 2], "{moved}");
    // Three runs of 1504 points and one of one.
    assert_eq!(moved["points"], 3 * 1504 + 1);
    let again = told(&["export", &export, "--from", &first]);
    // Three runs that were never ended may have got points since.
    assert_eq!((counts(&again)[2], &again["points"]), (4, &json!(1)), "{again}");

    // A file that was damaged on the way is named before anything of its run is called whole.
    let files = Command::new("find").args([&export, "-name", "weights.bin"]).output().unwrap();
    let damaged = String::from_utf8(files.stdout).unwrap().lines().next().unwrap().to_owned();
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[1..]).unwrap();
    let output = tracking(&["import", &export, "--to", &own]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("{damaged}: is not what was exported\nhint: export again")), "{text}");
    std::fs::write(&damaged, &bytes).unwrap();

    // Ours keeps the ids.
    let moved = told(&["import", &export, "--to", &own]);
    assert_eq!(counts(&moved)[0..2], [3, 7], "{moved}");
    assert!(counts(&moved)[2] < 7, "{moved}");
    assert_eq!(look(&own), before);
    let again = told(&["import", &export, "--to", &own]);
    assert_eq!(counts(&again)[1..3], [7, 7], "{again}");

    // MLflow does not: a table and tags name the old ones. What the target has of its own stays.
    let script = "import mlflow, sys\nmlflow.set_tracking_uri(sys.argv[1])\nmlflow.set_experiment('own')\nwith mlflow.start_run(run_name='own'): mlflow.log_metric('a', 1)\nprint('null')";
    run_python(&python, script, &[&second], &[]);
    let onward = folder("onward");
    told(&["export", &onward, "--from", &own]);
    let moved = told(&["import", &onward, "--to", &second]);
    assert_eq!(counts(&moved)[0..3], [3, 7, 0], "{moved}");
    let mut after = look(&second);
    let alone = after["experiments"].as_object_mut().unwrap().remove("own").unwrap();
    assert_eq!(alone["runs"]["own"]["status"], "FINISHED");
    assert_eq!((&after["experiments"], &after["registry"]), (&before["experiments"], &before["registry"]));
    let table = std::fs::read_dir(&onward).unwrap().map(|entry| entry.unwrap().path());
    let table = table.into_iter().find(|path| path.display().to_string().contains("mapping-")).unwrap();
    let table: Value = serde_json::from_slice(&std::fs::read(table).unwrap()).unwrap();
    for (name, old) in before["ids"].as_object().unwrap() {
        assert_ne!(*old, after["ids"][name]);
        assert_eq!(table["runs"][old.as_str().unwrap()], after["ids"][name], "{name}");
    }

    // And back: everything was made there.
    let back = folder("back");
    told(&["export", &back, "--from", &second, "--experiment", "cells"]);
    let returned = told(&["import", &back, "--to", &first]);
    assert_eq!(counts(&returned)[0..3], [1, 6, 6], "{returned}");
    assert_eq!(look(&first), before);

    check_gc(&python, &home.join("first/artifacts"), &first, &before, false);
    check_gc(&python, &home.join("own/artifacts"), &own, &before, true);

    let output = tracking(&["export", &export, "--from", &second]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the folder holds the export of another server\nhint: name an empty folder"), "{text}");
    let output = tracking(&["export", &back, "--from", &second, "--experiment", "cell"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("there is no experiment `cell`\nhint: leave the names out"), "{text}");
}

/// Of a deleted run and of what belongs to nobody everything goes, and nothing else.
fn check_gc(python: &Path, artifacts: &Path, uri: &str, before: &Value, removes_rows: bool) {
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
    assert_eq!(
        removed["removed"],
        json!({"runs": u8::from(removes_rows), "runs_left": u8::from(!removes_rows), "files": 2, "bytes": 10})
    );
    if removes_rows {
        assert_eq!(told(&["gc", "--from", uri])["found"], json!([]));
    }
    for path in [deleted, orphan] {
        assert!(!artifacts.join(experiment).join(path).join("artifacts").exists(), "{path}");
    }
    assert!(artifacts.join(experiment).join(used).join("artifacts/weights/weights.bin").exists());
    assert!(artifacts.join(experiment).join("notes/mine.txt").exists());
}
