//! One picture and its label file: what can be used, and what is odd about either.

use std::fs;
use std::path::Path;

use image::ImageFormat;

use crate::exif::Exif;
use crate::header::{Header, Mode, probe};
use crate::labels::{Row, label_path, parse_labels};
use crate::scan::ImageEntry;
use crate::{Check, Finding};

/// Sides below which a picture is hardly one.
const SMALL: usize = 32;
/// Overlap (IoU) from which two boxes of a class are likely one object; of two classes, a slip.
pub(crate) const NEARLY: f64 = 0.9;
/// Share of the picture's sides from which a box is one around the whole picture.
const WHOLE: f64 = 0.999;
/// Pixels at the training's size below which an object is tiny: the finest grid of the network has cells of 8 pixels.
const TINY: f64 = 4.0;
/// Objects of one picture above which pairs are not compared, and which a validation does not keep.
const MOST_COMPARED: usize = 5000;
const MOST_KEPT: usize = 300;

/// What was found out about one picture.
pub(crate) struct Looked {
    /// None where it cannot be used.
    pub image: Option<ImageEntry>,
    pub has_label_file: bool,
    /// Whether it is grey.
    pub grey: bool,
    pub findings: Vec<Finding>,
}

/// Reads header and labels. `imgsz`: side of the network's input, to tell what will be tiny in it.
pub(crate) fn look(path: &Path, names: &[String], imgsz: Option<usize>) -> Looked {
    let file = label_path(path);
    let header = match probe(path) {
        Ok(header) => header,
        Err((check, message)) => {
            let finding = Finding::new(check, path, message);
            return Looked { image: None, has_label_file: file.is_file(), grey: false, findings: vec![finding] };
        }
    };
    let mut findings = Vec::new();
    check_header(path, &header, &mut findings);
    let mut entry = ImageEntry { path: path.to_path_buf(), size: header.size, labels: Vec::new() };
    let grey = header.mode == Mode::Grey;
    match fs::read(&file) {
        Ok(bytes) => {
            let parsed = parse_labels(&bytes, names.len());
            for fault in parsed.faults {
                let boxes = fault.meant.map(|(_, bbox)| bbox.map(|value| value as f32)).into_iter().collect();
                let finding = Finding::new(fault.check, &file, fault.message);
                findings.push(finding.at(fault.line).shown_on(path, boxes));
            }
            check_rows(path, &file, &parsed.rows, header.size, names, imgsz, &mut findings);
            entry.labels = parsed.rows.iter().map(Row::label).collect();
            Looked { image: Some(entry), has_label_file: true, grey, findings }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Looked { image: Some(entry), has_label_file: false, grey, findings }
        }
        Err(error) => {
            // A picture whose labels exist but cannot be read is no background.
            let message = format!("the labels cannot be read: {error}");
            findings.push(Finding::new(Check::LabelUnreadable, file, message).shown_on(path, Vec::new()));
            Looked { image: None, has_label_file: true, grey, findings }
        }
    }
}

fn check_header(path: &Path, header: &Header, findings: &mut Vec<Finding>) {
    let mut add = |check, message: String| {
        findings.push(Finding::new(check, path, message).shown_on(path, Vec::new()));
    };
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if ImageFormat::from_extension(&extension) != Some(header.format) {
        let format = header.format.extensions_str().first().unwrap_or(&"unknown").to_ascii_uppercase();
        add(Check::PictureExtension, format!("the name ends in .{extension}, the content is {format}"));
    }
    let [height, width] = header.size;
    if height.min(width) < SMALL {
        add(Check::PictureSmall, format!("{width} × {height} pixels"));
    }
    if let Mode::Odd(words) = header.mode {
        add(Check::PictureMode, format!("the picture has {words}; it is read as 8-bit RGB"));
    }
    match &header.exif {
        Some(Err(message)) => add(Check::ExifInvalid, format!("{message}; it is left aside")),
        Some(Ok(Exif { orientation: Some(value), .. })) if !(1..=8).contains(value) => {
            add(Check::ExifInvalid, format!("the orientation is {value}; 1 to 8 is possible; it is left aside"));
        }
        Some(Ok(Exif { orientation: Some(value @ 2..), size })) => {
            // Written for the picture as it was taken: turned pixels have the sides the other way round.
            let [stored_height, stored_width] = if *value >= 5 { [width, height] } else { [height, width] };
            let turned = *value >= 5
                && stored_width != stored_height
                && *size == Some([stored_height as u32, stored_width as u32]);
            if turned {
                let message = format!(
                    "stored as {stored_width} × {stored_height}, EXIF says {stored_height} × {stored_width} and to turn it (orientation {value})"
                );
                add(Check::ExifTurned, message);
            } else {
                let message = format!(
                    "orientation {value}: shown here as {width} × {height}; programs that ignore EXIF see it unturned"
                );
                add(Check::ExifOrientation, message);
            }
        }
        _ => {}
    }
}

fn check_rows(
    path: &Path,
    file: &Path,
    rows: &[Row],
    [height, width]: [usize; 2],
    names: &[String],
    imgsz: Option<usize>,
    findings: &mut Vec<Finding>,
) {
    let mut add = |check, line, message: String, boxes: Vec<&Row>| {
        let boxes = boxes.iter().map(|row| row.label().bbox).collect();
        findings.push(Finding::new(check, file, message).at(line).shown_on(path, boxes));
    };
    for row in rows {
        let [_, _, w, h] = row.bbox;
        if w >= WHOLE && h >= WHOLE {
            add(Check::BoxWhole, Some(row.line), "the box covers the whole picture".into(), vec![row]);
        }
        if let Some(imgsz) = imgsz {
            let scale = imgsz as f64 / height.max(width) as f64;
            let [w, h] = [w * width as f64 * scale, h * height as f64 * scale];
            if w.min(h) < TINY {
                let message = format!("{w:.1} × {h:.1} pixels at imgsz={imgsz}; below {TINY} little can be seen");
                add(Check::ObjectTiny, Some(row.line), message, vec![row]);
            }
        }
    }
    if rows.len() > MOST_KEPT {
        let message = format!("{} objects; a validation keeps {MOST_KEPT} detections", rows.len());
        add(Check::PictureCrowded, None, message, Vec::new());
    }
    if rows.len() > MOST_COMPARED {
        return;
    }
    for (index, second) in rows.iter().enumerate() {
        for first in &rows[..index] {
            let overlap = iou(first.bbox, second.bbox);
            if overlap < NEARLY {
                continue;
            }
            let (check, message) = if first.class == second.class {
                let message = format!("nearly the box of line {} (IoU {overlap:.2})", first.line);
                (Check::BoxNearTwice, message)
            } else {
                let message = format!(
                    "`{}` in the place of `{}` on line {} (IoU {overlap:.2})",
                    names[second.class], names[first.class], first.line
                );
                (Check::BoxTwoClasses, message)
            };
            add(check, Some(second.line), message, vec![first, second]);
            // One word about a row is enough.
            break;
        }
    }
}

/// Intersection over union of two boxes `[cx, cy, w, h]`.
pub(crate) fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let shared = |axis: usize| {
        let low = (a[axis] - a[axis + 2] / 2.0).max(b[axis] - b[axis + 2] / 2.0);
        let high = (a[axis] + a[axis + 2] / 2.0).min(b[axis] + b[axis + 2] / 2.0);
        (high - low).max(0.0)
    };
    let common = shared(0) * shared(1);
    let union = a[2] * a[3] + b[2] * b[3] - common;
    if union > 0.0 { common / union } else { 0.0 }
}
