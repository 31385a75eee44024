//! Two makes of S3: what one tool sends the other fetches; large objects, many objects, servers that lie.

use std::fs;
use std::path::{Path, PathBuf};

use yolo11_test_servers::{BUCKET, KEYS, S3Server, moto, python};

use crate::tools::*;

/// A repository with a folder, and a remote in the bucket.
pub fn with_remote(root: &Path, endpoint: &str, prefix: &str, tool: Tool) {
    repository(root, tool);
    fs::write(root.join(".dvc/config"), s3_config(endpoint, prefix)).unwrap();
    fs::write(
        root.join(".dvc/config.local"),
        format!("['remote \"store\"']\n    access_key_id = {}\n    secret_access_key = {}\n", KEYS[0].1, KEYS[1].1),
    )
    .unwrap();
}

fn s3_config(endpoint: &str, prefix: &str) -> String {
    format!(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://{BUCKET}/{prefix}\n    endpointurl = {endpoint}\n    region = us-east-1\n"
    )
}

fn lose(root: &Path) {
    for name in [".dvc/cache", "data"] {
        fs::remove_dir_all(root.join(name)).unwrap();
    }
}

fn there_and_back(endpoint: &str, folder: &Path) {
    let mut random = Random(5);
    for (index, sender) in [Tool::Yolo11, Tool::Dvc].into_iter().enumerate() {
        if dvc().is_none() && sender == Tool::Dvc {
            continue;
        }
        let root = folder.join(format!("root-{index}"));
        with_remote(&root, endpoint, &format!("some/prefix-{index}"), Tool::Yolo11);
        fs::create_dir(root.join("data")).unwrap();
        for name in NAMES {
            write(&root.join("data").join(name), &mut random);
        }
        done(sender, &root, &["add", "data"]);
        let before = shared(&root);
        done(sender, &root, &["push"]);
        let said = done(Tool::Yolo11, &root, &["push"]);
        assert!(said.contains("0 objects sent to"), "{said}");
        for receiver in [Tool::Yolo11, Tool::Dvc] {
            if dvc().is_none() && receiver == Tool::Dvc {
                continue;
            }
            lose(&root);
            done(receiver, &root, &["pull"]);
            assert_eq!(shared(&root), before, "sent by {sender:?}, fetched by {receiver:?}");
            assert_eq!(status(Tool::Yolo11, &root), serde_json::json!({}));
        }
    }
}

#[test]
fn moto_keeps_what_either_tool_sends() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = moto(&python, folder.path());
    there_and_back(&server.uri(), folder.path());
}

#[test]
fn s3s_keeps_what_either_tool_sends() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(&folder.path().join("store"), 0).unwrap();
    there_and_back(&server.uri(), folder.path());
}

/// The files of the server's folder that are objects.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(objects(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

#[test]
fn many_objects_and_large_ones_arrive_and_lies_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let server = S3Server::start(&store, 0).unwrap();
    let root = folder.path().join("root");
    with_remote(&root, &server.uri(), "p", Tool::Yolo11);
    fs::create_dir(root.join("data")).unwrap();
    // More than are asked for one by one, and one that goes in two parts.
    for index in 0..600 {
        fs::write(root.join(format!("data/{index}")), format!("file {index}")).unwrap();
    }
    let large: Vec<u8> = (0..(70u32 << 20)).map(|index| (index.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    fs::write(root.join("data/large"), &large).unwrap();
    done(Tool::Yolo11, &root, &["add", "data"]);
    let said = done(Tool::Yolo11, &root, &["push"]);
    assert!(said.contains("602 objects sent to `store`, 0 were there already"), "{said}");
    let sent = objects(&store.join(BUCKET).join("p/files/md5"));
    assert_eq!(sent.len(), 602);

    // Gone or cut short on the server, and the list not there: those alone are sent again.
    let list = sent.iter().find(|path| path.extension().is_some_and(|end| end == "dir")).unwrap();
    let whole = |path: &&PathBuf| fs::metadata(path).unwrap().len() < 100 && *path != list;
    let victims: Vec<&PathBuf> = sent.iter().filter(whole).take(2).collect();
    fs::remove_file(list).unwrap();
    fs::remove_file(victims[0]).unwrap();
    fs::write(victims[1], "file").unwrap();
    let said = done(Tool::Yolo11, &root, &["push"]);
    assert!(said.contains("3 objects sent to `store`, 599 were there already"), "{said}");

    // Other bytes of the same size: refused by name, the others kept, and all well once it is mended.
    let right = fs::read(victims[1]).unwrap();
    fs::write(victims[1], &b"lies lies lies"[..right.len()]).unwrap();
    lose(&root);
    let (is_done, said) = run(Tool::Yolo11, &root, &["pull"]);
    assert!(!is_done && said.contains(&format!("s3://{BUCKET}/p/files/md5/")), "{said}");
    assert!(said.contains("the content has md5 ") && said.contains("hint: the object is damaged there"), "{said}");
    fs::write(victims[1], right).unwrap();
    let said = done(Tool::Yolo11, &root, &["pull"]);
    assert!(said.contains("1 objects fetched from `store`, 601 were there already"), "{said}");
    assert!(fs::read(root.join("data/large")).unwrap() == large);
    assert_eq!(status(Tool::Yolo11, &root), serde_json::json!({}));
}
