//! The command `export`: writes weights as a file for other programs, and verifies it.

mod calibrate;
mod cost;
mod target;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};
use yolo11_config::{Batch, ExportFormat, Settings};
use yolo11_dataset::{Split, SplitName};
use yolo11_export::{ExportOptions, Head, Precision, Suppression, ncnn, onnx, openvino, tflite, torchscript};
use yolo11_inference::{Backend, BackendKind, ModelInfo, onnxruntime_is_installed};
use yolo11_network::STRIDES;

use crate::observers::Progress;
use crate::weights::{self, Loaded};
use crate::{Announcer, Error, compute, data};
pub use cost::Cost;
use target::{Content, Target};
use verify::Cases;
pub use verify::{Verification, tolerances};

/// Confidence below which a detection is suppressed inside the file, unless the settings say otherwise.
const CONFIDENCE: f32 = 0.25;

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportReport {
    /// The file, or the folder of files.
    pub path: PathBuf,
    /// The format's name in the settings.
    pub format: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Shape of the input `images`; none where any size is taken.
    pub input: [Option<usize>; 4],
    /// `float32`, `float16` or `int8`.
    pub precision: &'static str,
    /// Pictures that 8 bits were calibrated on.
    pub calibrated_on: Option<usize>,
    /// How it was verified; none where its runtime is not at hand.
    pub verification: Option<Verification>,
    /// What 8 bits cost, where that could be measured.
    pub cost: Option<Cost>,
    /// How to verify it where its runtime is not at hand.
    pub advice: Option<String>,
    /// Seconds it took, with reading the weights.
    pub seconds: f64,
}

/// Writes the weights of `model=` in the format of the settings, runs the file on real pictures and compares it with our own engine.
/// Only a file that gives the same gets its name.
///
/// # Errors
/// The weights cannot be read, the settings contradict each other, the file cannot be written, or it differs from our own engine.
pub fn export(settings: &Settings) -> Result<ExportReport, Error> {
    if settings.raw && settings.nms {
        return Err(contradiction("raw=true and nms=true contradict each other: what is suppressed must be decoded"));
    }
    if settings.half && settings.int8 {
        return Err(contradiction("half=true and int8=true contradict each other"));
    }
    compute::pool(settings.threads)?.install(|| write(settings))
}

fn contradiction(message: &str) -> Error {
    Error::Setup { message: message.into(), hint: "leave one of them out".into() }
}

