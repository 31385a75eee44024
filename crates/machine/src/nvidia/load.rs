//! From a library's name to the library, wherever it lies: `LD_LIBRARY_PATH`, the active Python environment, the loader's own cache and
//! folders, CUDA's folders, the other Python environments.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::python;

/// CUDA's folders of the system, and those that the loader may not know of. `*` stands for the rest of a name.
const FOLDERS: [&str; 9] = [
    "/usr/local/cuda/lib64",
    "/usr/local/cuda-*/lib64",
    "/opt/cuda/lib64",
    "/opt/nvidia/*/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

/// A library that was loaded; it stays so until the process ends.
pub(super) struct Loaded {
    pub path: PathBuf,
    pub library: &'static Library,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No file of such a name was found.
    Missing,
    /// There is one that the loader refuses.
    Unloadable { path: PathBuf, reason: String },
}

/// Loads the first of `names` that is found and can be loaded. One that cannot be loaded is told only where no other can.
pub(super) fn first(names: &[&str]) -> Result<Loaded, Failure> {
    let mut failure = Failure::Missing;
    let mut look = |found: Result<Loaded, Failure>| match found {
        Ok(loaded) => Some(loaded),
        Err(refused) => {
            if failure == Failure::Missing {
                failure = refused;
            }
            None
        }
    };
    let variable = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let named = env::split_paths(&variable).filter(|folder| !folder.as_os_str().is_empty());
    let active = python::active().into_iter().flat_map(|environment| in_environment(&environment));
    for folder in named.chain(active) {
        if let Some(loaded) = names.iter().find_map(|name| look(from_folder(&folder, name))) {
            return Ok(loaded);
        }
    }
    if let Some(loaded) = names.iter().find_map(|name| look(by_the_loader(name))) {
        return Ok(loaded);
    }
    let others = python::environments().into_iter().flat_map(|environment| in_environment(&environment));
    for folder in FOLDERS.iter().flat_map(|pattern| matching(pattern)).chain(others) {
        if let Some(loaded) = names.iter().find_map(|name| look(from_folder(&folder, name))) {
            return Ok(loaded);
        }
    }
    Err(failure)
}

/// Loads the file of this name in a folder.
pub(super) fn from_folder(folder: &Path, name: &str) -> Result<Loaded, Failure> {
    let path = folder.join(name);
    if !path.exists() {
        return Err(Failure::Missing);
    }
    match open(&path) {
        Ok(library) => Ok(Loaded { path, library }),
        // The loader begins with the path that is told beside it.
        Err(reason) => {
            let reason = reason.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&reason).to_owned();
            Err(Failure::Unloadable { path, reason })
        }
    }
}

/// Loads by name alone: from the loader's cache and folders.
fn by_the_loader(name: &str) -> Result<Loaded, Failure> {
    match open(Path::new(name)) {
        Ok(library) => Ok(Loaded { path: mapped(name).unwrap_or_else(|| name.into()), library }),
        Err(reason) if reason.starts_with(&format!("{name}: cannot open shared object file")) => Err(Failure::Missing),
        // Other loaders' words for the same.
        Err(reason) if reason.contains("no such file") || reason.contains("image not found") => Err(Failure::Missing),
        Err(reason) => Err(Failure::Unloadable { path: name.into(), reason }),
    }
}

fn open(path: &Path) -> Result<&'static Library, String> {
    // SAFETY: a library may run code of its own when it is loaded. That of NVIDIA's only prepares tables, on whatever thread and machine;
    // whatever else bears such a name in those places is what the loader would give to any program that asks for it.
    #[cfg(unix)]
    let opened = unsafe {
        use libloading::os::unix::{Library as OnUnix, RTLD_LOCAL, RTLD_NOW};
        // At once: a function that is missing anywhere is told now, not in the middle of a training.
        OnUnix::open(Some(path), RTLD_NOW | RTLD_LOCAL).map(Library::from)
    };
    // SAFETY: as above.
    #[cfg(not(unix))]
    let opened = unsafe { Library::new(path) };
    // Never unloaded: these libraries start threads and register what is to be done at the end of the process.
    opened.map(|library| &*Box::leak(Box::new(library))).map_err(|error| words(&error))
}

/// What the loader said, on one line and without our own name for it.
fn words(error: &libloading::Error) -> String {
    let said = match error {
        libloading::Error::DlOpen { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the loader has found a library that is loaded.
fn mapped(name: &str) -> Option<PathBuf> {
    let stem = &name[..name.find(".so")? + 3];
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut paths = maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    paths.find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(stem))).map(Path::to_owned)
}

/// Folders in which the wheels of an environment, or conda's packages, keep libraries.
fn in_environment(environment: &Path) -> Vec<PathBuf> {
    let mut found = vec![environment.join("lib")];
    for packages in python::packages(environment) {
        let wheels = fs::read_dir(packages.join("nvidia")).into_iter().flatten().flatten();
        let mut wheels: Vec<_> = wheels.map(|wheel| wheel.path().join("lib")).filter(|path| path.is_dir()).collect();
        wheels.sort();
        found.extend(wheels);
    }
    found
}

/// The folders that a pattern names; of several, the one with the last name first: it is the newest.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((above, below)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (folder, start) = above.rsplit_once('/').unwrap_or_default();
    let below = below.trim_start_matches('/');
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
    let mut found: Vec<_> = named.map(|entry| entry.path().join(below)).filter(|path| path.is_dir()).collect();
    found.sort();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_wheels_and_of_the_system_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["lib/python3.11/site-packages/nvidia/cudnn/lib", "lib/python3.11/site-packages/nvidia/cu13/lib"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let packages = root.join("lib/python3.11/site-packages/nvidia");
        assert_eq!(in_environment(root), [root.join("lib"), packages.join("cu13/lib"), packages.join("cudnn/lib")]);
        for name in ["cuda-12.4/lib64", "cuda-13.2/lib64", "cuda-13.3", "other/lib64"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let pattern = format!("{}/cuda-*/lib64", root.display());
        assert_eq!(matching(&pattern), [root.join("cuda-13.2/lib64"), root.join("cuda-12.4/lib64")]);
        assert_eq!(matching("/usr/lib64"), [PathBuf::from("/usr/lib64")]);
    }

    #[test]
    fn what_is_no_library_is_told_in_the_loader_s_words() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libcudnn.so.9"), "text, and long enough for the header of a library: 0123456789")
            .unwrap();
        let Err(Failure::Unloadable { path, reason }) = from_folder(folder.path(), "libcudnn.so.9") else {
            panic!("loaded")
        };
        assert_eq!(path, folder.path().join("libcudnn.so.9"));
        assert!(!reason.contains('/') && !reason.is_empty(), "{reason}");
        assert_eq!(from_folder(folder.path(), "libnothing.so.1").err(), Some(Failure::Missing));
        assert_eq!(by_the_loader("libnothing-of-this-name.so.1").err(), Some(Failure::Missing));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn the_loader_finds_what_it_knows_and_tells_where() {
        let loaded = by_the_loader("libm.so.6").ok().unwrap();
        assert!(loaded.path.is_absolute() && loaded.path.ends_with("libm.so.6"), "{}", loaded.path.display());
    }
}
