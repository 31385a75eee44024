//! ONNX files, run by Microsoft's ONNX Runtime where it is installed. Nothing is linked or downloaded: the library is looked for when
//! it is needed.

mod locate;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::f16;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};

use crate::Error;
use crate::onnx::file::{Description, Element};
use crate::onnx::{Output, Runtime};

/// Oldest version whose interface is asked for.
const OLDEST: &str = "1.17";

/// A session of the library.
pub(crate) struct OnnxRuntime {
    session: Session,
    element: Element,
    halves: Vec<f16>,
}

/// The library, loaded once for the process.
struct Library {
    environment: Environment,
    path: PathBuf,
}

static LIBRARY: Mutex<Option<Library>> = Mutex::new(None);

/// Loads the library: `given`, or else the first that is found.
fn environment(given: Option<&Path>) -> Result<(Environment, PathBuf), Error> {
    let mut library = LIBRARY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(library) = library.as_ref() {
        return Ok((library.environment.clone(), library.path.clone()));
    }
    let candidates = locate::candidates(given);
    let mut reasons = Vec::new();
    for path in &candidates {
        let loaded = ort::init_from(path).map_err(|error| error.to_string());
        let environment = loaded.and_then(|builder| {
            builder.with_name("yolo11").with_telemetry(false).build().map_err(|error| error.to_string())
        });
        match environment {
            Ok(environment) => {
                environment.set_log_level(LogLevel::Error);
                *library = Some(Library { environment: environment.clone(), path: path.clone() });
                return Ok((environment, path.clone()));
            }
            Err(reason) => reasons.push(reason),
        }
    }
    let looked = locate::places(given);
    let message = match reasons.first() {
        Some(reason) => format!("ONNX Runtime cannot be loaded: {reason}"),
        None => format!("ONNX Runtime is not installed: looked in {looked}"),
    };
    Err(Error::Setup {
        message,
        hint: format!(
            "`pip install onnxruntime` brings it (version {OLDEST} or newer), onnxruntime=PATH or ORT_DYLIB_PATH names its library; \
             backend=rust needs nothing installed"
        ),
    })
}

/// Loads the library and gives its file and its version.
pub(crate) fn installed(given: Option<&Path>) -> Result<(PathBuf, String), Error> {
    environment(given).map(|(_, path)| {
        let version = version(&path);
        (path, version)
    })
}

impl OnnxRuntime {
    /// Opens a file whose description was read, and says what runs it. `providers` are tried in their order, then the CPU.
    pub(crate) fn open(
        path: &Path,
        description: &Description,
        library: Option<&Path>,
        threads: usize,
        providers: &[String],
    ) -> Result<(Self, String), Error> {
        let (environment, library) = environment(library)?;
        let failed = |error: ort::Error| Error::Run {
            path: path.to_owned(),
            backend: Self::NAME,
            reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let wanted = providers.iter().map(|name| provider(name)).collect::<Result<Vec<_>, Error>>()?;
        let wanted: Vec<ExecutionProviderDispatch> = wanted.into_iter().flatten().collect();
        let plain = || -> ort::Result<_> {
            Ok(Session::builder(&environment)?
                .with_intra_threads(threads)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_log_level(LogLevel::Error)?)
        };
        let mut builder = plain().map_err(failed)?;
        if !wanted.is_empty() {
            builder = builder.with_execution_providers(&wanted).map_err(|error| Error::Setup {
                message: format!(
                    "providers={}: {}",
                    providers.join(","),
                    error.to_string().lines().next().unwrap_or_default()
                ),
                hint: format!(
                    "{} was built without it, or its device is missing; leave providers out for the CPU",
                    library.display()
                ),
            })?;
        }
        let session = builder.commit_from_file(path).map_err(failed)?;
        let running = if wanted.is_empty() { "CPU".to_owned() } else { providers.join(", ") };
        let name = format!("onnxruntime {} ({running})", version(&library));
        Ok((OnnxRuntime { session, element: description.element, halves: Vec::new() }, name))
    }
}

/// The version in the library's name, as wheels and packages write it there.
fn version(library: &Path) -> String {
    let real = library.canonicalize().unwrap_or_else(|_| library.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digits = name.find(|letter: char| letter.is_ascii_digit()).map_or("", |at| &name[at..]);
    digits.trim_end_matches(|letter: char| !letter.is_ascii_digit()).to_owned()
}

/// An execution provider by its name; none for the CPU, which is always there.
fn provider(name: &str) -> Result<Option<ExecutionProviderDispatch>, Error> {
    let plain = name.to_ascii_lowercase();
    let plain = plain.strip_suffix("executionprovider").unwrap_or(&plain);
    let provider = match plain {
        "cpu" => return Ok(None),
        "cuda" => ep::CUDA::default().build(),
        "tensorrt" => ep::TensorRT::default().build(),
        "openvino" => ep::OpenVINO::default().build(),
        "coreml" => ep::CoreML::default().build(),
        "directml" | "dml" => ep::DirectML::default().build(),
        "migraphx" => ep::MIGraphX::default().build(),
        "xnnpack" => ep::XNNPACK::default().build(),
        "qnn" => ep::QNN::default().build(),
        "webgpu" => ep::WebGPU::default().build(),
        _ => {
            return Err(Error::Setup {
                message: format!("providers: `{name}` is not known"),
                hint: "choose from cpu, cuda, tensorrt, openvino, coreml, directml, migraphx, xnnpack, qnn, webgpu"
                    .into(),
            });
        }
    };
    Ok(Some(provider.error_on_failure()))
}

impl Runtime for OnnxRuntime {
    const NAME: &'static str = "ONNX Runtime";

    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, String> {
        let said = |error: ort::Error| error.to_string();
        let outputs = match self.element {
            Element::Float32 => {
                let input = TensorRef::from_array_view((shape, input)).map_err(said)?;
                self.session.run(ort::inputs![input])
            }
            Element::Float16 => {
                self.halves.clear();
                self.halves.extend(input.iter().map(|value| f16::from_f32(*value)));
                let input = TensorRef::from_array_view((shape, self.halves.as_slice())).map_err(said)?;
                self.session.run(ort::inputs![input])
            }
        };
        outputs.map_err(said)?.iter().map(|(_, value)| values(&value)).collect()
    }
}

fn values(value: &DynValue) -> Result<Output, String> {
    let said = |error: ort::Error| error.to_string();
    let size = |shape: &[i64]| shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    match value.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, .. } => {
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(said)?;
            Ok((size(shape), values.to_vec()))
        }
        ValueType::Tensor { ty: TensorElementType::Float16, .. } => {
            let (shape, values) = value.try_extract_tensor::<f16>().map_err(said)?;
            Ok((size(shape), values.iter().map(|value| value.to_f32()).collect()))
        }
        other => Err(format!("an output is {other:?}, not of floats")),
    }
}
