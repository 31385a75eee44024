//! Versioned data behind `data=`: pulled where it is missing, told where it is modified, fetched once from elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use yolo11_config::Settings;
use yolo11_pipeline::data::{Opened, open};
use yolo11_pipeline::{Announcer, Error, Event, Observer};
use yolo11_test_servers::{BUCKET, KEYS, S3Server};
use yolo11_versioning::{Level, Repository, Watch};

/// Collects what is said.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

impl Observer for Listener {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        let line = match event {
            Event::Note(text) | Event::Warning(text) => (*text).to_owned(),
            Event::DataMoved(progress) if progress.step == "fetching" && progress.done == progress.total => {
                format!("fetching {}/{} {}", progress.done, progress.total, progress.bytes_text())
            }
            _ => return Ok(()),
        };
        self.0.lock().unwrap().push(line);
        Ok(())
    }
}

fn opened(data: &str, auto_pull: bool) -> (Result<Opened, Error>, Vec<String>) {
    let listener = Listener::default();
    let mut announcer = Announcer::new();
    announcer.add(listener.clone());
    let mut settings = Settings::default();
    (settings.data, settings.auto_pull) = (Some(data.to_owned()), auto_pull);
    let result = open(&settings, &mut announcer, &AtomicBool::new(false));
    let said = listener.0.lock().unwrap().clone();
    (result, said)
}

/// A data set with its pictures tracked, its description in git, and everything on a remote.
fn planted(root: &Path) -> PathBuf {
    let set = root.join("set");
    for split in ["train", "val"] {
        fs::create_dir_all(set.join("images").join(split)).unwrap();
        fs::create_dir_all(set.join("labels").join(split)).unwrap();
        fs::write(set.join(format!("images/{split}/a.png")), format!("no picture, {split}")).unwrap();
        fs::write(set.join(format!("labels/{split}/a.txt")), "0 0.5 0.5 0.1 0.1\n").unwrap();
    }
    fs::write(set.join("dataset.yaml"), "train: images/train\nval: images/val\nnames: [a]\n").unwrap();
    yolo11_versioning::init(root, !root.join(".git").exists()).unwrap();
    let mut repository = Repository::open(root).unwrap();
    let store = root.parent().unwrap().join("store");
    repository.add_remote(Level::Repository, "store", store.to_str().unwrap(), true, false).unwrap();
    repository.add(&[set.join("images"), set.join("labels")], &Watch::none()).unwrap();
    repository.push(&[], None, &Watch::none()).unwrap();
    set
}

#[test]
fn missing_data_is_pulled_and_modified_data_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let set = planted(&root);
    let data = set.join("dataset.yaml");
    let data = data.to_str().unwrap();
    for lost in [set.join("images"), set.join("labels"), root.join(".dvc/cache")] {
        fs::remove_dir_all(lost).unwrap();
    }

    let (result, _) = opened(data, false);
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let error = error.to_string();
    assert!(error.contains("` is versioned but not here, and auto_pull=false\nhint: fetch it: (cd '"), "{error}");
    assert!(error.contains("yolo11 data pull 'set/"), "{error}");

    let (result, said) = opened(data, true);
    let version = result.unwrap().version;
    assert!(set.join("images/train/a.png").exists() && set.join("labels/val/a.txt").exists());
    assert!(said.iter().any(|line| line == "data       set/images: 2 files put in place"), "{said:?}");
    assert!(said.iter().any(|line| line == "fetching 2/2 0.0 of 0.0 MB"), "{said:?}");
    let mut known: Vec<&str> = version.tracked.iter().map(|data| data.path.as_str()).collect();
    known.sort();
    assert_eq!(known, ["set/images", "set/labels"]);
    assert!(version.tracked.iter().all(|data| !data.is_modified && data.md5.ends_with(".dir")));
    assert!(version.tags().contains(&("yolo11.data_modified".to_owned(), "false".to_owned())));

    fs::write(set.join("labels/val/a.txt"), "").unwrap();
    let (result, said) = opened(data, true);
    let version = result.unwrap().version;
    assert!(said.iter().any(|line| line.contains("set/labels is not as set/labels.dvc records it")), "{said:?}");
    assert!(version.tags().contains(&("yolo11.data_modified".to_owned(), "true".to_owned())));
    let written = version.to_json().unwrap();
    let is_modified = |entry: &serde_json::Value| entry["path"] == "set/labels" && entry["modified"] == true;
    assert!(written["tracked"].as_array().unwrap().iter().any(is_modified), "{written}");

    // Data that nobody versions has no version.
    let plain = folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("dataset.yaml"), "train: images\nnames: [a]\n").unwrap();
    let (result, said) = opened(plain.join("dataset.yaml").to_str().unwrap(), true);
    assert_eq!(result.unwrap().version.to_json(), None);
    assert_eq!(said, [""; 0]);
}

/// One test for all that needs the environment: where data is cached, and the keys of the bucket.
#[test]
fn data_from_elsewhere_is_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&root).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(words);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    planted(&root);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "data"]);
    git(&["tag", "v1"]);
    let commit = git(&["rev-parse", "HEAD"]).trim().to_owned();
    let store = folder.path().join("buckets");
    let server = S3Server::start(&store, 0).unwrap();
    let there = store.join(BUCKET).join("sets/one");
    fs::create_dir_all(there.join("images/train")).unwrap();
    fs::write(there.join("dataset.yaml"), "train: images/train\nnames: [a]\n").unwrap();
    fs::write(there.join("images/train/a.png"), "picture").unwrap();
    // SAFETY: the other test of this program reads none of these.
    unsafe {
        std::env::set_var("YOLO11_CACHE", folder.path().join("cache"));
        std::env::set_var("AWS_ENDPOINT_URL", server.uri());
        KEYS.iter().for_each(|(name, value)| std::env::set_var(name, value));
    }

    let data = format!("{}@v1:set/dataset.yaml", root.display());
    let (result, said) = opened(&data, true);
    let first = result.unwrap();
    assert!(said.last().unwrap().contains(": 6 files fetched, commit "), "{said:?}");
    assert_eq!(first.version.revision, Some(commit));
    assert!(first.description.root.join("images/val/a.png").exists());
    assert!(first.description.root.join("labels/train/a.txt").exists());
    let (result, said) = opened(&data, true);
    assert!(said.last().unwrap().contains(": was fetched before, commit "), "{said:?}");
    assert_eq!(result.unwrap().version, first.version);
    let (result, _) = opened(&format!("{}@none:set/dataset.yaml", root.display()), true);
    assert!(result.unwrap_err().to_string().contains("has no revision `none`"));

    let data = format!("s3://{BUCKET}/sets/one/dataset.yaml");
    let (result, said) = opened(&data, true);
    let first = result.unwrap();
    assert!(said.last().unwrap().ends_with(": 2 files fetched"), "{said:?}");
    assert_eq!(fs::read_to_string(first.description.root.join("images/train/a.png")).unwrap(), "picture");
    assert!(opened(&data, true).1.last().unwrap().ends_with(": was fetched before"));
    fs::write(there.join("images/train/b.png"), "another").unwrap();
    let (result, said) = opened(&data, true);
    assert!(said.last().unwrap().ends_with(": 1 files fetched"), "{said:?}");
    assert_ne!(result.unwrap().version.tracked, first.version.tracked);
    let (result, _) = opened(&format!("s3://{BUCKET}/sets/none/dataset.yaml"), true);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("there is no such object\nhint: "), "{error}");
    let (result, _) = opened("https://me:secret@host/repository@main:dataset.yaml", true);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("data= holds a password") && !error.contains("secret@"), "{error}");
}
