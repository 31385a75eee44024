//! The command `doctor`: what this machine has of what the program can use, what is missing and how to get it.

mod nvidia;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use yolo11_config::{Device, Settings};
use yolo11_inference::onnxruntime;
use yolo11_machine::{Finding, Verdict, system};

use crate::compute::{Work, device_note};
use crate::{Error, video};

/// Version of the form of [`Report::to_json`].
const SCHEMA: u32 = 1;
/// Open files that the loader, transfers and the server get along with.
const OPEN_FILES: u64 = 256;
/// Free space below which a training may not end: the weights of the largest network several times over.
const FREE_SPACE: u64 = 2_000_000_000;

/// The groups in their order, with their headings.
const GROUPS: [(&str, &str); 4] = [
    ("compute", "Computing"),
    (
        "nvidia",
        "NVIDIA: this version has no CUDA engine and computes on the CPU; ONNX Runtime can use a GPU in `val` and `predict`",
    ),
    ("programs", "Programs and libraries beside this one"),
    ("disk", "Disk"),
];

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Group and name, such as `nvidia.cudnn`; never changes.
    pub id: String,
    /// Whether something that was asked for cannot be done where this is at fault.
    pub needed: bool,
    /// How it is.
    pub finding: Finding,
}

impl Item {
    /// What the program cannot do without.
    fn needed(id: &str, finding: Finding) -> Item {
        Item { id: id.to_owned(), needed: true, finding }
    }

    /// What it can do without.
    pub fn optional(id: &str, finding: Finding) -> Item {
        Item { id: id.to_owned(), needed: false, finding }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// In the order of the page, but for what a caller adds.
    pub items: Vec<Item>,
    /// Why the device that the settings ask for cannot be used.
    pub device: Option<Error>,
}

impl Report {
    /// How many faults keep the program from what was asked for.
    pub fn faults(&self) -> usize {
        self.items.iter().filter(|item| item.needed && item.finding.is_fault()).count()
    }

    /// The page for people: groups of findings under their headings.
    pub fn page(&self, version: &str) -> String {
        let mut text = format!("yolo11 {version} ({}, {})\n", std::env::consts::ARCH, std::env::consts::OS);
        for (group, heading) in GROUPS {
            text += &format!("\n{heading}\n");
            for item in self.items.iter().filter(|item| item.id.split('.').next() == Some(group)) {
                text += &item.finding.to_string();
            }
        }
        text
    }

