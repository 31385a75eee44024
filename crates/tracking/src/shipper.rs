//! Carries a run's outbox to the server: in order, in batches, each thing once.
//!
//! A [`Shipper`] is used by one thread at a time: that of a training, or the command `sync`. Every call to [`Shipper::step`] ships what
//! fits into one call of the interface and then moves the position on. An error leaves the position where it was; the same step can be
//! tried again, whatever became of the call: batches and files may be sent twice, creations are looked up before they are repeated.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::artifacts::{self, ArtifactStore, Source};
use crate::batch::Round;
use crate::client::{Client, Run};
use crate::queue::{self, Entry, Position};
use crate::record::{Artifact, MOST_PAIRS, Record, RunStart, clean_name};
use crate::state::{FOLDER, State};
use crate::{Environment, Error};

/// Tag that tells a run of ours from every other.
pub const RUN_KEY_TAG: &str = "yolo11.run_key";

/// Tag that finds the run of a sweep by its name.
const SWEEP_TAG: &str = "yolo11.sweep";

/// Records that are read ahead.
const AHEAD: usize = 4000;

/// Whether a step did anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was shipped; there may be more.
    Shipped,
    /// Everything is shipped.
    Idle,
}

/// Ships one run's outbox.
pub struct Shipper {
    run_folder: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) environment: Environment,
    uri: Option<String>,
    pub(crate) state: State,
    connection: Option<Connection>,
    pub(crate) ahead: VecDeque<Entry>,
    /// Batches of the records ahead that are on their way.
    pub(crate) round: Option<Round>,
    /// Whether several calls may be made at once: not right after a failure.
    pub(crate) may_hurry: bool,
    notes: Vec<String>,
    last_taken: u64,
    /// Copies that are shipped; they are deleted once that is written down.
    spent: Vec<String>,
}

/// The server, once it was reached.
struct Connection {
    client: Client,
    /// Whether the run was found there.
    has_run: bool,
    store: Option<Arc<dyn ArtifactStore>>,
}

impl Shipper {
    /// The shipper of a run's folder. `uri` names the server where it is not the one that the outbox was begun for. The caller holds the
    /// run's [`Lock`](crate::state::Lock).
    ///
    /// # Errors
    /// A state that cannot be read.
    pub fn open(run_folder: &Path, environment: &Environment, uri: Option<&str>) -> Result<Self, Error> {
        let folder = run_folder.join(FOLDER);
        Ok(Shipper {
            state: State::load(&folder)?,
            run_folder: run_folder.to_owned(),
            folder,
            environment: environment.clone(),
            uri: uri.map(str::to_owned),
            connection: None,
            ahead: VecDeque::new(),
            round: None,
            may_hurry: true,
            notes: Vec::new(),
            last_taken: 0,
            spent: Vec::new(),
        })
    }

    /// How far it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is worth telling since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Ships what fits into one call.
    ///
    /// # Errors
    /// Those of the way to the server. [`Error::is_passing`] tells whether the same step may succeed later by itself.
    pub fn step(&mut self) -> Result<Step, Error> {
        if self.ahead.len() < AHEAD / 2 {
            let from = self.ahead.back().map_or(self.state.position, |last| last.end);
            self.ahead.extend(queue::read(&self.folder, from, AHEAD - self.ahead.len())?);
        }
        let Some(first) = self.ahead.front().cloned() else { return Ok(Step::Idle) };
        let taken = match first.record {
            None => {
                self.state.counts.damaged += 1;
                self.notes.push("a damaged line of the outbox was passed over".to_owned());
                1
            }
            Some(Record::Start(start)) => {
                self.start(&start)?;
                1
            }
            Some(Record::Metrics { .. } | Record::Params { .. } | Record::Tags { .. }) => self.ship_batch()?,
            Some(Record::Artifact(_)) => self.ship_artifacts()?,
            Some(Record::Resume { .. }) => {
                if self.state.status.is_some() {
                    self.run_client()?.0.update_run(&self.run_id()?, "RUNNING", None)?;
                    self.state.status = None;
                }
                1
            }
            Some(Record::Input(input)) => {
                let (client, run_id) = self.run_client()?;
                let sent = client.log_inputs(&run_id, &input);
                self.unless_refused(sent, || json!({"input": input.name}))?;
                1
            }
            Some(Record::Image(image)) => {
                let store = self.store()?;
                let sent = crate::images::ship(&image, &self.run_folder, &*store);
                if self.unless_refused(sent, || json!({"image": image.key}))? {
                    let (client, run_id) = self.run_client()?;
                    client.log_batch(&run_id, &[], &[], &[("mlflow.loggedImages".to_owned(), "True".to_owned())])?;
                    self.state.counts.artifacts += 1;
                }
                self.spent.push(image.file);
                1
            }
            Some(Record::Model(model)) => {
                let shipped = self.ship_model(&model);
                self.unless_refused(shipped, || json!({"model": model.name}))?;
                self.spent.extend(model.onnx);
                1
            }
            Some(Record::Finish { status, end_time }) => {
                self.ship_changing()?;
                let (client, run_id) = self.run_client()?;
                client.update_run(&run_id, &status, Some(end_time))?;
                self.state.status = Some(status);
                1
            }
        };
        self.acknowledge(taken)?;
        Ok(Step::Shipped)
    }

