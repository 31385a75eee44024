//! A set in YOLO's layout, in a folder of its own that is whole or not there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use rayon::prelude::*;

use super::origin::Origin;
use super::{AnnotatedImage, Annotations};
use crate::decode::decode_file;
use crate::{Error, SplitName};

/// JPEG quality of pictures that are stored anew.
const QUALITY: u8 = 95;

/// How a picture comes into a new folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// One file with two names, where the file system allows it; else a copy.
    #[default]
    Hard,
    /// A file of its own.
    Copy,
    /// A link that names the original.
    Symbolic,
    /// Labels only.
    None,
}

/// Names of the folders and of the description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `images/train`, `labels/train`, `dataset.yaml`.
    #[default]
    Standard,
    /// Roboflow's: `train/images`, `train/labels`, `data.yaml`; the validation split is `valid`.
    Roboflow,
}

impl Layout {
    fn folder(self, split: SplitName, kind: &str) -> String {
        match (self, split) {
            (Layout::Standard, _) => format!("{kind}/{split}"),
            (Layout::Roboflow, SplitName::Val) => format!("valid/{kind}"),
            (Layout::Roboflow, _) => format!("{split}/{kind}"),
        }
    }

    fn description(self) -> &'static str {
        match self {
            Layout::Standard => "dataset.yaml",
            Layout::Roboflow => "data.yaml",
        }
    }
}

/// How a set is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// How pictures come into the new folder.
    pub link: Link,
    /// How folders are named.
    pub layout: Layout,
}

/// A folder under way: made beside its place under another name, renamed when it is whole, removed if it does not come to that.
pub(crate) struct Destination {
    target: PathBuf,
    temporary: PathBuf,
    done: bool,
}

impl Destination {
    /// Refuses a place where something is already.
    pub fn new(target: &Path) -> Result<Self, Error> {
        let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if fs::symlink_metadata(target).is_ok() && !is_empty(target) {
            return Err(Error::Settings {
                message: format!("{} exists and is not empty", target.display()),
                hint: "name a new folder; nothing is written over".into(),
            });
        }
        let Some(name) = target.file_name() else {
            let message = format!("{} is no name of a new folder", target.display());
            return Err(Error::Settings { message, hint: "name a folder that does not exist yet".into() });
        };
        let temporary = target.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        // What an earlier process of the same number left.
        let _ = fs::remove_dir_all(&temporary);
        make_folder(&temporary)?;
        Ok(Self { target: target.to_path_buf(), temporary, done: false })
    }

    /// Where to write until it is whole.
    pub fn folder(&self) -> &Path {
        &self.temporary
    }

