//! A repository: where it is, what it tracks.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::cache::Cache;
use crate::config::Config;
use crate::ignored::Patterns;
use crate::link::Link;
use crate::lock::Lock;
use crate::pointer::{Output, Pointer, output};
use crate::state::StateFile;
use crate::tree::{self, Tree};
use crate::{Error, Result, write};

/// An opened repository. It is locked against other commands, `dvc`'s included, until it is dropped.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    /// DVC's settings.
    pub config: Config,
    pub(crate) git_root: Option<PathBuf>,
    pub(crate) cache: Cache,
    pub(crate) state: StateFile,
    pub(crate) desk: PathBuf,
    /// Whether the desk's folders have been made.
    desks: OnceLock<()>,
    /// Whether the first file that was checked out was a copy.
    pub(crate) only_copies: AtomicBool,
    _lock: Lock,
}

/// Something tracked, and by which file.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The `.dvc` file, or the `dvc.lock` of a pipeline.
    pub file: PathBuf,
    /// The pipeline's stage; nothing for a `.dvc` file.
    pub stage: Option<String>,
    /// Where the data stands.
    pub path: PathBuf,
    /// What the file says about it.
    pub output: Output,
}

impl Repository {
    /// The root of the repository that a path, which need not be there, lies in.
    pub fn root_of(path: &Path) -> Option<PathBuf> {
        let path = clean(&std::path::absolute(path).ok()?);
        let there = path.ancestors().find(|folder| folder.is_dir())?.canonicalize().ok()?;
        there.ancestors().find(|folder| folder.join(".dvc").is_dir()).map(Path::to_owned)
    }

    /// Opens the repository that a folder lies in, and locks it.
    pub fn open(folder: &Path) -> Result<Repository> {
        let folder = folder.canonicalize().map_err(Error::io("open", folder))?;
        let Some(root) = Repository::root_of(&folder) else {
            let message = format!("`{}` is in no DVC repository", folder.display());
            return Err(Error::refused(
                message,
                "`yolo11 data init` makes one, `yolo11 data init --no-scm` without git",
            ));
        };
        Repository::open_at(root, None, None)
    }

    /// A clone whose objects are kept in another cache, and whose settings are those of the repository it was cloned from.
    pub(crate) fn open_with_cache(root: &Path, cache: &Path, original: Option<&Path>) -> Result<Repository> {
        Repository::open_at(root.to_owned(), Some(cache.to_owned()), original)
    }

