//! `yolo11 server` as a process: the official client's life, crashes, faults of what lies below it, and who may ask.
#![cfg(unix)]

mod crash;
mod faults;
mod security;
mod ui;
mod web;

use std::path::Path;

use serde_json::json;
use web::serve;
use yolo11_test_servers as servers;

fn lives(python: &Path, arguments: &[&str], environment: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), arguments, environment);
    let seen = servers::run_python(
        python,
        include_str!("life.py"),
        &[&server.uri()],
        &[("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")],
    );
    let expected = json!({
        "experiment tags": "vision",
        "status": "FINISHED",
        "params": {"lr": "0.001", "epochs": "3", "cut": 6000},
        "latest": [0.5 / 19.0, 19.0 / 20.0, true, f64::MAX],
        "note": "a note",
        "input": ["toy", "training"],
        "history": [20, 0, 19, 0.5 / 19.0],
        "root": [["all", true, null], ["config", true, null], ["plain text.txt", false, 5], ["table.json", false, 61]],
        "images": 2,
        "fetched": 1_280_000,
        "table": {"class": ["cat", "dog"], "map": [0.5, 0.75]},
        "changed param": "INVALID_PARAMETER_VALUE",
        "again": 500,
        "search": [
            ["first", "other 6", "other 4"],
            ["first"],
            ["other 0", "other 1", "other 2"],
            ["first"],
            ["other 1"],
            ["other 0", "other 1"],
        ],
        "pages": [5, 3, null, 8],
        "frame": [0.6, 0.9],
        "experiments": ["life"],
        "deleted": [0, 1],
        "write to deleted": "INVALID_PARAMETER_VALUE",
        "restored": 1,
        "renamed": ["renamed", "FAILED"],
        "tag gone": false,
        "registry": ["2", "the best so far", {"checked": "yes"}, true, ["champion"], "Identity", {"champion": "2"}, 2, ["detectors"]],
        "predicted": [[1.0, 1.0]],
        "logged model": ["detector", "READY", "640", [0.9]],
        "versions left": ["2"],
        "version gone": "RESOURCE_DOES_NOT_EXIST",
        "experiment deleted": ["deleted", "deleted"],
        "experiment back": ["active", "active"],
        "range": [206, "bytes 8388608-8388615/13631488", true],
        "large": true,
        "large gone": [],
    });
    for (what, expected) in expected.as_object().unwrap() {
        assert_eq!(&seen[what], expected, "{what}, {arguments:?}\n{}", server.log());
    }
}

#[test]
fn the_official_client_lives_on_sqlite_and_a_folder() {
    let Some(python) = servers::python() else { return };
    lives(&python, &[], &[]);
}

#[test]
fn the_official_client_lives_on_sqlite_and_s3() {
    let Some(python) = servers::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = servers::S3Server::start(folder.path(), 0).unwrap();
    let address = store.uri();
    let environment =
        [servers::KEYS[0], servers::KEYS[1], servers::KEYS[2], ("MLFLOW_S3_ENDPOINT_URL", address.as_str())];
    lives(&python, &["--artifacts-destination", &format!("s3://{}/team", servers::BUCKET)], &environment);
}

#[test]
fn the_official_client_lives_on_postgresql_and_a_folder() {
    let Some(python) = servers::python() else { return };
    let Some(database) = servers::Postgres::start("scram-sha-256", "secret") else { return };
    lives(&python, &["--backend-store-uri", &database.uri()], &[]);
}

#[test]
fn the_official_client_lives_on_postgresql_and_s3() {
    let Some(python) = servers::python() else { return };
    let Some(database) = servers::Postgres::start("scram-sha-256", "secret") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = servers::moto(&python, folder.path());
    let address = store.uri();
    let uri = database.uri();
    // Where the database is may be a variable, so that its password is in no list of processes.
    let environment = [
        servers::KEYS[0],
        servers::KEYS[1],
        servers::KEYS[2],
        ("MLFLOW_S3_ENDPOINT_URL", address.as_str()),
        ("MLFLOW_BACKEND_STORE_URI", uri.as_str()),
    ];
    lives(&python, &["--artifacts-destination", &format!("s3://{}", servers::BUCKET)], &environment);
}

#[test]
fn a_training_registers_its_model_and_makes_it_champion() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[], &[]);
    let train = |name: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_yolo11"))
            .args(["train", "data=demo", "imgsz=64", "batch=8", "fraction=0.1", "epochs=1", "tracking_wait=240"])
            .args([format!("name={name}"), "mlflow.register=detector".to_owned()])
            .env("MLFLOW_TRACKING_URI", server.uri())
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let champion = || {
        let path = "registered-models/alias?name=detector&alias=champion";
        web::get(server.port(), path).unwrap().json()["model_version"]["version"].clone()
    };
    train("first");
    assert_eq!(champion(), "1", "{}", server.log());
    // The same training again is no better.
    train("second");
    let versions = web::get(server.port(), "model-versions/search?filter=name='detector'").unwrap().json();
    assert_eq!(versions["model_versions"].as_array().unwrap().len(), 2, "{versions}");
    assert_eq!(champion(), "1");
}
