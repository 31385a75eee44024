//! Versions of registered models.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Store, logged_models, numbers, order, page, registry};
use crate::database::Row;
use crate::error::ApiError;
use crate::filter::{Clause, Entity, Kind, parse};
use crate::request::Request;
use crate::{validate, values};

/// Versions on a page where nothing else is asked for.
const PAGE: i64 = 10_000;

/// The stages of old; aliases have taken their place.
const STAGES: [&str; 4] = ["None", "Staging", "Production", "Archived"];

const SELECT: &str = "SELECT v.model, v.version, v.created, v.updated, v.user_id, v.stage, v.description, v.source, v.storage, v.run_id, v.run_link, v.model_id, v.status, m.name FROM model_versions v JOIN registered_models m ON m.id = v.model";

/// A version.
pub(crate) struct Version {
    pub model: i64,
    pub version: i64,
    pub stage: String,
    name: String,
    created: i64,
    updated: i64,
    user: String,
    description: String,
    source: String,
    storage: String,
    run_id: String,
    run_link: String,
    model_id: String,
    status: String,
    tags: Vec<(String, String)>,
    aliases: Vec<String>,
}

impl Version {
    fn read(row: &dyn Row) -> Version {
        Version {
            model: row.int(0),
            version: row.int(1),
            created: row.int(2),
            updated: row.int(3),
            user: row.string(4),
            stage: row.string(5),
            description: row.string(6),
            source: row.string(7),
            storage: row.string(8),
            run_id: row.string(9),
            run_link: row.string(10),
            model_id: row.string(11),
            status: row.string(12),
            name: row.string(13),
            tags: Vec::new(),
            aliases: Vec::new(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "name": self.name, "version": self.version.to_string(), "creation_timestamp": self.created,
            "last_updated_timestamp": self.updated, "current_stage": self.stage, "source": self.source, "status": self.status,
        });
        for (name, text) in [
            ("description", &self.description),
            ("user_id", &self.user),
            ("run_id", &self.run_id),
            ("run_link", &self.run_link),
            ("model_id", &self.model_id),
        ] {
            if !text.is_empty() {
                value[name] = text.as_str().into();
            }
        }
        if !self.tags.is_empty() {
            value["tags"] = self.tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        }
        if !self.aliases.is_empty() {
            value["aliases"] = self.aliases.clone().into();
        }
        value
    }
}

fn with_data(store: &mut Store<'_>, versions: &mut [Version]) -> Result<(), ApiError> {
    let among = store.among();
    let ids = numbers(versions.iter().map(|version| version.model));
    let mut tags: BTreeMap<(i64, i64), Vec<(String, String)>> = BTreeMap::new();
    let sql = format!("SELECT model, version, name, value FROM model_version_tags WHERE model {among} ORDER BY name");
    store.db.read(&sql, values![&ids], &mut |row| {
        tags.entry((row.int(0), row.int(1))).or_default().push((row.string(2), row.string(3)));
    })?;
    let mut aliases: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
    let sql = format!("SELECT model, version, alias FROM registered_model_aliases WHERE model {among} ORDER BY alias");
    store.db.read(&sql, values![&ids], &mut |row| {
        aliases.entry((row.int(0), row.int(1))).or_default().push(row.string(2));
    })?;
    for version in versions {
        version.tags = tags.remove(&(version.model, version.version)).unwrap_or_default();
        version.aliases = aliases.remove(&(version.model, version.version)).unwrap_or_default();
    }
    Ok(())
}

/// The version of a model by its number.
///
/// # Errors
/// There is none, or the number is none.
pub(crate) fn find(store: &mut Store<'_>, name: &str, version: &str) -> Result<Version, ApiError> {
    let number: i64 =
        version.parse().map_err(|_| ApiError::invalid(format!("the version `{version}` is not a whole number")))?;
    let found = store.db.first(
        &format!("{SELECT} WHERE m.name = ? AND v.version = ?"),
        values![name, number],
        Version::read,
    )?;
    found.ok_or_else(|| ApiError::missing(format!("the registered model `{name}` has no version {number}")))
}

pub(crate) fn answer(store: &mut Store<'_>, name: &str, version: &str) -> Result<Value, ApiError> {
    let mut found = [find(store, name, version)?];
    with_data(store, &mut found)?;
    Ok(json!({"model_version": found[0].to_json()}))
}

