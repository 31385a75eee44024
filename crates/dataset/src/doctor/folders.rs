//! What lies in the folders: label files without a picture, names that collide, other lists of class names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::header::is_picture;
use crate::labels::{label_path, parse_labels};
use crate::{Check, DatasetDescription, Finding, Split, SplitName};

/// Files of labelling programs that list class names, one a line.
const NAME_LISTS: [&str; 5] = ["classes.txt", "obj.names", "predefined_classes.txt", "_darknet.labels", "labels.txt"];
/// Characters that Windows refuses in names.
const REFUSED: [char; 8] = ['\\', ':', '*', '?', '"', '<', '>', '|'];

pub(super) fn check(description: &DatasetDescription, splits: &[&Split], findings: &mut Vec<Finding>) {
    let pictures: BTreeSet<&Path> =
        splits.iter().flat_map(|split| split.images.iter().map(|image| image.path.as_path())).collect();
    check_labels(description, &pictures, findings);
    check_names(&pictures, findings);
    check_lists(description, &pictures, findings);
}

/// Label files in the folders of labels that belong to no picture.
fn check_labels(description: &DatasetDescription, pictures: &BTreeSet<&Path>, findings: &mut Vec<Finding>) {
    let mut image_folders: HashMap<PathBuf, BTreeSet<&Path>> = HashMap::new();
    for picture in pictures {
        let labels = label_path(picture);
        let folder = labels.parent().unwrap_or(Path::new("")).to_path_buf();
        image_folders.entry(folder).or_default().insert(picture.parent().unwrap_or(Path::new("")));
    }
    let mut folders: Vec<_> = image_folders.into_iter().collect();
    folders.sort();
    for (labels, images) in folders {
        let stems: HashSet<OsString> = images
            .iter()
            .flat_map(|folder| files(folder))
            .filter(|path| is_picture(path))
            .filter_map(|path| path.file_stem().map(OsStr::to_os_string))
            .collect();
        // Beside pictures there may be texts of all kinds.
        let beside = images.contains(labels.as_path());
        for file in files(&labels) {
            let is_text = file.extension().is_some_and(|extension| extension == "txt");
            let is_known = file.file_stem().is_some_and(|stem| stems.contains(stem));
            let is_list = file.file_name().is_some_and(|name| NAME_LISTS.iter().any(|list| name == *list));
            if !is_text || is_known || is_list {
                continue;
            }
            let has_rows = || {
                let bytes = fs::read(&file).unwrap_or_default();
                !parse_labels(&bytes, description.names.len()).rows.is_empty()
            };
            if beside && !has_rows() {
                continue;
            }
            let looked: Vec<String> = images.iter().map(|folder| folder.display().to_string()).collect();
            let message = format!("no picture of that name in {}", looked.join(", "));
            findings.push(Finding::new(Check::LabelOrphan, file, message));
        }
    }
}

/// The files of a folder that are not hidden, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let shown = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let mut files: Vec<PathBuf> = shown.map(|entry| entry.path()).filter(|path| !path.is_dir()).collect();
    files.sort();
    files
}

fn check_names(pictures: &BTreeSet<&Path>, findings: &mut Vec<Finding>) {
    let mut by_lower: HashMap<String, &Path> = HashMap::new();
    let mut by_label: HashMap<PathBuf, &Path> = HashMap::new();
    for picture in pictures {
        let lower = picture.to_string_lossy().to_lowercase();
        let mut add = |check, message: String, other: Option<&Path>| {
            let mut finding = Finding::new(check, *picture, message).shown_on(picture, Vec::new());
            if let Some(other) = other {
                finding = finding.beside(other);
            }
            findings.push(finding);
        };
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(first) = by_lower.get(&lower) {
            add(Check::NameCase, format!("differs from {} by upper and lower case only", name(first)), Some(first));
        } else {
            by_lower.insert(lower, picture);
        }
        let labels = label_path(picture);
        if let Some(first) = by_label.get(&labels) {
            let message = format!("its labels and those of {} are both in {}", name(first), name(&labels));
            add(Check::NameShared, message, Some(first));
        } else {
            by_label.insert(labels, picture);
        }
        let name = name(picture);
        let stem = picture.file_stem().unwrap_or_default().to_string_lossy();
        if let Some(refused) = name.chars().find(|letter| REFUSED.contains(letter) || letter.is_control()) {
            add(Check::NamePortable, format!("the name holds {refused:?}"), None);
        } else if stem.ends_with([' ', '.']) {
            add(Check::NamePortable, "the name ends in a space or a dot before its extension".into(), None);
        }
    }
}

