//! What each format of a model costs and keeps: size, accuracy, time and memory, in every back end that runs it here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use yolo11_config::{Device, Settings, find};
use yolo11_dataset::{demo, letterbox};
use yolo11_inference::onnxruntime_is_installed;
use yolo11_report::benchmark::{Row as Bar, draw};

use crate::export::{export, how_to_verify, open_written, validation_split};
use crate::file::write_atomically;
use crate::observers::Progress;
use crate::run_folder::RunFolder;
use crate::train::TrainOptions;
use crate::val::{CategoryIds, batch_size, validate};
use crate::validation::Validator;
use crate::weights::Loaded;
use crate::{Announcer, Error, data, weights};

/// Checkpoints, which the engine itself runs.
const CHECKPOINTS: [&str; 2] = ["pt", "safetensors"];
/// What may follow a format's name, and the setting that writes it.
const VARIANTS: [(&str, &str); 3] = [("half", "half=true"), ("int8", "int8=true"), ("nms", "nms=true")];

/// One format in one back end.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatRow {
    /// `pt`, `onnx`, `onnx-half`, …
    pub format: String,
    /// What ran it; none where the file is only written here.
    pub backend: Option<String>,
    /// The file, or the folder of files.
    pub file: Option<PathBuf>,
    /// Its size.
    pub bytes: u64,
    /// Accuracy on the data set, where one is given.
    pub map50_95: Option<f64>,
    /// Median milliseconds a picture.
    pub median: Option<f64>,
    /// Best milliseconds a picture.
    pub best: Option<f64>,
    /// Most bytes that a process running nothing else used.
    pub memory: Option<u64>,
    /// Why something is missing.
    pub note: Option<String>,
}

/// What the comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatReport {
    /// The weights.
    pub model: PathBuf,
    /// Side of the input in pixels.
    pub image_size: usize,
    /// Threads.
    pub threads: usize,
    /// The data set, where one is given.
    pub data: Option<String>,
    /// Every format in every back end.
    pub rows: Vec<FormatRow>,
    /// Where files, table and picture are.
    pub folder: PathBuf,
}

/// Writes the weights of `model=` in every format that `formats` names, measures each in every back end that runs it here, and writes
/// `benchmark.csv`, `benchmark.json` and `benchmark.png` beside the files. `program` is this program: a process of its own measures
/// time and memory. `told` hears what is being done.
///
/// # Errors
/// The weights cannot be read, a format does not exist, or the data set cannot be used. A format that cannot be written or run is a row
/// that says why.
pub fn compare(
    settings: &Settings,
    program: &Path,
    repeats: usize,
    stop: &AtomicBool,
    mut told: impl FnMut(&str),
) -> Result<FormatReport, Error> {
    let formats = chosen(settings)?;
    let loaded = weights::load(settings)?;
    // Everything is measured on the CPU, and by the execution providers that are named.
    let mut settings = loaded.suit(settings);
    settings.device = Device::Cpu;
    let settings = &settings;
    if settings.data.is_some() {
        // What cannot be opened is told once, before anything is written.
        data::open(settings, &mut Announcer::new(), stop)?;
    }
    let folder =
        RunFolder::create(&settings.project, settings.name.as_deref().unwrap_or("benchmark"), settings.exist_ok)?;
    let stem = loaded.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut rows = Vec::new();
    for format in formats {
        told(&format!("{format}: written"));
        let exported = as_exported(settings, &format, &folder, &stem)?;
        let file = match write(&exported, &loaded.path, &format, &folder, &stem) {
            Ok(file) => file,
            Err(error) => {
                rows.push(FormatRow::failed(&format, None, &error));
                continue;
            }
        };
        let bytes = size(&file);
        let mut add = |measured: Result<FormatRow, Error>, backend: Option<&str>| -> Result<(), Error> {
            rows.push(match measured {
                Ok(row) => FormatRow { format: format.clone(), file: Some(file.clone()), bytes, ..row },
                Err(error @ Error::Interrupted { .. }) => return Err(error),
                Err(error) => FormatRow { bytes, ..FormatRow::failed(&format, backend, &error) },
            });
            Ok(())
        };
        let backends = backends(settings, &format);
        if backends.is_empty() {
            told(&format!("{format}: measured in its own runtime"));
            add(measure_elsewhere(&exported, &loaded, repeats, &file, stop), None)?;
        }
        for backend in backends {
            told(&format!("{format}: measured with backend={backend}"));
            add(measure(settings, program, repeats, &file, backend, stop), Some(backend))?;
        }
    }
    let report = FormatReport {
        model: loaded.path.clone(),
        image_size: settings.imgsz,
        threads: settings.threads,
        data: settings.data.clone(),
        rows,
        folder: folder.path().to_owned(),
    };
    write_atomically(&folder.file("benchmark.csv"), report.csv().as_bytes())?;
    write_atomically(&folder.file("benchmark.json"), format!("{:#}\n", report.to_json()).as_bytes())?;
    let picture = folder.file("benchmark.png");
    let png = report
        .picture()
        .map_err(|error| Error::Write { path: picture.clone(), source: std::io::Error::other(error) })?;
    write_atomically(&picture, &png)?;
    Ok(report)
}

