//! What must not be lost: kills, full disks, lost rights, locks of others, lists that lead out.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use yolo11_test_servers::{BUCKET, S3Server};

use crate::remotes::with_remote;
use crate::tools::*;

const YOLO11: &str = env!("CARGO_BIN_EXE_yolo11");

#[test]
fn killed_at_any_moment_the_next_run_completes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    done(Tool::Yolo11, root, &["init", "--no-scm"]);
    fs::create_dir(root.join("data")).unwrap();
    for index in 0..FILES {
        fs::write(root.join(format!("data/{index}")), content(index)).unwrap();
    }
    fs::create_dir(root.join("store")).unwrap();
    done(Tool::Yolo11, root, &["remote", "add", "-d", "store", "store"]);
    drill(
        root,
        3,
        [
            (&["add", "data"], &[], 25),
            (&["push"], &[], 25),
            (&["checkout"], &["data"], 25),
            (&["pull"], &[".dvc/cache", "data"], 25),
        ],
    );
}

#[test]
fn killed_while_it_talks_to_s3_the_next_run_completes() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let server = S3Server::start(&store, 0).unwrap();
    let root = &folder.path().join("root");
    with_remote(root, &server.uri(), "p", Tool::Yolo11);
    fs::create_dir(root.join("data")).unwrap();
    (0..FILES).for_each(|index| fs::write(root.join(format!("data/{index}")), content(index)).unwrap());
    done(Tool::Yolo11, root, &["add", "data"]);
    let objects = || -> Vec<PathBuf> { found(&store.join(BUCKET).join("p/files/md5")) };
    let mut kills = 0;
    // Until a list is there: it says that all its files are.
    let mut random = Random(7);
    while kills < 25 {
        killed(root, &["push"], random.below(300_000));
        kills += 1;
        if let Some(list) = objects().iter().find(|path| path.extension().is_some_and(|end| end == "dir")) {
            assert_eq!(objects().len(), FILES + 1);
            fs::remove_file(list).unwrap();
            // So that there is something to send again.
            objects().iter().step_by(2).for_each(|object| fs::remove_file(object).unwrap());
        }
    }
    done(Tool::Yolo11, root, &["push"]);
    assert_eq!(objects().len(), FILES + 1);
    drill(root, 8, [(&["pull"], &[".dvc/cache", "data"], 25)]);
}

/// Every file below a folder.
fn found(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { found(&path) } else { vec![path] }).collect()
}

const FILES: usize = 400;

fn content(index: usize) -> Vec<u8> {
    vec![index as u8; 20_000 + index]
}

fn killed(root: &Path, words: &[&str], micros: usize) {
    let mut child = command(Path::new(YOLO11), root);
    let mut child = child.arg("data").args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_micros(micros as u64));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Kills each command so often, each time after what is said to be lost was lost, then lets it end.
