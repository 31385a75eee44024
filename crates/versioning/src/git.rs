//! The few things asked of git. Where the program `git` is missing they are answered with what is safe.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ignored::{Patterns, gitignore_entry};
use crate::{Error, Repository, Result, write};

impl Repository {
    /// Makes git leave out a path, in the .gitignore beside it, unless it does already. Returns the file if it changed.
    pub(crate) fn git_ignore(&self, path: &Path) -> Result<Option<PathBuf>> {
        let (Some(git), Some(folder)) = (&self.git_root, path.parent()) else { return Ok(None) };
        if Patterns::git(git, folder)?.ignore_with_parents(git, path, path.is_dir()) {
            return Ok(None);
        }
        let file = folder.join(".gitignore");
        let mut text = write::read_if_any(&file)?.unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text.push_str(&gitignore_entry(&name));
        text.push('\n');
        write::write(&file, text.as_bytes())?;
        Ok(Some(file))
    }

    /// Whether git has the path, or a file below it, in its index.
    pub(crate) fn is_in_git(&self, path: &Path) -> bool {
        let Some(git) = &self.git_root else { return false };
        let mut command = Command::new("git");
        command.current_dir(git).args(["--literal-pathspecs", "ls-files", "--"]).arg(path).stderr(Stdio::null());
        command.output().is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    }

    /// The text of a file in a revision; nothing where the revision has no such file.
    pub(crate) fn git_show(&self, revision: &str, path: &Path) -> Result<Option<String>> {
        let git = self.git_root_or_refuse()?;
        let name = path.strip_prefix(git).unwrap_or(path).to_string_lossy().into_owned();
        let output = Command::new("git").current_dir(git).args(["show", &format!("{revision}:{name}")]).output();
        let output = output.map_err(Error::io("run git in", git))?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The `.dvc` and `dvc.lock` files of a revision.
    pub(crate) fn git_pointers(&self, revision: &str) -> Result<Vec<PathBuf>> {
        let git = self.git_root_or_refuse()?;
        let mut command = Command::new("git");
        command.current_dir(git).args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", revision]);
        let output = command.output().map_err(Error::io("run git in", git))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let message = format!("git does not know the revision `{revision}`: {}", said.trim());
            return Err(Error::refused(message, "`git log` lists the revisions; commit once where there is none"));
        }
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = names.split('\0').filter(|name| name.ends_with(".dvc") && !name.starts_with(".dvc/"));
        Ok(names.map(|name| git.join(name)).filter(|path| path.starts_with(self.root())).collect())
    }

    fn git_root_or_refuse(&self) -> Result<&Path> {
        self.git_root.as_deref().ok_or_else(|| {
            Error::refused(
                "this repository is without git, so it has no revisions",
                "`yolo11 data status` compares with what is recorded",
            )
        })
    }
}
