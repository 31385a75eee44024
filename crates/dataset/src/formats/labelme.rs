//! Labelme: a JSON file beside each picture, with `shapes` of named points.

use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::gather::{Gatherer, Place};
use super::{files, nothing_found, place_pictures, read_text, reason, split_of_path, write_names, write_text};
use crate::annotations::{AnnotatedImage, Annotations, Extra, Link, Object, stem};
use crate::{Check, Error};

/// The version that is written where none is known.
const VERSION: &str = "5.5.0";
/// Pixels by which a box may have moved and still be the original, in its own points.
const SAME: f64 = 1e-6;

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    shapes: Vec<&'a RawValue>,
    #[serde(rename = "imagePath")]
    image_path: String,
    #[serde(rename = "imageHeight")]
    height: Option<f64>,
    #[serde(rename = "imageWidth")]
    width: Option<f64>,
    /// The picture itself may be in here; its file is what counts.
    #[serde(rename = "imageData", default)]
    _data: Option<&'a RawValue>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Shape {
    label: String,
    points: Vec<[f64; 2]>,
    #[serde(default)]
    shape_type: Option<String>,
    #[serde(flatten)]
    extra: Extra,
}

pub(super) fn read(source: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let files = files(source, "json")?;
    if files.is_empty() {
        return Err(nothing_found(source, "no .json file"));
    }
    for file in files {
        let text = read_text(&file)?;
        read_one(&file, &text, gatherer)?;
    }
    Ok(())
}

fn read_one(file: &Path, text: &str, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let hint = "a Labelme file has `shapes`, `imagePath`, `imageHeight` and `imageWidth`";
    let document: Document<'_> = serde_json::from_str(text).map_err(|error| {
        let place = Place { file, line: error.line().max(1) };
        place.fault(format!("this is not Labelme's JSON: {}", reason(&error)), hint)
    })?;
    let line_of = |word: &str| text.find(word).map_or(1, |at| 1 + text[..at].matches('\n').count());
    let place = Place { file, line: line_of("\"imagePath\"") };
    let side = |value: Option<f64>| place.side(value.unwrap_or(0.0));
    let size = [side(document.height)?, side(document.width)?];
    // Where the pictures lie elsewhere, Labelme writes `../there/a.jpg`: with a folder given, the last part is enough.
    let path = document.image_path.replace('\\', "/");
    let name = match path.rsplit_once('/') {
        Some((_, name)) if !gatherer.options.images.is_empty() => name.to_string(),
        _ => path,
    };
    let Some(image) = gatherer.image(place, &name, split_of_path(file), size, document.extra)? else { return Ok(()) };
    for raw in document.shapes {
        let offset = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
        let line = 1 + text[..offset].matches('\n').count();
        let shape: Shape = serde_json::from_str(raw.get()).map_err(|error| {
            let place = Place { file, line: line + error.line().saturating_sub(1) };
            place.fault(format!("a shape cannot be read: {}", reason(&error)), "a shape has `label` and `points`")
        })?;
        let place = Place { file, line };
        let kind = shape.shape_type.as_deref().unwrap_or("polygon");
        for value in shape.points.iter().flatten() {
            place.coordinate(*value)?;
        }
        let Some(bbox) = bounds(kind, &shape.points) else {
            let message = format!("a {kind} of {} points has no box; left out", shape.points.len());
            gatherer.find(Check::ImportShape, place, message);
            continue;
        };
        if kind != "rectangle" {
            gatherer.find(Check::ImportShape, place, format!("a {kind}; the box around it is taken"));
        }
        let class = gatherer.class(place, &shape.label)?;
        let mut extra = shape.extra;
        extra.insert("shape_type".into(), kind.into());
        extra.insert("points".into(), json!(shape.points));
        gatherer.object(place, image, class, bbox, extra, false)?;
    }
    Ok(())
}

/// The box around a shape; None where it has none.
fn bounds(kind: &str, points: &[[f64; 2]]) -> Option<[f64; 4]> {
    match (kind, points) {
        ("circle", [[x, y], [edge_x, edge_y]]) => {
            let radius = (edge_x - x).hypot(edge_y - y);
            Some([x - radius, y - radius, x + radius, y + radius])
        }
        ("rectangle" | "polygon" | "mask" | "linestrip", [_, _, ..]) => {
            let start = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
            Some(points.iter().fold(start, |[x1, y1, x2, y2], [x, y]| [x1.min(*x), y1.min(*y), x2.max(*x), y2.max(*y)]))
        }
        _ => None,
    }
}

pub(super) fn write(annotations: &Annotations, folder: &Path, link: Link) -> Result<(), Error> {
    place_pictures(annotations, folder, link, |image| format!("{}/{}", image.split, image.name))?;
    annotations.images.par_iter().try_for_each(|image| {
        write_text(
            &folder.join(format!("{}/{}.json", image.split, stem(&image.name))),
            &document(image, &annotations.names),
        )
    })?;
    write_names(annotations, folder)
}

fn document(image: &AnnotatedImage, names: &[String]) -> String {
    let mut document = image.extra.clone();
    document.entry("version").or_insert(VERSION.into());
    document.entry("flags").or_insert(json!({}));
    let own = image.name.rsplit('/').next().unwrap_or(&image.name);
    document.insert("imagePath".into(), own.into());
    document.insert("imageData".into(), Value::Null);
    document.insert("imageHeight".into(), image.size[0].into());
    document.insert("imageWidth".into(), image.size[1].into());
    let shapes: Vec<Value> = image.objects.iter().map(|object| shape(object, &names[object.class])).collect();
    document.insert("shapes".into(), shapes.into());
    format!("{:#}\n", Value::Object(document))
}

/// The shape as it was where its box is as it was; else a rectangle.
fn shape(object: &Object, name: &str) -> Value {
    let mut shape = object.extra.clone();
    let points: Option<Vec<[f64; 2]>> =
        shape.get("points").and_then(|points| serde_json::from_value(points.clone()).ok());
    let kind = shape.get("shape_type").and_then(Value::as_str).unwrap_or("rectangle").to_string();
    let kept = points.and_then(|points| bounds(&kind, &points));
    let same = kept.is_some_and(|kept| kept.iter().zip(object.bbox).all(|(a, b)| (a - b).abs() <= SAME));
    if !same {
        let [x1, y1, x2, y2] = object.bbox;
        shape.insert("shape_type".into(), "rectangle".into());
        shape.insert("points".into(), json!([[x1, y1], [x2, y2]]));
    }
    shape.insert("label".into(), name.into());
    shape.entry("group_id").or_insert(Value::Null);
    shape.entry("flags").or_insert(json!({}));
    Value::Object(shape)
}
