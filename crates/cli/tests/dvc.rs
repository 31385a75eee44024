//! `yolo11 data` and the real `dvc` on the same trees: the same bytes, the same opinion, in any order.
//!
//! YOLO11_PYTHON_DVC names the interpreter of a virtual environment with `dvc[s3]`; the tool is `dvc` beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Tool {
    Dvc,
    Yolo11,
}

/// The real tool, or a word on stderr that the test is skipped.
fn dvc() -> Option<PathBuf> {
    let python = std::env::var_os("YOLO11_PYTHON_DVC").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: YOLO11_PYTHON_DVC is not set");
    }
    python.map(|python| python.with_file_name("dvc"))
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("DVC_NO_ANALYTICS", "1").env("DVC_GLOBAL_CONFIG_DIR", folder.join(".no-config"));
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

fn run(tool: Tool, folder: &Path, words: &[&str]) -> (bool, String) {
    let mut command = match tool {
        Tool::Dvc => command(&dvc().expect("checked before"), folder),
        Tool::Yolo11 => command(Path::new(env!("CARGO_BIN_EXE_yolo11")), folder),
    };
    if tool == Tool::Yolo11 {
        command.arg("data");
    }
    let output = command.args(words).output().expect("the tool starts");
    let said = if words.contains(&"--json") { &output.stdout } else { &output.stderr };
    (output.status.success(), String::from_utf8_lossy(said).into_owned())
}

fn done(tool: Tool, folder: &Path, words: &[&str]) -> String {
    let (is_done, said) = run(tool, folder, words);
    assert!(is_done, "{tool:?} {words:?}: {said}");
    said
}

fn status(tool: Tool, folder: &Path) -> serde_json::Value {
    serde_json::from_str(&done(tool, folder, &["status", "--json"])).expect("JSON")
}

fn agreed_status(folder: &Path) -> serde_json::Value {
    let ours = status(Tool::Yolo11, folder);
    assert_eq!(ours, status(Tool::Dvc, folder), "ours, dvc's");
    ours
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

const NAMES: &[&str] = &[
    "plain.txt",
    "two words",
    "ü",
    "😀.jpg",
    "123",
    "true",
    "a: b",
    "#x",
    "[odd]!?*",
    "it's",
    "\"q\"",
    "-dash",
    "1e5",
    "~",
    "back\\slash",
    ".hidden",
    "null",
    "trailing.",
    "日本語",
    "a,b",
    "0x1F",
    "%p",
    "&a",
    "tab\there",
    "2001-12-14",
    "a very long name of many words that goes on and on until the line must be folded somewhere near here.bin",
];

/// The same tree for the same seed: files and folders with odd names, empty files, nested folders, exec bits.
fn plant(folder: &Path, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut targets = Vec::new();
    for name in NAMES {
        if random.below(3) == 0 {
            continue;
        }
        let path = folder.join(name);
        if random.below(2) == 0 {
            write(&path, &mut random);
        } else {
            fs::create_dir_all(path.join("nested/deeper")).unwrap();
            for _ in 0..random.below(6) {
                let parent = ["", "nested", "nested/deeper"][random.below(3)];
                write(&path.join(parent).join(NAMES[random.below(NAMES.len())]), &mut random);
            }
        }
        targets.push((*name).to_owned());
    }
    targets
}

fn write(path: &Path, random: &mut Random) {
    let length = [0, 1, 10, 5000][random.below(4)];
    let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
    fs::write(path, bytes).unwrap();
    let mode = if random.below(4) == 0 { 0o755 } else { 0o644 };
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn repository(folder: &Path, tool: Tool) {
    fs::create_dir_all(folder).unwrap();
    assert!(command(Path::new("git"), folder).args(["init", "-q"]).status().unwrap().success());
    done(tool, folder, &["init"]);
}

/// Every file that the two tools share, by name: bytes, and the mode in the cache.
fn shared(folder: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            let top = name.split('/').next().unwrap_or_default();
            let is_ours = top == ".dvc" || top == ".dvcignore" || top == ".gitignore" || top.ends_with(".dvc");
            if !is_ours || name.starts_with(".dvc/tmp") || name.contains(".yolo11-tmp") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let mode = if name.starts_with(".dvc/cache") { mode } else { 0 };
            files.insert(name, (fs::read(&path).unwrap(), mode));
        }
    }
    files
}

fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (shared(a), shared(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, (bytes, mode)) in &a {
        let (other, other_mode) = &b[name];
        assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(other), "{name}");
        assert_eq!(mode, other_mode, "{name}");
    }
}

