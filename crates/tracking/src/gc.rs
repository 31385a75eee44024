//! Clears away what a server keeps for nobody: runs that were deleted, and artifacts that no run or model has.
//!
//! [`find`] lists, [`remove`] deletes what is in such a list and nothing else. What a version of a registered model comes from is never
//! in it, deleted or not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::artifacts::{self, ArtifactStore, walk};
use crate::client::{Client, text_or_empty};
use crate::transfer::Talk;
use crate::{Environment, Error};

/// What can go.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Garbage {
    /// `deleted run`, `orphaned run` or `orphaned model`: the last two have artifacts and nothing else.
    pub kind: &'static str,
    /// The experiment's name.
    pub experiment: String,
    /// Id of the run or model.
    pub id: String,
    /// The run's name; empty where there is none.
    pub name: String,
    /// Files among its artifacts.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The experiment's address of artifacts.
    #[serde(skip)]
    location: String,
    /// Where its artifacts lie in there.
    #[serde(skip)]
    path: String,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Runs that are gone for good.
    pub runs: u64,
    /// Deleted runs whose artifacts are gone, but which the server offers no call to remove.
    pub runs_left: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

const RUN: &str = "deleted run";

/// Lists what can go.
///
/// # Errors
/// Those of the way to the server and its stores.
pub fn find(uri: &str, environment: &Environment, talk: &Talk) -> Result<Vec<Garbage>, Error> {
    let client = Client::new(uri, environment)?;
    let mut found = Vec::new();
    let all = json!({"view_type": "ALL", "max_results": 1000});
    for experiment in client.all("experiments/search", "experiments", all, false)? {
        talk.check()?;
        let id = text_or_empty(&experiment, "experiment_id");
        let location = text_or_empty(&experiment, "artifact_location");
        let store = artifacts::open(&location, &client, environment)?;
        // The files first: whatever is made meanwhile is known to the server by the time it is asked.
        let runs_there = names(&*store, "", is_run_id)?;
        let models_there = names(&*store, "models", is_model_id)?;
        let search = json!({"experiment_ids": [id], "run_view_type": "ALL", "max_results": 1000});
        let runs = client.all("runs/search", "runs", search, false)?;
        let search = json!({"experiment_ids": [id], "max_results": 50});
        let models = client.all("logged-models/search", "models", search, false)?;
        let used = used_by_registry(&client, &runs)?;
        let known = |list: &[Value], field: &str| -> BTreeSet<String> {
            list.iter().map(|entry| text_or_empty(&entry["info"], field)).collect()
        };
        let (run_ids, model_ids) = (known(&runs, "run_id"), known(&models, "model_id"));
        let add = |kind, id: &str, name: String, path: String, found: &mut Vec<Garbage>| -> Result<(), Error> {
            let files = walk(&*store, &path)?;
            found.push(Garbage {
                kind,
                experiment: text_or_empty(&experiment, "name"),
                id: id.to_owned(),
                name,
                files: files.len() as u64,
                bytes: files.iter().map(|(_, size)| size).sum(),
                location: location.clone(),
                path,
            });
            Ok(())
        };
        for run in runs.iter().filter(|run| run["info"]["lifecycle_stage"] == "deleted") {
            talk.check()?;
            let id = text_or_empty(&run["info"], "run_id");
            // Artifacts that lie elsewhere than in a folder of their own stay.
            let is_own = text_or_empty(&run["info"], "artifact_uri")
                .strip_prefix(&location)
                .is_some_and(|rest| rest.trim_start_matches('/').split('/').next() == Some(id.as_str()));
            if is_own && !used.contains(&id) {
                add(RUN, &id, text_or_empty(&run["info"], "run_name"), id.clone(), &mut found)?;
            }
        }
        for id in runs_there.difference(&run_ids) {
            add("orphaned run", id, String::new(), id.clone(), &mut found)?;
        }
        for id in models_there.difference(&model_ids).filter(|id| !used.contains(*id)) {
            add("orphaned model", id, String::new(), format!("models/{id}"), &mut found)?;
        }
    }
    Ok(found)
}

/// Folders of a store whose names are of the kind.
fn names(store: &dyn ArtifactStore, place: &str, is_kind: fn(&str) -> bool) -> Result<BTreeSet<String>, Error> {
    let folders = store.list(place)?.into_iter().filter(|stored| stored.size.is_none());
    let names = folders.map(|stored| stored.path.rsplit('/').next().unwrap_or_default().to_owned());
    Ok(names.filter(|name| is_kind(name)).collect())
}

fn is_run_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_model_id(name: &str) -> bool {
    name.strip_prefix("m-").is_some_and(is_run_id)
}

/// Ids of runs and models that versions of registered models come from.
fn used_by_registry(client: &Client, runs: &[Value]) -> Result<BTreeSet<String>, Error> {
    let versions = client.all("model-versions/search", "model_versions", json!({"max_results": "1000"}), true)?;
    let mut used = BTreeSet::new();
    for version in &versions {
        used.extend([text_or_empty(version, "run_id"), text_or_empty(version, "model_id")]);
        let source = text_or_empty(version, "source");
        used.extend(source.strip_prefix("models:/").map(str::to_owned));
        let run = runs.iter().find(|run| {
            let address = text_or_empty(&run["info"], "artifact_uri");
            !address.is_empty() && source.starts_with(&address)
        });
        used.extend(run.map(|run| text_or_empty(&run["info"], "run_id")));
    }
    Ok(used)
}

/// Removes what is listed. A run that was restored since it was listed stays.
///
/// # Errors
/// Those of the way to the server and its stores; what was removed until then is removed.
pub fn remove(uri: &str, environment: &Environment, garbage: &[Garbage], talk: &Talk) -> Result<Removed, Error> {
    let client = Client::new(uri, environment)?;
    let mut removed = Removed::default();
    for item in garbage {
        talk.check()?;
        if item.kind == RUN && client.get_run(&item.id)?.is_some_and(|run| !run.is_deleted) {
            (talk.tell)(&format!("{} was restored meanwhile and stays", item.id));
            continue;
        }
        let store = artifacts::open(&item.location, &client, environment)?;
        if item.files > 0 {
            store.delete(&item.path)?;
        }
        removed.files += item.files;
        removed.bytes += item.bytes;
        if item.kind == RUN {
            // A call of this program's server; MLflow removes rows only with its own command on the database.
            match client.post("runs/purge", json!({"run_id": item.id})) {
                Ok(_) => removed.runs += 1,
                Err(error) if error.is_missing() => removed.runs_left += 1,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_mlflow_names_count() {
        assert!(is_run_id("0123456789abcdef0123456789abcdef"));
        assert!(is_model_id("m-0123456789abcdef0123456789abcdef"));
        for name in ["models", "0123", "0123456789abcdef0123456789abcdeg", "m-1"] {
            assert!(!is_run_id(name) && !is_model_id(name), "{name}");
        }
    }
}
