//! The calls of MLflow's REST interface: each path, and what does its work.

use serde_json::Value;

use crate::error::ApiError;
use crate::request::Request;
use crate::store::log::Batch;
use crate::store::{Store, datasets, experiments, history, log, logged_models, registry, runs, search, versions};

/// What a call does.
#[derive(Clone, Copy)]
pub enum Work {
    /// Reads.
    Read(fn(&mut Store<'_>, &Request) -> Result<Value, ApiError>),
    /// Reads much, and writes the answer's text itself.
    ReadText(fn(&mut Store<'_>, &Request) -> Result<Vec<u8>, ApiError>),
    /// Changes something.
    Write(fn(&mut Store<'_>, &Request) -> Result<Value, ApiError>),
    /// Logs; the body is checked and packed before it reaches the thread that writes.
    Log(fn(&[u8]) -> Result<Batch, ApiError>),
}

/// A call.
pub struct Call {
    /// GET, POST, PATCH or DELETE.
    pub method: &'static str,
    /// What follows `/api/2.0/mlflow/`; a part between braces is a parameter.
    pub path: &'static str,
    /// Its work.
    pub work: Work,
}

const fn call(method: &'static str, path: &'static str, work: Work) -> Call {
    Call { method, path, work }
}

use Work::{Log, Read, ReadText, Write};

/// All of them.
pub const CALLS: &[Call] = &[
    call("POST", "runs/log-batch", Log(Batch::parse)),
    call("POST", "runs/log-metric", Log(Batch::parse_metric)),
    call("POST", "runs/log-parameter", Log(Batch::parse_param)),
    call("POST", "runs/set-tag", Log(Batch::parse_tag)),
    call("POST", "runs/delete-tag", Write(log::delete_tag)),
    call("POST", "runs/create", Write(runs::create)),
    call("GET", "runs/get", Read(runs::get)),
    call("POST", "runs/update", Write(runs::update)),
    call("POST", "runs/delete", Write(runs::delete)),
    call("POST", "runs/restore", Write(runs::restore)),
    call("POST", "runs/purge", Write(runs::purge)),
    call("POST", "runs/search", ReadText(search::search)),
    call("POST", "runs/log-inputs", Write(datasets::log_inputs)),
    call("POST", "runs/outputs", Write(datasets::log_outputs)),
    call("GET", "metrics/get-history", ReadText(history::get)),
    call("GET", "metrics/get-history-bulk", Read(history::bulk_whole)),
    call("GET", "metrics/get-history-bulk-interval", ReadText(history::bulk)),
    call("POST", "experiments/create", Write(experiments::create)),
    call("GET", "experiments/get", Read(experiments::get)),
    call("GET", "experiments/get-by-name", Read(experiments::get_by_name)),
    call("POST", "experiments/search", Read(experiments::search)),
    call("GET", "experiments/search", Read(experiments::search)),
    call("POST", "experiments/update", Write(experiments::update)),
    call("POST", "experiments/delete", Write(experiments::delete)),
    call("POST", "experiments/restore", Write(experiments::restore)),
    call("POST", "experiments/set-experiment-tag", Write(experiments::set_tag)),
    call("POST", "experiments/delete-experiment-tag", Write(experiments::delete_tag)),
    call("POST", "experiments/search-datasets", Read(datasets::search)),
    call("GET", "experiments/metric-names", Read(history::names)),
    call("POST", "logged-models", Write(logged_models::create)),
    call("POST", "logged-models/search", Read(logged_models::search)),
    call("GET", "logged-models/{model_id}", Read(logged_models::get)),
    call("PATCH", "logged-models/{model_id}", Write(logged_models::finalize)),
    call("DELETE", "logged-models/{model_id}", Write(logged_models::delete)),
    call("PATCH", "logged-models/{model_id}/tags", Write(logged_models::set_tags)),
    call("DELETE", "logged-models/{model_id}/tags/{tag_key}", Write(logged_models::delete_tag)),
    call("POST", "logged-models/{model_id}/params", Write(logged_models::log_params)),
    call("POST", "registered-models/create", Write(registry::create)),
    call("GET", "registered-models/get", Read(registry::get)),
    call("GET", "registered-models/search", Read(registry::search)),
    call("POST", "registered-models/rename", Write(registry::rename)),
    call("PATCH", "registered-models/update", Write(registry::update)),
    call("DELETE", "registered-models/delete", Write(registry::delete)),
    call("POST", "registered-models/set-tag", Write(registry::set_tag)),
    call("DELETE", "registered-models/delete-tag", Write(registry::delete_tag)),
    call("POST", "registered-models/alias", Write(registry::set_alias)),
    call("GET", "registered-models/alias", Read(registry::by_alias)),
    call("DELETE", "registered-models/alias", Write(registry::delete_alias)),
    call("GET", "registered-models/get-latest-versions", Read(registry::latest_versions)),
    call("POST", "registered-models/get-latest-versions", Read(registry::latest_versions)),
    call("POST", "model-versions/create", Write(versions::create)),
    call("GET", "model-versions/get", Read(versions::get)),
    call("GET", "model-versions/search", Read(versions::search)),
    call("PATCH", "model-versions/update", Write(versions::update)),
    call("DELETE", "model-versions/delete", Write(versions::delete)),
    call("GET", "model-versions/get-download-uri", Read(versions::download_uri)),
    call("POST", "model-versions/transition-stage", Write(versions::transition)),
    call("POST", "model-versions/set-tag", Write(versions::set_tag)),
    call("DELETE", "model-versions/delete-tag", Write(versions::delete_tag)),
];

impl Call {
    /// The values of the path's parameters, if the path is this call's.
    pub fn matches<'a>(&self, path: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
        let mut found = Vec::new();
        let mut given = path.split('/');
        for part in self.path.split('/') {
            let given = given.next()?;
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) if !given.is_empty() => found.push((name, given)),
                None if part == given => {}
                _ => return None,
            }
        }
        given.next().is_none().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_parameters() {
        fn of<'a>(method: &str, path: &'a str) -> Option<(&'static str, Vec<(&'static str, &'a str)>)> {
            let mut calls = CALLS.iter().filter(|call| call.method == method);
            calls.find_map(|call| call.matches(path).map(|found| (call.path, found)))
        }
        assert_eq!(of("POST", "runs/create"), Some(("runs/create", vec![])));
        assert_eq!(of("POST", "logged-models/search"), Some(("logged-models/search", vec![])));
        assert_eq!(of("GET", "logged-models/m-1"), Some(("logged-models/{model_id}", vec![("model_id", "m-1")])));
        assert_eq!(
            of("DELETE", "logged-models/m-1/tags/a"),
            Some(("logged-models/{model_id}/tags/{tag_key}", vec![("model_id", "m-1"), ("tag_key", "a")]))
        );
        assert_eq!(of("GET", "logged-models/"), None);
        assert_eq!(of("GET", "runs/create/x"), None);
    }
}
