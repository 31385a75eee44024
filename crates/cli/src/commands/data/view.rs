//! `yolo11 data view`: sheets of pictures with their boxes.

use clap::{ArgMatches, Command};
use serde_json::json;
use yolo11_config::Section;
use yolo11_dataset::SplitName;
use yolo11_pipeline::Announcer;
use yolo11_pipeline::view::{ViewOptions, view};

use super::sets::{data_settings, number, option, split, switch};
use crate::arguments::{json_option, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::terminal;

/// Pictures that are shown where nobody says how many.
const COUNT: usize = 64;

pub(super) fn command() -> Command {
    use Section::{Augmentation, Dataset, Output, Training};
    with_settings(Command::new("view"), &[Dataset, Output, Training, Augmentation])
        .about("Draws sheets of pictures with their boxes, as they are or as a training sees them; split=train if not given")
        .args([
            switch("augmented", "As a training with these settings and this seed sees them"),
            option("count", "N", "So many pictures, evenly chosen [64]"),
            option("class", "NAME", "Only pictures that show this class"),
            option("epoch", "N", "With --augmented: which epoch, from 0 [0]"),
            json_option(),
        ])
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = data_settings(matches)?;
    let given = words(matches).iter().rev().find_map(|word| word.strip_prefix("split=").map(str::to_owned));
    let options = ViewOptions {
        split: given.map_or(Ok(SplitName::Train), |word| split(&word))?,
        augmented: matches.get_flag("augmented"),
        epoch: number(matches, "epoch")?.unwrap_or(0),
        count: number(matches, "count")?.unwrap_or(COUNT),
        class: matches.get_one::<String>("class").cloned(),
    };
    let files = view(&settings, &options, &mut Announcer::new())?;
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if wants_json(matches) {
        return terminal::print_json(&json!(files));
    }
    files.iter().try_for_each(|file| terminal::print(&format!("{file}\n")))
}
