//! Recorded data back into the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rayon::prelude::*;

use crate::intake::waiting;
use crate::link::{Link, make_first, set_mode};
use crate::state::Stamp;
use crate::{Error, Repository, Result, Tracked, Watch, write};

/// What [`Repository::checkout`] did with one tracked path that was not as recorded.
#[derive(Clone, Debug)]
pub struct CheckedOut {
    /// The data.
    pub path: PathBuf,
    /// Files that were put there or replaced.
    pub written: usize,
    /// Files that were removed.
    pub removed: usize,
}

/// What has to happen at one tracked path.
struct Plan {
    path: PathBuf,
    is_legacy: bool,
    is_folder: bool,
    is_executable: bool,
    write: Vec<(PathBuf, String)>,
    remove: Vec<PathBuf>,
}

impl Repository {
    /// Makes the workspace as recorded. Everything is planned before anything is touched; a file whose content is not in the cache is
    /// neither overwritten nor removed unless `force` is given.
    pub fn checkout(&self, targets: &[PathBuf], force: bool, watch: &Watch) -> Result<Vec<CheckedOut>> {
        let mut plans = Vec::new();
        let mut missing = Vec::new();
        for tracked in self.targets(targets)? {
            if tracked.output.md5.is_none() || !tracked.output.is_cached {
                continue;
            }
            if !self.has_all(&tracked.output, watch)? {
                missing.push(self.shown(&tracked.path));
                continue;
            }
            plans.extend(self.plan(&tracked, force, watch)?);
        }
        let mut result = Vec::new();
        for plan in plans {
            result.push(CheckedOut { path: plan.path.clone(), written: plan.write.len(), removed: plan.remove.len() });
            self.carry_out(plan, watch)?;
            self.state.save()?;
        }
        self.state.save()?;
        if missing.is_empty() {
            return Ok(result);
        }
        let message = format!("the cache does not have the content of {}", missing.join(", "));
        Err(Error::refused(message, "`yolo11 data pull` fetches it from a remote; everything else was checked out"))
    }

    fn plan(&self, tracked: &Tracked, force: bool, watch: &Watch) -> Result<Option<Plan>> {
        let output = &tracked.output;
        let id = output.md5.as_deref().unwrap_or_default();
        let is_folder = output.is_directory();
        let wanted: BTreeMap<PathBuf, String> = if is_folder {
            let directory = self.cache.directory(id, output.is_legacy)?.unwrap_or_default();
            directory.entries.into_iter().map(|entry| (tracked.path.join(entry.path), entry.md5)).collect()
        } else {
            BTreeMap::from([(tracked.path.clone(), id.to_owned())])
        };
        let content = self.content(self.find(&tracked.path)?, output.is_legacy, watch)?;
        let mut present = BTreeMap::new();
        let mut torn = BTreeSet::new();
        for (file, md5) in content.files() {
            present.insert(file.path.clone(), md5.to_owned());
            // What a power cut left of a copy is nobody's work.
            if self.state.is_torn(&self.state_name(&file.path), file.stamp, md5) {
                torn.insert(file.path.clone());
            }
            let wrong_mode = !is_folder
                && file.is_executable != output.executable
                && wanted.get(&file.path).is_some_and(|id| id == md5);
            // With shared links the mode is the cache's.
            if wrong_mode && output.executable && self.cache.links.first().is_some_and(|link| !link.is_shared()) {
                set_mode(&file.path, 0o755).map_err(Error::io("make executable", &file.path))?;
            }
        }
        let lost = |path: &PathBuf, md5: &String| -> Result<Option<PathBuf>> {
            let is_other = wanted.get(path) != Some(md5);
            let is_safe = !is_other || force || torn.contains(path) || self.cache.has(md5, output.is_legacy, watch)?;
            Ok((!is_safe).then(|| path.clone()))
        };
        let lost: Result<Vec<Option<PathBuf>>> = present.par_iter().map(|(path, md5)| lost(path, md5)).collect();
        let lost: Vec<PathBuf> = lost?.into_iter().flatten().collect();
        if let Some(first) = lost.first() {
            let more = if lost.len() > 1 { format!(" and {} more", lost.len() - 1) } else { String::new() };
            let message = format!("`{}`{more} would be lost: the content is not in the cache", self.shown(first));
            return Err(Error::refused(
                message,
                format!("`yolo11 data add {}` keeps it, `--force` drops it", self.shown(&tracked.path)),
            ));
        }
        let write = wanted.iter().filter(|(path, md5)| present.get(*path) != Some(md5));
        let write: Vec<_> = write.map(|(path, md5)| (path.clone(), md5.clone())).collect();
        let remove: Vec<_> = present.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        let stands = if is_folder { tracked.path.is_dir() } else { tracked.path.is_file() };
        if write.is_empty() && remove.is_empty() && stands {
            return Ok(None);
        }
        let is_executable = output.executable;
        Ok(Some(Plan {
            path: tracked.path.clone(),
            is_legacy: output.is_legacy,
            is_folder,
            is_executable,
            write,
            remove,
        }))
    }

