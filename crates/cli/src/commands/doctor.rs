//! `yolo11 doctor`: what this machine has of what the program can use.

use clap::{ArgMatches, Command};
use yolo11_config::Section;
use yolo11_pipeline::doctor::{Item, examine};
use yolo11_services::doctor::container_engine;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("doctor"), &[] as &[Section])
        .about("Looks at this machine: processor, memory, NVIDIA GPU, libraries, disk; says what is missing and how to get it")
        .after_help(
            "  yolo11 doctor\n  \
             yolo11 doctor configs/training_config.yaml\n  \
             whether a run with these settings finds what it needs: device, onnxruntime, project, threads\n\n\
             It looks at the machine and starts nothing. `yolo11 services doctor` asks the tracking server, the store and\n\
             the containers whether they answer; `yolo11 data check` looks a data set over.\n\
             Exit code 1 where something that is needed is at fault, 3 where the device of the settings cannot be used.",
        )
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    let mut report = examine(&settings);
    report.items.push(Item::optional("programs.containers", container_engine()));
    let version = env!("CARGO_PKG_VERSION");
    match wants_json(matches) {
        true => terminal::print_json(&report.to_json(version))?,
        false => terminal::print(&report.page(version))?,
    }
    if let Some(error) = report.device {
        return Err(error.into());
    }
    match report.faults() {
        0 => Ok(()),
        faults => Err(Failure::Faults(faults)),
    }
}
