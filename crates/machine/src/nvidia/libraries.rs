//! The libraries that programs for NVIDIA's GPUs load, and the versions they tell. All of them answer without a GPU.

use std::ffi::c_int;
use std::path::PathBuf;

use libloading::Library as Handle;

use super::load::{Failure, Loaded, first, from_folder};
use super::{Version, driver};

/// One of the libraries.
#[derive(Debug)]
pub struct Kind {
    /// A word for programs.
    pub id: &'static str,
    /// NVIDIA's name for it.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Its file, newest version first.
    pub files: &'static [&'static str],
    /// Files that belong to it and lie beside it.
    pub parts: &'static [&'static str],
    /// The wheels on PyPI that bring it for CUDA 12 and 13.
    pub wheels: [&'static str; 2],
    ask: Ask,
}

/// How a library tells its version.
#[derive(Debug)]
enum Ask {
    /// One number, by value; how much the major and the minor version count in it.
    Value(&'static str, [usize; 2]),
    /// One number, written to an address.
    Number(&'static str, [usize; 2]),
    /// Two numbers, written to addresses.
    Pair(&'static str),
}

/// Every library that is looked for.
static KINDS: [Kind; 5] = [
    Kind {
        id: "cudart",
        name: "CUDA runtime",
        purpose: "memory and work on the GPU",
        files: &["libcudart.so.13", "libcudart.so.12"],
        parts: &[],
        wheels: ["nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime"],
        ask: Ask::Number("cudaRuntimeGetVersion", [1000, 10]),
    },
    Kind {
        id: "nvrtc",
        name: "NVRTC",
        purpose: "compiles kernels for the GPU that is there",
        files: &["libnvrtc.so.13", "libnvrtc.so.12"],
        parts: &[],
        wheels: ["nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc"],
        ask: Ask::Pair("nvrtcVersion"),
    },
    Kind {
        id: "cublaslt",
        name: "cuBLASLt",
        purpose: "matrix products",
        files: &["libcublasLt.so.13", "libcublasLt.so.12"],
        parts: &[],
        wheels: ["nvidia-cublas-cu12", "nvidia-cublas"],
        ask: Ask::Value("cublasLtGetVersion", [10_000, 100]),
    },
    Kind {
        id: "cudnn",
        name: "cuDNN",
        purpose: "convolutions",
        files: &["libcudnn.so.9"],
        parts: &[
            "libcudnn_graph.so.9",
            "libcudnn_ops.so.9",
            "libcudnn_cnn.so.9",
            "libcudnn_engines_precompiled.so.9",
            "libcudnn_engines_runtime_compiled.so.9",
            "libcudnn_heuristic.so.9",
        ],
        wheels: ["nvidia-cudnn-cu12", "nvidia-cudnn-cu13"],
        ask: Ask::Value("cudnnGetVersion", [10_000, 100]),
    },
    Kind {
        id: "nccl",
        name: "NCCL",
        purpose: "sums between several GPUs",
        files: &["libnccl.so.2"],
        parts: &[],
        wheels: ["nvidia-nccl-cu12", "nvidia-nccl-cu13"],
        ask: Ask::Number("ncclGetVersion", [10_000, 100]),
    },
];

/// A library as it is on this machine.
#[derive(Debug)]
pub struct Library {
    /// Which one.
    pub kind: &'static Kind,
    /// How it is.
    pub state: State,
}

/// How a library is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was loaded, with its parts.
    Loaded {
        /// Its file.
        path: PathBuf,
        /// The version that it told.
        version: Version,
        /// The major version of CUDA that it is for, where its own version or its file's name tells.
        cuda: Option<u32>,
        /// A part of it that can be loaded only where the driver is, which is missing.
        awaits_driver: Option<&'static str>,
    },
    /// It was found and cannot be used.
    Unloadable {
        /// The file that failed: its own or a part's.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// It was not found.
    Missing,
}

/// Looks for every library, loads it and asks its version. They stay loaded until the process ends.
pub fn libraries() -> Vec<Library> {
    KINDS.iter().map(|kind| Library { kind, state: state(kind) }).collect()
}

fn state(kind: &'static Kind) -> State {
    let loaded = match first(kind.files) {
        Ok(loaded) => loaded,
        Err(Failure::Missing) => return State::Missing,
        Err(Failure::Unloadable { path, reason }) => return State::Unloadable { path, reason },
    };
    let version = match version(&kind.ask, &loaded) {
        Ok(version) => version,
        Err(reason) => return State::Unloadable { path: loaded.path, reason },
    };
    // Parts lie where the file itself does, which may have been found by a link to it.
    let real = loaded.path.canonicalize().unwrap_or_else(|_| loaded.path.clone());
    let folders = [loaded.path.parent(), real.parent()];
    let mut awaits_driver = None;
    for part in kind.parts {
        let found = folders.into_iter().flatten().find_map(|folder| match from_folder(folder, part) {
            Err(Failure::Missing) => None,
            found => Some(found),
        });
        match found {
            Some(Ok(_)) => {}
            // Some parts are linked with the driver: without one they cannot be loaded, and nothing is wrong with them.
            Some(Err(Failure::Unloadable { reason, .. })) if reason.starts_with(&format!("{}: ", driver::FILE)) => {
                awaits_driver = Some(*part);
            }
            Some(Err(Failure::Unloadable { path, reason })) => return State::Unloadable { path, reason },
            Some(Err(Failure::Missing)) | None => {
                let reason = format!("its part {part} does not lie beside it");
                return State::Unloadable { path: loaded.path, reason };
            }
        }
    }
    let file = loaded.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_numbered = kind.files.len() > 1;
    let named = kind.files.iter().find(|name| file.starts_with(**name)).and_then(|name| name.rsplit('.').next());
    let cuda = if is_numbered { named.and_then(|major| major.parse().ok()).or(Some(version.major)) } else { None };
    State::Loaded { path: loaded.path, version, cuda, awaits_driver }
}

fn version(ask: &Ask, loaded: &Loaded) -> Result<Version, String> {
    let cut = |number: usize, [major, minor]: [usize; 2]| Version {
        major: (number / major) as u32,
        minor: (number % major / minor) as u32,
        patch: (minor == 100).then_some((number % minor) as u32),
    };
    match ask {
        Ask::Value(name, scale) => {
            // SAFETY: NVIDIA's headers declare `size_t name(void)`; it returns a constant.
            let number = unsafe { symbol::<unsafe extern "C" fn() -> usize>(loaded.library, name)?() };
            Ok(cut(number, *scale))
        }
        Ask::Number(name, scale) => {
            let mut number: c_int = 0;
            // SAFETY: NVIDIA's headers declare an enum, which C passes as an int, and `int *`, valid here; a constant is written there.
            let code =
                unsafe { symbol::<unsafe extern "C" fn(*mut c_int) -> c_int>(loaded.library, name)?(&mut number) };
            answered(name, code)?;
            Ok(cut(usize::try_from(number).unwrap_or(0), *scale))
        }
        Ask::Pair(name) => {
            let (mut major, mut minor): (c_int, c_int) = (0, 0);
            // SAFETY: as above, with two addresses.
            let code = unsafe {
                symbol::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(loaded.library, name)?(
                    &mut major, &mut minor,
                )
            };
            answered(name, code)?;
            let number = |value: c_int| u32::try_from(value).unwrap_or(0);
            Ok(Version { major: number(major), minor: number(minor), patch: None })
        }
    }
}

/// A function of a library.
///
/// # Safety
/// `F` must be the type that the library's header gives to this name.
pub(super) unsafe fn symbol<F: Copy>(library: &Handle, name: &str) -> Result<F, String> {
    // SAFETY: the caller's promise. The function outlives the handle, which is never closed.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|symbol| *symbol).map_err(|_| format!("it has no function {name}: it is something else of that name"))
}

fn answered(name: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{name} failed with code {code}")) }
}
