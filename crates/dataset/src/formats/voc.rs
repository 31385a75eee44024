//! Pascal VOC: `Annotations/NAME.xml` a picture, `JPEGImages/`, splits in `ImageSets/Main/*.txt`; or XML files beside pictures.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;

use super::gather::Gatherer;
use super::xml::{Element, escape, parse};
use super::{files, nothing_found, place_pictures, plain, read_text, shown, split_of_path, write_names, write_text};
use crate::annotations::{AnnotatedImage, Annotations, Extra, Link, distinct, stem};
use crate::{Error, SplitName};

/// Elements whose content is read into fields of its own.
const KNOWN_OF_IMAGE: [&str; 3] = ["filename", "size", "object"];
const KNOWN_OF_OBJECT: [&str; 2] = ["name", "bndbox"];

pub(super) fn read(source: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let files = files(source, "xml")?;
    if files.is_empty() {
        return Err(nothing_found(source, "no .xml file"));
    }
    let splits = image_sets(source)?;
    let parsed: Vec<Element> = files.par_iter().map(|file| parse(&read_text(file)?, file)).collect::<Result<_, _>>()?;
    for (file, root) in files.iter().zip(parsed) {
        if root.name != "annotation" {
            let message = format!("<{}> where <annotation> is expected", root.name);
            return Err(root.place(file).fault(message, "is this the right format?"));
        }
        read_one(file, &root, &splits, gatherer)?;
    }
    Ok(())
}

/// Splits by the names without extension.
fn image_sets(source: &Path) -> Result<HashMap<String, SplitName>, Error> {
    let mut splits = HashMap::new();
    for (list, split) in
        [("test", SplitName::Test), ("val", SplitName::Val), ("valid", SplitName::Val), ("train", SplitName::Train)]
    {
        let file = source.join(format!("ImageSets/Main/{list}.txt"));
        if !file.is_file() {
            continue;
        }
        for line in read_text(&file)?.lines() {
            // Lists of single classes have a second column.
            if let Some(name) = line.split_whitespace().next() {
                splits.insert(name.to_string(), split);
            }
        }
    }
    Ok(splits)
}

fn read_one(
    file: &Path,
    root: &Element,
    splits: &HashMap<String, SplitName>,
    gatherer: &mut Gatherer<'_>,
) -> Result<(), Error> {
    let place = root.place(file);
    let name = root.child("filename").filter(|name| !name.text.is_empty());
    let name_place = name.map_or(place, |name| name.place(file));
    let mut name = match name {
        Some(name) => name.text.clone(),
        None => return Err(place.fault("no <filename>", "name the picture")),
    };
    if Path::new(&name).extension().is_none() {
        // Early sets leave it out.
        name.push_str(".jpg");
    }
    let side = |which: &str| match root.child("size").and_then(|size| size.child(which)) {
        Some(side) => side.place(file).side(side.place(file).number(&side.text)?),
        None => Ok(0),
    };
    let size = [side("height")?, side("width")?];
    let own = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let listed = splits.get(&own).or_else(|| splits.get(stem(&name)));
    let extra = others(root, &KNOWN_OF_IMAGE);
    let split = listed.copied().or_else(|| split_of_path(file));
    let Some(image) = gatherer.image(name_place, &name, split, size, extra)? else { return Ok(()) };
    if let Some(depth) = root.child("size").and_then(|size| size.child("depth")) {
        gatherer.annotations.images[image].extra.insert("depth".into(), depth.text.as_str().into());
    }
    for object in root.all("object") {
        let place = object.place(file);
        let name = object.child("name").ok_or_else(|| place.fault("an object without <name>", "name its class"))?;
        let class = gatherer.class(name.place(file), &name.text)?;
        let bounds = object.child("bndbox").ok_or_else(|| place.fault("an object without <bndbox>", "draw its box"))?;
        let edge = |which: &str| {
            let edge = bounds.child(which);
            let edge = edge.ok_or_else(|| bounds.place(file).fault(format!("no <{which}>"), "draw the box again"))?;
            edge.place(file).number(&edge.text)
        };
        let first = if gatherer.options.one_based { 1.0 } else { 0.0 };
        let bbox = [edge("xmin")? - first, edge("ymin")? - first, edge("xmax")?, edge("ymax")?];
        gatherer.object(place, image, class, bbox, others(object, &KNOWN_OF_OBJECT), false)?;
    }
    Ok(())
}

