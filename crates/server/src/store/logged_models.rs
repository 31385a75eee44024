//! Models that runs logged: files with a record of their own.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::log::ModelMetric;
use super::{ACTIVE, ARTIFACT_ROOT, DELETED, Store, experiments, names, numbers, page};
use crate::database::Row;
use crate::entity::number_json;
use crate::error::ApiError;
use crate::filter::{Clause, Entity, Kind, parse};
use crate::metric_block::Point;
use crate::request::Request;
use crate::{validate, values};

/// Models on a page where nothing else is asked for.
const PAGE: i64 = 100;

/// Names of states in the order of their numbers.
const STATUS: [&str; 4] =
    ["LOGGED_MODEL_STATUS_UNSPECIFIED", "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"];

const COLUMNS: &str =
    "id, model_id, experiment, name, artifact_uri, created, updated, status, model_type, source_run_id";

struct Model {
    number: i64,
    model_id: String,
    experiment: i64,
    name: String,
    artifact_uri: String,
    created: i64,
    updated: i64,
    status: i64,
    kind: String,
    source_run_id: String,
    params: Vec<(String, String)>,
    tags: Vec<(String, String)>,
    metrics: Vec<(String, f64, Value)>,
}

impl Model {
    fn read(row: &dyn Row) -> Model {
        Model {
            number: row.int(0),
            model_id: row.string(1),
            experiment: row.int(2),
            name: row.string(3),
            artifact_uri: row.string(4),
            created: row.int(5),
            updated: row.int(6),
            status: row.int(7),
            kind: row.string(8),
            source_run_id: row.string(9),
            params: Vec::new(),
            tags: Vec::new(),
            metrics: Vec::new(),
        }
    }

