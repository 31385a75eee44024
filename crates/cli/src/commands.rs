//! The subcommands, one file each: what it takes, and what it does with that.

mod benchmark;
mod completion;
mod config;
mod data;
mod doctor;
mod export;
mod info;
mod init;
mod predict;
mod server;
mod services;
mod tracking;
mod train;
mod val;
mod version;

use clap::ArgMatches;

use crate::failure::Failure;

/// A subcommand: its name, its command line, its work.
pub(crate) struct Subcommand {
    pub name: &'static str,
    pub command: fn() -> clap::Command,
    pub run: fn(&ArgMatches) -> Result<(), Failure>,
}

/// Every subcommand, in the order of the help.
pub(crate) const ALL: &[Subcommand] = &[
    Subcommand { name: "train", command: train::command, run: train::run },
    Subcommand { name: "val", command: val::command, run: val::run },
    Subcommand { name: "predict", command: predict::command, run: predict::run },
    Subcommand { name: "export", command: export::command, run: export::run },
    Subcommand { name: "info", command: info::command, run: info::run },
    Subcommand { name: "init", command: init::command, run: init::run },
    Subcommand { name: "server", command: server::command, run: server::run },
    Subcommand { name: "services", command: services::command, run: services::run },
    Subcommand { name: "config", command: config::command, run: config::run },
    Subcommand { name: "data", command: data::command, run: data::run },
    Subcommand { name: "benchmark", command: benchmark::command, run: benchmark::run },
    Subcommand { name: "doctor", command: doctor::command, run: doctor::run },
    Subcommand { name: "tracking", command: tracking::command, run: tracking::run },
    Subcommand { name: "completion", command: completion::command, run: completion::run },
    Subcommand { name: "version", command: version::command, run: version::run },
];
