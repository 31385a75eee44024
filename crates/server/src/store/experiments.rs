//! Experiments: what runs belong to.

use serde_json::{Value, json};

use super::{ACTIVE, ARTIFACT_ROOT, DELETED, Store, View, numbers, order, page};
use crate::database::Row;
use crate::error::ApiError;
use crate::filter::{Clause, Entity, Kind, parse};
use crate::request::Request;
use crate::{validate, values};

/// Experiments on a page where nothing else is asked for.
const PAGE: i64 = 1000;

const COLUMNS: &str = "id, name, artifact_location, lifecycle_stage, creation_time, last_update_time";

/// An experiment.
pub(crate) struct Experiment {
    pub id: i64,
    pub name: String,
    pub artifact_location: String,
    pub stage: String,
    pub created: i64,
    pub updated: i64,
    tags: Vec<(String, String)>,
}

impl Experiment {
    fn read(row: &dyn Row) -> Experiment {
        Experiment {
            id: row.int(0),
            name: row.string(1),
            artifact_location: row.string(2),
            stage: row.string(3),
            created: row.int(4),
            updated: row.int(5),
            tags: Vec::new(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "experiment_id": self.id.to_string(), "name": self.name, "artifact_location": self.artifact_location,
            "lifecycle_stage": self.stage, "creation_time": self.created, "last_update_time": self.updated,
            "workspace": "default",
        });
        if !self.tags.is_empty() {
            value["tags"] = self.tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        }
        value
    }
}

/// The number of an experiment's id.
///
/// # Errors
/// It is no number.
pub(crate) fn number(id: &str) -> Result<i64, ApiError> {
    id.parse().map_err(|_| ApiError::invalid(format!("the experiment id `{id}` is not a whole number")))
}

pub(crate) fn create_default(store: &mut Store<'_>) -> Result<(), ApiError> {
    if store.db.first("SELECT id FROM experiments LIMIT 1", &[], |_| ())?.is_none() {
        store.db.run(
            "INSERT INTO experiments (id, name, artifact_location, lifecycle_stage, creation_time, last_update_time) VALUES (0, 'Default', ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            values![&format!("{ARTIFACT_ROOT}0"), ACTIVE, store.now, store.now],
        )?;
    }
    Ok(())
}

/// The experiment of a number.
///
/// # Errors
/// There is none.
pub(crate) fn by_number(store: &mut Store<'_>, id: i64) -> Result<Experiment, ApiError> {
    let found =
        store.db.first(&format!("SELECT {COLUMNS} FROM experiments WHERE id = ?"), values![id], Experiment::read)?;
    found.ok_or_else(|| ApiError::missing(format!("no experiment with the id {id}")))
}

fn by_name(store: &mut Store<'_>, name: &str) -> Result<Option<Experiment>, ApiError> {
    store.db.first(&format!("SELECT {COLUMNS} FROM experiments WHERE name = ?"), values![name], Experiment::read)
}

fn active(store: &mut Store<'_>, id: i64) -> Result<Experiment, ApiError> {
    let found = by_number(store, id)?;
    match found.stage == ACTIVE {
        true => Ok(found),
        false => Err(ApiError::invalid(format!("the experiment {id} is deleted; restore it first"))),
    }
}

/// The experiment that a call names, if it is not deleted.
pub(crate) fn active_of(store: &mut Store<'_>, request: &Request) -> Result<Experiment, ApiError> {
    let id = number(&request.required("experiment_id")?)?;
    active(store, id)
}

