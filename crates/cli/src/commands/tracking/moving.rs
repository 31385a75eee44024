//! `yolo11 tracking export`, `import` and `gc`: what is on a server, into a folder, to another server, away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ArgMatches;
use serde_json::json;
use yolo11_tracking::transfer::export::{Selection, export as export_to};
use yolo11_tracking::transfer::import::{ImportOptions, import as import_from};
use yolo11_tracking::transfer::{Moved, Talk};
use yolo11_tracking::{Environment, gc};

use crate::arguments::wants_json;
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

pub(super) fn export(matches: &ArgMatches) -> Result<(), Failure> {
    let (environment, uri) = server(matches, "from")?;
    let experiments = matches.get_many::<String>("experiment").into_iter().flatten().cloned().collect();
    with_talk(|talk| {
        let moved = export_to(&uri, &environment, folder(matches), &Selection { experiments }, talk)?;
        report(matches, "exported", moved)
    })
}

pub(super) fn import(matches: &ArgMatches) -> Result<(), Failure> {
    let (environment, uri) = server(matches, "to")?;
    let options = ImportOptions { verify: !matches.get_flag("no-verify") };
    with_talk(|talk| {
        let moved = import_from(folder(matches), &uri, &environment, options, talk)?;
        report(matches, if options.verify { "imported and read back" } else { "imported" }, moved)
    })
}

pub(super) fn clear(matches: &ArgMatches) -> Result<(), Failure> {
    let (environment, uri) = server(matches, "from")?;
    with_talk(|talk| {
        let found = gc::find(&uri, &environment, talk)?;
        let list: String = found.iter().map(line).collect();
        if !wants_json(matches) {
            terminal::print(&list)?;
        }
        let removed = if matches.get_flag("yes") { Some(gc::remove(&uri, &environment, &found, talk)?) } else { None };
        if wants_json(matches) {
            return terminal::print_json(&json!({"found": found, "removed": removed}));
        }
        let bytes: u64 = found.iter().map(|item| item.bytes).sum();
        match removed {
            None if found.is_empty() => terminal::say("nothing to clear away"),
            None => terminal::say(&format!(
                "{} of these; nothing was removed\nhint: --yes removes them for good",
                size(bytes)
            )),
            Some(removed) => {
                terminal::say(&format!(
                    "removed {} runs and {} files, {}",
                    removed.runs,
                    removed.files,
                    size(removed.bytes)
                ));
                if removed.runs_left > 0 {
                    terminal::say(&format!(
                        "{} deleted runs stay as rows without artifacts: this server removes them only by\n  mlflow gc --backend-store-uri DATABASE",
                        removed.runs_left
                    ));
                }
            }
        }
        Ok(())
    })
}

fn line(item: &gc::Garbage) -> String {
    let name = if item.name.is_empty() { String::new() } else { format!(" ({})", item.name) };
    format!(
        "{:<14}  {}{name}  in {}: {} files, {}\n",
        item.kind,
        item.id,
        item.experiment,
        item.files,
        size(item.bytes)
    )
}

fn folder(matches: &ArgMatches) -> &Path {
    Path::new(matches.get_one::<String>("folder").map_or("", String::as_str))
}

/// The environment, and the server that is meant.
fn server(matches: &ArgMatches, option: &str) -> Result<(Environment, String), Failure> {
    let environment = Environment::of_process();
    let given = matches.get_one::<String>(option).map(String::as_str).or(environment.get("MLFLOW_TRACKING_URI"));
    let uri = given.map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            "which tracking server?",
            format!("--{option} http://127.0.0.1:5000, or set MLFLOW_TRACKING_URI"),
        )
    })?;
    Ok((environment, uri))
}

/// Does something that says what it does and that Ctrl-C stops between two calls.
fn with_talk(work: impl FnOnce(&Talk) -> Result<(), Failure>) -> Result<(), Failure> {
    let stop: Arc<AtomicBool> = stop_flag("stopping after this call; the same command goes on where it was")?;
    work(&Talk { tell: &|text| terminal::say(text), stop: &|| stop.load(Ordering::Relaxed) })
}

fn report(matches: &ArgMatches, done: &str, moved: Moved) -> Result<(), Failure> {
    if wants_json(matches) {
        return terminal::print_json(&json!(moved));
    }
    terminal::print(&format!(
        "{done}: {} experiments, {} runs ({} were there), {} points, {} files ({}), {} logged models, {} registered models with {} versions\n",
        moved.experiments,
        moved.runs,
        moved.runs_there,
        moved.points,
        moved.files,
        size(moved.bytes),
        moved.models,
        moved.registered,
        moved.versions
    ))
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
