//! What changed in tracked data between two revisions, or since one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::pointer::Pointer;
use crate::{Error, Repository, Result, Watch};

/// How a file changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content is another.
    Modified,
    /// The same content stood at this path before.
    Renamed(String),
}

/// A changed file, relative to the repository's root; folders end with `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// How it changed.
    pub change: Change,
    /// Which file or folder.
    pub path: String,
}

impl Repository {
    /// Compares tracked data of git revision `from` with that of `to`, or with the workspace. A folder whose list is not in the cache counts as one.
    pub fn diff(&self, from: &str, to: Option<&str>, watch: &Watch) -> Result<Vec<Difference>> {
        let before = self.files_of(from, watch)?;
        let after = match to {
            Some(revision) => self.files_of(revision, watch)?,
            None => self.files_here(watch)?,
        };
        let mut added: Vec<_> = after.iter().filter(|(path, _)| !before.contains_key(*path)).collect();
        let mut result = Vec::new();
        for (path, id) in &before {
            match after.get(path) {
                Some(other) if other == id => {}
                Some(_) => result.push(Difference { change: Change::Modified, path: path.clone() }),
                None => {
                    let twin = added.iter().position(|(_, other)| *other == id);
                    result.push(match twin.map(|index| added.remove(index)) {
                        Some((new, _)) => Difference { change: Change::Renamed(path.clone()), path: new.clone() },
                        None => Difference { change: Change::Deleted, path: path.clone() },
                    });
                }
            }
        }
        result.extend(added.into_iter().map(|(path, _)| Difference { change: Change::Added, path: path.clone() }));
        result.sort();
        Ok(result)
    }

    fn files_of(&self, revision: &str, watch: &Watch) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for file in self.git_pointers(revision)? {
            watch.check()?;
            let Some(text) = self.git_show(revision, &file)? else { continue };
            for output in Pointer::parse(&text, &file)?.outputs {
                let Some(id) = &output.md5 else { continue };
                let path = self.shown(&file.with_file_name(&output.path));
                self.list(&path, id, output.is_legacy, &mut files)?;
            }
        }
        Ok(files)
    }

    fn list(&self, path: &str, id: &str, is_legacy: bool, files: &mut BTreeMap<String, String>) -> Result<()> {
        let is_folder = id.ends_with(".dir");
        files.insert(if is_folder { format!("{path}/") } else { path.to_owned() }, id.to_owned());
        if is_folder && let Some(directory) = self.cache.directory(id, is_legacy)? {
            files.extend(directory.entries.into_iter().map(|entry| (format!("{path}/{}", entry.path), entry.md5)));
        }
        Ok(())
    }

    fn files_here(&self, watch: &Watch) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        let tracked = self.tracked()?;
        for item in tracked.iter().filter(|item| item.stage.is_none()) {
            let path = self.shown(&item.path);
            let content = self.content(self.find(&item.path)?, item.output.is_legacy, watch)?;
            let Some(id) = content.id() else { continue };
            files.insert(if id.ends_with(".dir") { format!("{path}/") } else { path }, id);
            files.extend(content.files().into_iter().map(|(file, md5)| (self.shown(&file.path), md5.to_owned())));
        }
        self.state.save()?;
        Ok(files)
    }

    /// The `.dvc` file of tracked data, or a refusal that says how to track it.
    pub fn pointer_of(&self, path: &std::path::Path) -> Result<PathBuf> {
        let found = self.targets(&[path.to_owned()])?;
        let file = found.into_iter().next().map(|item| item.file);
        file.ok_or_else(|| {
            Error::refused(format!("`{}` is not tracked", path.display()), "`yolo11 data add` tracks it")
        })
    }
}