    fn open_at(root: PathBuf, cache: Option<PathBuf>, original: Option<&Path>) -> Result<Repository> {
        let dvc = root.join(".dvc");
        let lock = crate::lock::take(&dvc.join("tmp"))?;
        let config = Config::load(&original.map_or(dvc.clone(), |original| original.join(".dvc")))?;
        let own = cache.is_none();
        let cache_root = match (cache, config.get_with_file("cache", "dir")) {
            (Some(cache), _) => cache,
            (None, Some((folder, base))) => base.join(folder),
            (None, None) => dvc.join("cache"),
        };
        let setting = config.get("cache", "type").filter(|_| own);
        let Some(links) = Link::types(setting.as_deref()) else {
            let message = format!("cache.type is `{}`", setting.unwrap_or_default());
            return Err(Error::refused(message, "it lists some of reflink, hardlink, symlink, copy"));
        };
        let without_git = config.get("core", "no_scm").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let git_root = root.ancestors().find(|folder| folder.join(".git").exists() && !without_git).map(Path::to_owned);
        // Half-made files of a command that was killed; the lock says that it is not running.
        let desk = dvc.join("tmp").join("yolo11");
        let _ = fs::remove_dir_all(&desk);
        write::make_folder(&desk)?;
        let mask = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(mask);
        let new_mode = 0o666 & !mask.as_raw_mode();
        let cache = Cache { root: cache_root, links, new_mode };
        cache.sweep(false);
        let state = StateFile::load(dvc.join("tmp").join("yolo11-state"));
        Ok(Repository {
            root,
            config,
            git_root,
            cache,
            state,
            desk,
            desks: OnceLock::new(),
            only_copies: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// The folder that holds `.dvc`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything tracked: `.dvc` files and the outputs in `dvc.lock`, in the order of their paths.
    pub fn tracked(&self) -> Result<Vec<Tracked>> {
        let mut files = Vec::new();
        let patterns = Patterns::dvc(&self.root, &self.root)?;
        self.collect(&self.root, &patterns, &mut files)?;
        let mut tracked = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
            if file.extension().is_some_and(|extension| extension == "dvc") {
                let pointer = Pointer::parse(&text, &file)?;
                for output in pointer.outputs.clone() {
                    let path = self.output_path(&file, pointer.working_folder.as_deref(), &output)?;
                    tracked.push(Tracked { file: file.clone(), stage: None, path, output });
                }
            } else {
                self.collect_stages(&file, &text, &mut tracked)?;
            }
        }
        tracked.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tracked)
    }

    /// The tracked data that targets name: the data itself, something in it, its `.dvc` file, or a folder above it. All where there are no targets.
    pub fn targets(&self, targets: &[PathBuf]) -> Result<Vec<Tracked>> {
        let all = self.tracked()?;
        if targets.is_empty() {
            return Ok(all);
        }
        let mut chosen: Vec<Tracked> = Vec::new();
        for target in targets {
            let path = self.absolute(target)?;
            let before = chosen.len();
            for item in &all {
                let named = item.path == path || item.file == path || item.path.starts_with(&path);
                if named && !chosen.iter().any(|other| other.path == item.path) {
                    chosen.push(item.clone());
                }
            }
            let known = all.iter().any(|item| item.path == path || item.file == path || item.path.starts_with(&path));
            if chosen.len() == before && !known {
                let message = format!("`{}` is not tracked", target.display());
                let above = all.iter().find(|item| path.starts_with(&item.path));
                let hint = match above {
                    Some(item) => {
                        format!("it stands in `{}`, which is tracked as a whole; name that", self.shown(&item.path))
                    }
                    None if !path.exists() => "check the path".to_owned(),
                    None => format!("`yolo11 data add {}` tracks it", target.display()),
                };
                return Err(Error::refused(message, hint));
            }
        }
        Ok(chosen)
    }

    fn collect(&self, folder: &Path, patterns: &Patterns, files: &mut Vec<PathBuf>) -> Result<()> {
        let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
        let mut folders = Vec::new();
        let mut tracked = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(Error::io("read", &path))?;
            if patterns.ignore(&path, kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() {
                folders.push(path);
            } else if name == "dvc.lock" {
                files.push(path);
            } else if let Some(data) = name.strip_suffix(".dvc").filter(|data| !data.is_empty()) {
                // Tracked folders hold data, no `.dvc` files of their own, and may be huge.
                tracked.push(folder.join(data));
                files.push(path);
            }
        }
        for path in folders {
            if !tracked.contains(&path) && !path.join(".dvc").is_dir() {
                self.collect(&path, &patterns.enter(&path)?, files)?;
            }
        }
        Ok(())
    }

    fn collect_stages(&self, file: &Path, text: &str, tracked: &mut Vec<Tracked>) -> Result<()> {
        let tree = tree::parse(text, file)?;
        // Before schema 2.0 the stages stood at the top.
        let stages = tree.get("stages").unwrap_or(&tree);
        for (name, stage) in stages.entries() {
            for tree in stage.get("outs").map_or(&[][..], Tree::items) {
                let output = output(tree, file)?;
                let path = self.output_path(file, None, &output)?;
                tracked.push(Tracked { file: file.to_owned(), stage: Some(name.clone()), path, output });
            }
        }
        Ok(())
    }

    fn output_path(&self, file: &Path, working_folder: Option<&str>, output: &Output) -> Result<PathBuf> {
        let folder = file.parent().unwrap_or(&self.root).join(working_folder.unwrap_or("."));
        let path = clean(&folder.join(&output.path));
        if path.starts_with(&self.root) && path != self.root && !path.starts_with(self.root.join(".dvc")) {
            return Ok(path);
        }
        let message = format!("`{}` tracks `{}`, which is outside the repository", file.display(), output.path);
        Err(Error::refused(message, "keep the data inside the repository and mend the path"))
    }

    /// A path as the user wrote it, made absolute. Refuses what lies outside.
    pub(crate) fn absolute(&self, target: &Path) -> Result<PathBuf> {
        let path = std::path::absolute(target).map_err(Error::io("find", target))?;
        let path = clean(&path);
        // The working folder may be reached through a link; what is below may not be there yet.
        let mut above = path.ancestors().skip(1);
        let real = above.find_map(|folder| Some((folder.canonicalize().ok()?, path.strip_prefix(folder).ok()?)));
        let path = real.map_or_else(|| path.clone(), |(folder, below)| folder.join(below));
        if path.starts_with(&self.root) {
            return Ok(path);
        }
        let message = format!("`{}` is outside the repository `{}`", target.display(), self.root.display());
        Err(Error::refused(message, "move or link it into the repository"))
    }

    /// A name for a half-made file of the workspace, in one of several folders: a system makes one file at a time in each.
    pub(crate) fn desk_name(&self) -> PathBuf {
        const DESKS: usize = 8;
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let place = |number: usize| self.desk.join(format!("desk-{number}"));
        // Where one cannot be made, the file in it says so.
        self.desks.get_or_init(|| (0..DESKS).for_each(|number| drop(fs::create_dir(place(number)))));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        place(number % DESKS).join(number.to_string())
    }

    /// A path as to show it: relative to the root.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        if self.desks.get().is_some() {
            let _ = fs::remove_dir_all(&self.desk);
            let _ = fs::create_dir(&self.desk);
        }
        // After a fault, what was half-made.
        self.cache.sweep(true);
    }
}

/// The path without `.` and `..`.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            part => result.push(part),
        }
    }
    result
}
