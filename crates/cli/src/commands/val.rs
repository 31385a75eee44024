//! `yolo11 val`: measures weights on a data set.

use clap::{Arg, ArgAction, ArgMatches, Command};
use yolo11_config::Section;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::pipeline;

pub(crate) fn command() -> Command {
    with_settings(Command::new("val"), &[Section::Validation, Section::Dataset, Section::Output])
        .about("Measures weights on a data set: precision, recall and mAP, per class")
        .arg(
            Arg::new("coco-ids")
                .long("coco-ids")
                .action(ArgAction::SetTrue)
                .help("With save_json=true: number the 80 COCO classes as COCO's own files do, from 1 to 90"),
        )
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    settings.require_data()?;
    settings.start_weights()?;
    pipeline::val(&settings, stop_flag()?, matches.get_flag("coco-ids"), wants_json(matches))
}
