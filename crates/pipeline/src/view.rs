//! Looks at a data set: sheets of its pictures with their boxes, as they are or as a training sees them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use yolo11_config::Settings;
use yolo11_dataset::{ImageEntry, Share, SplitName};
use yolo11_report::mosaic::{self, MOST_TILES};

use crate::file::write_atomically;
use crate::run_folder::RunFolder;
use crate::tiles::{batch_tiles, picture_tile};
use crate::{Announcer, Error, data, train, weights};

/// What is looked at.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Which split; of augmented pictures always that of training.
    pub split: SplitName,
    /// As a training sees them: its settings, its seed, its batches.
    pub augmented: bool,
    /// Which epoch of that training, from 0.
    pub epoch: usize,
    /// Most pictures.
    pub count: usize,
    /// Only pictures with an object of this class, by name or number.
    pub class: Option<String>,
}

/// Draws the sheets into `<project>/<name>` (`view` if no name is set) and gives their files.
///
/// # Errors
/// The data cannot be used; no picture has the class; the folder cannot be written.
pub fn view(settings: &Settings, options: &ViewOptions, announcer: &mut Announcer) -> Result<Vec<PathBuf>, Error> {
    let mut settings = settings.clone();
    settings.suit_demo()?;
    let description = data::open(&settings, announcer, &AtomicBool::new(false))?.description;
    let folder = || RunFolder::create(&settings.project, settings.name.as_deref().unwrap_or("view"), settings.exist_ok);
    if options.augmented {
        return augmented(&settings, &description, options, announcer, folder);
    }
    let split = data::scan(&description, options.split, &settings, announcer)?;
    let class = options.class.as_ref().map(|class| find_class(class, &split.names)).transpose()?;
    let has_class =
        |entry: &&ImageEntry| class.is_none_or(|class| entry.labels.iter().any(|label| label.class == class));
    let entries: Vec<&ImageEntry> = split.images.iter().filter(has_class).collect();
    if entries.is_empty() {
        let message =
            format!("no picture of {} shows {}", options.split, options.class.as_deref().unwrap_or("anything"));
        return Err(Error::Setup { message, hint: "`yolo11 data stats` counts the classes of each split".into() });
    }
    // Evenly over the whole set: neighbours often look alike.
    let count = options.count.clamp(1, entries.len());
    let chosen: Vec<&ImageEntry> = (0..count).map(|number| entries[number * entries.len() / count]).collect();
    let folder = folder()?;
    let limit = mosaic::tile_limit(count.min(MOST_TILES));
    let mut files = Vec::new();
    for (number, sheet) in chosen.chunks(MOST_TILES).enumerate() {
        let tiles: Vec<_> =
            sheet.par_iter().filter_map(|entry| picture_tile(entry, limit)).map(|(tile, _)| tile).collect();
        files.push(write(
            folder.path(),
            &format!("{}_{number:03}.jpg", options.split),
            &mosaic::draw(&tiles, &split.names),
        )?);
    }
    Ok(files)
}

fn augmented(
    settings: &Settings,
    description: &yolo11_dataset::DatasetDescription,
    options: &ViewOptions,
    announcer: &mut Announcer,
    folder: impl Fn() -> Result<RunFolder, Error>,
) -> Result<Vec<PathBuf>, Error> {
    let mut settings = settings.clone();
    let split = data::scan(description, SplitName::Train, &settings, announcer)?;
    // Mosaics draw from a batch's surroundings, so its size matters.
    let (model, _) = weights::start(&settings, split.names.len())?;
    let batch = train::resolve_batch(&mut settings, model.network(), split.images.len(), 1, announcer)?;
    let loader = data::training_loader(split.clone(), &settings, batch, Share::ALL)?;
    let folder = folder()?;
    let mut files = Vec::new();
    let mut shown = 0;
    for (number, batch) in loader.epoch(options.epoch).enumerate() {
        let batch = batch?;
        for start in (0..batch.count).step_by(MOST_TILES) {
            let end = (start + MOST_TILES).min(batch.count);
            let tiles = batch_tiles(&batch, &split, start..end);
            let part = if start == 0 { String::new() } else { format!("_{}", start / MOST_TILES + 1) };
            let name = format!("train_batch{number}{part}.jpg");
            files.push(write(folder.path(), &name, &mosaic::draw(&tiles, &split.names))?);
            shown += end - start;
            if shown >= options.count {
                return Ok(files);
            }
        }
        loader.recycle(batch);
    }
    Ok(files)
}

fn find_class(word: &str, names: &[String]) -> Result<usize, Error> {
    let by_number = || word.parse().ok().filter(|&class: &usize| class < names.len());
    names.iter().position(|name| name == word).or_else(by_number).ok_or_else(|| {
        let known: Vec<&str> = names.iter().take(20).map(String::as_str).collect();
        let hint = format!("the set has {}; a number from 0 serves too", known.join(", "));
        Error::Setup { message: format!("no class `{word}`"), hint }
    })
}

fn write(folder: &Path, name: &str, sheet: &yolo11_report::Image) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    let bytes =
        sheet.to_jpeg().map_err(|error| Error::Write { path: path.clone(), source: std::io::Error::other(error) })?;
    write_atomically(&path, &bytes)?;
    Ok(path)
}
