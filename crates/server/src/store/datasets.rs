//! Data sets and models that went into runs, and models that came out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Store, experiments, runs};
use crate::database::Row;
use crate::entity::{Dataset, DatasetInput, Pair};
use crate::error::ApiError;
use crate::request::Request;
use crate::values;

/// The tag that says what a data set was used for.
pub(crate) const CONTEXT: &str = "mlflow.data.context";

/// Inputs of runs, as [`read_input`] reads them.
pub(crate) const INPUTS: &str = "SELECT i.run, i.tags, d.name, d.digest, d.source_type, d.source, d.layout, d.profile FROM run_datasets i JOIN datasets d ON d.id = i.dataset";

/// Experiments in one call.
const EXPERIMENTS: usize = 20;

pub(crate) fn read_input(row: &dyn Row) -> DatasetInput {
    DatasetInput {
        tags: read_tags(row.text(1)),
        dataset: Dataset {
            name: row.string(2),
            digest: row.string(3),
            source_type: row.string(4),
            source: row.string(5),
            schema: row.optional_string(6),
            profile: row.optional_string(7),
        },
    }
}

fn read_tags(text: &str) -> Vec<Pair> {
    let tags: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
    tags.into_iter().map(|(key, value)| Pair { key, value }).collect()
}

/// `runs/log-inputs`.
pub fn log_inputs(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let run_id = request.run_id()?;
    let mut sets = Vec::new();
    for input in request.objects("datasets")? {
        let dataset = input.object("dataset")?.ok_or_else(|| ApiError::invalid("an input has no `dataset`"))?;
        let (name, digest) = (dataset.required("name")?, dataset.required("digest")?);
        for (what, text, most) in [("name", &name, 500), ("digest", &digest, 36)] {
            if text.chars().count() > most {
                return Err(ApiError::invalid(format!(
                    "a data set's {what} may have {most} letters at most: `{text}`"
                )));
            }
        }
        let tags: BTreeMap<String, String> = input.pairs("tags")?.into_iter().collect();
        sets.push((dataset, name, digest, json!(tags).to_string()));
    }
    let models = request.objects("models")?;
    let run = runs::active(store, &run_id)?;
    let experiment =
        store.db.first("SELECT experiment FROM runs WHERE id = ?", values![run], |row| row.int(0))?.unwrap_or_default();
    for (dataset, name, digest, tags) in sets {
        let there = "SELECT id FROM datasets WHERE experiment = ? AND name = ? AND digest = ?";
        let key = values![experiment, &name, &digest];
        if store.db.first(there, key, |_| ())?.is_none() {
            let (kind, source) =
                (dataset.text("source_type")?.unwrap_or_default(), dataset.text("source")?.unwrap_or_default());
            let (layout, profile) = (dataset.filled("schema")?, dataset.filled("profile")?);
            store.db.run(
                "INSERT INTO datasets (experiment, name, digest, source_type, source, layout, profile) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                values![experiment, &name, &digest, &kind, &source, layout.as_deref(), profile.as_deref()],
            )?;
        }
        let id = store.db.first(there, key, |row| row.int(0))?.unwrap_or_default();
        store.db.run(
            "INSERT INTO run_datasets (run, dataset, tags) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            values![run, id, &tags],
        )?;
    }
    log_models(store, run, 0, &models)
}

/// `runs/outputs`.
pub fn log_outputs(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let run_id = request.run_id()?;
    let models = request.objects("models")?;
    let run = runs::active(store, &run_id)?;
    log_models(store, run, 1, &models)
}

fn log_models(store: &mut Store<'_>, run: i64, kind: i64, models: &[Request]) -> Result<Value, ApiError> {
    for model in models {
        let (id, step) = (model.required("model_id")?, model.int("step")?.unwrap_or(0));
        store.db.run(
            "INSERT INTO run_models (run, kind, model_id, step) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            values![run, kind, &id, step],
        )?;
    }
    Ok(json!({}))
}

/// `experiments/search-datasets`: what the runs of some experiments used.
pub fn search(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let ids = request.texts("experiment_ids")?;
    if ids.is_empty() || ids.len() > EXPERIMENTS {
        return Err(ApiError::invalid(format!("between 1 and {EXPERIMENTS} of `experiment_ids` are needed")));
    }
    let mut found = std::collections::BTreeSet::new();
    for id in ids {
        let id = experiments::number(&id)?;
        let sql = "SELECT d.name, d.digest, i.tags FROM datasets d JOIN run_datasets i ON i.dataset = d.id WHERE d.experiment = ?";
        store.db.read(sql, values![id], &mut |row| {
            let context = read_tags(row.text(2)).into_iter().find(|tag| tag.key == CONTEXT).map(|tag| tag.value);
            found.insert((id, row.string(0), row.string(1), context));
        })?;
    }
    let summary = |(id, name, digest, context): (i64, String, String, Option<String>)| {
        let mut value = json!({"experiment_id": id.to_string(), "name": name, "digest": digest});
        if let Some(context) = context {
            value["context"] = context.into();
        }
        value
    };
    let summaries: Vec<Value> = found.into_iter().take(1000).map(summary).collect();
    Ok(if summaries.is_empty() { json!({}) } else { json!({"dataset_summaries": summaries}) })
}
