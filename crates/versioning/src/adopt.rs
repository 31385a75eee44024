//! The user's own file becomes the cache's object: its bytes are on the disk already, nothing is written twice.
//!
//! The object is a second name of the file. Where links are shared that is all. Where the workspace is to have files of its own, it gets a copy
//! of the object in exchange, but only once the `.dvc` file is written: that copy is not synced, as the cache has what it is made of. Between
//! the two every name of the workspace leads to a whole file, whenever the work is stopped.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rayon::prelude::*;

use crate::intake::waiting;
use crate::link::{copy_of, set_mode};
use crate::state::Stamp;
use crate::workspace::WorkFile;
use crate::{Error, Repository, Result, Watch};

/// Where and how a file stands, as far as it must be like a file that this user makes anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    device: u64,
    names: u64,
    owner: (u32, u32),
    mode: u32,
}

impl Standing {
    pub fn new(metadata: &fs::Metadata) -> Standing {
        Standing {
            device: metadata.dev(),
            names: metadata.nlink(),
            owner: (metadata.uid(), metadata.gid()),
            mode: metadata.mode() & 0o7777,
        }
    }
}

impl Repository {
    /// Whether a copy can take the file's place without anyone noticing: it is on the cache's file system, under one name, with owner and mode of
    /// a file made anew.
    pub(crate) fn may_adopt(&self, file: &WorkFile, cache_device: u64) -> bool {
        let standing = &file.standing;
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        cache_device == standing.device
            && standing.names == 1
            && standing.owner == me
            && standing.mode == self.cache.new_mode
    }

    /// Makes the file the object of an id, read-only from now on. False where it is another file than was looked at, somebody is writing to it,
    /// or the system does not let it have a second name; then it is as it was.
    pub(crate) fn adopt(&self, file: &WorkFile, id: &str, is_shared: bool, watch: &Watch) -> Result<bool> {
        let object = self.cache.path(id, false);
        if let Some(folder) = object.parent().filter(|folder| !folder.is_dir()) {
            crate::write::make_folder(folder)?;
        }
        if fs::hard_link(&file.path, &object).is_err() {
            // Another file of the same content was first, or there is an object that is damaged.
            if self.cache.has(id, false, watch)? {
                return Ok(true);
            }
            let _ = fs::remove_file(&object);
            if fs::hard_link(&file.path, &object).is_err() {
                return Ok(false);
            }
        }
        // What another owner has, and what is behind a link, is copied.
        let is_file = fs::symlink_metadata(&object).is_ok_and(|metadata| metadata.is_file());
        let handle = File::open(&object).ok().filter(|_| is_file);
        let is_it = handle.as_ref().is_some_and(|handle| {
            let protected = handle.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o444)).is_ok();
            let same = handle.metadata().is_ok_and(|now| Stamp::new(&now).is_same_content(&file.stamp));
            protected && same && (is_shared || !has_more(handle) && writers::none(handle))
        });
        if !is_it {
            fs::remove_file(&object).map_err(Error::io("remove", &object))?;
            if is_file && handle.is_some() {
                let _ = set_mode(&file.path, file.standing.mode);
            }
        }
        Ok(is_it)
    }

    /// Gives the workspace copies of its own for the files that are the cache's objects.
    pub(crate) fn give_back(&self, files: &[(&WorkFile, &str)], watch: &Watch) -> Result<()> {
        let is_object = |(file, id): &&(&WorkFile, &str)| {
            let now = fs::symlink_metadata(&file.path).ok().filter(|now| now.is_file() && now.nlink() > 1);
            now.is_some_and(|now| {
                fs::symlink_metadata(self.cache.path(id, false)).is_ok_and(|object| identity(&object) == identity(&now))
            })
        };
        let files: Vec<&(&WorkFile, &str)> = files.par_iter().filter(is_object).collect();
        if files.is_empty() {
            return Ok(());
        }
        // Where every file has its content is on the disk before names are taken from the content.
        self.cache.sync()?;
        let step = watch.step("copying", files.len());
        let one = |(file, id): &&(&WorkFile, &str)| {
            step.check()?;
            self.give_back_one(&file.path, id)?;
            step.advance();
            Ok(())
        };
        waiting(|| files.par_iter().try_for_each(one))
    }

    fn give_back_one(&self, path: &Path, id: &str) -> Result<()> {
        let object = self.cache.path(id, false);
        let source = File::open(&object).map_err(Error::io("read", &object))?;
        let held = source.metadata().map_err(Error::io("read", &object))?;
        let temporary = self.desk_name();
        let copied = copy_of(source, held.len(), &temporary, 0o666);
        let copied = copied.and_then(|copy| copy.set_modified(held.modified()?));
        copied.map_err(Error::io("write", &temporary))?;
        exchange(&temporary, path).map_err(Error::io("write", path))?;
        if fs::symlink_metadata(&temporary).is_ok_and(|old| identity(&old) != identity(&held)) {
            // Somebody has put another file there meanwhile: it stays.
            exchange(&temporary, path).map_err(Error::io("write", path))?;
        }
        let _ = fs::remove_file(&temporary);
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        if metadata.len() == held.len() && metadata.modified().ok() == held.modified().ok() {
            self.state.set(&self.state_name(path), Stamp::new(&metadata), id, false);
        }
        Ok(())
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The new file under the old one's name and, where the system can do that, the old one under the new one's. A name that is taken from a file by
/// plain renaming makes some systems write the new file's bytes at once.
fn exchange(new: &Path, old: &Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    fs::rename(new, old)
}

/// Whether the file has what a copy would not: access lists and other attributes. A security label comes of itself.
fn has_more(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut names = [0u8; 1024];
        match rustix::fs::flistxattr(file, &mut names) {
            Ok(length) => {
                let mut names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
                names.any(|name| name != b"security.selinux")
            }
            Err(error) => error != rustix::io::Errno::NOTSUP,
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

/// Whether a file is open for writing anywhere.
mod writers {
    use std::fs::File;

    /// True where nobody has it open for writing. A read lease (fcntl(2), `F_SETLEASE`) is granted only then; it is given back at once.
    #[cfg(target_os = "linux")]
    pub fn none(file: &File) -> bool {
        use std::os::fd::AsRawFd;
        use std::sync::Once;
        static IGNORED: Once = Once::new();
        // Who opens the file in the meantime has the kernel send that signal, which would end this process.
        // SAFETY: a disposition is set, no handler, so no code runs in a signal.
        IGNORED.call_once(|| unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
        });
        // SAFETY: the handle is open for as long as it is borrowed, and the calls take numbers only.
        let lease = |kind: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 };
        lease(libc::F_RDLCK) && lease(libc::F_UNLCK)
    }

    /// Nobody can tell.
    #[cfg(not(target_os = "linux"))]
    pub fn none(_: &File) -> bool {
        false
    }
}
