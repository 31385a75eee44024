//! What a run computes on: threads, device, memory.

use rayon::ThreadPool;
use yolo11_config::{Device, Settings};
use yolo11_engine::TrainingSession;
use yolo11_network::Network;

use crate::Error;

/// Share of the free memory that `batch=-1` may take.
const MEMORY_SHARE: f64 = 0.6;
/// Batch where the system does not tell how much memory is free.
const UNKNOWN_MEMORY_BATCH: usize = 16;
/// Largest batch that `batch=-1` chooses.
const LARGEST_BATCH: usize = 256;
/// Values that a training keeps for each parameter beside its planned memory: weight, average, gradient, two moments.
const COPIES: usize = 5;

/// The threads that everything of a run computes on. Results do not depend on their number.
pub fn pool(threads: usize) -> Result<ThreadPool, Error> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("compute-{index}"));
    builder.build().map_err(|error| Error::Threads { threads, reason: error.to_string() })
}

/// What to tell about the device: nothing where the CPU was wanted or nothing was said.
///
/// # Errors
/// A CUDA device was asked for with `strict_device`.
pub fn device_note(settings: &Settings) -> Result<Option<String>, Error> {
    match settings.device {
        Device::Auto | Device::Cpu => Ok(None),
        Device::Cuda(_) if settings.strict_device => Err(Error::Setup {
            message: "device=cuda: no CUDA device is supported by this build".into(),
            hint: "set device=cpu, or strict_device=false to go on with the CPU".into(),
        }),
        Device::Cuda(_) => Ok(Some("no CUDA device is supported by this build; computing on the CPU".into())),
    }
}

/// Bytes of memory that this process uses, where the system tells.
pub fn memory_in_use() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024)
}

/// Most bytes of memory that this process has used so far, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmHWM:").map(|kilobytes| kilobytes * 1024)
}

/// Bytes of memory that are free for this process, where the system tells: the machine's, or what is left of a container's bound.
pub fn free_memory() -> Option<u64> {
    let machine = kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    let figure = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    let container = figure("memory.max").zip(figure("memory.current")).map(|(most, used)| most.saturating_sub(used));
    Some(container.map_or(machine, |container| container.min(machine)))
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The largest power of two of pictures whose training fits into 60 % of the free memory; at least 1.
pub fn automatic_batch(network: &Network, size: [usize; 2]) -> Result<usize, Error> {
    let Some(free) = free_memory() else {
        return Ok(UNKNOWN_MEMORY_BATCH);
    };
    // A plan's memory is a fixed part and the same for each picture.
    let one = TrainingSession::plan(network, 1, size)?.memory_bytes();
    let two = TrainingSession::plan(network, 2, size)?.memory_bytes();
    Ok(largest_batch(one, two, COPIES * 4 * network.parameters(), free))
}

fn largest_batch(one: usize, two: usize, fixed: usize, free: u64) -> usize {
    let each = two.saturating_sub(one).max(1);
    let allowed = (free as f64 * MEMORY_SHARE) as usize;
    let mut batch = 1;
    while batch < LARGEST_BATCH && one + (2 * batch - 1) * each + fixed <= allowed {
        batch *= 2;
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_automatic_batch_is_the_largest_that_fits() {
        // 100 + 50 for each further picture + 20, in 60 % of 1000: 2 → 170, 8 → 470, 16 → 870.
        assert_eq!(largest_batch(100, 150, 20, 1000), 8);
        assert_eq!(largest_batch(100, 150, 20, 10), 1);
        assert_eq!(largest_batch(100, 150, 20, u64::MAX / 2), LARGEST_BATCH);
    }

    #[test]
    fn a_missing_device_is_a_note_or_an_error() {
        let mut settings = Settings::default();
        assert_eq!(device_note(&settings).unwrap(), None);
        settings.device = Device::Cuda(0);
        let note = device_note(&settings).unwrap().unwrap();
        assert_eq!(note, "no CUDA device is supported by this build; computing on the CPU");
        settings.strict_device = true;
        let error = device_note(&settings).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("\nhint: set device=cpu"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_in_use_is_that_of_a_living_process() {
        let bytes = memory_in_use().unwrap();
        assert!(peak_memory().unwrap() >= bytes);
        assert!(bytes > 1_000_000 && bytes < free_memory().unwrap() + (1 << 40));
    }
}
