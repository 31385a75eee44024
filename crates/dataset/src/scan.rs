//! Looks at every picture of a split and its label file, in parallel; the result is in order of the paths.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::description::portable;
use crate::header::{EXTENSIONS, is_picture, probe};
use crate::labels::{Label, label_path, parse_labels};
use crate::{DatasetDescription, Error, Finding, SplitName};

/// Folders inside folders that are followed; a guard against links that lead in circles.
const DEEPEST: usize = 32;

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
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { strict_labels: false, fraction: 1.0, single_cls: false, classes: None }
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

/// What a split holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Number of pictures.
    pub images: usize,
    /// Pictures without an object.
    pub backgrounds: usize,
    /// Number of objects.
    pub boxes: usize,
    /// Number of objects of each class.
    pub boxes_per_class: Vec<usize>,
    /// Number of pictures with an object of each class.
    pub images_per_class: Vec<usize>,
}

impl Split {
    /// Counts pictures and objects.
    pub fn statistics(&self) -> Statistics {
        let mut boxes_per_class = vec![0; self.names.len()];
        let mut images_per_class = vec![0; self.names.len()];
        for image in &self.images {
            let mut seen = HashSet::new();
            for label in &image.labels {
                boxes_per_class[label.class] += 1;
                if seen.insert(label.class) {
                    images_per_class[label.class] += 1;
                }
            }
        }
        Statistics {
            images: self.images.len(),
            backgrounds: self.images.iter().filter(|image| image.labels.is_empty()).count(),
            boxes: boxes_per_class.iter().sum(),
            boxes_per_class,
            images_per_class,
        }
    }
}

impl DatasetDescription {
    /// Finds a split's pictures, reads their headers and label files. What cannot be used is left out and named: a
    /// label row, never its whole picture; a picture that is empty, cut short or none. Nothing is ever written.
    ///
    /// # Errors
    /// The split or what it names is missing, no picture is found or none is usable, an option is out of range; with
    /// `strict_labels`, faulty rows.
    pub fn scan(&self, split: SplitName, options: &ScanOptions) -> Result<(Split, Vec<Finding>), Error> {
        self.check(options)?;
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
        let count = ((paths.len() as f64 * options.fraction).round() as usize).clamp(1, paths.len());
        paths.truncate(count);

        let looked_at: Vec<Looked> = paths.par_iter().map(|path| look(path, self.names.len())).collect();
        let mut images = Vec::with_capacity(looked_at.len());
        let mut faulty_rows = Vec::new();
        let mut label_files = 0;
        for looked in looked_at {
            label_files += usize::from(looked.has_label_file);
            faulty_rows.extend(looked.faulty_rows);
            match looked.image {
                Ok(image) => images.push(image),
                Err(finding) => findings.push(finding),
            }
        }
        if options.strict_labels && !faulty_rows.is_empty() {
            let count = faulty_rows.len();
            faulty_rows.truncate(SHOWN);
            return Err(Error::Labels { count, first: faulty_rows });
        }
        findings.extend(faulty_rows);
        if images.is_empty() {
            let first = findings.first().cloned().unwrap_or(Finding {
                file: self.file.clone(),
                line: None,
                message: "no picture".into(),
            });
            return Err(Error::NothingReadable { split: split.to_string(), first });
        }
        if label_files == 0 {
            let looked = label_path(&images[0].path);
            findings.push(Finding {
                file: self.file.clone(),
                line: self.line(split),
                message: format!(
                    "`{split}` has no label files, so it holds no objects; looked for {}",
                    looked.display()
                ),
            });
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
            walk(source, DEEPEST, paths)
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
        for (index, row) in text.lines().enumerate() {
            let row = row.trim();
            if row.is_empty() {
                continue;
            }
            let path = portable(row);
            let path = path.strip_prefix(".").unwrap_or(&path);
            let found = [folder.join(path), self.root.join(path)].into_iter().find(|candidate| candidate.is_file());
            match found {
                Some(found) => paths.push(found),
                None => findings.push(Finding {
                    file: list.to_path_buf(),
                    line: Some(index + 1),
                    message: format!("the picture {row} does not exist; left out"),
                }),
            }
        }
        Ok(())
    }
}

fn walk(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
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
                walk(&path, depth - 1, paths)?;
            }
        } else if is_picture(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

struct Looked {
    image: Result<ImageEntry, Finding>,
    has_label_file: bool,
    faulty_rows: Vec<Finding>,
}

fn look(path: &Path, classes: usize) -> Looked {
    let size = match probe(path) {
        Ok(size) => size,
        Err(message) => {
            let finding = Finding { file: path.to_path_buf(), line: None, message: format!("{message}; left out") };
            let has_label_file = label_path(path).is_file();
            return Looked { image: Err(finding), has_label_file, faulty_rows: Vec::new() };
        }
    };
    let file = label_path(path);
    let mut looked = Looked {
        image: Ok(ImageEntry { path: path.to_path_buf(), size, labels: Vec::new() }),
        has_label_file: true,
        faulty_rows: Vec::new(),
    };
    match fs::read(&file) {
        Ok(bytes) => {
            let parsed = parse_labels(&bytes, classes);
            if let Ok(image) = &mut looked.image {
                image.labels = parsed.labels;
            }
            looked.faulty_rows = parsed
                .faults
                .into_iter()
                .map(|(line, message)| Finding {
                    file: file.clone(),
                    line: Some(line),
                    message: format!("{message}; row left out"),
                })
                .collect();
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => looked.has_label_file = false,
        Err(error) => {
            // A picture whose labels exist but cannot be read is no background.
            let message = format!("the labels cannot be read: {error}; picture left out");
            looked.image = Err(Finding { file, line: None, message });
        }
    }
    looked
}
