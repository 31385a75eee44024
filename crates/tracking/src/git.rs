//! The commit that a run is made from, read from git's own files without running git.

use std::fs;
use std::path::{Path, PathBuf};

use crate::secret::mask_addresses;

/// What git knows of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitState {
    /// The commit's 40 digits.
    pub commit: String,
    /// The branch; none with a detached head.
    pub branch: Option<String>,
    /// The address of `origin`, without credentials.
    pub repository: Option<String>,
}

/// The state of the repository that a folder lies in; none outside one or before the first commit.
pub fn state_of(folder: &Path) -> Option<GitState> {
    let folder = std::path::absolute(folder).ok()?;
    let git = folder.ancestors().find_map(|folder| git_folder(&folder.join(".git")))?;
    // A worktree has its own head and shares the rest.
    let common = fs::read_to_string(git.join("commondir")).map_or_else(|_| git.clone(), |path| git.join(path.trim()));
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let (commit, branch) = match head.trim().strip_prefix("ref: ") {
        None => (head.trim().to_owned(), None),
        Some(name) => {
            let loose = [&git, &common].iter().find_map(|place| fs::read_to_string(place.join(name)).ok());
            let commit = loose.map(|text| text.trim().to_owned()).or_else(|| packed(&common, name))?;
            (commit, name.strip_prefix("refs/heads/").map(str::to_owned))
        }
    };
    let is_commit = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| GitState { commit, branch, repository: origin(&common) })
}

/// `.git` itself, or where a file of that name points to.
fn git_folder(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let text = fs::read_to_string(path).ok()?;
    Some(path.parent()?.join(text.strip_prefix("gitdir:")?.trim()))
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(common.join("packed-refs")).ok()?;
    text.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
}

fn origin(common: &Path) -> Option<String> {
    let text = fs::read_to_string(common.join("config")).ok()?;
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[remote \"origin\"]").skip(1);
    let url = lines
        .find_map(|line| if line.starts_with('[') { Some(None) } else { Some(Some(line.strip_prefix("url")?)) })??;
    Some(mask_addresses(url.trim_start().strip_prefix('=')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_and_packed_references_and_worktrees_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (git, below) = (folder.path().join(".git"), folder.path().join("a/b"));
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir_all(&below).unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(state_of(&below), None);
        fs::write(git.join("packed-refs"), format!("# pack-refs\n{commit} refs/heads/main\n")).unwrap();
        fs::write(git.join("config"), "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://u:pw@h/r.git\n")
            .unwrap();
        let wanted = GitState {
            commit: commit.into(),
            branch: Some("main".into()),
            repository: Some("https://***@h/r.git".into()),
        };
        assert_eq!(state_of(&below), Some(wanted.clone()));
        fs::write(git.join("refs/heads/main"), format!("{}\n", commit.replace('0', "f"))).unwrap();
        assert_eq!(state_of(&below).unwrap().commit, commit.replace('0', "f"));
        // A worktree beside it.
        let (tree, inner) = (folder.path().join("tree"), git.join("worktrees/tree"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&inner).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", inner.display())).unwrap();
        fs::write(inner.join("commondir"), "../..\n").unwrap();
        fs::write(inner.join("HEAD"), format!("{commit}\n")).unwrap();
        assert_eq!(state_of(&tree), Some(GitState { branch: None, ..wanted }));
    }
}
