//! One command at a time on a repository, `dvc`'s included.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Error, Result};

/// How long another command may take to end before this one gives up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Held while a command runs; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes `.dvc/tmp/lock`, and refuses where `.dvc/tmp/rwlock` says that a running `dvc` writes.
pub(crate) fn take(temporary: &Path) -> Result<Lock> {
    crate::write::make_folder(temporary)?;
    let path = temporary.join("lock");
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(Error::io("open", &path))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50))
            }
            Err(TryLockError::WouldBlock) => {
                let owner = std::fs::read_to_string(&path).unwrap_or_default();
                let message = format!("`{}` is held by another command (process {})", path.display(), owner.trim());
                return Err(Error::refused(message, "wait until it has ended, then run this again"));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
    // Whom to wait for; only a help, so failing to write it is no fault.
    let _ = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, " {}", std::process::id()));
    check_rwlock(&temporary.join("rwlock"))?;
    Ok(Lock { _file: file })
}

/// `dvc` lets go of the lock while a stage runs, and names the paths that the stage writes in a JSON file.
fn check_rwlock(path: &Path) -> Result<()> {
    let Some(text) = crate::write::read_if_any(path)? else { return Ok(()) };
    let Ok(Value::Object(locks)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
    let writers = locks.get("write").and_then(Value::as_object);
    for (name, owner) in writers.into_iter().flatten() {
        let process = owner.get("pid").and_then(Value::as_u64).and_then(|process| u32::try_from(process).ok());
        if let Some(process) = process.filter(|&process| is_alive(process)) {
            let message = format!("`{name}` is being written by process {process}");
            return Err(Error::refused(message, "wait until it has ended, then run this again"));
        }
    }
    Ok(())
}

/// Whether a process runs; one of another user counts as running.
pub(crate) fn is_alive(process: u32) -> bool {
    let Some(process) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH)
}
