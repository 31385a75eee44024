//! A file, or a folder of files, that gets its name only when it is found good.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use yolo11_checkpoint::save_archive;
use yolo11_export::Entry;

use crate::Error;
use crate::file::create_folder;

/// What is written.
pub(super) enum Content {
    /// A file.
    File(Vec<u8>),
    /// A zip archive.
    Archive(Vec<Entry>),
    /// A folder of files.
    Folder(Vec<Entry>),
}

/// What is written under a temporary name beside its own; dropped without [`Target::commit`] nothing of it stays.
pub(super) struct Target {
    path: PathBuf,
    temporary: PathBuf,
}

impl Target {
    /// Writes and syncs everything.
    pub fn write(path: &Path, content: &Content) -> Result<Target, Error> {
        // The ending stays: runtimes know a file by it.
        let mut name = OsString::from(format!(".{}-", std::process::id()));
        name.push(path.file_name().unwrap_or_default());
        let target = Target { path: path.to_owned(), temporary: path.with_file_name(name) };
        match content {
            Content::File(bytes) => target.write_file(&target.temporary, bytes)?,
            Content::Archive(entries) => {
                let entries = entries.iter().map(|entry| (entry.name.as_str(), entry.content.as_slice()));
                save_archive(&target.temporary, entries)?;
            }
            Content::Folder(entries) => {
                create_folder(&target.temporary)?;
                for entry in entries {
                    target.write_file(&target.temporary.join(&entry.name), &entry.content)?;
                }
            }
        }
        Ok(target)
    }

    fn write_file(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let written = File::create(path).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }

    /// The name it has now.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Gives it its name, and its size in bytes. A folder that is there already keeps what else is in it.
    pub fn commit(self) -> Result<u64, Error> {
        let failed = |source| self.failed(source);
        if !self.temporary.is_dir() {
            let bytes = fs::metadata(&self.temporary).map_err(failed)?.len();
            fs::rename(&self.temporary, &self.path).map_err(failed)?;
            return Ok(bytes);
        }
        let mut bytes = 0;
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.temporary).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            bytes += entry.metadata().map_err(failed)?.len();
            files.push(entry);
        }
        if self.path.exists() {
            for file in files {
                fs::rename(file.path(), self.path.join(file.file_name())).map_err(failed)?;
            }
        } else {
            fs::rename(&self.temporary, &self.path).map_err(failed)?;
        }
        Ok(bytes)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // What has its own name is no longer here.
        let _ = fs::remove_file(&self.temporary);
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_of_what_was_not_found_good_and_a_folder_keeps_what_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let mut names: Vec<_> = (fs::read_dir(folder.path()).unwrap())
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let path = folder.path().join("a.onnx");
        let target = Target::write(&path, &Content::File(b"one".to_vec())).unwrap();
        assert!(target.temporary().extension().unwrap() == "onnx" && target.temporary().exists());
        drop(target);
        assert!(names().is_empty());
        assert_eq!(Target::write(&path, &Content::File(b"one".to_vec())).unwrap().commit().unwrap(), 3);
        assert_eq!(names(), ["a.onnx"]);
        let path = folder.path().join("model");
        let entries = || Content::Folder(vec![Entry { name: "a.bin".into(), content: vec![1, 2] }]);
        assert_eq!(Target::write(&path, &entries()).unwrap().commit().unwrap(), 2);
        fs::write(path.join("mine.txt"), "x").unwrap();
        fs::write(path.join("a.bin"), "old").unwrap();
        Target::write(&path, &entries()).unwrap().commit().unwrap();
        assert_eq!(fs::read(path.join("a.bin")).unwrap(), [1, 2]);
        assert!(path.join("mine.txt").exists());
        assert_eq!(names(), ["a.onnx", "model"]);
    }
}
