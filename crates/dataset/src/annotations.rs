//! A data set in memory, whatever the format it came in and goes out: pictures by name and split, boxes in pixels, and
//! what else a format holds.

mod arrange;
mod origin;
mod stratify;
mod write;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::header::probe;
use crate::labels::{label_path, parse_labels};
use crate::{Check, DatasetDescription, Error, Finding, SplitName};
use origin::Origin;

pub use arrange::{Filter, Grouping, Parts, Remapping, Share};
pub(crate) use write::{Destination, make_folder, place};
pub use write::{Layout, Link, WriteOptions};

/// What a format holds beyond names and boxes: ids, licences, flags.
pub type Extra = Map<String, Value>;

/// All pictures and objects of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// Class names in the order of their numbers.
    pub names: Vec<String>,
    /// The pictures: those of train first, each split in order of their names.
    pub images: Vec<AnnotatedImage>,
    /// What belongs to the set as a whole.
    pub extra: Extra,
}

/// One picture with its objects.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedImage {
    /// Which split it belongs to.
    pub split: SplitName,
    /// Its name in the split: a relative path with `/`, without `..`; no two pictures of a split share one.
    pub name: String,
    /// Where the picture lies; None where only labels are at hand.
    pub source: Option<PathBuf>,
    /// Whether the picture is to be stored anew, upright and as 8-bit RGB, when it is written.
    pub renew: bool,
    /// `[height, width]` in pixels.
    pub size: [usize; 2],
    /// What is on it.
    pub objects: Vec<Object>,
    /// What else is known of it, such as its `id`.
    pub extra: Extra,
}

/// One box.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Class, from 0.
    pub class: usize,
    /// Left, top, right, bottom in pixels, from 0; as the format had it, so it may reach over the edge.
    pub bbox: [f64; 4],
    /// Kept for the way back only: no row of a label file. A crowd, a box without area.
    pub apart: bool,
    /// What else is known of it, such as its `id`.
    pub extra: Extra,
}

impl Object {
    /// A box and nothing else.
    pub fn new(class: usize, bbox: [f64; 4]) -> Self {
        Object { class, bbox, apart: false, extra: Extra::new() }
    }

    /// Centre x, centre y, width, height as shares of the picture, clipped to it; None where nothing is left.
    pub fn shares(&self, [height, width]: [usize; 2]) -> Option<[f64; 4]> {
        let (height, width) = (height as f64, width as f64);
        let [x1, y1, x2, y2] = self.bbox;
        let [x1, x2] = [x1, x2].map(|x| x.clamp(0.0, width) / width);
        let [y1, y2] = [y1, y2].map(|y| y.clamp(0.0, height) / height);
        let shares = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1];
        // What rounds to nothing in a label file is nothing.
        (shares[2] > SMALLEST && shares[3] > SMALLEST).then_some(shares)
    }
}

/// Shares below which a side is written as 0.
const SMALLEST: f64 = 1e-8;

impl Annotations {
    /// Reads a set in YOLO's layout. Rows and pictures that cannot be used are left out and named, as before a training. Ids and
    /// what else the format it was imported from held come from `origin.json` beside the description, where that is there.
    ///
    /// # Errors
    /// A split that the description names is not there or has no pictures; the description names none.
    pub fn read(description: &DatasetDescription) -> Result<(Self, Vec<Finding>), Error> {
        let origin = Origin::read(description.file.parent().unwrap_or(Path::new("")))?;
        let mut images = Vec::new();
        let mut findings = Vec::new();
        for split in SplitName::ALL.into_iter().filter(|&split| description.has(split)) {
            let (paths, found) = description.pictures(split)?;
            findings.extend(found);
            let folders: Vec<PathBuf> =
                description.resolve(split)?.into_iter().filter(|source| source.is_dir()).collect();
            let read: Vec<_> = paths
                .par_iter()
                .map(|path| read_image(path, split, relative(path, &folders), description.names.len()))
                .collect();
            let mut taken = HashSet::new();
            for (image, found) in read {
                findings.extend(found);
                let Some(mut image) = image else { continue };
                image.name = distinct(&image.name, |name| taken.insert(name.to_lowercase()));
                if let Some(origin) = &origin {
                    origin.recall(&mut image, &description.names);
                }
                images.push(image);
            }
        }
        if images.is_empty() {
            let message = "no split has a usable picture".to_string();
            let hint = "`yolo11 data check` says more".to_string();
            return Err(Error::Description { file: description.file.clone(), line: None, message, hint });
        }
        let extra = origin.map(|origin| origin.extra).unwrap_or_default();
        Ok((Annotations { names: description.names.clone(), images, extra }, findings))
    }

