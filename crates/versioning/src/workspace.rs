//! Looking at the data in the workspace: which files, with which content.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::adopt::Standing;
use crate::directory::{Directory, Entry};
use crate::hash::legacy_md5_of_file;
use crate::ignored::Patterns;
use crate::intake::{Source, md5_of_files};
use crate::state::Stamp;
use crate::{Error, Repository, Result, Watch};

/// A file of tracked data.
#[derive(Clone, Debug)]
pub(crate) struct WorkFile {
    pub path: PathBuf,
    /// Below the tracked folder, with `/`; empty for a single file.
    pub relative: String,
    pub stamp: Stamp,
    pub standing: Standing,
    pub is_executable: bool,
}

/// What stands at a tracked path.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Nothing,
    File(WorkFile),
    Folder(Vec<WorkFile>),
}

/// What stands at a tracked path, with its content.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Nothing,
    File { file: WorkFile, md5: String },
    Folder { files: Vec<WorkFile>, directory: Directory },
}

impl Content {
    pub fn id(&self) -> Option<String> {
        match self {
            Content::Nothing => None,
            Content::File { md5, .. } => Some(md5.clone()),
            Content::Folder { directory, .. } => Some(directory.id()),
        }
    }

    /// Files and their md5.
    pub fn files(&self) -> Vec<(&WorkFile, &str)> {
        match self {
            Content::Nothing => Vec::new(),
            Content::File { file, md5 } => vec![(file, md5)],
            Content::Folder { files, directory } => {
                files.iter().zip(&directory.entries).map(|(file, entry)| (file, entry.md5.as_str())).collect()
            }
        }
    }
}

impl Repository {
    /// Lists what stands at a path, in code-point order, without reading any file.
    pub(crate) fn find(&self, path: &Path) -> Result<Found> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // A link into the cache whose object is gone is as good as nothing.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        if !metadata.is_dir() {
            return Ok(Found::File(work_file(path.to_owned(), String::new(), &metadata)?));
        }
        let patterns = Patterns::dvc(self.root(), path.parent().unwrap_or(path))?;
        let mut names = Vec::new();
        let mut above = Vec::new();
        self.walk(path, "", &patterns, &mut above, &mut names)?;
        let files: Result<Vec<Option<WorkFile>>> =
            names.into_par_iter().map(|(path, relative)| self.look_at(path, relative)).collect();
        let mut files: Vec<WorkFile> = files?.into_iter().flatten().collect();
        files.sort_by(|a: &WorkFile, b| a.relative.cmp(&b.relative));
        Ok(Found::Folder(files))
    }

    fn walk(
        &self,
        folder: &Path,
        relative: &str,
        patterns: &Patterns,
        above: &mut Vec<(u64, u64)>,
        files: &mut Vec<(PathBuf, String)>,
    ) -> Result<()> {
        let metadata = fs::metadata(folder).map_err(Error::io("read", folder))?;
        let identity = (metadata.dev(), metadata.ino());
        if above.contains(&identity) {
            let message = format!("`{}` is a link to a folder above it", folder.display());
            return Err(Error::refused(message, "remove the link, or name it in .dvcignore"));
        }
        above.push(identity);
        if folder.join(".dvcignore").exists() {
            let message = format!("`{}` stands inside the data", folder.join(".dvcignore").display());
            return Err(Error::refused(message, "move its patterns to a .dvcignore above the data"));
        }
        let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("list", folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(Error::io("read", &path))?;
            let is_folder = kind.is_dir() || kind.is_symlink() && path.is_dir();
            if patterns.ignore(&path, is_folder) {
                continue;
            }
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                let message = format!("the name of `{}` is not UTF-8", path.display());
                return Err(Error::refused(message, "rename it; DVC keeps names as text"));
            };
            let below = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            if is_folder {
                // A repository inside is its own master.
                if !path.join(".dvc").is_dir() {
                    self.walk(&path, &below, patterns, above, files)?;
                }
                continue;
            }
            files.push((path, below));
        }
        above.pop();
        Ok(())
    }

    /// What the system says about a file; nothing of a link into the cache whose object is gone.
    fn look_at(&self, path: PathBuf, relative: String) -> Result<Option<WorkFile>> {
        match fs::metadata(&path) {
            Ok(metadata) => work_file(path, relative, &metadata).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_symlink() => {
                if fs::read_link(&path).is_ok_and(|target| target.starts_with(&self.cache.root)) {
                    return Ok(None);
                }
                let message = format!("`{}` is a link to nothing", path.display());
                Err(Error::refused(message, "remove the link, or name it in .dvcignore"))
            }
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Reads what has changed since it was last read; the rest is known.
    pub(crate) fn content(&self, found: Found, is_legacy: bool, watch: &Watch) -> Result<Content> {
        Ok(match found {
            Found::Nothing => Content::Nothing,
            Found::File(file) => {
                let mut ids = self.md5_of_each(std::slice::from_ref(&file), is_legacy, watch)?;
                Content::File { md5: ids.pop().unwrap_or_default(), file }
            }
            Found::Folder(files) => {
                let ids = self.md5_of_each(&files, is_legacy, watch)?;
                let entries = files.iter().zip(ids).map(|(file, md5)| Entry { path: file.relative.clone(), md5 });
                Content::Folder { directory: Directory { entries: entries.collect() }, files }
            }
        })
    }

    fn md5_of_each(&self, files: &[WorkFile], is_legacy: bool, watch: &Watch) -> Result<Vec<String>> {
        let step = watch.step("reading", files.len());
        if is_legacy {
            return files.par_iter().map(|file| step.check().and_then(|()| legacy_md5_of_file(&file.path))).collect();
        }
        let mut ids: Vec<Option<String>> =
            files.par_iter().map(|file| self.state.get(&self.state_name(&file.path), file.stamp)).collect();
        let unknown: Vec<usize> = (0..files.len()).filter(|&index| ids[index].is_none()).collect();
        let sources: Vec<Source> =
            unknown.iter().map(|&index| Source { path: &files[index].path, size: files[index].stamp.size }).collect();
        for (index, md5) in unknown.into_iter().zip(md5_of_files(&sources, &step)?) {
            let file = &files[index];
            let after = fs::metadata(&file.path).map_err(Error::io("read", &file.path))?;
            // What was torn stays doubtful until it is made anew.
            let is_torn = self.state.is_torn(&self.state_name(&file.path), file.stamp, &md5);
            if Stamp::new(&after) == file.stamp && !is_torn {
                self.state.set(&self.state_name(&file.path), file.stamp, &md5, false);
            }
            ids[index] = Some(md5);
        }
        Ok(ids.into_iter().flatten().collect())
    }

    /// The name of a workspace file in the state file.
    pub(crate) fn state_name(&self, path: &Path) -> String {
        path.strip_prefix(self.root()).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// A file with what the system says about it. Refuses what is no file, such as a socket.
pub(crate) fn work_file(path: PathBuf, relative: String, metadata: &fs::Metadata) -> Result<WorkFile> {
    if !metadata.is_file() {
        let message = format!("`{}` is neither file nor folder", path.display());
        return Err(Error::refused(message, "remove it, or name it in .dvcignore"));
    }
    let is_executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(WorkFile { path, relative, stamp: Stamp::new(metadata), standing: Standing::new(metadata), is_executable })
}
