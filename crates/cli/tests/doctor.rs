//! `yolo11 doctor`, and what every command says where a CUDA device is asked for that cannot be used. NVIDIA's real wheels, and stand-ins
//! for its libraries in every state: they are found through the environment, so none of this needs a GPU.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use yolo11_test_servers::{python, run_python};

/// A driver that answers as NVIDIA's does; the version of CUDA, its devices and what its start gives are given on the compiler's line.
const DRIVER: &str = r#"
#include <stdio.h>
#include <string.h>
int cuInit(unsigned flags) { return START; }
int cuGetErrorString(int code, const char **text) { *text = code == 100 ? "no CUDA-capable device is detected" : 0; return *text ? 0 : 1; }
int cuDriverGetVersion(int *version) { *version = CUDA; return 0; }
int cuDeviceGetCount(int *count) { *count = DEVICES; return 0; }
int cuDeviceGet(int *device, int number) { *device = 40 + number; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Stand-in %d", device - 40); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 80000000000u + (size_t)(device - 40); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : attribute == 76 ? device - 40 : -1; return 0; }
"#;

/// A folder with libraries that stand in for NVIDIA's.
struct Stage(tempfile::TempDir);

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage(tempfile::tempdir().unwrap());
        fs::create_dir_all(stage.path("nvidia")).unwrap();
        fs::create_dir_all(stage.path("work")).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn compile(&self, name: &str, code: &str, options: &[&str]) {
        let source = self.path("source.c");
        fs::write(&source, code).unwrap();
        let library = self.path("nvidia").join(name);
        let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).args(options).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn driver(&self, start: i32, cuda: i32, devices: i32) {
        let given = [format!("-DSTART={start}"), format!("-DCUDA={cuda}"), format!("-DDEVICES={devices}")];
        self.compile("libcuda.so.1", DRIVER, &given.each_ref().map(String::as_str));
    }

    /// The program, with nothing of this machine's Python environments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
        command.args(arguments).current_dir(self.path("work")).env("LD_LIBRARY_PATH", self.path("nvidia"));
        command.env("PATH", "/nothing").env("HOME", self.path("home")).env("NO_COLOR", "1");
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX", "YOLO11_PYTHON", "ORT_DYLIB_PATH", "YOLO11_FFMPEG"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    fn doctor(&self) -> Value {
        let ran = self.run(&["doctor", "--json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id}: {report:#}"))
}

/// Whether this machine has a driver of its own, which the tests of a missing one cannot hide.
fn has_driver() -> bool {
    let there =
        Path::new("/proc/driver/nvidia").exists() || Path::new("/usr/lib/x86_64-linux-gnu/libcuda.so.1").exists();
    if there {
        eprintln!("skipped: this machine has an NVIDIA driver");
    }
    there
}

