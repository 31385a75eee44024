//! Taking data in: its content into the cache, its id into a `.dvc` file.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::directory::{Directory, Entry};
use crate::intake::{Source, md5_of_files, read_through, waiting};
use crate::link::{Link, set_mode};
use crate::pointer::{Output, Pointer};
use crate::state::Stamp;
use crate::watch::Step;
use crate::workspace::{Content, Found, WorkFile};
use crate::{Error, Repository, Result, Watch, write};

/// Files, and bytes, that are taken in before they are synced together. Large files are digested side by side only within a batch.
const BATCH: (usize, u64) = (8192, 32 << 30);

/// How the cache comes by a file's content.
#[derive(PartialEq)]
enum Way {
    /// It has it.
    Here,
    /// By a file of exactly those bytes on its way there.
    Copied(PathBuf),
    /// By the workspace's file itself.
    Own,
}

fn source(file: &WorkFile) -> Source<'_> {
    Source { path: &file.path, size: file.stamp.size }
}

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
        let is_shared = self.is_shared();
        if is_shared {
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
        if !is_shared {
            self.give_back(&files, watch)?;
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
        let is_shared = self.is_shared();
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
            let mut staged = self.stage(batch, reads_first, &step, watch)?;
            self.refuse_torn(batch, &staged)?;
            if staged.iter().any(|(_, way)| *way != Way::Here) {
                self.cache.sync()?;
            }
            // One file for each content, and after the copies: none takes away what another has put there.
            let mut contents = HashSet::new();
            let adopts: Vec<bool> =
                staged.iter().map(|(id, way)| *way == Way::Own && contents.insert(id.as_str())).collect();
            let placed: Result<Vec<bool>> = waiting(|| {
                staged.par_iter().try_for_each(|(id, way)| match way {
                    Way::Copied(temporary) => self.cache.place(id, temporary),
                    Way::Here | Way::Own => Ok(()),
                })?;
                let adopt = |((file, (id, _)), adopts): ((&WorkFile, &(String, Way)), &bool)| {
                    if *adopts { self.adopt(file, id, is_shared, watch) } else { Ok(true) }
                };
                batch.par_iter().zip(&staged).zip(&adopts).map(adopt).collect()
            });
            let placed = placed?;
            let mut refused: Vec<usize> = (0..batch.len()).filter(|&index| !placed[index]).collect();
            if !refused.is_empty() {
                // Those that relied on a refused one of the same content have none.
                for index in (0..batch.len()).filter(|&index| placed[index]) {
                    if staged[index].1 == Way::Own && !self.cache.has(&staged[index].0, false, watch)? {
                        refused.push(index);
                    }
                }
            }
            self.copy_in(&refused, batch, &mut staged, watch)?;
            // Only if nobody wrote to it meanwhile. A file that became the cache's own got another time of change by that; where a copy is to
            // take its place, that is looked at then.
            let stamps: Vec<Option<Stamp>> = batch
                .par_iter()
                .map(|file| {
                    let now = fs::metadata(&file.path).ok().map(|now| Stamp::new(&now));
                    now.filter(|now| *now == file.stamp || is_shared && now.is_same_content(&file.stamp))
                })
                .collect();
            for ((file, (id, _)), stamp) in batch.iter().zip(&staged).zip(stamps) {
                if let Some(stamp) = stamp {
                    self.state.set(&self.state_name(&file.path), stamp, id, is_shared);
                }
            }
            ids.extend(staged.into_iter().map(|(id, _)| id));
        }
        Ok(ids)
    }

    /// What a power cut left of a copy must not be recorded as what the user made of it.
    fn refuse_torn(&self, files: &[WorkFile], staged: &[(String, Way)]) -> Result<()> {
        let torn = |(file, (id, _)): &(&WorkFile, &(String, Way))| {
            self.state.is_torn(&self.state_name(&file.path), file.stamp, id)
        };
        let Some((file, _)) = files.iter().zip(staged).find(torn) else { return Ok(()) };
        let shown = self.shown(&file.path);
        let message = format!("`{shown}` has lost its content when the machine went down; nobody has changed it since");
        let hint = "`yolo11 data checkout` makes such files anew from the cache; touch a file to keep it as it is";
        Err(Error::refused(message, hint))
    }

    /// Whether the workspace's files are the cache's own.
    fn is_shared(&self) -> bool {
        self.cache.links.first().is_some_and(|link| link.is_shared())
    }

    /// Copies the files that could not become objects themselves, whatever they are by now.
    fn copy_in(&self, chosen: &[usize], files: &[WorkFile], staged: &mut [(String, Way)], watch: &Watch) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let sources: Vec<Source> = chosen.iter().map(|&index| source(&files[index])).collect();
        let sink = |_: usize, _: Option<&str>| self.cache.temporary().map(Some);
        let copied = read_through(&sources, Some(&sink), &watch.step("adding", chosen.len()))?;
        self.cache.sync()?;
        for (&index, (id, temporary)) in chosen.iter().zip(copied) {
            if let Some(temporary) = temporary {
                self.cache.place(&id, &temporary)?;
                staged[index] = (id, Way::Copied(temporary));
            }
        }
        Ok(())
    }

    /// The md5 of each file, and how the cache comes by that content.
    fn stage(&self, files: &[WorkFile], reads_first: bool, step: &Step, watch: &Watch) -> Result<Vec<(String, Way)>> {
        let is_new = |id: &str| Ok::<bool, Error>(!self.cache.has(id, false, watch)?);
        let mut known: Vec<Option<String>> =
            files.par_iter().map(|file| self.state.get(&self.state_name(&file.path), file.stamp)).collect();
        let is_shared = self.is_shared();
        let can_clone = !is_shared && self.can_clone(files)?;
        let device = self.cache.device()?;
        let is_own = |index: usize| is_shared || !can_clone && self.may_adopt(&files[index], device);
        // Large files that are likely to be in the cache are read before a copy is begun; of small ones the md5 is known in time.
        let first: Vec<usize> = (0..files.len())
            .filter(|&index| known[index].is_none())
            .filter(|&index| is_own(index) || reads_first && !source(&files[index]).is_small())
            .collect();
        let sources: Vec<Source> = first.iter().map(|&index| source(&files[index])).collect();
        for (index, id) in first.into_iter().zip(md5_of_files(&sources, step)?) {
            known[index] = Some(id);
        }
        let here: Result<Vec<bool>> =
            known.par_iter().map(|id| id.as_ref().map_or(Ok(false), |id| Ok(!is_new(id)?))).collect();
        let way = |(index, (id, here)): (usize, (&Option<String>, bool))| match (id, here) {
            (Some(id), true) => Some((id.clone(), Way::Here)),
            (Some(id), false) if is_own(index) => Some((id.clone(), Way::Own)),
            _ => None,
        };
        let mut staged: Vec<Option<(String, Way)>> = known.iter().zip(here?).enumerate().map(way).collect();
        let missing: Vec<usize> = (0..files.len()).filter(|&index| staged[index].is_none()).collect();
        let clones = if can_clone { self.clones(&missing, files)? } else { None };
        let sink = |_: usize, id: Option<&str>| match id {
            Some(id) if !is_new(id)? => Ok(None),
            _ => self.cache.temporary().map(Some),
        };
        let copied: Vec<(String, Option<PathBuf>)> = match &clones {
            Some(clones) => {
                let sources: Vec<Source> =
                    missing.iter().zip(clones).map(|(&index, path)| Source { path, ..source(&files[index]) }).collect();
                let ids = md5_of_files(&sources, step)?;
                ids.into_iter().zip(clones).map(|(id, path)| (id, Some(path.clone()))).collect()
            }
            None => {
                let sources: Vec<Source> = missing.iter().map(|&index| source(&files[index])).collect();
                read_through(&sources, Some(&sink), step)?
            }
        };
        for (index, (id, temporary)) in missing.into_iter().zip(copied) {
            staged[index] = Some((id, temporary.map_or(Way::Here, Way::Copied)));
        }
        Ok(staged.into_iter().flatten().collect())
    }

    /// Whether the file system can share blocks, tried with the first file.
    fn can_clone(&self, files: &[WorkFile]) -> Result<bool> {
        let Some(first) = files.first().filter(|_| self.cache.links.contains(&Link::Reflink)) else { return Ok(false) };
        let clone = self.clone_of(first)?;
        if let Some(clone) = &clone {
            let _ = fs::remove_file(clone);
        }
        Ok(clone.is_some())
    }

    fn clone_of(&self, file: &WorkFile) -> Result<Option<PathBuf>> {
        let temporary = self.cache.temporary()?;
        // A linked file is followed.
        let source = file.path.canonicalize().map_err(Error::io("read", &file.path))?;
        let is_done = reflink_copy::reflink(source, &temporary).and_then(|()| set_mode(&temporary, 0o444)).is_ok();
        if !is_done {
            let _ = fs::remove_file(&temporary);
        }
        Ok(is_done.then_some(temporary))
    }

    /// Clones that share the blocks; none where one of them cannot be made.
    fn clones(&self, chosen: &[usize], files: &[WorkFile]) -> Result<Option<Vec<PathBuf>>> {
        let clones: Result<Vec<Option<PathBuf>>> =
            chosen.par_iter().map(|&index| self.clone_of(&files[index])).collect();
        Ok(clones?.into_iter().collect())
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
