//! The data set of a run: opened, looked through, its findings told, its loaders made.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use yolo11_config::{Cache, Settings};
use yolo11_dataset::{
    self as dataset, Augmentation, DatasetDescription, Loader, LoaderSettings, ScanOptions, Split, SplitName,
};
use yolo11_versioning::Address;

use crate::compute::free_memory;
use crate::data_version::{self, DataVersion};
use crate::{Announcer, Error, Event};

/// Where `data=demo` is generated: a project's own folder for data.
const DEMO_FOLDER: &str = "data/demo";
/// The demo set is the same for all trainings, whatever their seed.
const DEMO_SEED: u64 = 0;
/// Findings that are shown; all are in the log.
const SHOWN_FINDINGS: usize = 5;
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

/// Looks through one split. Findings are announced: how many, the first few; every one goes to the log.
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
    };
    let (split, findings) = description.scan(name, &options)?;
    if !findings.is_empty() {
        announcer.warn(format!("{name}: {} left out or mended", things(findings.len())))?;
        for (position, finding) in findings.iter().enumerate() {
            let text = finding.to_string();
            if position < SHOWN_FINDINGS {
                announcer.warn(text)?;
            } else {
                announcer.announce(&Event::Detail(&text))?;
            }
        }
        if findings.len() > SHOWN_FINDINGS {
            announcer.note(format!("{} more are in the log", findings.len() - SHOWN_FINDINGS))?;
        }
    }
    Ok(Arc::new(split))
}

fn things(count: usize) -> String {
    if count == 1 { "1 thing was".into() } else { format!("{count} things were") }
}

/// Batches to learn from: shuffled by the seed, varied as the settings say.
pub fn training_loader(split: Arc<Split>, settings: &Settings, batch: usize) -> Result<Loader, Error> {
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
