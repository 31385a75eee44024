//! The model registry: names under which versions of models are kept.

use serde_json::{Value, json};

use super::versions::{self, Version};
use super::{Store, numbers, order, page};
use crate::database::Row;
use crate::error::ApiError;
use crate::filter::{Clause, Entity, Kind, Operator, parse};
use crate::request::Request;
use crate::{validate, values};

/// Models on a page where nothing else is asked for.
const PAGE: i64 = 100;

/// The tag that marks prompts, which MLflow keeps among models. Its pages ask for models where it is not `true`.
const IS_PROMPT: &str = "mlflow.prompt.is_prompt";

const COLUMNS: &str = "id, name, description, created, updated";

struct Model {
    id: i64,
    name: String,
    description: String,
    created: i64,
    updated: i64,
    tags: Vec<(String, String)>,
    aliases: Vec<(String, i64)>,
    latest: Vec<Value>,
}

impl Model {
    fn read(row: &dyn Row) -> Model {
        Model {
            id: row.int(0),
            name: row.string(1),
            description: row.string(2),
            created: row.int(3),
            updated: row.int(4),
            tags: Vec::new(),
            aliases: Vec::new(),
            latest: Vec::new(),
        }
    }

    fn to_json(&self) -> Value {
        let mut value =
            json!({"name": self.name, "creation_timestamp": self.created, "last_updated_timestamp": self.updated});
        if !self.description.is_empty() {
            value["description"] = self.description.as_str().into();
        }
        if !self.latest.is_empty() {
            value["latest_versions"] = self.latest.clone().into();
        }
        if !self.tags.is_empty() {
            value["tags"] = self.tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        }
        if !self.aliases.is_empty() {
            let alias = |(alias, version): &(String, i64)| json!({"alias": alias, "version": version.to_string()});
            value["aliases"] = self.aliases.iter().map(alias).collect();
        }
        value
    }
}

/// The number of the model with a name.
///
/// # Errors
/// There is none.
pub(crate) fn find(store: &mut Store<'_>, name: &str) -> Result<i64, ApiError> {
    let found = store.db.first("SELECT id FROM registered_models WHERE name = ?", values![name], |row| row.int(0))?;
    found.ok_or_else(|| ApiError::missing(format!("no registered model with the name `{name}`")))
}

/// Notes that a model changed.
pub(crate) fn touch(store: &mut Store<'_>, model: i64) -> Result<(), ApiError> {
    store.db.run("UPDATE registered_models SET updated = ? WHERE id = ?", values![store.now, model])?;
    Ok(())
}

fn answer(store: &mut Store<'_>, name: &str) -> Result<Value, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM registered_models WHERE name = ?");
    let found = store.db.first(&sql, values![name], Model::read)?;
    let mut found = [found.ok_or_else(|| ApiError::missing(format!("no registered model with the name `{name}`")))?];
    with_data(store, &mut found)?;
    Ok(json!({"registered_model": found[0].to_json()}))
}

fn with_tags(store: &mut Store<'_>, models: &mut [Model]) -> Result<(), ApiError> {
    let ids = numbers(models.iter().map(|model| model.id));
    let sql = format!(
        "SELECT model, name, value FROM registered_model_tags WHERE model {} ORDER BY model, name",
        store.among()
    );
    store.db.read(&sql, values![&ids], &mut |row| {
        if let Some(model) = models.iter_mut().find(|model| model.id == row.int(0)) {
            model.tags.push((row.string(1), row.string(2)));
        }
    })
}

fn with_data(store: &mut Store<'_>, models: &mut [Model]) -> Result<(), ApiError> {
    with_tags(store, models)?;
    let ids = numbers(models.iter().map(|model| model.id));
    let sql = format!(
        "SELECT model, alias, version FROM registered_model_aliases WHERE model {} ORDER BY model, alias",
        store.among()
    );
    store.db.read(&sql, values![&ids], &mut |row| {
        if let Some(model) = models.iter_mut().find(|model| model.id == row.int(0)) {
            model.aliases.push((row.string(1), row.int(2)));
        }
    })?;
    for version in versions::latest(store, &ids)? {
        if let Some(model) = models.iter_mut().find(|model| model.id == version.model) {
            model.latest.push(version.to_json());
        }
    }
    Ok(())
}

/// `registered-models/create`.
pub fn create(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let name = request.required("name")?;
    validate::model_name(&name)?;
    let tags = request.pairs("tags")?;
    tags.iter().try_for_each(|(name, value)| validate::registry_tag(name, value))?;
    let description = request.text("description")?.unwrap_or_default();
    let exists = || ApiError::exists(format!("a registered model `{name}` exists already"));
    if store.db.first("SELECT id FROM registered_models WHERE name = ?", values![&name], |_| ())?.is_some() {
        return Err(exists());
    }
    let id = store.db.first(
        "INSERT INTO registered_models (name, description, created, updated, last_version) VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING RETURNING id",
        values![&name, &description, store.now, store.now],
        |row| row.int(0),
    )?;
    let id = id.ok_or_else(exists)?;
    for (tag, value) in &tags {
        set_one_tag(store, id, tag, value)?;
    }
    answer(store, &name)
}

fn set_one_tag(store: &mut Store<'_>, model: i64, name: &str, value: &str) -> Result<(), ApiError> {
    store.db.run(
        "INSERT INTO registered_model_tags (model, name, value) VALUES (?, ?, ?) ON CONFLICT (model, name) DO UPDATE SET value = excluded.value",
        values![model, name, value],
    )?;
    Ok(())
}

/// `registered-models/get`.
pub fn get(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    answer(store, &request.required("name")?)
}

