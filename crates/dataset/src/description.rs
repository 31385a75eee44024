//! `dataset.yaml`: class names, and where the pictures of each split lie.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use crate::Error;

/// One of the three parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SplitName {
    /// What the network learns from; key `train`.
    Train,
    /// What it is measured on; keys `val`, `valid` or `validation`.
    Val,
    /// What is kept back; key `test`.
    Test,
}

impl SplitName {
    /// All three, in the order in which a set is made.
    pub const ALL: [SplitName; 3] = [SplitName::Train, SplitName::Val, SplitName::Test];

    /// The split that a word stands for, as `dataset.yaml` and other formats call it: `train`, `val`, `valid`, `validation`,
    /// `test`; upper or lower case.
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        Self::ALL.into_iter().find(|split| split.keys().contains(&word.as_str()))
    }

    /// The keys of `dataset.yaml` that name this split, the usual one first.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Val => &["val", "valid", "validation"],
            Self::Test => &["test"],
        }
    }
}

impl fmt::Display for SplitName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.keys()[0])
    }
}

/// What a `dataset.yaml` says (the format of the YOLO family: `path`, `train`, `val`, `test`, `names`, `nc`).
#[derive(Clone, Debug)]
pub struct DatasetDescription {
    /// The file itself.
    pub file: PathBuf,
    /// Folder that the splits are relative to: `path`, itself relative to the file's folder, or that folder.
    pub root: PathBuf,
    /// Class names in the order of their numbers.
    pub names: Vec<String>,
    /// Line of each name in the file; that of `nc` where there are no names.
    pub(crate) name_lines: Vec<usize>,
    splits: HashMap<SplitName, Vec<Entry>>,
}

/// One folder, file list or picture that a split names.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub text: String,
    pub line: usize,
}

impl DatasetDescription {
    /// Reads the file. Whether the folders exist is found by [`DatasetDescription::scan`].
    ///
    /// # Errors
    /// The file is missing or no YAML; `names` and `nc` are missing, contradict each other or are no names; a split is
    /// neither text nor a list of texts.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = path.as_ref().to_path_buf();
        let text = fs::read_to_string(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
        Self::parse(&text, file)
    }

    /// Reads the file, or the one in this folder: `dataset.yaml`, `data.yaml`, or the only other one that names classes.
    ///
    /// # Errors
    /// As [`DatasetDescription::read`]; a folder without a description, or with several.
    pub fn find(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Self::read(path);
        }
        for name in ["dataset.yaml", "data.yaml"] {
            if path.join(name).is_file() {
                return Self::read(path.join(name));
            }
        }
        let entries = fs::read_dir(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let is_yaml =
            |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let files = entries.flatten().map(|entry| entry.path()).filter(is_yaml);
        let mut read: Vec<Self> = files.filter_map(|file| Self::read(file).ok()).collect();
        match (read.pop(), read.is_empty()) {
            (Some(description), true) => Ok(description),
            (one, _) => Err(Error::Description {
                file: path.to_path_buf(),
                line: None,
                message: format!(
                    "{} description of a data set here",
                    if one.is_some() { "more than one" } else { "no" }
                ),
                hint: "name its dataset.yaml".into(),
            }),
        }
    }

