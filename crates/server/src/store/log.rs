//! What runs log: metrics, params and tags.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::{Value, json};

use super::{Store, logged_models, names, runs};
use crate::error::ApiError;
use crate::metric_block::{Point, in_order, pack, storable};
use crate::request::Request;
use crate::{validate, values};

/// The tag that holds a run's name.
pub(crate) const RUN_NAME: &str = "mlflow.runName";

/// Metrics in a batch.
const METRICS: usize = 1000;
/// Params in a batch, and tags.
const PAIRS: usize = 100;
/// All of them in a batch.
const ALL: usize = 1000;

/// A metric as it is sent.
#[derive(Debug, Deserialize)]
struct SentMetric {
    #[serde(default)]
    key: String,
    #[serde(default = "absent", deserialize_with = "real")]
    value: Option<f64>,
    #[serde(default, deserialize_with = "whole")]
    timestamp: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    step: Option<i64>,
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    dataset_name: Option<String>,
    #[serde(default)]
    dataset_digest: Option<String>,
}

fn absent() -> Option<f64> {
    None
}

#[derive(Debug, Deserialize)]
struct SentPair {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SentBatch {
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    metrics: Option<Vec<SentMetric>>,
    #[serde(default)]
    params: Option<Vec<SentPair>>,
    #[serde(default)]
    tags: Option<Vec<SentPair>>,
}

/// A number that may be written as text, as `NaN` is.
fn real<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    struct Real;
    impl Visitor<'_> for Real {
        type Value = Option<f64>;
        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a number")
        }
        fn visit_f64<E>(self, value: f64) -> Result<Option<f64>, E> {
            Ok(Some(value))
        }
        fn visit_i64<E>(self, value: i64) -> Result<Option<f64>, E> {
            Ok(Some(value as f64))
        }
        fn visit_u64<E>(self, value: u64) -> Result<Option<f64>, E> {
            Ok(Some(value as f64))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<f64>, E> {
            text.trim().parse().map(Some).map_err(|_| E::custom(format!("`{text}` is not a number")))
        }
        fn visit_unit<E>(self) -> Result<Option<f64>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Real)
}

/// A whole number that may be written as text or with `.0`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = Option<i64>;
        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a whole number")
        }
        fn visit_i64<E>(self, value: i64) -> Result<Option<i64>, E> {
            Ok(Some(value))
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<i64>, E> {
            i64::try_from(value).map(Some).map_err(|_| E::custom("a whole number is too large"))
        }
        fn visit_f64<E: de::Error>(self, value: f64) -> Result<Option<i64>, E> {
            match value.fract() == 0.0 && value.abs() < 9.0e15 {
                true => Ok(Some(value as i64)),
                false => Err(E::custom(format!("{value} is not a whole number"))),
            }
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<i64>, E> {
            text.trim().parse().map(Some).map_err(|_| E::custom(format!("`{text}` is not a whole number")))
        }
        fn visit_unit<E>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Whole)
}

/// A metric of a logged model.
#[derive(Debug)]
pub(crate) struct ModelMetric {
    pub model_id: String,
    pub key: String,
    pub point: Point,
    pub dataset_name: String,
    pub dataset_digest: String,
}

/// The points of one metric in a batch: in order, packed, and the last of them.
#[derive(Debug)]
struct Block {
    key: String,
    points: Vec<u8>,
    last: Point,
}

/// A batch, checked and packed: what is left is to write it.
#[derive(Debug)]
pub struct Batch {
    run_id: String,
    blocks: Vec<Block>,
    model_metrics: Vec<ModelMetric>,
    params: Vec<(String, String)>,
    tags: Vec<(String, String)>,
}

