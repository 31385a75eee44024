//! Label files: a row an object, `class cx cy w h`, shares of the picture's width and height.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::Check;

/// How far a box may reach over the picture's edge, as a share of it: rounding in label files. It is clipped.
const SLACK: f64 = 1e-3;

/// One object of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Class, from 0.
    pub class: usize,
    /// Centre x, centre y, width, height as shares of the picture's width and height; inside the picture.
    pub bbox: [f32; 4],
}

/// The label file of a picture: the last folder `images` of its path becomes `labels`, the extension `.txt`. Without a
/// folder `images` the label file lies beside the picture. Both kinds of slashes are understood.
pub fn label_path(image: &Path) -> PathBuf {
    let beside = image.with_extension("txt");
    let Some(text) = beside.to_str() else { return beside };
    let is_slash = |character: char| character == '/' || character == '\\';
    let mut end = text.len();
    // From the back: each folder, ending before a slash.
    while let Some(slash) = text[..end].rfind(is_slash) {
        let start = text[..slash].rfind(is_slash).map_or(0, |before| before + 1);
        if &text[start..slash] == "images" {
            return PathBuf::from(format!("{}labels{}", &text[..start], &text[slash..]));
        }
        end = slash;
    }
    beside
}

/// A row that can be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    /// Its line, from 1.
    pub line: usize,
    /// Class, from 0.
    pub class: usize,
    /// Centre x, centre y, width, height as shares, clipped to the picture.
    pub bbox: [f64; 4],
}

impl Row {
    pub fn label(&self) -> Label {
        Label { class: self.class, bbox: self.bbox.map(|value| value as f32) }
    }
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// Its line, from 1.
    pub line: usize,
    pub check: Check,
    pub message: String,
    /// Class and box as they stand there, where they are numbers: a class that is not named, a box outside.
    pub meant: Option<(f64, [f64; 4])>,
}

/// Rows of a label file that can be used, and the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ParsedLabels {
    pub rows: Vec<Row>,
    pub faults: Vec<Fault>,
}

/// Reads a label file's content. Never fails: a row that cannot be used is a fault, the others count.
pub(crate) fn parse_labels(bytes: &[u8], classes: usize) -> ParsedLabels {
    let mut parsed = ParsedLabels::default();
    let mut seen = HashSet::new();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, row) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let row = String::from_utf8_lossy(row);
        let columns: Vec<&str> = row.split_ascii_whitespace().collect();
        if columns.is_empty() {
            continue;
        }
        let line = index + 1;
        match parse_row(&columns, classes) {
            Ok((class, bbox)) => {
                let row = Row { line, class, bbox };
                if seen.insert((class, row.label().bbox.map(f32::to_bits))) {
                    parsed.rows.push(row);
                } else {
                    let message = "the same object stands on an earlier line".into();
                    let meant = Some((class as f64, bbox));
                    parsed.faults.push(Fault { line, check: Check::LabelTwice, message, meant });
                }
            }
            Err(fault) => parsed.faults.push(Fault { line, ..fault }),
        }
    }
    parsed
}

