//! A write that cannot be finished leaves what was there, and nothing else.
#![cfg(unix)]

mod common;

use std::process::Command;

use common::checkpoint;
use yolo11_checkpoint::{Error, save_pt, save_safetensors, save_state};

/// Names the folder to write to, in the process whose files may not grow.
const FOLDER: &str = "YOLO11_TEST_LIMITED_FOLDER";

#[test]
fn a_write_that_runs_out_of_room_leaves_the_earlier_file() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_beyond_the_limit(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["best.pt", "best.safetensors"] {
        std::fs::write(folder.path().join(name), b"earlier").unwrap();
    }
    // The shell limits the size of files to some hundred kilobytes; with the signal ignored a write fails as on a full disk.
    let status = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 200; exec \"$0\" --exact a_write_that_runs_out_of_room_leaves_the_earlier_file",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    for name in ["best.pt", "best.safetensors"] {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"earlier");
    }
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["best.pt", "best.safetensors", "small.safetensors"], "no temporary file may stay");
}

fn write_beyond_the_limit(folder: &std::path::Path) {
    let checkpoint = checkpoint(3);
    for (name, result) in [
        ("best.pt", save_pt(&folder.join("best.pt"), &checkpoint)),
        ("best.safetensors", save_safetensors(&folder.join("best.safetensors"), &checkpoint)),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        let message = error.to_string();
        assert!(message.contains(&format!("{name}: cannot write: ")), "{message}");
        assert!(
            message.ends_with("\nhint: make room on the disk; an earlier file of that name is unchanged"),
            "{message}"
        );
    }
    // The limit is on size only: a small file is written.
    save_state(&folder.join("small.safetensors"), &Default::default(), &[]).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/best.pt");
    let message = save_pt(&path, &checkpoint(1)).unwrap_err().to_string();
    assert!(message.contains("absent/best.pt: cannot write: "), "{message}");
}

#[test]
fn a_link_keeps_pointing_to_the_file_that_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target.pt"), folder.path().join("last.pt"));
    std::fs::write(&target, b"earlier").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    save_pt(&link, &checkpoint(1)).unwrap();
    assert!(link.is_symlink());
    assert!(std::fs::metadata(&target).unwrap().len() > 1_000_000);
}
