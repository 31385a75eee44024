//! Artifacts as plain files in a folder that this machine shares with the tracking server.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{ArtifactStore, Source, Stored};
use crate::Error;

/// A folder.
#[derive(Clone, Debug)]
pub struct FolderStore {
    root: PathBuf,
}

/// The path of a `file:` address.
pub(super) fn path_of(uri: &str) -> PathBuf {
    let rest = uri.strip_prefix("file:").unwrap_or(uri);
    let path = rest.strip_prefix("//").map_or(rest, |rest| rest.find('/').map_or(rest, |start| &rest[start..]));
    crate::secret::percent_decoded(path).into()
}

impl FolderStore {
    /// Made with the first file.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FolderStore { root: root.into() }
    }

    fn file(&self, path: &str) -> PathBuf {
        path.split('/')
            .filter(|part| !matches!(*part, "" | "." | ".."))
            .fold(self.root.clone(), |file, part| file.join(part))
    }
}

impl ArtifactStore for FolderStore {
    fn put(&self, path: &str, source: Source) -> Result<(), Error> {
        let target = self.file(path);
        let failed = |source| Error::write(&target, source);
        fs::create_dir_all(target.parent().unwrap_or(&self.root)).map_err(failed)?;
        let temporary = target.with_file_name(format!(
            ".{}.{}.tmp",
            target.file_name().unwrap_or_default().to_string_lossy(),
            std::process::id()
        ));
        let mut file = File::create(&temporary).map_err(failed)?;
        let copied = match source {
            Source::Bytes(bytes) => file.write_all(bytes).map_err(failed),
            Source::File(path) => {
                let (mut from, _) = super::open_file(path)?;
                io::copy(&mut from, &mut file).map(drop).map_err(failed)
            }
        };
        let done = copied.and_then(|()| file.sync_all().and_then(|()| fs::rename(&temporary, &target)).map_err(failed));
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let file = self.file(path);
        fs::read(&file).map_err(|source| Error::read(file, source))
    }

    fn fetch(&self, path: &str, to: &Path) -> Result<(), Error> {
        let (mut from, _) = super::open_file(&self.file(path))?;
        let failed = |source| Error::write(to, source);
        let mut file = File::create(to).map_err(failed)?;
        io::copy(&mut from, &mut file).map(drop).map_err(failed)
    }

    fn delete(&self, path: &str) -> Result<(), Error> {
        let file = self.file(path);
        let deleted = if file.is_dir() { fs::remove_dir_all(&file) } else { fs::remove_file(&file) };
        match deleted {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(file, error)),
            _ => Ok(()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Stored>, Error> {
        let place = self.file(folder);
        let entries = match fs::read_dir(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| Error::read(&place, source))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| Error::read(&place, source))?;
            let metadata = entry.metadata().map_err(|source| Error::read(&place, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = Path::new(folder).join(name).to_string_lossy().replace('\\', "/");
            found.push(Stored { path, size: (!metadata.is_dir()).then_some(metadata.len()) });
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_paths() {
        for (uri, path) in [("file:///a/b%20c", "/a/b c"), ("file:/a", "/a"), ("file://host/a", "/a")] {
            assert_eq!(path_of(uri), Path::new(path), "{uri}");
        }
    }
}
