//! `yolo11 train`: trains a network.

use clap::{ArgMatches, Command};
use serde_json::json;
use yolo11_config::{Resume, Section};
use yolo11_pipeline::event::RunSummary;
use yolo11_pipeline::train::{TrainOptions, train};

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

pub(crate) fn command() -> Command {
    use Section::{Augmentation, Dataset, Loss, Mlflow, Optimizer, Output, Training};
    let sections = [Training, Optimizer, Augmentation, Loss, Dataset, Output, Mlflow];
    with_settings(Command::new("train"), &sections)
        .about("Trains a network; `yolo11 train data=demo` works without any files")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    // A resumed run brings its own data and weights; any other is checked before the demo set is made.
    if settings.resume == Resume::No {
        settings.require_data()?;
        settings.start_weights()?;
    }
    let stop = stop_flag("stopping after this step and saving")?;
    let summary = train(&settings, &TrainOptions::default(), &stop)?;
    if summary.process > 0 {
        return Ok(());
    }
    match wants_json(matches) {
        true => terminal::print_json(&summary_json(&summary))?,
        false => terminal::print(&summary.validation.as_ref().map(|found| found.table()).unwrap_or_default())?,
    }
    say_where_to_look(&summary);
    Ok(())
}

fn summary_json(summary: &RunSummary) -> serde_json::Value {
    json!({
        "folder": summary.folder.display().to_string(),
        "epochs": summary.epochs,
        "seconds": summary.seconds,
        "best": summary.best.map(|best| json!({"epoch": best.epoch, "fitness": best.fitness})),
        "ending": format!("{:?}", summary.ending).to_lowercase(),
        "validation": summary.validation.as_ref().map(|found| found.to_json()),
    })
}

fn say_where_to_look(summary: &RunSummary) {
    let weights = summary.folder.join("weights").join(if summary.best.is_some() { "best.pt" } else { "last.pt" });
    let (folder, weights) = (summary.folder.display(), weights.display());
    terminal::say(&format!("weights    {weights}\nfigures    {folder}/results.csv\n\nNext:"));
    terminal::say(&format!("  yolo11 predict model={weights} source=PICTURE_OR_FOLDER"));
    terminal::say(&format!("  yolo11 val model={weights} data=DATASET.yaml"));
}