/// The formats that are asked for, in the order of the list of all.
fn chosen(settings: &Settings) -> Result<Vec<String>, Error> {
    let exported = find("format").map(|setting| setting.choices).unwrap_or_default();
    let has_int8 = find("int8").is_some_and(|setting| setting.name == "int8");
    let mut all: Vec<String> = CHECKPOINTS.iter().chain(exported).map(|name| (*name).to_owned()).collect();
    // 8 bits are calibrated on the data set.
    let mut known: Vec<String> = all.clone();
    for name in exported {
        known.extend(VARIANTS.iter().map(|(variant, _)| format!("{name}-{variant}")));
    }
    let at = all.iter().position(|name| name == "onnx").map_or(all.len(), |place| place + 1);
    let variants = ["onnx-half", "onnx-int8", "onnx-nms"].into_iter();
    let variants = variants.filter(|name| *name != "onnx-int8" || (has_int8 && settings.data.is_some()));
    all.splice(at..at, variants.map(str::to_owned));
    let given = settings.formats.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let given: Vec<String> = given.filter(|name| !name.is_empty()).collect();
    if given.is_empty() || given == ["all"] {
        return Ok(all);
    }
    match given.iter().find(|name| !known.contains(name)) {
        None => Ok(given),
        Some(name) => Err(Error::Setup {
            message: format!("formats: there is no `{name}`"),
            hint: format!("choose from all, {}; -half, -int8 or -nms may follow the exported ones", {
                let plain: Vec<&str> = CHECKPOINTS.iter().chain(exported).copied().collect();
                plain.join(", ")
            }),
        }),
    }
}

/// The settings that a format is exported with, into the run's folder.
fn as_exported(settings: &Settings, format: &str, folder: &RunFolder, stem: &str) -> Result<Settings, Error> {
    let mut settings = settings.clone();
    if CHECKPOINTS.contains(&format) {
        return Ok(settings);
    }
    let (name, variant) = format.split_once('-').unwrap_or((format, ""));
    let ending = match name {
        "openvino" => "_openvino_model".to_owned(),
        "ncnn" => "_ncnn_model".to_owned(),
        other => format!(".{other}"),
    };
    let suffix = if variant.is_empty() { String::new() } else { format!("-{variant}") };
    settings.apply_argument(&format!("format={name}"))?;
    if let Some((_, argument)) = VARIANTS.iter().find(|(known, _)| *known == variant) {
        settings.apply_argument(argument)?;
    }
    settings.file = Some(folder.file(&format!("{stem}{suffix}{ending}")));
    // Rectangular batches measure the accuracy, as they do for checkpoints.
    settings.dynamic = name == "onnx";
    Ok(settings)
}

