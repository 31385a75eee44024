//! The calls: a body comes in, goes to the database, and its answer goes out.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};

use super::{answer, files, no_endpoint};
use crate::calls::{CALLS, Work};
use crate::error::{ApiError, Code};
use crate::request::{Request, decoded};
use crate::server::State;
use crate::store::Store;

/// Bytes of a call's body.
const LONGEST_BODY: usize = 32 << 20;

/// Answers a call; `path` is what follows `/api/2.0/mlflow/`.
pub(crate) async fn call(
    state: &Arc<State>,
    path: &str,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    if let Some(answer) = files::of_call(state, path, parts).await {
        return answer;
    }
    if path == "upload-artifact" && parts.method == Method::POST {
        return files::upload_by_query(state, parts, body).await;
    }
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let found =
        CALLS.iter().filter(|call| call.method == method.as_str()).find_map(|call| Some((call, call.matches(path)?)));
    let Some((call, parameters)) = found else {
        return Err(no_endpoint(path));
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let reads_query = *method == Method::GET;
    let is_json = is_json(parts);
    let body = to_bytes(body, LONGEST_BODY).await.map_err(|_| {
        ApiError::new(Code::TooLarge, format!("the body did not arrive, or has more than {LONGEST_BODY} bytes"))
    })?;
    // A form of another site's can send bodies too, but none of this type.
    if !body.is_empty() && !is_json {
        return Err(ApiError::invalid("the body must have the type application/json"));
    }
    let parse = || -> Result<Request, ApiError> {
        let given =
            if reads_query && body.is_empty() { Request::from_query(&query)? } else { Request::from_json(&body)? };
        // The path decides what the call is about, whatever its body says.
        Ok(parameters.iter().fold(given, |given, (name, value)| given.with(name, &decoded(value))))
    };
    let text = match call.work {
        Work::Log(check) => {
            let batch = check(&body)?;
            state.writer()?.write(move |db| batch.write(&mut Store::new(db))).await?.to_string().into_bytes()
        }
        Work::Write(work) => {
            let given = parse()?;
            state.writer()?.write(move |db| work(&mut Store::new(db), &given)).await?.to_string().into_bytes()
        }
        Work::Read(work) => {
            let given = parse()?;
            state.read(move |store| work(store, &given).map(|value| value.to_string().into_bytes())).await?
        }
        Work::ReadText(work) => {
            let given = parse()?;
            state.read(move |store| work(store, &given)).await?
        }
    };
    Ok(answer::json(StatusCode::OK, text))
}

pub(crate) fn is_json(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
