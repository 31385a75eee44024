//! Taking data in: its content into the cache, its id into a `.dvc` file.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::directory::{Directory, Entry};
use crate::intake::{Source, md5_of_files, read_through};
use crate::link::{Link, set_mode};
use crate::pointer::{Output, Pointer};
use crate::state::Stamp;
use crate::watch::Step;
use crate::workspace::{Content, Found, WorkFile};
use crate::{Error, Repository, Result, Watch, write};

/// Files, and bytes, that are copied before they are synced together.
const BATCH: (usize, u64) = (8192, 1 << 30);

/// What [`Repository::add`] did with one target.
#[derive(Clone, Debug)]
pub struct Added {
    /// The data.
    pub path: PathBuf,
    /// The `.dvc` file.
    pub pointer: PathBuf,
    /// The .gitignore, if it got a line.
    pub gitignore: Option<PathBuf>,
    /// The content's id.
    pub id: String,
}

impl Repository {
    /// Tracks files and folders, or takes in what has changed in them.
    pub fn add(&self, targets: &[PathBuf], watch: &Watch) -> Result<Vec<Added>> {
        let mut added = Vec::new();
        for target in targets {
            let path = self.addable(target)?;
            let mut name = path.clone().into_os_string();
            name.push(".dvc");
            let file = PathBuf::from(name);
            let pointer = match write::read_if_any(&file)? {
                Some(text) => Some(Pointer::parse(&text, &file)?),
                None => None,
            };
            added.push(self.take_in(&path, file, pointer, watch)?);
            self.state.save()?;
        }
        Ok(added)
    }

    /// Takes in what has changed in tracked data, of all `.dvc` files where there are no targets.
    pub fn commit(&self, targets: &[PathBuf], watch: &Watch) -> Result<Vec<Added>> {
        let mut added = Vec::new();
        for item in self.targets(targets)?.into_iter().filter(|item| item.stage.is_none()) {
            let id = self.content(self.find(&item.path)?, item.output.is_legacy, watch)?.id();
            if id.is_none() || id == item.output.md5 && self.has_all(&item.output, watch)? {
                continue;
            }
            let text = fs::read_to_string(&item.file).map_err(Error::io("read", &item.file))?;
            let pointer = Pointer::parse(&text, &item.file)?;
            added.push(self.take_in(&item.path, item.file.clone(), Some(pointer), watch)?);
        }
        self.state.save()?;
        Ok(added)
    }

    /// The target's full path, if it can be tracked.
    fn addable(&self, target: &Path) -> Result<PathBuf> {
        let path = self.absolute(target)?;
        let shown = target.display();
        if path.to_str().is_none() {
            return Err(Error::refused(
                format!("the name of `{shown}` is not UTF-8"),
                "rename it; DVC keeps names as text",
            ));
        }
        if !path.exists() {
            return Err(Error::refused(format!("`{shown}` does not exist"), "check the path"));
        }
        if path == self.root()
            || path.starts_with(self.root().join(".dvc"))
            || path.extension().is_some_and(|e| e == "dvc")
        {
            return Err(Error::refused(
                format!("`{shown}` is the repository's own"),
                "add the data, such as a folder in it",
            ));
        }
        for item in self.tracked()? {
            let (inside, around) = (path.starts_with(&item.path), item.path.starts_with(&path));
            if item.path != path && (inside || around) {
                let other = self.shown(&item.path);
                let message = format!("`{shown}` and `{other}`, which is tracked already, lie in one another");
                let hint = format!("`yolo11 data add {other}` takes in what has changed there");
                return Err(Error::refused(message, hint));
            }
        }
        if self.is_in_git(&path) {
            let hint = format!(
                "take it out of git first: git rm -r --cached '{shown}' && git commit -m 'Stop tracking {shown}'"
            );
            return Err(Error::refused(format!("`{shown}` is tracked by git"), hint));
        }
        Ok(path)
    }

    /// Content into the cache, then .gitignore, then the `.dvc` file: until that last rename nothing is said to be tracked.
    fn take_in(&self, path: &Path, file: PathBuf, pointer: Option<Pointer>, watch: &Watch) -> Result<Added> {
        let found = self.find(path)?;
        let content = self.store(found, pointer.is_some(), watch)?;
        let id = content.id().unwrap_or_default();
        let files = content.files();
        let is_folder = matches!(content, Content::Folder { .. });
        let old = pointer.as_ref().and_then(|pointer| pointer.outputs.first().cloned());
        let output = Output {
            md5: Some(id.clone()),
            size: Some(files.iter().map(|(file, _)| file.stamp.size).sum()),
            files: is_folder.then_some(files.len() as u64),
            executable: !is_folder && files.iter().any(|(file, _)| file.is_executable),
            is_legacy: false,
            ..old.unwrap_or_else(|| Output {
                path: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                is_cached: true,
                is_pushed: true,
                ..Output::default()
            })
        };
        if self.cache.links.first().is_some_and(|link| link.is_shared()) {
            self.link_again(&files, output.executable, watch)?;
        }
        let gitignore = self.git_ignore(path)?;
        let pointer = match pointer {
            Some(mut pointer) if pointer.outputs.len() == 1 => {
                pointer.outputs[0] = output;
                pointer
            }
            _ => Pointer::new(file.clone(), output),
        };
        let text = pointer.render();
        if write::read_if_any(&file)?.as_deref() != Some(&text) {
            write::write(&file, text.as_bytes())?;
        }
        Ok(Added { path: path.to_owned(), pointer: file, gitignore, id })
    }