#[test]
fn a_machine_without_nvidia_is_well_and_told_what_would_be_missing() {
    if has_driver() {
        return;
    }
    let stage = Stage::new();
    let report = stage.doctor();
    assert_eq!((&report["schema"], &report["healthy"]), (&Value::from(1), &Value::from(true)));
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let driver = finding(&report, "nvidia.driver");
    assert_eq!((&driver["verdict"], &driver["needed"]), (&Value::from("absent"), &Value::from(false)));
    assert!(driver["detail"].as_str().unwrap().starts_with("none (libcuda.so.1 was not found)"), "{driver}");
    for (id, file, wheel) in [
        ("cudart", "libcudart.so.13 or libcudart.so.12", "nvidia-cuda-runtime-cu12"),
        ("nvrtc", "libnvrtc.so.13 or libnvrtc.so.12", "nvidia-cuda-nvrtc-cu12"),
        ("cublaslt", "libcublasLt.so.13 or libcublasLt.so.12", "nvidia-cublas-cu12"),
        ("cudnn", "libcudnn.so.9", "nvidia-cudnn-cu12"),
        ("nccl", "libnccl.so.2", "nvidia-nccl-cu12"),
    ] {
        let library = finding(&report, &format!("nvidia.{id}"));
        assert_eq!(library["verdict"], "absent");
        assert_eq!(library["detail"], format!("{file} was not found"));
        let fix = format!("python3 -m venv .venv && . .venv/bin/activate && pip install {wheel}");
        assert_eq!(library["fix"], fix);
    }
    for (id, verdict) in [("compute.device", "well"), ("programs.ffmpeg", "absent"), ("programs.git", "absent")] {
        assert_eq!(finding(&report, id)["verdict"], verdict, "{id}");
    }
    let facts = &finding(&report, "compute.processor")["facts"];
    assert!(facts["cores"].as_u64().unwrap() >= 1 && facts["threads"].as_u64().unwrap() >= 1, "{facts}");
    assert!(["avx512", "avx2", "portable"].contains(&facts["instructions"].as_str().unwrap()), "{facts}");
    let memory = &finding(&report, "compute.memory")["facts"];
    assert!(memory["free_bytes"].as_u64().unwrap() <= memory["total_bytes"].as_u64().unwrap(), "{memory}");
    let work = finding(&report, "disk.folder");
    assert_eq!(work["facts"]["path"], stage.path("work").canonicalize().unwrap().display().to_string());
    // It only looks.
    assert_eq!(fs::read_dir(stage.path("work")).unwrap().count(), 0);

    let page = stage.run(&["doctor"]).stdout;
    assert!(page.starts_with(&format!("yolo11 {} (", env!("CARGO_PKG_VERSION"))), "{page}");
    assert!(page.contains("\nwell    device: auto: the CPU computes\n"), "{page}");
    assert!(page.contains("\nNVIDIA: this version has no CUDA engine and computes on the CPU; "), "{page}");
    assert!(
        page.contains("\nabsent  cuDNN: libcudnn.so.9 was not found\n        for: convolutions\n        fix: "),
        "{page}"
    );
}

#[test]
fn every_state_of_a_library_is_told_with_its_place() {
    let stage = Stage::new();
    let place = |name: &str| stage.path("nvidia").join(name).display().to_string();
    // Text, a library of another program, one without its parts, one that refuses, one that answers.
    fs::write(stage.path("nvidia/libnvrtc.so.13"), "a text of more letters than a library's header has: 0123456789")
        .unwrap();
    stage.compile("libcublasLt.so.13", "int other(void) { return 1; }", &[]);
    stage.compile("libcudnn.so.9", "unsigned long cudnnGetVersion(void) { return 91002; }", &[]);
    stage.compile("libnccl.so.2", "int ncclGetVersion(int *v) { *v = 22703; return 3; }", &[]);
    stage.compile("libcudart.so.12", "int cudaRuntimeGetVersion(int *v) { *v = 12080; return 0; }", &[]);
    let report = stage.doctor();
    let detail = |id: &str| finding(&report, id)["detail"].as_str().unwrap().to_owned();
    let broken = |name: &str| format!("found but cannot be loaded: {}: ", place(name));
    let text = detail("nvidia.nvrtc");
    assert!(text.starts_with(&broken("libnvrtc.so.13")) && text.len() > broken("libnvrtc.so.13").len() + 5, "{text}");
    assert_eq!(finding(&report, "nvidia.nvrtc")["verdict"], "faulty");
    assert_eq!(
        detail("nvidia.cublaslt"),
        broken("libcublasLt.so.13") + "it has no function cublasLtGetVersion: it is something else of that name"
    );
    assert_eq!(detail("nvidia.cudnn"), broken("libcudnn.so.9") + "its part libcudnn_graph.so.9 does not lie beside it");
    assert_eq!(detail("nvidia.nccl"), broken("libnccl.so.2") + "ncclGetVersion failed with code 3");
    assert_eq!(detail("nvidia.cudart"), format!("12.8, {}", place("libcudart.so.12")));
    // None of these is needed today.
    assert_eq!(report["healthy"], true);

    // With its parts it answers, and a part that is broken is named.
    for part in ["graph", "ops", "cnn", "engines_precompiled", "engines_runtime_compiled", "heuristic"] {
        stage.compile(&format!("libcudnn_{part}.so.9"), "int part(void) { return 0; }", &[]);
    }
    let report = stage.doctor();
    let cudnn = finding(&report, "nvidia.cudnn");
    assert_eq!((&cudnn["verdict"], &cudnn["facts"]["version"]), (&Value::from("well"), &Value::from("9.10.2")));
    if !has_driver() {
        // As in NVIDIA's wheels for CUDA 12: one part is linked with the driver.
        stage.compile("libcuda.so.1", "int cuInit(unsigned flags) { return flags; }", &["-Wl,-soname,libcuda.so.1"]);
        let driver = place("libcuda.so.1");
        let code = "int cuInit(unsigned); int part(void) { return cuInit(0); }";
        stage.compile("libcudnn_engines_runtime_compiled.so.9", code, &["-Wl,--no-as-needed", &driver]);
        fs::remove_file(driver).unwrap();
        let report = stage.doctor();
        let cudnn = finding(&report, "nvidia.cudnn");
        assert_eq!(cudnn["verdict"], "well");
        let said =
            format!("9.10.2, {} (libcudnn_engines_runtime_compiled.so.9 needs the driver)", place("libcudnn.so.9"));
        assert_eq!(cudnn["detail"], said);
    }
    fs::write(stage.path("nvidia/libcudnn_cnn.so.9"), "").unwrap();
    let report = stage.doctor();
    let text = finding(&report, "nvidia.cudnn")["detail"].as_str().unwrap();
    assert!(text.starts_with(&broken("libcudnn_cnn.so.9")), "{text}");

    // A sound one elsewhere is taken instead of a broken one.
    let wheel = stage.path("env/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib");
    fs::create_dir_all(&wheel).unwrap();
    stage.compile("sound.so", "int nvrtcVersion(int *a, int *b) { *a = 12; *b = 4; return 0; }", &[]);
    fs::rename(stage.path("nvidia/sound.so"), wheel.join("libnvrtc.so.12")).unwrap();
    let ran = ran(stage.command(&["doctor", "--json"]).env("VIRTUAL_ENV", stage.path("env")));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(finding(&report, "nvidia.nvrtc")["detail"], format!("12.4, {}", wheel.join("libnvrtc.so.12").display()));
    assert_eq!(finding(&report, "nvidia.nccl")["fix"], "pip install nvidia-nccl-cu12");
}

