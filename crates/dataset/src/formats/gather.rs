//! Gathers pictures and objects while a format is read, and keeps to the rules that hold for all of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::pictures::{Found, Pictures, safe_name};
use super::{Crowds, Format, ImportOptions};
use crate::annotations::{AnnotatedImage, Annotations, Extra, Object};
use crate::header::probe;
use crate::{Check, Error, Finding, SplitName};

/// Largest side of a picture, and largest coordinate: beyond, a number is a slip of somebody's program.
const LONGEST: f64 = 1e6;
/// Pixels a box may reach over the edge by rounding or counting from 1.
const SLACK: f64 = 1.5;

/// A place in an annotation file.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub file: &'a Path,
    pub line: usize,
}

impl Place<'_> {
    pub fn fault(&self, message: impl Into<String>, hint: &str) -> Error {
        let (file, line) = (self.file.to_path_buf(), Some(self.line));
        Error::Malformed { file, line, message: message.into(), hint: hint.into() }
    }

    /// A coordinate, checked.
    pub fn coordinate(&self, value: f64) -> Result<f64, Error> {
        if !value.is_finite() || value.abs() > LONGEST {
            let message = format!("{value:e} is no coordinate in pixels");
            return Err(self.fault(message, "correct the number or take the object out"));
        }
        Ok(value)
    }

    /// A number as text.
    pub fn number(&self, text: &str) -> Result<f64, Error> {
        let shown: String = text.trim().chars().take(40).collect();
        let value = text.trim().parse::<f64>();
        let value = value.map_err(|_| self.fault(format!("`{shown}` is not a number"), "correct the number"))?;
        self.coordinate(value)
    }

    /// A picture's side; 0 for one that is not told.
    pub fn side(&self, value: f64) -> Result<usize, Error> {
        let value = self.coordinate(value)?;
        if value < 0.0 || value.fract() != 0.0 {
            return Err(self.fault(format!("{value} is no side of a picture"), "correct the number"));
        }
        Ok(value as usize)
    }
}

/// The set so far.
pub(super) struct Gatherer<'a> {
    pub options: &'a ImportOptions,
    pub annotations: Annotations,
    pub findings: Vec<Finding>,
    pictures: Pictures,
    missing: usize,
    /// Pictures that are there, by split and name.
    known: HashMap<(SplitName, String), usize>,
    /// How many classes a list names: these keep their order, those that only objects name come after in alphabetic order.
    listed: usize,
}

/// Files that list the classes of formats that do not, one a line, beside the annotations.
pub(super) const CLASS_LISTS: [&str; 2] = ["classes.txt", "labels.txt"];

impl<'a> Gatherer<'a> {
    pub fn new(source: &Path, options: &'a ImportOptions) -> Result<Self, Error> {
        let own = if source.is_dir() { source } else { source.parent().unwrap_or(Path::new("")) };
        let own = if own.as_os_str().is_empty() { Path::new(".") } else { own };
        let folders: Vec<PathBuf> =
            if options.images.is_empty() { vec![own.to_path_buf()] } else { options.images.clone() };
        let pictures = Pictures::index(&folders)?;
        let (annotations, findings, known) = (Annotations::default(), Vec::new(), HashMap::new());
        let mut gatherer = Self { options, annotations, findings, pictures, missing: 0, known, listed: 0 };
        gatherer.list(options.names.iter().map(String::as_str));
        if options.names.is_empty() {
            let lists = CLASS_LISTS.map(|name| std::fs::read_to_string(own.join(name)).unwrap_or_default());
            gatherer.list(lists.iter().flat_map(|list| list.lines()));
        }
        Ok(gatherer)
    }

