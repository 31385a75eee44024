//! How a file of the workspace stands for an object of the cache.

use std::fs::{self, Permissions};
use std::io;
use std::path::Path;

/// A way to put an object into the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Shares the blocks until either side is written to.
    Reflink,
    /// The same file under two names; read-only.
    Hardlink,
    /// A name that points into the cache; read-only there.
    Symlink,
    /// A file of its own.
    Copy,
}

impl Link {
    /// The link types of a setting like `reflink,copy`; DVC's default where it is not set.
    pub fn types(setting: Option<&str>) -> Option<Vec<Link>> {
        let names = setting.unwrap_or("reflink,copy").split(',');
        names
            .map(|name| match name.trim() {
                "reflink" => Some(Link::Reflink),
                "hardlink" => Some(Link::Hardlink),
                "symlink" => Some(Link::Symlink),
                "copy" => Some(Link::Copy),
                _ => None,
            })
            .collect()
    }

    /// Whether the workspace's file is the cache's own and must not be written to.
    pub fn is_shared(self) -> bool {
        matches!(self, Link::Hardlink | Link::Symlink)
    }

    /// Makes `target`, which must not exist, stand for `object`.
    pub fn make(self, object: &Path, target: &Path) -> io::Result<()> {
        match self {
            Link::Reflink => reflink_copy::reflink(object, target)?,
            Link::Hardlink => return fs::hard_link(object, target),
            #[cfg(unix)]
            Link::Symlink => return std::os::unix::fs::symlink(object, target),
            #[cfg(windows)]
            Link::Symlink => return std::os::windows::fs::symlink_file(object, target),
            Link::Copy => return copy(object, target, 0o666),
        }
        set_mode(target, 0o644)
    }
}

/// A file of its own, with the mode as the umask lets it be.
pub(crate) fn copy(object: &Path, target: &Path, mode: u32) -> io::Result<()> {
    let source = fs::File::open(object)?;
    let length = source.metadata()?.len();
    copy_of(source, length, target, mode).map(|_| ())
}

/// A new file of as many bytes of an open one, or as many as there are.
pub(crate) fn copy_of(source: fs::File, length: u64, target: &Path, mode: u32) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut target = options.open(target)?;
    pour(source, length, &mut target)?;
    Ok(target)
}

/// So many bytes, or as many as there are; they do not pass through this process where the system can do that.
fn pour(mut source: fs::File, length: u64, target: &mut fs::File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let mut left = length;
        while left > 0 {
            match rustix::fs::copy_file_range(&source, None, &mut *target, None, left.min(1 << 30) as usize) {
                Ok(0) => break,
                Ok(count) => left -= count as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::IO)) => {
                    return Err(error.into());
                }
                // A file system that cannot; the rest goes the usual way, from where both files are.
                Err(_) => break,
            }
        }
        if left == 0 {
            return Ok(());
        }
    }
    io::copy(&mut source, target).map(|_| ())
}

/// The first way that works here, tried in order.
pub(crate) fn make_first(types: &[Link], object: &Path, target: &Path) -> io::Result<Link> {
    let mut last = io::Error::other("cache.type is empty");
    for &link in types {
        match link.make(object, target) {
            Ok(()) => return Ok(link),
            Err(error) => last = error,
        }
        // A copy that broke off half-way.
        let _ = fs::remove_file(target);
    }
    Err(last)
}

/// Sets who may read, write and execute.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    let permissions = <Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode);
    #[cfg(not(unix))]
    let permissions = {
        let mut permissions = fs::metadata(path)?.permissions();
        permissions.set_readonly(mode & 0o200 == 0);
        permissions
    };
    fs::set_permissions(path, permissions)
}
