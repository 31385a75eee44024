//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Numbers the temporary names of this process, so that two threads never share one.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Writes a file under a temporary name beside it, syncs it and renames it over `path`. When anything fails, what stood at `path`
/// before is unchanged and the temporary file is removed.
pub(crate) fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_path_buf(), action: "cannot write", source };
    // A link keeps pointing where it did: the file it names is the one to replace.
    let target = if path.is_symlink() { fs::canonicalize(path).map_err(failed)? } else { path.to_path_buf() };
    let Some(name) = target.file_name() else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")));
    };
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{serial}.tmp", std::process::id()));
    let temporary = target.with_file_name(temporary);
    let written = write_temporary(&temporary, content).and_then(|()| fs::rename(&temporary, &target));
    if let Err(source) = written {
        // Only the first failure is worth telling; the removal is best effort.
        let _ = fs::remove_file(&temporary);
        return Err(failed(source));
    }
    sync_folder(&target);
    Ok(())
}

fn write_temporary(temporary: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    content(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// Makes the new name durable too. Not every system can open a folder, and the file itself is safe already: failures are passed over.
fn sync_folder(target: &Path) {
    let folder: PathBuf = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
