//! `yolo11 predict`: finds objects in pictures.

use clap::{ArgMatches, Command};
use yolo11_config::Section;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::pipeline;

pub(crate) fn command() -> Command {
    with_settings(Command::new("predict"), &[Section::Prediction, Section::Validation, Section::Output])
        .about("Finds objects in pictures and writes labelled pictures; needs model=WEIGHTS and source=PICTURES")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    settings.require_source()?;
    settings.start_weights()?;
    pipeline::predict(&settings, stop_flag()?, wants_json(matches))
}
