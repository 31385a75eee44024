//! From a server into a folder.

use std::path::Path;

use serde_json::{Value, json};

use super::{Moved, Talk, files, plain, read_json, registry, write, write_json};
use crate::client::{Client, text_or_empty};
use crate::{Environment, Error, artifacts};

/// Form of the folder; an import refuses others.
pub(super) const FORMAT: u64 = 1;

/// Entries that a search gives at once.
const PAGE: u64 = 1000;

/// What is to be exported.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Experiments by name; all where there is none.
    pub experiments: Vec<String>,
}

/// Exports a server, or a part of it, into a folder, which may hold an earlier export of the same server.
///
/// # Errors
/// Those of the way to the server and its stores, a folder that cannot be written, one that holds another server's export, an experiment
/// that does not exist.
pub fn export(
    uri: &str,
    environment: &Environment,
    folder: &Path,
    selection: &Selection,
    talk: &Talk,
) -> Result<Moved, Error> {
    let client = Client::new(uri, environment)?;
    let mark = folder.join("export.json");
    if mark.exists() && read_json(&mark)?["source"] != client.base() {
        return Err(Error::Damaged {
            path: mark,
            problem: "the folder holds the export of another server".to_owned(),
            hint: "name an empty folder",
        });
    }
    let all = json!({"view_type": "ALL", "max_results": PAGE});
    let mut experiments = client.all("experiments/search", "experiments", all, false)?;
    if let Some(missing) =
        selection.experiments.iter().find(|name| !experiments.iter().any(|found| found["name"] == name.as_str()))
    {
        return Err(Error::Address {
            uri: client.base().to_owned(),
            problem: format!("there is no experiment `{missing}`"),
            hint: "leave the names out to export all",
        });
    }
    experiments
        .retain(|found| selection.experiments.is_empty() || selection.experiments.contains(&plain(&found["name"])));
    write_json(&mark, &json!({"format": FORMAT, "source": client.base()}))?;
    let mut moved = Moved::default();
    let (mut run_ids, mut model_ids) = (Vec::new(), Vec::new());
    for experiment in &experiments {
        talk.check()?;
        let id = plain(&experiment["experiment_id"]);
        let place = folder.join("experiments").join(&id);
        write_json(&place.join("experiment.json"), experiment)?;
        let search = json!({"experiment_ids": [id], "run_view_type": "ALL", "max_results": PAGE});
        let runs = client.all("runs/search", "runs", search, false)?;
        (talk.tell)(&format!("experiment {}: {} runs", text_or_empty(experiment, "name"), runs.len()));
        for run in &runs {
            talk.check()?;
            let run_id = text_or_empty(&run["info"], "run_id");
            export_run(&client, environment, run, &place.join("runs").join(&run_id), &mut moved)?;
            run_ids.push(run_id);
        }
        let search = json!({"experiment_ids": [id], "max_results": 50});
        for model in client.all("logged-models/search", "models", search, false)? {
            talk.check()?;
            let model_id = text_or_empty(&model["info"], "model_id");
            let place = place.join("models").join(&model_id);
            let store = artifacts::open(&text_or_empty(&model["info"], "artifact_uri"), &client, environment)?;
            files::export(&*store, &place, &mut moved)?;
            write_json(&place.join("model.json"), &model)?;
            moved.models += 1;
            model_ids.push(model_id);
        }
        moved.experiments += 1;
    }
    let wanted = (!selection.experiments.is_empty()).then_some((&run_ids[..], &model_ids[..]));
    registry::export(&client, &folder.join("registry"), wanted, talk, &mut moved)?;
    Ok(moved)
}

/// A run: its files, its points, and last of all itself.
fn export_run(
    client: &Client,
    environment: &Environment,
    run: &Value,
    place: &Path,
    moved: &mut Moved,
) -> Result<(), Error> {
    let store = artifacts::open(&text_or_empty(&run["info"], "artifact_uri"), client, environment)?;
    files::export(&*store, place, moved)?;
    moved.runs += 1;
    let (file, points) = (place.join("run.json"), place.join("metrics.jsonl"));
    let is_there = file.exists() && points.exists() && read_json(&file)? == *run;
    // A run under way may have got points that its last values do not show.
    if is_there && run["info"]["status"] != "RUNNING" {
        moved.runs_there += 1;
        return Ok(());
    }
    let run_id = text_or_empty(&run["info"], "run_id");
    let mut lines = String::new();
    for key in super::run::metric_keys(run) {
        for mut point in super::run::history(client, &run_id, &key)? {
            if let Some(entries) = point.as_object_mut() {
                entries.remove("run_id");
            }
            lines += &format!("{point}\n");
            moved.points += 1;
        }
    }
    write(&points, lines.as_bytes())?;
    write_json(&file, run)
}
