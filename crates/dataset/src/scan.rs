//! Looks at every picture of a split and its label file, in parallel; the result is in order of the paths.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::description::portable;
use crate::header::{EXTENSIONS, is_picture};
use crate::labels::{Label, label_path};
use crate::look::{Looked, look};
use crate::{Check, DatasetDescription, Error, Finding, SplitName};

/// Folders inside folders that are followed; a guard against links that lead in circles.
pub(crate) const DEEPEST: usize = 32;

/// How many faulty rows a strict scan shows.
const SHOWN: usize = 5;

/// How a split is read.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Stop at faulty label rows instead of leaving them out.
    pub strict_labels: bool,
    /// Share of the pictures that is used, the first in path order: above 0, at most 1.
    pub fraction: f64,
    /// Treat every object as class 0.
    pub single_cls: bool,
    /// Keep only objects of these classes (numbers of the file); their numbers stay.
    pub classes: Option<Vec<usize>>,
    /// Side of the network's input, to name objects that will be tiny in it.
    pub imgsz: Option<usize>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { strict_labels: false, fraction: 1.0, single_cls: false, classes: None, imgsz: None }
    }
}

/// One picture of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEntry {
    /// The picture's file.
    pub path: PathBuf,
    /// `[height, width]` in pixels, orientation applied.
    pub size: [usize; 2],
    /// Its objects; none for a background.
    pub labels: Vec<Label>,
}

/// The usable pictures of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Which split.
    pub name: SplitName,
    /// Its pictures in order of their paths.
    pub images: Vec<ImageEntry>,
    /// Class names; one, `object`, with `single_cls`.
    pub names: Vec<String>,
}

impl DatasetDescription {
    /// Finds a split's pictures, reads their headers and label files. What cannot be used is left out and named: a
    /// label row, never its whole picture; a picture that is empty, cut short or none. What can be used but is odd is
    /// named too. Nothing is ever written.
    ///
    /// # Errors
    /// The split or what it names is missing, no picture is found or none is usable, an option is out of range; with
    /// `strict_labels`, faulty rows.
    pub fn scan(&self, split: SplitName, options: &ScanOptions) -> Result<(Split, Vec<Finding>), Error> {
        let (split, findings) = self.look_through(split, options)?;
        if split.images.is_empty() {
            let first = findings.into_iter().next();
            let first = first.unwrap_or_else(|| Finding::new(Check::Description, &self.file, "no picture"));
            return Err(Error::NothingReadable { split: split.name.to_string(), first: Box::new(first) });
        }
        Ok((split, findings))
    }

    /// The same, where no picture need be usable.
    pub(crate) fn look_through(&self, split: SplitName, options: &ScanOptions) -> Result<(Split, Vec<Finding>), Error> {
        self.check(options)?;
        let (mut paths, mut findings) = self.pictures(split)?;
        let count = ((paths.len() as f64 * options.fraction).round() as usize).clamp(1, paths.len());
        paths.truncate(count);

        let looked_at: Vec<Looked> = paths.par_iter().map(|path| look(path, &self.names, options.imgsz)).collect();
        let faulty = || looked_at.iter().flat_map(|looked| &looked.findings).filter(|found| found.check.spoils_row());
        if options.strict_labels && faulty().next().is_some() {
            return Err(Error::Labels { count: faulty().count(), first: faulty().take(SHOWN).cloned().collect() });
        }
        let label_files = looked_at.iter().filter(|looked| looked.has_label_file).count();
        let grey = looked_at.iter().filter(|looked| looked.grey).count();
        let mostly_coloured = grey * 2 < looked_at.len();
        let mut images = Vec::with_capacity(looked_at.len());
        for looked in looked_at {
            findings.extend(looked.findings);
            let Some(image) = looked.image else { continue };
            if looked.grey && mostly_coloured {
                let message = "grey, where most pictures are coloured";
                findings.push(Finding::new(Check::PictureGrey, &image.path, message).shown_on(&image.path, Vec::new()));
            }
            if !looked.has_label_file && label_files > 0 {
                let message = format!("no label file {}: taken as background", label_path(&image.path).display());
                let finding = Finding::new(Check::LabelMissing, &image.path, message);
                findings.push(finding.shown_on(&image.path, Vec::new()));
            }
            images.push(image);
        }
        if label_files == 0 {
            let looked = label_path(&paths[0]);
            let message =
                format!("`{split}` has no label files, so it holds no objects; looked for {}", looked.display());
            findings.push(Finding::new(Check::LabelsNone, &self.file, message).at(self.line(split)));
        }
        for image in &mut images {
            if let Some(classes) = &options.classes {
                image.labels.retain(|label| classes.contains(&label.class));
            }
            if options.single_cls {
                image.labels.iter_mut().for_each(|label| label.class = 0);
            }
        }
        let names = if options.single_cls { vec!["object".to_string()] } else { self.names.clone() };
        Ok((Split { name: split, images, names }, findings))
    }

