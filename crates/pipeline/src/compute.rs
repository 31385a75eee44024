//! What a run computes on: threads, device, memory.

use rayon::ThreadPool;
use yolo11_config::{BackendName as Backend, Device, ModelSource, Settings};
use yolo11_engine::TrainingSession;
use yolo11_inference::onnxruntime_is_installed;
use yolo11_machine::nvidia::{Driver, driver};
use yolo11_machine::system::free_memory;
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

/// What the device is to run.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// This program's engine, which has no CUDA device in this version.
    Engine,
    /// What `model` names: an ONNX file may be run by ONNX Runtime, on its own devices.
    Model,
}

/// What to say about the device: nothing where it is the one that was asked for, or where none was.
///
/// # Errors
/// A CUDA device was asked for that cannot be used for this work, and `strict_device` is set, as it is where `device` is an argument.
pub fn device_note(settings: &Settings, work: Work) -> Result<Option<String>, Error> {
    let Some(why) = without_cuda(settings, work) else { return Ok(None) };
    match settings.strict_device {
        true => Err(Error::Setup {
            message: why,
            hint: "give device=cpu, or strict_device=false to go on with the CPU; `yolo11 doctor` lists what there is"
                .into(),
        }),
        false => Ok(Some(format!("{why}; computing on the CPU"))),
    }
}

/// Whether ONNX Runtime is to compute on a CUDA device.
pub(crate) fn uses_cuda(settings: &Settings) -> bool {
    matches!(settings.device, Device::Cuda(_)) && without_cuda(settings, Work::Model).is_none()
}

/// Why the CUDA devices that are asked for cannot be used; none where they can, or none are asked for.
fn without_cuda(settings: &Settings, work: Work) -> Option<String> {
    let Device::Cuda(numbers) = &settings.device else { return None };
    let device = &settings.device;
    let is_onnx = match &settings.model {
        ModelSource::Weights(path) => path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")),
        ModelSource::Scale(_) => false,
    };
    let asked = match numbers.len() {
        1 => "1 CUDA device".to_owned(),
        count => format!("{count} CUDA devices"),
    };
    let asked = format!("device={device} asks for {asked}");
    let missing = match work {
        Work::Model if is_onnx => {
            let has_runtime = || onnxruntime_is_installed(settings.onnxruntime.as_deref());
            match settings.backend {
                // Who names the execution providers has said what computes.
                _ if !settings.providers.is_empty() => return None,
                Backend::Rust => "backend=rust computes on the CPU only",
                Backend::Auto if !has_runtime() => {
                    "ONNX Runtime is not installed and the reader in Rust computes on the CPU only"
                }
                _ if numbers.as_slice() != [0] => {
                    "ONNX Runtime is given device 0 only (CUDA_VISIBLE_DEVICES chooses which that is)"
                }
                _ if !driver().devices().is_empty() => return None,
                _ => "ONNX Runtime needs one",
            }
        }
        Work::Engine | Work::Model => "this version of yolo11 has no CUDA engine",
    };
    Some(format!("{asked}; {missing}, and this machine has {}", devices(driver())))
}

/// The CUDA devices that there are, in words that follow "this machine has".
pub(crate) fn devices(driver: &Driver) -> String {
    match driver {
        Driver::Missing => "0 of them: no NVIDIA driver (libcuda.so.1 was not found)".to_owned(),
        Driver::Unloadable { path, reason } => {
            format!("0 of them: its NVIDIA driver cannot be loaded ({}: {reason})", path.display())
        }
        Driver::Unready { reason, .. } => format!("0 of them: its NVIDIA driver finds none: {reason}"),
        Driver::Ready(ready) if ready.devices.is_empty() => "0 of them: its NVIDIA driver finds none".to_owned(),
        Driver::Ready(ready) => {
            let names = ready.devices.iter().enumerate().map(|(number, device)| format!("{number}: {}", device.name));
            format!("{} ({})", ready.devices.len(), names.collect::<Vec<_>>().join(", "))
        }
    }
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
}
