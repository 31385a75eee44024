//! The command `export`: writes weights as a file for other programs.

mod calibrate;

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use yolo11_checkpoint::save_archive;
use yolo11_config::{Batch, ExportFormat, Settings};
use yolo11_export::{ExportOptions, Head, Precision, Suppression, onnx, torchscript};

use crate::file::write_atomically;
use crate::observers::Progress;
use crate::weights::{self, Loaded};
use crate::{Announcer, Error, compute};

/// Confidence below which a detection is suppressed inside the file, unless the settings say otherwise.
const CONFIDENCE: f32 = 0.25;

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportReport {
    /// The file.
    pub path: PathBuf,
    /// `onnx` or `torchscript`.
    pub format: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Shape of the input `images`; none where any size is taken.
    pub input: [Option<usize>; 4],
    /// Whether weights and layers are float16.
    pub half: bool,
    /// Seconds it took, with reading the weights.
    pub seconds: f64,
}

/// Writes the weights of `model=` in the format of the settings.
///
/// # Errors
/// The weights cannot be read, the settings contradict each other, or the file cannot be written.
pub fn export(settings: &Settings) -> Result<ExportReport, Error> {
    let begun = Instant::now();
    if settings.raw && settings.nms {
        return Err(Error::Setup {
            message: "raw=true and nms=true contradict each other: what is suppressed must be decoded".into(),
            hint: "leave one of them out".into(),
        });
    }
    let loaded = weights::load(settings)?;
    let settings = &loaded.suit(settings);
    let batch = match settings.batch {
        Batch::Images(batch) if settings.is_given("batch") => batch,
        _ => 1,
    };
    let calibration = match settings.int8 {
        true => {
            let mut announcer = Announcer::new();
            announcer.add(Progress::new(settings.verbose));
            let pool = compute::pool(settings.threads)?;
            Some(pool.install(|| calibrate::calibrate(settings, &loaded, &mut announcer))?)
        }
        false => None,
    };
    let precision = match &calibration {
        Some((calibration, _)) => Precision::Int8(calibration),
        None if settings.half => Precision::Float16,
        None => Precision::Float32,
    };
    let options = options(settings, &loaded, batch, precision);
    let (format, ending) = match settings.format {
        ExportFormat::Onnx => ("onnx", "onnx"),
        ExportFormat::TorchScript => ("torchscript", "torchscript"),
    };
    let path = settings.file.clone().unwrap_or_else(|| loaded.path.with_extension(ending));
    match settings.format {
        ExportFormat::Onnx => write_atomically(&path, &onnx(&loaded.model, &options)?)?,
        ExportFormat::TorchScript => {
            let entries = torchscript(&loaded.model, &options)?;
            save_archive(&path, entries.iter().map(|entry| (entry.name.as_str(), entry.content.as_slice())))?;
        }
    }
    let bytes = std::fs::metadata(&path).map_err(|source| Error::Read { path: path.clone(), source })?.len();
    let dynamic = settings.dynamic || settings.format == ExportFormat::TorchScript;
    let fixed = |size: usize| (!dynamic).then_some(size);
    Ok(ExportReport {
        path,
        format,
        bytes,
        input: [fixed(batch), Some(3), fixed(settings.imgsz), fixed(settings.imgsz)],
        half: settings.half,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn options<'a>(settings: &Settings, loaded: &'a Loaded, batch: usize, precision: Precision<'a>) -> ExportOptions<'a> {
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
    ExportOptions {
        names: &loaded.names,
        size: [settings.imgsz; 2],
        batch,
        dynamic: settings.dynamic,
        opset: settings.opset,
        precision,
        head,
    }
}

impl ExportReport {
    /// For people: the file, its size and its input.
    pub fn text(&self) -> String {
        let sides = ["batch", "3", "height", "width"];
        let input: Vec<String> = (self.input.iter().zip(sides))
            .map(|(size, name)| size.map_or_else(|| name.to_owned(), |size| size.to_string()))
            .collect();
        format!(
            "{}\n{}, {:.1} MB, input images [{}], weights in {}, {:.1} s\n",
            self.path.display(),
            self.format,
            self.bytes as f64 / 1e6,
            input.join(", "),
            if self.half { "float16" } else { "float32" },
            self.seconds
        )
    }

    /// The same as JSON; sizes that are not fixed are null.
    pub fn to_json(&self) -> Value {
        json!({
            "file": self.path.display().to_string(),
            "format": self.format,
            "bytes": self.bytes,
            "input": self.input,
            "half": self.half,
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
        assert!(report.text().contains("input images [batch, 3, height, width], weights in float32"));

        (settings.raw, settings.nms) = (true, true);
        let text = export(&settings).unwrap_err().to_string();
        assert!(text.starts_with("raw=true and nms=true contradict each other"), "{text}");
    }
}
