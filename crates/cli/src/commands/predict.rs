//! `yolo11 predict`: finds objects in pictures, videos and streams.

use std::sync::atomic::Ordering;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use yolo11_config::Section;
use yolo11_pipeline::compute::Work;
use yolo11_pipeline::predict::predict;

use crate::arguments::{json_option, say_device_note, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("predict"), &[Section::Prediction, Section::Validation, Section::Output])
        .about(
            "Finds objects in pictures, videos and streams, and labels them; needs model=WEIGHTS and source=PICTURES",
        )
        .arg(json_option())
        .arg(lines_option())
}

/// The option `--jsonl`.
fn lines_option() -> Arg {
    let help = "Print a line of JSON to stdout for each picture or frame as it comes";
    Arg::new("jsonl").long("jsonl").action(ArgAction::SetTrue).conflicts_with("json").help(help)
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    settings.require_source()?;
    say_device_note(&settings, Work::Model)?;
    let (json, lines) = (wants_json(matches), matches.get_flag("jsonl"));
    let (mut all, mut printed) = (Vec::new(), Ok(()));
    let stop = stop_flag("stopping after these pictures")?;
    let result = predict(&settings, &stop, |prediction, names| {
        if json {
            all.push(prediction.to_json(names));
        } else if lines {
            if printed.is_ok() {
                printed = terminal::print(&format!("{}\n", prediction.to_json(names)));
            }
        } else if let Some(failure) = &prediction.failure {
            terminal::say_error(failure);
        } else if printed.is_ok() {
            printed = terminal::print(&(prediction.summary(names) + "\n"));
        }
        if printed.is_err() {
            // Nobody listens any more: a stream would go on for ever.
            stop.store(true, Ordering::Relaxed);
        }
    });
    printed?;
    let summary = result?;
    if json {
        terminal::print_json(&Value::Array(all))?;
    }
    let place = summary.folder.as_ref().map_or_else(String::new, |folder| format!("; results in {}", folder.display()));
    terminal::say(&format!("{}{place}", summary.counts()));
    Ok(summary.check()?)
}
