//! The data set of a run: opened, looked through, its findings told, its loaders made.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use yolo11_config::{Cache, Settings};
use yolo11_dataset::{
    self as dataset, Augmentation, DatasetDescription, ExamineOptions, Finding, Loader, LoaderSettings, ScanOptions,
    Severity, Share, Split, SplitName,
};
use yolo11_detection::Target;
use yolo11_machine::system::free_memory;
use yolo11_versioning::Address;

use crate::data_version::{self, DataVersion};
use crate::file::write_atomically;
use crate::{Announcer, Error, Event};

/// Where `data=demo` is generated: a project's own folder for data.
const DEMO_FOLDER: &str = "data/demo";
/// The demo set is the same for all trainings, whatever their seed.
const DEMO_SEED: u64 = 0;
/// Name of the file in a run's folder that keeps the figures of its data.
pub const STATISTICS: &str = "data_statistics.json";
/// Kinds of findings that are shown, one of each; all are in the log.
const SHOWN_KINDS: usize = 6;
/// Share of the free memory that `cache: ram` takes at most.
const CACHE_SHARE: f64 = 0.3;
/// Bytes for `cache: ram` where the system does not tell how much is free.
const UNKNOWN_MEMORY_CACHE: u64 = 1 << 30;

/// A data set's description, and which version of the data it is of.
#[derive(Debug)]
pub struct Opened {
    /// What `dataset.yaml` says.
    pub description: DatasetDescription,
    /// What is known of the data's version.
    pub version: DataVersion,
}

/// Opens what `data=` names: a `dataset.yaml` here, in another repository or in a bucket, or `demo`, which is generated where it is not there yet.
/// Data that is versioned and missing is pulled.
pub fn open(settings: &Settings, announcer: &mut Announcer, stop: &AtomicBool) -> Result<Opened, Error> {
    let data = settings.require_data()?;
    if data == "demo" && !Path::new(data).exists() {
        let file = dataset::demo::generate(Path::new(DEMO_FOLDER), DEMO_SEED)?;
        announcer.note(format!("data       demo set in {DEMO_FOLDER}"))?;
        return Ok(Opened { description: DatasetDescription::read(file)?, version: DataVersion::default() });
    }
    if yolo11_tracking::secret::mask_addresses(data) != data {
        return Err(Error::Setup {
            message: "data= holds a password, which would be written into args.yaml".into(),
            hint:
                "leave it out; git asks its credential helper, s3:// takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .into(),
        });
    }
    if let Some(address) = Address::parse(data) {
        let (path, version) = data_version::fetch(data, &address, announcer, stop)?;
        return Ok(Opened { description: DatasetDescription::read(path)?, version });
    }
    let mut version = DataVersion::default();
    let file = Path::new(data);
    if !file.exists() {
        version.look_at(file, settings.auto_pull, announcer, stop)?;
    }
    let description = DatasetDescription::read(file)?;
    for place in [file.to_owned()].into_iter().chain(description.places()) {
        version.look_at(&place, settings.auto_pull, announcer, stop)?;
    }
    version.announce(announcer)?;
    Ok(Opened { description, version })
}

/// Looks through one split. Findings are announced, one of each kind; every one goes to the log.
pub fn scan(
    description: &DatasetDescription,
    name: SplitName,
    settings: &Settings,
    announcer: &mut Announcer,
) -> Result<Arc<Split>, Error> {
    let options = ScanOptions {
        strict_labels: settings.strict_labels,
        // Figures of a part of the validation split could not be compared.
        fraction: if name == SplitName::Train { settings.fraction } else { 1.0 },
        single_cls: settings.single_cls,
        classes: (!settings.classes.is_empty()).then(|| settings.classes.clone()),
        imgsz: Some(settings.imgsz),
    };
    let (split, mut findings) = description.scan(name, &options)?;
    dataset::doctor::sort(&mut findings);
    tell(&format!("{name}: "), &findings, announcer)?;
    Ok(Arc::new(split))
}

/// What shows only when the splits of a training are seen together, such as pictures that two of them share. What needs decoding is
/// left to `yolo11 data check`; what that found out earlier is used.
pub fn compare(
    description: &DatasetDescription,
    splits: &[&Split],
    settings: &Settings,
    announcer: &mut Announcer,
) -> Result<(), Error> {
    let options =
        ExamineOptions { imgsz: Some(settings.imgsz), thorough: false, cache: dataset::doctor::default_cache_folder() };
    let mut findings = description.compare(splits, &options);
    if !settings.classes.is_empty() || settings.fraction < 1.0 {
        // Some classes are left out on purpose.
        findings.retain(|finding| !finding.check.id().starts_with("class-"));
    }
    tell("", &findings, announcer)
}

