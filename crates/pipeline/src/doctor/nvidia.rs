//! NVIDIA's driver, devices and libraries, each with the command that would bring it.

use std::path::Path;

use serde_json::json;
use yolo11_machine::nvidia::{self, Driver, Library, Ready, State};
use yolo11_machine::{Finding, python};

use super::{Item, gigabytes};

/// What Python's wheels are installed with where no environment is active: most systems refuse it outside one.
const NEW_ENVIRONMENT: &str = "python3 -m venv .venv && . .venv/bin/activate && ";

pub(super) fn items() -> Vec<Item> {
    let driver = nvidia::driver();
    let libraries = nvidia::libraries();
    let cuda = libraries.iter().filter_map(cuda_of).max().unwrap_or(12);
    let mut items = vec![Item::optional("nvidia.driver", driver_finding(driver))];
    for library in &libraries {
        items.push(Item::optional(&format!("nvidia.{}", library.kind.id), library_finding(library, cuda)));
    }
    items.extend(versions(driver, &libraries).map(|finding| Item::optional("nvidia.versions", finding)));
    items
}

fn driver_finding(driver: &Driver) -> Finding {
    let on_bus = nvidia::devices_on_bus();
    let finding = match driver {
        Driver::Missing if on_bus.is_some_and(|count| count > 0) => {
            let detail = format!("none (libcuda.so.1 was not found); NVIDIA GPUs on the bus: {}", on_bus.unwrap_or(0));
            Finding::missing("driver", detail, how_to_get_a_driver())
        }
        Driver::Missing => Finding::missing(
            "driver",
            "none (libcuda.so.1 was not found), and no NVIDIA GPU on the bus",
            format!("on a machine with an NVIDIA GPU: {}", how_to_get_a_driver()),
        ),
        Driver::Unloadable { path, reason } => {
            unloadable("driver", path, reason, &format!("install it anew: {}", how_to_get_a_driver()))
        }
        Driver::Unready { path, reason } => Finding::faulty(
            "driver",
            format!("{} finds no device: {reason}", path.display()),
            "try `nvidia-smi`; after an update of the driver start the machine anew; start a container with `--gpus all`",
        )
        .with("path", path.display().to_string()),
        Driver::Ready(ready) => ready_finding(ready),
    };
    finding.serving("everything on an NVIDIA GPU").with("gpus_on_bus", on_bus)
}

fn ready_finding(Ready { path, version, cuda, devices }: &Ready) -> Finding {
    let each = devices.iter().enumerate().map(|(number, device)| {
        let (name, memory, capability) = (&device.name, gigabytes(device.memory), device.capability);
        format!("{number}: {name}, {memory}, compute capability {capability}")
    });
    let each = each.collect::<Vec<_>>().join("; ");
    let named = version.as_ref().map_or_else(String::new, |version| format!("{version}, "));
    let detail = format!("{named}runs CUDA {cuda}; devices: {} ({each})", devices.len());
    let devices: Vec<_> = devices
        .iter()
        .map(|device| {
            json!({
                "name": device.name,
                "memory_bytes": device.memory,
                "compute_capability": device.capability.to_string(),
            })
        })
        .collect();
    Finding::well("driver", detail)
        .with("path", path.display().to_string())
        .with("version", version.clone())
        .with("cuda", cuda.to_string())
        .with("devices", devices)
}

fn library_finding(Library { kind, state }: &Library, cuda: u32) -> Finding {
    let install = || {
        let wheel = kind.wheels[usize::from(cuda >= 13)];
        let prefix = if python::active().is_empty() { NEW_ENVIRONMENT } else { "" };
        format!("{prefix}pip install {wheel}")
    };
    let finding = match state {
        State::Loaded { path, version, awaits_driver, .. } => {
            let part = awaits_driver.map_or_else(String::new, |part| format!(" ({part} needs the driver)"));
            Finding::well(kind.name, format!("{version}, {}{part}", path.display()))
                .with("path", path.display().to_string())
                .with("version", version.to_string())
        }
        State::Unloadable { path, reason } => unloadable(kind.name, path, reason, &install()),
        State::Missing => Finding::missing(kind.name, format!("{} was not found", kind.files.join(" or ")), install()),
    };
    finding.serving(kind.purpose)
}

fn unloadable(subject: &str, path: &Path, reason: &str, fix: &str) -> Finding {
    let path = path.display().to_string();
    Finding::faulty(subject, format!("found but cannot be loaded: {path}: {reason}"), fix).with("path", path)
}