fn parse_row(columns: &[&str], classes: usize) -> Result<(usize, [f64; 4]), Fault> {
    let fault = |check, message| Fault { line: 0, check, message, meant: None };
    let mut numbers = Vec::with_capacity(columns.len());
    for (position, column) in columns.iter().enumerate() {
        let number: f64 = column.parse().map_err(|_| {
            let message = format!("column {} is not a number: `{}`", position + 1, shorten(column));
            fault(Check::LabelText, message)
        })?;
        if !number.is_finite() {
            let message = format!("column {} is not a finite number: `{}`", position + 1, shorten(column));
            return Err(fault(Check::LabelNotFinite, message));
        }
        numbers.push(number);
    }
    let is_polygon = numbers.len() >= 7 && numbers.len() % 2 == 1;
    if numbers.len() < 5 {
        return Err(fault(Check::LabelColumns, format!("{} of 5 columns (class cx cy w h)", numbers.len())));
    }
    if numbers.len() > 5 && !is_polygon {
        let message = format!(
            "{} columns; a row has 5 (class cx cy w h), or a class and the x and y of at least 3 points",
            numbers.len()
        );
        return Err(fault(Check::LabelColumns, message));
    }
    let class = numbers[0];
    let [mut x1, mut y1, mut x2, mut y2] = if is_polygon {
        bounding_box(&numbers[1..])
    } else {
        let (cx, cy, width, height) = (numbers[1], numbers[2], numbers[3], numbers[4]);
        [cx - width / 2.0, cy - height / 2.0, cx + width / 2.0, cy + height / 2.0]
    };
    let meant = Some((class, [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]));
    let fault = |check, message| Fault { line: 0, check, message, meant };
    if class.fract() != 0.0 {
        return Err(fault(Check::LabelClass, format!("class {class} is not a whole number")));
    }
    if class < 0.0 || class >= classes as f64 {
        let last = classes.saturating_sub(1);
        let message = format!("class {class} is out of range: dataset.yaml names classes 0 to {last}");
        return Err(fault(Check::LabelClass, message));
    }
    if !is_polygon && (numbers[3] <= 0.0 || numbers[4] <= 0.0) {
        let message = format!("the box has no area: width {}, height {}", numbers[3], numbers[4]);
        return Err(fault(Check::LabelNoArea, message));
    }
    let (low, high) = (x1.min(y1), x2.max(y2));
    if low < -SLACK || high > 1.0 + SLACK {
        let pixels = high > 2.0;
        let message = format!(
            "the box reaches outside the picture: x {} to {}, y {} to {}{}",
            round(x1),
            round(x2),
            round(y1),
            round(y2),
            if pixels { "; are these pixels? shares of width and height are expected" } else { "" }
        );
        return Err(fault(if pixels { Check::LabelPixels } else { Check::LabelOutside }, message));
    }
    [x1, y1, x2, y2] = [x1, y1, x2, y2].map(|value| value.clamp(0.0, 1.0));
    let bbox = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1];
    if bbox.map(|value| value as f32)[2..].iter().any(|&side| side <= 0.0) {
        return Err(fault(Check::LabelNoArea, "the box has no area".into()));
    }
    Ok((class as usize, bbox))
}