    /// Puts every file's content into the cache, and a folder's list after its files.
    fn store(&self, found: Found, reads_first: bool, watch: &Watch) -> Result<Content> {
        match found {
            Found::Nothing => Ok(Content::Nothing),
            Found::File(file) => {
                let mut ids = self.store_files(std::slice::from_ref(&file), reads_first, watch)?;
                Ok(Content::File { md5: ids.pop().unwrap_or_default(), file })
            }
            Found::Folder(files) => {
                let ids = self.store_files(&files, reads_first, watch)?;
                let entries =
                    files.iter().zip(ids).map(|(file, md5)| Entry { path: file.relative.clone(), md5 }).collect();
                let directory = Directory { entries };
                let id = directory.id();
                if !self.cache.has(&id, false, watch)? {
                    self.cache.write(&id, directory.render().as_bytes())?;
                }
                Ok(Content::Folder { files, directory })
            }
        }
    }

    fn store_files(&self, files: &[WorkFile], reads_first: bool, watch: &Watch) -> Result<Vec<String>> {
        let step = watch.step("adding", files.len());
        let is_shared = self.cache.links.first().is_some_and(|link| link.is_shared());
        let mut ids = Vec::with_capacity(files.len());
        let mut rest = files;
        while !rest.is_empty() {
            let mut bytes = 0;
            let over = rest.iter().position(|file| {
                bytes += file.stamp.size;
                bytes > BATCH.1
            });
            let count = over.unwrap_or(rest.len()).clamp(1, BATCH.0).min(rest.len());
            let (batch, after) = rest.split_at(count);
            rest = after;
            let staged = self.stage(batch, reads_first, &step, watch)?;
            if staged.iter().any(|(_, temporary)| temporary.is_some()) {
                self.cache.sync()?;
            }
            // Only if nobody wrote to it meanwhile.
            let unchanged = |file: &WorkFile| fs::metadata(&file.path).ok().map(|now| Stamp::new(&now));
            let stamps: Result<Vec<Option<Stamp>>> = batch
                .par_iter()
                .zip(&staged)
                .map(|(file, (id, temporary))| {
                    if let Some(temporary) = temporary {
                        self.cache.place(id, temporary)?;
                    }
                    // A file that became the cache's own got another time of change by that.
                    let same = |now: &Stamp| *now == file.stamp || is_shared && now.is_same_content(&file.stamp);
                    Ok(unchanged(file).filter(same))
                })
                .collect();
            for ((file, (id, _)), stamp) in batch.iter().zip(&staged).zip(stamps?) {
                if let Some(stamp) = stamp {
                    self.state.set(&self.state_name(&file.path), stamp, id);
                }
            }
            ids.extend(staged.into_iter().map(|(id, _)| id));
        }
        Ok(ids)
    }

