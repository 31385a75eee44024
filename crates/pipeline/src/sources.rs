//! Which pictures `source=` means: files, folders, glob patterns, lists, or several of these joined by commas.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// Endings of files that are taken from folders and patterns.
const ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"];

/// Every picture of all sources: in the order given, those of a folder or pattern in order of their names. A file that is named
/// itself is taken whatever its ending.
pub fn pictures(sources: &[String]) -> Result<Vec<PathBuf>, Error> {
    if sources.is_empty() {
        return Err(Error::Setup {
            message: "no `source`: which pictures to look at is not set".into(),
            hint: "give source=PICTURE, a folder, a pattern such as \"photos/*.jpg\", or a .txt list".into(),
        });
    }
    let mut found = Vec::new();
    for source in sources {
        add(source, &mut found)?;
    }
    Ok(found)
}

fn add(source: &str, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let path = Path::new(source);
    if path.is_dir() {
        return add_folder(path, found);
    }
    if path.is_file() {
        if ending(path) == "txt" {
            add_list(path, found)?
        } else {
            found.push(path.to_owned())
        }
        return Ok(());
    }
    if source.contains(['*', '?', '[']) {
        return add_pattern(source, found);
    }
    if source.contains(',') {
        return source.split(',').map(str::trim).filter(|part| !part.is_empty()).try_for_each(|part| add(part, found));
    }
    Err(Error::Setup {
        message: format!("source `{source}` does not exist"),
        hint: "give a picture, a folder, a pattern such as \"photos/*.jpg\", or a .txt list".into(),
    })
}

fn add_folder(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && ENDINGS.contains(&ending(&path).as_str()) {
            pictures.push(path);
        }
    }
    if pictures.is_empty() {
        return Err(no_pictures(&folder.display().to_string()));
    }
    pictures.sort();
    found.append(&mut pictures);
    Ok(())
}

fn add_pattern(pattern: &str, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let paths = glob::glob(pattern).map_err(|error| Error::Setup {
        message: format!("source `{pattern}` is no pattern: {}", error.msg),
        hint: "`*` stands for any part of a name, `**` for folders, `?` for one letter".into(),
    })?;
    let mut pictures: Vec<PathBuf> = paths.flatten().filter(|path| ENDINGS.contains(&ending(path).as_str())).collect();
    if pictures.is_empty() {
        return Err(no_pictures(pattern));
    }
    pictures.sort();
    found.append(&mut pictures);
    Ok(())
}

/// One path a line, relative to the working folder or else to the list; empty lines and those that begin with `#` are passed over.
fn add_list(list: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let text = fs::read_to_string(list).map_err(|source| Error::Read { path: list.to_owned(), source })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let before = found.len();
    for line in lines {
        let path = PathBuf::from(line);
        let beside = list.with_file_name("").join(line);
        // A picture that is missing is named when its turn comes; the others are done.
        found.push(if path.exists() || !beside.exists() { path } else { beside });
    }
    if found.len() == before { Err(no_pictures(&list.display().to_string())) } else { Ok(()) }
}

fn no_pictures(place: &str) -> Error {
    Error::Setup {
        message: format!("no pictures in `{place}`"),
        hint: format!("pictures end in .{}", ENDINGS.join(", .")),
    }
}

fn ending(path: &Path) -> String {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_patterns_lists_and_commas_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["b.jpg", "a.PNG", "notes.md", "c.webp"] {
            fs::write(root.join(name), "x").unwrap();
        }
        let list = root.join("list.txt");
        fs::write(&list, "# mine\nb.jpg\n\nmissing.jpg\n").unwrap();
        let names = |source: String| -> Vec<String> {
            let found = pictures(&[source]).unwrap();
            found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        let at = |name: &str| root.join(name).display().to_string();
        assert_eq!(names(root.display().to_string()), ["a.PNG", "b.jpg", "c.webp"]);
        assert_eq!(names(at("*.jpg")), ["b.jpg"]);
        assert_eq!(names(at("list.txt")), ["b.jpg", "missing.jpg"]);
        assert_eq!(names(format!("{}, {}", at("c.webp"), at("b.jpg"))), ["c.webp", "b.jpg"]);
        assert_eq!(names(at("notes.md")), ["notes.md"]);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let text = |sources: &[String]| pictures(sources).unwrap_err().to_string();
        assert!(text(&["none.jpg".into()]).starts_with("source `none.jpg` does not exist\nhint: "));
        assert!(text(&[]).starts_with("no `source`"));
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        assert!(
            text(std::slice::from_ref(&place))
                .starts_with(&format!("no pictures in `{place}`\nhint: pictures end in .jpg"))
        );
    }
}