/// Writes one format into the run's folder.
fn write(settings: &Settings, weights: &Path, format: &str, folder: &RunFolder, stem: &str) -> Result<PathBuf, Error> {
    if CHECKPOINTS.contains(&format) {
        let file = folder.file(&format!("{stem}.{format}"));
        let checkpoint = yolo11_checkpoint::load(weights)?;
        match format {
            "pt" => yolo11_checkpoint::save_pt(&file, &checkpoint)?,
            _ => yolo11_checkpoint::save_safetensors(&file, &checkpoint)?,
        }
        return Ok(file);
    }
    Ok(export(settings)?.path)
}

/// What runs a format here.
fn backends(settings: &Settings, format: &str) -> Vec<&'static str> {
    if CHECKPOINTS.contains(&format) {
        return vec!["native"];
    }
    if !format.starts_with("onnx") {
        return Vec::new();
    }
    let installed = onnxruntime_is_installed(settings.onnxruntime.as_deref());
    ["onnxruntime", "rust"].into_iter().filter(|backend| *backend == "rust" || installed).collect()
}

/// Time and memory in a process of its own, accuracy in this one.
fn measure(
    settings: &Settings,
    program: &Path,
    repeats: usize,
    file: &Path,
    backend: &str,
    stop: &AtomicBool,
) -> Result<FormatRow, Error> {
    let mut arguments = vec![
        format!("model={}", file.display()),
        format!("backend={backend}"),
        format!("imgsz={}", settings.imgsz),
        format!("threads={}", settings.threads),
        "batch=1".to_owned(),
    ];
    arguments.extend(settings.onnxruntime.iter().map(|path| format!("onnxruntime={}", path.display())));
    arguments.extend(settings.providers.iter().map(|names| format!("providers={names}")));
    let failed = |reason: String| Error::Setup { message: reason, hint: "try `yolo11 benchmark infer` alone".into() };
    let output = Command::new(program)
        .args(["benchmark", "infer", "--json", "--repeats", &repeats.to_string()])
        .args(&arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("the measuring process does not start: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said.lines().next().unwrap_or("the measuring process failed").trim_start_matches("error: ");
        return Err(failed(said.to_owned()));
    }
    let measured: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("the measuring process gave no JSON: {error}")))?;
    let forward = &measured["seconds"]["forward"];
    let milliseconds = |figure: &str| forward[figure].as_f64().map(|seconds| seconds * 1e3);
    let map50_95 = match &settings.data {
        None => None,
        Some(_) => {
            let mut settings = settings.clone();
            settings.apply_argument(&arguments[0])?;
            settings.apply_argument(&arguments[1])?;
            (settings.plots, settings.save_json) = (false, false);
            let options = TrainOptions { log: None, progress: true };
            Some(validate(&settings, &options, CategoryIds::Model, stop)?.validation.summary.map50_95)
        }
    };
    Ok(FormatRow {
        backend: Some(measured["backend"].as_str().unwrap_or(backend).to_owned()),
        map50_95,
        median: milliseconds("median"),
        best: milliseconds("best"),
        memory: measured["peak_memory_bytes"].as_u64(),
        ..FormatRow::new("")
    })
}