/// What else an element holds.
fn others(element: &Element, known: &[&str]) -> Extra {
    let others = element.children.iter().filter(|child| !known.contains(&child.name.as_str()));
    others.map(|child| (child.name.clone(), child.to_value())).collect()
}

pub(super) fn write(annotations: &Annotations, folder: &Path, link: Link) -> Result<(), Error> {
    // One folder holds the pictures of all splits.
    let mut annotations = annotations.clone();
    let mut taken = std::collections::HashSet::new();
    for image in &mut annotations.images {
        image.name = distinct(&image.name, |name| taken.insert(stem(name).to_lowercase()));
    }
    let annotations = &annotations;
    place_pictures(annotations, folder, link, |image| format!("JPEGImages/{}", image.name))?;
    annotations.images.par_iter().try_for_each(|image| {
        let path = folder.join("Annotations").join(format!("{}.xml", stem(&image.name)));
        write_text(&path, &document(image, &annotations.names))
    })?;
    for (split, _) in annotations.splits() {
        let members = annotations.images.iter().filter(|image| image.split == split);
        let list: String = members.map(|image| format!("{}\n", stem(&image.name))).collect();
        write_text(&folder.join(format!("ImageSets/Main/{split}.txt")), &list)?;
    }
    write_names(annotations, folder)
}

fn document(image: &AnnotatedImage, names: &[String]) -> String {
    let mut text = String::from("<annotation>\n");
    let mut extra = image.extra.clone();
    let depth = extra.remove("depth").unwrap_or(Value::from("3"));
    let folder = extra.remove("folder").unwrap_or(Value::from("JPEGImages"));
    write_value(&mut text, 1, "folder", &folder);
    write_value(&mut text, 1, "filename", &Value::from(image.name.as_str()));
    for (name, value) in extra.iter().filter(|(name, _)| *name != "segmented" && is_name(name)) {
        write_value(&mut text, 1, name, value);
    }
    let _ = write!(
        text,
        "\t<size>\n\t\t<width>{}</width>\n\t\t<height>{}</height>\n\t\t<depth>{}</depth>\n\t</size>\n",
        image.size[1],
        image.size[0],
        escape(&plain(&depth))
    );
    write_value(&mut text, 1, "segmented", extra.get("segmented").unwrap_or(&Value::from("0")));
    for object in &image.objects {
        text += "\t<object>\n";
        write_value(&mut text, 2, "name", &Value::from(names[object.class].as_str()));
        // Readers of the format expect these, in this order.
        let usual = [("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")];
        for (name, value) in usual {
            write_value(&mut text, 2, name, object.extra.get(name).unwrap_or(&Value::from(value)));
        }
        let is_other = |name: &str| is_name(name) && !usual.iter().any(|(known, _)| *known == name);
        for (name, value) in object.extra.iter().filter(|(name, _)| is_other(name)) {
            write_value(&mut text, 2, name, value);
        }
        text += "\t\t<bndbox>\n";
        for (name, value) in ["xmin", "ymin", "xmax", "ymax"].iter().zip(object.bbox) {
            let _ = writeln!(text, "\t\t\t<{name}>{}</{name}>", shown(value));
        }
        text += "\t\t</bndbox>\n\t</object>\n";
    }
    text + "</annotation>\n"
}

fn write_value(text: &mut String, depth: usize, name: &str, value: &Value) {
    let indent = "\t".repeat(depth);
    match value {
        Value::Object(children) => {
            let _ = writeln!(text, "{indent}<{name}>");
            for (name, value) in children.iter().filter(|(name, _)| is_name(name)) {
                write_value(text, depth + 1, name, value);
            }
            let _ = writeln!(text, "{indent}</{name}>");
        }
        _ => {
            let _ = writeln!(text, "{indent}<{name}>{}</{name}>", escape(&plain(value)));
        }
    }
}

/// Whether a key of another format can be an element.
fn is_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter))
}
