//! The doctor's findings as data and as a page with pictures of the worst.

use rayon::prelude::*;
use serde_json::{Value, json};
use yolo11_dataset::decode::decode_file;
use yolo11_dataset::{DatasetDescription, Examination, Finding, Severity};
use yolo11_report::page::{self, Evidence, Page, Section};
use yolo11_report::{Image, evidence};

use crate::Error;

/// Most findings of a kind that are shown in pictures.
const MOST_PICTURES: usize = 6;

/// How many findings are as serious as this.
pub fn count(examination: &Examination, severity: Severity) -> usize {
    examination.findings.iter().filter(|finding| finding.check.severity() == severity).count()
}

/// Everything found as one JSON value.
pub fn to_json(description: &DatasetDescription, examination: &Examination) -> Value {
    let finding = |finding: &Finding| {
        let mut value = json!({
            "id": finding.check.id(), "severity": finding.check.severity().name(),
            "file": finding.file.display().to_string(), "line": finding.line, "message": finding.message,
            "fix": finding.check.fix(),
        });
        let mut add = |key: &str, content: Option<Value>| {
            if let (Some(content), Some(object)) = (content, value.as_object_mut()) {
                object.insert(key.to_owned(), content);
            }
        };
        add("picture", finding.picture.as_ref().map(|path| json!(path.display().to_string())));
        add("other", finding.other.as_ref().map(|path| json!(path.display().to_string())));
        add("boxes", (!finding.boxes.is_empty()).then(|| json!(finding.boxes)));
        value
    };
    let pictures = examination.splits.iter().map(|split| (split.name.to_string(), json!(split.images.len())));
    json!({
        "data": description.file.display().to_string(),
        "pictures": pictures.collect::<serde_json::Map<_, _>>(),
        "errors": count(examination, Severity::Error), "warnings": count(examination, Severity::Warning),
        "notes": count(examination, Severity::Note),
        "findings": examination.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// The page: what was found, kind by kind, with pictures.
///
/// # Errors
/// A picture cannot be encoded.
pub fn to_page(description: &DatasetDescription, examination: &Examination) -> Result<String, Error> {
    let statistics: Vec<_> = examination.splits.iter().map(|split| split.statistics()).collect();
    let classes = description.names.iter().enumerate();
    let classes = classes
        .map(|(class, name)| (name.clone(), statistics.iter().map(|figures| figures.boxes_per_class[class]).collect()));
    let file = std::path::absolute(&description.file).unwrap_or_else(|_| description.file.clone());
    let folder = file.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy();
    let sections: Vec<&[Finding]> = examination.findings.chunk_by(|a, b| a.check == b.check).collect();
    let page = Page {
        title: format!("Data check: {folder}"),
        subtitle: file.display().to_string(),
        splits: examination.splits.iter().map(|split| split.name.to_string()).collect(),
        totals: statistics.iter().map(|figures| [figures.images, figures.backgrounds, figures.boxes]).collect(),
        classes: classes.collect(),
        sections: sections.into_par_iter().map(|same| section(same, examination, &file)).collect(),
    };
    page::render(&page).map_err(|error| Error::Setup {
        message: format!("the page cannot be made: {error}"),
        hint: "leave out --html".into(),
    })
}

fn section(findings: &[Finding], examination: &Examination, file: &std::path::Path) -> Section {
    let check = findings[0].check;
    let root = file.parent().unwrap_or(std::path::Path::new(""));
    // Places are read more easily from the data set's own folder.
    let place = |finding: &Finding| {
        let whole = std::path::absolute(&finding.file).unwrap_or_else(|_| finding.file.clone());
        let shown = whole.strip_prefix(root).unwrap_or(&finding.file).display().to_string();
        finding.line.map_or(shown.clone(), |line| format!("{shown}:{line}"))
    };
    let inside = format!("{}/", root.display());
    let message = |finding: &Finding| finding.message.replace(&inside, "");
    let mut evidence = Vec::new();
    for finding in findings {
        if evidence.len() == MOST_PICTURES {
            break;
        }
        let caption = || format!("{}: {}", place(finding), message(finding));
        if let Some(images) = pictures(finding, examination) {
            evidence.push(Evidence { images, caption: caption() });
        }
    }
    Section {
        id: check.id().into(),
        severity: check.severity().name().into(),
        title: check.title().into(),
        fix: check.fix().into(),
        entries: findings.iter().map(|finding| (place(finding), message(finding))).collect(),
        evidence,
    }
}

/// The picture of a finding with its boxes, and its twin; None where there is none that can be read.
fn pictures(finding: &Finding, examination: &Examination) -> Option<Vec<Image>> {
    let draw = |path: &std::path::Path, faulty: &[[f32; 4]]| {
        let decoded = decode_file(path).ok()?;
        let image = Image::from_pixels(decoded.width, decoded.height, decoded.pixels).ok()?;
        let mut entries = examination.splits.iter().flat_map(|split| &split.images);
        let labels = entries.find(|entry| entry.path == path).map(|entry| &entry.labels);
        let others: Vec<[f32; 4]> = labels.into_iter().flatten().map(|label| label.bbox).collect();
        Some(evidence::draw(&image, faulty, &others))
    };
    let mut images = vec![draw(finding.picture.as_deref()?, &finding.boxes)?];
    images.extend(finding.other.as_deref().and_then(|other| draw(other, &[])));
    Some(images)
}
