//! A table with a row an object, as exports for TensorFlow have it: filename, width, height, class, xmin, ymin, xmax, ymax; in any
//! order, other columns kept. A row without class is a picture without objects.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::gather::{Gatherer, Place};
use super::{files, nothing_found, place_pictures, shown, split_of_path, write_names};
use crate::annotations::{Annotations, Extra, Link};
use crate::{Error, SplitName};

/// Columns that every table has, each with other words for it.
const COLUMNS: [(&str, &[&str]); 8] = [
    ("filename", &["file_name", "image", "image_name", "path"]),
    ("width", &["image_width"]),
    ("height", &["image_height"]),
    ("class", &["label", "name", "class_name"]),
    ("xmin", &["x_min", "x1", "left"]),
    ("ymin", &["y_min", "y1", "top"]),
    ("xmax", &["x_max", "x2", "right"]),
    ("ymax", &["y_max", "y2", "bottom"]),
];
/// A column for the split.
const SPLIT: &str = "split";
/// Begins the names of columns that belong to the picture.
const IMAGE: &str = "image_";

pub(super) fn read(source: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let files = files(source, "csv")?;
    if files.is_empty() {
        return Err(nothing_found(source, "no .csv file"));
    }
    files.iter().try_for_each(|file| read_file(file, gatherer))
}

fn read_file(file: &Path, gatherer: &mut Gatherer<'_>) -> Result<(), Error> {
    let text = super::read_text(file)?;
    let text = text.trim_start_matches('\u{feff}');
    // A record's place is told before the empty lines ahead of it.
    let line_of = |position: &csv::Position| {
        let rest = text.as_bytes().get(position.byte() as usize..).unwrap_or_default();
        let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|&&byte| byte == b'\n');
        position.line() as usize + empty.count()
    };
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(text.as_bytes());
    let fault = |error: csv::Error| {
        let line = error.position().map_or(1, line_of);
        let message = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} columns where the first line has {expected_len}")
            }
            _ => format!("this is not CSV: {error}"),
        };
        Place { file, line }.fault(message, "correct the line; text with commas stands in double quotes")
    };
    let header = reader.headers().map_err(fault)?.clone();
    let header: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
    let mut columns = [usize::MAX; 8];
    for (column, (name, others)) in columns.iter_mut().zip(COLUMNS) {
        let found = header.iter().position(|own| own == name || others.contains(&own.as_str()));
        let is_needed = !matches!(name, "width" | "height");
        *column = match found {
            Some(found) => found,
            None if is_needed => {
                let message = format!("no column `{name}`");
                let hint = "the first line names the columns: filename,width,height,class,xmin,ymin,xmax,ymax";
                return Err(Place { file, line: 1 }.fault(message, hint));
            }
            None => usize::MAX,
        };
    }
    let split_column = header.iter().position(|name| name == SPLIT);
    let of_file = split_of_path(file);
    for record in reader.records() {
        let record = record.map_err(fault)?;
        let place = Place { file, line: record.position().map_or(1, line_of) };
        let field = |column: usize| record.get(column).map(str::trim).unwrap_or_default();
        let side = |column: usize| match field(column) {
            "" => Ok(0),
            text => place.side(place.number(text)?),
        };
        let size = [side(columns[2])?, side(columns[1])?];
        let split = match split_column.map(field) {
            None | Some("") => of_file,
            Some(word) => Some(
                SplitName::from_word(word)
                    .ok_or_else(|| place.fault(format!("`{word}` is no split"), "write train, val or test"))?,
            ),
        };
        let (mut of_image, mut of_object) = (Extra::new(), Extra::new());
        for (column, name) in header.iter().enumerate() {
            let value = field(column);
            if columns.contains(&column) || Some(column) == split_column || value.is_empty() {
                continue;
            }
            match name.strip_prefix(IMAGE) {
                Some(name) => of_image.insert(name.to_string(), as_value(value)),
                None => of_object.insert(name.clone(), as_value(value)),
            };
        }
        let Some(image) = gatherer.image(place, field(columns[0]), split, size, of_image)? else { continue };
        if field(columns[3]).is_empty() {
            continue;
        }
        let class = gatherer.class(place, field(columns[3]))?;
        let mut bbox = [0.0; 4];
        for (edge, column) in bbox.iter_mut().zip(&columns[4..]) {
            *edge = place.number(field(*column))?;
        }
        gatherer.object(place, image, class, bbox, of_object, false)?;
    }
    Ok(())
}

/// A whole number where the text is one and would be written the same; else text.
fn as_value(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

pub(super) fn write(annotations: &Annotations, folder: &Path, link: Link) -> Result<(), Error> {
    place_pictures(annotations, folder, link, |image| format!("images/{}/{}", image.split, image.name))?;
    let scalars = |extra: &Extra| -> Vec<String> {
        let scalar = |value: &Value| !value.is_array() && !value.is_object() && !value.is_null();
        extra.iter().filter(|(_, value)| scalar(value)).map(|(name, _)| name.clone()).collect()
    };
    let image_columns: BTreeSet<String> = annotations.images.iter().flat_map(|image| scalars(&image.extra)).collect();
    let reserved = |name: &String| {
        let known = COLUMNS.iter().any(|(own, others)| own == name || others.contains(&name.as_str()));
        known || name == SPLIT || name.starts_with(IMAGE)
    };
    let object_columns: BTreeSet<String> = annotations
        .images
        .iter()
        .flat_map(|image| image.objects.iter().flat_map(|object| scalars(&object.extra)))
        .filter(|name| !reserved(name) && *name == name.to_lowercase())
        .collect();
    // `image_width` would be read as the width.
    let ambiguous = |name: &str| COLUMNS.iter().any(|(_, others)| others.contains(&format!("{IMAGE}{name}").as_str()));
    let image_columns: Vec<&String> =
        image_columns.iter().filter(|name| !ambiguous(name) && **name == name.to_lowercase()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| Error::Write { path: folder.join("annotations.csv"), source: error.into() };
    let mut header: Vec<String> = vec![SPLIT.into()];
    header.extend(COLUMNS.iter().map(|(name, _)| (*name).to_string()));
    header.extend(image_columns.iter().map(|name| format!("{IMAGE}{name}")));
    header.extend(object_columns.iter().cloned());
    writer.write_record(&header).map_err(failed)?;
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => String::new(),
        Some(value) => super::plain(value),
    };
    for image in &annotations.images {
        let of_image = |bbox: Option<(&str, [f64; 4])>| {
            let mut row = vec![image.split.to_string(), image.name.clone()];
            row.extend([image.size[1].to_string(), image.size[0].to_string()]);
            match bbox {
                Some((class, bbox)) => {
                    row.push(class.to_string());
                    row.extend(bbox.map(shown));
                }
                None => row.extend(std::iter::repeat_n(String::new(), 5)),
            }
            row.extend(image_columns.iter().map(|name| cell(image.extra.get(*name))));
            row
        };
        if image.objects.is_empty() {
            let mut row = of_image(None);
            row.extend(object_columns.iter().map(|_| String::new()));
            writer.write_record(&row).map_err(failed)?;
        }
        for object in &image.objects {
            let mut row = of_image(Some((&annotations.names[object.class], object.bbox)));
            row.extend(object_columns.iter().map(|name| cell(object.extra.get(name))));
            writer.write_record(&row).map_err(failed)?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
    let path = folder.join("annotations.csv");
    std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })?;
    write_names(annotations, folder)
}
