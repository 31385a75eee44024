//! Registered models, their versions and aliases.

use std::path::Path;

use serde_json::{Value, json};

use super::run::Mapping;
use super::{CREATED_TAG, Moved, ORIGIN_TAG, SOURCE_TAG, Talk, folders, plain, read_json, tag, write_json};
use crate::Error;
use crate::client::{Client, encoded, pairs, tags_of, text_or_empty};

/// Most versions that are made and deleted again so that the next one gets its old number.
const MOST_FILLERS: u64 = 1000;

/// Exports registered models; with `wanted` runs and models only those that have a version from them.
pub(super) fn export(
    client: &Client,
    place: &Path,
    wanted: Option<(&[String], &[String])>,
    talk: &Talk,
    moved: &mut Moved,
) -> Result<(), Error> {
    for model in client.all("registered-models/search", "registered_models", json!({"max_results": "100"}), true)? {
        talk.check()?;
        let name = text_or_empty(&model, "name");
        let filter = format!("name = '{}'", name.replace('\'', "''"));
        let search = json!({"filter": filter, "max_results": "1000"});
        let mut versions = client.all("model-versions/search", "model_versions", search, true)?;
        if let Some((runs, models)) = wanted {
            versions.retain(|version| {
                runs.contains(&text_or_empty(version, "run_id")) || models.contains(&text_or_empty(version, "model_id"))
            });
            if versions.is_empty() {
                continue;
            }
        }
        versions.sort_by_key(number);
        // A search leaves the aliases out.
        let query = [("name", name.as_str())];
        let model = client.get("registered-models/get", &query)?["registered_model"].take();
        (talk.tell)(&format!("registered model {name}: {} versions", versions.len()));
        let place = place.join(encoded(&name));
        write_json(&place.join("versions.json"), &json!(versions))?;
        write_json(&place.join("model.json"), &model)?;
        moved.registered += 1;
        moved.versions += versions.len() as u64;
    }
    Ok(())
}

fn number(version: &Value) -> u64 {
    plain(&version["version"]).parse().unwrap_or_default()
}

/// Imports registered models: versions keep their numbers where the target has none of its own in the way.
pub(super) fn import(
    client: &Client,
    place: &Path,
    source: &str,
    mapping: &mut Mapping,
    talk: &Talk,
    moved: &mut Moved,
) -> Result<(), Error> {
    for folder in folders(place)? {
        talk.check()?;
        let model = read_json(&place.join(&folder).join("model.json"))?;
        let versions = read_json(&place.join(&folder).join("versions.json"))?;
        let versions: Vec<&Value> = versions.as_array().into_iter().flatten().collect();
        let name = text_or_empty(&model, "name");
        let body =
            json!({"name": name, "description": text_or_empty(&model, "description"), "tags": pairs(&tags_of(&model))});
        let is_new = match client.post("registered-models/create", body) {
            Err(error) if error.is_existing() => false,
            made => made.map(|_| true)?,
        };
        (talk.tell)(&format!("registered model {name}: {} versions", versions.len()));
        let filter = format!("name = '{}'", name.replace('\'', "''"));
        let search = json!({"filter": filter, "max_results": "1000"});
        let there = client.all("model-versions/search", "model_versions", search, true)?;
        for old in versions {
            talk.check()?;
            let new = version(client, &name, old, source, &there, mapping)?;
            mapping.versions.insert(format!("{name}/{}", number(old)), new);
            moved.versions += 1;
        }
        for alias in model["aliases"].as_array().into_iter().flatten() {
            let (alias, old) = (text_or_empty(alias, "alias"), plain(&alias["version"]));
            let new = mapping.versions.get(&format!("{name}/{old}"));
            // An alias that stands for something on the target is the target's own.
            if let Some(new) = new
                && (is_new || client.version_by_alias(&name, &alias)?.is_none())
            {
                client.set_alias(&name, &alias, new)?;
            }
        }
        moved.registered += 1;
    }
    Ok(())
}

/// One version, found by its tag or made; gives its number.
fn version(
    client: &Client,
    name: &str,
    old: &Value,
    source: &str,
    there: &[Value],
    mapping: &Mapping,
) -> Result<String, Error> {
    let mut tags = tags_of(old);
    let origin = tag(&tags, ORIGIN_TAG).map_or_else(|| format!("{source}/{name}/{}", number(old)), str::to_owned);
    let own_origin = format!("{}/{name}/", client.base());
    let found = there.iter().find(|version| {
        let origin_there = tags_of(version);
        tag(&origin_there, ORIGIN_TAG) == Some(origin.as_str())
            || tag(&origin_there, ORIGIN_TAG).is_none() && origin == format!("{own_origin}{}", number(version))
    });
    if let Some(found) = found {
        return Ok(plain(&found["version"]));
    }
    for (key, value) in [(SOURCE_TAG, source), (ORIGIN_TAG, &origin), (CREATED_TAG, &plain(&old["creation_timestamp"]))]
    {
        tags.retain(|(known, _)| known != key);
        tags.push((key.to_owned(), value.to_owned()));
    }
    let mapped = |kind: &std::collections::BTreeMap<String, String>, field: &str| {
        let id = text_or_empty(old, field);
        kind.get(&id).cloned().unwrap_or(id)
    };
    let (run_id, model_id) = (mapped(&mapping.runs, "run_id"), mapped(&mapping.models, "model_id"));
    let mut body = json!({
        "name": name, "source": address(&text_or_empty(old, "source"), mapping), "tags": pairs(&tags),
        "description": text_or_empty(old, "description"),
    });
    // A run or model that was not exported has no place on the target.
    for (field, id, known) in [("run_id", run_id, &mapping.runs), ("model_id", model_id, &mapping.models)] {
        if known.values().any(|value| *value == id) {
            body[field] = json!(id);
        }
    }
    let create = |body: &Value| -> Result<Value, Error> {
        Ok(client.post("model-versions/create", body.clone())?["model_version"].take())
    };
    let mut made = create(&body)?;
    // Numbers are given in order: those between were deleted on the source, or lie before what was exported.
    let (wanted, first) = (number(old), number(&made));
    if first < wanted && wanted - first <= MOST_FILLERS {
        while number(&made) < wanted {
            let filler = json!({"name": name, "version": plain(&made["version"])});
            let next = create(&body)?;
            client.call("DELETE", "model-versions/delete", filler)?;
            made = next;
        }
    }
    let new = plain(&made["version"]);
    let stage = text_or_empty(old, "current_stage");
    if !matches!(stage.as_str(), "" | "None") {
        let body = json!({"name": name, "version": new, "stage": stage, "archive_existing_versions": false});
        client.post("model-versions/transition-stage", body)?;
    }
    Ok(new)
}

/// Where a version's files are on the target: by the new ids and addresses of what they belong to.
fn address(old: &str, mapping: &Mapping) -> String {
    if let Some(id) = old.strip_prefix("models:/").and_then(|id| mapping.models.get(id)) {
        return format!("models:/{id}");
    }
    if let Some((id, path)) = old.strip_prefix("runs:/").and_then(|rest| rest.split_once('/'))
        && let Some(id) = mapping.runs.get(id)
    {
        return format!("runs:/{id}/{path}");
    }
    let prefix = mapping.addresses.iter().rev().find_map(|(from, to)| Some((old.strip_prefix(from.as_str())?, to)));
    match prefix {
        Some((rest, to)) if !to.is_empty() && (rest.is_empty() || rest.starts_with('/')) => format!("{to}{rest}"),
        _ => old.to_owned(),
    }
}