    /// Classes in their order.
    pub fn list<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            self.annotations.class(name);
        }
        self.listed = self.annotations.names.len();
    }

    /// The class of a name in an annotation file.
    pub fn class(&mut self, place: Place<'_>, name: &str) -> Result<usize, Error> {
        let name = name.trim();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(place.fault("an object without a class name", "name its class"));
        }
        Ok(self.annotations.class(name))
    }

    pub fn find(&mut self, check: Check, place: Place<'_>, message: impl Into<String>) {
        self.findings.push(Finding::new(check, place.file, message).at(place.line));
    }

    /// The split of what stands in this file, where nothing else is said.
    pub fn split(&self, said: Option<SplitName>) -> SplitName {
        self.options.split.or(said).unwrap_or(SplitName::Train)
    }

    /// Takes in a picture, or finds it again; None where it is left out because its file is not there. `size`: `[height, width]` as the
    /// annotation says, 0 where it does not.
    pub fn image(
        &mut self,
        place: Place<'_>,
        name: &str,
        split: Option<SplitName>,
        size: [usize; 2],
        extra: Extra,
    ) -> Result<Option<usize>, Error> {
        let hint = "names are relative to the folder of the pictures; correct the file";
        let name = safe_name(name).map_err(|message| place.fault(message, hint))?;
        let split = self.split(split);
        if let Some(&index) = self.known.get(&(split, name.clone())) {
            return Ok(Some(index));
        }
        let source = match self.pictures.find(&name, place.file, Some(split)) {
            Found::One(path) => Some(path),
            Found::None => None,
            Found::Several(one, other) => {
                let message =
                    format!("`{name}` may be {} or {}; the picture is left out", one.display(), other.display());
                self.find(Check::ImportPicture, place, message);
                self.missing += 1;
                return Ok(None);
            }
        };
        let real = match source.as_deref().map(probe) {
            Some(Ok(header)) => Some(header.size),
            Some(Err((check, message))) => {
                let path = source.unwrap_or_default();
                self.findings.push(Finding::new(check, path, message));
                self.missing += 1;
                return Ok(None);
            }
            None => None,
        };
        let told = !size.contains(&0);
        let size = match real {
            None if !(self.options.labels_only && told) => {
                self.find(Check::ImportPicture, place, format!("no picture `{name}`; its annotations are left out"));
                self.missing += 1;
                return Ok(None);
            }
            Some(real) if told && real != size => {
                let message = format!(
                    "`{name}` is annotated as {} × {}, its file has {} × {}; boxes go by the annotation",
                    size[1], size[0], real[1], real[0]
                );
                self.find(Check::ImportSize, place, message);
                size
            }
            Some(real) => real,
            None => size,
        };
        let index = self.annotations.images.len();
        self.known.insert((split, name.clone()), index);
        self.annotations.images.push(AnnotatedImage {
            split,
            name,
            source,
            renew: false,
            size,
            objects: Vec::new(),
            extra,
        });
        Ok(Some(index))
    }

    /// Takes in an object: `bbox` is left, top, right, bottom in pixels. What cannot be a row of a label file is kept apart.
    pub fn object(
        &mut self,
        place: Place<'_>,
        image: usize,
        class: usize,
        bbox: [f64; 4],
        extra: Extra,
        crowd: bool,
    ) -> Result<(), Error> {
        for value in bbox {
            place.coordinate(value)?;
        }
        // Files on one line say where by the object's id.
        let which = extra.get("id").map_or(String::new(), |id| format!("object {id}: "));
        if crowd && self.options.crowds == Crowds::Drop {
            self.find(Check::ImportCrowd, place, format!("{which}a crowd; left out"));
            return Ok(());
        }
        let size = self.annotations.images[image].size;
        let [height, width] = size.map(|side| side as f64);
        let mut object = Object { class, bbox, apart: false, extra };
        let shown = || bbox.map(|value| (value * 100.0).round() / 100.0);
        if object.shares(size).is_none() || bbox[0] >= bbox[2] || bbox[1] >= bbox[3] {
            self.find(
                Check::ImportNoArea,
                place,
                format!("{which}the box {:?} has no area in its picture; kept apart", shown()),
            );
            object.apart = true;
        } else if crowd && self.options.crowds == Crowds::Apart {
            self.find(Check::ImportCrowd, place, format!("{which}a crowd; kept apart"));
            object.apart = true;
        } else if bbox[0] < -SLACK || bbox[1] < -SLACK || bbox[2] > width + SLACK || bbox[3] > height + SLACK {
            let message =
                format!("{which}the box {:?} reaches out of its picture of {width} × {height}; cut off", shown());
            self.find(Check::ImportOutside, place, message);
        }
        self.annotations.images[image].objects.push(object);
        Ok(())
    }

    /// The whole set.
    pub fn finish(mut self, format: Format) -> Result<(Annotations, Vec<Finding>), Error> {
        if self.annotations.images.is_empty() {
            let message = if self.missing > 0 {
                format!("none of the {} annotated pictures is there", self.missing)
            } else {
                "no picture is annotated".to_string()
            };
            let first = self.findings.first().map_or(String::new(), |finding| format!("; {finding}"));
            let hint = "name the folder of the pictures: --images FOLDER".to_string();
            return Err(Error::Settings { message: format!("{message}{first}"), hint });
        }
        if self.annotations.names.is_empty() {
            // A set of backgrounds: a label file needs a class to speak of.
            self.annotations.names.push("object".into());
        }
        let mut order: Vec<usize> = (0..self.annotations.names.len()).collect();
        order[self.listed..].sort_by(|&a, &b| self.annotations.names[a].cmp(&self.annotations.names[b]));
        let mut new = vec![0; order.len()];
        order.iter().enumerate().for_each(|(class, &old)| new[old] = class);
        self.annotations.names = order.iter().map(|&class| self.annotations.names[class].clone()).collect();
        for object in self.annotations.images.iter_mut().flat_map(|image| &mut image.objects) {
            object.class = new[object.class];
        }
        self.annotations.extra.insert("format".into(), format.name().into());
        self.annotations.settle();
        Ok((self.annotations, self.findings))
    }
}