#[test]
fn both_tools_write_the_same_bytes() {
    if dvc().is_none() {
        return;
    }
    for seed in [1, 2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let mut targets = Vec::new();
        for (folder, tool) in [(&a, Tool::Dvc), (&b, Tool::Yolo11)] {
            repository(folder, tool);
            targets = plant(folder, seed);
            let mut words = vec!["add", "--"];
            words.extend(targets.iter().map(String::as_str));
            done(tool, folder, &words);
        }
        assert!(targets.len() > 8, "{targets:?}");
        assert_same(&a, &b);
        assert_eq!(agreed_status(&a), serde_json::json!({}));
        assert_eq!(agreed_status(&b), serde_json::json!({}));

        // Changed by the same hand, then taken in by the other tool: files become folders and the other way round too.
        for (folder, tool) in [(&a, Tool::Yolo11), (&b, Tool::Dvc)] {
            for (index, target) in targets.iter().enumerate() {
                let path = folder.join(target);
                match (index % 4, path.is_dir()) {
                    (0, true) => {
                        fs::remove_dir_all(&path).unwrap();
                        fs::write(&path, "a file now").unwrap();
                    }
                    (0, false) => {
                        fs::remove_file(&path).unwrap();
                        fs::create_dir(&path).unwrap();
                        fs::write(path.join("inside"), "a folder now").unwrap();
                    }
                    (1, true) => fs::write(path.join("new ü"), "new").unwrap(),
                    (1, false) => fs::write(&path, "changed").unwrap(),
                    (2, false) => fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap(),
                    _ => {}
                }
            }
            assert_ne!(agreed_status(folder), serde_json::json!({}));
            let mut words = vec!["add", "--"];
            words.extend(targets.iter().map(String::as_str));
            done(tool, folder, &words);
        }
        assert_same(&a, &b);
        assert_eq!(agreed_status(&a), serde_json::json!({}));
    }
}

#[test]
fn both_tools_take_turns_on_one_repository() {
    if dvc().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    repository(&root, Tool::Dvc);
    let mut random = Random(7);
    let data = root.join("data");
    fs::create_dir_all(data.join("images/train")).unwrap();
    for index in 0..40 {
        write(&data.join(format!("images/train/{index}.jpg")), &mut random);
    }
    done(Tool::Yolo11, &root, &["add", "data"]);
    done(Tool::Dvc, &root, &["remote", "add", "-d", "store", "../store"]);
    assert_eq!(
        fs::read_to_string(root.join(".dvc/config")).unwrap(),
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    );
    done(Tool::Yolo11, &root, &["remote", "remove", "store"]);
    done(Tool::Yolo11, &root, &["remote", "add", "-d", "store", "../store"]);
    assert_eq!(
        fs::read_to_string(root.join(".dvc/config")).unwrap(),
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    );

    for step in 0..6 {
        let (one, other) = if step % 2 == 0 { (Tool::Dvc, Tool::Yolo11) } else { (Tool::Yolo11, Tool::Dvc) };
        let victim = data.join(format!("images/train/{}.jpg", random.below(40)));
        match step / 2 {
            // Changed and taken in.
            0 => {
                fs::write(&victim, format!("step {step}")).unwrap();
                assert_eq!(
                    agreed_status(&root),
                    serde_json::json!({"data.dvc": [{"changed outs": {"data": "modified"}}]})
                );
                done(one, &root, &["add", "data"]);
            }
            // Lost and put back.
            1 => {
                fs::remove_dir_all(&data).unwrap();
                assert_eq!(
                    agreed_status(&root),
                    serde_json::json!({"data.dvc": [{"changed outs": {"data": "deleted"}}]})
                );
                done(one, &root, &["checkout"]);
            }
            // To the remote by one, from it by the other.
            _ => {
                done(one, &root, &["push"]);
                fs::remove_dir_all(root.join(".dvc/cache")).unwrap();
                fs::remove_dir_all(&data).unwrap();
                assert_eq!(
                    agreed_status(&root),
                    serde_json::json!({"data.dvc": [{"changed outs": {"data": "not in cache"}}]})
                );
                done(other, &root, &["pull"]);
                fs::remove_dir_all(folder.path().join("store")).unwrap();
            }
        }
        assert_eq!(agreed_status(&root), serde_json::json!({}), "step {step}");
        assert_eq!(fs::read_dir(data.join("images/train")).unwrap().count(), 40);
    }
}

#[test]
fn killed_at_any_moment_the_next_run_completes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    done(Tool::Yolo11, root, &["init", "--no-scm"]);
    fs::create_dir(root.join("data")).unwrap();
    let content = |index: usize| vec![index as u8; 20_000 + index];
    for index in 0..400 {
        fs::write(root.join(format!("data/{index}")), content(index)).unwrap();
    }
    fs::create_dir(root.join("store")).unwrap();
    done(Tool::Yolo11, root, &["remote", "add", "-d", "store", "store"]);
    let steps: [(&[&str], &[&str]); 4] =
        [(&["add", "data"], &[]), (&["push"], &[]), (&["checkout"], &["data"]), (&["pull"], &[".dvc/cache", "data"])];
    let mut random = Random(3);
    for (words, lost) in steps {
        for _ in 0..8 {
            for name in lost {
                let _ = fs::remove_dir_all(root.join(name));
            }
            let mut child = command(Path::new(env!("CARGO_BIN_EXE_yolo11")), root);
            let mut child = child.arg("data").args(words).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_micros(random.below(120_000) as u64));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        done(Tool::Yolo11, root, words);
        assert_eq!(status(Tool::Yolo11, root), serde_json::json!({}), "{words:?}");
        for index in 0..400 {
            assert!(fs::read(root.join(format!("data/{index}"))).unwrap() == content(index), "{words:?} {index}");
        }
    }
    let left: Vec<_> = fs::read_dir(root.join(".dvc/tmp/yolo11")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
