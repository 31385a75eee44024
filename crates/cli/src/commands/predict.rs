//! `yolo11 predict`: finds objects in pictures.

use clap::{ArgMatches, Command};
use serde_json::Value;
use yolo11_config::Section;
use yolo11_pipeline::compute::device_note;
use yolo11_pipeline::predict::predict;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("predict"), &[Section::Prediction, Section::Validation, Section::Output])
        .about("Finds objects in pictures and writes labelled pictures; needs model=WEIGHTS and source=PICTURES")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    settings.require_source()?;
    if let Some(note) = device_note(&settings)? {
        terminal::say(&note);
    }
    let json = wants_json(matches);
    let (mut all, mut printed) = (Vec::new(), Ok(()));
    let stop = stop_flag("stopping after these pictures")?;
    let summary = predict(&settings, &stop, |prediction, names| {
        if json {
            all.push(prediction.to_json(names));
        } else if let Some(failure) = &prediction.failure {
            terminal::say_error(failure);
        } else if printed.is_ok() {
            printed = terminal::print(&(prediction.summary(names) + "\n"));
        }
    })?;
    if json {
        terminal::print_json(&Value::Array(all))?;
    }
    printed?;
    terminal::say(&format!("{} pictures; results in {}", summary.pictures, summary.folder.display()));
    Ok(summary.check()?)
}
