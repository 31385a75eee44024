//! One run on its new server: what belongs to it, and whether all of it came through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::{DIGEST_TAG, Moved, files, plain, read_json};
use crate::client::{Client, model_ids, pairs, tags_of, text_or_empty};
use crate::record::{MOST_METRICS, MOST_PAIRS};
use crate::upload::hexadecimal;
use crate::{Environment, Error, artifacts};

/// Points that a call for a history gives at once.
const HISTORY: &str = "25000";

/// Old ids and new ones.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Mapping {
    /// The target.
    pub target: String,
    /// Experiments.
    pub experiments: BTreeMap<String, String>,
    /// Runs.
    pub runs: BTreeMap<String, String>,
    /// Logged models.
    pub models: BTreeMap<String, String>,
    /// Versions of registered models, as `name/number`.
    pub versions: BTreeMap<String, String>,
    /// Artifact addresses of runs and models; longer ones are tried first.
    #[serde(skip)]
    pub addresses: BTreeMap<String, String>,
}

/// Names of a run's metrics.
pub(super) fn metric_keys(run: &Value) -> BTreeSet<String> {
    run["data"]["metrics"].as_array().into_iter().flatten().map(|metric| text_or_empty(metric, "key")).collect()
}

/// Every point of a metric as the server gives it.
pub(super) fn history(client: &Client, run_id: &str, key: &str) -> Result<Vec<Value>, Error> {
    let query = json!({"run_id": run_id, "metric_key": key, "max_results": HISTORY});
    client.all("metrics/get-history", "metrics", query, true)
}

/// A digest of a run's export.
pub(super) fn digest(place: &Path) -> Result<String, Error> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for name in ["run.json", "metrics.jsonl", "files.json"] {
        let path = place.join(name);
        hash.update(std::fs::read(&path).map_err(|source| Error::read(path, source))?);
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// A run's points by metric, each as its own line of JSON in a fixed order: what is compared.
fn comparable(points: &[Value], mapping: Option<&Mapping>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for point in points {
        let model = text_or_empty(point, "model_id");
        let model = mapping.and_then(|mapping| mapping.models.get(&model).cloned()).unwrap_or(model);
        // MLflow keeps the infinities as the largest number.
        let value = crate::record::number_from_wire(&point["value"]).unwrap_or_default();
        let value = if value.is_nan() { f64::NAN } else { value.clamp(f64::MIN, f64::MAX) };
        let line = format!(
            "{} {} {} {model}",
            point["step"].as_i64().unwrap_or_default(),
            point["timestamp"],
            value.to_bits()
        );
        found.entry(text_or_empty(point, "key")).or_default().insert(line);
    }
    found
}

pub(super) fn points(place: &Path) -> Result<Vec<Value>, Error> {
    let path = place.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
    let parsed = text.lines().enumerate().map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| Error::Damaged {
            path: path.clone(),
            problem: format!("line {}: {error}", number + 1),
            hint: "export again into the same folder",
        })
    });
    parsed.collect()
}

/// Brings what belongs to a run that was made on the target, checks it, and ends it as the old one was ended.
pub(super) fn fill(
    client: &Client,
    environment: &Environment,
    place: &Path,
    (run_id, artifact_uri): (&str, &str),
    mapping: &Mapping,
    verify: bool,
    moved: &mut Moved,
) -> Result<(), Error> {
    let run = read_json(&place.join("run.json"))?;
    let data = |kind: &str| -> Vec<(String, String)> {
        let entries = run["data"][kind].as_array().into_iter().flatten();
        entries.map(|entry| (text_or_empty(entry, "key"), text_or_empty(entry, "value"))).collect()
    };
    let mut tags = data("tags");
    for (name, value) in &mut tags {
        if name == "mlflow.parentRunId" {
            *value = mapping.runs.get(value).unwrap_or(value).clone();
        }
    }
    let params = data("params");
    for part in params.chunks(MOST_PAIRS) {
        client.log_batch(run_id, &[], part, &[])?;
    }
    for part in tags.chunks(MOST_PAIRS) {
        client.log_batch(run_id, &[], &[], part)?;
    }
    let points = points(place)?;
    let batches: Vec<Vec<Value>> =
        points.chunks(MOST_METRICS).map(|part| part.iter().map(|point| renamed(point, mapping)).collect()).collect();
    files::in_parallel(&batches, |batch| {
        client.post("runs/log-batch", json!({"run_id": run_id, "metrics": batch})).map(drop)
    })?;
    log_inputs(client, run_id, &run, mapping)?;
    let outputs = run["outputs"]["model_outputs"].as_array().into_iter().flatten();
    let outputs = outputs.filter_map(|output| {
        let id = mapping.models.get(&text_or_empty(output, "model_id"))?;
        Some((id.clone(), output["step"].as_i64().unwrap_or_default()))
    });
    client.log_outputs(run_id, &outputs.collect::<Vec<_>>())?;
    let store = artifacts::open(artifact_uri, client, environment)?;
    files::import(&*store, place, client.base(), verify, moved)?;
    if verify {
        check(client, run_id, &params, &tags, &points, mapping)?;
    }
    moved.points += points.len() as u64;
    let info = &run["info"];
    client.update_run(run_id, info["status"].as_str().unwrap_or("FINISHED"), info["end_time"].as_i64())?;
    client.log_batch(run_id, &[], &[], &[(DIGEST_TAG.to_owned(), digest(place)?)])?;
    if info["lifecycle_stage"] == "deleted" {
        client.post("runs/delete", json!({"run_id": run_id}))?;
    }
    Ok(())
}

