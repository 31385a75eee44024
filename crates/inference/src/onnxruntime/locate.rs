//! Where ONNX Runtime's library may lie.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use yolo11_machine::python;

/// Names a library has in a folder of the system.
const NAMES: [&str; 4] = ["libonnxruntime.so", "libonnxruntime.so.1", "libonnxruntime.dylib", "onnxruntime.dll"];
/// Folders of the system.
const FOLDERS: [&str; 8] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/onnxruntime/lib",
    "/opt/homebrew/lib",
    "/usr/local/opt/onnxruntime/lib",
];

/// Every library that is there, in the order in which they are tried: the one that is given alone, or `ORT_DYLIB_PATH`, beside this
/// program, the system's folders, the Python environment that is active, the one of `YOLO11_PYTHON`, and those on the path.
pub(super) fn candidates(given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(given) = given {
        return in_folder_or_itself(given);
    }
    if let Some(named) = env::var_os("ORT_DYLIB_PATH").filter(|named| !named.is_empty()) {
        return in_folder_or_itself(Path::new(&named));
    }
    let mut found = Vec::new();
    let program = env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    for folder in program.into_iter().chain(FOLDERS.map(PathBuf::from)) {
        found.extend(named_in(&folder));
    }
    for environment in python::environments() {
        found.extend(in_environment(&environment));
    }
    found.dedup();
    found
}

/// Where [`candidates`] looks, for people.
pub(super) fn places(given: Option<&Path>) -> String {
    match (given, env::var("ORT_DYLIB_PATH")) {
        (Some(given), _) => format!("`{}`", given.display()),
        (None, Ok(named)) if !named.is_empty() => format!("`{named}` (ORT_DYLIB_PATH)"),
        _ => "the system's library folders and the packages of Python environments".to_owned(),
    }
}

fn in_folder_or_itself(path: &Path) -> Vec<PathBuf> {
    match path.is_dir() {
        true => named_in(path).into_iter().chain(in_environment(path)).collect(),
        false => vec![path.to_owned()],
    }
}

/// The library in a folder, also under a name with its whole version.
fn named_in(folder: &Path) -> Option<PathBuf> {
    let plain = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    plain.or_else(|| {
        let mut versioned: Vec<PathBuf> = fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.starts_with("libonnxruntime.so.")
                    || name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
            })
            .collect();
        versioned.sort();
        versioned.pop()
    })
}

/// The library of the package `onnxruntime` in a Python environment.
fn in_environment(environment: &Path) -> Vec<PathBuf> {
    let packages = python::packages(environment);
    packages.iter().filter_map(|packages| named_in(&packages.join("onnxruntime/capi"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_wheels_and_folders_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let capi = folder.path().join("lib/python3.11/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        for name in ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so"] {
            fs::write(capi.join(name), "").unwrap();
        }
        assert_eq!(candidates(Some(folder.path())).len(), 1);
        assert!(candidates(Some(folder.path()))[0].starts_with(&capi));
        let itself = capi.join("libonnxruntime.so.1.32.0");
        assert_eq!(candidates(Some(&itself)), [itself]);
        fs::write(folder.path().join("libonnxruntime.so"), "").unwrap();
        assert_eq!(candidates(Some(folder.path()))[0], folder.path().join("libonnxruntime.so"));
    }
}
