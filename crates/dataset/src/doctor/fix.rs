//! A corrected copy of a data set: what can be mended without asking is, what cannot be used is left out, the rest stays as it
//! is. The original is only read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Examination;
use crate::annotations::{Annotations, Object, stem};
use crate::labels::{label_path, parse_labels};
use crate::{Check, DatasetDescription, Error, SplitName};

/// Share of a box that must lie inside its picture for it to be cut off at the edge instead of left out.
const INSIDE: f64 = 0.2;

/// A corrected set, ready to be written, and what was done.
#[derive(Clone, Debug)]
pub struct Corrected {
    /// The set.
    pub annotations: Annotations,
    /// How often something was done about each kind of finding, with what.
    pub changes: Vec<(Check, &'static str, usize)>,
}

/// Corrects a set by what was found in it.
///
/// # Errors
/// Nothing usable is left.
pub fn correct(description: &DatasetDescription, examination: &Examination) -> Result<Corrected, Error> {
    let mut usable = description.clone();
    usable.keep_splits(examination.splits.iter().map(|split| split.name).collect());
    let (mut annotations, _) = Annotations::read(&usable)?;
    let mut changes: HashMap<(Check, &'static str), usize> = HashMap::new();
    let mut count = |check: Check, what: &'static str, number: usize| {
        if number > 0 {
            *changes.entry((check, what)).or_default() += number;
        }
    };
    for finding in &examination.findings {
        match finding.check {
            check @ (Check::PictureEmpty
            | Check::PictureTruncated
            | Check::PictureUnreadable
            | Check::LabelUnreadable) => {
                count(check, "pictures left out", 1);
            }
            check @ (Check::LabelText
            | Check::LabelNotFinite
            | Check::LabelColumns
            | Check::LabelClass
            | Check::LabelNoArea) => {
                count(check, "rows left out", 1);
            }
            Check::LabelTwice => count(Check::LabelTwice, "rows left out", 1),
            Check::LabelOrphan => count(Check::LabelOrphan, "label files left out", 1),
            Check::LabelMissing => count(Check::LabelMissing, "empty label files written", 1),
            Check::NameCase | Check::NameShared => count(finding.check, "pictures renamed", 1),
            Check::ListMissing | Check::ListTwice => count(finding.check, "lines of lists left out", 1),
            _ => {}
        }
    }
    leave_out(&mut annotations, examination, &mut count);
    for image in &mut annotations.images {
        let Some(source) = image.source.clone() else { continue };
        let [mut cut, mut divided] = [0; 2];
        let bytes = std::fs::read(label_path(&source)).unwrap_or_default();
        let parsed = parse_labels(&bytes, annotations.names.len());
        let [height, width] = image.size.map(|side| side as f64);
        for fault in parsed.faults {
            let Some((class, [cx, cy, w, h])) = fault.meant else { continue };
            let sides = match fault.check {
                Check::LabelOutside => [width, height],
                // Pixels already.
                Check::LabelPixels => [1.0, 1.0],
                _ => continue,
            };
            let bbox = [
                (cx - w / 2.0) * sides[0],
                (cy - h / 2.0) * sides[1],
                (cx + w / 2.0) * sides[0],
                (cy + h / 2.0) * sides[1],
            ];
            let object = Object::new(class as usize, bbox);
            let inside = object.shares(image.size).map_or(0.0, |[_, _, w, h]| w * h * width * height);
            if inside < INSIDE * (bbox[2] - bbox[0]) * (bbox[3] - bbox[1]) {
                count(fault.check, "rows left out", 1);
                continue;
            }
            if fault.check == Check::LabelPixels {
                divided += 1
            } else {
                cut += 1
            }
            image.objects.push(object);
        }
        count(Check::LabelOutside, "boxes cut off at the edge", cut);
        count(Check::LabelPixels, "rows divided by the picture's size", divided);
    }
    merge_doubles(&mut annotations, examination, &mut count);
    renew(&mut annotations, examination, &mut count);
    annotations.settle();
    if annotations.images.is_empty() {
        let hint = "`yolo11 data check` says what is wrong with each".to_string();
        return Err(Error::Settings { message: "no picture is left to copy".into(), hint });
    }
    let mut changes: Vec<_> = changes.into_iter().map(|((check, what), count)| (check, what, count)).collect();
    changes.sort();
    Ok(Corrected { annotations, changes })
}

type Count<'a> = dyn FnMut(Check, &'static str, usize) + 'a;

