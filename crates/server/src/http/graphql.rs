//! `POST /graphql`: the few questions that MLflow's own pages ask in that language.
//!
//! Each of them is a call that there is in the REST interface too. What is selected is taken from that call's answer: names are
//! written in camel case here, whole numbers as text, and NaN as nothing.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{answer, api};
use crate::error::{ApiError, Code};
use crate::request::Request;
use crate::server::State;
use crate::store::{Store, experiments, history, runs, search, versions};

/// Bytes of a question.
const LONGEST: usize = 1 << 20;

/// How deep a question may select.
const DEEPEST: usize = 24;

/// A selected field.
#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    /// The name in the answer.
    alias: String,
    /// What is selected.
    name: String,
    /// The variable that its argument is.
    variable: Option<String>,
    /// What is selected within.
    fields: Vec<Field>,
}

/// Answers a question.
pub(crate) async fn serve(state: &Arc<State>, parts: &Parts, body: Body) -> Result<Response<Body>, ApiError> {
    if !api::is_json(parts) {
        return Err(ApiError::invalid("the body must have the type application/json"));
    }
    let body = to_bytes(body, LONGEST).await.map_err(|_| ApiError::new(Code::TooLarge, "the question is too long"))?;
    let body: Value = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid(format!("the body is not valid JSON: {error}")))?;
    let fields = parse(body["query"].as_str().unwrap_or_default())?;
    let variables = body["variables"].clone();
    let data = state
        .read(move |store| {
            fields.iter().map(|field| Ok((field.alias.clone(), resolve(store, field, &variables)?))).collect()
        })
        .await;
    let data: Map<String, Value> = data?;
    Ok(answer::json(StatusCode::OK, json!({"data": data}).to_string().into_bytes()))
}

fn resolve(store: &mut Store<'_>, field: &Field, variables: &Value) -> Result<Value, ApiError> {
    if field.name == "__typename" {
        return Ok("Query".into());
    }
    let given = field.variable.as_ref().map_or(Value::Null, |name| variables[name].clone());
    let request = Request::from_json(snake_case(given).to_string().as_bytes())?;
    let found = match field.name.as_str() {
        "mlflowGetExperiment" => experiments::get(store, &request),
        "mlflowGetRun" => run(store, &request, field),
        "mlflowSearchRuns" => search::search(store, &request).and_then(|text| reread(&text)),
        "mlflowGetMetricHistoryBulkInterval" => history::bulk(store, &request).and_then(|text| reread(&text)),
        "mlflowSearchModelVersions" => versions::search(store, &request),
        name => return Err(ApiError::invalid(format!("this server does not answer `{name}` here"))),
    };
    Ok(match found {
        Ok(value) => select(&value, field),
        // A fault of the database is a fault of the whole question.
        Err(error) if crate::database::is_fault(&error) => return Err(error),
        Err(error) => select(&json!({"api_error": {"code": error.code.name(), "message": error.message}}), field),
    })
}

fn reread(text: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(text).map_err(|error| ApiError::internal(error.to_string()))
}

/// A run with its experiment and with the versions that were made of it.
fn run(store: &mut Store<'_>, request: &Request, field: &Field) -> Result<Value, ApiError> {
    let mut value = runs::get(store, request)?;
    let wants = |name: &str| {
        field
            .fields
            .iter()
            .filter(|field| field.name == "run")
            .flat_map(|run| &run.fields)
            .any(|field| field.name == name)
    };
    let text = |name: &str| value["run"]["info"][name].as_str().unwrap_or_default().to_owned();
    let (experiment, run_id) = (text("experiment_id"), text("run_id"));
    if wants("experiment") {
        value["run"]["experiment"] =
            experiments::get(store, &Request::default().with("experiment_id", &experiment))?["experiment"].take();
    }
    if wants("modelVersions") {
        let filter = format!("run_id = '{run_id}'");
        value["run"]["model_versions"] =
            versions::search(store, &Request::default().with("filter", &filter))?["model_versions"].take();
    }
    Ok(value)
}

/// What a field selects of a value.
fn select(value: &Value, field: &Field) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| select(value, field)).collect(),
        Value::Object(object) if !field.fields.is_empty() => {
            let one = |field: &Field| {
                let found = match field.name.as_str() {
                    "__typename" => "Mlflow".into(),
                    name => match object.get(&snake(name)) {
                        Some(value) => select(value, field),
                        None => absent(field),
                    },
                };
                (field.alias.clone(), found)
            };
            Value::Object(field.fields.iter().map(one).collect())
        }
        Value::Number(number) if number.is_i64() || number.is_u64() => match field.name.as_str() {
            // A metric's value may be whole and stays a number.
            "value" => value.clone(),
            _ => number.to_string().into(),
        },
        Value::String(text) if field.name == "value" && text == "NaN" => Value::Null,
        other => other.clone(),
    }
}

