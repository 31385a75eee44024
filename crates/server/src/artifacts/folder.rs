//! Artifacts in a folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::path::RESERVED;
use super::{ArtifactPath, Artifacts, Download, Entry, Part, PartAddress, Wanted, missing};
use crate::error::{ApiError, Code};
use crate::store::names;

/// Uploads that were given up are cleared away after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A folder.
pub struct Folder {
    root: PathBuf,
    staging: PathBuf,
}

impl Folder {
    /// Makes the folder where there is none, and clears away what uploads left there that were given up a day ago.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(root: &Path) -> io::Result<Folder> {
        let staging = root.join(RESERVED);
        fs::create_dir_all(&staging)?;
        for entry in fs::read_dir(&staging)?.flatten() {
            let age = entry
                .metadata()
                .and_then(|data| data.modified())
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
        }
        Ok(Folder { root: root.to_owned(), staging })
    }

    fn place(&self, path: &ArtifactPath) -> PathBuf {
        let mut place = self.root.clone();
        place.extend(path.as_str().split('/').filter(|name| !name.is_empty()));
        place
    }

    /// The folder of an upload in parts.
    fn parts(&self, id: &str) -> Result<PathBuf, ApiError> {
        let fits = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        let folder = self.staging.join(format!("parts-{id}"));
        match fits && folder.is_dir() {
            true => Ok(folder),
            false => Err(ApiError::missing("no upload in parts with that id")),
        }
    }
}

/// What went wrong with a file, as a client may know it.
fn told(error: &io::Error, path: &dyn std::fmt::Display) -> ApiError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ApiError::unavailable("the disk that holds the artifacts is full")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => {
            ApiError::invalid(format!("`{path}`: a file and a folder of one name cannot both be"))
        }
        io::ErrorKind::InvalidFilename => ApiError::invalid(format!("`{path}` cannot be a file's name here")),
        _ => ApiError::unavailable(format!("artifact `{path}`: {error}")),
    }
}

fn sync_folder(folder: &Path) {
    // Not every system lets a folder be synced; the file itself is by now.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

impl Artifacts for Folder {
    fn stage(&self) -> Result<tempfile::NamedTempFile, ApiError> {
        tempfile::Builder::new().prefix("upload-").tempfile_in(&self.staging).map_err(|error| told(&error, &"(upload)"))
    }

    fn put(&self, path: &ArtifactPath, staged: tempfile::NamedTempFile) -> Result<(), ApiError> {
        if path.is_root() {
            return Err(ApiError::invalid("an artifact needs a name"));
        }
        let place = self.place(path);
        let failed = |error: io::Error| told(&error, path);
        staged.as_file().sync_all().map_err(failed)?;
        let folder = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed)?;
        if place.is_dir() {
            return Err(ApiError::invalid(format!("`{path}` is a folder")));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let _ = fs::set_permissions(staged.path(), fs::Permissions::from_mode(0o644));
        }
        staged.persist(&place).map_err(|error| told(&error.error, path))?;
        sync_folder(folder);
        Ok(())
    }

    fn get(&self, path: &ArtifactPath, wanted: Wanted) -> Result<Download, ApiError> {
        let mut file = match File::open(self.place(path)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(missing(path));
            }
            Err(error) => return Err(told(&error, path)),
        };
        let data = file.metadata().map_err(|error| told(&error, path))?;
        if !data.is_file() {
            return Err(missing(path));
        }
        let length = data.len();
        let range = wanted.of(length).ok_or_else(|| {
            ApiError::new(
                Code::RangeNotSatisfiable,
                format!("`{path}` has {length} bytes; the range asked for is not in it"),
            )
        })?;
        file.seek(SeekFrom::Start(range.start)).map_err(|error| told(&error, path))?;
        let modified = data.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let mark = modified.map(|time| format!("{:x}-{length:x}", time.as_nanos()));
        let content = Box::new(file.take(range.end - range.start));
        Ok(Download { length, range, mark, content })
    }

    fn list(&self, path: &ArtifactPath) -> Result<Vec<Entry>, ApiError> {
        let entries = match fs::read_dir(self.place(path)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(told(&error, path)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| told(&error, path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if path.is_root() && name == RESERVED {
                continue;
            }
            let Ok(data) = fs::metadata(entry.path()) else { continue };
            found.push(Entry { name, size: data.is_file().then_some(data.len()) });
        }
        found.sort();
        Ok(found)
    }

    fn delete(&self, path: &ArtifactPath) -> Result<(), ApiError> {
        if path.is_root() {
            return Err(ApiError::invalid("the root of the artifacts cannot be deleted"));
        }
        let place = self.place(path);
        let deleted = match fs::symlink_metadata(&place) {
            Ok(data) if data.is_dir() => fs::remove_dir_all(&place),
            Ok(_) => fs::remove_file(&place),
            Err(error) => Err(error),
        };
        match deleted {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(missing(path))
            }
            other => other.map_err(|error| told(&error, path)),
        }
    }

    fn begin_parts(&self, path: &ArtifactPath, count: u64) -> Result<(String, Vec<PartAddress>), ApiError> {
        if path.is_root() {
            return Err(ApiError::invalid("an artifact needs a name"));
        }
        let id = names::id()?;
        fs::create_dir(self.staging.join(format!("parts-{id}"))).map_err(|error| told(&error, path))?;
        Ok((id, (0..count).map(|_| PartAddress::Server).collect()))
    }

    fn put_part(&self, id: &str, number: u64, staged: tempfile::NamedTempFile) -> Result<String, ApiError> {
        let folder = self.parts(id)?;
        let failed = |error: io::Error| told(&error, &format!("part {number}"));
        let mut hash = Sha256::new();
        io::copy(&mut staged.reopen().map_err(failed)?, &mut Hashing(&mut hash)).map_err(failed)?;
        staged.persist(folder.join(number.to_string())).map_err(|error| failed(error.error))?;
        Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    fn complete_parts(&self, path: &ArtifactPath, id: &str, parts: &[Part]) -> Result<(), ApiError> {
        let folder = self.parts(id)?;
        let mut whole = self.stage()?;
        for part in parts {
            let mut file = File::open(folder.join(part.number.to_string()))
                .map_err(|_| ApiError::invalid(format!("part {} of the upload has not arrived", part.number)))?;
            io::copy(&mut file, &mut whole).map_err(|error| told(&error, path))?;
        }
        self.put(path, whole)?;
        let _ = fs::remove_dir_all(folder);
        Ok(())
    }

    fn abort_parts(&self, _: &ArtifactPath, id: &str) -> Result<(), ApiError> {
        let folder = self.parts(id)?;
        fs::remove_dir_all(folder).map_err(|error| told(&error, &"(upload)"))
    }

    fn shown(&self) -> String {
        self.root.display().to_string()
    }
}

struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