/// The last version of each stage of some models, which are given as a list of numbers.
pub(crate) fn latest(store: &mut Store<'_>, models: &str) -> Result<Vec<Version>, ApiError> {
    let sql = format!("{SELECT} WHERE v.model {} ORDER BY v.model, v.version", store.among());
    let mut last: BTreeMap<(i64, String), Version> = BTreeMap::new();
    store.db.read(&sql, values![models], &mut |row| {
        let version = Version::read(row);
        last.insert((version.model, version.stage.clone()), version);
    })?;
    let mut found: Vec<Version> = last.into_values().collect();
    with_data(store, &mut found)?;
    Ok(found)
}

/// `model-versions/create`. A source `models:/m-…` is a logged model.
pub fn create(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (name, source) = (request.required("name")?, request.required("source")?);
    let tags = request.pairs("tags")?;
    tags.iter().try_for_each(|(name, value)| validate::registry_tag(name, value))?;
    if source.contains("..") || source.contains("%2e") || source.contains("%2E") {
        return Err(ApiError::invalid(format!("the source `{source}` leads out of where artifacts are kept")));
    }
    let description = request.text("description")?.unwrap_or_default();
    let mut run_id = request.text("run_id")?.unwrap_or_default();
    let run_link = request.text("run_link")?.unwrap_or_default();
    let user = request.text("user_id")?.unwrap_or_default();
    let model = registry::find(store, &name)?;
    let mut model_id = request.text("model_id")?.unwrap_or_default();
    let mut storage = source.clone();
    if let Some(id) = source.strip_prefix("models:/").filter(|id| id.starts_with("m-")) {
        storage = logged_models::artifact_uri(store, id)?;
        model_id = id.to_owned();
    }
    if run_id.is_empty() && !model_id.is_empty() {
        let sql = "SELECT source_run_id FROM logged_models WHERE model_id = ?";
        run_id = store.db.first(sql, values![&model_id], |row| row.string(0))?.unwrap_or_default();
    }
    let number = store.db.first(
        "UPDATE registered_models SET last_version = last_version + 1, updated = ? WHERE id = ? RETURNING last_version",
        values![store.now, model],
        |row| row.int(0),
    )?;
    let number = number.unwrap_or(1);
    store.db.run(
        "INSERT INTO model_versions (model, version, created, updated, user_id, stage, description, source, storage, run_id, run_link, model_id, status) VALUES (?, ?, ?, ?, ?, 'None', ?, ?, ?, ?, ?, ?, 'READY')",
        values![model, number, store.now, store.now, &user, &description, &source, &storage, &run_id, &run_link, &model_id],
    )?;
    for (tag, value) in &tags {
        set_one_tag(store, model, number, tag, value)?;
    }
    answer(store, &name, &number.to_string())
}

fn set_one_tag(store: &mut Store<'_>, model: i64, version: i64, name: &str, value: &str) -> Result<(), ApiError> {
    store.db.run(
        "INSERT INTO model_version_tags (model, version, name, value) VALUES (?, ?, ?, ?) ON CONFLICT (model, version, name) DO UPDATE SET value = excluded.value",
        values![model, version, name, value],
    )?;
    Ok(())
}

fn named(store: &mut Store<'_>, request: &Request) -> Result<Version, ApiError> {
    find(store, &request.required("name")?, &request.required("version")?)
}

/// `model-versions/get`.
pub fn get(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    answer(store, &request.required("name")?, &request.required("version")?)
}

/// `model-versions/update`: the description.
pub fn update(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let version = named(store, request)?;
    if let Some(description) = request.text("description")? {
        store.db.run(
            "UPDATE model_versions SET description = ? WHERE model = ? AND version = ?",
            values![&description, version.model, version.version],
        )?;
    }
    touch(store, &version)?;
    answer(store, &version.name, &version.version.to_string())
}

fn touch(store: &mut Store<'_>, version: &Version) -> Result<(), ApiError> {
    let sql = "UPDATE model_versions SET updated = ? WHERE model = ? AND version = ?";
    store.db.run(sql, values![store.now, version.model, version.version])?;
    registry::touch(store, version.model)
}

/// `model-versions/delete`. Its number is not given again.
pub fn delete(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let version = named(store, request)?;
    let key = values![version.model, version.version];
    store.db.run("DELETE FROM registered_model_aliases WHERE model = ? AND version = ?", key)?;
    store.db.run("DELETE FROM model_versions WHERE model = ? AND version = ?", key)?;
    registry::touch(store, version.model)?;
    Ok(json!({}))
}

