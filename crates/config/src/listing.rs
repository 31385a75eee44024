//! The table of settings for readers: the terminal, JSON and the documentation.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::section::Section;
use crate::table::{Setting, Settings, table};

/// Every setting with default, range and help, by section; `bold` wraps headings and names for a terminal.
pub fn text(bold: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for section in Section::ALL {
        let heading = format!("{}: {}", section.path(), section.title());
        let _ = writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, bold(&heading));
        for setting in of(section) {
            // Padded before it is wrapped: escape sequences have no width.
            let name = bold(&format!("{:<17}", setting.name));
            let _ = writeln!(text, "  {name} {}", setting.help.trim());
            let _ = writeln!(text, "  {:<17} default {}; {}", "", setting.default_text(), takes(setting));
        }
    }
    text
}

/// One setting in full.
pub fn details(setting: &Setting) -> String {
    let mut text = format!("{}: {}\n", setting.name, setting.help.trim());
    let _ = writeln!(text, "  default: {}", setting.default_text());
    let _ = writeln!(text, "  allowed: {}", setting.allowed());
    let _ = writeln!(text, "  section: {}", setting.section.path());
    if !setting.aliases.is_empty() {
        let _ = writeln!(text, "  aliases: {}", setting.aliases.join(", "));
    }
    text
}

/// The names and help of these sections' settings, a line each, for a subcommand's help.
pub fn names(sections: &[Section]) -> String {
    let mut text = String::new();
    for setting in sections.iter().flat_map(|section| of(*section)) {
        let _ = writeln!(text, "  {:<18} {} [{}]", setting.name, setting.help.trim(), setting.default_text());
    }
    text
}

/// Every setting as a JSON list of objects; `default` is the value on this machine.
pub fn json() -> Value {
    let defaults = Settings::default();
    let bound = |bound: f64| if bound.is_finite() { number(bound) } else { Value::Null };
    let objects = table().map(|setting| {
        json!({
            "name": setting.name,
            "aliases": setting.aliases,
            "section": setting.section.path(),
            "type": setting.kind,
            "allowed": setting.allowed(),
            "choices": setting.choices,
            "least": bound(setting.range.least),
            "most": bound(setting.range.most),
            "default": setting.value(&defaults),
            "default_text": setting.default_text(),
            "help": setting.help.trim(),
        })
    });
    objects.collect()
}

/// Every setting as Markdown tables, one a section.
pub fn markdown() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        let _ = writeln!(text, "### `{}`: {}\n", section.path(), section.title());
        let _ = writeln!(text, "| key | default | takes | meaning |\n|---|---|---|---|");
        for setting in of(section) {
            let aliases: String = setting.aliases.iter().map(|alias| format!(", `{alias}`")).collect();
            let (name, default) = (setting.name, setting.default_text());
            let _ = writeln!(text, "| `{name}`{aliases} | {default} | {} | {} |", takes(setting), setting.help.trim());
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// What a setting takes, short enough for a column.
fn takes(setting: &Setting) -> String {
    let allowed = setting.allowed();
    allowed.strip_prefix("one of ").unwrap_or(&allowed).to_owned()
}

fn of(section: Section) -> impl Iterator<Item = &'static Setting> {
    table().filter(move |setting| setting.section == section)
}

/// Whole figures without `.0`.
fn number(figure: f64) -> Value {
    if figure.fract() == 0.0 && figure.abs() < 9e15 { json!(figure as i64) } else { json!(figure) }
}
