//! What lies below the server fails: the answers say so, and it goes on by itself when that is mended.

use std::process::Command;

use serde_json::{Value, json};
use yolo11_server::database::Connection as _;
use yolo11_server::database::sqlite::Sqlite;
use yolo11_test_servers as servers;

use crate::web::{Answer, ask, call, serve};

fn run(port: u16) -> String {
    let made = call(port, "runs/create", &json!({"experiment_id": "0"})).unwrap().json();
    made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

fn tag(port: u16, run: &str, value: &str) -> Answer {
    call(port, "runs/set-tag", &json!({"run_id": run, "key": "k", "value": value})).unwrap()
}

fn told(answer: &Answer) -> (u16, Value, String) {
    let body = answer.json();
    (answer.status, body["error_code"].clone(), body["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_locked_database_is_told_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[], &[]);
    let run = run(server.port());
    let mut other = Sqlite::open(&folder.path().join("tracking/tracking.db")).unwrap();
    other.begin(true).unwrap();
    let (status, code, message) = told(&tag(server.port(), &run, "1"));
    assert_eq!((status, code), (503, json!("TEMPORARILY_UNAVAILABLE")));
    assert_eq!(message, "the database tracking/tracking.db is locked by another program");
    // Whoever reads does not wait for whoever writes.
    assert_eq!(call(server.port(), "runs/search", &json!({"experiment_ids": ["0"]})).unwrap().status, 200);
    other.rollback();
    assert_eq!(tag(server.port(), &run, "2").status, 200);
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("tracking");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a small disk cannot be mounted here (needs root)");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(disk.clone());
    let server = serve(folder.path(), &[], &[]);
    let port = server.port();
    let run = run(port);
    assert_eq!(tag(port, &run, "0 before").status, 200);
    let filler = disk.join("filler");
    let block = vec![7_u8; 4096];
    let mut blocks = Vec::new();
    while std::fs::write(&filler, [blocks.as_slice(), &block].concat()).is_ok() {
        blocks.extend_from_slice(&block);
    }
    let upload =
        |size: usize| ask(port, "PUT", "/api/2.0/mlflow-artifacts/artifacts/x/y.bin", &[], &vec![1; size]).unwrap();
    let (status, _, message) = told(&upload(500_000));
    assert_eq!((status, message.as_str()), (503, "the disk that holds the artifacts is full"));
    let mut last = None;
    let mut kept = 0;
    for number in 1..2000 {
        let answer = tag(port, &run, &format!("{number} {}", "x".repeat(7000)));
        if answer.status == 200 {
            kept = number;
            continue;
        }
        last = Some(told(&answer));
        break;
    }
    let (status, code, message) = last.expect("the disk was never full");
    assert_eq!((status, code), (503, json!("TEMPORARILY_UNAVAILABLE")));
    assert!(message.contains("tracking.db") && (message.contains("full") || message.contains("disk")), "{message}");
    std::fs::remove_file(&filler).unwrap();
    let found = crate::web::get(port, &format!("runs/get?run_id={run}")).unwrap().json();
    let value =
        found["run"]["data"]["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == "k").unwrap()["value"].clone();
    assert!(value.as_str().unwrap().starts_with(&format!("{kept} ")), "the last acknowledged value is not there");
    assert_eq!(tag(port, &run, "after").status, 200);
    assert_eq!(upload(500_000).status, 200);
}

#[test]
fn a_restarted_postgresql_is_met_again() {
    let Some(database) = servers::Postgres::start("scram-sha-256", "very-secret") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[], &[("MLFLOW_BACKEND_STORE_URI", &database.uri())]);
    let port = server.port();
    let run = run(port);
    assert_eq!(tag(port, &run, "before").status, 200);
    let search = || call(port, "runs/search", &json!({"experiment_ids": ["0"]})).unwrap();
    assert_eq!(search().status, 200);
    database.stop();
    for answer in [tag(port, &run, "while"), search()] {
        let (status, code, message) = told(&answer);
        assert_eq!((status, code), (503, json!("TEMPORARILY_UNAVAILABLE")), "{message}");
        assert!(message.contains(&format!("postgresql://127.0.0.1:{}/postgres", database.port())), "{message}");
    }
    database.launch();
    assert_eq!(tag(port, &run, "after").status, 200);
    let found = search().json();
    assert_eq!(found["runs"][0]["data"]["tags"][0], json!({"key": "k", "value": "after"}));
    assert!(!server.log().contains("very-secret"), "{}", server.log());
}

#[test]
fn a_store_that_is_gone_is_told_and_met_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = servers::S3Server::start(&folder.path().join("store"), 0).unwrap();
    let (address, store_port) = (store.uri(), store.port());
    let environment =
        [servers::KEYS[0], servers::KEYS[1], servers::KEYS[2], ("MLFLOW_S3_ENDPOINT_URL", address.as_str())];
    let server =
        serve(folder.path(), &["--artifacts-destination", &format!("s3://{}/a", servers::BUCKET)], &environment);
    let path = "/api/2.0/mlflow-artifacts/artifacts/1/x.txt";
    let put = || ask(server.port(), "PUT", path, &[], b"hello").unwrap();
    assert_eq!(put().status, 200);
    drop(store);
    for answer in [put(), ask(server.port(), "GET", path, &[], b"").unwrap()] {
        let (status, code, message) = told(&answer);
        assert_eq!((status, code), (503, json!("TEMPORARILY_UNAVAILABLE")), "{message}");
        assert!(message.starts_with("the artifact store s3://artifacts/a does not answer: "), "{message}");
    }
    // The database does not need the store.
    let run = run(server.port());
    assert_eq!(tag(server.port(), &run, "x").status, 200);
    let _store = servers::S3Server::start(&folder.path().join("store"), store_port).unwrap();
    assert_eq!(put().status, 200);
    let answer = ask(server.port(), "GET", path, &[("range", "bytes=1-3")], b"").unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice(), answer.header("content-range")),
        (206, &b"ell"[..], Some("bytes 1-3/5"))
    );
    assert!(!server.log().contains(servers::KEYS[1].1));
}