fn bounding_box(points: &[f64]) -> [f64; 4] {
    let start = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    points
        .chunks_exact(2)
        .fold(start, |[x1, y1, x2, y2], point| [x1.min(point[0]), y1.min(point[1]), x2.max(point[0]), y2.max(point[1])])
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn shorten(text: &str) -> String {
    if text.chars().count() > 24 {
        format!("{}…", text.chars().take(24).collect::<String>())
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn label_paths() {
        let cases = [
            ("set/images/train/a.jpg", "set/labels/train/a.txt"),
            ("set/images/images/a.b.png", "set/images/labels/a.b.txt"),
            ("images/a.jpg", "labels/a.txt"),
            ("/images/x/images.jpg", "/labels/x/images.txt"),
            ("set/pictures/a.jpg", "set/pictures/a.txt"),
            ("set/myimages/a.jpg", "set/myimages/a.txt"),
            ("a.jpg", "a.txt"),
            ("c:\\set\\images\\train\\a.jpg", "c:\\set\\labels\\train\\a.txt"),
        ];
        for (image, label) in cases {
            assert_eq!(label_path(Path::new(image)), Path::new(label));
        }
    }

    #[test]
    fn good_rows_are_read() {
        let text = "\u{feff}0 0.5 0.5 0.2 0.4\r\n\r\n1.0 0.25 .25 1e-1 0.5\n 2 0.1 0.1 0.4 0.1 0.4 0.3\n";
        let parsed = parse_labels(text.as_bytes(), 3);
        assert_eq!(parsed.faults, []);
        assert_eq!(parsed.rows[0].label(), Label { class: 0, bbox: [0.5, 0.5, 0.2, 0.4] });
        assert_eq!(parsed.rows[1].label(), Label { class: 1, bbox: [0.25, 0.25, 0.1, 0.5] });
        assert_eq!(parsed.rows[2].class, 2);
        for (value, expected) in parsed.rows[2].bbox.iter().zip([0.25, 0.2, 0.3, 0.2]) {
            assert!((value - expected).abs() < 1e-9);
        }
        assert_eq!(parsed.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3, 4]);
        // A hair over the edge is rounding: clipped.
        let edge = parse_labels(b"0 0.95 0.5 0.1008 0.1", 1);
        assert_eq!(edge.faults, []);
        assert!(edge.rows[0].bbox[0] + edge.rows[0].bbox[2] / 2.0 <= 1.0);
    }

    #[test]
    fn each_fault_has_its_line_and_message() {
        let cases: [(&[u8], Check, &str); 15] = [
            (b"0 0.5 0.5 0.1 wide", Check::LabelText, "column 5 is not a number: `wide`"),
            (b"cat 0.5 0.5 0.1 0.1", Check::LabelText, "column 1 is not a number: `cat`"),
            (b"0 0.5 0.5", Check::LabelColumns, "3 of 5 columns (class cx cy w h)"),
            (
                b"0 0.5 0.5 0.1 0.1 0.9",
                Check::LabelColumns,
                "6 columns; a row has 5 (class cx cy w h), or a class and the x and y of at least 3 points",
            ),
            (b"3 0.5 0.5 0.1 0.1", Check::LabelClass, "class 3 is out of range: dataset.yaml names classes 0 to 2"),
            (b"-1 0.5 0.5 0.1 0.1", Check::LabelClass, "class -1 is out of range: dataset.yaml names classes 0 to 2"),
            (b"0.5 0.5 0.5 0.1 0.1", Check::LabelClass, "class 0.5 is not a whole number"),
            (b"0 NaN 0.5 0.1 0.1", Check::LabelNotFinite, "column 2 is not a finite number: `NaN`"),
            (b"0 0.5 inf 0.1 0.1", Check::LabelNotFinite, "column 3 is not a finite number: `inf`"),
            (
                b"0 0.99 0.5 0.1 0.1",
                Check::LabelOutside,
                "the box reaches outside the picture: x 0.94 to 1.04, y 0.45 to 0.55",
            ),
            (
                b"0 320 200 50 50",
                Check::LabelPixels,
                "the box reaches outside the picture: x 295 to 345, y 175 to 225; are these pixels? shares of width and height are expected",
            ),
            (b"0 0.5 0.5 0 0.1", Check::LabelNoArea, "the box has no area: width 0, height 0.1"),
            (b"0 0.5 0.5 -0.1 0.1", Check::LabelNoArea, "the box has no area: width -0.1, height 0.1"),
            (b"0 0.5 0.5 0.5 0.5 0.5 0.5", Check::LabelNoArea, "the box has no area"),
            (b"0 \xff\xfe 0.5 0.1 0.1", Check::LabelText, "column 2 is not a number: `\u{fffd}\u{fffd}`"),
        ];
        for (row, check, message) in cases {
            let text = [b"0 0.5 0.5 0.3 0.3\n\n", row, b"\n1 0.2 0.2 0.1 0.1\n"].concat();
            let parsed = parse_labels(&text, 3);
            let [fault] = &parsed.faults[..] else { panic!("{:?}", parsed.faults) };
            assert_eq!((fault.line, fault.check, fault.message.as_str()), (3, check, message));
            assert_eq!(parsed.rows.len(), 2, "the other rows stay");
        }
        let twice = parse_labels(b"0 0.5 0.5 0.3 0.3\n0 0.50 0.5 0.3 0.3\n", 1);
        assert_eq!(twice.faults[0].message, "the same object stands on an earlier line");
        assert_eq!((twice.faults.len(), twice.faults[0].line, twice.faults[0].check), (1, 2, Check::LabelTwice));
        assert_eq!(twice.rows.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let parsed = parse_labels(&bytes, 3);
            prop_assert!(parsed.rows.len() + parsed.faults.len() <= 200);
        }

        #[test]
        fn any_numbers_give_boxes_inside(rows in proptest::collection::vec(proptest::collection::vec(-0.5f64..1.5, 4..8), 0..8)) {
            let text: Vec<String> = rows.iter().map(|row| {
                let columns: Vec<String> = row.iter().map(f64::to_string).collect();
                format!("0 {}", columns.join(" "))
            }).collect();
            let parsed = parse_labels(text.join("\n").as_bytes(), 1);
            prop_assert_eq!(parsed.rows.len() + parsed.faults.len(), rows.len());
            for row in parsed.rows {
                let [cx, cy, w, h] = row.bbox;
                prop_assert!(w > 0.0 && h > 0.0);
                prop_assert!(cx - w / 2.0 >= -1e-6 && cx + w / 2.0 <= 1.0 + 1e-6);
                prop_assert!(cy - h / 2.0 >= -1e-6 && cy + h / 2.0 <= 1.0 + 1e-6);
            }
        }
    }
}