/// Class names in other files, which must be those of the description.
fn check_lists(description: &DatasetDescription, pictures: &BTreeSet<&Path>, findings: &mut Vec<Finding>) {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    let own = description.file.parent().unwrap_or(Path::new("")).to_path_buf();
    let own = if own.as_os_str().is_empty() { PathBuf::from(".") } else { own };
    folders.insert(own.clone());
    folders.insert(description.root.clone());
    for picture in pictures {
        let labels = label_path(picture);
        // The folder of the labels, and the one that holds the split.
        for folder in labels.ancestors().skip(1).take(2) {
            if !folder.as_os_str().is_empty() {
                folders.insert(folder.to_path_buf());
            }
        }
    }
    let mut seen = HashSet::new();
    for folder in folders {
        for name in NAME_LISTS {
            let file = folder.join(name);
            let Ok(whole) = fs::canonicalize(&file) else { continue };
            let Ok(text) = fs::read_to_string(&file) else { continue };
            if !seen.insert(whole) {
                continue;
            }
            // A label file may be called `labels.txt`.
            if !parse_labels(text.as_bytes(), usize::MAX).rows.is_empty() {
                continue;
            }
            let lines = text.lines().enumerate().map(|(index, line)| (line.trim().to_string(), index + 1));
            let names: Vec<(String, usize)> = lines.filter(|(name, _)| !name.is_empty()).collect();
            findings.extend(difference(description, &file, &names));
        }
    }
    for file in files(&own) {
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !is_yaml || file.file_name() == description.file.file_name() {
            continue;
        }
        // Another description of the same pictures.
        let Ok(other) = DatasetDescription::read(&file) else { continue };
        let train = |description: &DatasetDescription| {
            let paths = description.resolve(SplitName::Train).ok()?;
            paths.into_iter().map(|path| fs::canonicalize(path).ok()).collect::<Option<Vec<_>>>()
        };
        if train(&other).is_some_and(|sources| train(description) == Some(sources)) {
            let names: Vec<(String, usize)> = other.names.into_iter().zip(other.name_lines).collect();
            findings.extend(difference(description, &file, &names));
        }
    }
}

/// The first class that is called otherwise.
fn difference(description: &DatasetDescription, file: &Path, names: &[(String, usize)]) -> Option<Finding> {
    let own = description.file.file_name().unwrap_or_default().to_string_lossy();
    for (class, name) in description.names.iter().enumerate() {
        let (line, message) = match names.get(class) {
            Some((other, _)) if other == name => continue,
            Some((other, line)) => (*line, format!("class {class} is `{other}` here and `{name}` in {own}")),
            None => {
                let line = names.last().map_or(1, |last| last.1);
                (
                    line,
                    format!("{} classes here, {} in {own}: `{name}` is missing", names.len(), description.names.len()),
                )
            }
        };
        return Some(Finding::new(Check::ClassNamesDiffer, file, message).at(line));
    }
    let (extra, line) = names.get(description.names.len())?;
    let message = format!("{} classes here, {} in {own}: `{extra}` is one more", names.len(), description.names.len());
    Some(Finding::new(Check::ClassNamesDiffer, file, message).at(*line))
}
