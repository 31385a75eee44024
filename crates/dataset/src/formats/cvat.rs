//! CVAT for images 1.1: one `annotations.xml` with an `image` element a picture, and the pictures in `images/`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::gather::{Gatherer, Place};
use super::xml::{Element, escape, parse};
use super::{files, nothing_found, place_pictures, plain, read_text, shown, split_of_path, write_text};
use crate::annotations::{AnnotatedImage, Annotations, Extra, Link, Object};
use crate::{Check, Error, SplitName};

/// Attributes that are read into fields of their own.
const KNOWN_OF_IMAGE: [&str; 4] = ["name", "width", "height", "subset"];
const KNOWN_OF_SHAPE: [&str; 5] = ["label", "xtl", "ytl", "xbr", "ybr"];
/// Pixels by which a box may have moved and still be that of the original shape.
const SAME: f64 = 1e-6;

pub(super) fn read(source: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let files = files(source, "xml")?;
    if files.is_empty() {
        return Err(nothing_found(source, "no .xml file"));
    }
    for file in files {
        let root = parse(&read_text(&file)?, &file)?;
        if root.name != "annotations" {
            let message = format!("<{}> where <annotations> is expected", root.name);
            return Err(root.place(&file).fault(message, "export the task as `CVAT for images 1.1`"));
        }
        let mut labels = Vec::new();
        if let Some(meta) = root.child("meta") {
            meta.descendants("label", &mut labels);
        }
        gatherer.list(labels.iter().filter_map(|label| label.child("name")).map(|name| name.text.as_str()));
        if let Some(track) = root.child("track") {
            let message = "a <track>: this is CVAT's form for video";
            return Err(track.place(&file).fault(message, "export the task as `CVAT for images 1.1`"));
        }
        for image in root.all("image") {
            read_image(&file, image, gatherer)?;
        }
    }
    Ok(())
}

fn read_image(file: &Path, image: &Element, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let place = image.place(file);
    let name = image.attribute("name").ok_or_else(|| place.fault("an image without name", "name the picture"))?;
    let side = |which: &str| image.attribute(which).map_or(Ok(0), |text| place.side(place.number(text)?));
    let size = [side("height")?, side("width")?];
    let split = image.attribute("subset").and_then(SplitName::from_word).or_else(|| split_of_path(file));
    let Some(index) = gatherer.image(place, name, split, size, others(image, &KNOWN_OF_IMAGE))? else { return Ok(()) };
    for shape in &image.children {
        let place = shape.place(file);
        let Some(label) = shape.attribute("label") else { continue };
        let Some(bbox) = bounds(shape, place)? else {
            gatherer.find(Check::ImportShape, place, format!("a {} has no box; left out", shape.name));
            continue;
        };
        if shape.name != "box" || shape.attribute("rotation").is_some() {
            gatherer.find(Check::ImportShape, place, format!("a {}; the box around it is taken", kind_of(shape)));
        }
        let class = gatherer.class(place, label)?;
        let mut extra = others(shape, &KNOWN_OF_SHAPE);
        if shape.name != "box" || shape.attribute("rotation").is_some() {
            // The whole shape, for the way back.
            let attributes = shape.attributes.iter().filter(|(key, _)| key != "label");
            let attributes: Extra = attributes.map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            extra = Extra::new();
            extra.insert("shape".into(), json!({"name": shape.name, "bounds": bbox, "attributes": attributes}));
        }
        let inner: Vec<Value> =
            shape.all("attribute").map(|one| json!([one.attribute("name").unwrap_or_default(), one.text])).collect();
        if !inner.is_empty() {
            extra.insert("attributes".into(), inner.into());
        }
        gatherer.object(place, index, class, bbox, extra, false)?;
    }
    Ok(())
}

fn kind_of(shape: &Element) -> &str {
    if shape.name == "box" { "turned box" } else { &shape.name }
}

/// The box around a shape; None of a point or a line.
fn bounds(shape: &Element, place: Place<'_>) -> Result<Option<[f64; 4]>, Error> {
    let number = |name: &str| {
        let text = shape.attribute(name);
        let text = text.ok_or_else(|| place.fault(format!("a {} without {name}", shape.name), "draw it again"))?;
        place.number(text)
    };
    match shape.name.as_str() {
        "box" => {
            let [x1, y1, x2, y2] = [number("xtl")?, number("ytl")?, number("xbr")?, number("ybr")?];
            let angle = shape.attribute("rotation").map_or(Ok(0.0), |text| place.number(text))?.to_radians();
            if angle == 0.0 {
                return Ok(Some([x1, y1, x2, y2]));
            }
            let (cx, cy) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
            let (w, h) = ((x2 - x1) / 2.0, (y2 - y1) / 2.0);
            let wide = (w * angle.cos()).abs() + (h * angle.sin()).abs();
            let high = (w * angle.sin()).abs() + (h * angle.cos()).abs();
            Ok(Some([cx - wide, cy - high, cx + wide, cy + high]))
        }
        "ellipse" => {
            let [cx, cy, rx, ry] = [number("cx")?, number("cy")?, number("rx")?, number("ry")?];
            Ok(Some([cx - rx, cy - ry, cx + rx, cy + ry]))
        }
        "polygon" => {
            let points = shape.attribute("points").unwrap_or_default();
            let mut bbox = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
            for point in points.split(';').filter(|point| !point.trim().is_empty()) {
                let (x, y) = point
                    .split_once(',')
                    .ok_or_else(|| place.fault("a point without a comma", "write points as x,y;x,y"))?;
                let (x, y) = (place.number(x)?, place.number(y)?);
                bbox = [bbox[0].min(x), bbox[1].min(y), bbox[2].max(x), bbox[3].max(y)];
            }
            Ok(bbox[0].is_finite().then_some(bbox))
        }
        _ => Ok(None),
    }
}