/// Takes out pictures that cannot be decoded, second copies, and those of training that another split has too.
fn leave_out(annotations: &mut Annotations, examination: &Examination, count: &mut Count<'_>) {
    let mut out: HashMap<(Option<SplitName>, PathBuf), (Check, &'static str)> = HashMap::new();
    let split_of = |path: &Path| {
        let split = examination.splits.iter().find(|split| split.images.iter().any(|image| image.path == path));
        split.map(|split| split.name)
    };
    for finding in &examination.findings {
        let other = finding.other.as_deref();
        match (finding.check, other) {
            (Check::PictureUnreadable, _) => {
                out.insert((None, finding.file.clone()), (finding.check, ""));
            }
            (Check::PictureTwice, _) => {
                out.insert((None, finding.file.clone()), (finding.check, "copies left out"));
            }
            (Check::LeakageExact, Some(first)) => {
                // Measured pictures stay; they leave the split that is learned from, or else the later one.
                let gone = if split_of(first) == Some(SplitName::Train) { first } else { &finding.file };
                out.insert((None, gone.to_path_buf()), (finding.check, "pictures left out of train"));
            }
            (Check::LeakageFile, _) if finding.picture.is_some() => {
                out.insert(
                    (Some(SplitName::Train), finding.file.clone()),
                    (finding.check, "pictures left out of train"),
                );
            }
            _ => {}
        }
    }
    annotations.images.retain(|image| {
        let Some(source) = &image.source else { return true };
        let found = out.get(&(None, source.clone())).or_else(|| out.get(&(Some(image.split), source.clone())));
        if let Some((check, what)) = found
            && !what.is_empty()
        {
            count(*check, what, 1);
        }
        found.is_none()
    });
}

/// Of two boxes of a class in nearly the same place the first stays.
fn merge_doubles(annotations: &mut Annotations, examination: &Examination, count: &mut Count<'_>) {
    let pictures: HashSet<&PathBuf> = examination
        .findings
        .iter()
        .filter(|finding| finding.check == Check::BoxNearTwice)
        .filter_map(|finding| finding.picture.as_ref())
        .collect();
    for image in &mut annotations.images {
        if !image.source.as_ref().is_some_and(|source| pictures.contains(source)) {
            continue;
        }
        let before = image.objects.len();
        let mut kept: Vec<Object> = Vec::new();
        for object in image.objects.drain(..) {
            let centred = |[x1, y1, x2, y2]: [f64; 4]| [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1];
            let is_double = kept.iter().any(|other| {
                other.class == object.class
                    && crate::look::iou(centred(other.bbox), centred(object.bbox)) >= crate::look::NEARLY
            });
            if !is_double || object.apart {
                kept.push(object);
            }
        }
        image.objects = kept;
        count(Check::BoxNearTwice, "rows left out", before - image.objects.len());
    }
}

/// Pictures that other programs may see otherwise are stored anew; names follow the content.
fn renew(annotations: &mut Annotations, examination: &Examination, count: &mut Count<'_>) {
    let mut odd: HashMap<&Path, Vec<Check>> = HashMap::new();
    for finding in &examination.findings {
        use Check::{ExifInvalid, ExifOrientation, NamePortable, PictureExtension, PictureMode};
        if matches!(finding.check, ExifInvalid | ExifOrientation | PictureMode | PictureExtension | NamePortable) {
            odd.entry(&finding.file).or_default().push(finding.check);
        }
    }
    for image in &mut annotations.images {
        let Some(checks) = image.source.as_deref().and_then(|source| odd.get(source)) else { continue };
        let Some(source) = image.source.clone() else { continue };
        let Ok(header) = crate::header::probe(&source) else { continue };
        let own = stem(&image.name).to_string();
        let extension = header.format.extensions_str().first().copied().unwrap_or("png");
        for &check in checks {
            match check {
                Check::PictureExtension => {
                    image.name = format!("{own}.{extension}");
                    count(check, "pictures renamed", 1);
                }
                Check::NamePortable => {
                    let plain = |letter: char| {
                        if "\\:*?\"<>|".contains(letter) || letter.is_control() { '_' } else { letter }
                    };
                    let plain: String = own.chars().map(plain).collect();
                    let end = image.name.rsplit_once('.').map_or(extension.to_string(), |(_, end)| end.to_string());
                    image.name = format!("{}.{end}", plain.trim_end_matches([' ', '.']));
                    count(check, "pictures renamed", 1);
                }
                _ => {
                    image.renew = true;
                    count(check, "pictures stored anew", 1);
                }
            }
        }
        if image.renew {
            let is_jpeg = header.format == image::ImageFormat::Jpeg;
            image.name = format!("{}.{}", stem(&image.name), if is_jpeg { "jpg" } else { "png" });
        }
    }
}
