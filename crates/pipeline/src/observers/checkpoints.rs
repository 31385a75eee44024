//! `weights/`: last.pt and best.pt with the averaged weights, one more every `save_period` epochs, and the state to resume from.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use yolo11_checkpoint::{Checkpoint, Value, save_pt, save_state_dict};
use yolo11_config::CheckpointFormat;

use super::log::timestamp;
use crate::event::{EpochReport, RunDescription, TrainingState};
use crate::file::create_folder;
use crate::{Error, Event, Observer, state};

/// Name of the state's file beside the weights.
pub const STATE_FILE: &str = "last.state.safetensors";

/// Saves a run's weights and state. Each file is replaced whole; the state, which a resumed run reads, comes last.
pub struct Checkpoints {
    folder: PathBuf,
    save_period: Option<usize>,
    format: CheckpointFormat,
    run: Option<RunDescription>,
    saved: Vec<PathBuf>,
    last_report: Option<EpochReport>,
}

impl Checkpoints {
    /// Writes into `<run>/weights`; with `save_period` also `epoch<N>.pt` every so many epochs.
    pub fn new(run_folder: &Path, save_period: Option<usize>, format: CheckpointFormat) -> Result<Self, Error> {
        let folder = run_folder.join("weights");
        create_folder(&folder)?;
        Ok(Checkpoints { folder, save_period, format, run: None, saved: Vec::new(), last_report: None })
    }

    fn save_weights(&mut self, name: &str, state: &TrainingState) -> Result<(), Error> {
        let Some(run) = &self.run else {
            return Ok(());
        };
        let train_args = run.settings.iter().map(|(name, value)| (name.clone(), plain(value.clone()))).collect();
        let checkpoint = Checkpoint {
            model: state.ema.model().clone(),
            names: run.names.clone(),
            // The field counts from 0 and names the last finished epoch.
            epoch: state.counters.epoch.checked_sub(1),
            train_args,
            metrics: self.last_report.as_ref().map(metrics).unwrap_or_default(),
            best_fitness: state.counters.best().map(|best| best.fitness),
            date: Some(timestamp(SystemTime::now())),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        };
        let path = self.folder.join(name);
        match self.format {
            CheckpointFormat::Modules => save_pt(&path, &checkpoint)?,
            CheckpointFormat::StateDict => save_state_dict(&path, &checkpoint)?,
        }
        self.saved.push(path);
        Ok(())
    }

    fn save_state(&mut self, state: &TrainingState) -> Result<(), Error> {
        if let Some(run) = &self.run {
            let path = self.folder.join(STATE_FILE);
            state::save(&path, state, &run.settings_yaml, &run.names)?;
            self.saved.push(path);
        }
        Ok(())
    }
}

impl Observer for Checkpoints {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::RunStarted(run) => self.run = Some((*run).clone()),
            Event::EpochFinished { report, state, improved } => {
                self.last_report = Some((*report).clone());
                if *improved {
                    self.save_weights("best.pt", state)?;
                }
                if self.save_period.is_some_and(|period| report.epoch.is_multiple_of(period)) {
                    self.save_weights(&format!("epoch{}.pt", report.epoch), state)?;
                }
                self.save_weights("last.pt", state)?;
                self.save_state(state)?;
            }
            Event::Interrupted { state } => {
                self.save_weights("last.pt", state)?;
                self.save_state(state)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn saved(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.saved)
    }
}

fn metrics(report: &EpochReport) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let parts = ["box", "cls", "dfl"];
    found.extend(parts.iter().zip(report.losses).map(|(part, loss)| (format!("train/{part}_loss"), loss)));
    if let Some(validation) = &report.validation {
        found.extend(validation.named_metrics());
    }
    found
}

/// A setting's value as a checkpoint holds it.
fn plain(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(values) => Value::List(values.into_iter().map(plain).collect()),
        serde_json::Value::Object(entries) => {
            Value::Map(entries.into_iter().map(|(name, value)| (name, plain(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_their_types() {
        let value = plain(serde_json::json!({"a": [1, 0.5, null, true, "x"]}));
        let list = vec![Value::Int(1), Value::Float(0.5), Value::None, Value::Bool(true), Value::String("x".into())];
        assert_eq!(value, Value::Map(vec![("a".into(), Value::List(list))]));
    }
}
