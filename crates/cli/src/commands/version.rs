//! `yolo11 version`: which program this is.

use clap::{ArgMatches, Command};
use serde_json::json;

use crate::arguments::{json_option, wants_json};
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn command() -> Command {
    Command::new("version").about("Prints the program's version and what it was built for").arg(json_option())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (version, architecture, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    match wants_json(matches) {
        true => terminal::print_json(&json!({"version": version, "architecture": architecture, "system": system})),
        false => terminal::print(&format!("yolo11 {version} ({architecture}, {system})\n")),
    }
}
