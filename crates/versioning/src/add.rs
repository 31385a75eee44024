//! Taking data in: its content into the cache, its id into a `.dvc` file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::directory::{Directory, Entry};
use crate::hash::md5_of_file;
use crate::pointer::{Output, Pointer};
use crate::state::Stamp;
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
        let clones = AtomicBool::new(self.cache.links.contains(&crate::link::Link::Reflink));
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
            let staged: Result<Vec<(String, Option<PathBuf>)>> = batch
                .par_iter()
                .map(|file| {
                    step.check()?;
                    let staged = self.stage(file, reads_first, &clones, watch)?;
                    step.advance();
                    Ok(staged)
                })
                .collect();
            let staged = staged?;
            if staged.iter().any(|(_, temporary)| temporary.is_some()) {
                self.cache.sync()?;
            }
            staged.par_iter().try_for_each(|(id, temporary)| match temporary {
                Some(temporary) => self.cache.place(id, temporary),
                None => Ok(()),
            })?;
            for (file, (id, _)) in batch.iter().zip(&staged) {
                // Only if nobody wrote to it meanwhile.
                if fs::metadata(&file.path).is_ok_and(|metadata| Stamp::new(&metadata) == file.stamp) {
                    self.state.set(&self.state_name(&file.path), file.stamp, id);
                }
            }
            ids.extend(staged.into_iter().map(|(id, _)| id));
        }
        Ok(ids)
    }

    /// The md5 of a file and, where the cache does not have that content, a copy of exactly those bytes.
    fn stage(
        &self,
        file: &WorkFile,
        reads_first: bool,
        clones: &AtomicBool,
        watch: &Watch,
    ) -> Result<(String, Option<PathBuf>)> {
        let mut known = self.state.get(&self.state_name(&file.path), file.stamp);
        if known.is_none() && reads_first {
            known = Some(md5_of_file(&file.path, watch)?);
        }
        if let Some(id) = known
            && self.cache.has(&id, false, watch)?
        {
            return Ok((id, None));
        }
        let (id, temporary) = self.snapshot(file, clones, watch)?;
        if self.cache.has(&id, false, watch)? {
            fs::remove_file(&temporary).map_err(Error::io("remove", &temporary))?;
            return Ok((id, None));
        }
        Ok((id, Some(temporary)))
    }

    /// A clone that shares the blocks where the file system can do that, else a copy.
    fn snapshot(&self, file: &WorkFile, clones: &AtomicBool, watch: &Watch) -> Result<(String, PathBuf)> {
        if clones.load(Ordering::Relaxed) {
            let temporary = self.cache.temporary()?;
            // A linked file is followed.
            let source = file.path.canonicalize().map_err(Error::io("read", &file.path))?;
            if reflink_copy::reflink(source, &temporary).is_ok() {
                return Ok((md5_of_file(&temporary, watch)?, temporary));
            }
            let _ = fs::remove_file(&temporary);
            clones.store(false, Ordering::Relaxed);
        }
        self.cache.stage(&file.path, watch)
    }

    /// Puts the cache's own files in place of the workspace's, where links are shared.
    fn link_again(&self, files: &[(&WorkFile, &str)], is_executable: bool, watch: &Watch) -> Result<()> {
        let step = watch.step("linking", files.len());
        files.par_iter().try_for_each(|(file, id)| {
            step.check()?;
            let object = self.cache.path(id, false);
            let now = fs::metadata(&file.path).map_err(Error::io("read", &file.path))?;
            let same = fs::metadata(&object).is_ok_and(|object| {
                use std::os::unix::fs::MetadataExt;
                (object.ino(), object.dev()) == (now.ino(), now.dev())
            });
            if Stamp::new(&now) == file.stamp && !same {
                self.put(id, false, &file.path, is_executable)?;
            }
            step.advance();
            Ok(())
        })
    }
}
