//! `yolo11 benchmark`: how long a step takes on this machine, and what each format of a model costs and keeps.

use clap::{Arg, ArgMatches, Command, value_parser};
use yolo11_config::{Section, Settings};
use yolo11_pipeline::benchmark::formats::compare;
use yolo11_pipeline::benchmark::{Subject, benchmark};
use yolo11_pipeline::compute::Work;

use crate::arguments::{json_option, say_device_note, settings, wants_json, with_settings, words};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

/// The words that name what to measure; without one of them, a model's formats are compared.
const SUBJECTS: [(&str, Subject); 3] =
    [("train", Subject::Train), ("infer", Subject::Infer), ("loader", Subject::Loader)];

pub(crate) fn command() -> Command {
    let repeats = Arg::new("repeats").long("repeats").default_value("20").value_parser(value_parser!(u32).range(1..));
    with_settings(Command::new("benchmark"), &[] as &[Section])
        .about("Measures a training step, an inference or the loader, or compares a model's formats")
        .after_help(
            "yolo11 benchmark train model=yolo11n batch=4 imgsz=640 --json\n  \
             a training step; `infer` an inference, `loader` (with data=) a batch: median, best and spread.\n  \
             Settings: model, batch, imgsz, threads, device, nc, backend; loader also data and workers\n\n\
             yolo11 benchmark model=best.pt formats=all data=dataset.yaml\n  \
             size, mAP50-95, milliseconds and memory of each format in each back end, as table, CSV, JSON and picture.\n  \
             Settings: model, formats, data, imgsz, threads, onnxruntime, python, providers, project, name",
        )
        .arg(repeats.help("Steps that count"))
        .arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let mut words = words(matches);
    let subject =
        words.first().and_then(|word| SUBJECTS.iter().find(|(name, _)| name == word)).map(|(_, subject)| *subject);
    if subject.is_some() {
        words.remove(0);
    }
    let settings = settings(&words)?;
    let repeats = matches.get_one::<u32>("repeats").map_or(1, |repeats| *repeats as usize);
    match subject {
        None | Some(Subject::Train) => say_device_note(&settings, Work::Engine)?,
        Some(Subject::Infer) => say_device_note(&settings, Work::Model)?,
        Some(Subject::Loader) => settings.require_data().map(|_| ())?,
    }
    let Some(subject) = subject else { return formats(matches, &settings, repeats) };
    let report = benchmark(&settings, subject, repeats)?;
    match wants_json(matches) {
        true => terminal::print_json(&report.to_json()),
        false => terminal::print(&report.table()),
    }
}

fn formats(matches: &ArgMatches, settings: &Settings, repeats: usize) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let stop = stop_flag("stopping after this batch")?;
    let report = compare(settings, &program, repeats, &stop, terminal::say)?;
    match wants_json(matches) {
        true => terminal::print_json(&report.to_json())?,
        false => terminal::print(&report.table())?,
    }
    terminal::say(&format!("table, picture and files in {}", report.folder.display()));
    Ok(())
}