    /// Moves the position behind the first `taken` records.
    fn acknowledge(&mut self, taken: usize) -> Result<(), Error> {
        let before = self.state.position;
        self.last_taken = taken as u64;
        self.may_hurry = true;
        if let Some(last) = self.ahead.drain(..taken).next_back() {
            self.state.position = last.end;
        }
        self.state.save(&self.folder, false)?;
        for file in std::mem::take(&mut self.spent) {
            self.forget_copy(&file);
        }
        if before.segment != self.state.position.segment {
            queue::drop_shipped(&self.folder, self.state.position)?;
        }
        Ok(())
    }

    /// Begins the run on the server, or finds the one that was begun.
    fn start(&mut self, start: &RunStart) -> Result<(), Error> {
        if self.uri.is_none() && self.state.tracking_uri.is_none() {
            self.uri = start.tracking_uri.clone();
        }
        let client = self.client()?;
        if self.state.run_id.is_none() {
            let run = self.find_or_create_run(&client, start)?;
            self.state.experiment_id = Some(run.experiment_id);
            self.state.artifact_uri = Some(run.artifact_uri);
            self.state.run_id = Some(run.id);
            self.state.tracking_uri = Some(client.base().to_owned());
            self.state.begun.remove("run");
            self.state.save(&self.folder, true)?;
            if let Some(connection) = &mut self.connection {
                connection.has_run = true;
            }
            self.state.counts.tags += start.tags.len() as u64 + 1;
        }
        Ok(())
    }

    fn find_or_create_run(&mut self, client: &Client, start: &RunStart) -> Result<Run, Error> {
        let unusable = |run_id: &str, problem, hint| Error::Run {
            url: client.base().to_owned(),
            run_id: run_id.to_owned(),
            problem,
            hint,
        };
        if let Some(id) = &start.run_id {
            let run = client.get_run(id)?;
            let run = run.ok_or_else(|| unusable(id, "does not exist", "correct MLFLOW_RUN_ID, or leave it out"))?;
            if run.is_deleted {
                return Err(unusable(id, "is deleted", "restore it on the server, or leave MLFLOW_RUN_ID out"));
            }
            client.update_run(id, "RUNNING", None)?;
            let mut tags = start.tags.clone();
            tags.push((RUN_KEY_TAG.to_owned(), start.key.clone()));
            client.log_batch(id, &[], &[], &tags)?;
            return Ok(run);
        }
        let experiment_id = self.experiment(client, start)?;
        if self.state.begun.contains("run") {
            // Perhaps the last try came through and only its answer did not.
            if let Some(run) = client.find_run(&experiment_id, RUN_KEY_TAG, &start.key)? {
                return Ok(run);
            }
        } else {
            self.state.begun.insert("run".to_owned());
            self.state.save(&self.folder, true)?;
        }
        let mut tags = start.tags.clone();
        tags.truncate(MOST_PAIRS - 2);
        if let Some(parent) = &start.parent_run {
            tags.push(("mlflow.parentRunId".to_owned(), parent_run(client, &experiment_id, parent, start)?));
        }
        tags.push((RUN_KEY_TAG.to_owned(), start.key.clone()));
        client.create_run(&experiment_id, &start.run_name, &start.user, start.start_time, &tags)
    }

    fn experiment(&self, client: &Client, start: &RunStart) -> Result<String, Error> {
        let refused = |problem: String, hint| Error::Address { uri: client.base().to_owned(), problem, hint };
        let found = match &start.experiment_id {
            Some(id) => Some(client.experiment_by_id(id)?.ok_or_else(|| {
                refused(format!("there is no experiment {id}"), "correct MLFLOW_EXPERIMENT_ID, or give a name instead")
            })?),
            None => client.experiment_by_name(&start.experiment_name)?,
        };
        match found {
            Some(found) if found.is_deleted => {
                let problem = format!("experiment {} ({}) is deleted", found.name, found.id);
                Err(refused(problem, "restore it with `mlflow experiments restore`, or delete it for good"))
            }
            Some(found) => Ok(found.id),
            None => client.create_experiment(&start.experiment_name),
        }
    }

