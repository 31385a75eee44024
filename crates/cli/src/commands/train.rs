//! `yolo11 train`: trains a network.

use clap::{ArgMatches, Command};
use yolo11_config::{Resume, Section};

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::pipeline;

pub(crate) fn command() -> Command {
    use Section::{Augmentation, Dataset, Loss, Mlflow, Optimizer, Output, Training};
    let sections = [Training, Optimizer, Augmentation, Loss, Dataset, Output, Mlflow];
    with_settings(Command::new("train"), &sections)
        .about("Trains a network; `yolo11 train data=demo` works without any files")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    // A resumed run brings its own data and weights.
    if settings.resume == Resume::No {
        settings.require_data()?;
        settings.start_weights()?;
    }
    pipeline::train(&settings, stop_flag()?, wants_json(matches))
}