#[test]
fn a_driver_and_its_devices_are_told_by_the_driver_itself() {
    let stage = Stage::new();
    stage.driver(0, 12040, 2);
    let report = stage.doctor();
    let driver = finding(&report, "nvidia.driver");
    let facts = &driver["facts"];
    assert_eq!((&driver["verdict"], &facts["cuda"]), (&Value::from("well"), &Value::from("12.4")));
    let said = "runs CUDA 12.4; devices: 2 (0: Stand-in 0, 80.0 GB, compute capability 9.0; 1: Stand-in 1, 80.0 GB, compute capability 9.1)";
    assert!(driver["detail"].as_str().unwrap().ends_with(said), "{driver}");
    assert_eq!(facts["devices"][1]["memory_bytes"], 80_000_000_001u64);
    assert_eq!(facts["devices"][1]["compute_capability"], "9.1");

    // Libraries for a newer CUDA than the driver runs.
    stage.compile("libcudart.so.13", "int cudaRuntimeGetVersion(int *v) { *v = 13020; return 0; }", &[]);
    let report = stage.doctor();
    let detail = "the driver runs CUDA 12.4, the libraries are for CUDA 13";
    assert_eq!(finding(&report, "nvidia.versions")["detail"], detail);

    // The engine cannot use them: that is said with the devices that are there.
    let ran = stage.run(&["doctor", "device=0,1"]);
    let said = "device=cuda:0,1 asks for 2 CUDA devices; this version of yolo11 has no CUDA engine, and this machine has 2 (0: Stand-in 0, 1: Stand-in 1)";
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.starts_with(&format!("error: {said}\nhint: give device=cpu")), "{}", ran.stderr);
    assert!(ran.stdout.contains(&format!("\nFAULTY  device: {said}\n")), "{}", ran.stdout);

    for (start, why) in
        [(100, "it answers with code 100 (no CUDA-capable device is detected)"), (804, "it answers with code 804")]
    {
        stage.driver(start, 12040, 0);
        let report = stage.doctor();
        let driver = finding(&report, "nvidia.driver");
        assert_eq!(driver["verdict"], "faulty");
        let place = stage.path("nvidia/libcuda.so.1").display().to_string();
        assert_eq!(driver["detail"], format!("{place} finds no device: {why}"));
    }
    stage.compile("libcuda.so.1", "int nothing(void) { return 0; }", &[]);
    let detail = finding(&stage.doctor(), "nvidia.driver")["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("it has no function cuInit: it is something else of that name"), "{detail}");
}

