//! The calls of MLflow's REST interface that a training needs. Field names follow its protocol messages.

use serde_json::{Value, json};

use crate::http::{Content, Http, Service};
use crate::record::{DatasetInput, Metric, number_from_wire};
use crate::secret::split_credentials;
use crate::{Environment, Error};

/// A tracking server.
#[derive(Clone)]
pub struct Client {
    http: Http,
    base: String,
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it was deleted: runs cannot be made in it.
    pub is_deleted: bool,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its experiment's id.
    pub experiment_id: String,
    /// Where its artifacts belong.
    pub artifact_uri: String,
    /// `RUNNING`, `FINISHED`, `FAILED`, `KILLED`.
    pub status: String,
    /// Whether it was deleted: nothing can be logged to it.
    pub is_deleted: bool,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// A logged model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedModel {
    /// Its id.
    pub id: String,
    /// Where its files belong.
    pub artifact_uri: String,
}

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    /// Its number.
    pub version: String,
    /// The run that made it.
    pub run_id: String,
    /// Where it comes from: `models:/<id>`.
    pub source: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

impl Client {
    /// A client for the server at `uri`.
    ///
    /// # Errors
    /// An address that is not `http://` or `https://`, and certificate files that cannot be read.
    pub fn new(uri: &str, environment: &Environment) -> Result<Self, Error> {
        let (plain, credentials) = split_credentials(uri.trim());
        if !plain.starts_with("http://") && !plain.starts_with("https://") {
            return Err(Error::Address {
                uri: plain,
                problem: "not the address of a tracking server".to_owned(),
                hint: "it begins with http:// or https://, for example http://127.0.0.1:5000",
            });
        }
        let mut environment = environment.clone();
        if credentials.is_some() || environment.get("MLFLOW_TRACKING_URI").is_none() {
            environment.set("MLFLOW_TRACKING_URI", uri.trim());
        }
        Ok(Client { http: Http::new(&environment, Service::Tracking)?, base: plain.trim_end_matches('/').to_owned() })
    }

