//! The server's face: which address leads where.

pub mod answer;
mod api;
mod files;
pub(crate) mod graphql;
mod pages;
pub mod security;
pub(crate) mod session;

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode};

use crate::error::{ApiError, Code};
use crate::server::State;

/// Answers a request.
pub(crate) async fn handle(state: Arc<State>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let answered = match state.security.check(&parts).await {
        Ok(()) => route(&state, &parts, body).await,
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| {
        if error.code == Code::Internal {
            eprintln!("error: {}", error.message);
        }
        answer::error(&error, state.security.challenges(&parts))
    });
    answer::guard(response.headers_mut());
    response
}

async fn route(state: &Arc<State>, parts: &Parts, body: Body) -> Result<Response<Body>, ApiError> {
    let path = parts.uri.path().to_owned();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    // What MLflow's pages ask for has a prefix of its own and is the same.
    let below = |version: &str| {
        let rest = path.strip_prefix("/api/").or_else(|| path.strip_prefix("/ajax-api/"))?;
        rest.strip_prefix(version)
    };
    if let Some(call) = below("2.0/mlflow/") {
        return api::call(state, call, parts, body).await;
    }
    if let Some(rest) = below("2.0/mlflow-artifacts/") {
        return files::proxied(state, rest, parts, body).await;
    }
    if below("3.0/mlflow/server-info").is_some() {
        return Ok(answer::json(StatusCode::OK, server_info().into_bytes()));
    }
    match path.as_str() {
        "/health" if reads => Ok(answer::text("OK")),
        "/version" if reads => Ok(answer::text(crate::MLFLOW_VERSION)),
        "/get-artifact" | "/model-versions/get-artifact" if reads => files::by_query(state, &path, parts).await,
        session::PATH => session::serve(&state.security, parts, body).await,
        "/graphql" if parts.method == Method::POST => graphql::serve(state, parts, body).await,
        _ if path.starts_with("/api/") || path.starts_with("/ajax-api/") => Err(no_endpoint(&path)),
        _ if reads => pages::serve(state, &path, parts).await,
        _ => Err(no_endpoint(&path)),
    }
}

/// What this server can do, for clients that ask before they choose a way.
fn server_info() -> String {
    serde_json::json!({
        "store_type": "SqlStore", "workspaces_enabled": false, "trace_archival_enabled": false, "multipart_uploads_enabled": true,
        "multipart_downloads_enabled": false, "features_enabled": {"gateway": false},
        "yolo11": {"version": env!("CARGO_PKG_VERSION"), "keeps_ids": true},
    })
    .to_string()
}

pub(crate) fn no_endpoint(path: &str) -> ApiError {
    ApiError::new(Code::EndpointNotFound, format!("this server has no call `{path}`"))
}