/// What stands for something that an answer leaves out: an empty list where there may be many, nothing elsewhere.
fn absent(field: &Field) -> Value {
    match field.name.as_str() {
        "tags" | "metrics" | "params" | "datasetInputs" | "modelInputs" | "modelOutputs" | "modelVersions" | "runs" => {
            json!([])
        }
        _ => Value::Null,
    }
}

fn snake(name: &str) -> String {
    let mut found = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            found.push('_');
        }
        found.push(letter.to_ascii_lowercase());
    }
    found
}

fn snake_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (snake(&name), snake_case(value))).collect())
        }
        Value::Array(values) => values.into_iter().map(snake_case).collect(),
        Value::Null => json!({}),
        other => other,
    }
}

/// Reads a question: one query with fields within fields, each with variables for arguments at most.
pub(crate) fn parse(text: &str) -> Result<Vec<Field>, ApiError> {
    let mut reader = Reader { rest: text };
    reader.space();
    if !reader.rest.starts_with('{') {
        match reader.name()?.as_str() {
            "query" => {}
            other => return Err(ApiError::invalid(format!("`{other}`: only queries are answered here"))),
        }
        // Its name, variables and directives do not matter.
        loop {
            reader.space();
            match reader.rest.chars().next() {
                Some('{') => break,
                Some('(') => drop(reader.arguments()?),
                Some('@') => reader.rest = &reader.rest[1..],
                Some(_) => drop(reader.name()?),
                None => return Err(reader.wrong()),
            }
        }
    }
    let fields = reader.selection(0)?;
    reader.space();
    match reader.rest.is_empty() {
        true => Ok(fields),
        false => Err(reader.wrong()),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn wrong(&self) -> ApiError {
        let found: String = self.rest.chars().take(40).collect();
        ApiError::invalid(format!("the question is not understood at `{found}`"))
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
        while let Some(comment) = self.rest.strip_prefix('#') {
            let end = comment.find('\n').unwrap_or(comment.len());
            self.rest = comment[end..].trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
        }
    }

    fn take(&mut self, sign: char) -> bool {
        self.space();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn name(&mut self) -> Result<String, ApiError> {
        self.space();
        let end = self
            .rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.wrong());
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name.to_owned())
    }

    /// Passes what is between parentheses; the first variable in it.
    fn arguments(&mut self) -> Result<Option<String>, ApiError> {
        let end = self.rest.find(')').ok_or_else(|| self.wrong())?;
        let (within, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        let variable = within.split('$').nth(1).unwrap_or_default();
        let name: String =
            variable.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    fn selection(&mut self, depth: usize) -> Result<Vec<Field>, ApiError> {
        if depth > DEEPEST || !self.take('{') {
            return Err(self.wrong());
        }
        let mut fields = Vec::new();
        while !self.take('}') {
            let mut name = self.name()?;
            let alias = name.clone();
            if self.take(':') {
                name = self.name()?;
            }
            self.space();
            let variable = if self.rest.starts_with('(') { self.arguments()? } else { None };
            while self.take('@') {
                self.name()?;
                self.space();
                if self.rest.starts_with('(') {
                    self.arguments()?;
                }
            }
            self.space();
            let within = if self.rest.starts_with('{') { self.selection(depth + 1)? } else { Vec::new() };
            fields.push(Field { alias, name, variable, fields: within });
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_selected_is_found_under_its_other_name() {
        let fields = parse(
            "query GetRun($data: MlflowGetRunInput!) @component(name: \"x\") {\n  mlflowGetRun(input: $data) { run { info { runName endTime startTime } data { metrics { key value step } params { key } } } apiError { code } } }",
        )
        .unwrap();
        assert_eq!((fields[0].name.as_str(), fields[0].variable.as_deref()), ("mlflowGetRun", Some("data")));
        let value = json!({"run": {"info": {"run_name": "a", "start_time": 17}, "data": {"metrics": [{"key": "m", "value": "NaN", "step": 3}, {"key": "n", "value": 2, "step": 0}]}}});
        assert_eq!(
            select(&value, &fields[0]),
            json!({"run": {"info": {"runName": "a", "endTime": null, "startTime": "17"},
                "data": {"metrics": [{"key": "m", "value": null, "step": "3"}, {"key": "n", "value": 2, "step": "0"}], "params": []}}, "apiError": null})
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["", "mutation { x }", "query", "query { a", "{ a { ...F } }", "{ a } b", &"{a".repeat(100)] {
            assert_eq!(parse(text).unwrap_err().code, Code::InvalidParameterValue, "{text}");
        }
    }
}
