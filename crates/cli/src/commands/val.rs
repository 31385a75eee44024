//! `yolo11 val`: measures weights on a data set.

use clap::{ArgMatches, Command};
use yolo11_config::Section;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::pipeline;

pub(crate) fn command() -> Command {
    with_settings(Command::new("val"), &[Section::Validation, Section::Dataset, Section::Output])
        .about("Measures weights on a data set: precision, recall and mAP, per class")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    settings.require_data()?;
    settings.start_weights()?;
    pipeline::val(&settings, stop_flag()?, wants_json(matches))
}
