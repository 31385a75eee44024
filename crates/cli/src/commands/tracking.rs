//! `yolo11 tracking`: what of the runs is not on the tracking server yet, and sending it; moving a server's content, clearing it up.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::{Arg, ArgMatches, Command};
use yolo11_tracking::Environment;
use yolo11_tracking::sync::{self, RunStatus};

use crate::arguments::{json_option, wants_json};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

mod moving;

pub(crate) fn command() -> Command {
    let folder = |help| Arg::new("folder").value_name("FOLDER").required(true).help(help);
    let server = |name, help| Arg::new(name).long(name).value_name("URI").help(help);
    let runs = || {
        Arg::new("runs")
            .value_name("RUN")
            .num_args(0..)
            .default_value("runs")
            .help("Folders of runs, or a folder that holds them")
    };
    Command::new("tracking")
        .about(
            "Sends what a tracking server has not got yet, moves what it has to another, clears away what was deleted",
        )
        .subcommand_required(true)
        .subcommand(Command::new("status").about("What of each run is not sent yet").arg(runs()).arg(json_option()))
        .subcommand(
            Command::new("sync")
                .about("Sends it; the run's folder may come from another machine")
                .arg(runs())
                .arg(json_option()),
        )
        .subcommand(
            Command::new("export")
                .about("Writes what a server holds into a folder: experiments, runs, points, artifacts, models")
                .arg(folder("Folder of the export; an earlier one of the same server is brought up to date"))
                .arg(server("from", "The server; default MLFLOW_TRACKING_URI"))
                .arg(
                    Arg::new("experiment")
                        .long("experiment")
                        .value_name("NAME")
                        .action(clap::ArgAction::Append)
                        .help("Only this experiment, and what is registered from it; may be given several times"),
                )
                .arg(json_option()),
        )
        .subcommand(
            Command::new("import")
                .about("Brings an export to a server; what is there already is passed over")
                .arg(folder("Folder of the export"))
                .arg(server("to", "The server; default MLFLOW_TRACKING_URI"))
                .arg(
                    Arg::new("no-verify")
                        .long("no-verify")
                        .action(clap::ArgAction::SetTrue)
                        .help("Does not read back and compare what was brought"),
                )
                .arg(json_option()),
        )
        .subcommand(
            Command::new("gc")
                .about("Lists deleted runs and artifacts that belong to nobody")
                .arg(server("from", "The server; default MLFLOW_TRACKING_URI"))
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .action(clap::ArgAction::SetTrue)
                        .help("Removes what is listed, for good"),
                )
                .arg(json_option()),
        )
        .after_help(
            "The server is that of MLFLOW_TRACKING_URI, or the one that the run was begun on:\n  \
             yolo11 tracking status\n  \
             yolo11 tracking sync runs/train\n\n\
             Moving to another server:\n  \
             yolo11 tracking export backup --from http://127.0.0.1:5000\n  \
             yolo11 tracking import backup --to https://mlflow.example.org",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("sync", matches)) => send(matches),
        Some(("export", matches)) => moving::export(matches),
        Some(("import", matches)) => moving::import(matches),
        Some(("gc", matches)) => moving::clear(matches),
        Some((_, matches)) => show(matches),
        None => Err(Failure::usage("tracking what?", "`yolo11 tracking status` or `yolo11 tracking sync`")),
    }
}

fn show(matches: &ArgMatches) -> Result<(), Failure> {
    let found = folders(matches)?.iter().map(|folder| sync::status(folder)).collect::<Result<Vec<_>, _>>()?;
    print(matches, &found)
}

fn send(matches: &ArgMatches) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let uri = environment.get("MLFLOW_TRACKING_URI");
    let stop = stop_flag("stopping after this call; what is left stays in the outbox")?;
    let (mut found, mut failed) = (Vec::new(), None);
    for folder in folders(matches)? {
        let before = sync::status(&folder)?;
        if before.left.records > 0 {
            terminal::say(&format!("sending    {}: {} records", folder.display(), before.left.records));
        }
        let tell = |text: &str| terminal::say(&format!("           {text}"));
        match sync::sync(&folder, &environment, uri, tell, || stop.load(Ordering::Relaxed)) {
            Ok(status) => found.push(status),
            // The other runs may belong to another server.
            Err(error) => {
                found.push(sync::status(&folder)?);
                if let Some(earlier) = failed.replace(error) {
                    terminal::say_error(&earlier.to_string());
                }
            }
        }
    }
    print(matches, &found)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn folders(matches: &ArgMatches) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in matches.get_many::<String>("runs").into_iter().flatten() {
        let is_given = matches.value_source("runs") == Some(clap::parser::ValueSource::CommandLine);
        if !is_given && !Path::new(path).exists() {
            continue;
        }
        let runs = sync::find_runs(Path::new(path))?;
        if runs.is_empty() && is_given {
            return Err(yolo11_tracking::Error::NoOutbox { folder: path.into() }.into());
        }
        found.extend(runs);
    }
    Ok(found)
}

fn print(matches: &ArgMatches, found: &[RunStatus]) -> Result<(), Failure> {
    if wants_json(matches) {
        let list = found.iter().map(|status| serde_json::to_value(status).unwrap_or_default()).collect();
        return terminal::print_json(&serde_json::Value::Array(list));
    }
    if found.is_empty() {
        terminal::say("no run here was tracked");
        return Ok(());
    }
    terminal::print(&found.iter().map(line).collect::<String>())
}

fn line(status: &RunStatus) -> String {
    let left = status.left;
    let standing = match (left.records, status.is_busy) {
        (0, _) => "all sent".to_owned(),
        (_, busy) => format!(
            "{} left: {} metrics, {} params, {} tags, {} files{}",
            left.records,
            left.metrics,
            left.params,
            left.tags,
            left.artifacts,
            if busy { " (being sent)" } else { "" }
        ),
    };
    let refused = match status.shipped.refused {
        0 => String::new(),
        count => format!("; {count} refused by the server, see tracking/refused.jsonl"),
    };
    let server = status.tracking_uri.as_deref().unwrap_or("no server yet");
    let run = match (&status.experiment_id, &status.run_id) {
        (Some(experiment), Some(run)) => format!("/#/experiments/{experiment}/runs/{run}"),
        _ => String::new(),
    };
    format!("{}\n  {standing}{refused}\n  {server}{run}\n", status.folder.display())
}
