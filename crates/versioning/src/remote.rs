//! Where objects are pushed to and fetched from: one trait, one file an implementation; here the folder.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::link::copy;
use crate::s3::S3;
use crate::watch::Step;
use crate::{Error, Repository, Result, Watch, write};

/// A place that keeps objects under keys like `files/md5/ab/cdef…`.
pub(crate) trait Remote: Sync {
    /// The address of an object, for messages.
    fn url(&self, key: &str) -> String;
    /// How many objects to move at a time.
    fn width(&self) -> usize;
    /// The object's size; nothing where there is none.
    fn size(&self, key: &str) -> Result<Option<u64>>;
    /// The sizes of all objects, where that asks less than so many questions would.
    fn sizes(&self, count: usize, watch: &Watch) -> Result<Option<HashMap<String, u64>>>;
    /// Sends a file whole or not at all.
    fn put(&self, key: &str, file: &Path, step: &Step) -> Result<()>;
    /// Fetches into a new file. Returns how many bytes arrived.
    fn get(&self, key: &str, file: &Path, step: &Step) -> Result<u64>;
    /// After the files and before the lists that name them.
    fn sync(&self) -> Result<()>;
}

impl Repository {
    /// Opens a remote by name, or the one in `core.remote`.
    pub(crate) fn remote(&self, name: Option<&str>) -> Result<(String, Box<dyn Remote>)> {
        let name = name.map(str::to_owned).or_else(|| self.config.get("core", "remote"));
        let Some(name) = name else {
            return Err(Error::refused(
                "no remote is set as the default",
                "`yolo11 data remote add -d NAME URL` adds one",
            ));
        };
        let section = format!("remote \"{name}\"");
        let Some((url, folder)) = self.config.get_with_file(&section, "url") else {
            let known = self.config.remotes().join(", ");
            let hint = if known.is_empty() {
                "`yolo11 data remote add NAME URL` adds one".to_owned()
            } else {
                format!("there are: {known}")
            };
            return Err(Error::refused(format!("no remote `{name}`"), hint));
        };
        if let Some(place) = url.strip_prefix("s3://") {
            let setting = |key: &str| self.config.get(&section, key);
            return Ok((name.clone(), Box::new(S3::open(&name, place, &setting)?)));
        }
        if let Some((scheme, _)) = url.split_once("://")
            && scheme != "file"
        {
            let message = format!("remote `{name}`: `{scheme}://` is not supported");
            return Err(Error::refused(message, "folders and s3:// are; for others use `dvc` on the same repository"));
        }
        let root = crate::repository::clean(&folder.join(url.trim_start_matches("file://")));
        Ok((name, Box::new(Folder { root })))
    }
}

/// A folder, such as one on a network drive, or the cache of another repository: both are laid out alike.
pub(crate) struct Folder {
    pub root: PathBuf,
}

impl Remote for Folder {
    fn url(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }

    fn width(&self) -> usize {
        2 * std::thread::available_parallelism().map_or(4, usize::from)
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(fs::metadata(self.root.join(key)).ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()))
    }

    fn sizes(&self, _: usize, _: &Watch) -> Result<Option<HashMap<String, u64>>> {
        Ok(None)
    }

    fn put(&self, key: &str, file: &Path, step: &Step) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let target = self.root.join(key);
        let folder = target.parent().unwrap_or(&self.root);
        if !folder.is_dir() {
            write::make_folder(folder)?;
        }
        let name = format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let temporary = folder.join(name);
        let sent = copy(file, &temporary, 0o444).map_err(Error::io("write", &temporary));
        let sent = sent.and_then(|()| fs::rename(&temporary, &target).map_err(Error::io("write", &target)));
        match &sent {
            Ok(()) => step.moved(fs::metadata(&target).map_or(0, |metadata| metadata.len())),
            Err(_) => drop(fs::remove_file(&temporary)),
        }
        sent
    }

    fn get(&self, key: &str, file: &Path, step: &Step) -> Result<u64> {
        let object = self.root.join(key);
        if !object.is_file() {
            return Err(Error::io("read", &object)(std::io::ErrorKind::NotFound.into()));
        }
        copy(&object, file, 0o444).map_err(Error::io("fetch", &object))?;
        let length = fs::metadata(file).map_err(Error::io("read", file))?.len();
        step.moved(length);
        Ok(length)
    }

    fn sync(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        if let Ok(folder) = File::open(&self.root) {
            rustix::fs::syncfs(&folder).map_err(|error| Error::io("sync", &self.root)(error.into()))?;
        }
        Ok(())
    }
}

/// Whether bytes of this md5 are the object of a key; those of DVC 2's text have another md5 than their name.
pub(crate) fn is_content(key: &str, md5: &str) -> bool {
    let is_legacy = !key.starts_with("files/md5/");
    let name: String = key.trim_start_matches("files/md5/").trim_end_matches(".dir").split('/').collect();
    is_legacy || name == md5
}

/// An object of the cache whose bytes are not those of its name.
pub(crate) fn damaged(file: &Path) -> Error {
    Error::Malformed {
        path: file.to_owned(),
        line: None,
        message: "the cache's object is damaged: its md5 is not its name".to_owned(),
        hint: "delete it, then `yolo11 data add` the data again or fetch it from a remote",
    }
}
