//! One suite for every artifact store: a folder, an S3 server, a tracking server.

use std::path::Path;

use yolo11_test_servers::{KEYS, S3Server, mlflow, moto, python};
use yolo11_tracking::Environment;
use yolo11_tracking::artifacts::{ArtifactStore, FolderStore, S3Store, ServerStore, Source, Stored, walk};
use yolo11_tracking::client::Client;

/// What every store does. `big`: a length that it sends in parts, where it can.
fn conforms(store: &dyn ArtifactStore, folder: &Path, big: usize) {
    assert_eq!(store.list("").unwrap(), []);
    assert_eq!(store.list("nowhere").unwrap(), []);
    store.put("a.txt", Source::Bytes(b"first")).unwrap();
    store.put("a.txt", Source::Bytes(b"second")).unwrap();
    store.put("empty", Source::Bytes(b"")).unwrap();
    let odd = "deep/er/ü +&%.txt";
    store.put(odd, Source::Bytes("ä".as_bytes())).unwrap();
    let bytes: Vec<u8> = (0..big).map(|index| (index * 31 % 251) as u8).collect();
    std::fs::write(folder.join("big"), &bytes).unwrap();
    store.put("deep/big.bin", Source::File(&folder.join("big"))).unwrap();
    assert_eq!(store.get("a.txt").unwrap(), b"second");
    assert_eq!(store.get("empty").unwrap(), b"");
    assert_eq!(store.get(odd).unwrap(), "ä".as_bytes());
    assert!(store.get("deep/big.bin").unwrap() == bytes);
    let stored = |path: &str, size| Stored { path: path.to_owned(), size };
    assert_eq!(store.list("").unwrap(), [stored("a.txt", Some(6)), stored("deep", None), stored("empty", Some(0))]);
    assert_eq!(store.list("deep").unwrap(), [stored("deep/big.bin", Some(big as u64)), stored("deep/er", None)]);
    assert!(store.get("missing").is_err());
    store.fetch("deep/big.bin", &folder.join("fetched")).unwrap();
    assert!(std::fs::read(folder.join("fetched")).unwrap() == bytes);
    let all = ["a.txt", "deep/big.bin", odd, "empty"].map(str::to_owned);
    assert_eq!(walk(store, "").unwrap().into_iter().map(|(path, _)| path).collect::<Vec<_>>(), all);
    store.delete("deep").unwrap();
    store.delete("a.txt").unwrap();
    store.delete("a.txt").unwrap();
    assert_eq!(walk(store, "").unwrap(), [("empty".to_owned(), 0)]);
    let missing = folder.join("not-there");
    let text = store.put("x", Source::File(&missing)).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: cannot be read: ", missing.display())), "{text}");
}

#[test]
fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&FolderStore::new(folder.path().join("store")), folder.path(), 100_000);
}

fn environment(uri: &str) -> Environment {
    Environment::from_pairs(KEYS.into_iter().chain([("MLFLOW_S3_ENDPOINT_URL", uri)]))
}

/// An S3 server straight, with large files in parts.
fn s3_conforms(uri: &str, folder: &Path) {
    let direct = S3Store::new("s3://artifacts/some/run", &environment(uri)).unwrap().with_multipart_above(6 << 20);
    conforms(&direct, folder, 40 << 20);
}

#[test]
fn s3s_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = S3Server::start(&folder.path().join("s3"), 0).unwrap();
    s3_conforms(&store.uri(), folder.path());
}

#[test]
fn moto_and_the_tracking_server_conform() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = moto(&python, folder.path());
    let uri = store.uri();
    s3_conforms(&uri, folder.path());
    // The other make of S3 makes a bucket with its first object.
    let nowhere = S3Store::new("s3://no-such-bucket/x", &environment(&uri)).unwrap();
    let text = nowhere.put("a", Source::Bytes(b"x")).unwrap_err().to_string();
    assert!(text.contains("404 NoSuchBucket: ") && text.contains("hint: make the bucket"), "{text}");
    assert!(!text.contains("test-secret-value") && !text.contains("Signature"), "{text}");

    // The tracking server keeps its artifacts in that S3 store: large files go there in parts.
    let mut keys = KEYS.to_vec();
    keys.push(("MLFLOW_S3_ENDPOINT_URL", &uri));
    let backend = format!("sqlite:///{}/mlflow.db", folder.path().display());
    let server = mlflow(&python, folder.path(), &backend, &["--artifacts-destination", "s3://artifacts/served"], &keys);
    let client = Client::new(&server.uri(), &environment(&uri)).unwrap();
    let served = ServerStore::new("mlflow-artifacts:/1/run/artifacts", &client).unwrap().with_multipart_above(6 << 20);
    conforms(&served, folder.path(), 25 << 20);
}
