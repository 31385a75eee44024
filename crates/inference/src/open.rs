//! From a file to what runs it.

use std::path::{Path, PathBuf};

use crate::native::Native;
use crate::onnx::{Onnx, file};
use crate::onnxruntime::OnnxRuntime;
use crate::rust::{self, Rust};
use crate::{Backend, Error, ModelInfo};

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// Checkpoints by this program's engine, ONNX files by ONNX Runtime where it is installed and by the reader in Rust elsewhere.
    #[default]
    Auto,
    /// This program's engine.
    Native,
    /// ONNX Runtime, loaded when it is needed.
    OnnxRuntime,
    /// A reader of ONNX files in pure Rust.
    Rust,
}

/// How a model is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// What runs it.
    pub backend: BackendKind,
    /// Threads of runtimes that bring their own; the engine runs on those of the rayon pool it is called in.
    pub threads: usize,
    /// Pictures that are run together most of the time.
    pub batch: usize,
    /// ONNX Runtime's library, a folder with it, or a Python environment; looked for where absent.
    pub library: Option<PathBuf>,
    /// Execution providers of ONNX Runtime in the order in which they are tried; the CPU where empty.
    pub providers: Vec<String>,
}

impl Default for OpenOptions {
    /// Whatever suits the file, on all cores, a picture at a time.
    fn default() -> Self {
        OpenOptions {
            backend: BackendKind::Auto,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            batch: 1,
            library: None,
            providers: Vec::new(),
        }
    }
}

/// Endings of the files that [`open`] takes.
pub const ENDINGS: [&str; 4] = ["pt", "pth", "safetensors", "onnx"];

/// Opens a `.pt`, `.safetensors` or `.onnx` file.
///
/// # Errors
/// The file cannot be read or is no detector of this kind, or the back end does not run such files or is not installed.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Backend>, Error> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if ending == "onnx" {
        return open_onnx(path, options);
    }
    match options.backend {
        BackendKind::Auto | BackendKind::Native => {
            let checkpoint = yolo11_checkpoint::load(path)?;
            Ok(Box::new(Native::of_checkpoint(checkpoint, path, options.batch)))
        }
        BackendKind::OnnxRuntime | BackendKind::Rust => Err(Error::Setup {
            message: format!("{}: this back end runs .onnx files", path.display()),
            hint: "write one with `yolo11 export`, or leave backend out".into(),
        }),
    }
}

/// What an ONNX file says about itself, after it was found whole and cut as the reader in Rust needs it. Nothing is run; class names are
/// empty where the file has none.
///
/// # Errors
/// It is damaged, or no detector of this kind.
pub fn inspect(content: &[u8], path: &Path) -> Result<ModelInfo, Error> {
    let description = describe(content, path)?;
    rust::can_be_cut(content, &description.outputs).map_err(|refused| unusable(refused, path))?;
    ModelInfo::onnx(path, &description)
}

fn describe(content: &[u8], path: &Path) -> Result<file::Description, Error> {
    file::describe(content).map_err(|refused| unusable(refused, path))
}

fn unusable(file::Refused(reason): file::Refused, path: &Path) -> Error {
    Error::Malformed { path: path.to_owned(), reason: format!("not an ONNX file that can be used: {reason}") }
}

fn open_onnx(path: &Path, options: &OpenOptions) -> Result<Box<dyn Backend>, Error> {
    let content = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let description = describe(&content, path)?;
    drop(content);
    let info = ModelInfo::onnx(path, &description)?;
    let library = options.library.as_deref();
    let with_runtime = match options.backend {
        BackendKind::OnnxRuntime => true,
        BackendKind::Rust => false,
        BackendKind::Auto => onnxruntime_is_installed(library),
        BackendKind::Native => {
            return Err(Error::Setup {
                message: format!("{}: backend=native runs .pt and .safetensors files", path.display()),
                hint: "name the weights that the file was exported from, or leave backend out".into(),
            });
        }
    };
    if with_runtime {
        let (runtime, name) = OnnxRuntime::open(path, &description, library, options.threads, &options.providers)?;
        return Ok(Box::new(Onnx::new(runtime, info, name)?));
    }
    let runtime = Rust::open(path, &description.input, &description.outputs, options.threads)?;
    Ok(Box::new(Onnx::new(runtime, info, "rust (rten)".to_owned())?))
}

/// Whether ONNX Runtime can be loaded here, from `library` where that is given.
pub fn onnxruntime_is_installed(library: Option<&Path>) -> bool {
    onnxruntime(library).is_ok()
}

/// Loads ONNX Runtime, from `library` where that is given, and gives its file and the version in that file's name.
///
/// # Errors
/// It is not installed, or cannot be loaded.
pub fn onnxruntime(library: Option<&Path>) -> Result<(PathBuf, String), Error> {
    crate::onnxruntime::installed(library)
}