/// Versions that the wheels of an environment tell of themselves, by the start of their names.
const WHEELS: &str = "
import importlib.metadata, json
print(json.dumps({d.metadata['Name'].replace('_', '-').lower(): d.version for d in importlib.metadata.distributions() if d.metadata['Name'].lower().startswith('nvidia')}))
";

#[test]
fn the_real_libraries_of_nvidia_s_wheels_tell_the_versions_of_the_wheels() {
    let Some(python) = python() else { return };
    let wheels = run_python(&python, WHEELS, &[], &[]);
    let wheels = wheels.as_object().unwrap();
    let stage = Stage::new();
    let environment = python.parent().unwrap().parent().unwrap();
    let ran = ran(stage.command(&["doctor", "--json"]).env("VIRTUAL_ENV", environment));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut seen = 0;
    for (id, wheel) in [
        ("cudart", "nvidia-cuda-runtime"),
        ("nvrtc", "nvidia-cuda-nvrtc"),
        ("cublaslt", "nvidia-cublas"),
        ("cudnn", "nvidia-cudnn"),
        ("nccl", "nvidia-nccl"),
    ] {
        let named = wheels
            .iter()
            .find(|(name, _)| name.strip_suffix("-cu12").or(name.strip_suffix("-cu13")).unwrap_or(name) == wheel);
        let Some((_, version)) = named else { continue };
        let finding = finding(&report, &format!("nvidia.{id}"));
        assert_eq!(finding["verdict"], "well", "{finding}");
        let (told, version) = (finding["facts"]["version"].as_str().unwrap(), version.as_str().unwrap());
        // The runtime and NVRTC tell two numbers, the others three; wheels count builds behind them.
        assert!(format!("{version}.").starts_with(&format!("{told}.")), "{id}: {told}, wheel {version}");
        let path = Path::new(finding["facts"]["path"].as_str().unwrap());
        assert!(path.starts_with(environment.join("lib")), "{}", path.display());
        seen += 1;
    }
    if seen == 0 {
        eprintln!("skipped: the Python of YOLO11_PYTHON has none of NVIDIA's wheels");
    }
}

