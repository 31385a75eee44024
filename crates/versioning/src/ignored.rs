//! Which files DVC and git do not look at.

use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{Error, Result};

/// What DVC never looks at.
const DEFAULTS: [&str; 3] = [".hg/", ".git/", ".dvc/"];

/// The patterns that hold in one folder: its own and those of the folders above.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    name: &'static str,
    levels: Vec<Gitignore>,
}

impl Patterns {
    /// `.dvcignore`, from the repository's root down to `folder`.
    pub fn dvc(root: &Path, folder: &Path) -> Result<Patterns> {
        let mut builder = GitignoreBuilder::new(root);
        for pattern in DEFAULTS {
            builder.add_line(None, pattern).map_err(|error| malformed(root, &error))?;
        }
        let defaults = builder.build().map_err(|error| malformed(root, &error))?;
        Patterns { name: ".dvcignore", levels: vec![defaults] }.down(root, folder)
    }

    /// `.gitignore`, from the working tree's root down to `folder`.
    pub fn git(root: &Path, folder: &Path) -> Result<Patterns> {
        Patterns { name: ".gitignore", levels: Vec::new() }.down(root, folder)
    }

    fn down(mut self, root: &Path, folder: &Path) -> Result<Patterns> {
        let mut here = root.to_owned();
        self = self.enter(&here)?;
        for part in folder.strip_prefix(root).unwrap_or(Path::new("")) {
            here.push(part);
            self = self.enter(&here)?;
        }
        Ok(self)
    }

    /// The patterns of a folder below.
    pub fn enter(&self, folder: &Path) -> Result<Patterns> {
        let mut levels = self.levels.clone();
        let file = folder.join(self.name);
        if file.is_file() {
            let mut builder = GitignoreBuilder::new(folder);
            if let Some(error) = builder.add(&file) {
                return Err(malformed(&file, &error));
            }
            levels.push(builder.build().map_err(|error| malformed(&file, &error))?);
        }
        Ok(Patterns { name: self.name, levels })
    }

    /// Whether a path in the folder is left out; the deepest pattern decides.
    pub fn ignore(&self, path: &Path, is_folder: bool) -> bool {
        for level in self.levels.iter().rev() {
            match level.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }

    /// Whether a path or a folder above it, below the root, is left out.
    pub fn ignore_with_parents(&self, root: &Path, path: &Path, is_folder: bool) -> bool {
        let Ok(relative) = path.strip_prefix(root) else { return false };
        let mut here: PathBuf = root.to_owned();
        let count = relative.components().count();
        relative.components().enumerate().any(|(index, part)| {
            here.push(part);
            self.ignore(&here, index + 1 < count || is_folder)
        })
    }
}

fn malformed(path: &Path, error: &ignore::Error) -> Error {
    let hint = "mend the pattern; the syntax is that of .gitignore";
    Error::Malformed { path: path.to_owned(), line: None, message: error.to_string(), hint }
}

/// The line of a .gitignore that means exactly this name beside it.
pub(crate) fn gitignore_entry(name: &str) -> String {
    let mut entry = String::from("/");
    for character in name.chars() {
        if r"[]!*#?\".contains(character) {
            entry.push('\\');
        }
        entry.push(character);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_escaped_as_dvc_escapes_them() {
        assert_eq!(gitignore_entry("[odd]#f!?*.txt"), r"/\[odd\]\#f\!\?\*.txt");
        assert_eq!(gitignore_entry(r"a\b"), r"/a\\b");
    }
}