impl Batch {
    /// Reads the body of `runs/log-batch`.
    ///
    /// # Errors
    /// It is malformed, over the limits, or holds a name that may not be used.
    pub fn parse(body: &[u8]) -> Result<Batch, ApiError> {
        let sent: SentBatch = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("the body is not valid: {error}")))?;
        let run_id = sent.run_id.filter(|id| !id.is_empty());
        let run_id = run_id.ok_or_else(|| ApiError::invalid("the required parameter `run_id` is missing"))?;
        let pairs = |sent: Option<Vec<SentPair>>| -> Vec<(String, String)> {
            sent.unwrap_or_default().into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect()
        };
        Batch::check(run_id, sent.metrics.unwrap_or_default(), pairs(sent.params), pairs(sent.tags))
    }

    /// Reads the body of `runs/log-metric`.
    ///
    /// # Errors
    /// As [`Batch::parse`].
    pub fn parse_metric(body: &[u8]) -> Result<Batch, ApiError> {
        let bad = |error: serde_json::Error| ApiError::invalid(format!("the body is not valid: {error}"));
        let metric: SentMetric = serde_json::from_slice(body).map_err(bad)?;
        let run_id = Request::from_json(body)?.run_id()?;
        Batch::check(run_id, vec![metric], Vec::new(), Vec::new())
    }

    /// Reads the body of `runs/log-parameter`.
    ///
    /// # Errors
    /// As [`Batch::parse`].
    pub fn parse_param(body: &[u8]) -> Result<Batch, ApiError> {
        let request = Request::from_json(body)?;
        let pair = (request.required("key")?, request.text("value")?.unwrap_or_default());
        Batch::check(request.run_id()?, Vec::new(), vec![pair], Vec::new())
    }

    /// Reads the body of `runs/set-tag`.
    ///
    /// # Errors
    /// As [`Batch::parse`].
    pub fn parse_tag(body: &[u8]) -> Result<Batch, ApiError> {
        let request = Request::from_json(body)?;
        let pair = (request.required("key")?, request.text("value")?.unwrap_or_default());
        Batch::check(request.run_id()?, Vec::new(), Vec::new(), vec![pair])
    }

    fn check(
        run_id: String,
        metrics: Vec<SentMetric>,
        params: Vec<(String, String)>,
        tags: Vec<(String, String)>,
    ) -> Result<Batch, ApiError> {
        for (what, count, most) in
            [("metrics", metrics.len(), METRICS), ("params", params.len(), PAIRS), ("tags", tags.len(), PAIRS)]
        {
            if count > most {
                return Err(ApiError::invalid(format!("a batch may hold {most} {what}; this one holds {count}")));
            }
        }
        let all = metrics.len() + params.len() + tags.len();
        if all > ALL {
            return Err(ApiError::invalid(format!(
                "a batch may hold {ALL} metrics, params and tags in all; this one holds {all}"
            )));
        }
        params.iter().try_for_each(|(name, _)| validate::key("param", name))?;
        tags.iter().try_for_each(|(name, _)| validate::key("tag", name))?;
        let nul = |(name, value): &(String, String)| name.contains('\0') || value.contains('\0');
        if params.iter().chain(&tags).any(nul) {
            return Err(ApiError::invalid("text may not hold the letter U+0000"));
        }
        let mut once = HashMap::new();
        for (name, value) in &params {
            if once.insert(name, value).is_some_and(|other| other != value) {
                return Err(ApiError::invalid(format!("the batch holds the param `{name}` with two different values")));
            }
        }
        let mut model_metrics = Vec::new();
        let mut histories: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        for metric in metrics {
            let key = metric.key;
            let Some(value) = metric.value else {
                return Err(ApiError::invalid(format!("the metric `{key}` has no value that is a number")));
            };
            let Some(timestamp) = metric.timestamp else {
                return Err(ApiError::invalid(format!("the metric `{key}` has no timestamp")));
            };
            let point = Point { timestamp, step: metric.step.unwrap_or(0), value: storable(value) };
            if let Some(model_id) = metric.model_id.filter(|id| !id.is_empty()) {
                let (name, digest) =
                    (metric.dataset_name.unwrap_or_default(), metric.dataset_digest.unwrap_or_default());
                if [&model_id, &name, &digest].iter().any(|text| text.contains('\0')) {
                    return Err(ApiError::invalid("text may not hold the letter U+0000"));
                }
                model_metrics.push(ModelMetric {
                    model_id,
                    key: key.clone(),
                    point,
                    dataset_name: name,
                    dataset_digest: digest,
                });
            }
            match histories.get_mut(&key) {
                Some(points) => points.push(point),
                None => {
                    validate::key("metric", &key)?;
                    histories.insert(key, vec![point]);
                }
            }
        }
        let mut blocks = Vec::with_capacity(histories.len());
        for (key, mut points) in histories {
            in_order(&mut points);
            if let Some(&last) = points.last() {
                blocks.push(Block { key, points: pack(&points), last });
            }
        }
        Ok(Batch { run_id, blocks, model_metrics, params, tags })
    }

    /// Writes it.
    ///
    /// # Errors
    /// No such run, a deleted one, or a param that has another value already.
    pub fn write(self, store: &mut Store<'_>) -> Result<Value, ApiError> {
        let run = runs::active(store, &self.run_id)?;
        set_params(store, run, &self.params)?;
        if !self.blocks.is_empty() {
            let number = block_number();
            let rows: Vec<_> = self
                .blocks
                .iter()
                .map(|block| vec![run.into(), (&block.key).into(), number.into(), block.points.as_slice().into()])
                .collect();
            store.db.run_many("INSERT INTO metric_blocks (run, name, number, points) VALUES (?, ?, ?, ?)", &rows)?;
            let rows: Vec<_> = self
                .blocks
                .iter()
                .map(|Block { key, last, .. }| {
                    let is_nan = last.value.is_nan();
                    let value = if is_nan { 0.0 } else { last.value };
                    vec![
                        run.into(),
                        key.into(),
                        value.into(),
                        i64::from(is_nan).into(),
                        last.timestamp.into(),
                        last.step.into(),
                    ]
                })
                .collect();
            store.db.run_many(
                "INSERT INTO latest_metrics (run, name, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (run, name) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan, timestamp = excluded.timestamp, step = excluded.step \
                 WHERE (excluded.step, excluded.timestamp, excluded.is_nan, excluded.value) > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.is_nan, latest_metrics.value)",
                &rows,
            )?;
        }
        logged_models::log_metrics(store, &self.run_id, &self.model_metrics)?;
        set_tags(store, run, &self.tags)?;
        Ok(json!({}))
    }
}