    fn to_json(&self) -> Value {
        let pairs = |pairs: &[(String, String)]| -> Value {
            pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        let mut info = json!({
            "model_id": self.model_id, "experiment_id": self.experiment.to_string(), "name": self.name,
            "creation_timestamp_ms": self.created, "last_updated_timestamp_ms": self.updated, "artifact_uri": self.artifact_uri,
            "status": STATUS.get(self.status as usize).unwrap_or(&STATUS[0]), "model_type": self.kind, "source_run_id": self.source_run_id,
        });
        if !self.tags.is_empty() {
            info["tags"] = pairs(&self.tags);
        }
        let mut data = json!({});
        if !self.params.is_empty() {
            data["params"] = pairs(&self.params);
        }
        if !self.metrics.is_empty() {
            data["metrics"] = self.metrics.iter().map(|(_, _, metric)| metric.clone()).collect();
        }
        json!({"info": info, "data": data})
    }
}

fn find(store: &mut Store<'_>, model_id: &str) -> Result<Model, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM logged_models WHERE model_id = ? AND lifecycle_stage = ?");
    let found = store.db.first(&sql, values![model_id, ACTIVE], Model::read)?;
    found.ok_or_else(|| ApiError::missing(format!("no logged model with the id `{model_id}`")))
}

/// Where the files of a model are, if there is such a model.
pub(crate) fn artifact_uri(store: &mut Store<'_>, model_id: &str) -> Result<String, ApiError> {
    Ok(find(store, model_id)?.artifact_uri)
}

fn with_data(store: &mut Store<'_>, models: &mut [Model]) -> Result<(), ApiError> {
    let among = store.among();
    let ids = numbers(models.iter().map(|model| model.number));
    for (table, of) in [
        ("logged_model_params", (|model| &mut model.params) as fn(&mut Model) -> &mut Vec<(String, String)>),
        ("logged_model_tags", |model| &mut model.tags),
    ] {
        let sql = format!("SELECT model, name, value FROM {table} WHERE model {among} ORDER BY model, name");
        store.db.read(&sql, values![&ids], &mut |row| {
            if let Some(model) = models.iter_mut().find(|model| model.number == row.int(0)) {
                of(model).push((row.string(1), row.string(2)));
            }
        })?;
    }
    let sql = format!(
        "SELECT model, run_id, name, timestamp, step, value, is_nan, dataset_name, dataset_digest FROM logged_model_metrics WHERE model {among} ORDER BY model, name, step, timestamp, run_id, dataset_name, dataset_digest"
    );
    store.db.read(&sql, values![&ids], &mut |row| {
        let Some(model) = models.iter_mut().find(|model| model.number == row.int(0)) else { return };
        let value = if row.int(6) == 1 { f64::NAN } else { row.real(5) };
        let mut metric = json!({
            "key": row.text(2), "value": number_json(value), "timestamp": row.int(3), "step": row.int(4),
            "model_id": model.model_id, "run_id": row.text(1),
        });
        for (name, column) in [("dataset_name", 7), ("dataset_digest", 8)] {
            if !row.text(column).is_empty() {
                metric[name] = row.text(column).into();
            }
        }
        model.metrics.push((row.string(2), value, metric));
    })
}

fn answer(store: &mut Store<'_>, model_id: &str) -> Result<Value, ApiError> {
    let mut found = [find(store, model_id)?];
    with_data(store, &mut found)?;
    Ok(json!({"model": found[0].to_json()}))
}

/// `POST logged-models`. An import may bring the model's id along.
pub fn create(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let experiment = experiments::active_of(store, request)?;
    let name = match request.filled("name")? {
        Some(name) => name,
        None => names::name()?,
    };
    if name.chars().any(|letter| "/:.%\"'".contains(letter)) {
        return Err(ApiError::invalid(format!("the model name `{name}` may not hold / : . % or quotes")));
    }
    let (params, tags) = (request.pairs("params")?, request.pairs("tags")?);
    tags.iter().try_for_each(|(name, _)| validate::key("tag", name))?;
    let model_id = match request.filled("model_id")? {
        None => format!("m-{}", names::id()?),
        Some(id) => {
            let fits = id
                .strip_prefix("m-")
                .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|digit| digit.is_ascii_hexdigit()));
            if !fits {
                return Err(ApiError::invalid(format!("`{id}` cannot be a model's id: m- and 32 hexadecimal digits")));
            }
            // A wish: where it is taken the model gets another.
            match store.db.first("SELECT id FROM logged_models WHERE model_id = ?", values![&id], |_| ())? {
                Some(()) => format!("m-{}", names::id()?),
                None => id,
            }
        }
    };
    let root = match experiment.artifact_location.is_empty() {
        true => format!("{ARTIFACT_ROOT}{}", experiment.id),
        false => experiment.artifact_location.trim_end_matches('/').to_owned(),
    };
    let uri = format!("{root}/models/{model_id}/artifacts");
    let (kind, run) =
        (request.text("model_type")?.unwrap_or_default(), request.text("source_run_id")?.unwrap_or_default());
    store.db.run(
        "INSERT INTO logged_models (model_id, experiment, name, artifact_uri, created, updated, status, model_type, source_run_id, lifecycle_stage) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
        values![&model_id, experiment.id, &name, &uri, store.now, store.now, &kind, &run, ACTIVE],
    )?;
    let model = find(store, &model_id)?;
    set_pairs(store, "logged_model_params", model.number, &params)?;
    set_pairs(store, "logged_model_tags", model.number, &tags)?;
    answer(store, &model_id)
}

fn set_pairs(store: &mut Store<'_>, table: &str, model: i64, pairs: &[(String, String)]) -> Result<(), ApiError> {
    let last: std::collections::BTreeMap<&str, &str> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let rows: Vec<_> = last.iter().map(|(name, value)| vec![model.into(), (*name).into(), (*value).into()]).collect();
    store.db.run_many(
        &format!("INSERT INTO {table} (model, name, value) VALUES (?, ?, ?) ON CONFLICT (model, name) DO UPDATE SET value = excluded.value"),
        &rows,
    )
}