    /// The server's address, without credentials.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What it sends with.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    pub(crate) fn post(&self, call: &str, body: Value) -> Result<Value, Error> {
        self.call("POST", call, body)
    }

    /// Every entry of a search, page after page: `list` names them in the answer. `query` makes it a GET, otherwise it is a POST.
    pub(crate) fn all(&self, call: &str, list: &str, body: Value, query: bool) -> Result<Vec<Value>, Error> {
        let (mut found, mut body) = (Vec::new(), body);
        loop {
            let mut answer = match body.as_object().filter(|_| query) {
                None => self.post(call, body.clone())?,
                Some(entries) => {
                    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let pairs: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
                    self.get(call, &pairs.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())?
                }
            };
            if let Value::Array(entries) = answer[list].take() {
                found.extend(entries);
            }
            match answer["next_page_token"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => body["page_token"] = json!(token),
                None => return Ok(found),
            }
        }
    }

    pub(crate) fn call(&self, method: &str, call: &str, body: Value) -> Result<Value, Error> {
        let url = format!("{}/api/2.0/mlflow/{call}", self.base);
        self.http.send(method, &url, Content::Json(&body), &[])?.json()
    }

    pub(crate) fn get(&self, call: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let url = format!("{}/api/2.0/mlflow/{call}?{}", self.base, query.join("&"));
        self.http.send("GET", &url, Content::None, &[])?.json()
    }

    /// The experiment of a name; none where there is none.
    pub fn experiment_by_name(&self, name: &str) -> Result<Option<Experiment>, Error> {
        found(self.get("experiments/get-by-name", &[("experiment_name", name)]))?
            .map(|value| self.experiment(&value))
            .transpose()
    }

    /// The experiment of an id; none where there is none.
    pub fn experiment_by_id(&self, id: &str) -> Result<Option<Experiment>, Error> {
        found(self.get("experiments/get", &[("experiment_id", id)]))?.map(|value| self.experiment(&value)).transpose()
    }

    fn experiment(&self, value: &Value) -> Result<Experiment, Error> {
        let value = &value["experiment"];
        Ok(Experiment {
            id: self.text(value, "experiment_id")?,
            name: self.text(value, "name")?,
            is_deleted: value["lifecycle_stage"] == "deleted",
        })
    }

    /// Makes an experiment and gives its id; one of that name that was made meanwhile will do as well.
    pub fn create_experiment(&self, name: &str) -> Result<String, Error> {
        match self.post("experiments/create", json!({"name": name})) {
            Ok(value) => self.text(&value, "experiment_id"),
            Err(error) if error.is_existing() => {
                self.experiment_by_name(name)?.map(|experiment| experiment.id).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a run.
    pub fn create_run(
        &self,
        experiment_id: &str,
        name: &str,
        user: &str,
        start_time: i64,
        tags: &[(String, String)],
    ) -> Result<Run, Error> {
        let body = json!({
            "experiment_id": experiment_id, "run_name": name, "user_id": user, "start_time": start_time, "tags": pairs(tags),
        });
        self.run(&self.post("runs/create", body)?["run"])
    }

    /// A run; none where there is none.
    pub fn get_run(&self, id: &str) -> Result<Option<Run>, Error> {
        found(self.get("runs/get", &[("run_id", id)]))?.map(|value| self.run(&value["run"])).transpose()
    }

    /// The run of an experiment that has this tag.
    pub fn find_run(&self, experiment_id: &str, tag: &str, value: &str) -> Result<Option<Run>, Error> {
        let body = json!({
            "experiment_ids": [experiment_id], "max_results": 2,
            "filter": format!("tags.`{tag}` = '{value}'"), "run_view_type": "ALL",
        });
        let answer = self.post("runs/search", body)?;
        answer["runs"].as_array().and_then(|runs| runs.first()).map(|run| self.run(run)).transpose()
    }

    fn run(&self, value: &Value) -> Result<Run, Error> {
        let info = &value["info"];
        Ok(Run {
            id: self.text(info, "run_id")?,
            experiment_id: self.text(info, "experiment_id")?,
            artifact_uri: self.text(info, "artifact_uri")?,
            status: text_or_empty(info, "status"),
            is_deleted: info["lifecycle_stage"] == "deleted",
            tags: tags_of(&value["data"]),
        })
    }

    /// Sets a run's status and, where it is over, its end in milliseconds.
    pub fn update_run(&self, run_id: &str, status: &str, end_time: Option<i64>) -> Result<(), Error> {
        let mut body = json!({"run_id": run_id, "status": status});
        if let Some(end_time) = end_time {
            body["end_time"] = json!(end_time);
        }
        self.post("runs/update", body).map(drop)
    }

    /// Logs a batch within the limits of the interface: 1000 metrics, 100 params, 100 tags, 1000 in all.
    pub fn log_batch(
        &self,
        run_id: &str,
        metrics: &[Metric],
        params: &[(String, String)],
        tags: &[(String, String)],
    ) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "metrics": metrics, "params": pairs(params), "tags": pairs(tags)});
        self.post("runs/log-batch", body).map(drop)
    }

    /// Names the data set of a run.
    pub fn log_inputs(&self, run_id: &str, input: &DatasetInput) -> Result<(), Error> {
        let body = json!({"run_id": run_id, "datasets": [{
            "tags": [{"key": "mlflow.data.context", "value": input.context}],
            "dataset": {
                "name": input.name, "digest": input.digest, "source_type": input.source_type,
                "source": input.source, "schema": input.schema, "profile": input.profile,
            },
        }]});
        self.post("runs/log-inputs", body).map(drop)
    }

    /// Every point of a metric: `(step, timestamp, value)`.
    pub fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<(i64, i64, f64)>, Error> {
        let (mut points, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("run_id", run_id), ("metric_key", key), ("max_results", "1000")];
            if !token.is_empty() {
                query.push(("page_token", &token));
            }
            let answer = self.get("metrics/get-history", &query)?;
            for metric in answer["metrics"].as_array().into_iter().flatten() {
                let whole = |name: &str| metric[name].as_i64().unwrap_or_default();
                points.push((
                    whole("step"),
                    whole("timestamp"),
                    number_from_wire(&metric["value"]).unwrap_or(f64::NAN),
                ));
            }
            token = text_or_empty(&answer, "next_page_token");
            if token.is_empty() {
                return Ok(points);
            }
        }
    }

    /// Announces a model of a run.
    pub fn create_logged_model(
        &self,
        experiment_id: &str,
        run_id: &str,
        name: &str,
        tags: &[(String, String)],
    ) -> Result<LoggedModel, Error> {
        let body = json!({"experiment_id": experiment_id, "name": name, "source_run_id": run_id, "tags": pairs(tags)});
        self.logged_model(&self.post("logged-models", body)?["model"])
    }

    /// The logged model of an experiment that has this tag.
    pub fn find_logged_model(&self, experiment_id: &str, tag: &str, value: &str) -> Result<Option<LoggedModel>, Error> {
        let filter = format!("tags.`{tag}` = '{value}'");
        let body = json!({"experiment_ids": [experiment_id], "filter": filter, "max_results": 2});
        let answer = self.post("logged-models/search", body)?;
        answer["models"].as_array().and_then(|models| models.first()).map(|model| self.logged_model(model)).transpose()
    }

    fn logged_model(&self, value: &Value) -> Result<LoggedModel, Error> {
        let info = &value["info"];
        Ok(LoggedModel { id: self.text(info, "model_id")?, artifact_uri: self.text(info, "artifact_uri")? })
    }

    /// Names logged models, each with its step, as a run's outputs. MLflow refuses one that it has already, so it is asked first.
    pub fn log_outputs(&self, run_id: &str, models: &[(String, i64)]) -> Result<(), Error> {
        if models.is_empty() {
            return Ok(());
        }
        let run = self.get("runs/get", &[("run_id", run_id)])?;
        let there = model_ids(&run["run"]["outputs"]["model_outputs"]);
        let models: Vec<Value> = models
            .iter()
            .filter(|(id, _)| !there.contains(id))
            .map(|(id, step)| json!({"model_id": id, "step": step}))
            .collect();
        if models.is_empty() {
            return Ok(());
        }
        self.post("runs/outputs", json!({"run_id": run_id, "models": models})).map(drop)
    }

    /// Says that a logged model's files are complete.
    pub fn finalize_logged_model(&self, model_id: &str) -> Result<(), Error> {
        let body = json!({"model_id": model_id, "status": "LOGGED_MODEL_READY"});
        self.call("PATCH", &format!("logged-models/{model_id}"), body).map(drop)
    }

    /// Makes a registered model where there is none of that name.
    pub fn ensure_registered_model(&self, name: &str) -> Result<(), Error> {
        match self.post("registered-models/create", json!({"name": name})) {
            Err(error) if !error.is_existing() => Err(error),
            _ => Ok(()),
        }
    }

    /// The version of a registered model that comes from `source`.
    pub fn find_model_version(&self, name: &str, run_id: &str, source: &str) -> Result<Option<ModelVersion>, Error> {
        let filter = format!("name = '{}' and run_id = '{run_id}'", name.replace('\'', ""));
        let answer = self.get("model-versions/search", &[("filter", &filter), ("max_results", "200")])?;
        let versions = answer["model_versions"].as_array().into_iter().flatten();
        let mut versions = versions.map(|version| self.model_version(version)).collect::<Result<Vec<_>, _>>()?;
        versions.retain(|version| version.source == source);
        Ok(versions.pop())
    }

    /// Makes a version of a registered model.
    pub fn create_model_version(
        &self,
        name: &str,
        source: &str,
        run_id: &str,
        model_id: &str,
        tags: &[(String, String)],
    ) -> Result<ModelVersion, Error> {
        let body = json!({"name": name, "source": source, "run_id": run_id, "model_id": model_id, "tags": pairs(tags)});
        self.model_version(&self.post("model-versions/create", body)?["model_version"])
    }

    /// The version that an alias stands for.
    pub fn version_by_alias(&self, name: &str, alias: &str) -> Result<Option<ModelVersion>, Error> {
        let answer = self.get("registered-models/alias", &[("name", name), ("alias", alias)]);
        let missing =
            matches!(&answer, Err(Error::Status { status: 400, message, .. }) if message.contains("not found"));
        if missing {
            return Ok(None);
        }
        found(answer)?.map(|value| self.model_version(&value["model_version"])).transpose()
    }

    /// Lets an alias stand for a version.
    pub fn set_alias(&self, name: &str, alias: &str, version: &str) -> Result<(), Error> {
        self.post("registered-models/alias", json!({"name": name, "alias": alias, "version": version})).map(drop)
    }

    fn model_version(&self, value: &Value) -> Result<ModelVersion, Error> {
        Ok(ModelVersion {
            version: match &value["version"] {
                Value::Number(number) => number.to_string(),
                _ => self.text(value, "version")?,
            },
            run_id: text_or_empty(value, "run_id"),
            source: text_or_empty(value, "source"),
            tags: tags_of(value),
        })
    }

    fn text(&self, value: &Value, name: &str) -> Result<String, Error> {
        value[name].as_str().map(str::to_owned).ok_or_else(|| Error::Unreachable {
            url: self.base.clone(),
            reason: format!("the answer has no `{name}`; is this an MLflow server?"),
        })
    }
}

/// Makes "does not exist" a value. A 404 without a code is not the server's word but another program's.
pub(crate) fn found(answer: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::Status { status: 404, code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ids of models in a run's inputs or outputs.
pub(crate) fn model_ids(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|entry| text_or_empty(entry, "model_id")).collect()
}

pub(crate) fn pairs(pairs: &[(String, String)]) -> Vec<Value> {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

pub(crate) fn tags_of(value: &Value) -> Vec<(String, String)> {
    let tags = value["tags"].as_array().into_iter().flatten();
    tags.map(|tag| (text_or_empty(tag, "key"), text_or_empty(tag, "value"))).collect()
}

pub(crate) fn text_or_empty(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Percent-encoded for a query or a path's part.
pub(crate) fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
