//! Objects of the cache that nothing in the workspace needs.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use crate::pointer::is_id;
use crate::{Error, Repository, Result, Watch};

/// Objects that no `.dvc` file and no `dvc.lock` of the workspace names.
#[derive(Clone, Debug, Default)]
pub struct Garbage {
    /// Where they stand.
    pub objects: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
}

impl Repository {
    /// Finds them, and deletes nothing. Fails where a folder's list is missing, as its files could not be told from garbage.
    pub fn garbage(&self, watch: &Watch) -> Result<Garbage> {
        let mut needed = HashSet::new();
        for item in self.tracked()? {
            let Some(id) = item.output.md5.clone() else { continue };
            if item.output.is_directory() {
                let Some(directory) = self.cache.directory(&id, item.output.is_legacy)? else {
                    let message = format!("the list of `{}` is not in the cache", self.shown(&item.path));
                    return Err(Error::refused(
                        message,
                        "`yolo11 data fetch` gets it; without it its files look like garbage",
                    ));
                };
                needed.extend(directory.entries.into_iter().map(|entry| (item.output.is_legacy, entry.md5)));
            }
            needed.insert((item.output.is_legacy, id));
        }
        let mut garbage = Garbage::default();
        for is_legacy in [false, true] {
            let sample = self.cache.path("00", is_legacy);
            let Some(root) = sample.parent() else { continue };
            for head in fs::read_dir(root).into_iter().flatten().flatten() {
                watch.check()?;
                let head_name = head.file_name().to_string_lossy().into_owned();
                if head_name.len() != 2 {
                    continue;
                }
                for object in fs::read_dir(head.path()).into_iter().flatten().flatten() {
                    let id = format!("{head_name}{}", object.file_name().to_string_lossy());
                    if is_id(&id) && !needed.contains(&(is_legacy, id)) {
                        garbage.bytes += object.metadata().map_or(0, |metadata| metadata.len());
                        garbage.objects.push(object.path());
                    }
                }
            }
        }
        garbage.objects.sort();
        Ok(garbage)
    }

    /// Deletes them, folders' lists first, so that no list stays whose files are gone.
    pub fn delete(&self, garbage: &Garbage, watch: &Watch) -> Result<()> {
        let step = watch.step("deleting", garbage.objects.len());
        let is_list = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "dir");
        let (lists, files): (Vec<_>, Vec<_>) = garbage.objects.iter().partition(is_list);
        for object in lists.into_iter().chain(files) {
            step.check()?;
            fs::remove_file(object).map_err(Error::io("delete", object))?;
            step.advance();
        }
        Ok(())
    }
}