/// A format that this program writes and does not run: measured in the runtime that it is for, where a Python has that.
fn measure_elsewhere(
    settings: &Settings,
    loaded: &Loaded,
    repeats: usize,
    file: &Path,
    stop: &AtomicBool,
) -> Result<FormatRow, Error> {
    let Some(mut backend) = open_written(settings, loaded, file)? else {
        let note = format!("not run: its runtime is not at hand. {}", how_to_verify(settings.format));
        return Ok(FormatRow { note: Some(note), ..FormatRow::new("") });
    };
    let size = [settings.imgsz; 2];
    let pictures =
        demo::pictures(1, 0).iter().flat_map(|picture| letterbox(picture, size, true).0).collect::<Vec<u8>>();
    let (mut seconds, mut memory) = (Vec::new(), None);
    // The first runs prepare.
    for run in 0..repeats + 2 {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted { folder: None });
        }
        backend.run(&pictures, size)?;
        if let Some(last) = backend.last_run().filter(|_| run >= 2) {
            seconds.push(last.seconds);
            memory = last.peak_memory;
        }
    }
    seconds.sort_by(f64::total_cmp);
    let milliseconds = |place: usize| seconds.get(place).map(|seconds| seconds * 1e3);
    let (mut map50_95, mut note) = (None, None);
    if settings.data.is_some() {
        let mut announcer = Announcer::new();
        announcer.add(Progress::new(settings.verbose));
        let split = validation_split(settings, loaded, &mut announcer)?;
        let is_fixed = backend.model().fixed_size.is_some();
        let mut validator = Validator::new(split, settings, batch_size(settings), is_fixed)?;
        let measured = validator.run(backend.as_mut(), |_, _| Ok(!stop.load(Ordering::Relaxed)))?;
        let (validation, _) = measured.ok_or(Error::Interrupted { folder: None })?;
        map50_95 = Some(validation.summary.map50_95);
        note = is_fixed.then(|| "mAP in square inputs".to_owned());
    }
    Ok(FormatRow {
        backend: Some(backend.name().to_owned()),
        map50_95,
        median: milliseconds(seconds.len() / 2),
        best: milliseconds(0),
        memory,
        note,
        ..FormatRow::new("")
    })
}

/// Bytes of a file, or of the files in a folder.
fn size(path: &Path) -> u64 {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| bytes(&entry.path())).sum(),
        Err(_) => bytes(path),
    }
}

impl FormatRow {
    fn new(format: &str) -> FormatRow {
        FormatRow {
            format: format.to_owned(),
            backend: None,
            file: None,
            bytes: 0,
            map50_95: None,
            median: None,
            best: None,
            memory: None,
            note: None,
        }
    }

    fn failed(format: &str, backend: Option<&str>, error: &Error) -> FormatRow {
        let text = error.to_string();
        let note = Some(text.lines().next().unwrap_or_default().to_owned());
        FormatRow { backend: backend.map(str::to_owned), note, ..FormatRow::new(format) }
    }
}

impl FormatReport {
    /// Ready to print.
    pub fn table(&self) -> String {
        let backend = |row: &FormatRow| row.backend.clone().unwrap_or_else(|| "–".to_owned());
        let width = self.rows.iter().map(|row| backend(row).chars().count()).max().unwrap_or(0).max(8);
        let mut text = format!("{}, {} px, {} threads\n", self.model.display(), self.image_size, self.threads);
        text += &format!(
            "{:12}  {:width$}  {:>8}  {:>8}  {:>10}  {:>10}  {:>10}\n",
            "format", "back end", "MB", "mAP50-95", "median, ms", "best, ms", "memory, MB"
        );
        for row in &self.rows {
            let figure = |figure: Option<f64>, digits: usize| {
                figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
            };
            text += &format!(
                "{:12}  {:width$}  {:>8.1}  {:>8}  {:>10}  {:>10}  {:>10}",
                row.format,
                backend(row),
                row.bytes as f64 / 1e6,
                figure(row.map50_95, 4),
                figure(row.median, 1),
                figure(row.best, 1),
                figure(row.memory.map(|bytes| bytes as f64 / 1e6), 0),
            );
            text += &row.note.as_ref().map_or_else(String::new, |note| format!("  {note}"));
            text.push('\n');
        }
        text
    }