    /// The same for programs.
    pub fn to_json(&self, version: &str) -> Value {
        let item = |item: &Item| {
            let mut value = item.finding.to_json();
            (value["id"], value["needed"]) = (json!(item.id), json!(item.needed));
            value
        };
        json!({
            "schema": SCHEMA,
            "version": version,
            "architecture": std::env::consts::ARCH,
            "system": std::env::consts::OS,
            "healthy": self.faults() == 0,
            "findings": self.items.iter().map(item).collect::<Vec<_>>(),
        })
    }
}

/// Looks at this machine as a run with these settings would find it. Nothing is written.
pub fn examine(settings: &Settings) -> Report {
    let (device_finding, device) = device(settings);
    let mut items = vec![
        Item::needed("compute.device", device_finding),
        Item::optional("compute.processor", processor(settings)),
        Item::optional("compute.memory", memory()),
    ];
    items.extend(limits().map(|limits| Item::optional("compute.limits", limits)));
    items.push(Item::optional("compute.open_files", open_files()));
    items.extend(nvidia::items());
    items.push(ffmpeg());
    items.push(onnx_runtime(settings));
    items.push(Item::optional("programs.git", git()));
    items.push(Item::needed("disk.folder", folder("working folder", Path::new("."))));
    items.push(Item::needed("disk.runs", folder("folder of the runs", &settings.project)));
    Report { items, device }
}

fn device(settings: &Settings) -> (Finding, Option<Error>) {
    let asked = settings.device.to_string();
    let mut strict = settings.clone();
    strict.strict_device = true;
    let (finding, error) = match device_note(&strict, Work::Model) {
        Ok(_) if matches!(settings.device, Device::Cuda(_)) => {
            (Finding::well("device", format!("{asked}, by ONNX Runtime")), None)
        }
        Ok(_) => (Finding::well("device", format!("{asked}: the CPU computes")), None),
        Err(error) => {
            let mut finding = Finding::error("device", &error);
            if let (false, Verdict::Faulty { fix, .. }) = (settings.strict_device, &mut finding.verdict) {
                *fix =
                    "device=cpu; as they are, these settings (strict_device=false) warn and go on with the CPU".into();
            }
            (finding, Some(error))
        }
    };
    (finding.with("asked", asked).serving("what the settings ask to compute on"), error)
}

fn processor(settings: &Settings) -> Finding {
    let (threads, instructions) = (settings.threads, yolo11_engine::instructions());
    let name = system::processor();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = system::machine_threads().filter(|machine| *machine != cores);
    let of = machine.map_or_else(String::new, |machine| format!(" of {machine}"));
    let shown = name.as_deref().unwrap_or("unnamed");
    let detail = format!("{shown}, {cores}{of} cores for this process, {instructions} code, {threads} threads compute");
    Finding::well("processor", detail)
        .with("model", name)
        .with("cores", cores)
        .with("machine_cores", system::machine_threads())
        .with("instructions", instructions)
        .with("threads", threads)
}

fn memory() -> Finding {
    let (free, total) = (system::free_memory(), system::total_memory());
    let detail = match (free, total) {
        (Some(free), Some(total)) => format!("{} free of {}", gigabytes(free), gigabytes(total)),
        _ => "the system does not tell".to_owned(),
    };
    Finding::well("memory", detail).with("free_bytes", free).with("total_bytes", total)
}

/// What a container allows, where anything binds.
fn limits() -> Option<Finding> {
    let limits = system::limits();
    if limits.memory.is_none() && limits.cores.is_none() {
        return None;
    }
    let memory = limits.memory.map(|bytes| match limits.memory_left {
        Some(left) => format!("{} of memory, {} left", gigabytes(bytes), gigabytes(left)),
        None => format!("{} of memory", gigabytes(bytes)),
    });
    let cores = limits.cores.map(|cores| format!("the time of {cores:.1} cores"));
    let detail = memory.into_iter().chain(cores).collect::<Vec<_>>().join("; ");
    Some(
        Finding::well("limits of the container", detail)
            .with("memory_bytes", limits.memory)
            .with("memory_left_bytes", limits.memory_left)
            .with("cores", limits.cores),
    )
}

fn open_files() -> Finding {
    let limit = system::open_files();
    let finding = match limit {
        None => Finding::well("open files", "no limit"),
        Some(limit) if limit >= OPEN_FILES => Finding::well("open files", format!("up to {limit} at a time")),
        Some(limit) => {
            Finding::faulty("open files", format!("only {limit} at a time"), "`ulimit -n 1024` in this shell")
        }
    };
    finding.serving("loading with many workers, transfers of versioned data, the tracking server").with("limit", limit)
}

fn ffmpeg() -> Item {
    let named = std::env::var_os("YOLO11_FFMPEG").is_some_and(|named| !named.is_empty());
    let finding = match video::ffmpeg_version() {
        Ok(version) => Finding::well("ffmpeg", &version).with("version", version),
        Err(error) if named => Finding::error("ffmpeg", &error),
        Err(error) => absent("ffmpeg", &error),
    };
    Item {
        id: "programs.ffmpeg".to_owned(),
        needed: named,
        finding: finding.serving("videos, cameras and streams in `predict`"),
    }
}

fn onnx_runtime(settings: &Settings) -> Item {
    let given = settings.onnxruntime.as_deref();
    let named = given.is_some() || std::env::var_os("ORT_DYLIB_PATH").is_some_and(|named| !named.is_empty());
    let finding = match onnxruntime(given) {
        Ok((path, version)) => Finding::well("ONNX Runtime", format!("{version}, {}", path.display()))
            .with("version", version)
            .with("path", path.display().to_string()),
        Err(error) if named => Finding::error("ONNX Runtime", &error),
        Err(error) => absent("ONNX Runtime", &error),
    };
    let finding = finding.serving("running .onnx files faster than the reader in Rust does");
    Item { id: "programs.onnxruntime".to_owned(), needed: named, finding }
}

/// From an error that is no fault here.
fn absent(subject: &str, error: &impl std::fmt::Display) -> Finding {
    let text = error.to_string();
    match text.split_once("\nhint: ") {
        Some((detail, fix)) => Finding::missing(subject, detail, fix),
        None => Finding::absent(subject, text),
    }
}

fn git() -> Finding {
    let output = Command::new("git").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let finding = match said.trim().strip_prefix("git version ") {
        Some(version) => Finding::well("git", version).with("version", version),
        None => Finding::missing("git", "not installed", "install it (apt install git, brew install git)"),
    };
    finding.serving("data from other repositories and revisions (`data=REPOSITORY@REVISION:PATH`, `yolo11 data get`)")
}

fn folder(subject: &str, folder: &Path) -> Finding {
    let place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let place = place.display();
    if let Err(error) = system::can_write(folder) {
        let fix = "make it writable, or choose another with project=FOLDER";
        return Finding::faulty(subject, format!("{place}: cannot be written: {error}"), fix)
            .with("path", place.to_string());
    }
    let disk = system::disk(folder);
    let finding = match disk {
        None => Finding::well(subject, format!("{place}, writable")),
        Some(disk) if disk.free < FREE_SPACE => {
            let detail = format!("{place}: {} free", gigabytes(disk.free));
            Finding::faulty(subject, detail, "free some space there, or choose another folder with project=FOLDER")
        }
        Some(disk) => Finding::well(
            subject,
            format!("{place}, writable, {} free of {}", gigabytes(disk.free), gigabytes(disk.total)),
        ),
    };
    finding
        .serving("checkpoints, results and copies of data")
        .with("path", place.to_string())
        .with("free_bytes", disk.map(|disk| disk.free))
        .with("total_bytes", disk.map(|disk| disk.total))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}
