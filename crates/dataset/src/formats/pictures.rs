//! Finds pictures by the names that annotation files give them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::header::is_picture;
use crate::scan::{DEEPEST, walk};
use crate::{Error, SplitName};

/// Every picture of some folders.
pub(super) struct Pictures {
    folders: Vec<PathBuf>,
    by_name: HashMap<String, Vec<PathBuf>>,
}

/// What a name leads to.
pub(super) enum Found {
    One(PathBuf),
    None,
    /// Several pictures have the name.
    Several(PathBuf, PathBuf),
}

impl Pictures {
    pub fn index(folders: &[PathBuf]) -> Result<Self, Error> {
        let mut paths = Vec::new();
        for folder in folders {
            walk(folder, DEEPEST, &mut paths, &is_picture)?;
        }
        paths.sort();
        paths.dedup();
        let mut by_name: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            by_name.entry(name).or_default().push(path);
        }
        Ok(Self { folders: folders.to_vec(), by_name })
    }

    /// The picture of this name (relative, with `/`): beside the annotation file, under a folder, or else the only one of that
    /// file name; of several that in the folder of the split.
    pub fn find(&self, name: &str, file: &Path, split: Option<SplitName>) -> Found {
        let own = name.rsplit('/').next().unwrap_or(name);
        let Some(candidates) = self.by_name.get(own) else { return Found::None };
        let beside = file.parent().unwrap_or(Path::new(""));
        let exact =
            [beside].into_iter().chain(self.folders.iter().map(PathBuf::as_path)).map(|folder| folder.join(name));
        for path in exact {
            if candidates.contains(&path) {
                return Found::One(path);
            }
        }
        let ends = |path: &&PathBuf| path.ends_with(name);
        let matching: Vec<&PathBuf> = match candidates.iter().any(|path| ends(&path)) {
            true => candidates.iter().filter(ends).collect(),
            false => candidates.iter().collect(),
        };
        let of_split = |path: &&&PathBuf| split.is_some() && split_in(path) == split;
        let of_split: Vec<&&PathBuf> = matching.iter().filter(of_split).collect();
        match (&matching[..], &of_split[..]) {
            ([one], _) => Found::One((*one).clone()),
            (_, [one]) => Found::One((**one).clone()),
            ([one, other, ..], _) => Found::Several((*one).clone(), (*other).clone()),
            ([], _) => Found::None,
        }
    }
}

/// The split that a picture's folders speak of.
fn split_in(path: &Path) -> Option<SplitName> {
    let folders = path.parent()?.components().rev();
    folders.take(3).find_map(|part| {
        let word: String = part.as_os_str().to_string_lossy().chars().take_while(|c| c.is_ascii_alphabetic()).collect();
        SplitName::from_word(&word)
    })
}

/// A name in an annotation file as a relative path with `/`, or what is wrong with it. Names that lead elsewhere are refused: an
/// annotation file comes from others.
pub(super) fn safe_name(name: &str) -> Result<String, String> {
    let shown: String = name.chars().take(80).collect();
    let plain = name.replace('\\', "/");
    let is_drive = plain.as_bytes().get(1) == Some(&b':') && plain.as_bytes()[0].is_ascii_alphabetic();
    if plain.starts_with('/') || is_drive {
        return Err(format!("the name {shown:?} is an absolute path"));
    }
    let parts: Vec<&str> = plain.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(format!("the name {shown:?} leads out of its folder"));
    }
    if parts.is_empty() || plain.ends_with('/') {
        return Err(format!("{shown:?} is no name of a picture"));
    }
    if plain.chars().any(char::is_control) || parts.iter().any(|part| part.len() > 255) {
        return Err(format!("the name {shown:?} cannot be that of a file"));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(safe_name("a\\b/./c.jpg").as_deref(), Ok("a/b/c.jpg"));
        for (name, words) in [
            ("/etc/passwd", "is an absolute path"),
            ("C:\\x.jpg", "is an absolute path"),
            ("\\\\host\\x.jpg", "is an absolute path"),
            ("a/../../x.jpg", "leads out of its folder"),
            ("..\\x.jpg", "leads out of its folder"),
            ("", "is no name of a picture"),
            ("a/", "is no name of a picture"),
            ("a\0.jpg", "cannot be that of a file"),
        ] {
            let message = safe_name(name).unwrap_err();
            assert!(message.ends_with(words), "{name:?}: {message}");
        }
    }
}