/// `experiments/create`.
pub fn create(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let name = request.required("name")?;
    validate::experiment_name(&name)?;
    let tags = request.pairs("tags")?;
    tags.iter().try_for_each(|(name, value)| validate::experiment_tag(name, value))?;
    if let Some(there) = by_name(store, &name)? {
        let state = if there.stage == DELETED { ", but is deleted; restore it or choose another name" } else { "" };
        return Err(ApiError::exists(format!("an experiment `{name}` exists already{state}")));
    }
    // A server that runs gives the times itself; an import brings its own.
    let created = request.int("creation_time")?.unwrap_or(store.now);
    let updated = request.int("last_update_time")?.unwrap_or(created);
    let location = request.filled("artifact_location")?;
    let id = store.db.first(
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
        values![&name, location.as_deref().unwrap_or(""), ACTIVE, created, updated],
        |row| row.int(0),
    )?;
    let Some(id) = id else { return Err(ApiError::exists(format!("an experiment `{name}` exists already"))) };
    if location.is_none() {
        let location = format!("{ARTIFACT_ROOT}{id}");
        store.db.run("UPDATE experiments SET artifact_location = ? WHERE id = ?", values![&location, id])?;
    }
    set_tags(store, id, &tags)?;
    Ok(json!({"experiment_id": id.to_string()}))
}

fn set_tags(store: &mut Store<'_>, id: i64, tags: &[(String, String)]) -> Result<(), ApiError> {
    let rows: Vec<_> = tags.iter().map(|(name, value)| vec![id.into(), name.into(), value.into()]).collect();
    store.db.run_many(
        "INSERT INTO experiment_tags (experiment, name, value) VALUES (?, ?, ?) ON CONFLICT (experiment, name) DO UPDATE SET value = excluded.value",
        &rows,
    )
}

fn with_tags(store: &mut Store<'_>, experiments: &mut [Experiment]) -> Result<(), ApiError> {
    let ids = numbers(experiments.iter().map(|experiment| experiment.id));
    let sql = format!(
        "SELECT experiment, name, value FROM experiment_tags WHERE experiment {} ORDER BY experiment, name",
        store.among()
    );
    let tags = store.db.all(&sql, values![&ids], |row| (row.int(0), row.string(1), row.string(2)))?;
    for (id, name, value) in tags {
        if let Some(experiment) = experiments.iter_mut().find(|experiment| experiment.id == id) {
            experiment.tags.push((name, value));
        }
    }
    Ok(())
}

/// `experiments/get`.
pub fn get(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let mut found = [by_number(store, number(&request.required("experiment_id")?)?)?];
    with_tags(store, &mut found)?;
    Ok(json!({"experiment": found[0].to_json()}))
}

/// `experiments/get-by-name`.
pub fn get_by_name(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let name = request.required("experiment_name")?;
    let found = by_name(store, &name)?;
    let mut found = [found.ok_or_else(|| ApiError::missing(format!("no experiment with the name `{name}`")))?];
    with_tags(store, &mut found)?;
    Ok(json!({"experiment": found[0].to_json()}))
}

/// `experiments/update`: a new name.
pub fn update(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let found = active_of(store, request)?;
    if let Some(name) = request.filled("new_name")? {
        validate::experiment_name(&name)?;
        if by_name(store, &name)?.is_some_and(|other| other.id != found.id) {
            return Err(ApiError::exists(format!("an experiment `{name}` exists already")));
        }
        store.db.run(
            "UPDATE experiments SET name = ?, last_update_time = ? WHERE id = ?",
            values![&name, store.now, found.id],
        )?;
    }
    Ok(json!({}))
}

/// `experiments/delete`: its runs go with it.
pub fn delete(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let found = active_of(store, request)?;
    set_stage(store, found.id, DELETED)?;
    store.db.run(
        "UPDATE runs SET lifecycle_stage = ?, deleted_time = ? WHERE experiment = ? AND lifecycle_stage = ?",
        values![DELETED, store.now, found.id, ACTIVE],
    )?;
    Ok(json!({}))
}

/// `experiments/restore`: its runs come with it.
pub fn restore(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let found = by_number(store, number(&request.required("experiment_id")?)?)?;
    if found.stage != DELETED {
        return Err(ApiError::invalid(format!("the experiment {} is not deleted", found.id)));
    }
    set_stage(store, found.id, ACTIVE)?;
    store.db.run(
        "UPDATE runs SET lifecycle_stage = ?, deleted_time = NULL WHERE experiment = ? AND lifecycle_stage = ?",
        values![ACTIVE, found.id, DELETED],
    )?;
    Ok(json!({}))
}