    /// The same for spreadsheets; empty where there is no figure.
    pub fn csv(&self) -> String {
        let mut text = String::from("format,backend,bytes,map50_95,median_ms,best_ms,memory_bytes,note\n");
        for row in &self.rows {
            let number = |figure: Option<f64>| figure.map_or_else(String::new, |figure| figure.to_string());
            let quoted = |text: &Option<String>| match text {
                Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
                None => String::new(),
            };
            text += &format!(
                "{},{},{},{},{},{},{},{}\n",
                row.format,
                quoted(&row.backend),
                row.bytes,
                number(row.map50_95),
                number(row.median),
                number(row.best),
                row.memory.map_or_else(String::new, |bytes| bytes.to_string()),
                quoted(&row.note),
            );
        }
        text
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = (self.rows.iter())
            .map(|row| {
                json!({
                    "format": row.format,
                    "backend": row.backend,
                    "file": row.file.as_ref().map(|file| file.display().to_string()),
                    "bytes": row.bytes,
                    "mAP50-95": row.map50_95,
                    "median_ms": row.median,
                    "best_ms": row.best,
                    "memory_bytes": row.memory,
                    "note": row.note,
                })
            })
            .collect();
        json!({
            "model": self.model.display().to_string(),
            "imgsz": self.image_size,
            "threads": self.threads,
            "data": self.data,
            "rows": rows,
        })
    }

    fn picture(&self) -> Result<Vec<u8>, yolo11_report::Error> {
        let rows: Vec<Bar> = (self.rows.iter())
            .map(|row| Bar {
                format: row.format.clone(),
                backend: row.backend.clone().or(row.note.clone()).unwrap_or_default(),
                milliseconds: row.median.zip(row.best).map(|(median, best)| [median, best]),
                map50_95: row.map50_95,
                file: row.bytes as f64 / 1e6,
                memory: row.memory.map(|bytes| bytes as f64 / 1e6),
            })
            .collect();
        let title = format!("Formats of {}", self.model.file_name().unwrap_or_default().to_string_lossy());
        let data = self.data.as_ref().map_or_else(String::new, |data| format!(", mAP on {data}"));
        let subtitle = format!("{} px, a picture at a time, {} threads{data}", self.image_size, self.threads);
        draw(&title, &subtitle, &rows).to_png()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_chosen_by_name() {
        let mut settings = Settings::default();
        let all = chosen(&settings).unwrap();
        assert_eq!(all[..4], ["pt", "safetensors", "onnx", "onnx-half"]);
        assert!(!all.contains(&"onnx-int8".to_owned()), "{all:?}");
        settings.formats = vec!["pt, onnx-half".into(), "onnx-nms".into()];
        assert_eq!(chosen(&settings).unwrap(), ["pt", "onnx-half", "onnx-nms"]);
        settings.formats = vec!["engine".into()];
        let text = chosen(&settings).unwrap_err().to_string();
        assert!(
            text.starts_with("formats: there is no `engine`\nhint: choose from all, pt, safetensors, onnx, "),
            "{text}"
        );
    }

    #[test]
    fn a_report_is_a_table_and_a_file() {
        let row = FormatRow {
            backend: Some("native (avx512)".into()),
            bytes: 10_500_000,
            map50_95: Some(0.5),
            median: Some(12.34),
            best: Some(12.0),
            memory: Some(100_000_000),
            ..FormatRow::new("pt")
        };
        let written = FormatRow { bytes: 1, note: Some("written \"only\"".into()), ..FormatRow::new("ncnn") };
        let report = FormatReport {
            model: "best.pt".into(),
            image_size: 640,
            threads: 2,
            data: None,
            rows: vec![row, written],
            folder: "runs/benchmark".into(),
        };
        assert_eq!(
            report.csv(),
            "format,backend,bytes,map50_95,median_ms,best_ms,memory_bytes,note\n\
             pt,\"native (avx512)\",10500000,0.5,12.34,12,100000000,\nncnn,,1,,,,,\"written \"\"only\"\"\"\n"
        );
        let lines: Vec<String> = report.table().lines().map(String::from).collect();
        assert_eq!(lines[0], "best.pt, 640 px, 2 threads");
        assert!(lines[2].ends_with("    10.5    0.5000        12.3        12.0         100"), "{}", lines[2]);
        assert!(lines[3].ends_with("written \"only\""), "{}", lines[3]);
        assert_eq!(report.to_json()["rows"][1]["mAP50-95"], Value::Null);
        assert!(report.picture().unwrap().starts_with(b"\x89PNG"));
    }
}