fn tell(whose: &str, findings: &[Finding], announcer: &mut Announcer) -> Result<(), Error> {
    let mut kinds = 0;
    let mut rest = 0;
    for same in findings.chunk_by(|a, b| a.check == b.check) {
        let is_shown = same[0].check.severity() < Severity::Note && kinds < SHOWN_KINDS;
        if is_shown {
            kinds += 1;
            let more = if same.len() > 1 { format!(" (and {} more)", same.len() - 1) } else { String::new() };
            announcer.warn(format!("{whose}{}{more}", same[0]))?;
        }
        for finding in &same[usize::from(is_shown)..] {
            announcer.announce(&Event::Detail(&format!("{whose}{finding}")))?;
            rest += 1;
        }
    }
    if kinds > 0 && rest > 0 {
        announcer.note(format!("{rest} more in the log; `yolo11 data check` shows all with pictures"))?;
    }
    Ok(())
}

/// Figures of the splits of a run, as `data_statistics.json` keeps them.
pub fn statistics(splits: &[(&str, &Split)]) -> serde_json::Value {
    let figures = splits.iter().map(|(name, split)| ((*name).to_owned(), split.statistics().to_json(&split.names)));
    let mut figures: serde_json::Map<String, serde_json::Value> = figures.collect();
    figures.insert("classes".to_owned(), serde_json::json!(splits.first().map(|(_, split)| &split.names)));
    figures.into()
}

/// Draws what the labels of a split look like, as every run does, into a JPEG file.
pub fn draw_labels(split: &Split, file: &Path) -> Result<(), Error> {
    let drawn = yolo11_report::labels::draw(split.images.len(), &targets(split), &split.names);
    let bytes = drawn
        .to_jpeg()
        .map_err(|error| Error::Write { path: file.to_path_buf(), source: std::io::Error::other(error) })?;
    write_atomically(file, &bytes)
}

/// All objects of a split, as pictures of them are drawn from.
pub fn targets(split: &Split) -> Vec<Target> {
    let of_image = |(image, entry): (usize, &dataset::ImageEntry)| {
        entry.labels.iter().map(move |label| Target { image, class: label.class, bbox: label.bbox }).collect::<Vec<_>>()
    };
    split.images.iter().enumerate().flat_map(of_image).collect()
}

/// What tells whether two processes see the same pictures and labels, on whatever machine and under whatever folder.
pub(crate) fn digest(split: &Split) -> String {
    let mut hasher = DefaultHasher::new();
    for entry in &split.images {
        entry.path.file_name().hash(&mut hasher);
        entry.size.hash(&mut hasher);
        for label in &entry.labels {
            (label.class, label.bbox.map(f32::to_bits)).hash(&mut hasher);
        }
    }
    format!("{} {:?} {:016x}", split.images.len(), split.names, hasher.finish())
}

/// Batches to learn from, or a share of each: shuffled by the seed, varied as the settings say.
pub fn training_loader(split: Arc<Split>, settings: &Settings, batch: usize, share: Share) -> Result<Loader, Error> {
    let from = &settings.augmentation;
    let augmentation = Augmentation {
        hsv_h: exact(from.hsv_h),
        hsv_s: exact(from.hsv_s),
        hsv_v: exact(from.hsv_v),
        degrees: exact(from.degrees),
        translate: exact(from.translate),
        scale: exact(from.scale),
        shear: exact(from.shear),
        perspective: exact(from.perspective),
        flipud: exact(from.flipud),
        fliplr: exact(from.fliplr),
        mosaic: exact(from.mosaic),
        mixup: exact(from.mixup),
        cutmix: exact(from.cutmix),
        close_mosaic: settings.close_mosaic,
    };
    let loader = LoaderSettings {
        augment: Some(augmentation),
        workers: settings.workers,
        seed: settings.seed,
        cache: cache(settings),
        epochs: Some(settings.epochs),
        share,
        ..LoaderSettings::training(batch, settings.imgsz)
    };
    Ok(Loader::new(split, loader)?)
}

/// Batches to measure on, as they are: rectangular, or all `square`.
pub fn validation_loader(split: Arc<Split>, settings: &Settings, batch: usize, square: bool) -> Result<Loader, Error> {
    let loader = LoaderSettings {
        workers: settings.workers,
        seed: settings.seed,
        cache: cache(settings),
        rect: !square,
        ..LoaderSettings::evaluation(batch, settings.imgsz)
    };
    Ok(Loader::new(split, loader)?)
}

/// The decimal that was written, not the nearest float32 of it.
fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn cache(settings: &Settings) -> dataset::Cache {
    match settings.cache {
        Cache::Off => dataset::Cache::None,
        Cache::Ram => {
            let limit = free_memory().map_or(UNKNOWN_MEMORY_CACHE, |free| (free as f64 * CACHE_SHARE) as u64);
            dataset::Cache::Ram { limit_bytes: limit }
        }
        // Beside the runs and not beside the pictures: a data set's folder is the user's and may be read-only.
        Cache::Disk => dataset::Cache::Disk { folder: settings.project.join("cache") },
    }
}