/// `model-versions/transition-stage`.
pub fn transition(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let asked = request.required("stage")?;
    let stage = STAGES.iter().find(|stage| stage.eq_ignore_ascii_case(&asked));
    let stage = *stage.ok_or_else(|| ApiError::invalid(format!("no stage `{asked}`: {}", STAGES.join(", "))))?;
    let version = named(store, request)?;
    if request.is_on("archive_existing_versions") && matches!(stage, "Staging" | "Production") {
        store.db.run(
            "UPDATE model_versions SET stage = 'Archived', updated = ? WHERE model = ? AND stage = ? AND version <> ?",
            values![store.now, version.model, stage, version.version],
        )?;
    }
    store.db.run(
        "UPDATE model_versions SET stage = ? WHERE model = ? AND version = ?",
        values![stage, version.model, version.version],
    )?;
    touch(store, &version)?;
    answer(store, &version.name, &version.version.to_string())
}

/// `model-versions/get-download-uri`.
pub fn download_uri(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    Ok(json!({"artifact_uri": named(store, request)?.storage}))
}

/// `model-versions/set-tag`.
pub fn set_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let (key, value) = (request.required("key")?, request.text("value")?.unwrap_or_default());
    validate::registry_tag(&key, &value)?;
    let version = named(store, request)?;
    set_one_tag(store, version.model, version.version, &key, &value)?;
    Ok(json!({}))
}

/// `model-versions/delete-tag`.
pub fn delete_tag(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let key = request.required("key")?;
    let version = named(store, request)?;
    store.db.run(
        "DELETE FROM model_version_tags WHERE model = ? AND version = ? AND name = ?",
        values![version.model, version.version, &key],
    )?;
    Ok(json!({}))
}

/// `model-versions/search`.
pub fn search(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let clauses = parse(&request.text("filter")?.unwrap_or_default())?;
    clauses.iter().try_for_each(check)?;
    let known = ["name", "version_number", "creation_timestamp", "last_updated_timestamp"];
    let orders = order::asked(request, "versions", &known)?;
    let mut found = store.db.all(&format!("{SELECT} ORDER BY v.model, v.version"), &[], Version::read)?;
    if clauses.iter().any(|clause| clause.key.entity == Entity::Tag) {
        with_data(store, &mut found)?;
    }
    found.retain(|version| clauses.iter().all(|clause| holds(version, clause)));
    let by = |name: &str, a: &Version, b: &Version| match name {
        "name" => a.name.cmp(&b.name),
        "version_number" => a.version.cmp(&b.version),
        "creation_timestamp" => a.created.cmp(&b.created),
        _ => a.updated.cmp(&b.updated),
    };
    order::sort(&mut found, &orders, by, |a, b| {
        b.updated.cmp(&a.updated).then_with(|| a.name.cmp(&b.name)).then_with(|| b.version.cmp(&a.version))
    });
    let token = request.text("page_token")?;
    let (mut found, next) = page::cut(found, token.as_deref(), request.max_results(PAGE)?)?;
    with_data(store, &mut found)?;
    Ok(page::answer("model_versions", found.iter().map(Version::to_json).collect(), next))
}

fn check(clause: &Clause) -> Result<(), ApiError> {
    match (clause.key.entity, clause.key.name.as_str()) {
        (Entity::Tag, _) => clause.check(Kind::OptionalText),
        (Entity::Attribute, "name" | "run_id" | "source_path" | "model_id" | "stage") => clause.check(Kind::Text),
        (Entity::Attribute, "version_number") => clause.check(Kind::Number),
        (_, name) => Err(ApiError::invalid(format!(
            "versions cannot be searched by `{name}`: name, run_id, source_path, version_number or tags"
        ))),
    }
}

fn holds(version: &Version, clause: &Clause) -> bool {
    match (clause.key.entity, clause.key.name.as_str()) {
        (Entity::Tag, _) => registry::tag_holds(&version.tags, clause),
        (_, "name") => clause.matches_text(Some(&version.name)),
        (_, "run_id") => clause.matches_text(Some(&version.run_id)),
        (_, "model_id") => clause.matches_text(Some(&version.model_id)),
        (_, "stage") => clause.matches_text(Some(&version.stage)),
        (_, "version_number") => clause.matches_number(Some(version.version as f64)),
        _ => clause.matches_text(Some(&version.source)),
    }
}