/// A number for a block, larger than any before: microseconds since 1970, then ten bits against two servers that write at the same moment.
pub(crate) fn block_number() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let passed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |passed| passed.as_micros() as i64);
    let chance = names::random::<2>().map_or(0, u16::from_le_bytes);
    let fresh = (passed << 10) | i64::from(chance & 1023);
    LAST.fetch_max(fresh - 1, Ordering::Relaxed);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

fn set_params(store: &mut Store<'_>, run: i64, params: &[(String, String)]) -> Result<(), ApiError> {
    for (name, value) in params {
        let value = validate::param_value(value);
        let sql = "INSERT INTO params (run, name, value) VALUES (?, ?, ?) ON CONFLICT (run, name) DO NOTHING";
        if store.db.run(sql, values![run, name, value])? == 1 {
            continue;
        }
        let there =
            store.db.first("SELECT value FROM params WHERE run = ? AND name = ?", values![run, name], |row| {
                row.string(0)
            })?;
        if there.as_deref() != Some(value) {
            return Err(ApiError::invalid(format!(
                "the param `{name}` is `{}` already; a param's value does not change, the new one was `{value}`",
                there.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// Sets tags of a run; the one with its name renames it.
pub(crate) fn set_tags(store: &mut Store<'_>, run: i64, tags: &[(String, String)]) -> Result<(), ApiError> {
    // The last of two with one name counts.
    let last: BTreeMap<&str, &str> =
        tags.iter().map(|(name, value)| (name.as_str(), validate::tag_value(value))).collect();
    let rows: Vec<_> = last.iter().map(|(name, value)| vec![run.into(), (*name).into(), (*value).into()]).collect();
    store.db.run_many(
        "INSERT INTO tags (run, name, value) VALUES (?, ?, ?) ON CONFLICT (run, name) DO UPDATE SET value = excluded.value",
        &rows,
    )?;
    if let Some(name) = last.get(RUN_NAME) {
        store.db.run("UPDATE runs SET name = ? WHERE id = ?", values![*name, run])?;
    }
    Ok(())
}

/// `runs/delete-tag`.
pub fn delete_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (run_id, name) = (request.run_id()?, request.required("key")?);
    let run = runs::active(store, &run_id)?;
    match store.db.run("DELETE FROM tags WHERE run = ? AND name = ?", values![run, &name])? {
        0 => Err(ApiError::missing(format!("the run `{run_id}` has no tag `{name}`"))),
        _ => Ok(json!({})),
    }
}