/// Pictures and weights for the commands that need some.
fn with_model(stage: &Stage) {
    let ran = stage.run(&[
        "train",
        "data=demo",
        "epochs=1",
        "fraction=0.05",
        "imgsz=32",
        "batch=2",
        "plots=false",
        "tracking=off",
        "workers=1",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn every_command_and_spelling_says_that_a_device_is_missing_and_never_falls_back_in_silence() {
    if has_driver() {
        return;
    }
    let stage = Stage::new();
    with_model(&stage);
    let model = "model=runs/train/weights/last.pt";
    let exported = stage.run(&["export", model]);
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    let small = ["imgsz=32", "batch=1", "tracking=off", "plots=false"];
    let commands: [(&str, Vec<&str>); 8] = [
        ("train", vec!["train", "data=demo", "epochs=1", "fraction=0.05", "workers=1"]),
        ("val", vec!["val", model, "data=demo"]),
        ("predict", vec!["predict", model, "source=data/demo/images/val"]),
        ("export", vec!["export", model]),
        ("benchmark train", vec!["benchmark", "train", "--repeats", "1"]),
        ("benchmark infer", vec!["benchmark", "infer", "--repeats", "1"]),
        ("benchmark formats", vec!["benchmark", model, "formats=pt", "--repeats", "1"]),
        ("doctor", vec!["doctor"]),
    ];
    let driver = "this machine has 0 of them: no NVIDIA driver (libcuda.so.1 was not found)";
    let hint =
        "hint: give device=cpu, or strict_device=false to go on with the CPU; `yolo11 doctor` lists what there is\n";
    let before = fs::read_dir(stage.path("work/runs")).unwrap().count();
    for (name, words) in &commands {
        for (spelling, shown, count) in [
            ("cuda", "cuda:0", "1 CUDA device"),
            ("cuda:0", "cuda:0", "1 CUDA device"),
            ("0", "cuda:0", "1 CUDA device"),
            ("0,1", "cuda:0,1", "2 CUDA devices"),
            ("cuda:0,1", "cuda:0,1", "2 CUDA devices"),
        ] {
            let device = format!("device={spelling}");
            let ran = stage.run(&[words.as_slice(), &small, &[&device]].concat());
            assert_eq!(ran.code, Some(3), "{name} {device}: {}", ran.stderr);
            let said = format!(
                "error: device={shown} asks for {count}; this version of yolo11 has no CUDA engine, and {driver}\n{hint}"
            );
            assert!(ran.stderr.ends_with(&said), "{name} {device}: {}", ran.stderr);
        }
    }
    // Nothing was begun.
    assert_eq!(fs::read_dir(stage.path("work/runs")).unwrap().count(), before);

    // A settings file, which other machines use too, goes on with the CPU and says so, unless it is strict.
    let warning = format!(
        "warning: device=cuda:0 asks for 1 CUDA device; this version of yolo11 has no CUDA engine, and {driver}; computing on the CPU\n"
    );
    fs::write(stage.path("work/gpu.yaml"), "training: {device: cuda}\n").unwrap();
    for (name, words) in commands.iter().filter(|(name, _)| *name != "doctor") {
        let at = words.iter().take_while(|word| !word.contains('=') && !word.starts_with('-')).count();
        let words = [&words[..at], &["gpu.yaml"], &words[at..], &small].concat();
        let ran = stage.run(&words);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches(&warning).count(), 1, "{name}: {}", ran.stderr);
        let ran = stage.run(&[words.as_slice(), &["strict_device=true"]].concat());
        assert_eq!(ran.code, Some(3), "{name}: {}", ran.stderr);
    }
    let ran = stage.run(&["doctor", "config=gpu.yaml"]);
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stdout.contains(
            "\n        fix: device=cpu; as they are, these settings (strict_device=false) warn and go on with the CPU\n"
        ),
        "{}",
        ran.stdout
    );
    let log = fs::read_to_string(stage.path("work/logs/training.log")).unwrap();
    assert!(log.contains("device=cuda:0 asks for 1 CUDA device"), "{log}");

    // An ONNX file could be run on a GPU by ONNX Runtime: what is missing is another thing each time.
    let onnx = ["predict", "model=runs/train/weights/last.onnx", "source=data/demo/images/val", "device=cuda"];
    for (more, why) in [
        (&["backend=rust"][..], "backend=rust computes on the CPU only"),
        (&["backend=onnxruntime"], "ONNX Runtime needs one"),
        (
            &["backend=onnxruntime", "device=1"],
            "ONNX Runtime is given device 0 only (CUDA_VISIBLE_DEVICES chooses which that is)",
        ),
    ] {
        let ran = stage.run(&[&onnx, more].concat());
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("asks for 1 CUDA device; {why}, and {driver}\n")), "{}", ran.stderr);
    }
    // What is wrong on the command line stays wrong usage.
    let ran = stage.run(&["val", model, "data=demo", "device=tpu"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
}

#[test]
fn what_is_needed_and_at_fault_ends_with_1() {
    let stage = Stage::new();
    fs::write(stage.path("work/file"), "").unwrap();
    let ran = stage.run(&["doctor", "project=file/runs"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "error: faults found: 1\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nFAULTY  folder of the runs: "), "{}", ran.stdout);
    let ran = stage.run(&["doctor", "onnxruntime=nowhere.so"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nFAULTY  ONNX Runtime: ONNX Runtime cannot be loaded: "), "{}", ran.stdout);
    let ran = stage.run(&["doctor", "nonsense=1"]);
    assert_eq!(ran.code, Some(3));
}
