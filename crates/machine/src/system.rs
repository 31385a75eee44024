//! Processor, memory, the limits of containers, disk: as far as the system tells.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The processor's name, as the system gives it.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Threads that the machine's cores run at a time, whether this process may use them or not.
pub fn machine_threads() -> Option<usize> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(text.lines().filter(|line| line.starts_with("processor")).count()).filter(|count| *count > 0)
}

/// Bytes of the machine's memory.
pub fn total_memory() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:").map(|kilobytes| kilobytes * 1024)
}

/// Bytes of memory that are free for this process: the machine's, or what is left of a container's bound.
pub fn free_memory() -> Option<u64> {
    let machine = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    Some(limits().memory_left.map_or(machine, |container| container.min(machine)))
}

/// Bytes of memory that this process uses.
pub fn memory_in_use() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(|kilobytes| kilobytes * 1024)
}

/// Most bytes of memory that this process has used so far.
pub fn peak_memory() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:").map(|kilobytes| kilobytes * 1024)
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What a container or a control group allows; none where nothing binds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// What is left of them.
    pub memory_left: Option<u64>,
    /// Cores, as a share of their time.
    pub cores: Option<f64>,
}

/// The limits of this process's control group and of those above it (version 2, which every current Linux has).
pub fn limits() -> Limits {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    limits_in(Path::new("/sys/fs/cgroup"), &own)
}

fn limits_in(root: &Path, own: &str) -> Limits {
    let least = |found: Option<u64>, value: Option<u64>| found.into_iter().chain(value).min();
    let mut limits = Limits::default();
    // In a container the group may be mounted as the root itself: a folder that is not there says nothing.
    for group in Path::new(own).ancestors() {
        let read = |name: &str| fs::read_to_string(root.join(group).join(name)).ok();
        let figure = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let memory = figure("memory.max");
        limits.memory = least(limits.memory, memory);
        let left = memory.zip(figure("memory.current")).map(|(most, used)| most.saturating_sub(used));
        limits.memory_left = least(limits.memory_left, left);
        let cores = read("cpu.max").and_then(|text| {
            let (quota, period) = text.trim().split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok().filter(|period| *period > 0.0)?)
        });
        limits.cores = limits.cores.into_iter().chain(cores).reduce(f64::min);
    }
    limits
}

/// Bytes of the disk that a folder is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free for this user.
    pub free: u64,
    /// All.
    pub total: u64,
}

/// The disk that a folder is on; of one that does not exist yet, that of the nearest folder above.
pub fn disk(folder: &Path) -> Option<Disk> {
    disk_of(&existing(folder)?)
}

/// Whether files can be made in a folder, or, where it does not exist yet, the folder itself. Nothing is written.
///
/// # Errors
/// The system's reason.
pub fn can_write(folder: &Path) -> io::Result<()> {
    may_write(&existing(folder).ok_or(io::ErrorKind::NotFound)?)
}

/// The folder itself or the nearest one above it that is there.
fn existing(folder: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(folder).ok()?;
    folder.ancestors().find(|folder| folder.exists()).map(Path::to_owned)
}

#[cfg(unix)]
fn disk_of(folder: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(Disk { free: found.f_bavail * found.f_frsize, total: found.f_blocks * found.f_frsize })
}

#[cfg(unix)]
fn may_write(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

/// Files that this process may have open at a time; none where there is no limit.
#[cfg(unix)]
pub fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn disk_of(_: &Path) -> Option<Disk> {
    None
}

#[cfg(not(unix))]
fn may_write(folder: &Path) -> io::Result<()> {
    let metadata = fs::metadata(folder)?;
    if metadata.permissions().readonly() { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

/// Files that this process may have open at a time; none where there is no limit.
#[cfg(not(unix))]
pub fn open_files() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_limit_of_the_groups_binds() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(limits_in(root, ""), Limits::default());
        fs::create_dir_all(root.join("jobs/a")).unwrap();
        for (name, text) in [
            ("jobs/memory.max", "4000\n"),
            ("jobs/memory.current", "3900\n"),
            ("jobs/cpu.max", "250000 100000\n"),
            ("jobs/a/memory.max", "1000\n"),
            ("jobs/a/memory.current", "300\n"),
            ("jobs/a/cpu.max", "max 100000\n"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let wanted = Limits { memory: Some(1000), memory_left: Some(100), cores: Some(2.5) };
        assert_eq!(limits_in(root, "jobs/a"), wanted);
        assert_eq!(limits_in(root, "jobs/a/gone"), wanted);
        fs::write(root.join("memory.max"), "max\n").unwrap();
        assert_eq!(limits_in(root, ""), Limits::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_and_its_disk_are_told_of() {
        // The kernel's counts lag by some pages of each core, and other tests give memory back: two readings are not compared.
        let (size, lag) = (64_000_000, 8_000_000);
        let held = std::hint::black_box(vec![1u8; size as usize]);
        assert!(memory_in_use().unwrap() > size - lag);
        drop(held);
        assert!(peak_memory().unwrap() > size - lag);
        assert!(total_memory().unwrap() >= free_memory().unwrap());
        assert!(machine_threads().unwrap() >= 1);
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path()).unwrap();
        assert!(disk.free > 0 && disk.free <= disk.total);
        can_write(folder.path()).unwrap();
        can_write(&folder.path().join("new/below")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(can_write(&folder.path().join("file/below")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
