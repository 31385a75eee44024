//! `yolo11 config`: the settings there are, and what a run would see of them.

use clap::{ArgMatches, Command};
use serde_json::{Map, Value};
use yolo11_config::{Section, Settings, find, listing, table};

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("config"), &[] as &[Section])
        .about("Lists every setting; with KEY that one in full; with a file or key=value what a run would see")
        .after_help(
            "Examples:\n  yolo11 config\n  yolo11 config lr0\n  yolo11 config configs/training_config.yaml epochs=3",
        )
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (words, json) = (words(matches), wants_json(matches));
    if words.is_empty() {
        return match json {
            true => terminal::print_json(&listing::json()),
            false => terminal::print(&listing::text(terminal::bold)),
        };
    }
    let named: Option<Vec<_>> = words.iter().map(|word| find(word)).collect();
    if let Some(named) = named {
        let is_named = |value: &Value| named.iter().any(|setting| value["name"] == setting.name);
        return match (json, listing::json()) {
            (true, Value::Array(all)) => terminal::print_json(&all.into_iter().filter(is_named).collect()),
            _ => terminal::print(&named.into_iter().map(listing::details).collect::<Vec<_>>().join("\n")),
        };
    }
    let settings = settings(&words)?;
    match json {
        true => terminal::print_json(&values(&settings)),
        false => terminal::print(&settings.to_yaml()),
    }
}

fn values(settings: &Settings) -> Value {
    Value::Object(table().map(|setting| (setting.name.to_owned(), setting.value(settings))).collect::<Map<_, _>>())
}