/// `GET logged-models/{model_id}`.
pub fn get(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    answer(store, &request.required("model_id")?)
}

/// `PATCH logged-models/{model_id}`: its state after the upload.
pub fn finalize(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (model_id, status) = (request.required("model_id")?, request.required("status")?);
    let number = STATUS
        .iter()
        .position(|name| *name == status)
        .or_else(|| status.parse().ok().filter(|number| *number < STATUS.len()));
    let number = number.ok_or_else(|| ApiError::invalid(format!("no model status `{status}`")))?;
    let model = find(store, &model_id)?;
    store.db.run(
        "UPDATE logged_models SET status = ?, updated = ? WHERE id = ?",
        values![number as i64, store.now, model.number],
    )?;
    answer(store, &model_id)
}

/// `DELETE logged-models/{model_id}`.
pub fn delete(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let model = find(store, &request.required("model_id")?)?;
    store.db.run(
        "UPDATE logged_models SET lifecycle_stage = ?, updated = ? WHERE id = ?",
        values![DELETED, store.now, model.number],
    )?;
    Ok(json!({}))
}

/// `PATCH logged-models/{model_id}/tags`.
pub fn set_tags(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let tags = request.pairs("tags")?;
    tags.iter().try_for_each(|(name, _)| validate::key("tag", name))?;
    let model_id = request.required("model_id")?;
    let model = find(store, &model_id)?;
    set_pairs(store, "logged_model_tags", model.number, &tags)?;
    answer(store, &model_id)
}

/// `DELETE logged-models/{model_id}/tags/{tag_key}`.
pub fn delete_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (model_id, name) = (request.required("model_id")?, request.required("tag_key")?);
    let model = find(store, &model_id)?;
    match store.db.run("DELETE FROM logged_model_tags WHERE model = ? AND name = ?", values![model.number, &name])? {
        0 => Err(ApiError::missing(format!("the logged model `{model_id}` has no tag `{name}`"))),
        _ => Ok(json!({})),
    }
}

/// `POST logged-models/{model_id}/params`.
pub fn log_params(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let params = request.pairs("params")?;
    let model = find(store, &request.required("model_id")?)?;
    set_pairs(store, "logged_model_params", model.number, &params)?;
    Ok(json!({}))
}

/// Metrics that a run logged for models.
///
/// # Errors
/// No such model.
pub(crate) fn log_metrics(store: &mut Store<'_>, run_id: &str, metrics: &[ModelMetric]) -> Result<(), ApiError> {
    for metric in metrics {
        let model = find(store, &metric.model_id)?;
        let Point { timestamp, step, value } = metric.point;
        let is_nan = value.is_nan();
        store.db.run(
            "INSERT INTO logged_model_metrics (model, run_id, name, timestamp, step, value, is_nan, dataset_name, dataset_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            values![
                model.number,
                run_id,
                &metric.key,
                timestamp,
                step,
                if is_nan { 0.0 } else { value },
                i64::from(is_nan),
                &metric.dataset_name,
                &metric.dataset_digest
            ],
        )?;
    }
    Ok(())
}

