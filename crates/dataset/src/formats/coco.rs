//! COCO: one JSON file a split with `images`, `annotations` and `categories`, each with an id. Boxes are left, top, width, height in
//! pixels.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, json};

use super::gather::{Gatherer, Place};
use super::{files, nothing_found, place_pictures, read_text, reason, split_of_path, write_text};
use crate::annotations::{Annotations, Extra, Link, Object};
use crate::{Check, Error};

/// Keys that every file has, and that are made anew.
const LISTS: [&str; 3] = ["images", "annotations", "categories"];
/// Pixels by which a box may have moved and still be the original, in its own numbers.
const SAME: f64 = 1e-6;

/// The outermost object. Entries stay text, so that each can be told by its line.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    images: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    categories: Vec<&'a RawValue>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Category {
    id: Value,
    name: String,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Image {
    id: Value,
    file_name: String,
    #[serde(default)]
    width: f64,
    #[serde(default)]
    height: f64,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Value,
    category_id: Value,
    /// In its own digits, for the way back.
    bbox: Option<Vec<Number>>,
    #[serde(default)]
    iscrowd: Value,
    #[serde(flatten)]
    extra: Extra,
}

pub(super) fn read(source: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let mut all: Vec<PathBuf> = files(source, "json")?;
    // COCO's own folder has captions and key points of the same pictures beside the boxes.
    let named = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("instances_"));
    if all.iter().any(named) {
        all.retain(named);
    }
    if all.is_empty() {
        return Err(nothing_found(source, "no .json file"));
    }
    all.iter().try_for_each(|file| read_file(file, gatherer))
}

/// A reader of entries that knows their lines.
struct Entries<'a> {
    file: &'a Path,
    text: &'a str,
    /// Line of the place up to which lines are counted.
    counted: (usize, usize),
}

impl<'a> Entries<'a> {
    fn line(&mut self, raw: &RawValue) -> usize {
        let offset = (raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len());
        let (mut at, mut line) = self.counted;
        if offset < at {
            (at, line) = (0, 1);
        }
        line += self.text.as_bytes()[at..offset].iter().filter(|&&byte| byte == b'\n').count();
        self.counted = (offset, line);
        line
    }

    fn read<T: Deserialize<'a>>(&mut self, raw: &'a RawValue, what: &str) -> Result<(Place<'a>, T), Error> {
        let line = self.line(raw);
        let place = Place { file: self.file, line };
        let entry = serde_json::from_str(raw.get()).map_err(|error| {
            let place = Place { line: line + error.line().saturating_sub(1), ..place };
            place.fault(format!("{what} cannot be read: {}", reason(&error)), "correct the entry")
        })?;
        Ok((place, entry))
    }
}

fn read_file(file: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let text = read_text(file)?;
    let document: Document<'_> = serde_json::from_str(&text).map_err(|error| {
        let place = Place { file, line: error.line().max(1) };
        let hint = "a COCO file has `images`, `annotations` and `categories`";
        place.fault(format!("this is not COCO's JSON: {}", reason(&error)), hint)
    })?;
    let mut entries = Entries { file, text: &text, counted: (0, 1) };
    let categories = read_categories(&mut entries, &document, gatherer)?;
    let split = split_of_path(file);
    let mut images: HashMap<String, Option<usize>> = HashMap::new();
    for raw in &document.images {
        let (place, image) = entries.read::<Image>(raw, "an image")?;
        let size = [place.side(image.height)?, place.side(image.width)?];
        let key = image.id.to_string();
        let mut extra = image.extra;
        extra.insert("id".into(), image.id);
        let index = gatherer.image(place, &image.file_name, split, size, extra)?;
        if images.insert(key.clone(), index).is_some() {
            return Err(place.fault(format!("two images have the id {key}"), "give each an id of its own"));
        }
    }
    for raw in &document.annotations {
        let (place, annotation) = entries.read::<Annotation>(raw, "an annotation")?;
        let image = images
            .get(&annotation.image_id.to_string())
            .ok_or_else(|| place.fault(format!("no image has the id {}", annotation.image_id), "correct image_id"))?;
        let class = *categories.get(&annotation.category_id.to_string()).ok_or_else(|| {
            place.fault(format!("no category has the id {}", annotation.category_id), "correct category_id")
        })?;
        let Some(image) = *image else { continue };
        let Some(bbox) = annotation.bbox else {
            gatherer.find(Check::ImportShape, place, "an annotation without bbox; left out");
            continue;
        };
        let numbers: Vec<f64> = bbox.iter().map(|number| number.as_f64().unwrap_or(f64::NAN)).collect();
        let [x, y, width, height] = numbers[..] else {
            let message = format!("bbox has {} numbers instead of 4", bbox.len());
            return Err(place.fault(message, "write left, top, width, height in pixels"));
        };
        let crowd = annotation.iscrowd == json!(1) || annotation.iscrowd == json!(true);
        let mut extra = annotation.extra;
        extra.insert("bbox".into(), json!(bbox));
        extra.insert("iscrowd".into(), annotation.iscrowd);
        gatherer.object(place, image, class, [x, y, x + width, y + height], extra, crowd)?;
    }
    for (key, value) in document.extra {
        gatherer.annotations.extra.entry(key).or_insert(value);
    }
    Ok(())
}

