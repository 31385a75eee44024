//! Annotations of other programs, read and written: COCO, Pascal VOC, Labelme, CVAT, CSV, and the folders of Roboflow.
//!
//! Reading gathers everything into [`Annotations`]; nothing is written before all of it is read. Names in annotation files are
//! never followed out of the folders of pictures.

mod coco;
mod csv_table;
mod cvat;
mod gather;
mod labelme;
mod pictures;
mod voc;
mod xml;

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::annotations::{AnnotatedImage, Annotations, Destination, Layout, Link, WriteOptions, make_folder, place};
use crate::{DatasetDescription, Error, Finding, SplitName};
use gather::Gatherer;

/// A form that annotations come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Label files as this program reads them, in any layout that a `dataset.yaml` describes.
    Yolo,
    /// One JSON file a split (T.-Y. Lin et al., 2014; cocodataset.org/#format-data).
    Coco,
    /// An XML file a picture (Everingham et al., 2010), as LabelImg writes them too.
    Voc,
    /// A JSON file a picture, as Labelme writes them.
    Labelme,
    /// One XML file, "CVAT for images 1.1".
    Cvat,
    /// A table with a row an object: filename, width, height, class, xmin, ymin, xmax, ymax.
    Csv,
    /// YOLO labels in Roboflow's folders, with a `data.yaml`.
    Roboflow,
}

impl Format {
    /// Each format with the word for it.
    pub const ALL: [(&str, Format); 7] = [
        ("coco", Format::Coco),
        ("voc", Format::Voc),
        ("labelme", Format::Labelme),
        ("cvat", Format::Cvat),
        ("csv", Format::Csv),
        ("roboflow", Format::Roboflow),
        ("yolo", Format::Yolo),
    ];

    /// The format that a word stands for.
    pub fn from_word(word: &str) -> Option<Format> {
        Self::ALL.into_iter().find(|(name, _)| *name == word.to_ascii_lowercase()).map(|(_, format)| format)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }
}

/// What becomes of regions that stand for many objects at once (COCO's `iscrowd`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crowds {
    /// Kept in `origin.json` for the way back; no rows of label files.
    #[default]
    Apart,
    /// Objects like any other.
    Keep,
    /// Left out.
    Drop,
}

/// How annotations are read.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Folders of the pictures, searched with all inside; the source's own where it is empty.
    pub images: Vec<PathBuf>,
    /// The split that everything belongs to; else it follows from names of files and folders.
    pub split: Option<SplitName>,
    /// What becomes of crowds.
    pub crowds: Crowds,
    /// Whether pixels are counted from 1, as the original VOC tools did.
    pub one_based: bool,
    /// Class names in their order; others follow. For formats that list no classes, `classes.txt` beside the annotations does the same.
    pub names: Vec<String>,
    /// Whether a picture that is not found is no reason to leave its annotations out.
    pub labels_only: bool,
}

/// Reads annotations of a format: `source` is a file or a folder of files; for YOLO and Roboflow a description or its folder.
/// Also gives what was left out or is odd.
///
/// # Errors
/// Nothing to read; a file that is not of the format, with its line; a name that leads out of the folders; no picture is found.
pub fn import(format: Format, source: &Path, options: &ImportOptions) -> Result<(Annotations, Vec<Finding>), Error> {
    if fs::metadata(source).is_err() {
        let source_error = std::io::ErrorKind::NotFound.into();
        return Err(Error::Read { path: source.to_path_buf(), source: source_error });
    }
    if matches!(format, Format::Yolo | Format::Roboflow) {
        let (mut annotations, findings) = Annotations::read(&DatasetDescription::find(source)?)?;
        if let Some(split) = options.split {
            annotations.images.iter_mut().for_each(|image| image.split = split);
        }
        annotations.settle();
        return Ok((annotations, findings));
    }
    let mut gatherer = Gatherer::new(source, options)?;
    match format {
        Format::Coco => coco::read(source, &mut gatherer)?,
        Format::Voc => voc::read(source, &mut gatherer)?,
        Format::Labelme => labelme::read(source, &mut gatherer)?,
        Format::Cvat => cvat::read(source, &mut gatherer)?,
        Format::Csv | Format::Yolo | Format::Roboflow => csv_table::read(source, &mut gatherer)?,
    }
    gatherer.finish(format)
}

