//! Adds to a project's `.env` what the compose stack needs and nobody has given; never touches a line that is there.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::Error;
use crate::settings::{Lookup, VARIABLES, fresh};

/// Appends every variable of the stack that neither `lookup` nor the file has, secrets made on the spot. Gives the added names and
/// values. Errors: the file cannot be read or written.
pub fn complete(path: &Path, root: &Path, lookup: &Lookup<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let failed = |source: io::Error| Error::File { path: path.to_owned(), source };
    let before = read(path).map_err(failed)?;
    let mut known: Vec<(&'static str, String)> = Vec::new();
    let mut added: Vec<(&'static str, String)> = Vec::new();
    for variable in VARIABLES {
        let value = match lookup(variable.name) {
            Some(value) => value,
            None if defines(&before, variable.name) => continue,
            None => {
                let value = fresh(variable, root, &known)?;
                added.push((variable.name, value.clone()));
                value
            }
        };
        known.push((variable.name, value));
    }
    let note = "# Added by `yolo11 services start --stack compose`; yours to change, secrets were made on the spot.";
    append(path, before, note, added.iter().map(|(name, value)| (*name, value.as_str()))).map_err(failed)?;
    Ok(added)
}

/// Appends those variables that the file does not have; whether it was changed. Errors: the file cannot be read or written.
pub(crate) fn add(path: &Path, note: &str, variables: &[(&str, &str)]) -> Result<bool, Error> {
    let failed = |source: io::Error| Error::File { path: path.to_owned(), source };
    let before = read(path).map_err(failed)?;
    let new: Vec<_> = variables.iter().copied().filter(|(name, _)| !defines(&before, name)).collect();
    let changed = !new.is_empty();
    append(path, before, note, new.into_iter()).map_err(failed)?;
    Ok(changed)
}

fn append<'a>(
    path: &Path,
    before: String,
    note: &str,
    added: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) -> io::Result<()> {
    if added.len() == 0 {
        return Ok(());
    }
    let mut text = before;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(if text.is_empty() { "" } else { "\n" });
    text.push_str(note);
    text.push('\n');
    text.extend(added.map(|(name, value)| format!("{name}={value}\n")));
    replace(path, &text)
}

/// The file's text; none where there is no file.
fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Whether a line of the file sets the variable.
fn defines(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
    })
}

/// Writes a whole file beside the old one, syncs, renames. A new file is for its owner only; an old one keeps its rights.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one: what it points to is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(old) = fs::metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_there_stay_and_the_rest_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, "# mine\nexport S3_PORT=9100\nPOSTGRES_PASSWORD = x").unwrap();
        let lookup = |name: &str| (name == "MLFLOW_PORT").then(|| "5100".to_owned());
        let added = complete(&path, folder.path(), &lookup).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\nexport S3_PORT=9100\nPOSTGRES_PASSWORD = x\n\n# Added by"), "{text}");
        assert!(text.contains("\nMLFLOW_TRACKING_URI=http://127.0.0.1:5100\n"), "{text}");
        let names: Vec<_> = added.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), VARIABLES.len() - 3);
        for absent in ["S3_PORT", "POSTGRES_PASSWORD", "MLFLOW_PORT"] {
            assert!(!names.contains(&absent), "{absent}");
        }
        let secret = &added.iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY").unwrap().1;
        assert_eq!(secret.len(), 32);
        assert_eq!(complete(&path, folder.path(), &lookup).unwrap(), vec![]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        complete(&path, folder.path(), &|_| None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
