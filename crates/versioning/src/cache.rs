//! The cache: every content once, under its md5.
//!
//! An object is written to a temporary name, synced, and only then renamed. Its mode 0444 says that it is whole, and such an object is trusted
//! without reading it again.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::directory::Directory;
use crate::hash::{md5_of, md5_of_file};
use crate::intake::new_read_only;
use crate::link::{Link, set_mode};
use crate::{Error, Result, Watch};

/// The mode of an object that is whole.
const WHOLE: u32 = 0o444;
/// The folder of half-written objects, beside those that are whole.
const TEMPORARY: &str = ".yolo11-tmp";

/// A cache folder.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pub root: PathBuf,
    pub links: Vec<Link>,
    /// The mode of a file that this user makes: 0666 as the umask lets it be.
    pub new_mode: u32,
}

impl Cache {
    /// Where the object of an id stands: `files/md5/<2>/<30>`, of DVC 2 `<2>/<30>`.
    pub fn path(&self, id: &str, is_legacy: bool) -> PathBuf {
        let (head, tail) = id.split_at(2);
        let root = if is_legacy { self.root.clone() } else { self.root.join("files").join("md5") };
        root.join(head).join(tail)
    }

    /// Whether the object is there and whole. Reads it only where its mode does not say so.
    pub fn has(&self, id: &str, is_legacy: bool, watch: &Watch) -> Result<bool> {
        let path = self.path(id, is_legacy);
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(false) };
        if !metadata.is_file() {
            return Ok(false);
        }
        if metadata.mode() & 0o777 == WHOLE {
            return Ok(true);
        }
        let expected = id.trim_end_matches(".dir");
        // The text of DVC 2 has another md5 than its bytes; there only the legacy one can tell.
        let is_whole =
            md5_of_file(&path, watch)? == expected || is_legacy && crate::hash::legacy_md5_of_file(&path)? == expected;
        if is_whole {
            // A cache that is not ours to change is whole all the same.
            let _ = set_mode(&path, WHOLE);
        }
        Ok(is_whole)
    }

    /// The file system it is on.
    pub fn device(&self) -> Result<u64> {
        let folder = self.root.join(TEMPORARY);
        crate::write::make_folder(&folder)?;
        fs::metadata(&folder).map(|metadata| metadata.dev()).map_err(Error::io("read", &folder))
    }

    /// A name for a file that is not whole yet, on the cache's own file system, in one of several folders: a system makes one file at a
    /// time in each, and who waits for that keeps a processor busy.
    pub fn temporary(&self) -> Result<PathBuf> {
        const FOLDERS: u64 = 8;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join(TEMPORARY).join((number % FOLDERS).to_string());
        // To make what is there locks the folder above.
        if !folder.is_dir() {
            crate::write::make_folder(&folder)?;
        }
        Ok(folder.join(format!("{}-{number}", std::process::id())))
    }

    /// The files that are not whole yet: of this version, and of earlier ones, which had no folders for them.
    fn half_written(&self) -> Vec<PathBuf> {
        let paths = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let of_entry = |path: PathBuf| if path.is_dir() { paths(&path) } else { vec![path] };
        paths(&self.root.join(TEMPORARY)).into_iter().flat_map(of_entry).collect()
    }

    /// Gives a staged and synced file, read-only already, its place.
    pub fn place(&self, id: &str, temporary: &Path) -> Result<()> {
        let path = self.path(id, false);
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            crate::write::make_folder(folder)?;
        }
        if self.new_mode & WHOLE != WHOLE {
            set_mode(temporary, WHOLE).map_err(Error::io("make read-only", temporary))?;
        }
        fs::rename(temporary, &path).map_err(Error::io("write", &path))
    }

    /// Syncs what has been staged: one call for the file system where there is such a call.
    pub fn sync(&self) -> Result<()> {
        let folder = self.root.join(TEMPORARY);
        let handle = File::open(&folder).map_err(Error::io("read", &folder))?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&handle).map_err(|error| Error::io("sync", &folder)(error.into()))?;
        #[cfg(not(target_os = "linux"))]
        for path in self.half_written() {
            File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &folder))?;
        }
        drop(handle);
        Ok(())
    }

    /// Writes a small object, such as a folder's list.
    pub fn write(&self, id: &str, bytes: &[u8]) -> Result<()> {
        let temporary = self.temporary()?;
        let mut file = new_read_only(&temporary)?;
        let written = std::io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all());
        written.map_err(Error::io("write", &temporary))?;
        self.place(id, &temporary)
    }

    /// Reads a folder's list and checks it against its id.
    pub fn directory(&self, id: &str, is_legacy: bool) -> Result<Option<Directory>> {
        let path = self.path(id, is_legacy);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if format!("{}.dir", md5_of(&bytes)) != id {
            return Err(Error::Malformed {
                path,
                line: None,
                message: "the folder's list is damaged: its md5 is not its name".to_owned(),
                hint: "delete the file, then `yolo11 data fetch`, or `yolo11 data add` the folder again",
            });
        }
        Directory::parse(&bytes, &path).map(Some)
    }

    /// Removes what dead processes left half-written and, at the end of a command, its own.
    pub fn sweep(&self, with_own: bool) {
        for path in self.half_written() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let owner = name.split('-').next().and_then(|process| process.parse().ok());
            if owner.is_some_and(
                |process| {
                    if process == std::process::id() { with_own } else { !crate::lock::is_alive(process) }
                },
            ) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dead_processes_left_goes_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { root: folder.path().to_owned(), links: vec![Link::Copy], new_mode: 0o644 };
        let own: Vec<PathBuf> = (0..20).map(|_| cache.temporary().unwrap()).collect();
        // No process has so high a number; the second lies where earlier versions put it.
        let dead = [own[0].with_file_name("999999999-1"), folder.path().join(TEMPORARY).join("999999999-2")];
        for path in own.iter().chain(&dead) {
            fs::write(path, "half").unwrap();
        }
        let mut written = cache.half_written();
        let mut expected = [&own[..], &dead].concat();
        written.sort();
        expected.sort();
        assert_eq!(written, expected);
        cache.sweep(false);
        assert!(own.iter().all(|path| path.exists()) && dead.iter().all(|path| !path.exists()));
        cache.sweep(true);
        assert_eq!(cache.half_written(), Vec::<PathBuf>::new());
    }
}
