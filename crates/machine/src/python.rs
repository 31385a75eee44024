//! Python environments and their packages, found without starting Python: wheels bring libraries that other programs can load.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the environments that are active: `VIRTUAL_ENV` and `CONDA_PREFIX`.
pub fn active() -> Vec<PathBuf> {
    let named = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(env::var_os);
    named.filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// Folders of Python environments in the order in which they are asked: the active ones, the one of `YOLO11_PYTHON`, those of the
/// interpreters on the path, the user's own.
pub fn environments() -> Vec<PathBuf> {
    let mut found = active();
    let above = |program: &Path| Some(program.parent()?.parent()?.to_owned());
    found.extend(env::var_os("YOLO11_PYTHON").and_then(|python| above(Path::new(&python))));
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        let python =
            ["python3", "python", "python.exe"].iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let Some(environment) = python.and_then(|python| above(&python)) else { continue };
        // pyenv's own folder holds scripts that start the chosen version.
        found.extend(folder.ends_with("shims").then(|| chosen_by_pyenv(&environment)).flatten());
        found.push(environment);
    }
    let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE")).map(PathBuf::from);
    found.extend(home.map(|home| home.join(".local")));
    found
}

/// The environment that pyenv's scripts in `root/shims` start, outside a project with a version of its own.
fn chosen_by_pyenv(root: &Path) -> Option<PathBuf> {
    let named = env::var("PYENV_VERSION").ok().or_else(|| fs::read_to_string(root.join("version")).ok())?;
    let version = named.split([':', '\n', ' ']).find(|word| !word.is_empty())?.to_owned();
    Some(root.join("versions").join(version))
}

/// Folders with the packages of an environment, whether they exist or not.
pub fn packages(environment: &Path) -> Vec<PathBuf> {
    let mut found = vec![environment.join("Lib/site-packages"), environment.join("lib/python3/dist-packages")];
    // Debian keeps what pip installs for all apart from its own packages.
    let local = environment.join("local");
    for environment in [environment, &local] {
        for entry in fs::read_dir(environment.join("lib")).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("python3.") {
                found.extend(["site-packages", "dist-packages"].map(|name| entry.path().join(name)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_where_each_kind_of_environment_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("lib/python3.11")).unwrap();
        fs::create_dir_all(root.join("local/lib/python3.13")).unwrap();
        let found = packages(root);
        for wanted in
            ["lib/python3.11/site-packages", "local/lib/python3.13/dist-packages", "lib/python3/dist-packages"]
        {
            assert!(found.contains(&root.join(wanted)), "{wanted}: {found:?}");
        }
        fs::write(root.join("version"), "3.12.1\n3.11.2\n").unwrap();
        if env::var_os("PYENV_VERSION").is_none() {
            assert_eq!(chosen_by_pyenv(root), Some(root.join("versions/3.12.1")));
        }
    }
}
