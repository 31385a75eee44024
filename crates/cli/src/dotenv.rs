//! The file `.env` of the working folder: variables for this program and those it starts. What the environment has already wins.

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::Failure;

/// Reads `.env` in `folder` into the environment, if there is one. Must be called before any thread is started. Errors: a line that is
/// not understood, by its number; what it says is not repeated, as it may be a password.
pub(crate) fn load(folder: &Path) -> Result<(), Failure> {
    let path = folder.join(".env");
    let shown = || Path::new(".env").display().to_string();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(Failure::Read {
                path: shown(),
                source,
                hint: "it must be a UTF-8 text file that you may read",
            });
        }
        Ok(text) => text,
    };
    // All of it is looked at before any of it counts.
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        item.map_err(|error| Failure::EnvironmentFile { path: shown(), line: line_of(&error, &text) })?;
    }
    dotenvy::from_path(&path).map_err(|error| Failure::EnvironmentFile { path: shown(), line: line_of(&error, &text) })
}

/// The number of the line that an error is about, from 1.
fn line_of(error: &dotenvy::Error, text: &str) -> usize {
    let position = match error {
        dotenvy::Error::LineParse(line, _) => text.find(line.as_str()).unwrap_or(text.len()),
        _ => 0,
    };
    text[..position].lines().count() + usize::from(position == 0 || text[..position].ends_with('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_understood_is_named_by_its_number_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (text, line) in [("MY SECRET", 1), ("A=1\n# B\n\nMY SECRET\nC=2\n", 4), ("A=1\nB='MY SECRET\n", 2)] {
            fs::write(folder.path().join(".env"), text).unwrap();
            let message = load(folder.path()).unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "`.env`, line {line}: expected NAME=value\nhint: put a value with spaces, quotes or # between ' and '"
                )
            );
        }
        assert!(std::env::var_os("A").is_none());
    }
}
