//! `yolo11 val`: measures weights on a data set.

use clap::{ArgMatches, Command};
use yolo11_config::Section;
use yolo11_pipeline::train::TrainOptions;
use yolo11_pipeline::val::{CategoryIds, validate};

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("val"), &[Section::Validation, Section::Dataset, Section::Output])
        .about("Measures weights on a data set: precision, recall and mAP, per class; needs model=WEIGHTS")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    settings.require_data()?;
    let ids = if settings.coco_ids { CategoryIds::Coco } else { CategoryIds::Model };
    let stop = stop_flag("stopping after this batch")?;
    let report = validate(&settings, &TrainOptions { log: None, progress: true }, ids, &stop)?;
    match wants_json(matches) {
        true => terminal::print_json(&report.validation.to_json())?,
        false => terminal::print(&report.validation.table())?,
    }
    if let Some(path) = report.detections_file {
        terminal::say(&format!("detections in {}", path.display()));
    }
    Ok(())
}
