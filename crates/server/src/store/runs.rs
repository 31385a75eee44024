//! Runs: made, changed, read whole.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{ACTIVE, DELETED, Store, datasets, experiments, history, log, names, numbers};
use crate::database::Row;
use crate::entity::{
    Metric, ModelInput, ModelOutput, Pair, Run, RunData, RunInfo, RunInputs, RunOutputs, status_name, status_number,
};
use crate::error::ApiError;
use crate::request::Request;
use crate::{validate, values};

/// The columns that [`read_info`] reads.
pub(crate) const COLUMNS: &str = "r.id, r.run_id, r.name, r.experiment, r.user_id, r.status, r.start_time, r.end_time, r.artifact_uri, r.lifecycle_stage";

/// A run's number in the database and what it is called.
pub(crate) fn read_info(row: &dyn Row) -> (i64, RunInfo) {
    let run_id = row.string(1);
    let info = RunInfo {
        run_uuid: run_id.clone(),
        run_id,
        run_name: row.string(2),
        experiment_id: row.int(3).to_string(),
        user_id: row.string(4),
        status: status_name(row.int(5)),
        start_time: row.int(6),
        end_time: row.optional_int(7),
        artifact_uri: row.string(8),
        lifecycle_stage: row.string(9),
    };
    (row.int(0), info)
}

/// A run's number and what it is called.
///
/// # Errors
/// There is none of that id.
pub(crate) fn find(store: &mut Store<'_>, run_id: &str) -> Result<(i64, RunInfo), ApiError> {
    let found =
        store.db.first(&format!("SELECT {COLUMNS} FROM runs r WHERE r.run_id = ?"), values![run_id], read_info)?;
    found.ok_or_else(|| ApiError::missing(format!("no run with the id `{run_id}`")))
}

/// What runs are called, by their numbers and in their order.
pub(crate) fn infos(store: &mut Store<'_>, runs: &[i64]) -> Result<Vec<(i64, RunInfo)>, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM runs r WHERE r.id {}", store.among());
    let found = store.db.all(&sql, values![&numbers(runs.iter().copied())], read_info)?;
    let mut found: HashMap<i64, RunInfo> = found.into_iter().collect();
    Ok(runs.iter().filter_map(|run| Some((*run, found.remove(run)?))).collect())
}

/// The number of a run that may be changed.
///
/// # Errors
/// There is none of that id, or it is deleted.
pub(crate) fn active(store: &mut Store<'_>, run_id: &str) -> Result<i64, ApiError> {
    let found = store.db.first("SELECT id, lifecycle_stage FROM runs WHERE run_id = ?", values![run_id], |row| {
        (row.int(0), row.text(1) == ACTIVE)
    })?;
    match found {
        Some((run, true)) => Ok(run),
        Some((_, false)) => Err(ApiError::invalid(format!("the run `{run_id}` is deleted; restore it first"))),
        None => Err(ApiError::missing(format!("no run with the id `{run_id}`"))),
    }
}

/// `runs/create`. An import may bring the id of the run along.
pub fn create(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let mut tags = request.pairs("tags")?;
    tags.iter().try_for_each(|(name, _)| validate::key("tag", name))?;
    let experiment = experiments::active_of(store, request)?;
    let named = tags.iter().find(|(name, _)| name == log::RUN_NAME).map(|(_, value)| value.clone());
    let name = match (request.filled("run_name")?, named) {
        (Some(name), Some(tag)) if name != tag => {
            return Err(ApiError::invalid(format!(
                "the run's name `{name}` and its tag {} `{tag}` differ",
                log::RUN_NAME
            )));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => names::name()?,
    };
    if !tags.iter().any(|(name, _)| name == log::RUN_NAME) {
        tags.push((log::RUN_NAME.to_owned(), name.clone()));
    }
    let run_id = match request.filled("run_id")? {
        None => names::id()?,
        Some(id) => free_id(store, id)?,
    };
    let uri = format!("{}/{run_id}/artifacts", experiment.artifact_location.trim_end_matches('/'));
    let start = request.int("start_time")?.unwrap_or(0);
    let user = request.text("user_id")?.unwrap_or_default();
    let run = store.db.first(
        "INSERT INTO runs (run_id, experiment, name, user_id, status, start_time, artifact_uri, lifecycle_stage) VALUES (?, ?, ?, ?, 1, ?, ?, ?) RETURNING id",
        values![&run_id, experiment.id, &name, &user, start, &uri, ACTIVE],
        |row| row.int(0),
    )?;
    log::set_tags(store, run.unwrap_or_default(), &tags)?;
    get_whole(store, &run_id)
}

/// An id that was asked for and is free.
fn free_id(store: &mut Store<'_>, id: String) -> Result<String, ApiError> {
    if id.len() != 32 || !id.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)) {
        return Err(ApiError::invalid(format!("`{id}` cannot be a run's id: 32 hexadecimal digits")));
    }
    match store.db.first("SELECT id FROM runs WHERE run_id = ?", values![&id], |_| ())? {
        None => Ok(id),
        Some(()) => Err(ApiError::exists(format!("a run `{id}` exists already"))),
    }
}

