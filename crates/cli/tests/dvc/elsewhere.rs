//! Data from other repositories, buckets and web servers, as `dvc get` and `dvc import-url` bring it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use yolo11_test_servers::{BUCKET, KEYS, moto, python, run_python};

use crate::tools::*;

fn git(folder: &Path, words: &[&str]) {
    let mut command = command(Path::new("git"), folder);
    command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(words);
    assert!(command.status().unwrap().success(), "{words:?}");
}

/// A repository with two commits: `first` with the data "one", and the newest with "two".
fn source(root: &Path) {
    repository(root, Tool::Yolo11);
    fs::create_dir_all(root.join("set/images/train")).unwrap();
    fs::write(root.join("set/dataset.yaml"), "train: images/train\nnames: [a]\n").unwrap();
    for (content, tag) in [("one", "first"), ("two", "second")] {
        fs::write(root.join("set/images/train/a.jpg"), content).unwrap();
        fs::write(root.join("set/images/train/b.jpg"), "same").unwrap();
        done(Tool::Yolo11, root, &["add", "set/images"]);
        git(root, &["add", "."]);
        git(root, &["commit", "-q", "-m", tag]);
        git(root, &["tag", tag]);
    }
}

#[test]
fn get_brings_what_dvc_get_brings() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("source");
    source(&root);
    let here = folder.path().join("here");
    fs::create_dir(&here).unwrap();
    let url = root.to_str().unwrap();
    // From the cache of the repository beside us.
    done(Tool::Yolo11, &here, &["get", url, "set/images", "--rev", "first", "-o", "ours"]);
    assert_eq!(fs::read_to_string(here.join("ours/train/a.jpg")).unwrap(), "one");
    assert_eq!(fs::read_to_string(here.join("ours/train/b.jpg")).unwrap(), "same");
    done(Tool::Yolo11, &here, &["get", url, "set/images/train/a.jpg"]);
    assert_eq!(fs::read_to_string(here.join("a.jpg")).unwrap(), "two");
    // What git has, and what DVC tracks below it.
    done(Tool::Yolo11, &here, &["get", url, "set"]);
    assert_eq!(fs::read_to_string(here.join("set/dataset.yaml")).unwrap(), "train: images/train\nnames: [a]\n");
    assert_eq!(fs::read_to_string(here.join("set/images/train/a.jpg")).unwrap(), "two");
    if dvc().is_some() {
        done(Tool::Dvc, &here, &["get", url, "set/images", "--rev", "first", "-o", "theirs"]);
        assert_eq!(fs::read_to_string(here.join("theirs/train/a.jpg")).unwrap(), "one");
    }
    // From its remote, where the cache has been lost.
    done(Tool::Yolo11, &root, &["remote", "add", "-d", "store", "../store"]);
    done(Tool::Yolo11, &root, &["push"]);
    fs::remove_dir_all(root.join(".dvc/cache")).unwrap();
    done(Tool::Yolo11, &here, &["get", url, "set/images", "-o", "fetched"]);
    assert_eq!(fs::read_to_string(here.join("fetched/train/a.jpg")).unwrap(), "two");

    for (words, message) in [
        (vec!["get", url, "set", "--rev", "none", "-o", "new"], "has no revision `none`\nhint: "),
        (vec!["get", url, "nothing"], "`nothing` is neither in git nor tracked by DVC"),
        (vec!["get", url, "../source"], "`../source` leads out of the repository"),
        (vec!["get", url, "set"], "`set` is there already\nhint: "),
        (vec!["get", "/nowhere", "set", "-o", "new"], "/nowhere: git: "),
    ] {
        let (is_done, said) = run(Tool::Yolo11, &here, &words);
        assert!(!is_done && said.contains(message), "{words:?}: {said}");
    }
    let left: Vec<_> = fs::read_dir(&here)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Every file below a folder, and what is in it.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(tree(&entry.path()).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn a_folder_comes_without_the_records_of_dvc() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("source");
    repository(&root, Tool::Yolo11);
    let set = root.join("set");
    fs::create_dir_all(set.join("deep/raw")).unwrap();
    for (name, text) in [
        ("readme.txt", "plain"),
        ("deep/raw/one", "tracked folder"),
        ("deep/data.bin", "tracked file"),
        (".dvcignore", "*.tmp\n"),
        ("left-out.tmp", "ignored by dvc"),
        ("dvc.yaml", "stages: {}\n"),
        (".hidden", "kept"),
    ] {
        fs::write(set.join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("readme.txt", set.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", set.join("out")).unwrap();
    done(Tool::Yolo11, &root, &["add", "set/deep/raw", "set/deep/data.bin"]);
    git(&root, &["add", "."]);
    git(&root, &["commit", "-q", "-m", "all"]);
    let here = folder.path().join("here");
    fs::create_dir(&here).unwrap();
    let url = root.to_str().unwrap();
    done(Tool::Yolo11, &here, &["get", url, "set", "-o", "ours"]);
    let mut ours = tree(&here.join("ours"));
    ours.entry("deep/.gitignore".to_owned()).and_modify(|text| *text = sorted(text));
    let expected = [
        (".hidden", "kept"),
        ("deep/.gitignore", "/data.bin\n/raw\n"),
        ("deep/data.bin", "tracked file"),
        ("deep/raw/one", "tracked folder"),
        ("link", "plain"),
        ("readme.txt", "plain"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(ours, BTreeMap::from(expected));
    // Named itself, a record is a file like any other.
    done(Tool::Yolo11, &here, &["get", url, "set/deep/data.bin.dvc"]);
    assert_eq!(fs::read(here.join("data.bin.dvc")).unwrap(), fs::read(set.join("deep/data.bin.dvc")).unwrap());
    if dvc().is_some() {
        // dvc writes where a link leads in place of what is there.
        fs::remove_file(set.join("out")).unwrap();
        fs::remove_file(set.join("link")).unwrap();
        git(&root, &["commit", "-q", "-a", "-m", "without links"]);
        done(Tool::Yolo11, &here, &["get", url, "set", "-o", "ours-again"]);
        done(Tool::Dvc, &here, &["get", url, "set", "--rev", "HEAD", "-o", "theirs"]);
        assert_eq!(tree(&here.join("ours-again")), tree(&here.join("theirs")));
    }
}

/// The lines of a text in order.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// A web server that gives every path the same content and, if told, an etag.
fn web(etag: Option<&'static str>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            let _ = reader.read_line(&mut first);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let etag = etag.map(|etag| format!("ETag: {etag}\r\n")).unwrap_or_default();
            let body = if first.starts_with("HEAD") { "" } else { "hello\n" };
            let mut stream = stream;
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{etag}Content-Length: 6\r\nConnection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn import_url_writes_what_dvc_writes() {
    let folder = tempfile::tempdir().unwrap();
    let server = python().map(|python| {
        let server = moto(&python, folder.path());
        let script = "import boto3, sys\ns = boto3.client('s3', endpoint_url=sys.argv[1])\n\
                      for name in ('p/file.txt', 'p/dir/a', 'p/dir/sub/b'):\n \
                      s.put_object(Bucket=sys.argv[2], Key=name, Body=name.encode())\nprint('null')";
        run_python(&python, script, &[&server.uri(), BUCKET], &KEYS);
        server
    });
    fs::create_dir_all(folder.path().join("outside/dir")).unwrap();
    fs::write(folder.path().join("outside/file"), "hello\n").unwrap();
    fs::write(folder.path().join("outside/dir/a"), "a\n").unwrap();
    let web = web(Some("\"abc-1\""));
    let mut urls = vec!["../outside/file".to_owned(), "../outside/dir".to_owned(), format!("{web}/x/page.html")];
    if server.is_some() {
        urls.extend([format!("s3://{BUCKET}/p/file.txt"), format!("s3://{BUCKET}/p/dir")]);
    }
    let endpoint = server.as_ref().map(|server| server.uri()).unwrap_or_default();
    let mut trees = Vec::new();
    for (name, tool) in [("ours", Tool::Yolo11), ("theirs", Tool::Dvc)] {
        if tool == Tool::Dvc && dvc().is_none() {
            continue;
        }
        let root = folder.path().join(name);
        repository(&root, tool);
        for (index, url) in urls.iter().enumerate() {
            let target = format!("target-{index}");
            let output = import(tool, &root, &["import-url", url, &target], &endpoint);
            assert!(output.status.success(), "{tool:?} {url}: {}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(agreed_or_ours(&root), serde_json::json!({}));
        trees.push(root);
    }
    let pointer = fs::read_to_string(trees[0].join("target-0.dvc")).unwrap();
    assert!(pointer.starts_with("md5: ") && pointer.contains("frozen: true\ndeps:\n- md5: b1946ac92492d2347c6235b4d2611184\n  size: 6\n  hash: md5\n  path: ../outside/file\nouts:\n"), "{pointer}");
    if let [ours, theirs] = &trees[..] {
        // The list of an S3 folder as it was found there: dvc caches it beside the data, and nothing ever reads it again.
        if server.is_some() {
            let pointer = fs::read_to_string(theirs.join("target-4.dvc")).unwrap();
            let mark = pointer.split_once("deps:\n- md5: ").unwrap().1.split_once('\n').unwrap().0;
            fs::remove_file(theirs.join(".dvc/cache/files/md5").join(&mark[..2]).join(&mark[2..])).unwrap();
        }
        assert_same(ours, theirs);
    }
    let (is_done, said) = run(Tool::Yolo11, &trees[0], &["import-url", "gs://bucket/x"]);
    assert!(!is_done && said.contains("`gs://` is not supported\nhint: "), "{said}");
}

fn agreed_or_ours(root: &Path) -> serde_json::Value {
    if dvc().is_some() { agreed_status(root) } else { status(Tool::Yolo11, root) }
}

fn import(tool: Tool, root: &Path, words: &[&str], endpoint: &str) -> Output {
    let mut command = match tool {
        Tool::Dvc => command(&dvc().unwrap(), root),
        Tool::Yolo11 => command(Path::new(env!("CARGO_BIN_EXE_yolo11")), root),
    };
    if tool == Tool::Yolo11 {
        command.arg("data");
    }
    command.args(words).envs(KEYS).env("AWS_ENDPOINT_URL", endpoint).output().unwrap()
}