fn set_stage(store: &mut Store<'_>, id: i64, stage: &str) -> Result<(), ApiError> {
    store.db.run(
        "UPDATE experiments SET lifecycle_stage = ?, last_update_time = ? WHERE id = ?",
        values![stage, store.now, id],
    )?;
    Ok(())
}

/// `experiments/set-experiment-tag`.
pub fn set_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (name, value) = (request.required("key")?, request.text("value")?.unwrap_or_default());
    validate::experiment_tag(&name, &value)?;
    let found = active_of(store, request)?;
    set_tags(store, found.id, &[(name, value)])?;
    Ok(json!({}))
}

/// `experiments/delete-experiment-tag`.
pub fn delete_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let name = request.required("key")?;
    let found = active_of(store, request)?;
    match store.db.run("DELETE FROM experiment_tags WHERE experiment = ? AND name = ?", values![found.id, &name])? {
        0 => Err(ApiError::missing(format!("the experiment {} has no tag `{name}`", found.id))),
        _ => Ok(json!({})),
    }
}

/// `experiments/search`.
pub fn search(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let view = View::parse(request.text("view_type")?.as_deref())?;
    let clauses = parse(&request.text("filter")?.unwrap_or_default())?;
    clauses.iter().try_for_each(check)?;
    let known = ["name", "experiment_id", "creation_time", "last_update_time"];
    let mut orders = order::asked(request, "experiments", &known)?;
    if orders.is_empty() {
        orders.push(("creation_time".to_owned(), false));
        orders.push(("experiment_id".to_owned(), true));
    }
    let mut found = store.db.all(&format!("SELECT {COLUMNS} FROM experiments ORDER BY id"), &[], Experiment::read)?;
    found.retain(|experiment| view.shows(&experiment.stage));
    if clauses.iter().any(|clause| clause.key.entity == Entity::Tag) {
        with_tags(store, &mut found)?;
        found.retain(|experiment| clauses.iter().all(|clause| holds(experiment, clause)));
        found.iter_mut().for_each(|experiment| experiment.tags.clear());
    } else {
        found.retain(|experiment| clauses.iter().all(|clause| holds(experiment, clause)));
    }
    let by = |name: &str, a: &Experiment, b: &Experiment| match name {
        "name" => a.name.cmp(&b.name),
        "creation_time" => a.created.cmp(&b.created),
        "last_update_time" => a.updated.cmp(&b.updated),
        _ => a.id.cmp(&b.id),
    };
    order::sort(&mut found, &orders, by, |a, b| b.id.cmp(&a.id));
    let token = request.text("page_token")?;
    let (mut found, next) = page::cut(found, token.as_deref(), request.max_results(PAGE)?)?;
    with_tags(store, &mut found)?;
    Ok(page::answer("experiments", found.iter().map(Experiment::to_json).collect(), next))
}

fn check(clause: &Clause) -> Result<(), ApiError> {
    match (clause.key.entity, clause.key.name.as_str()) {
        (Entity::Tag, _) => clause.check(Kind::OptionalText),
        (Entity::Attribute, "name" | "experiment_id") => clause.check(Kind::Text),
        (Entity::Attribute, "creation_time" | "last_update_time") => clause.check(Kind::Number),
        (_, name) => Err(ApiError::invalid(format!(
            "experiments cannot be searched by `{name}`: name, experiment_id, creation_time, last_update_time or tags"
        ))),
    }
}

fn holds(experiment: &Experiment, clause: &Clause) -> bool {
    let name = clause.key.name.as_str();
    match (clause.key.entity, name) {
        (Entity::Tag, _) => {
            let tag = experiment.tags.iter().find(|(key, _)| key == name);
            clause.matches_text(tag.map(|(_, value)| value.as_str()))
        }
        (_, "name") => clause.matches_text(Some(&experiment.name)),
        (_, "creation_time") => clause.matches_number(Some(experiment.created as f64)),
        (_, "last_update_time") => clause.matches_number(Some(experiment.updated as f64)),
        _ => clause.matches_text(Some(&experiment.id.to_string())),
    }
}