/// Classes by the categories' ids; in the order of the ids, where they are numbers.
fn read_categories<'a>(
    entries: &mut Entries<'a>,
    document: &Document<'a>,
    gatherer: &mut Gatherer<'_>,
) -> Result<HashMap<String, usize>, Error> {
    let mut read = Vec::new();
    for raw in &document.categories {
        read.push(entries.read::<Category>(raw, "a category")?);
    }
    if read.iter().all(|(_, category)| category.id.is_number()) {
        read.sort_by(|(_, a), (_, b)| a.id.as_f64().unwrap_or(0.0).total_cmp(&b.id.as_f64().unwrap_or(0.0)));
    }
    gatherer.list(read.iter().map(|(_, category)| category.name.as_str()));
    let mut classes = HashMap::new();
    let mut kept = Vec::new();
    for (place, category) in read {
        let class = gatherer.class(place, &category.name)?;
        if classes.insert(category.id.to_string(), class).is_some() {
            let message = format!("two categories have the id {}", category.id);
            return Err(place.fault(message, "give each an id of its own"));
        }
        let mut entry = category.extra;
        entry.insert("id".into(), category.id);
        entry.insert("name".into(), category.name.into());
        kept.push(Value::Object(entry));
    }
    gatherer.annotations.extra.entry("categories").or_insert(Value::Array(kept));
    Ok(classes)
}

pub(super) fn write(annotations: &Annotations, folder: &Path, link: Link) -> Result<(), Error> {
    place_pictures(annotations, folder, link, |image| format!("images/{}/{}", image.split, image.name))?;
    let categories = categories(annotations);
    let mut image_ids = Ids::new(annotations.images.iter().map(|image| &image.extra));
    let mut object_ids =
        Ids::new(annotations.images.iter().flat_map(|image| image.objects.iter().map(|object| &object.extra)));
    for (split, _) in annotations.splits() {
        let (mut images, mut objects) = (Vec::new(), Vec::new());
        for image in annotations.images.iter().filter(|image| image.split == split) {
            let id = image_ids.of(&image.extra);
            let mut entry = image.extra.clone();
            entry.insert("id".into(), id.clone());
            entry.insert("file_name".into(), image.name.as_str().into());
            entry.insert("height".into(), image.size[0].into());
            entry.insert("width".into(), image.size[1].into());
            images.push(Value::Object(entry));
            for object in &image.objects {
                let mut entry = object.extra.clone();
                entry.insert("id".into(), object_ids.of(&object.extra));
                entry.insert("image_id".into(), id.clone());
                entry.insert("category_id".into(), categories[object.class]["id"].clone());
                complete(&mut entry, object);
                objects.push(Value::Object(entry));
            }
        }
        let mut document: Map<String, Value> = annotations.extra.clone();
        document.remove("format");
        LISTS.iter().zip([images, objects, categories.clone()]).for_each(|(name, list)| {
            document.insert((*name).into(), list.into());
        });
        let text = Value::Object(document).to_string();
        write_text(&folder.join(format!("annotations/instances_{split}.json")), &text)?;
    }
    Ok(())
}

/// Box, area, segments and crowd flag: as they were where the box is as it was.
fn complete(entry: &mut Extra, object: &Object) {
    let [x1, y1, x2, y2] = object.bbox;
    let own = [x1, y1, x2 - x1, y2 - y1];
    let kept: Option<Vec<f64>> = entry.get("bbox").and_then(|bbox| serde_json::from_value(bbox.clone()).ok());
    let same = kept.is_some_and(|kept| kept.len() == 4 && kept.iter().zip(own).all(|(a, b)| (a - b).abs() <= SAME));
    if !same {
        entry.insert("bbox".into(), json!(own));
        entry.remove("area");
        entry.remove("segmentation");
    }
    entry.entry("area").or_insert_with(|| json!(own[2] * own[3]));
    entry.entry("segmentation").or_insert_with(|| json!([]));
    if entry.get("iscrowd").is_none_or(Value::is_null) {
        entry.insert("iscrowd".into(), json!(0));
    }
}

/// The category of each class: as it was where there is one of that name, else with a new id.
fn categories(annotations: &Annotations) -> Vec<Value> {
    let kept = annotations.extra.get("categories").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |name: &str| kept.iter().find(|category| category["name"] == name);
    let known: Vec<&Extra> =
        annotations.names.iter().filter_map(|name| of(name)).filter_map(Value::as_object).collect();
    let mut ids = Ids::new(known.into_iter());
    let category = |name: &String| match of(name) {
        Some(category) => category.clone(),
        None => json!({"id": ids.of(&Extra::new()), "name": name, "supercategory": ""}),
    };
    annotations.names.iter().map(category).collect()
}

/// Gives ids: those that are kept, each once, and new ones above all of them.
struct Ids {
    given: HashSet<String>,
    next: u64,
}

impl Ids {
    fn new<'a>(kept: impl Iterator<Item = &'a Extra>) -> Self {
        let largest = kept.filter_map(|extra| extra.get("id").and_then(Value::as_u64)).max();
        Self { given: HashSet::new(), next: largest.map_or(1, |largest| largest.saturating_add(1)) }
    }

    fn of(&mut self, extra: &Extra) -> Value {
        if let Some(id) = extra.get("id").filter(|id| id.is_number() || id.is_string())
            && self.given.insert(id.to_string())
        {
            return id.clone();
        }
        let id = self.next;
        self.next += 1;
        self.given.insert(id.to_string());
        json!(id)
    }
}