fn write(settings: &Settings) -> Result<ExportReport, Error> {
    let begun = Instant::now();
    let loaded = weights::load(settings)?;
    let settings = &loaded.suit(settings);
    let mut announcer = Announcer::new();
    announcer.add(Progress::new(settings.verbose));
    let split = if settings.int8 { Some(validation_split(settings, &loaded, &mut announcer)?) } else { None };
    let calibration = match &split {
        Some(split) => Some(calibrate::calibrate(settings, &loaded, split)?),
        None => None,
    };
    let (precision, name) = match &calibration {
        Some((calibration, _)) => (Precision::Int8(calibration), "int8"),
        None if settings.half => (Precision::Float16, "float16"),
        None => (Precision::Float32, "float32"),
    };
    let options = options(settings, &loaded, precision);
    let format = settings.format.name();
    let path = settings.file.clone().unwrap_or_else(|| beside(&loaded.path, settings.format));
    let target = Target::write(&path, &content(settings.format, &loaded, &options, &path)?)?;
    let (mut verification, mut cost, mut advice) = (None, None, None);
    let opened = open(settings, &loaded, &options, target.temporary()).map_err(|error| Error::Verification {
        path: path.clone(),
        reason: error.to_string().replace(&target.temporary().display().to_string(), "the file"),
    })?;
    match opened {
        Some(mut backend) => {
            let cases = Cases::gather(settings, options.size, &mut announcer)?;
            let found = cases.compare(&loaded, &options, backend.as_mut())?;
            found.check(&path, precision)?;
            verification = Some(found);
            if let Some(split) = split.filter(|_| options.head == Head::Decoded) {
                let measured = cost::measure(settings, &loaded, split, backend.as_mut())?;
                measured.check(&path)?;
                cost = Some(measured);
            }
        }
        None => advice = Some(how_to_verify(settings.format)),
    }
    let bytes = target.commit()?;
    let fixed = |size: usize| (!options.dynamic).then_some(size);
    Ok(ExportReport {
        path,
        format,
        bytes,
        input: [fixed(options.batch), Some(3), fixed(options.size[0]), fixed(options.size[1])],
        precision: name,
        calibrated_on: calibration.as_ref().map(|(_, pictures)| *pictures),
        verification,
        cost,
        advice,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Where a file goes unless the settings say: beside the weights, under the names that readers of the format look for.
fn beside(weights: &Path, format: ExportFormat) -> PathBuf {
    let stem = weights.file_stem().unwrap_or_default().to_string_lossy();
    match format {
        ExportFormat::Onnx => weights.with_extension("onnx"),
        ExportFormat::TorchScript => weights.with_extension("torchscript"),
        ExportFormat::TensorFlowLite => weights.with_extension("tflite"),
        ExportFormat::OpenVino => weights.with_file_name(format!("{stem}_openvino_model")),
        ExportFormat::Ncnn => weights.with_file_name(format!("{stem}_ncnn_model")),
    }
}

fn content(
    format: ExportFormat,
    loaded: &Loaded,
    options: &ExportOptions,
    path: &Path,
) -> Result<Content, yolo11_export::Error> {
    let model = &loaded.model;
    Ok(match format {
        ExportFormat::Onnx => Content::File(onnx(model, options)?),
        ExportFormat::TorchScript => Content::Archive(torchscript(model, options)?),
        ExportFormat::TensorFlowLite => Content::File(tflite(model, options)?),
        ExportFormat::OpenVino => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.strip_suffix("_openvino_model").unwrap_or(&name);
            Content::Folder(openvino(model, options, name)?)
        }
        ExportFormat::Ncnn => Content::Folder(ncnn(model, options)?),
    })
}

/// Pictures that show which values occur, and what 8 bits cost.
pub(crate) fn validation_split(
    settings: &Settings,
    loaded: &Loaded,
    announcer: &mut Announcer,
) -> Result<Arc<Split>, Error> {
    if settings.data.is_none() {
        return Err(Error::Setup {
            message: "int8=true needs pictures that show which values occur".into(),
            hint: "add data=DATASET.yaml; its validation pictures are taken, or the share fraction=… of them".into(),
        });
    }
    let description = data::open(settings, announcer, &AtomicBool::new(false))?.description;
    let split = data::scan(&description, SplitName::Val, settings, announcer)?;
    let (known, has) = (loaded.names.len(), split.names.len());
    if known != has {
        return Err(Error::Setup {
            message: format!(
                "{} knows {known} classes, {} has {has}",
                loaded.path.display(),
                description.file.display()
            ),
            hint: "calibrate weights on the data set they were trained for".into(),
        });
    }
    Ok(split)
}

/// What runs the file, where it is at hand.
fn open(
    settings: &Settings,
    loaded: &Loaded,
    options: &ExportOptions,
    path: &Path,
) -> Result<Option<Box<dyn Backend>>, yolo11_inference::Error> {
    if settings.format == ExportFormat::Onnx {
        let with = weights::open_options(settings, options.batch);
        return match yolo11_inference::open(path, &with) {
            Ok(backend) => Ok(Some(backend)),
            // The reader in Rust takes its place where ONNX Runtime is missing, and does not know all that can be written.
            Err(_) if !onnxruntime_is_installed(with.library.as_deref()) && with.backend == BackendKind::Auto => {
                Ok(None)
            }
            Err(error) => Err(error),
        };
    }
    let info = ModelInfo {
        path: path.to_owned(),
        names: loaded.names.clone(),
        stride: STRIDES[STRIDES.len() - 1],
        image_size: Some(options.size),
        fixed_size: (!options.dynamic).then_some(options.size),
        fixed_batch: (!options.dynamic).then_some(options.batch),
    };
    let python = settings.python.clone().unwrap_or_else(|| "python3".into());
    yolo11_inference::open_in_python(&python, settings.format.name(), info, settings.threads)
}

/// What runs a file that was written with these settings, in the runtime that its format is for; none where that is not at hand.
pub(crate) fn open_written(
    settings: &Settings,
    loaded: &Loaded,
    path: &Path,
) -> Result<Option<Box<dyn Backend>>, yolo11_inference::Error> {
    open(settings, loaded, &options(settings, loaded, Precision::Float32), path)
}

/// What brings the runtime of a format, and how it is named then.
pub(crate) fn how_to_verify(format: ExportFormat) -> String {
    let packages = match format {
        ExportFormat::Onnx => {
            return "python3 -m venv check && check/bin/pip install onnxruntime, then export again with onnxruntime=check".into();
        }
        ExportFormat::TorchScript => "torch numpy",
        ExportFormat::TensorFlowLite => "ai-edge-litert",
        ExportFormat::OpenVino => "openvino",
        ExportFormat::Ncnn => "ncnn",
    };
    format!("python3 -m venv check && check/bin/pip install {packages}, then export again with python=check/bin/python")
}

fn options<'a>(settings: &Settings, loaded: &'a Loaded, precision: Precision<'a>) -> ExportOptions<'a> {
    let head = match (settings.raw, settings.nms) {
        (true, _) => Head::Raw,
        (false, false) => Head::Decoded,
        (false, true) => Head::Suppressed(Suppression {
            confidence: settings.conf.unwrap_or(CONFIDENCE),
            iou: settings.iou,
            agnostic: settings.agnostic_nms,
            max_detections: settings.max_det,
        }),
    };
    let batch = match settings.batch {
        Batch::Images(batch) if settings.is_given("batch") => batch,
        _ => 1,
    };
    ExportOptions {
        names: &loaded.names,
        size: [settings.imgsz; 2],
        batch,
        // A TorchScript archive takes every size.
        dynamic: settings.dynamic || settings.format == ExportFormat::TorchScript,
        opset: settings.opset,
        precision,
        head,
    }
}

impl ExportReport {
    /// For people: the file, its size, its input, and how it was verified.
    pub fn text(&self) -> String {
        let sides = ["batch", "3", "height", "width"];
        let input: Vec<String> = (self.input.iter().zip(sides))
            .map(|(size, name)| size.map_or_else(|| name.to_owned(), |size| size.to_string()))
            .collect();
        let verified = match (&self.verification, &self.advice) {
            (Some(verification), _) => verification.text(),
            (None, advice) => {
                format!("not verified: its runtime is not at hand. {}", advice.as_deref().unwrap_or_default())
            }
        };
        let calibrated =
            self.calibrated_on.map_or_else(String::new, |count| format!(" calibrated on {count} pictures"));
        format!(
            "{}\n{}, {:.1} MB, input images [{}], {}{calibrated}, {:.1} s\n{verified}\n{}",
            self.path.display(),
            self.format,
            self.bytes as f64 / 1e6,
            input.join(", "),
            self.precision,
            self.seconds,
            self.cost.map(|cost| cost.text() + "\n").unwrap_or_default()
        )
    }

    /// The same as JSON; sizes that are not fixed are null.
    pub fn to_json(&self) -> Value {
        json!({
            "file": self.path.display().to_string(),
            "format": self.format,
            "bytes": self.bytes,
            "input": self.input,
            "half": self.precision == "float16",
            "precision": self.precision,
            "calibrated_on": self.calibrated_on,
            "verification": self.verification.as_ref().map(|verification| json!({
                "runtime": verification.runtime,
                "pictures": verification.pictures,
                "source": verification.source,
                "compared": verification.compared,
                "boxes_px": verification.boxes,
                "scores": verification.scores,
                "all_scores": verification.anywhere,
            })),
            "mAP50-95": self.cost.map(|cost| json!({"float32": cost.float32, "int8": cost.int8})),
            "seconds": self.seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use yolo11_checkpoint::Checkpoint;
    use yolo11_config::ModelSource;
    use yolo11_network::{Model, Network, Scale};

    use super::*;

    #[test]
    fn the_file_lies_beside_the_weights_and_contradictions_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("best.safetensors");
        let model = Model::initialise(&Network::yolo11(Scale::Nano, 2), 0);
        let checkpoint = Checkpoint::new(model, vec!["a".into(), "b".into()]);
        yolo11_checkpoint::save_safetensors(&weights, &checkpoint).unwrap();
        let mut settings = Settings::default();
        settings.model = ModelSource::Weights(weights.clone());
        let report = export(&settings).unwrap();
        assert_eq!(report.path, folder.path().join("best.onnx"));
        assert_eq!(std::fs::metadata(&report.path).unwrap().len(), report.bytes);
        assert_eq!(report.input, [Some(1), Some(3), Some(640), Some(640)]);
        settings.dynamic = true;
        settings.file = Some(folder.path().join("other.onnx"));
        let report = export(&settings).unwrap();
        assert!(report.path.ends_with("other.onnx") && report.path.exists());
        assert!(report.text().contains("onnx, 10."), "{}", report.text());
        assert!(report.text().contains("input images [batch, 3, height, width], float32"));

        // By ONNX Runtime where it is installed, by the reader in Rust elsewhere.
        let verification = report.verification.as_ref().unwrap();
        assert_eq!((verification.pictures, verification.source.as_str()), (4, "drawn"));
        assert!(report.text().contains("\nverified in "), "{}", report.text());

        (settings.raw, settings.nms) = (true, true);
        let text = export(&settings).unwrap_err().to_string();
        assert!(text.starts_with("raw=true and nms=true contradict each other"), "{text}");
    }
}