/// Writes annotations in a format to a new folder, pictures included unless `link` says otherwise.
///
/// # Errors
/// The folder exists and is not empty, or cannot be written; a picture cannot be read.
pub fn export(annotations: &Annotations, format: Format, target: &Path, link: Link) -> Result<(), Error> {
    let layout = match format {
        Format::Yolo => Some(Layout::Standard),
        Format::Roboflow => Some(Layout::Roboflow),
        _ => None,
    };
    if let Some(layout) = layout {
        return annotations.write(target, WriteOptions { link, layout }).map(|_| ());
    }
    let destination = Destination::new(target)?;
    let folder = destination.folder();
    match format {
        Format::Coco => coco::write(annotations, folder, link)?,
        Format::Voc => voc::write(annotations, folder, link)?,
        Format::Labelme => labelme::write(annotations, folder, link)?,
        Format::Cvat => cvat::write(annotations, folder, link)?,
        _ => csv_table::write(annotations, folder, link)?,
    }
    destination.finish().map(|_| ())
}

/// Files under a folder (or the file itself) whose names end so, in order.
fn files(source: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    if source.is_file() {
        return Ok(vec![source.to_path_buf()]);
    }
    let mut found = Vec::new();
    crate::scan::walk(source, crate::scan::DEEPEST, &mut found, &|path: &Path| {
        path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
    })?;
    found.sort();
    Ok(found)
}

/// The list of classes beside annotations of formats that have none.
fn write_names(annotations: &Annotations, folder: &Path) -> Result<(), Error> {
    let names: String = annotations.names.iter().map(|name| format!("{name}\n")).collect();
    write_text(&folder.join(gather::CLASS_LISTS[0]), &names)
}

/// Brings every picture to `folder/PLACE`.
fn place_pictures(
    annotations: &Annotations,
    folder: &Path,
    link: Link,
    path: impl Fn(&AnnotatedImage) -> String + Sync,
) -> Result<(), Error> {
    let places: Vec<(&AnnotatedImage, PathBuf)> =
        annotations.images.iter().map(|image| (image, folder.join(path(image)))).collect();
    let folders: std::collections::BTreeSet<&Path> = places.iter().filter_map(|(_, path)| path.parent()).collect();
    if link != Link::None {
        folders.into_iter().try_for_each(make_folder)?;
    }
    places.par_iter().try_for_each(|(image, path)| place(image, path, link))
}

fn nothing_found(source: &Path, what: &str) -> Error {
    Error::Malformed {
        file: source.to_path_buf(),
        line: None,
        message: format!("{what} found here"),
        hint: "name the file, or the folder that holds the files".into(),
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        Error::Malformed {
            file: path.to_path_buf(),
            line: Some(line + 1),
            message: "this is not UTF-8 text".into(),
            hint: "save the file as UTF-8".into(),
        }
    })
}

fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// The split that a file's or folder's name speaks of: `instances_val2017.json`, `valid/_annotations.csv`.
fn split_of_path(path: &Path) -> Option<SplitName> {
    let words = |text: &str| -> Option<SplitName> {
        text.split(|letter: char| !letter.is_ascii_alphabetic()).find_map(SplitName::from_word)
    };
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    words(&name).or_else(|| {
        // The nearest folders; far above, a word may mean anything.
        let folders = path.parent()?.components().rev().take(2);
        folders.map(|part| part.as_os_str().to_string_lossy().into_owned()).find_map(|part| words(&part))
    })
}

/// What serde says, without its own place.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_string())
}

/// A value of another format as text.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Digits of a coordinate: a whole number where it nearly is one, as label files round; else as short as it can be.
fn shown(value: f64) -> String {
    let whole = value.round();
    if value == whole || (value - whole).abs() < 1e-3 {
        return if whole == 0.0 { "0".into() } else { format!("{whole:.0}") };
    }
    value.to_string()
}
