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

/// A file of its own, with the mode as the umask lets it be; the bytes do not pass through this process where the system can do that.
pub(crate) fn copy(object: &Path, target: &Path, mode: u32) -> io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let (mut from, mut to) = (fs::File::open(object)?, options.open(target)?);
    io::copy(&mut from, &mut to).map(|_| ())
}

/// A copy that has no name until it is whole, and then one where nothing was: without half-made files, wherever it is stopped. False where the
/// system has no such thing, or where something is at that name.
#[cfg(target_os = "linux")]
pub(crate) fn copy_to_free_name(object: &Path, target: &Path, mode: u32) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    let mut from = fs::File::open(object)?;
    let folder = target.parent().unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let Ok(handle) = rustix::fs::open(folder, flags, Mode::from_raw_mode(mode)) else { return Ok(false) };
    let mut to = fs::File::from(handle);
    io::copy(&mut from, &mut to)?;
    let handle = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&to));
    Ok(rustix::fs::linkat(CWD, handle, CWD, target, AtFlags::SYMLINK_FOLLOW).is_ok())
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
