//! From a folder to a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::run::{self, Mapping};
use super::{
    CREATED_TAG, DIGEST_TAG, Moved, ORIGIN_TAG, SOURCE_TAG, Talk, files, folders, plain, read_json, registry, tag,
    write_json,
};
use crate::client::{Client, pairs, tags_of, text_or_empty};
use crate::record::MOST_PAIRS;
use crate::{Environment, Error, artifacts};

/// How an import is done.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Whether all that was brought is read back and compared: params, tags, every point, every byte.
    pub verify: bool,
}

/// A run of the export and where it is on the target.
struct Target {
    place: PathBuf,
    old: Value,
    id: String,
    artifact_uri: String,
    is_whole: bool,
}

struct Import<'a> {
    client: Client,
    environment: &'a Environment,
    source: String,
    options: ImportOptions,
    mapping: Mapping,
    moved: Moved,
}

/// Imports a folder that [`export`](super::export::export) wrote. What an earlier, perhaps interrupted import brought is found by its
/// tags and passed over where it is whole.
///
/// # Errors
/// Those of the way to the server and its stores, files of the export that are missing or damaged, experiments whose name is taken by a
/// deleted one, and [`Error::Differs`].
pub fn import(
    folder: &Path,
    uri: &str,
    environment: &Environment,
    options: ImportOptions,
    talk: &Talk,
) -> Result<Moved, Error> {
    let client = Client::new(uri, environment)?;
    let mark = folder.join("export.json");
    let known = read_json(&mark)?;
    if known["format"].as_u64() != Some(super::export::FORMAT) {
        return Err(Error::Damaged {
            path: mark,
            problem: format!("format {} is not known to this version", known["format"]),
            hint: "import with the version that exported it, or export again",
        });
    }
    let mapping = Mapping { target: client.base().to_owned(), ..Mapping::default() };
    let host: String =
        client.base().chars().map(|mark| if mark.is_alphanumeric() || mark == '.' { mark } else { '-' }).collect();
    let table = folder.join(format!("mapping-{host}.json"));
    let source = text_or_empty(&known, "source");
    let mut import = Import { client, environment, source, options, mapping, moved: Moved::default() };
    let ids = folders(&folder.join("experiments"))?;
    let mut targets = BTreeMap::new();
    // Every run and model is made before anything is filled: they name each other.
    for id in &ids {
        talk.check()?;
        let place = folder.join("experiments").join(id);
        let (experiment, was_deleted) = import.experiment(&read_json(&place.join("experiment.json"))?)?;
        let runs = import.runs(&experiment, &place, talk)?;
        import.models(&experiment, &place, talk)?;
        targets.insert(id.clone(), (experiment, was_deleted, runs));
        write_json(&table, &json!(import.mapping))?;
    }
    for (id, (experiment, was_deleted, runs)) in &targets {
        let name = text_or_empty(&read_json(&folder.join("experiments").join(id).join("experiment.json"))?, "name");
        let there = runs.iter().filter(|run| run.is_whole).count();
        (talk.tell)(&format!("experiment {name}: {} runs, {there} of them there already", runs.len()));
        for target in runs {
            talk.check()?;
            import.moved.runs += 1;
            if target.is_whole {
                import.moved.runs_there += 1;
                continue;
            }
            let ids = (target.id.as_str(), target.artifact_uri.as_str());
            let Import { client, environment, mapping, moved, .. } = &mut import;
            run::fill(client, environment, &target.place, ids, mapping, options.verify, moved)?;
        }
        if *was_deleted {
            import.client.post("experiments/delete", json!({"experiment_id": experiment}))?;
        }
        import.moved.experiments += 1;
    }
    let Import { client, source, mapping, moved, .. } = &mut import;
    registry::import(client, &folder.join("registry"), source, mapping, talk, moved)?;
    write_json(&table, &json!(import.mapping))?;
    Ok(import.moved)
}