/// The major version of CUDA that a library is for.
fn cuda_of(library: &Library) -> Option<u32> {
    match &library.state {
        State::Loaded { cuda, .. } => *cuda,
        _ => None,
    }
}

/// What does not go together, if anything.
fn versions(driver: &Driver, libraries: &[Library]) -> Option<Finding> {
    let of: Vec<_> = libraries.iter().filter_map(|library| Some((library.kind.name, cuda_of(library)?))).collect();
    let list = of.iter().map(|(name, cuda)| format!("{name} for CUDA {cuda}")).collect::<Vec<_>>().join(", ");
    let newest = of.iter().map(|(_, cuda)| *cuda).max()?;
    if of.iter().any(|(_, cuda)| *cuda != newest) {
        let fix = "install all of them for one version, in one environment";
        return Some(Finding::faulty("versions", format!("the libraries are for different versions: {list}"), fix));
    }
    match driver {
        Driver::Ready(ready) if ready.cuda.major < newest => Some(Finding::faulty(
            "versions",
            format!("the driver runs CUDA {}, the libraries are for CUDA {newest}", ready.cuda),
            format!(
                "a newer driver ({}), or the wheels whose names end in -cu{}",
                how_to_get_a_driver(),
                ready.cuda.major
            ),
        )),
        _ => None,
    }
}

/// The distribution's way to the driver.
fn how_to_get_a_driver() -> &'static str {
    if ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists()) {
        return "install it on the host, with the NVIDIA Container Toolkit, and start the container with `--gpus all`";
    }
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    way_to_a_driver(&text)
}

fn way_to_a_driver(os_release: &str) -> &'static str {
    let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let names = format!("{} {}", value("ID="), value("ID_LIKE=")).replace('"', "");
    for name in names.split_whitespace() {
        match name {
            "ubuntu" => return "`sudo ubuntu-drivers install`",
            "debian" => return "`sudo apt install nvidia-driver` (section non-free of /etc/apt/sources.list)",
            "fedora" => return "`sudo dnf install akmod-nvidia` (from RPM Fusion)",
            "arch" => return "`sudo pacman -S nvidia`",
            _ => {}
        }
    }
    "the driver package of your distribution, or https://www.nvidia.com/drivers"
}

#[cfg(test)]
mod tests {
    use yolo11_machine::nvidia::Version;

    use super::*;

    #[test]
    fn each_distribution_has_its_way_to_the_driver() {
        for (text, start) in [
            ("NAME=x\nID=ubuntu\nID_LIKE=debian\n", "`sudo ubuntu-drivers"),
            ("ID=debian\n", "`sudo apt install nvidia-driver`"),
            ("ID=\"linuxmint\"\nID_LIKE=\"ubuntu debian\"\n", "`sudo ubuntu-drivers"),
            ("ID=fedora\n", "`sudo dnf"),
            ("ID=nixos\n", "the driver package of your distribution"),
            ("", "the driver package of your distribution"),
        ] {
            assert!(way_to_a_driver(text).starts_with(start), "{text}: {}", way_to_a_driver(text));
        }
    }

    #[test]
    fn versions_that_do_not_go_together_are_told() {
        let kinds = nvidia::libraries();
        let library = |at: usize, cuda: u32| {
            let version = Version { major: cuda, minor: 2, patch: None };
            Library {
                kind: kinds[at].kind,
                state: State::Loaded { path: "a".into(), version, cuda: Some(cuda), awaits_driver: None },
            }
        };
        let driver = |major: u32| {
            let cuda = Version { major, minor: 4, patch: None };
            Driver::Ready(Ready { path: "a".into(), version: None, cuda, devices: Vec::new() })
        };
        assert_eq!(versions(&Driver::Missing, &[]), None);
        assert_eq!(versions(&driver(13), &[library(0, 12), library(1, 12)]), None);
        let text = versions(&Driver::Missing, &[library(0, 13), library(1, 12)]).unwrap().to_string();
        assert!(text.starts_with("FAULTY  versions: the libraries are for different versions: CUDA runtime for CUDA 13, NVRTC for CUDA 12\n"), "{text}");
        let text = versions(&driver(12), &[library(0, 13)]).unwrap().to_string();
        assert!(
            text.starts_with("FAULTY  versions: the driver runs CUDA 12.4, the libraries are for CUDA 13\n"),
            "{text}"
        );
    }
}