    fn carry_out(&self, plan: Plan, watch: &Watch) -> Result<()> {
        let mut emptied = BTreeSet::new();
        for path in &plan.remove {
            watch.check()?;
            fs::remove_file(path).map_err(Error::io("remove", path))?;
            let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&plan.path));
            emptied.extend(folders.map(Path::to_owned));
        }
        // The deepest first; those that hold something stay, as does the tracked folder itself.
        for folder in emptied.iter().rev().filter(|folder| !plan.is_folder || **folder != plan.path) {
            let _ = fs::remove_dir(folder);
        }
        let stage = self.stage_of(&plan)?;
        // Where the files are made, and where they stand in the end.
        let base = stage.as_deref().unwrap_or(&plan.path);
        if plan.is_folder {
            write::make_folder(base)?;
        }
        let placed = |path: &Path| match path.strip_prefix(&plan.path) {
            Ok(below) if plan.is_folder => base.join(below),
            _ => path.to_owned(),
        };
        let folders: BTreeSet<&Path> = plan.write.iter().filter_map(|(path, _)| path.parent()).collect();
        for folder in folders {
            let folder = &placed(folder);
            write::make_folder(folder)?;
            let real = folder.canonicalize().map_err(Error::io("find", folder))?;
            if !real.starts_with(self.root()) {
                let message =
                    format!("`{}` is a link to `{}`, outside the repository", self.shown(folder), real.display());
                return Err(Error::refused(message, "replace the link by a folder"));
            }
        }
        let step = watch.step("linking", plan.write.len());
        let put = |(path, id): &(PathBuf, String)| {
            step.check()?;
            match &stage {
                Some(_) => self.put_staged(id, plan.is_legacy, path, &placed(path))?,
                None => self.put(id, plan.is_legacy, path, plan.is_executable)?,
            }
            step.advance();
            Ok(())
        };
        let done = waiting(|| plan.write.par_iter().try_for_each(put));
        if let Some(stage) = &stage {
            // Stopped half-way, it has whole files only.
            fs::rename(stage, &plan.path).map_err(Error::io("write", &plan.path))?;
        }
        done
    }

    /// A folder of which nothing is there is made elsewhere and gets its name with all that is in it: so its files need no names in between.
    fn stage_of(&self, plan: &Plan) -> Result<Option<PathBuf>> {
        let is_shared = self.cache.links.first().is_some_and(|link| link.is_shared());
        if !plan.is_folder || is_shared || fs::symlink_metadata(&plan.path).is_ok() {
            return Ok(None);
        }
        let above = plan.path.parent().unwrap_or(self.root());
        write::make_folder(above)?;
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).map_err(Error::io("read", path));
        let is_inside = above.canonicalize().is_ok_and(|above| above.starts_with(self.root()));
        let stage = self.desk.join("stage");
        Ok((is_inside && device(&self.desk)? == device(above)? && !stage.exists()).then_some(stage))
    }

    /// An object of the cache into a folder that has no name in the workspace yet.
    fn put_staged(&self, id: &str, is_legacy: bool, path: &Path, staged: &Path) -> Result<()> {
        let link =
            make_first(self.ways(), &self.cache.path(id, is_legacy), staged).map_err(Error::io("write", path))?;
        self.only_copies.store(link == Link::Copy, Ordering::Relaxed);
        if !is_legacy {
            let metadata = fs::metadata(staged).map_err(Error::io("read", staged))?;
            self.state.set(&self.state_name(path), Stamp::new(&metadata), id, false);
        }
        Ok(())
    }

    /// The ways to try; the first file tells of the others.
    fn ways(&self) -> &[Link] {
        if self.only_copies.load(Ordering::Relaxed) { &[Link::Copy] } else { &self.cache.links }
    }

    /// An object of the cache into the workspace: under a temporary name, then renamed over what is there.
    pub(crate) fn put(&self, id: &str, is_legacy: bool, path: &Path, is_executable: bool) -> Result<()> {
        let object = self.cache.path(id, is_legacy);
        // Where nothing is, a link needs no temporary name.
        let shared = self.cache.links.first().filter(|link| link.is_shared());
        let is_shared = shared.is_some_and(|link| link.make(&object, path).is_ok())
            || self.put_by_renaming(&object, path, is_executable)?.is_shared();
        if !is_legacy {
            let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
            self.state.set(&self.state_name(path), Stamp::new(&metadata), id, is_shared);
        }
        Ok(())
    }

    fn put_by_renaming(&self, object: &Path, path: &Path, is_executable: bool) -> Result<Link> {
        let temporary = self.desk_name();
        let link = make_first(self.ways(), object, &temporary).map_err(Error::io("link", path))?;
        self.only_copies.store(link == Link::Copy, Ordering::Relaxed);
        if is_executable && !link.is_shared() {
            set_mode(&temporary, 0o755).map_err(Error::io("make executable", path))?;
        }
        if path.is_dir() && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            // Only an empty one goes.
            fs::remove_dir(path).map_err(Error::io("replace the folder", path))?;
        }
        fs::rename(&temporary, path).map_err(Error::io("write", path))?;
        // Of a hard link to the file that is there already, renaming leaves both names.
        let _ = fs::remove_file(&temporary);
        Ok(link)
    }
}
