//! A new repository.

use std::fs;
use std::path::Path;

use crate::{Error, Result, write};

/// Patterns of `.dvc/` that git leaves out.
const GITIGNORE: &str = "/config.local\n/tmp\n/cache\n";
/// What a new `.dvcignore` says.
const DVCIGNORE: &str = "# Add patterns of files dvc should ignore, which could improve\n# the performance. Learn more at\n# https://dvc.org/doc/user-guide/dvcignore\n";

/// Makes a folder a repository, inside a git working tree or, with `without_git`, anywhere. Refuses where there is one already.
pub fn init(folder: &Path, without_git: bool) -> Result<()> {
    let folder = folder.canonicalize().map_err(Error::io("open", folder))?;
    let dvc = folder.join(".dvc");
    if dvc.exists() {
        return Err(Error::refused(format!("`{}` is there already", dvc.display()), "go on with `yolo11 data add`"));
    }
    if !without_git && !folder.join(".git").exists() {
        let message = format!("`{}` is not the root of a git repository", folder.display());
        return Err(Error::refused(message, "run `git init` first, or `yolo11 data init --no-scm` to do without git"));
    }
    // The folder that makes it a repository gets its name last.
    let temporary = folder.join(format!(".dvc.{}.tmp", std::process::id()));
    write::make_folder(&temporary.join("tmp"))?;
    let config = if without_git { "[core]\n    no_scm = True\n" } else { "" };
    write::write(&temporary.join("config"), config.as_bytes())?;
    if !without_git {
        write::write(&temporary.join(".gitignore"), GITIGNORE.as_bytes())?;
    }
    if !folder.join(".dvcignore").exists() {
        write::write(&folder.join(".dvcignore"), DVCIGNORE.as_bytes())?;
    }
    fs::rename(&temporary, &dvc).map_err(Error::io("make the folder", &dvc))
}
