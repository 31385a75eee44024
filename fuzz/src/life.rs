//! A server's ordinary life: calls that the fuzzing of requests starts from, on things that are there under these ids.

/// The run that every call speaks of.
const RUN: &str = "0123456789abcdef0123456789abcdef";

/// What is there before the first input: calls in order, each its method and path and its body. `RUN` stands for the run's id.
pub const FIRST: &[(&str, &str, &str)] = &[
    ("POST", "experiments/create", r#"{"name":"e","tags":[{"key":"a","value":"b"}]}"#),
    (
        "POST",
        "runs/create",
        r#"{"experiment_id":"1","run_id":"RUN","run_name":"r","start_time":5,"user_id":"u","tags":[{"key":"a","value":"b"}]}"#,
    ),
    (
        "POST",
        "runs/log-batch",
        r#"{"run_id":"RUN","metrics":[{"key":"m","value":0.5,"timestamp":1,"step":0},{"key":"m","value":"NaN","timestamp":2,"step":1}],"params":[{"key":"p","value":"1"}],"tags":[{"key":"t","value":"x"}]}"#,
    ),
    (
        "POST",
        "runs/log-inputs",
        r#"{"run_id":"RUN","datasets":[{"tags":[{"key":"mlflow.data.context","value":"training"}],"dataset":{"name":"d","digest":"1","source_type":"local","source":"{}","schema":"{}","profile":"{}"}}]}"#,
    ),
    (
        "POST",
        "logged-models",
        r#"{"experiment_id":"1","name":"l","source_run_id":"RUN","model_id":"m-RUN","model_type":"y","params":[{"key":"p","value":"1"}],"tags":[{"key":"a","value":"b"}]}"#,
    ),
    (
        "POST",
        "runs/log-metric",
        r#"{"run_id":"RUN","key":"m","value":1e300,"timestamp":"3","step":2,"model_id":"m-RUN","dataset_name":"d","dataset_digest":"1"}"#,
    ),
    ("POST", "registered-models/create", r#"{"name":"n","description":"d","tags":[{"key":"a","value":"b"}]}"#),
    (
        "POST",
        "model-versions/create",
        r#"{"name":"n","source":"models:/m-RUN","run_id":"RUN","tags":[{"key":"a","value":"b"}],"description":"d","run_link":"l"}"#,
    ),
    ("POST", "registered-models/alias", r#"{"name":"n","alias":"a","version":"1"}"#),
];

/// What else can be asked and changed then; each is an input to start from, and so are those of [`FIRST`].
pub const LATER: &[(&str, &str, &str)] = &[
    ("POST", "runs/log-parameter", r#"{"run_id":"RUN","key":"q","value":"2"}"#),
    ("POST", "runs/set-tag", r#"{"run_uuid":"RUN","key":"mlflow.runName","value":"other"}"#),
    ("POST", "runs/delete-tag", r#"{"run_id":"RUN","key":"t"}"#),
    ("GET", "runs/get", r#"{"run_id":"RUN"}"#),
    ("POST", "runs/update", r#"{"run_id":"RUN","status":"FINISHED","end_time":9,"run_name":"s"}"#),
    ("POST", "runs/delete", r#"{"run_id":"RUN"}"#),
    ("POST", "runs/restore", r#"{"run_id":"RUN"}"#),
    ("POST", "runs/purge", r#"{"run_id":"RUN"}"#),
    (
        "POST",
        "runs/search",
        r#"{"experiment_ids":["1"],"filter":"metrics.m > 0.1 and params.p = '1' and tags.t like '%x' and dataset.name in ('d')","order_by":["metrics.m DESC","start_time"],"run_view_type":"ALL","max_results":1,"page_token":""}"#,
    ),
    ("POST", "runs/outputs", r#"{"run_id":"RUN","models":[{"model_id":"m-RUN","step":1}]}"#),
    ("GET", "metrics/get-history", r#"{"run_id":"RUN","metric_key":"m","max_results":2}"#),
    ("GET", "metrics/get-history-bulk", r#"{"run_id":["RUN"],"metric_key":"m","max_results":2}"#),
    (
        "GET",
        "metrics/get-history-bulk-interval",
        r#"{"run_ids":["RUN"],"metric_key":"m","start_step":0,"end_step":9,"max_results":1}"#,
    ),
    ("GET", "experiments/get", r#"{"experiment_id":"1"}"#),
    ("GET", "experiments/get-by-name", r#"{"experiment_name":"e"}"#),
    (
        "POST",
        "experiments/search",
        r#"{"filter":"name like 'e%' and tags.a = 'b' and creation_time > 0","order_by":["name DESC"],"view_type":"ALL","max_results":1}"#,
    ),
    ("POST", "experiments/update", r#"{"experiment_id":"1","new_name":"f"}"#),
    ("POST", "experiments/delete", r#"{"experiment_id":"1"}"#),
    ("POST", "experiments/restore", r#"{"experiment_id":"1"}"#),
    ("POST", "experiments/set-experiment-tag", r#"{"experiment_id":"1","key":"k","value":"v"}"#),
    ("POST", "experiments/delete-experiment-tag", r#"{"experiment_id":"1","key":"a"}"#),
    ("POST", "experiments/search-datasets", r#"{"experiment_ids":["1"]}"#),
    ("GET", "experiments/metric-names", r#"{"experiment_ids":["1"],"max_results":5}"#),
    (
        "POST",
        "logged-models/search",
        r#"{"experiment_ids":["1"],"filter":"metrics.m > 0 and name = 'l'","datasets":[{"dataset_name":"d","dataset_digest":"1"}],"order_by":[{"field_name":"metrics.m","ascending":false}],"max_results":1}"#,
    ),
    ("GET", "logged-models/{model_id}", r#"{"model_id":"m-RUN"}"#),
    ("PATCH", "logged-models/{model_id}", r#"{"model_id":"m-RUN","status":"LOGGED_MODEL_READY"}"#),
    ("DELETE", "logged-models/{model_id}", r#"{"model_id":"m-RUN"}"#),
    ("PATCH", "logged-models/{model_id}/tags", r#"{"model_id":"m-RUN","tags":[{"key":"k","value":"v"}]}"#),
    ("DELETE", "logged-models/{model_id}/tags/{tag_key}", r#"{"model_id":"m-RUN","tag_key":"a"}"#),
    ("POST", "logged-models/{model_id}/params", r#"{"model_id":"m-RUN","params":[{"key":"k","value":"v"}]}"#),
    (
        "GET",
        "registered-models/search",
        r#"{"filter":"name ilike 'N' and tags.`mlflow.prompt.is_prompt` != 'true'","order_by":["timestamp DESC"],"max_results":1}"#,
    ),
    ("POST", "registered-models/rename", r#"{"name":"n","new_name":"o"}"#),
    ("PATCH", "registered-models/update", r#"{"name":"n","description":"e"}"#),
    ("DELETE", "registered-models/delete", r#"{"name":"n"}"#),
    ("POST", "registered-models/set-tag", r#"{"name":"n","key":"k","value":"v"}"#),
    ("DELETE", "registered-models/delete-tag", r#"{"name":"n","key":"a"}"#),
    ("GET", "registered-models/alias", r#"{"name":"n","alias":"a"}"#),
    ("DELETE", "registered-models/alias", r#"{"name":"n","alias":"a"}"#),
    ("POST", "registered-models/get-latest-versions", r#"{"name":"n","stages":["None"]}"#),
    (
        "GET",
        "model-versions/search",
        r#"{"filter":"name = 'n' and run_id = 'RUN' and version_number > 0","order_by":["version_number DESC"],"max_results":1}"#,
    ),
    ("PATCH", "model-versions/update", r#"{"name":"n","version":"1","description":"e"}"#),
    ("DELETE", "model-versions/delete", r#"{"name":"n","version":"1"}"#),
    ("GET", "model-versions/get-download-uri", r#"{"name":"n","version":"1"}"#),
    (
        "POST",
        "model-versions/transition-stage",
        r#"{"name":"n","version":"1","stage":"Production","archive_existing_versions":true}"#,
    ),
    ("POST", "model-versions/set-tag", r#"{"name":"n","version":"1","key":"k","value":"v"}"#),
    ("DELETE", "model-versions/delete-tag", r#"{"name":"n","version":"1","key":"a"}"#),
];

/// A body with the run's id in it.
pub fn body(text: &str) -> String {
    text.replace("RUN", RUN)
}

/// An input of the target: for each call a line of a byte that chooses it and its body.
pub fn input(calls: &[(&str, &str, &str)]) -> Vec<u8> {
    let line = |(method, path, text): &(&str, &str, &str)| {
        let known = yolo11_server::calls::CALLS;
        let which = known.iter().position(|call| call.method == *method && call.path == *path);
        let which = which.unwrap_or_else(|| panic!("there is no call {method} {path}")) as u8;
        // A line's end cannot choose a call: what it would choose is reached by a number one round further.
        let which = if which == b'\n' { which + known.len() as u8 } else { which };
        [&[which], body(text).as_bytes()].concat()
    };
    calls.iter().map(line).collect::<Vec<_>>().join(&b'\n')
}