    /// Whether something was taken; what the server refuses for good is written down and passed over.
    fn unless_refused(&mut self, sent: Result<(), Error>, what: impl Fn() -> serde_json::Value) -> Result<bool, Error> {
        match sent {
            Ok(()) => Ok(true),
            Err(error) if error.is_refusal() => {
                self.check_run()?;
                self.refuse(&error, what())?;
                Ok(false)
            }
            Err(Error::File { path, source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                self.refuse(&Error::read(path, source), what())?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes down what will never be taken, so that it does not hold up the rest.
    pub(crate) fn refuse(&mut self, error: &Error, what: serde_json::Value) -> Result<(), Error> {
        let path = self.folder.join("refused.jsonl");
        let line = json!({"error": error.headline(), "refused": what});
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.map_err(|source| Error::write(&path, source))?;
        if self.state.counts.refused == 0 {
            self.notes.push(format!("not taken: {} (all such are listed in {})", error.headline(), path.display()));
        }
        self.state.counts.refused += 1;
        Ok(())
    }

    /// Files of the records ahead, several at once.
    fn ship_artifacts(&mut self) -> Result<usize, Error> {
        let group: Vec<Artifact> = self
            .ahead
            .iter()
            .map_while(|entry| match &entry.record {
                Some(Record::Artifact(artifact)) => Some(artifact.clone()),
                _ => None,
            })
            .take(crate::upload::GROUP)
            .collect();
        let (changing, stable): (Vec<_>, Vec<_>) =
            group.iter().cloned().partition(|artifact| artifact.digest.is_none());
        for artifact in changing {
            self.state.changing.insert(artifact.path.clone(), artifact);
        }
        if !stable.is_empty() {
            self.upload(&stable)?;
        }
        self.spent.extend(stable.iter().filter(|artifact| artifact.is_copy).map(|artifact| artifact.file.clone()));
        for artifact in &stable {
            self.state.uploaded.remove(&artifact.path);
        }
        Ok(group.len())
    }

    /// Ships the files that changed until now, if they still differ from what was shipped. Nobody may write them meanwhile.
    ///
    /// # Errors
    /// As [`Shipper::step`].
    pub fn ship_changing(&mut self) -> Result<(), Error> {
        let artifacts: Vec<Artifact> = self.state.changing.values().cloned().collect();
        if artifacts.is_empty() { Ok(()) } else { self.upload(&artifacts) }
    }

    /// Ships the files that changed until a run broke off.
    ///
    /// # Errors
    /// As [`Shipper::step`].
    pub fn ship_remainder(&mut self) -> Result<(), Error> {
        if self.state.status.is_some() || self.state.changing.is_empty() {
            return Ok(());
        }
        self.ship_changing()?;
        self.state.save(&self.folder, false)
    }

    fn upload(&mut self, artifacts: &[Artifact]) -> Result<(), Error> {
        let store = self.store()?;
        let results = crate::upload::upload(artifacts, &self.run_folder, &*store, &self.state.uploaded);
        let mut failed = None;
        for (artifact, result) in artifacts.iter().zip(results) {
            match result {
                Ok(Some(digest)) => {
                    self.state.counts.artifacts += 1;
                    if artifact.digest.as_ref().is_some_and(|announced| *announced != digest) {
                        // It changed after it was announced: what it ends as is shipped at the end.
                        let artifact = Artifact { digest: None, ..artifact.clone() };
                        self.state.changing.insert(artifact.path.clone(), artifact);
                    }
                    self.state.uploaded.insert(artifact.path.clone(), digest);
                }
                Ok(None) => {}
                // Announced, and then the run broke off before it was first written.
                Err(Error::File { source, .. })
                    if artifact.digest.is_none() && source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => match self.unless_refused(Err(error), || json!({"artifact": artifact.path})) {
                    Ok(_) => {
                        self.state.changing.remove(&artifact.path);
                    }
                    Err(error) => failed = Some(error),
                },
            }
        }
        match failed {
            Some(error) => {
                // Those that came through are not sent again.
                self.state.save(&self.folder, false)?;
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Deletes the outbox's own copy of a file.
    fn forget_copy(&self, file: &str) {
        let path = self.run_folder.join(file);
        if path.starts_with(&self.folder) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// A file of a record.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.run_folder.join(name)
    }

    fn client(&mut self) -> Result<Client, Error> {
        if let Some(connection) = &self.connection {
            return Ok(connection.client.clone());
        }
        let uri = self.uri.clone().or_else(|| self.state.tracking_uri.clone());
        let uri = uri.ok_or_else(|| Error::NoServer { folder: self.run_folder.clone() })?;
        let client = Client::new(&uri, &self.environment)?;
        self.connection = Some(Connection { client: client.clone(), has_run: false, store: None });
        Ok(client)
    }

    /// The server and the run on it, which is looked for once in each process.
    pub(crate) fn run_client(&mut self) -> Result<(Client, String), Error> {
        let client = self.client()?;
        let run_id = self.run_id()?;
        if self.connection.as_ref().is_some_and(|connection| !connection.has_run) {
            self.check_run()?;
        }
        Ok((client, run_id))
    }

    pub(crate) fn run_id(&self) -> Result<String, Error> {
        self.state.run_id.clone().ok_or_else(|| Error::Damaged {
            path: self.folder.clone(),
            problem: "the outbox does not begin with its run".to_owned(),
            hint: "delete the folder: the run's files themselves are untouched",
        })
    }

    pub(crate) fn check_run(&mut self) -> Result<(), Error> {
        let (client, run_id) = (self.client()?, self.run_id()?);
        let unusable =
            |problem, hint| Error::Run { url: client.base().to_owned(), run_id: run_id.clone(), problem, hint };
        let run = client.get_run(&run_id)?.ok_or_else(|| {
            unusable("does not exist there", "name the server that the run was begun on with MLFLOW_TRACKING_URI")
        })?;
        if run.is_deleted {
            return Err(unusable("is deleted", "restore it with `mlflow runs restore`, then `yolo11 tracking sync`"));
        }
        self.state.artifact_uri = Some(run.artifact_uri);
        self.state.experiment_id = Some(run.experiment_id);
        if let Some(connection) = &mut self.connection {
            connection.has_run = true;
        }
        Ok(())
    }

    fn store(&mut self) -> Result<Arc<dyn ArtifactStore>, Error> {
        let (client, _) = self.run_client()?;
        if let Some(store) = self.connection.as_ref().and_then(|connection| connection.store.clone()) {
            return Ok(store);
        }
        let uri = self.state.artifact_uri.clone().unwrap_or_default();
        let store: Arc<dyn ArtifactStore> = artifacts::open(&uri, &client, &self.environment)?.into();
        if let Some(connection) = &mut self.connection {
            connection.store = Some(store.clone());
        }
        Ok(store)
    }

    /// The store of another address of the same server.
    pub(crate) fn store_at(&mut self, uri: &str) -> Result<Box<dyn ArtifactStore>, Error> {
        artifacts::open(uri, &self.client()?, &self.environment)
    }

    /// Records of the last step that shipped something.
    pub(crate) fn last_taken(&self) -> u64 {
        self.last_taken
    }

    /// Everything before it is shipped.
    pub fn position(&self) -> Position {
        self.state.position
    }
}

/// The run of a sweep, by its name. It holds nothing of its own, so it is finished as soon as it is made.
fn parent_run(client: &Client, experiment_id: &str, name: &str, start: &RunStart) -> Result<String, Error> {
    let key = clean_name(name);
    if let Some(run) = client.find_run(experiment_id, SWEEP_TAG, &key)?.filter(|run| !run.is_deleted) {
        return Ok(run.id);
    }
    let tags = [(SWEEP_TAG.to_owned(), key), ("mlflow.user".to_owned(), start.user.clone())];
    let run = client.create_run(experiment_id, name, &start.user, start.start_time, &tags)?;
    client.update_run(&run.id, "FINISHED", Some(start.start_time))?;
    // Another run of the sweep may have made one at the same time: all go with the one that is found.
    let found = client.find_run(experiment_id, SWEEP_TAG, &clean_name(name))?;
    Ok(found.filter(|run| !run.is_deleted).map_or(run.id, |run| run.id))
}

/// Sends texts as files, one after the other.
pub(crate) fn put_texts(store: &dyn ArtifactStore, files: &[(&str, String)]) -> Result<(), Error> {
    files.iter().try_for_each(|(path, text)| store.put(path, Source::Bytes(text.as_bytes())))
}
