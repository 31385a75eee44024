//! `yolo11 completion`: a script that lets a shell complete subcommands, keys and values.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};

use crate::completion_scripts;
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    Command::new("completion")
        .about("Prints a completion script for a shell")
        .arg(
            Arg::new("shell")
                .required(true)
                .value_parser(PossibleValuesParser::new(["bash", "zsh", "fish"]))
                .help("Which shell"),
        )
        .after_help(
            "Install it with one of:\n  \
             yolo11 completion bash > ~/.local/share/bash-completion/completions/yolo11\n  \
             yolo11 completion zsh  > a folder of $fpath, as _yolo11\n  \
             yolo11 completion fish > ~/.config/fish/completions/yolo11.fish",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    terminal::print(&match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => completion_scripts::zsh(),
        Some("fish") => completion_scripts::fish(),
        _ => completion_scripts::bash(),
    })
}