/// `POST logged-models/search`.
pub fn search(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let clauses = parse(&request.text("filter")?.unwrap_or_default())?;
    clauses.iter().try_for_each(check)?;
    let mut ids = Vec::new();
    for id in request.texts("experiment_ids")? {
        ids.push(experiments::number(&id)?);
    }
    let mut orders = Vec::new();
    for order in request.objects("order_by")? {
        let ascending = order.text("ascending")?.is_none_or(|text| text != "false");
        orders.push((order.required("field_name")?, ascending));
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM logged_models WHERE lifecycle_stage = '{ACTIVE}' AND experiment {} ORDER BY id",
        store.among()
    );
    let mut found = store.db.all(&sql, values![&numbers(ids)], Model::read)?;
    with_data(store, &mut found)?;
    let sets = request.objects("datasets")?;
    found.retain(|model| clauses.iter().all(|clause| holds(model, clause)));
    if !sets.is_empty() {
        let mut wanted = Vec::new();
        for set in &sets {
            wanted.push((set.required("dataset_name")?, set.filled("dataset_digest")?));
        }
        found.retain(|model| {
            model.metrics.iter().any(|(_, _, metric)| {
                wanted.iter().any(|(name, digest)| {
                    metric["dataset_name"] == json!(name)
                        && digest.as_ref().is_none_or(|digest| metric["dataset_digest"] == json!(digest))
                })
            })
        });
    }
    found.sort_by(|a, b| {
        let steps = orders.iter().map(|(field, ascending)| compare(a, b, field, *ascending));
        steps
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| b.created.cmp(&a.created))
            .then_with(|| b.number.cmp(&a.number))
    });
    let token = request.text("page_token")?;
    let (found, next) = page::cut(found, token.as_deref(), request.max_results(PAGE)?)?;
    Ok(page::answer("models", found.iter().map(Model::to_json).collect(), next))
}

fn metric(model: &Model, name: &str) -> Option<f64> {
    model.metrics.iter().rev().find(|(key, _, _)| key == name).map(|(_, value, _)| *value)
}

fn compare(a: &Model, b: &Model, field: &str, ascending: bool) -> Ordering {
    let turned = |order: Ordering| if ascending { order } else { order.reverse() };
    match field.strip_prefix("metrics.") {
        Some(name) => {
            let (a, b) = (metric(a, name), metric(b, name));
            let order = a.zip(b).and_then(|(a, b)| a.partial_cmp(&b)).unwrap_or(Ordering::Equal);
            a.is_none().cmp(&b.is_none()).then(turned(order))
        }
        None => turned(match field.trim_start_matches("attributes.") {
            "creation_time" | "creation_timestamp" | "creation_timestamp_ms" => a.created.cmp(&b.created),
            "last_updated_timestamp" | "last_updated_timestamp_ms" => a.updated.cmp(&b.updated),
            "model_id" => a.model_id.cmp(&b.model_id),
            "name" => a.name.cmp(&b.name),
            _ => Ordering::Equal,
        }),
    }
}

fn check(clause: &Clause) -> Result<(), ApiError> {
    match (clause.key.entity, clause.key.name.as_str()) {
        (Entity::Metric, _) => clause.check(Kind::Number),
        (Entity::Param | Entity::Tag, _) => clause.check(Kind::OptionalText),
        (Entity::Attribute, "creation_time" | "creation_timestamp" | "last_updated_timestamp") => {
            clause.check(Kind::Number)
        }
        (Entity::Attribute, "name" | "model_id" | "model_type" | "status" | "source_run_id") => {
            clause.check(Kind::Text)
        }
        (_, name) => Err(ApiError::invalid(format!("logged models cannot be searched by `{name}`"))),
    }
}

fn holds(model: &Model, clause: &Clause) -> bool {
    let name = clause.key.name.as_str();
    let pair = |pairs: &[(String, String)]| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match (clause.key.entity, name) {
        (Entity::Metric, _) => {
            model.metrics.iter().any(|(key, value, _)| key == name && clause.matches_number(Some(*value)))
        }
        (Entity::Param, _) => clause.matches_text(pair(&model.params).as_deref()),
        (Entity::Tag, _) => clause.matches_text(pair(&model.tags).as_deref()),
        (_, "creation_time" | "creation_timestamp") => clause.matches_number(Some(model.created as f64)),
        (_, "last_updated_timestamp") => clause.matches_number(Some(model.updated as f64)),
        (_, "name") => clause.matches_text(Some(&model.name)),
        (_, "model_type") => clause.matches_text(Some(&model.kind)),
        (_, "source_run_id") => clause.matches_text(Some(&model.source_run_id)),
        (_, "status") => clause.matches_text(STATUS.get(model.status as usize).copied()),
        _ => clause.matches_text(Some(&model.model_id)),
    }
}