/// `registered-models/rename`.
pub fn rename(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (name, new) = (request.required("name")?, request.required("new_name")?);
    validate::model_name(&new)?;
    let model = find(store, &name)?;
    if new != name
        && store.db.first("SELECT id FROM registered_models WHERE name = ?", values![&new], |_| ())?.is_some()
    {
        return Err(ApiError::exists(format!("a registered model `{new}` exists already")));
    }
    store.db.run("UPDATE registered_models SET name = ?, updated = ? WHERE id = ?", values![&new, store.now, model])?;
    answer(store, &new)
}

/// `registered-models/update`: the description.
pub fn update(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let name = request.required("name")?;
    let model = find(store, &name)?;
    if let Some(description) = request.text("description")? {
        store.db.run("UPDATE registered_models SET description = ? WHERE id = ?", values![&description, model])?;
    }
    touch(store, model)?;
    answer(store, &name)
}

/// `registered-models/delete`, with its versions.
pub fn delete(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let model = find(store, &request.required("name")?)?;
    store.db.run("DELETE FROM registered_models WHERE id = ?", values![model])?;
    Ok(json!({}))
}

/// `registered-models/set-tag`.
pub fn set_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (key, value) = (request.required("key")?, request.text("value")?.unwrap_or_default());
    validate::registry_tag(&key, &value)?;
    let model = find(store, &request.required("name")?)?;
    set_one_tag(store, model, &key, &value)?;
    Ok(json!({}))
}

/// `registered-models/delete-tag`.
pub fn delete_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let key = request.required("key")?;
    let model = find(store, &request.required("name")?)?;
    store.db.run("DELETE FROM registered_model_tags WHERE model = ? AND name = ?", values![model, &key])?;
    Ok(json!({}))
}

/// `POST registered-models/alias`.
pub fn set_alias(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (name, alias) = (request.required("name")?, request.required("alias")?);
    validate::alias(&alias)?;
    let version = versions::find(store, &name, &request.required("version")?)?;
    store.db.run(
        "INSERT INTO registered_model_aliases (model, alias, version) VALUES (?, ?, ?) ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
        values![version.model, &alias, version.version],
    )?;
    Ok(json!({}))
}

/// `DELETE registered-models/alias`.
pub fn delete_alias(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let alias = request.required("alias")?;
    let model = find(store, &request.required("name")?)?;
    store.db.run("DELETE FROM registered_model_aliases WHERE model = ? AND alias = ?", values![model, &alias])?;
    Ok(json!({}))
}

/// `GET registered-models/alias`: the version that an alias names.
pub fn by_alias(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (name, alias) = (request.required("name")?, request.required("alias")?);
    let model = find(store, &name)?;
    let version = store.db.first(
        "SELECT version FROM registered_model_aliases WHERE model = ? AND alias = ?",
        values![model, &alias],
        |row| row.int(0),
    )?;
    // In MLflow's words: its clients tell by them that the alias is free.
    let version = version.ok_or_else(|| ApiError::invalid(format!("Registered model alias {alias} not found.")))?;
    versions::answer(store, &name, &version.to_string())
}

/// `registered-models/get-latest-versions`: the last version of each stage.
pub fn latest_versions(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let stages = request.texts("stages")?;
    let model = find(store, &request.required("name")?)?;
    let found = versions::latest(store, &numbers([model]))?;
    let wanted =
        |version: &Version| stages.is_empty() || stages.iter().any(|stage| stage.eq_ignore_ascii_case(&version.stage));
    Ok(page::answer(
        "model_versions",
        found.iter().filter(|version| wanted(version)).map(Version::to_json).collect(),
        None,
    ))
}

/// `registered-models/search`.
pub fn search(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let clauses = parse(&request.text("filter")?.unwrap_or_default())?;
    clauses.iter().try_for_each(check)?;
    let known = ["name", "creation_timestamp", "last_updated_timestamp", "timestamp"];
    let orders = order::asked(request, "registered models", &known)?;
    let sql = format!("SELECT {COLUMNS} FROM registered_models ORDER BY name");
    let mut found = store.db.all(&sql, &[], Model::read)?;
    with_tags(store, &mut found)?;
    found.retain(|model| clauses.iter().all(|clause| holds(model, clause)));
    found.iter_mut().for_each(|model| model.tags.clear());
    let by = |name: &str, a: &Model, b: &Model| match name {
        "name" => a.name.cmp(&b.name),
        "creation_timestamp" => a.created.cmp(&b.created),
        _ => a.updated.cmp(&b.updated),
    };
    order::sort(&mut found, &orders, by, |a, b| a.name.cmp(&b.name));
    let token = request.text("page_token")?;
    let (mut found, next) = page::cut(found, token.as_deref(), request.max_results(PAGE)?)?;
    with_data(store, &mut found)?;
    Ok(page::answer("registered_models", found.iter().map(Model::to_json).collect(), next))
}

fn check(clause: &Clause) -> Result<(), ApiError> {
    match (clause.key.entity, clause.key.name.as_str()) {
        (Entity::Tag, _) => clause.check(Kind::OptionalText),
        (Entity::Attribute, "name") => clause.check(Kind::Text),
        (_, name) => Err(ApiError::invalid(format!("registered models cannot be searched by `{name}`: name or tags"))),
    }
}

fn holds(model: &Model, clause: &Clause) -> bool {
    match clause.key.entity {
        Entity::Tag => tag_holds(&model.tags, clause),
        _ => clause.matches_text(Some(&model.name)),
    }
}

/// Whether tags are as a clause asks.
pub(crate) fn tag_holds(tags: &[(String, String)], clause: &Clause) -> bool {
    let value = tags.iter().find(|(key, _)| *key == clause.key.name).map(|(_, value)| value.as_str());
    let no_prompt = clause.key.name == IS_PROMPT && clause.operator == Operator::Unequal && value.is_none();
    no_prompt || clause.matches_text(value)
}
