//! Runs as they are written into answers.

use serde::{Serialize, Serializer};

/// A number as MLflow writes it: `NaN` is text.
pub(crate) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() { serializer.serialize_str("NaN") } else { serializer.serialize_f64(*value) }
}

/// A number as a JSON value.
pub(crate) fn number_json(value: f64) -> serde_json::Value {
    if value.is_nan() { "NaN".into() } else { value.into() }
}

/// What a run is called and how it stands.
#[derive(Debug, Clone, Serialize)]
pub struct RunInfo {
    /// Its id.
    pub run_id: String,
    /// The same, under its older name.
    pub run_uuid: String,
    /// Its name.
    pub run_name: String,
    /// The experiment's id.
    pub experiment_id: String,
    /// Who made it.
    pub user_id: String,
    /// RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.
    pub status: &'static str,
    /// Milliseconds since 1970.
    pub start_time: i64,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<i64>,
    /// Where its artifacts are.
    pub artifact_uri: String,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
}

/// The latest value of a metric.
#[derive(Debug, Clone, Serialize)]
pub struct Metric {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(serialize_with = "number")]
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Its step.
    pub step: i64,
}

/// A param or a tag.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What a run has logged.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunData {
    /// The latest value of each metric.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Pair>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Pair>,
}

/// A data set.
#[derive(Debug, Clone, Serialize)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// What tells its versions apart.
    pub digest: String,
    /// Kind of its source.
    pub source_type: String,
    /// Its source.
    pub source: String,
    /// Its columns, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Figures about it, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// A data set that a run used.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetInput {
    /// What it was used for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Pair>,
    /// The data set.
    pub dataset: Dataset,
}

/// A model that a run used.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInput {
    /// Its id.
    pub model_id: String,
}

/// A model that a run made.
#[derive(Debug, Clone, Serialize)]
pub struct ModelOutput {
    /// Its id.
    pub model_id: String,
    /// At which step.
    pub step: i64,
}

/// What went into a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunInputs {
    /// Data sets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dataset_inputs: Vec<DatasetInput>,
    /// Models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_inputs: Vec<ModelInput>,
}

/// What came out of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunOutputs {
    /// Models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_outputs: Vec<ModelOutput>,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What it is called and how it stands.
    pub info: RunInfo,
    /// What it has logged.
    pub data: RunData,
    /// What went into it.
    pub inputs: RunInputs,
    /// What came out of it.
    pub outputs: RunOutputs,
}

/// Names of states in the order of their numbers on the wire, from 1.
const STATUS: [&str; 5] = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];

/// The name of a state.
pub(crate) fn status_name(number: i64) -> &'static str {
    STATUS.get((number - 1).max(0) as usize).unwrap_or(&"RUNNING")
}

/// The number of a state, by its name or by the number itself.
pub(crate) fn status_number(text: &str) -> Option<i64> {
    let by_name = STATUS.iter().position(|name| *name == text).map(|position| position as i64 + 1);
    by_name.or_else(|| text.parse().ok().filter(|number| (1..=5).contains(number)))
}
