//! The command `yolo11`: parses, calls the pipeline, prints. Data goes to stdout, talk to stderr.

mod arguments;
mod commands;
mod completion_scripts;
mod dotenv;
mod failure;
mod interrupt;
mod terminal;

use std::path::Path;
use std::process::ExitCode;

use commands::Subcommand;
use failure::Failure;

/// Subcommands that answer whatever stands in `.env`.
const WITHOUT_ENVIRONMENT: [&str; 3] = ["init", "completion", "version"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run() -> Result<(), Failure> {
    let matches = match command_line().try_get_matches_from(arguments::normalised(std::env::args_os())?) {
        Ok(matches) => matches,
        Err(error) => return failure::from_clap(&error),
    };
    match matches.subcommand() {
        Some((name, matches)) => match commands::ALL.iter().find(|subcommand| subcommand.name == name) {
            Some(Subcommand { run, .. }) => {
                if !WITHOUT_ENVIRONMENT.contains(&name) {
                    dotenv::load(Path::new("."))?;
                }
                run(matches)
            }
            None => Err(Failure::usage(format!("no subcommand `{name}`"), "`yolo11 --help` lists them")),
        },
        None => Err(Failure::usage(
            "no subcommand",
            "`yolo11 --help` lists them; the first to try is `yolo11 train data=demo`",
        )),
    }
}

fn command_line() -> clap::Command {
    clap::Command::new("yolo11")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Trains YOLO11 object detectors and carries the pipeline around the training")
        .after_help(
            "Settings are written key=value, after an optional YAML file of them:\n  \
             yolo11 train data=demo\n  \
             yolo11 train configs/training_config.yaml epochs=3\n  \
             yolo11 predict model=runs/train/weights/best.pt source=photos/\n\n\
             `yolo11 config` lists every setting. Exit codes: 0 done, 1 failed, 2 wrong usage,\n\
             3 wrong settings or data, 130 interrupted.",
        )
        .disable_help_subcommand(true)
        .subcommands(commands::ALL.iter().map(|subcommand| (subcommand.command)().name(subcommand.name)))
}