    /// Number of objects that are rows of label files.
    pub fn objects(&self) -> usize {
        self.images.iter().flat_map(|image| &image.objects).filter(|object| !object.apart).count()
    }

    /// Number of pictures of each split that has some.
    pub fn splits(&self) -> Vec<(SplitName, usize)> {
        let count = |split| self.images.iter().filter(|image| image.split == split).count();
        SplitName::ALL.into_iter().map(|split| (split, count(split))).filter(|(_, count)| *count > 0).collect()
    }

    /// Brings the pictures into their order, and gives those that share a name or a label file names of their own.
    pub(crate) fn settle(&mut self) {
        self.images.sort_by(|a, b| (a.split, &a.name).cmp(&(b.split, &b.name)));
        let mut taken: HashSet<(SplitName, String)> = HashSet::new();
        for image in &mut self.images {
            image.name = distinct(&image.name, |name| taken.insert((image.split, stem(name).to_lowercase())));
        }
    }

    /// The class of this name, which is new at the end where there is none yet.
    pub(crate) fn class(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_string());
            self.names.len() - 1
        })
    }
}

fn read_image(path: &Path, split: SplitName, name: String, classes: usize) -> (Option<AnnotatedImage>, Vec<Finding>) {
    let size = match probe(path) {
        Ok(header) => header.size,
        Err((check, message)) => return (None, vec![Finding::new(check, path, message)]),
    };
    let [height, width] = size.map(|side| side as f64);
    let file = label_path(path);
    let mut image = AnnotatedImage {
        split,
        name,
        source: Some(path.to_path_buf()),
        renew: false,
        size,
        objects: Vec::new(),
        extra: Extra::new(),
    };
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Some(image), Vec::new()),
        Err(error) => {
            let message = format!("the labels cannot be read: {error}");
            return (None, vec![Finding::new(Check::LabelUnreadable, file, message)]);
        }
    };
    let parsed = parse_labels(&bytes, classes);
    let object = |class: usize, [cx, cy, w, h]: [f64; 4]| {
        let [left, right] = [cx - w / 2.0, cx + w / 2.0].map(|x| x * width);
        let [top, bottom] = [cy - h / 2.0, cy + h / 2.0].map(|y| y * height);
        Object::new(class, [left, top, right, bottom])
    };
    image.objects = parsed.rows.iter().map(|row| object(row.class, row.bbox)).collect();
    let findings =
        parsed.faults.into_iter().map(|fault| Finding::new(fault.check, &file, fault.message).at(fault.line));
    (Some(image), findings.collect())
}

/// A picture's name in its split: its path in the folder that the split names.
fn relative(path: &Path, folders: &[PathBuf]) -> String {
    let inside = folders.iter().filter_map(|folder| path.strip_prefix(folder).ok());
    let shortest = inside.min_by_key(|inside| inside.components().count());
    let name = shortest.map_or_else(|| PathBuf::from(path.file_name().unwrap_or_default()), Path::to_path_buf);
    let parts: Vec<_> = name.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// A name without its extension: pictures of one stem share a label file.
pub(crate) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The name, or where `take` refuses it, the name with `-2`, `-3` … before its extension.
pub(crate) fn distinct(name: &str, mut take: impl FnMut(&str) -> bool) -> String {
    if take(name) {
        return name.to_string();
    }
    let (stem, extension) = name.rsplit_once('.').map_or((name, String::new()), |(a, b)| (a, format!(".{b}")));
    let mut number = 2;
    loop {
        let other = format!("{stem}-{number}{extension}");
        if take(&other) {
            return other;
        }
        number += 1;
    }
}