    fn parse(text: &str, file: PathBuf) -> Result<Self, Error> {
        let fault = |line: Option<usize>, message: String, hint: &str| Error::Description {
            file: file.clone(),
            line,
            message,
            hint: hint.to_string(),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = MarkedYaml::load_from_str(text).map_err(|error| {
            let hint = "check indentation, colons and quotes on this line and the one before";
            fault(Some(error.marker().line()), format!("this is not YAML: {}", error.info()), hint)
        })?;
        let example = "it needs at least `train:`, `val:` and `names:`";
        let Some(YamlData::Mapping(mapping)) = documents.first().map(|document| &document.data) else {
            return Err(fault(None, "a mapping of keys was expected, such as `train: images/train`".into(), example));
        };
        let find = |key: &str| mapping.iter().find(|(name, _)| scalar_text(name).as_deref() == Some(key));

        let folder = file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let root = match find("path") {
            Some((key, value)) => match (scalar_text(value), is_null(value)) {
                // Without `.` in the middle, which every message would repeat.
                (Some(path), _) => folder.join(portable(&path).strip_prefix(".").unwrap_or(&portable(&path))),
                (None, true) => folder.clone(),
                (None, false) => {
                    return Err(fault(
                        Some(key.span.start.line()),
                        "`path` must be a folder".into(),
                        "write `path: .`",
                    ));
                }
            },
            None => folder.clone(),
        };

        let mut splits = HashMap::new();
        for split in [SplitName::Train, SplitName::Val, SplitName::Test] {
            let Some((key, value)) = split.keys().iter().find_map(|key| find(key)) else { continue };
            let line = key.span.start.line();
            let entries = match &value.data {
                YamlData::Sequence(items) => items
                    .iter()
                    .map(|item| Some(Entry { text: scalar_text(item)?, line: item.span.start.line() }))
                    .collect::<Option<Vec<_>>>(),
                _ if is_null(value) => continue,
                _ => scalar_text(value).map(|text| vec![Entry { text, line }]),
            };
            match entries {
                Some(entries) if !entries.is_empty() => splits.insert(split, entries),
                _ => {
                    let message = format!("`{split}` must be a folder, a .txt file list, or a list of them");
                    return Err(fault(Some(line), message, &format!("write `{split}: images/{split}`")));
                }
            };
        }

        let count = match find("nc") {
            Some((key, value)) => {
                let line = key.span.start.line();
                match &value.data {
                    YamlData::Value(Scalar::Integer(count)) if *count > 0 => Some((*count as usize, line)),
                    _ => {
                        return Err(fault(
                            Some(line),
                            "`nc` must be a whole number above 0".into(),
                            "or leave it out: it follows from `names`",
                        ));
                    }
                }
            }
            None => None,
        };
        let (named, names_line) = match (find("names"), count) {
            (Some((key, value)), _) => {
                let line = key.span.start.line();
                let named = read_names(value).map_err(|(at, message)| {
                    fault(Some(at.unwrap_or(line)), message, "write `names: [first, second]`, or a map from 0 on")
                })?;
                (named, line)
            }
            (None, Some((count, line))) => ((0..count).map(|class| (format!("class_{class}"), line)).collect(), line),
            (None, None) => {
                return Err(fault(None, "the key `names` is missing".into(), "add `names: [first, second]`"));
            }
        };
        let (names, name_lines): (Vec<String>, Vec<usize>) = named.into_iter().unzip();
        if names.is_empty() {
            return Err(fault(Some(names_line), "`names` is empty".into(), "name at least one class"));
        }
        if let Some((count, line)) = count
            && count != names.len()
        {
            let message = format!("`nc` is {count} but `names` has {} entries", names.len());
            return Err(fault(Some(line), message, "correct one of them, or leave out `nc`"));
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (class, name) in names.iter().enumerate() {
            if let Some(first) = seen.insert(name, class) {
                let message = format!("the name `{name}` is given to class {first} and to class {class}");
                return Err(fault(Some(names_line), message, "give each class a name of its own"));
            }
        }
        Ok(Self { file, root, names, name_lines, splits })
    }

    /// Forgets the splits that are not among these.
    pub(crate) fn keep_splits(&mut self, kept: Vec<SplitName>) {
        self.splits.retain(|split, _| kept.contains(split));
    }

    /// Whether the file names this split.
    pub fn has(&self, split: SplitName) -> bool {
        self.splits.contains_key(&split)
    }

    /// Where pictures and labels of the splits stand or, where nothing is there yet, would stand.
    pub fn places(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        for entry in self.splits.values().flatten() {
            let candidates = self.candidates(entry);
            let place = candidates.iter().find(|candidate| candidate.exists()).unwrap_or(&candidates[0]).clone();
            places.push(
                crate::labels::label_path(&place.join("_")).parent().map_or_else(|| place.clone(), Path::to_path_buf),
            );
            places.push(place);
        }
        places.sort();
        places.dedup();
        places
    }

    /// The splits' entries with the folders or files they stand for, in the file's order.
    pub(crate) fn resolve(&self, split: SplitName) -> Result<Vec<PathBuf>, Error> {
        let Some(entries) = self.splits.get(&split) else {
            return Err(Error::Description {
                file: self.file.clone(),
                line: None,
                message: format!("the key `{split}` is missing"),
                hint: format!("add `{split}: ` with the folder of its pictures, such as images/{split}"),
            });
        };
        entries.iter().map(|entry| self.resolve_entry(split, entry)).collect()
    }

    fn candidates(&self, entry: &Entry) -> Vec<PathBuf> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let path = portable(&entry.text);
        let mut candidates = vec![self.root.join(&path), folder.join(&path)];
        // Exports of a well-known service write `../train/images` though the folder lies beside the file.
        if let Ok(inner) = path.strip_prefix("..") {
            candidates.push(folder.join(inner));
        }
        candidates.dedup();
        candidates
    }

    fn resolve_entry(&self, split: SplitName, entry: &Entry) -> Result<PathBuf, Error> {
        let candidates = self.candidates(entry);
        if let Some(found) = candidates.iter().find(|candidate| candidate.exists()) {
            return Ok(found.clone());
        }
        let looked: Vec<String> = candidates.iter().map(|candidate| candidate.display().to_string()).collect();
        Err(Error::Description {
            file: self.file.clone(),
            line: Some(entry.line),
            message: format!("`{split}: {}` does not exist; looked for {}", entry.text, looked.join(", ")),
            hint: "paths are relative to `path`, which is relative to this file".into(),
        })
    }

    /// Where a split's key stands, for messages about what it points to.
    pub(crate) fn line(&self, split: SplitName) -> Option<usize> {
        self.splits.get(&split).and_then(|entries| entries.first()).map(|entry| entry.line)
    }
}

type NamesFault = (Option<usize>, String);

/// Each class's name with its line.
fn read_names(value: &MarkedYaml<'_>) -> Result<Vec<(String, usize)>, NamesFault> {
    let name = |node: &MarkedYaml<'_>| {
        let text = scalar_text(node).filter(|text| !text.trim().is_empty());
        let line = node.span.start.line();
        text.map(|text| (text, line)).ok_or_else(|| (Some(line), "a class name must be text".to_string()))
    };
    match &value.data {
        YamlData::Sequence(items) => items.iter().map(name).collect(),
        YamlData::Mapping(mapping) => {
            let mut names: Vec<Option<(String, usize)>> = vec![None; mapping.len()];
            for (key, value) in mapping {
                let line = Some(key.span.start.line());
                let text = scalar_text(key).unwrap_or_default();
                let class: usize = text
                    .parse()
                    .map_err(|_| (line, format!("`{text}` in `names` is not a class number (0, 1, 2 …)")))?;
                let total = names.len();
                let slot = names.get_mut(class).ok_or_else(|| {
                    let last = total - 1;
                    (
                        line,
                        format!(
                            "`names` has {total} entries but gives class {class}; a number from 0 to {last} is missing"
                        ),
                    )
                })?;
                if slot.replace(name(value)?).is_some() {
                    return Err((line, format!("class {class} is named twice")));
                }
            }
            // As many distinct numbers as slots: none is empty.
            Ok(names.into_iter().flatten().collect())
        }
        _ => Err((None, "`names` must be a list or a map of class names".into())),
    }
}