fn drill<const STEPS: usize>(root: &Path, seed: u64, steps: [(&[&str], &[&str], usize); STEPS]) {
    let mut random = Random(seed);
    for (words, lost, kills) in steps {
        for _ in 0..kills {
            for name in lost {
                let _ = fs::remove_dir_all(root.join(name));
            }
            killed(root, words, random.below(if words == ["add", "data"] { 100_000 } else { 200_000 }));
            // What has its name is whole, in the workspace and in the cache.
            for entry in fs::read_dir(root.join("data")).into_iter().flatten().flatten() {
                let index = entry.file_name().to_string_lossy().parse().expect("no half-made file in the data");
                assert!(fs::read(entry.path()).unwrap() == content(index), "{words:?} {index}");
            }
            for object in found(&root.join(".dvc/cache/files/md5")) {
                let is_trusted = fs::metadata(&object).unwrap().permissions().mode() & 0o777 == 0o444;
                let length = fs::metadata(&object).unwrap().len() as usize;
                let is_list = object.extension().is_some_and(|end| end == "dir");
                let is_whole = length >= 20_000 && fs::read(&object).unwrap() == content(length - 20_000);
                assert!(!is_trusted || is_list || is_whole, "{words:?} {}", object.display());
            }
        }
        done(Tool::Yolo11, root, words);
        assert_eq!(status(Tool::Yolo11, root), serde_json::json!({}), "{words:?}");
        for index in 0..FILES {
            let path = root.join(format!("data/{index}"));
            assert!(fs::read(&path).unwrap() == content(index), "{words:?} {index}");
            // A file of its own, that may be written to.
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.nlink(), metadata.mode() & 0o200), (1, 0o200), "{words:?} {index}");
        }
    }
    let left: Vec<_> = fs::read_dir(root.join(".dvc/tmp/yolo11")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A repository without git, with this many files of 20 KB.
fn planted(root: &Path, files: usize) {
    done(Tool::Yolo11, root, &["init", "--no-scm"]);
    fs::create_dir(root.join("data")).unwrap();
    for index in 0..files {
        fs::write(root.join(format!("data/{index}")), vec![index as u8; 20_000 + index]).unwrap();
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |size: &str| {
        let options = format!("size={size}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount("1m") {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    planted(&root, 100);
    fs::write(root.join(".dvc/config"), format!("[cache]\n    dir = {}\n", disk.display())).unwrap();
    let (is_done, said) = run(Tool::Yolo11, &root, &["add", "data"]);
    let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let left: Vec<PathBuf> = inside(disk.join(".yolo11-tmp")).flat_map(inside).collect();
    let unmount = || Command::new("umount").arg(&disk).status().unwrap();
    unmount();
    assert!(!is_done && said.contains(&format!("cannot write `{}", disk.display())), "{said}");
    assert!(said.contains("hint: free some space"), "{said}");
    assert!(left.is_empty(), "{left:?}");
    assert!(!root.join("data.dvc").exists());
    assert!(mount("16m"));
    let (is_done, said) = run(Tool::Yolo11, &root, &["add", "data"]);
    let clean = status(Tool::Yolo11, &root);
    unmount();
    assert!(is_done, "{said}");
    assert_eq!(clean, serde_json::json!({}));
}

#[test]
fn lost_rights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    planted(&root, 3);
    let objects = root.join(".dvc/cache/files/md5");
    fs::create_dir_all(&objects).unwrap();
    // Root may do everything: somebody else tries.
    let is_root = is_owned_by_root(&root);
    let program = folder.path().join("yolo11");
    fs::copy(YOLO11, &program).unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(folder.path(), 0o755);
    if is_root {
        give(&root, 65534);
    }
    let add = || {
        let mut command = command(&program, &root);
        command.args(["data", "add", "data"]);
        if is_root {
            command.uid(65534).gid(65534).env("HOME", "/nonexistent");
        }
        command.output().unwrap()
    };
    open(&objects, 0o555);
    let output = add();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(&objects.display().to_string()) && said.contains("hint: give yourself the right"), "{said}");
    assert!(!root.join("data.dvc").exists());
    open(&objects, 0o755);
    let output = add();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this process is root: a new file then belongs to user 0.
fn is_owned_by_root(path: &Path) -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap()) == 0
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        give(&entry.path(), user);
    }
}

#[test]
fn locks_of_other_processes_are_respected() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    planted(root, 3);
    let lock = root.join(".dvc/tmp/lock");
    let file = fs::File::options().create(true).truncate(false).write(true).open(&lock).unwrap();
    file.lock().unwrap();
    let (is_done, said) = run(Tool::Yolo11, root, &["add", "data"]);
    assert!(!is_done && said.contains("lock` is held by another command"), "{said}");
    assert!(said.contains("hint: wait until it has ended"), "{said}");
    file.unlock().unwrap();
    let owner = format!("{{\"write\": {{\"data\": {{\"pid\": {}, \"cmd\": \"dvc\"}}}}}}", std::process::id());
    fs::write(root.join(".dvc/tmp/rwlock"), owner).unwrap();
    let (is_done, said) = run(Tool::Yolo11, root, &["add", "data"]);
    assert!(!is_done && said.contains(&format!("is being written by process {}", std::process::id())), "{said}");
    fs::remove_file(root.join(".dvc/tmp/rwlock")).unwrap();
    done(Tool::Yolo11, root, &["add", "data"]);
}

#[test]
fn lists_that_lead_out_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    planted(root, 1);
    let list = "[{\"md5\": \"d41d8cd98f00b204e9800998ecf8427e\", \"relpath\": \"../../outside\"}]";
    // Its md5, as `md5sum` says it.
    let output = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().and_then(|mut child| {
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), list.as_bytes())?;
        child.wait_with_output()
    });
    let md5 = String::from_utf8(output.unwrap().stdout).unwrap()[..32].to_owned();
    let object = root.join(format!(".dvc/cache/files/md5/{}/{}.dir", &md5[..2], &md5[2..]));
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::write(&object, list).unwrap();
    fs::write(root.join("evil.dvc"), format!("outs:\n- md5: {md5}.dir\n  hash: md5\n  path: evil\n")).unwrap();
    let (is_done, said) = run(Tool::Yolo11, root, &["checkout", "evil"]);
    assert!(!is_done && said.contains("the path `../../outside` leads out of the folder"), "{said}");
    assert!(said.contains(&object.display().to_string()) && said.contains("hint: "), "{said}");
    fs::write(root.join("evil.dvc"), "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  hash: md5\n  path: ../evil\n")
        .unwrap();
    let (is_done, said) = run(Tool::Yolo11, root, &["checkout"]);
    assert!(!is_done && said.contains("tracks `../evil`, which is outside the repository"), "{said}");
}
