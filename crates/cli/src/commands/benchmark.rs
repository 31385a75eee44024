//! `yolo11 benchmark`: how long a step takes on this machine.

use clap::{Arg, ArgMatches, Command, value_parser};
use yolo11_config::Section;
use yolo11_pipeline::benchmark::{Subject, benchmark};

use crate::arguments::{json_option, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    let what = Arg::new("what").required(true).value_parser(["train", "infer", "loader"]).help("What to measure");
    let repeats = Arg::new("repeats").long("repeats").default_value("20").value_parser(value_parser!(u32).range(1..));
    with_settings(Command::new("benchmark").arg(what), &[] as &[Section])
        .about("Measures a training step, an inference or the loader: median, best and spread")
        .after_help(
            "Settings: model, batch, imgsz, threads, device, nc; loader also data and workers\n\n  \
             yolo11 benchmark train model=yolo11n batch=4 imgsz=640 --json",
        )
        .arg(repeats.help("Steps that count"))
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(&words(matches))?;
    let subject = match matches.get_one::<String>("what").map(String::as_str) {
        Some("infer") => Subject::Infer,
        Some("loader") => Subject::Loader,
        _ => Subject::Train,
    };
    if subject == Subject::Loader {
        settings.require_data()?;
    }
    let repeats = matches.get_one::<u32>("repeats").map_or(1, |repeats| *repeats as usize);
    let report = benchmark(&settings, subject, repeats)?;
    match wants_json(matches) {
        true => terminal::print_json(&report.to_json()),
        false => terminal::print(&report.table()),
    }
}
