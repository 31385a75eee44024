//! Where a run keeps its files: `<project>/<name>`, with a number where the name is taken.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::file::{create_folder, write_atomically};

/// Highest number that is tried.
const MOST_RUNS: usize = 100_000;

/// A run's folder that exists and can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `<project>/<name>`. Where that exists already a number is added (`train2`, `train3` …) unless `exist_ok`.
    pub fn create(project: &Path, name: &str, exist_ok: bool) -> Result<Self, Error> {
        create_folder(project)?;
        let first = project.join(name);
        if exist_ok {
            create_folder(&first)?;
            return Self::writable(first);
        }
        for number in 1..=MOST_RUNS {
            let path = if number == 1 { first.clone() } else { project.join(format!("{name}{number}")) };
            match fs::create_dir(&path) {
                Ok(()) => return Self::writable(path),
                // Making it is the test: two runs that start together get two folders.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                // A name such as `group/train` asks for folders above it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    create_folder(path.parent().unwrap_or(project))?;
                    fs::create_dir(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
                    return Self::writable(path);
                }
                Err(source) => return Err(Error::Write { path, source }),
            }
        }
        Err(Error::Write { path: first, source: std::io::Error::other("all numbers are taken") })
    }

    /// A folder of an earlier run, to go on in.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::writable(path.to_owned())
    }

    /// The folder that another process writes to.
    pub(crate) fn of_leader(path: PathBuf) -> Self {
        RunFolder { path }
    }

    /// Whether files can be made is tried by making one, before any time is spent on training.
    fn writable(path: PathBuf) -> Result<Self, Error> {
        let probe = path.join(".write-test");
        write_atomically(&probe, b"").map_err(|error| match error {
            Error::Write { source, .. } => Error::Write { path: path.clone(), source },
            error => error,
        })?;
        fs::remove_file(&probe).map_err(|source| Error::Write { path: probe, source })?;
        Ok(RunFolder { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `weights/`, made where it is missing.
    pub fn weights(&self) -> Result<PathBuf, Error> {
        let path = self.path.join("weights");
        create_folder(&path)?;
        Ok(path)
    }

    /// A file's path in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `args.yaml`: the settings that the run really uses.
    pub fn write_settings(&self, yaml: &str) -> Result<(), Error> {
        write_atomically(&self.file("args.yaml"), yaml.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_get_a_number() {
        let project = tempfile::tempdir().unwrap();
        let make = |exist_ok| RunFolder::create(project.path(), "train", exist_ok).unwrap();
        assert_eq!(make(false).path(), project.path().join("train"));
        assert_eq!(make(false).path(), project.path().join("train2"));
        assert_eq!(make(false).path(), project.path().join("train3"));
        assert_eq!(make(true).path(), project.path().join("train"));
        let nested = RunFolder::create(project.path(), "group/first", false).unwrap();
        assert_eq!(nested.path(), project.path().join("group/first"));
        assert_eq!(fs::read_dir(nested.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_project_that_is_a_file_is_named_and_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("runs");
        fs::write(&project, "mine").unwrap();
        let error = RunFolder::create(&project, "train", false).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: cannot be written: ", project.display())), "{error}");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(fs::read_to_string(&project).unwrap(), "mine");
    }
}
