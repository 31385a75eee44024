//! The server's own pages, embedded in the program, or another set of them from a folder.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use super::{answer, no_endpoint};
use crate::artifacts::ArtifactPath;
use crate::error::ApiError;
use crate::server::State;

static PAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/pages");

/// Everything comes from this server, no script or style stands in the markup, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether a path is one of the server's own pages, or a file of theirs.
pub(crate) fn is_own(path: &str) -> bool {
    path == "/" || PAGES.get_file(path.trim_start_matches('/')).is_some()
}

/// Answers with a page's file. Where no file has the name, the address is one within the pages, and they find their way themselves.
pub(crate) async fn serve(state: &Arc<State>, path: &str, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let name = ArtifactPath::decode(path)?;
    if let Some(folder) = &state.ui_folder {
        return from_folder(folder, &name).await;
    }
    let found = if name.is_root() { None } else { PAGES.get_file(name.as_str()) };
    let file = match found {
        Some(file) => file,
        // A file that is asked for by name and not there is not to be taken for a page.
        None if name.name().contains('.') => return Err(no_endpoint(path)),
        None => PAGES.get_file("index.html").ok_or_else(|| no_endpoint(path))?,
    };
    let mark: String = Sha256::digest(file.contents()).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let mark = format!("\"{mark}\"");
    let unchanged = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == mark.as_bytes());
    let kind = answer::kind_of(file.path().to_str().unwrap_or_default());
    let mut response = match unchanged {
        true => answer::with(StatusCode::NOT_MODIFIED, kind, Body::empty()),
        false => answer::with(StatusCode::OK, kind, Body::from(file.contents())),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(mark) = HeaderValue::from_str(&mark) {
        headers.insert(header::ETAG, mark);
    }
    Ok(response)
}

/// MLflow's own pages, as they lie in its wheel (`mlflow/server/js/build`): they expect their files below `/static-files/`.
async fn from_folder(folder: &Path, name: &ArtifactPath) -> Result<Response<Body>, ApiError> {
    let below = name.as_str().strip_prefix("static-files/").unwrap_or(name.as_str());
    let place = if below.is_empty() { folder.join("index.html") } else { folder.join(below) };
    let bytes = tokio::fs::read(&place).await.map_err(|_| no_endpoint(name.as_str()))?;
    let mut response =
        answer::with(StatusCode::OK, answer::kind_of(place.to_str().unwrap_or_default()), Body::from(bytes));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
