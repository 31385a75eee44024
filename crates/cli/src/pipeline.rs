//! Where the commands call the pipeline and print what it brought.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use yolo11_config::Settings;
use yolo11_pipeline::benchmark::{Subject, benchmark as measure};
use yolo11_pipeline::event::RunSummary;
use yolo11_pipeline::train::TrainOptions;
use yolo11_pipeline::val::CategoryIds;
use yolo11_pipeline::{info as describe, predict as prediction, train as training, val as validation};

use crate::failure::Failure;
use crate::terminal;

/// Steps that a benchmark times.
const REPEATS: usize = 15;

/// Trains; with `json` the summary goes to stdout.
pub(crate) fn train(settings: &Settings, stop: Arc<AtomicBool>, json: bool) -> Result<(), Failure> {
    let summary = training::train(settings, &TrainOptions::default(), &stop)?;
    if json {
        return terminal::print_json(&summary_json(&summary));
    }
    let folder = summary.folder.display();
    let weights = if summary.best.is_some() { "best.pt" } else { "last.pt" };
    terminal::say(&format!("results    {folder}/results.csv, weights in {folder}/weights"));
    terminal::say(&format!("next       yolo11 predict model={folder}/weights/{weights} source=PICTURES"));
    Ok(())
}

fn summary_json(summary: &RunSummary) -> Value {
    json!({
        "folder": summary.folder,
        "epochs": summary.epochs,
        "seconds": summary.seconds,
        "best_epoch": summary.best.map(|best| best.epoch),
        "best_fitness": summary.best.map(|best| best.fitness),
        "ending": format!("{:?}", summary.ending).to_lowercase(),
        "metrics": summary.validation.as_ref().map(|validation| validation.to_json()),
    })
}

/// Measures weights: the table per class, or everything as JSON, on stdout.
pub(crate) fn val(settings: &Settings, stop: Arc<AtomicBool>, coco_ids: bool, json: bool) -> Result<(), Failure> {
    let ids = if coco_ids { CategoryIds::Coco } else { CategoryIds::Model };
    let report = validation::validate(settings, &TrainOptions::default(), ids, &stop)?;
    if let Some(file) = &report.detections_file {
        terminal::say(&format!("detections {}", file.display()));
    }
    if json { terminal::print_json(&report.validation.to_json()) } else { terminal::print(&report.validation.table()) }
}

/// Finds objects: a line or a JSON object for each picture on stdout as it comes.
pub(crate) fn predict(settings: &Settings, stop: Arc<AtomicBool>, json: bool) -> Result<(), Failure> {
    let mut output = Ok(());
    let summary = prediction::predict(settings, &stop, |found, names| {
        if output.is_ok() {
            let line = if json { found.to_json(names).to_string() } else { found.summary(names) };
            output = terminal::print(&format!("{line}\n"));
        }
    })?;
    output?;
    terminal::say(&format!("labelled pictures are in {}", summary.folder.display()));
    Ok(summary.check()?)
}

/// Describes a model on stdout.
pub(crate) fn info(settings: &Settings, json: bool) -> Result<(), Failure> {
    let info = describe::info(settings)?;
    if json { terminal::print_json(&info.to_json()) } else { terminal::print(&info.table()) }
}

/// Times a step on this machine.
pub(crate) fn benchmark(what: Subject, settings: &Settings, json: bool) -> Result<(), Failure> {
    let report = measure(settings, what, REPEATS)?;
    if json { terminal::print_json(&report.to_json()) } else { terminal::print(&report.table()) }
}
