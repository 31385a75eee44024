//! Both tools, trees to try them on, and what they are compared by.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    Dvc,
    Yolo11,
}

/// The real tool, or a word on stderr that the test is skipped.
pub fn dvc() -> Option<PathBuf> {
    let python = std::env::var_os("YOLO11_PYTHON_DVC").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: YOLO11_PYTHON_DVC is not set");
    }
    python.map(|python| python.with_file_name("dvc"))
}

pub fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("DVC_NO_ANALYTICS", "1").env("DVC_GLOBAL_CONFIG_DIR", folder.join(".no-config"));
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

pub fn run(tool: Tool, folder: &Path, words: &[&str]) -> (bool, String) {
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

pub fn done(tool: Tool, folder: &Path, words: &[&str]) -> String {
    let (is_done, said) = run(tool, folder, words);
    assert!(is_done, "{tool:?} {words:?}: {said}");
    said
}

pub fn status(tool: Tool, folder: &Path) -> serde_json::Value {
    serde_json::from_str(&done(tool, folder, &["status", "--json"])).expect("JSON")
}

pub fn agreed_status(folder: &Path) -> serde_json::Value {
    let ours = status(Tool::Yolo11, folder);
    assert_eq!(ours, status(Tool::Dvc, folder), "ours, dvc's");
    ours
}

/// Numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

pub const NAMES: &[&str] = &[
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
pub fn plant(folder: &Path, seed: u64) -> Vec<String> {
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

pub fn write(path: &Path, random: &mut Random) {
    let length = [0, 1, 10, 5000][random.below(4)];
    let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
    fs::write(path, bytes).unwrap();
    let mode = if random.below(4) == 0 { 0o755 } else { 0o644 };
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

pub fn repository(folder: &Path, tool: Tool) {
    fs::create_dir_all(folder).unwrap();
    assert!(command(Path::new("git"), folder).args(["init", "-q"]).status().unwrap().success());
    done(tool, folder, &["init"]);
}

/// Every file that the two tools share, by name: bytes, and the mode in the cache.
pub fn shared(folder: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
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

pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (shared(a), shared(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, (bytes, mode)) in &a {
        let (other, other_mode) = &b[name];
        assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(other), "{name}");
        assert_eq!(mode, other_mode, "{name}");
    }
}
