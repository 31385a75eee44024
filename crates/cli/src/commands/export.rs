//! `yolo11 export`: writes weights for other programs.

use clap::{ArgMatches, Command};
use yolo11_config::Section;
use yolo11_pipeline::compute::Work;
use yolo11_pipeline::export::export;

use crate::arguments::{json_option, say_device_note, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    with_settings(Command::new("export"), &[Section::Export])
        .about("Writes weights as a file for other programs (ONNX, TorchScript, OpenVINO, NCNN, TensorFlow Lite) and verifies it; needs model=WEIGHTS")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    // The file is verified, and 8 bits are calibrated, by the engine.
    say_device_note(&settings, Work::Engine)?;
    let report = export(&settings)?;
    match wants_json(matches) {
        true => terminal::print_json(&report.to_json()),
        false => terminal::print(&report.text()),
    }
}