    /// The md5 of each file and, where the cache does not have that content, a file of exactly those bytes on its way there.
    fn stage(
        &self,
        files: &[WorkFile],
        reads_first: bool,
        step: &Step,
        watch: &Watch,
    ) -> Result<Vec<(String, Option<PathBuf>)>> {
        let is_new = |id: &str| Ok::<bool, Error>(!self.cache.has(id, false, watch)?);
        let mut known: Vec<Option<String>> =
            files.par_iter().map(|file| self.state.get(&self.state_name(&file.path), file.stamp)).collect();
        let is_shared = self.cache.links.first().is_some_and(|link| link.is_shared());
        let source = |index: usize| Source { path: &files[index].path, size: files[index].stamp.size };
        // Large files that are likely to be in the cache are read before a copy is begun; of small ones the md5 is known in time.
        let first: Vec<usize> = (0..files.len())
            .filter(|&index| known[index].is_none() && (is_shared || reads_first && !source(index).is_small()))
            .collect();
        let sources: Vec<Source> = first.iter().map(|&index| source(index)).collect();
        for (index, id) in first.into_iter().zip(md5_of_files(&sources, step)?) {
            known[index] = Some(id);
        }
        let here: Result<Vec<bool>> =
            known.par_iter().map(|id| id.as_ref().map_or(Ok(false), |id| Ok(!is_new(id)?))).collect();
        let mut staged: Vec<Option<(String, Option<PathBuf>)>> =
            known.iter().zip(here?).map(|(id, here)| id.clone().filter(|_| here).map(|id| (id, None))).collect();
        if is_shared {
            let missing: Vec<usize> = (0..files.len()).filter(|&index| staged[index].is_none()).collect();
            let adopt = |index: usize| Ok((index, self.adopt(&files[index])?));
            let adopted: Result<Vec<(usize, Option<PathBuf>)>> = missing.into_par_iter().map(adopt).collect();
            for (index, temporary) in adopted? {
                staged[index] = known[index].clone().filter(|_| temporary.is_some()).map(|id| (id, temporary));
            }
        }
        let missing: Vec<usize> = (0..files.len()).filter(|&index| staged[index].is_none()).collect();
        let clones = self.clones(&missing, files)?;
        let sink = |_: usize, id: Option<&str>| match id {
            Some(id) if !is_new(id)? => Ok(None),
            _ => self.cache.temporary().map(Some),
        };
        let copied = match &clones {
            Some(clones) => {
                let sources: Vec<Source> =
                    missing.iter().zip(clones).map(|(&index, path)| Source { path, ..source(index) }).collect();
                let ids = md5_of_files(&sources, step)?;
                ids.into_iter().zip(clones).map(|(id, path)| (id, Some(path.clone()))).collect()
            }
            None => {
                let sources: Vec<Source> = missing.iter().map(|&index| source(index)).collect();
                read_through(&sources, Some(&sink), step)?
            }
        };
        for (index, copy) in missing.into_iter().zip(copied) {
            staged[index] = Some(copy);
        }
        Ok(staged.into_iter().flatten().collect())
    }

    /// A second name of the file itself, read-only from now on, where links are shared and nobody wrote to it since it was looked at.
    fn adopt(&self, file: &WorkFile) -> Result<Option<PathBuf>> {
        // What another file system or another owner has, and what is behind a link, is copied.
        if !fs::symlink_metadata(&file.path).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        let temporary = self.cache.temporary()?;
        let linked = fs::hard_link(&file.path, &temporary).and_then(|()| set_mode(&temporary, 0o444));
        let now = fs::metadata(&temporary).ok().map(|metadata| Stamp::new(&metadata));
        if linked.is_ok() && now.is_some_and(|now| now.is_same_content(&file.stamp)) {
            return Ok(Some(temporary));
        }
        let _ = fs::remove_file(&temporary);
        Ok(None)
    }

    /// Clones that share the blocks, where the file system can make them.
    fn clones(&self, chosen: &[usize], files: &[WorkFile]) -> Result<Option<Vec<PathBuf>>> {
        if chosen.is_empty() || !self.cache.links.contains(&Link::Reflink) {
            return Ok(None);
        }
        let clone = |index: usize| {
            let temporary = self.cache.temporary()?;
            // A linked file is followed.
            let source = &files[index].path;
            let source = source.canonicalize().map_err(Error::io("read", source))?;
            let is_done = reflink_copy::reflink(source, &temporary).and_then(|()| set_mode(&temporary, 0o444)).is_ok();
            if !is_done {
                let _ = fs::remove_file(&temporary);
            }
            Ok(is_done.then_some(temporary))
        };
        // The first tells.
        let Some(first) = clone(chosen[0])? else { return Ok(None) };
        let rest: Result<Vec<Option<PathBuf>>> = chosen[1..].par_iter().map(|&index| clone(index)).collect();
        let rest: Option<Vec<PathBuf>> = rest?.into_iter().collect();
        Ok(rest.map(|rest| [vec![first], rest].concat()))
    }

    /// Puts the cache's own files in place of the workspace's, where links are shared.
    fn link_again(&self, files: &[(&WorkFile, &str)], is_executable: bool, watch: &Watch) -> Result<()> {
        let step = watch.step("linking", files.len());
        files.par_iter().try_for_each(|(file, id)| {
            step.check()?;
            let object = self.cache.path(id, false);
            let now = fs::metadata(&file.path).map_err(Error::io("read", &file.path))?;
            let is_it = fs::metadata(&object).is_ok_and(|object| {
                use std::os::unix::fs::MetadataExt;
                (object.ino(), object.dev()) == (now.ino(), now.dev())
            });
            let is_link = self.cache.links.first() == Some(&Link::Hardlink) || file.path.is_symlink();
            if Stamp::new(&now).is_same_content(&file.stamp) && !(is_it && is_link) {
                self.put(id, false, &file.path, is_executable)?;
            }
            step.advance();
            Ok(())
        })
    }
}