impl Import<'_> {
    /// The experiment on the target, found by its name or made; and whether it is to be deleted again at the end.
    fn experiment(&mut self, old: &Value) -> Result<(String, bool), Error> {
        let name = text_or_empty(old, "name");
        let is_deleted = old["lifecycle_stage"] == "deleted";
        let tags = tags_of(old);
        let id = match self.client.experiment_by_name(&name)? {
            Some(found) if found.is_deleted && is_deleted => {
                self.client.post("experiments/restore", json!({"experiment_id": found.id}))?;
                found.id
            }
            Some(found) if found.is_deleted => {
                return Err(Error::Address {
                    uri: self.client.base().to_owned(),
                    problem: format!("experiment {name} ({}) is deleted there", found.id),
                    hint: "restore it with `mlflow experiments restore`, or delete it for good",
                });
            }
            // It is in use there: what is deleted at the source is not deleted here, unless an import that was cut off made it.
            Some(found) if is_deleted => {
                let is_of_import = self.is_of_import(&found.id, old)?;
                return self.known_experiment(old, found.id, is_of_import);
            }
            Some(found) => found.id,
            None => {
                let id = self.client.create_experiment(&name)?;
                let own = [
                    (SOURCE_TAG.to_owned(), self.source.clone()),
                    (ORIGIN_TAG.to_owned(), plain(&old["experiment_id"])),
                ];
                for (key, value) in tags.iter().chain(&own) {
                    let body = json!({"experiment_id": id, "key": key, "value": value});
                    self.client.post("experiments/set-experiment-tag", body)?;
                }
                id
            }
        };
        self.known_experiment(old, id, is_deleted)
    }

    /// Whether an import from the same source made that experiment of the target.
    fn is_of_import(&self, id: &str, old: &Value) -> Result<bool, Error> {
        let tags = tags_of(&self.client.get("experiments/get", &[("experiment_id", id)])?["experiment"]);
        let is = |key: &str, value: &str| tags.iter().any(|(name, text)| name == key && text == value);
        Ok(is(SOURCE_TAG, &self.source) && is(ORIGIN_TAG, &plain(&old["experiment_id"])))
    }

    fn known_experiment(&mut self, old: &Value, id: String, was_deleted: bool) -> Result<(String, bool), Error> {
        self.mapping.experiments.insert(plain(&old["experiment_id"]), id.clone());
        Ok((id, was_deleted))
    }

    /// Finds or makes the runs of an experiment.
    fn runs(&mut self, experiment_id: &str, place: &Path, talk: &Talk) -> Result<Vec<Target>, Error> {
        let search = json!({"experiment_ids": [experiment_id], "run_view_type": "ALL", "max_results": 1000});
        let there = self.client.all("runs/search", "runs", search, false)?;
        // By the id that each had where it was made: its own, or that of its tag.
        let there: BTreeMap<String, &Value> = there.iter().map(|run| (origin(run), run)).collect();
        let mut targets = Vec::new();
        for old_id in folders(&place.join("runs"))? {
            talk.check()?;
            let place = place.join("runs").join(&old_id);
            let old = read_json(&place.join("run.json"))?;
            let digest = run::digest(&place)?;
            let (id, artifact_uri, is_whole) = match there.get(&origin(&old)) {
                Some(run) => {
                    let tags = tags_of(&run["data"]);
                    let id = text_or_empty(&run["info"], "run_id");
                    // A run that was made on this very server, or is imported whole, is left as it is.
                    let is_whole = tag(&tags, ORIGIN_TAG).is_none() || tag(&tags, DIGEST_TAG) == Some(digest.as_str());
                    if !is_whole && run["info"]["lifecycle_stage"] == "deleted" {
                        self.client.post("runs/restore", json!({"run_id": id}))?;
                    }
                    (id, text_or_empty(&run["info"], "artifact_uri"), is_whole)
                }
                None => {
                    let mut tags = tags_of(&old["data"]);
                    tags.retain(|(key, _)| key != "mlflow.parentRunId" && key != DIGEST_TAG);
                    tags.truncate(MOST_PAIRS - 2);
                    set(&mut tags, SOURCE_TAG, &self.source);
                    set(&mut tags, ORIGIN_TAG, &origin(&old));
                    let (id, artifact_uri) = run::create(&self.client, experiment_id, &old, &tags)?;
                    (id, artifact_uri, false)
                }
            };
            self.mapping.runs.insert(old_id, id.clone());
            self.mapping.addresses.insert(text_or_empty(&old["info"], "artifact_uri"), artifact_uri.clone());
            targets.push(Target { place, old, id, artifact_uri, is_whole });
        }
        // A parent names itself before its children are filled, whatever their order.
        targets.sort_by_key(|target| target.old["info"]["start_time"].as_i64());
        Ok(targets)
    }

    /// Finds or makes the logged models of an experiment, with their files.
    fn models(&mut self, experiment_id: &str, place: &Path, talk: &Talk) -> Result<(), Error> {
        for old_id in folders(&place.join("models"))? {
            talk.check()?;
            let place = place.join("models").join(&old_id);
            let old = read_json(&place.join("model.json"))?;
            let (info, mut tags) = (&old["info"], tags_of(&old["info"]));
            let origin = tag(&tags, ORIGIN_TAG).unwrap_or(&old_id).to_owned();
            let search = json!({"experiment_ids": [experiment_id], "filter": format!("tags.`{ORIGIN_TAG}` = '{origin}'"), "max_results": 2});
            let found = self.client.all("logged-models/search", "models", search, false)?;
            let itself = if found.is_empty() { self.model_by_id(&origin, experiment_id)? } else { None };
            let is_own = itself.is_some();
            let made = match found.into_iter().next().or(itself) {
                Some(found) => found,
                None => {
                    let run = self.mapping.runs.get(&text_or_empty(info, "source_run_id")).cloned().unwrap_or_default();
                    let created = plain(&info["creation_timestamp_ms"]);
                    tags.retain(|(key, _)| key != DIGEST_TAG);
                    set(&mut tags, SOURCE_TAG, &self.source);
                    set(&mut tags, ORIGIN_TAG, &origin);
                    set(&mut tags, CREATED_TAG, &created);
                    let body = json!({
                        "experiment_id": experiment_id, "model_id": old_id, "name": text_or_empty(info, "name"), "source_run_id": run,
                        "model_type": text_or_empty(info, "model_type"), "tags": pairs(&tags), "params": old["data"]["params"],
                    });
                    self.client.post("logged-models", body)?["model"].clone()
                }
            };
            let id = text_or_empty(&made["info"], "model_id");
            let address = text_or_empty(&made["info"], "artifact_uri");
            self.mapping.models.insert(old_id, id.clone());
            self.mapping.addresses.insert(text_or_empty(info, "artifact_uri"), address.clone());
            self.moved.models += 1;
            if is_own || made["info"]["status"] == info["status"] && info["status"] != "LOGGED_MODEL_PENDING" {
                continue;
            }
            let store = artifacts::open(&address, &self.client, self.environment)?;
            files::import(&*store, &place, self.client.base(), self.options.verify, &mut self.moved)?;
            if info["status"] != "LOGGED_MODEL_PENDING" {
                let body = json!({"model_id": id, "status": info["status"]});
                self.client.call("PATCH", &format!("logged-models/{id}"), body)?;
            }
        }
        Ok(())
    }

    /// A model that was made on this very server.
    fn model_by_id(&self, id: &str, experiment_id: &str) -> Result<Option<Value>, Error> {
        let found =
            crate::client::found(self.client.get(&format!("logged-models/{}", crate::client::encoded(id)), &[]))?;
        Ok(found
            .map(|found| found["model"].clone())
            .filter(|model| plain(&model["info"]["experiment_id"]) == experiment_id))
    }
}

/// The id that a run had where it was made.
fn origin(run: &Value) -> String {
    let tags = tags_of(&run["data"]);
    tag(&tags, ORIGIN_TAG).map_or_else(|| text_or_empty(&run["info"], "run_id"), str::to_owned)
}

fn set(tags: &mut Vec<(String, String)>, name: &str, value: &str) {
    tags.retain(|(key, _)| key != name);
    tags.push((name.to_owned(), value.to_owned()));
}