fn others(element: &Element, known: &[&str]) -> Extra {
    let others = element.attributes.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    others.map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

pub(super) fn write(annotations: &Annotations, folder: &Path, link: Link) -> Result<(), Error> {
    place_pictures(annotations, folder, link, |image| format!("images/{}/{}", image.split, image.name))?;
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n");
    text += "  <meta>\n    <job>\n      <labels>\n";
    for name in &annotations.names {
        let _ = writeln!(text, "        <label>\n          <name>{}</name>\n        </label>", escape(name));
    }
    text += "      </labels>\n    </job>\n  </meta>\n";
    let mut ids = std::collections::HashSet::new();
    for image in &annotations.images {
        let kept = image.extra.get("id").map(plain).filter(|id| ids.insert(id.clone()));
        let id = kept.unwrap_or_else(|| {
            let fresh = (0..).map(|id: usize| id.to_string()).find(|id| !ids.contains(id)).unwrap_or_default();
            ids.insert(fresh.clone());
            fresh
        });
        write_image(&mut text, image, &id, &annotations.names);
    }
    text += "</annotations>\n";
    write_text(&folder.join("annotations.xml"), &text)
}

fn write_image(text: &mut String, image: &AnnotatedImage, id: &str, names: &[String]) {
    let mut attributes = Vec::from([("id", id.to_string()), ("name", image.name.clone())]);
    attributes.push(("subset", image.split.to_string()));
    attributes.push(("width", image.size[1].to_string()));
    attributes.push(("height", image.size[0].to_string()));
    let own: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
    let extra: Vec<(&str, String)> = scalars(&image.extra).filter(|(name, _)| !own.contains(name)).collect();
    let _ = writeln!(text, "  <image{}>", joined(attributes.iter().chain(&extra)));
    for object in &image.objects {
        write_object(text, object, &names[object.class]);
    }
    *text += "  </image>\n";
}

fn write_object(text: &mut String, object: &Object, name: &str) {
    let mut tag = "box";
    let mut attributes = vec![("label", name.to_string())];
    // A shape as it was, where its box is as it was.
    let shape = object.extra.get("shape").filter(|shape| {
        let kept: Option<[f64; 4]> = serde_json::from_value(shape["bounds"].clone()).ok();
        kept.is_some_and(|kept| kept.iter().zip(object.bbox).all(|(a, b)| (a - b).abs() <= SAME))
    });
    let known = ["polygon", "ellipse", "box"];
    let kept = shape
        .and_then(|shape| known.into_iter().find(|known| shape["name"] == *known).zip(shape["attributes"].as_object()));
    match kept {
        Some((name, own)) => {
            tag = name;
            attributes.extend(scalars(own));
        }
        None => {
            let edges = ["xtl", "ytl", "xbr", "ybr"].into_iter().zip(object.bbox.map(shown));
            attributes.extend(edges);
            let own: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
            let extra: Vec<(&str, String)> =
                scalars(&object.extra).filter(|(name, _)| !own.contains(name) && *name != "id").collect();
            attributes.extend(extra);
        }
    }
    for (name, value) in [("occluded", "0"), ("z_order", "0")] {
        if !attributes.iter().any(|(known, _)| *known == name) {
            attributes.push((name, value.into()));
        }
    }
    let _ = write!(text, "    <{tag}{}>", joined(attributes.iter()));
    for pair in object.extra.get("attributes").and_then(Value::as_array).into_iter().flatten() {
        let (name, value) = (escape(&plain(&pair[0])), escape(&plain(&pair[1])));
        let _ = write!(text, "\n      <attribute name=\"{name}\">{value}</attribute>");
    }
    let _ = writeln!(text, "</{tag}>");
}

/// What can be an attribute.
fn scalars(extra: &Extra) -> impl Iterator<Item = (&str, String)> {
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let scalar = |value: &Value| !value.is_array() && !value.is_object() && !value.is_null();
    extra
        .iter()
        .filter(move |(name, value)| is_name(name) && scalar(value))
        .map(|(name, value)| (name.as_str(), plain(value)))
}

fn joined<'a>(attributes: impl Iterator<Item = &'a (&'a str, String)>) -> String {
    attributes.map(|(name, value)| format!(" {name}=\"{}\"", escape(value))).collect()
}