    /// The paths of a split's pictures, in order, each once; and what is wrong with its file lists.
    pub(crate) fn pictures(&self, split: SplitName) -> Result<(Vec<PathBuf>, Vec<Finding>), Error> {
        let mut findings = Vec::new();
        let sources = self.resolve(split)?;
        let mut paths = Vec::new();
        for source in &sources {
            self.collect(split, source, &mut paths, &mut findings)?;
        }
        paths.sort();
        paths.dedup();
        if paths.is_empty() {
            let looked: Vec<String> = sources.iter().map(|source| source.display().to_string()).collect();
            return Err(Error::Description {
                file: self.file.clone(),
                line: self.line(split),
                message: format!("`{split}` has no pictures; looked in {}", looked.join(", ")),
                hint: format!("pictures end in .{}", EXTENSIONS.join(", .")),
            });
        }
        Ok((paths, findings))
    }

    fn check(&self, options: &ScanOptions) -> Result<(), Error> {
        if !(options.fraction > 0.0 && options.fraction <= 1.0) {
            let message = format!("fraction={} is out of range", options.fraction);
            return Err(Error::Settings { message, hint: "choose above 0 and at most 1".into() });
        }
        let last = self.names.len() - 1;
        if let Some(class) = options.classes.iter().flatten().find(|&&class| class > last) {
            return Err(Error::Settings {
                message: format!("classes holds {class}, but {} names classes 0 to {last}", self.file.display()),
                hint: "choose from the numbers of `names`".into(),
            });
        }
        Ok(())
    }

    /// Pictures of a folder (and those inside), of a file list, or the picture itself.
    fn collect(
        &self,
        split: SplitName,
        source: &Path,
        paths: &mut Vec<PathBuf>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        if source.is_dir() {
            walk(source, DEEPEST, paths, &is_picture)
        } else if is_picture(source) {
            paths.push(source.to_path_buf());
            Ok(())
        } else if source.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
            self.read_list(source, paths, findings)
        } else {
            Err(Error::Description {
                file: self.file.clone(),
                line: self.line(split),
                message: format!("`{split}`: {} is neither a folder, a .txt file list nor a picture", source.display()),
                hint: "name a folder of pictures, or a .txt file with the path of one on each line".into(),
            })
        }
    }

    /// A file list: a path a line, relative to the list's own folder or to the data set's.
    fn read_list(&self, list: &Path, paths: &mut Vec<PathBuf>, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let bytes = fs::read(list).map_err(|source| Error::Read { path: list.to_path_buf(), source })?;
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        let folder = list.parent().unwrap_or(Path::new(""));
        let mut lines = HashMap::new();
        for (index, row) in text.lines().enumerate() {
            let row = row.trim();
            if row.is_empty() {
                continue;
            }
            let path = portable(row);
            let path = path.strip_prefix(".").unwrap_or(&path);
            let found = [folder.join(path), self.root.join(path)].into_iter().find(|candidate| candidate.is_file());
            match found {
                Some(found) => {
                    if let Some(first) = lines.insert(found.clone(), index + 1) {
                        let message = format!("the picture {row} stands on line {first} too");
                        findings.push(Finding::new(Check::ListTwice, list, message).at(index + 1));
                    }
                    paths.push(found);
                }
                None => {
                    let message = format!("the picture {row} does not exist");
                    findings.push(Finding::new(Check::ListMissing, list, message).at(index + 1));
                }
            }
        }
        Ok(())
    }
}

/// The files of a folder, and of those inside it, that are wanted; hidden ones are not.
pub(crate) fn walk(
    folder: &Path,
    depth: usize,
    paths: &mut Vec<PathBuf>,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(), Error> {
    let read = |source| Error::Read { path: folder.to_path_buf(), source };
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        // Hidden files are other programs' (`._picture.jpg`).
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(read)?;
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            if depth > 0 {
                walk(&path, depth - 1, paths, wanted)?;
            }
        } else if wanted(&path) {
            paths.push(path);
        }
    }
    Ok(())
}
