//! `origin.json`: what a format held that label files cannot, so that the way back is exact. It names each object by its
//! class and box; rows that were changed since are new objects, rows that were removed are gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{AnnotatedImage, Annotations, Extra, Object};
use crate::Error;

/// Name of the file, beside the description.
const FILE: &str = "origin.json";
const VERSION: u32 = 1;
/// Pixels by which a box in a label file may differ from its original by rounding.
const ROUNDING: f64 = 1e-3;

#[derive(Serialize, Deserialize)]
pub(super) struct Origin {
    version: u32,
    /// What belongs to the set as a whole.
    #[serde(default)]
    pub extra: Extra,
    /// By `split/name`.
    images: BTreeMap<String, OriginalImage>,
}

#[derive(Serialize, Deserialize)]
struct OriginalImage {
    size: [usize; 2],
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    extra: Extra,
    objects: Vec<OriginalObject>,
}

#[derive(Serialize, Deserialize)]
struct OriginalObject {
    class: String,
    bbox: [f64; 4],
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    apart: bool,
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    extra: Extra,
}

impl Origin {
    /// What there is to keep: None where label files say everything.
    pub fn of(annotations: &Annotations) -> Option<Origin> {
        let has_more = |image: &AnnotatedImage| {
            let object_has = |object: &Object| object.apart || !object.extra.is_empty();
            !image.extra.is_empty() || image.objects.iter().any(object_has)
        };
        if annotations.extra.is_empty() && !annotations.images.iter().any(has_more) {
            return None;
        }
        let object = |object: &Object| OriginalObject {
            class: annotations.names[object.class].clone(),
            bbox: object.bbox,
            apart: object.apart,
            extra: object.extra.clone(),
        };
        let image = |image: &AnnotatedImage| OriginalImage {
            size: image.size,
            extra: image.extra.clone(),
            objects: image.objects.iter().map(object).collect(),
        };
        let images = annotations.images.iter().map(|entry| (key(entry), image(entry)));
        Some(Origin { version: VERSION, extra: annotations.extra.clone(), images: images.collect() })
    }

    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::other);
        let written = text.and_then(|text| fs::write(&path, text));
        written.map_err(|source| Error::Write { path, source })
    }

    /// None where the file is not there.
    pub fn read(folder: &Path) -> Result<Option<Origin>, Error> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path: file, source }),
        };
        let hint = "rename or remove the file; ids are then given anew".to_string();
        let origin: Origin = serde_json::from_str(&text).map_err(|error| {
            let message = format!("this is not what an import writes: {error}");
            Error::Malformed { file: file.clone(), line: Some(error.line()), message, hint: hint.clone() }
        })?;
        if origin.version != VERSION {
            let message = format!("version {} is not known here", origin.version);
            return Err(Error::Malformed { file, line: None, message, hint });
        }
        Ok(Some(origin))
    }

    /// Gives a picture that was read from label files what is kept of it.
    pub fn recall(&self, image: &mut AnnotatedImage, names: &[String]) {
        let Some(original) = self.images.get(&key(image)) else { return };
        image.extra = original.extra.clone();
        let [height, width] = image.size.map(|side| side as f64);
        // The picture may have been scaled since; then boxes are other ones.
        let same_size = original.size == image.size;
        let mut used = vec![!same_size; original.objects.len()];
        // In the order of the original, what is new since behind it.
        let mut ordered: Vec<(usize, Object)> = Vec::new();
        for mut object in image.objects.drain(..) {
            let twin = original.objects.iter().enumerate().find(|(position, candidate)| {
                let [x1, y1, x2, y2] = candidate.bbox;
                let clipped =
                    [x1.clamp(0.0, width), y1.clamp(0.0, height), x2.clamp(0.0, width), y2.clamp(0.0, height)];
                let near = clipped.iter().zip(object.bbox).all(|(a, b)| (a - b).abs() <= ROUNDING);
                !used[*position] && !candidate.apart && candidate.class == names[object.class] && near
            });
            let position = twin.map_or(usize::MAX, |(position, _)| position);
            if let Some((position, twin)) = twin {
                used[position] = true;
                object.bbox = twin.bbox;
                object.extra = twin.extra.clone();
            }
            ordered.push((position, object));
        }
        for (position, original) in original.objects.iter().enumerate().filter(|(_, one)| one.apart && same_size) {
            // A class that is no longer named has no objects either.
            let Some(class) = names.iter().position(|name| *name == original.class) else { continue };
            let (bbox, extra) = (original.bbox, original.extra.clone());
            ordered.push((position, Object { class, bbox, apart: true, extra }));
        }
        ordered.sort_by_key(|(position, _)| *position);
        image.objects = ordered.into_iter().map(|(_, object)| object).collect();
    }
}

fn key(image: &AnnotatedImage) -> String {
    format!("{}/{}", image.split, image.name)
}
