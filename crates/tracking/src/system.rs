//! CPU, memory, disk, network and GPU in MLflow's names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sysinfo::{Disks, Networks, System};

const MEGABYTE: f64 = 1e6;

/// Samples the machine.
pub(crate) struct Sampler {
    system: System,
    networks: Networks,
    received: f64,
    sent: f64,
    disk: PathBuf,
    has_gpu: bool,
}

impl Sampler {
    /// `disk`: a path on the disk whose use counts.
    pub fn new(disk: &Path) -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        system.refresh_memory();
        Sampler {
            system,
            networks: Networks::new_with_refreshed_list(),
            received: 0.0,
            sent: 0.0,
            disk: std::path::absolute(disk).unwrap_or_else(|_| disk.to_owned()),
            has_gpu: true,
        }
    }

    /// The figures of now; the network's count from the first sample on.
    pub fn sample(&mut self) -> Vec<(String, f64)> {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.networks.refresh(true);
        for network in self.networks.values() {
            self.received += network.received() as f64;
            self.sent += network.transmitted() as f64;
        }
        let memory = self.system.used_memory() as f64;
        let mut found = vec![
            ("system/cpu_utilization_percentage".to_owned(), f64::from(self.system.global_cpu_usage())),
            ("system/system_memory_usage_megabytes".to_owned(), memory / MEGABYTE),
            (
                "system/system_memory_usage_percentage".to_owned(),
                100.0 * memory / (self.system.total_memory() as f64).max(1.0),
            ),
            ("system/network_receive_megabytes".to_owned(), self.received / MEGABYTE),
            ("system/network_transmit_megabytes".to_owned(), self.sent / MEGABYTE),
        ];
        found.extend(disk_usage(&self.disk));
        if self.has_gpu {
            let gpus = gpus();
            self.has_gpu = gpus.is_some();
            found.extend(gpus.into_iter().flatten());
        }
        found
    }
}

/// The fullest mount point above the path decides which disk it is.
fn disk_usage(path: &Path) -> Vec<(String, f64)> {
    let disks = Disks::new_with_refreshed_list();
    let mut own: Vec<_> = disks.list().iter().filter(|disk| path.starts_with(disk.mount_point())).collect();
    own.sort_by_key(|disk| disk.mount_point().as_os_str().len());
    let Some(disk) = own.last().filter(|disk| disk.total_space() > 0) else { return Vec::new() };
    let (used, total) = (disk.total_space() - disk.available_space().min(disk.total_space()), disk.total_space());
    vec![
        ("system/disk_usage_megabytes".to_owned(), used as f64 / MEGABYTE),
        ("system/disk_available_megabytes".to_owned(), disk.available_space() as f64 / MEGABYTE),
        ("system/disk_usage_percentage".to_owned(), 100.0 * used as f64 / total as f64),
    ]
}

/// NVIDIA's own tool tells; none where it is missing.
fn gpus() -> Option<Vec<(String, f64)>> {
    let output = Command::new("nvidia-smi")
        .args([
            "--query-gpu=index,utilization.gpu,memory.used,memory.total,power.draw",
            "--format=csv,noheader,nounits",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| gpu_metrics(&String::from_utf8_lossy(&output.stdout)))
}

fn gpu_metrics(table: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    for row in table.lines() {
        let columns: Vec<&str> = row.split(',').map(str::trim).collect();
        let [index, use_of, used, total, power] = columns[..] else { continue };
        let number = |text: &str| text.parse::<f64>().ok();
        let mut add = |name: &str, value: Option<f64>| {
            found.extend(value.map(|value| (format!("system/gpu_{index}_{name}"), value)));
        };
        // The tool counts in mebibytes.
        let megabytes = |text: &str| number(text).map(|value| value * 1.048_576);
        add("utilization_percentage", number(use_of));
        add("memory_usage_megabytes", megabytes(used));
        add(
            "memory_usage_percentage",
            number(used).zip(number(total)).map(|(used, total)| 100.0 * used / total.max(1.0)),
        );
        add("power_usage_watts", number(power));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_lie_in_their_bounds() {
        let mut sampler = Sampler::new(Path::new("."));
        std::thread::sleep(std::time::Duration::from_millis(250));
        let found = sampler.sample();
        let value = |name: &str| found.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        for name in ["cpu_utilization", "system_memory_usage"] {
            let value = value(&format!("system/{name}_percentage")).unwrap();
            assert!((0.0..=100.0).contains(&value), "{name} {value}");
        }
        assert!(value("system/system_memory_usage_megabytes").unwrap() > 10.0);
        assert!(value("system/network_receive_megabytes").unwrap() >= 0.0);
    }

    #[test]
    fn the_gpu_table_is_read() {
        let found = gpu_metrics("0, 87, 1000, 2000, 55.5\n1, [N/A], 0, 2000, [N/A]\n");
        let text: Vec<String> = found.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(
            text,
            [
                "system/gpu_0_utilization_percentage 87",
                "system/gpu_0_memory_usage_megabytes 1048.576",
                "system/gpu_0_memory_usage_percentage 50",
                "system/gpu_0_power_usage_watts 55.5",
                "system/gpu_1_memory_usage_megabytes 0",
                "system/gpu_1_memory_usage_percentage 0",
            ]
        );
    }
}
