//! What stands in the outbox: one record a line.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Longest name of a metric, param or tag.
pub const LONGEST_KEY: usize = 250;
/// Longest value of a param.
pub const LONGEST_PARAM: usize = 6000;
/// Longest value of a tag.
pub const LONGEST_TAG: usize = 8000;
/// Most metrics, and most entries of all kinds, in a call.
pub const MOST_METRICS: usize = 1000;
/// Most params, and most tags, in a call.
pub const MOST_PAIRS: usize = 100;

/// One point of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub key: String,
    /// Its value; not a number and the infinities travel as words.
    #[serde(serialize_with = "number_to_wire", deserialize_with = "read_number")]
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The step: epoch or iteration.
    pub step: i64,
}

/// What a run is called and where it belongs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunStart {
    /// Tells this run from every other, so that it is made once.
    pub key: String,
    /// The server, without credentials; none where none was known.
    pub tracking_uri: Option<String>,
    /// Experiment by name.
    pub experiment_name: String,
    /// Experiment by id, which wins.
    pub experiment_id: Option<String>,
    /// A run that exists already and goes on here.
    pub run_id: Option<String>,
    /// Its name.
    pub run_name: String,
    /// The run that it is a part of, by name: found or made in the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_run: Option<String>,
    /// Who runs it.
    pub user: String,
    /// Milliseconds since 1970.
    pub start_time: i64,
    /// Its first tags.
    pub tags: Vec<(String, String)>,
}

/// The data that a run used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetInput {
    /// Its name.
    pub name: String,
    /// A digest of its content, at most 36 characters.
    pub digest: String,
    /// What the source is, such as `local`.
    pub source_type: String,
    /// The source as JSON.
    pub source: String,
    /// Its schema as JSON.
    pub schema: String,
    /// Its figures as JSON.
    pub profile: String,
    /// What it was used for: `training`, `validation`.
    pub context: String,
}

/// A file to be kept with the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The file: below the run's folder, or absolute.
    pub file: String,
    /// Where it belongs among the run's artifacts.
    pub path: String,
    /// Its size and SHA-256 when it was announced; none where it still changes and is shipped at the end.
    pub digest: Option<Digest>,
    /// Whether the file is the outbox's own copy, which goes when it is shipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_copy: bool,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// One picture of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesImage {
    /// The outbox's own copy of the picture.
    pub file: String,
    /// The series.
    pub key: String,
    /// Its step.
    pub step: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Tells it from others of the same step.
    pub id: String,
}

/// A model to be kept and, where a name is given, registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its name within the run.
    pub name: String,
    /// The file: below the run's folder, or absolute.
    pub file: String,
    /// The same network as ONNX: the outbox's own copy, which goes when it is shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnx: Option<String>,
    /// What is known of it: classes, picture size, scale.
    pub metadata: Value,
    /// The registered model that gets a new version.
    pub register: Option<String>,
    /// mAP50-95, which decides who is champion.
    pub fitness: Option<f64>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// One line of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The run begins. Always the first.
    Start(RunStart),
    /// The run goes on after a break.
    Resume {
        /// Milliseconds since 1970.
        timestamp: i64,
    },
    /// Points of metrics.
    Metrics {
        /// At most 1000.
        metrics: Vec<Metric>,
    },
    /// Settings.
    Params {
        /// At most 100.
        params: Vec<(String, String)>,
    },
    /// Tags.
    Tags {
        /// At most 100.
        tags: Vec<(String, String)>,
    },
    /// The data.
    Input(DatasetInput),
    /// A file.
    Artifact(Artifact),
    /// A picture of a series.
    Image(SeriesImage),
    /// A model.
    Model(ModelRecord),
    /// The run is over.
    Finish {
        /// `FINISHED`, `FAILED` or `KILLED`.
        status: String,
        /// Milliseconds since 1970.
        end_time: i64,
    },
}

/// A name as the server takes it: letters, digits, `_ - . : /` and blanks, a plain relative path, not too long. The brackets of
/// `metrics/mAP50(B)` go, as the reference trainer does it.
pub fn clean_name(name: &str) -> String {
    let kept: String = name.chars().filter(|mark| mark.is_alphanumeric() || "_-. :/".contains(*mark)).collect();
    let parts: Vec<&str> = kept.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let name = cut(&parts.join("/"), LONGEST_KEY);
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// At most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most { text.to_owned() } else { text.chars().take(most).collect() }
}

fn number_to_wire<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        value if value.is_nan() => serializer.serialize_str("NaN"),
        f64::INFINITY => serializer.serialize_str("Infinity"),
        f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
        value => serializer.serialize_f64(value),
    }
}

fn read_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    number_from_wire(&value).ok_or_else(|| serde::de::Error::custom("not a number"))
}

/// A number as the interface writes it.
pub(crate) fn number_from_wire(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        value => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_the_server_takes() {
        for (name, wanted) in [
            ("metrics/mAP50(B)", "metrics/mAP50B"),
            ("metrics/mAP50-95(B)", "metrics/mAP50-95B"),
            ("/a//b/../c", "a/b/c"),
            ("größe {x}", "größe x"),
            ("(", "unnamed"),
        ] {
            assert_eq!(clean_name(name), wanted);
        }
        assert_eq!(clean_name(&"x".repeat(400)).len(), 250);
    }

    #[test]
    fn every_number_survives() {
        for value in [0.1, -0.0, 1e-320, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let metric = Metric { key: "a".into(), value, timestamp: 1, step: -2 };
            let text = serde_json::to_string(&Record::Metrics { metrics: vec![metric] }).unwrap();
            let Record::Metrics { metrics } = serde_json::from_str(&text).unwrap() else { unreachable!() };
            let same = metrics[0].value.to_bits() == value.to_bits() || value.is_nan() && metrics[0].value.is_nan();
            assert!(same, "{text}");
        }
    }
}
