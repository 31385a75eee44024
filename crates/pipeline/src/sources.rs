//! What `source=` means: files, folders, glob patterns, lists, cameras, addresses, or several of these joined by commas.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::video::{self, Video};

/// Endings of pictures that are taken from folders and patterns.
const ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"];

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A picture's file.
    Picture(PathBuf),
    /// A video, a camera or a stream.
    Video(Video),
}

impl Source {
    /// The file, where it is a picture.
    pub fn picture(&self) -> Option<&Path> {
        match self {
            Source::Picture(path) => Some(path),
            Source::Video(_) => None,
        }
    }

    /// A file by its ending.
    fn file(path: PathBuf) -> Source {
        match path.to_str().and_then(Video::parse) {
            Some(video) if !video.live => Source::Video(video),
            _ => Source::Picture(path),
        }
    }
}

/// Everything of all sources: in the order given, those of a folder or pattern in order of their names. A file that is named
/// itself is taken whatever its ending.
pub fn sources(given: &[String]) -> Result<Vec<Source>, Error> {
    if given.is_empty() {
        return Err(Error::Setup {
            message: "no `source`: which pictures to look at is not set".into(),
            hint: "give source=PICTURE, a video, a folder, a pattern such as \"photos/*.jpg\", or a .txt list".into(),
        });
    }
    let mut found = Vec::new();
    for source in given {
        add(source, &mut found)?;
    }
    Ok(found)
}

/// The pictures among all sources.
pub fn pictures(given: &[String]) -> Result<Vec<PathBuf>, Error> {
    let pictures = sources(given)?.into_iter().filter_map(|source| match source {
        Source::Picture(path) => Some(path),
        Source::Video(_) => None,
    });
    Ok(pictures.collect())
}

fn add(source: &str, found: &mut Vec<Source>) -> Result<(), Error> {
    let path = Path::new(source);
    if path.is_dir() {
        return add_folder(path, found);
    }
    if path.is_file() {
        if ending(path) == "txt" {
            add_list(path, found)?
        } else {
            found.push(Source::file(path.to_owned()))
        }
        return Ok(());
    }
    if let Some(video) = Video::parse(source).filter(|video| video.live || source.contains("://")) {
        found.push(Source::Video(video));
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
        hint: "give a picture, a video, a folder, a pattern such as \"photos/*.jpg\", or a .txt list".into(),
    })
}

fn add_folder(folder: &Path, found: &mut Vec<Source>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && is_taken(&path) {
            pictures.push(path);
        }
    }
    if pictures.is_empty() {
        return Err(no_pictures(&folder.display().to_string()));
    }
    pictures.sort();
    found.extend(pictures.into_iter().map(Source::file));
    Ok(())
}

fn add_pattern(pattern: &str, found: &mut Vec<Source>) -> Result<(), Error> {
    let paths = glob::glob(pattern).map_err(|error| Error::Setup {
        message: format!("source `{pattern}` is no pattern: {}", error.msg),
        hint: "`*` stands for any part of a name, `**` for folders, `?` for one letter".into(),
    })?;
    let mut pictures: Vec<PathBuf> = paths.flatten().filter(|path| is_taken(path)).collect();
    if pictures.is_empty() {
        return Err(no_pictures(pattern));
    }
    pictures.sort();
    found.extend(pictures.into_iter().map(Source::file));
    Ok(())
}

/// One path a line, relative to the working folder or else to the list; empty lines and those that begin with `#` are passed over.
fn add_list(list: &Path, found: &mut Vec<Source>) -> Result<(), Error> {
    let text = fs::read_to_string(list).map_err(|source| Error::Read { path: list.to_owned(), source })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let before = found.len();
    for line in lines {
        let path = PathBuf::from(line);
        let beside = list.with_file_name("").join(line);
        // A picture that is missing is named when its turn comes; the others are done.
        found.push(Source::file(if path.exists() || !beside.exists() { path } else { beside }));
    }
    if found.len() == before { Err(no_pictures(&list.display().to_string())) } else { Ok(()) }
}

fn no_pictures(place: &str) -> Error {
    Error::Setup {
        message: format!("no pictures or videos in `{place}`"),
        hint: format!("pictures end in .{}; videos in .{}", ENDINGS.join(", ."), video::ENDINGS.join(", .")),
    }
}

fn is_taken(path: &Path) -> bool {
    let ending = ending(path);
    ENDINGS.contains(&ending.as_str()) || video::ENDINGS.contains(&ending.as_str())
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
        for name in ["b.jpg", "a.PNG", "notes.md", "c.webp", "d.mp4"] {
            fs::write(root.join(name), "x").unwrap();
        }
        let list = root.join("list.txt");
        fs::write(&list, "# mine\nb.jpg\n\nmissing.jpg\n").unwrap();
        let names = |source: String| -> Vec<String> {
            let name = |source: &Source| match source {
                Source::Picture(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
                Source::Video(video) => format!("video {}", video.stem()),
            };
            sources(&[source]).unwrap().iter().map(name).collect()
        };
        let at = |name: &str| root.join(name).display().to_string();
        assert_eq!(names(root.display().to_string()), ["a.PNG", "b.jpg", "c.webp", "video d"]);
        assert_eq!(names(at("*.jpg")), ["b.jpg"]);
        assert_eq!(names(at("list.txt")), ["b.jpg", "missing.jpg"]);
        assert_eq!(names(format!("{}, {}", at("c.webp"), at("b.jpg"))), ["c.webp", "b.jpg"]);
        assert_eq!(names(at("notes.md")), ["notes.md"]);
        assert_eq!(names("rtsp://host/door".into()), ["video door"]);
        assert_eq!(names(format!("{}, 0", at("b.jpg"))), ["b.jpg", "video camera0"]);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let text = |sources: &[String]| super::sources(sources).unwrap_err().to_string();
        assert!(text(&["none.jpg".into()]).starts_with("source `none.jpg` does not exist\nhint: "));
        assert!(text(&[]).starts_with("no `source`"));
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        assert!(
            text(std::slice::from_ref(&place))
                .starts_with(&format!("no pictures or videos in `{place}`\nhint: pictures end in .jpg"))
        );
    }
}
