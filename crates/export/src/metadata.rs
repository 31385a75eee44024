//! What a file says about itself, under the keys that readers of YOLO files look for.

use std::fmt::Write as _;

use serde_json::{Value, json};
use yolo11_network::{Model, STRIDES};

use crate::{ExportOptions, Head, Precision};

/// Keys and values; those that are not plain texts are written as Python literals, since readers evaluate them as such. There is
/// no date among them: the same weights and options make the same bytes.
pub(crate) fn metadata(model: &Model, options: &ExportOptions) -> Vec<(&'static str, String)> {
    let [height, width] = options.size;
    let suppressed = matches!(options.head, Head::Suppressed(_));
    let arguments = format!(
        "{{'batch': {}, 'half': {}, 'int8': {}, 'dynamic': {}, 'opset': {}, 'nms': {}}}",
        options.batch,
        truth(options.precision == Precision::Float16),
        truth(options.precision.calibration().is_some()),
        truth(options.dynamic),
        options.opset,
        truth(suppressed),
    );
    vec![
        ("description", format!("{} detector", model.network().scale.model_name())),
        ("author", "yolo11".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("stride", STRIDES[STRIDES.len() - 1].to_string()),
        ("task", "detect".into()),
        ("batch", options.batch.to_string()),
        ("imgsz", format!("[{height}, {width}]")),
        ("names", names(options.names)),
        ("channels", "3".into()),
        ("args", arguments),
        ("end2end", "False".into()),
    ]
}

/// The same as JSON, for formats whose readers expect it.
pub(crate) fn json(model: &Model, options: &ExportOptions) -> String {
    let names: serde_json::Map<String, Value> =
        options.names.iter().enumerate().map(|(class, name)| (class.to_string(), name.as_str().into())).collect();
    json!({
        "description": format!("{} detector", model.network().scale.model_name()),
        "author": "yolo11",
        "version": env!("CARGO_PKG_VERSION"),
        "stride": STRIDES[STRIDES.len() - 1],
        "task": "detect",
        "batch": options.batch,
        "imgsz": options.size,
        "names": names,
        "channels": 3,
        "args": arguments(options),
        "end2end": false,
    })
    .to_string()
}

/// The same as YAML, for formats whose readers look for `metadata.yaml` beside the file.
pub(crate) fn yaml(model: &Model, options: &ExportOptions) -> String {
    let [height, width] = options.size;
    let mut text = String::new();
    for (key, value) in metadata(model, options) {
        let _ = match key {
            "names" => write!(text, "names:\n{}", yaml_names(options.names)),
            "imgsz" => writeln!(text, "imgsz: [{height}, {width}]"),
            "stride" | "batch" | "channels" => writeln!(text, "{key}: {value}"),
            "end2end" => writeln!(text, "end2end: false"),
            "args" => writeln!(text, "args: {}", arguments(options)),
            _ => writeln!(text, "{key}: {}", Value::from(value)),
        };
    }
    text
}

/// A JSON text is a YAML text.
fn yaml_names(names: &[String]) -> String {
    names.iter().enumerate().map(|(class, name)| format!("  {class}: {}\n", Value::from(name.as_str()))).collect()
}

fn arguments(options: &ExportOptions) -> Value {
    json!({
        "batch": options.batch,
        "half": options.precision == Precision::Float16,
        "int8": options.precision.calibration().is_some(),
        "dynamic": options.dynamic,
        "nms": matches!(options.head, Head::Suppressed(_)),
    })
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `{0: 'person', 1: 'car'}`.
fn names(names: &[String]) -> String {
    let entries: Vec<_> = names.iter().enumerate().map(|(class, name)| format!("{class}: {}", literal(name))).collect();
    format!("{{{}}}", entries.join(", "))
}

/// A text as a Python literal.
fn literal(text: &str) -> String {
    let mut literal = String::from("'");
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => literal.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(literal, "\\u{:04x}", u32::from(letter));
            }
            letter => literal.push(letter),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_python_dictionary() {
        let given = ["person", "driver's cab", "a\\b", "zwei\nZeilen", "Kürbis"].map(String::from);
        let expected = r"{0: 'person', 1: 'driver\'s cab', 2: 'a\\b', 3: 'zwei\u000aZeilen', 4: 'Kürbis'}";
        assert_eq!(names(&given), expected);
    }
}