/// Data sets and models that a run used. Models that it has already are left out: MLflow refuses them.
fn log_inputs(client: &Client, run_id: &str, old: &Value, mapping: &Mapping) -> Result<(), Error> {
    let datasets = old["inputs"]["dataset_inputs"].as_array().cloned().unwrap_or_default();
    let used = model_ids(&old["inputs"]["model_inputs"]);
    let mut models: Vec<&String> = used.iter().filter_map(|id| mapping.models.get(id)).collect();
    if !models.is_empty() {
        let run = client.get("runs/get", &[("run_id", run_id)])?;
        let there = model_ids(&run["run"]["inputs"]["model_inputs"]);
        models.retain(|id| !there.contains(id));
    }
    if datasets.is_empty() && models.is_empty() {
        return Ok(());
    }
    let models: Vec<Value> = models.into_iter().map(|id| json!({"model_id": id})).collect();
    client.post("runs/log-inputs", json!({"run_id": run_id, "datasets": datasets, "models": models})).map(drop)
}

/// A point with the ids of the target.
fn renamed(point: &Value, mapping: &Mapping) -> Value {
    let mut point = point.clone();
    if let Some(entries) = point.as_object_mut() {
        let model = entries.get("model_id").map(plain).unwrap_or_default();
        match mapping.models.get(&model) {
            Some(id) => entries.insert("model_id".to_owned(), json!(id)),
            None => entries.remove("model_id"),
        };
        // Left out where it is 0, by servers that leave out what is empty.
        entries.entry("step").or_insert(json!(0));
    }
    point
}

/// Reads a run back: every param, tag and point.
fn check(
    client: &Client,
    run_id: &str,
    params: &[(String, String)],
    tags: &[(String, String)],
    points: &[Value],
    mapping: &Mapping,
) -> Result<(), Error> {
    let differs =
        |problem: String| Error::Differs { url: client.base().to_owned(), what: format!("run {run_id}"), problem };
    let found = client.get("runs/get", &[("run_id", run_id)])?;
    let found = &found["run"];
    let of = |kind: &str| -> BTreeMap<String, String> {
        tags_of(&json!({"tags": found["data"][kind]})).into_iter().collect()
    };
    let (there, tags_there) = (of("params"), of("tags"));
    if let Some((name, _)) = params.iter().find(|(name, value)| there.get(name) != Some(value)) {
        return Err(differs(format!("param {name}")));
    }
    if let Some((name, _)) = tags.iter().find(|(name, value)| tags_there.get(name) != Some(value)) {
        return Err(differs(format!("tag {name}")));
    }
    for (key, wanted) in comparable(points, Some(mapping)) {
        let there = comparable(&history(client, run_id, &key)?, None).remove(&key).unwrap_or_default();
        if let Some(missing) = wanted.difference(&there).next() {
            return Err(differs(format!("metric {key} lacks the point {missing}")));
        }
    }
    Ok(())
}

/// Makes a run, with its old id where the target takes one.
pub(super) fn create(
    client: &Client,
    experiment_id: &str,
    old: &Value,
    tags: &[(String, String)],
) -> Result<(String, String), Error> {
    let info = &old["info"];
    let mut body = json!({
        "experiment_id": experiment_id,
        "run_id": text_or_empty(info, "run_id"),
        "run_name": text_or_empty(info, "run_name"),
        "user_id": text_or_empty(info, "user_id"),
        "start_time": info["start_time"].as_i64().unwrap_or_default(),
        "tags": pairs(tags),
    });
    let made = match client.post("runs/create", body.clone()) {
        // The id is taken, or none that the target gives.
        Err(error) if error.is_refusal() => {
            if let Some(entries) = body.as_object_mut() {
                entries.remove("run_id");
            }
            client.post("runs/create", body)?
        }
        made => made?,
    };
    let info = &made["run"]["info"];
    Ok((text_or_empty(info, "run_id"), text_or_empty(info, "artifact_uri")))
}
