//! `yolo11 benchmark`: how long a step takes on this machine.

use clap::{Arg, ArgMatches, Command};
use yolo11_config::Section;
use yolo11_pipeline::benchmark::Subject;

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::pipeline;

pub(crate) fn command() -> Command {
    let what = Arg::new("what").required(true).value_parser(["train", "infer", "loader"]).help("What to measure");
    with_settings(Command::new("benchmark").arg(what), &[] as &[Section])
        .about("Measures a training step, an inference or the loader: median, best and spread")
        .after_help("Settings: model, batch, imgsz, threads, device, nc; loader also data and workers\n\n  yolo11 benchmark train model=yolo11n batch=4 imgsz=640 --json")
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    let what = match matches.get_one::<String>("what").map(String::as_str) {
        Some("infer") => Subject::Infer,
        Some("loader") => Subject::Loader,
        _ => Subject::Train,
    };
    if what == Subject::Loader {
        settings.require_data()?;
    }
    pipeline::benchmark(what, &settings, wants_json(matches))
}