    /// Gives the folder its name.
    pub fn finish(mut self) -> Result<PathBuf, Error> {
        let write = |source| Error::Write { path: self.target.clone(), source };
        if self.target.is_dir() {
            // It is empty.
            fs::remove_dir(&self.target).map_err(write)?;
        }
        fs::rename(&self.temporary, &self.target).map_err(write)?;
        self.done = true;
        Ok(self.target.clone())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.done {
            // Only what was made here is removed.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

impl Annotations {
    /// Writes the set to a new folder and gives its description's path. Every picture has a label file; what label files cannot
    /// hold is in `origin.json`.
    ///
    /// # Errors
    /// The folder exists and is not empty, or cannot be written; a picture cannot be read.
    pub fn write(&self, target: &Path, options: WriteOptions) -> Result<PathBuf, Error> {
        let destination = Destination::new(target)?;
        let root = destination.folder();
        let layout = options.layout;
        let path =
            |image: &AnnotatedImage, kind: &str, name: &str| root.join(layout.folder(image.split, kind)).join(name);
        let mut folders = BTreeSet::new();
        for image in &self.images {
            for kind in ["images", "labels"] {
                folders.extend(path(image, kind, &image.name).parent().map(Path::to_path_buf));
            }
        }
        folders.iter().try_for_each(|folder| make_folder(folder))?;
        self.images.par_iter().try_for_each(|image| {
            let labels = path(image, "labels", &image.name).with_extension("txt");
            fs::write(&labels, rows(image)).map_err(|source| Error::Write { path: labels, source })?;
            place(image, &path(image, "images", &image.name), options.link)
        })?;
        if let Some(origin) = Origin::of(self) {
            origin.write(root)?;
        }
        let description = root.join(layout.description());
        fs::write(&description, self.description(layout))
            .map_err(|source| Error::Write { path: description, source })?;
        Ok(destination.finish()?.join(layout.description()))
    }

    fn description(&self, layout: Layout) -> String {
        // Without `path`, every reader starts from the file's own folder; the reference takes `.` for the one it was started in.
        let mut text = String::new();
        for (split, _) in self.splits() {
            let folder = layout.folder(split, "images");
            let _ = match layout {
                Layout::Standard => writeln!(text, "{split}: {folder}"),
                // Written so by the service itself, and read so by what reads its sets.
                Layout::Roboflow => writeln!(text, "{split}: ../{folder}"),
            };
        }
        if layout == Layout::Roboflow {
            let _ = writeln!(text, "\nnc: {}", self.names.len());
        }
        text += "names:\n";
        for (class, name) in self.names.iter().enumerate() {
            let _ = writeln!(text, "  {class}: {}", quoted(name));
        }
        text
    }
}

/// A name as YAML: in double quotes, unless it is a plain word.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_- ".contains(letter))
        && name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && !name.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&name.to_ascii_lowercase().as_str());
    // JSON's strings are YAML's double-quoted ones.
    if plain { name.to_string() } else { serde_json::Value::from(name).to_string() }
}

/// Rows of a label file, to 1e-8 of the picture's sides.
fn rows(image: &AnnotatedImage) -> String {
    let mut text = String::new();
    for object in image.objects.iter().filter(|object| !object.apart) {
        let Some(shares) = object.shares(image.size) else { continue };
        let _ = write!(text, "{}", object.class);
        for share in shares {
            let digits = format!("{share:.8}");
            let _ = write!(text, " {}", digits.trim_end_matches('0').trim_end_matches('.'));
        }
        text.push('\n');
    }
    text
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_path_buf(), source })
}

/// Brings a picture to its place in a new folder.
pub(crate) fn place(image: &AnnotatedImage, to: &Path, link: Link) -> Result<(), Error> {
    let Some(source) = image.source.as_ref().filter(|_| link != Link::None) else { return Ok(()) };
    if image.renew {
        return renew(source, to);
    }
    let write = |source| Error::Write { path: to.to_path_buf(), source };
    // The file itself, not a link that leads to it.
    let whole = || fs::canonicalize(source).map_err(|error| Error::Read { path: source.clone(), source: error });
    let copy = || fs::copy(source, to).map(|_| ()).map_err(write);
    match link {
        Link::Hard => fs::hard_link(whole()?, to).or_else(|_| copy()),
        Link::Symbolic => symbolic(&whole()?, to).map_err(write),
        _ => copy(),
    }
}

#[cfg(unix)]
fn symbolic(source: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(source, to)
}

#[cfg(not(unix))]
fn symbolic(source: &Path, to: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(source, to)
}

/// Stores a picture anew: upright, 8-bit RGB, without EXIF; a JPEG by that name, anything else as PNG.
fn renew(source: &Path, to: &Path) -> Result<(), Error> {
    let picture = decode_file(source)?;
    let write = |error: String| Error::Write { path: to.to_path_buf(), source: std::io::Error::other(error) };
    let is_jpeg = matches!(to.extension().and_then(|extension| extension.to_str()), Some("jpg" | "jpeg"));
    let mut bytes = Vec::new();
    let sides = (u16::try_from(picture.width), u16::try_from(picture.height));
    if let (true, (Ok(width), Ok(height))) = (is_jpeg, sides) {
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, QUALITY);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_1_1);
        let encoded = encoder.encode(&picture.pixels, width, height, jpeg_encoder::ColorType::Rgb);
        encoded.map_err(|error| write(error.to_string()))?;
    } else {
        let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.pixels);
        let image = image.ok_or_else(|| write("the picture is too large".into()))?;
        image
            .write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png)
            .map_err(|error| write(error.to_string()))?;
    }
    fs::write(to, bytes).map_err(|source| Error::Write { path: to.to_path_buf(), source })
}