/// `runs/get`.
pub fn get(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let run_id = request.run_id()?;
    get_whole(store, &run_id)
}

fn get_whole(store: &mut Store<'_>, run_id: &str) -> Result<Value, ApiError> {
    let found = find(store, run_id)?;
    let run = whole(store, vec![found])?.pop();
    Ok(json!({"run": run}))
}

/// `runs/update`: state, end and name.
pub fn update(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let run_id = request.run_id()?;
    let status = match request.filled("status")? {
        None => None,
        Some(name) => {
            let number = status_number(&name);
            Some(number.ok_or_else(|| ApiError::invalid(format!("no run status `{name}`")))?)
        }
    };
    let end = request.int("end_time")?;
    let name = request.filled("run_name")?;
    let run = active(store, &run_id)?;
    if let Some(status) = status {
        store.db.run("UPDATE runs SET status = ? WHERE id = ?", values![status, run])?;
    }
    if let Some(end) = end {
        store.db.run("UPDATE runs SET end_time = ? WHERE id = ?", values![end, run])?;
    }
    if let Some(name) = name {
        log::set_tags(store, run, &[(log::RUN_NAME.to_owned(), name)])?;
    }
    if status.is_some_and(|status| status > 2) {
        history::merge(store, run)?;
    }
    let (_, info) = find(store, &run_id)?;
    Ok(json!({"run_info": info}))
}

/// `runs/delete`.
pub fn delete(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (run, _) = find(store, &request.run_id()?)?;
    store
        .db
        .run("UPDATE runs SET lifecycle_stage = ?, deleted_time = ? WHERE id = ?", values![DELETED, store.now, run])?;
    Ok(json!({}))
}

/// `runs/restore`.
pub fn restore(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (run, _) = find(store, &request.run_id()?)?;
    store.db.run("UPDATE runs SET lifecycle_stage = ?, deleted_time = NULL WHERE id = ?", values![ACTIVE, run])?;
    Ok(json!({}))
}

/// `runs/purge`, a call of this server's own: removes a deleted run for good, with all it logged. Its artifacts are not touched.
pub fn purge(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let run_id = request.run_id()?;
    let (run, info) = find(store, &run_id)?;
    if info.lifecycle_stage != DELETED {
        return Err(ApiError::invalid(format!(
            "the run `{run_id}` is not deleted; only deleted runs are removed for good"
        )));
    }
    store.db.run("DELETE FROM runs WHERE id = ?", values![run])?;
    Ok(json!({}))
}

/// All that runs have logged, in the order of `infos`.
pub(crate) fn whole(store: &mut Store<'_>, infos: Vec<(i64, RunInfo)>) -> Result<Vec<Run>, ApiError> {
    let places: HashMap<i64, usize> = infos.iter().enumerate().map(|(place, (run, _))| (*run, place)).collect();
    let ids = numbers(infos.iter().map(|(run, _)| *run));
    let ids = values![&ids];
    let among = store.among();
    let empty =
        |info| Run { info, data: RunData::default(), inputs: RunInputs::default(), outputs: RunOutputs::default() };
    let mut runs: Vec<Run> = infos.into_iter().map(|(_, info)| empty(info)).collect();
    let mut add = |row: &dyn Row, put: &dyn Fn(&mut Run, &dyn Row)| {
        if let Some(place) = places.get(&row.int(0)) {
            put(&mut runs[*place], row);
        }
    };
    let pair = |row: &dyn Row| Pair { key: row.string(1), value: row.string(2) };
    let sql = format!(
        "SELECT run, name, value, is_nan, timestamp, step FROM latest_metrics WHERE run {among} ORDER BY run, name"
    );
    store.db.read(&sql, ids, &mut |row| {
        add(row, &|run, row| {
            let value = if row.int(3) == 1 { f64::NAN } else { row.real(2) };
            run.data.metrics.push(Metric { key: row.string(1), value, timestamp: row.int(4), step: row.int(5) });
        });
    })?;
    let sql = format!("SELECT run, name, value FROM params WHERE run {among} ORDER BY run, name");
    store.db.read(&sql, ids, &mut |row| add(row, &|run, row| run.data.params.push(pair(row))))?;
    let sql = format!("SELECT run, name, value FROM tags WHERE run {among} ORDER BY run, name");
    store.db.read(&sql, ids, &mut |row| add(row, &|run, row| run.data.tags.push(pair(row))))?;
    let sql =
        format!("SELECT run, kind, model_id, step FROM run_models WHERE run {among} ORDER BY run, kind, model_id");
    store.db.read(&sql, ids, &mut |row| {
        add(row, &|run, row| match row.int(1) {
            0 => run.inputs.model_inputs.push(ModelInput { model_id: row.string(2) }),
            _ => run.outputs.model_outputs.push(ModelOutput { model_id: row.string(2), step: row.int(3) }),
        });
    })?;
    let sql = format!("{} WHERE i.run {among} ORDER BY i.run, d.id", datasets::INPUTS);
    store
        .db
        .read(&sql, ids, &mut |row| add(row, &|run, row| run.inputs.dataset_inputs.push(datasets::read_input(row))))?;
    Ok(runs)
}
