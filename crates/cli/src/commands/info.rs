//! `yolo11 info`: what a network consists of.

use clap::{ArgMatches, Command};
use yolo11_pipeline::info::info;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("info"), &[])
        .about("Prints a network's layers, parameters, GFLOPs and memory")
        .after_help(
            "Settings: model, classes (how many), imgsz, batch\n\n  yolo11 info model=yolo11s classes=3 imgsz=320",
        )
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let words: Vec<_> = words(matches).iter().map(|word| how_many_classes(word)).collect();
    let settings = settings(&words)?;
    let info = info(&settings)?;
    match wants_json(matches) {
        true => terminal::print_json(&info.to_json()),
        false => terminal::print(&info.table()),
    }
}

/// A network knows no class by number: `classes=3` can only mean how many there are.
fn how_many_classes(word: &str) -> String {
    word.strip_prefix("classes=").map_or_else(|| word.to_owned(), |count| format!("nc={count}"))
}