/// The text of a scalar as the field uses it: `1` and `true` are names too.
fn scalar_text(node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(flag)) => Some(flag.to_string()),
        YamlData::Tagged(_, inner) => scalar_text(inner),
        _ => None,
    }
}

fn is_null(node: &MarkedYaml<'_>) -> bool {
    matches!(node.data, YamlData::Value(Scalar::Null))
}

/// A path written on any system, for this one.
pub(crate) fn portable(text: &str) -> PathBuf {
    if cfg!(windows) || !text.contains('\\') || Path::new(text).exists() {
        PathBuf::from(text)
    } else {
        PathBuf::from(text.replace('\\', "/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatasetDescription, String> {
        DatasetDescription::parse(text, PathBuf::from("data/dataset.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn names_as_list_map_and_count() {
        let list = parse("train: a\nnames: [cat, 'dog']\nnc: 2\n").unwrap();
        assert_eq!(list.names, ["cat", "dog"]);
        assert_eq!(list.root, Path::new("data"));
        let map = parse("path: sub\ntrain: [a, b]\nval:\nnames:\n  1: dog\n  0: cat\n").unwrap();
        assert_eq!(map.names, ["cat", "dog"]);
        assert_eq!(map.root, Path::new("data/sub"));
        assert!(map.has(SplitName::Train) && !map.has(SplitName::Val));
        assert_eq!(parse("nc: 2\nvalid: x").unwrap().names, ["class_0", "class_1"]);
        assert!(parse("names: [a]\nvalidation: x").unwrap().has(SplitName::Val));
        assert_eq!(parse("path: /data\nnames: {0: 1, 1: true}").unwrap().names, ["1", "true"]);
        assert_eq!(parse("path: /data\nnames: [a]").unwrap().root, Path::new("/data"));
    }

    #[test]
    fn faults_name_line_and_hint() {
        let cases = [
            ("names: [a]\nnc: 3\n", "data/dataset.yaml:2: `nc` is 3 but `names` has 1 entries\nhint: correct one"),
            ("train: x\n", "data/dataset.yaml: the key `names` is missing\nhint: add `names: [first, second]`"),
            (
                "names:\n  0: a\n  2: b\n",
                "data/dataset.yaml:3: `names` has 2 entries but gives class 2; a number from 0 to 1 is missing\nhint: ",
            ),
            ("names:\n  0: a\n  x: b\n", "data/dataset.yaml:3: `x` in `names` is not a class number"),
            (
                "train: x\nnames: [a, b, a]\n",
                "data/dataset.yaml:2: the name `a` is given to class 0 and to class 2\nhint: ",
            ),
            ("names: [a, [b]]\n", "data/dataset.yaml:1: a class name must be text"),
            ("names: 3\n", "data/dataset.yaml:1: `names` must be a list or a map"),
            ("names: [a]\nnc: many\n", "data/dataset.yaml:2: `nc` must be a whole number above 0"),
            (
                "names: [a]\ntrain: {a: b}\n",
                "data/dataset.yaml:2: `train` must be a folder, a .txt file list, or a list",
            ),
            ("names: []\n", "data/dataset.yaml:1: `names` is empty"),
            ("- a\n", "data/dataset.yaml: a mapping of keys was expected"),
            ("", "data/dataset.yaml: a mapping of keys was expected"),
            ("train: [a\nnames: b: c\n", "data/dataset.yaml:2: this is not YAML: "),
        ];
        for (text, message) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(message), "{text:?} gave {error}");
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
