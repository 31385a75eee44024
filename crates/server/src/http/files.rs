//! Artifacts over HTTP: up, down, listed, deleted, in parts.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{answer, api, no_endpoint};
use crate::artifacts::{ArtifactPath, Download, Entry, Part, PartAddress, Wanted};
use crate::error::{ApiError, Code};
use crate::server::State;
use crate::store::{Store, logged_models, runs, versions};

/// Bytes that are read at once.
const PIECE: usize = 128 * 1024;

/// Bytes of an upload that is too long which are read and thrown away.
const PATIENCE: u64 = 16 << 20;

/// The most parts of an upload, as with S3.
const MOST_PARTS: i64 = 10_000;

/// Bytes of a JSON body here.
const LONGEST_BODY: usize = 4 << 20;

/// Nothing of a file runs as part of this server's pages: no script, no form, no window of its own, another origin.
const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:";

/// Answers what is below `/api/2.0/mlflow-artifacts/`.
pub(crate) async fn proxied(
    state: &Arc<State>,
    path: &str,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let query = crate::request::Request::from_query(parts.uri.query().unwrap_or_default())?;
    if path == "artifacts" && parts.method == Method::GET {
        let folder = ArtifactPath::new(&query.text("path")?.unwrap_or_default())?;
        let entries = list(state, folder).await?;
        return Ok(listing(json!({}), &entries, ""));
    }
    if let Some(rest) = path.strip_prefix("artifacts/") {
        let path = ArtifactPath::decode(rest)?;
        return match parts.method {
            Method::GET | Method::HEAD => send(state, path, parts).await,
            Method::PUT => {
                upload(state, path, body).await?;
                Ok(answer::json(StatusCode::OK, b"{}".to_vec()))
            }
            Method::DELETE => {
                let artifacts = Arc::clone(&state.artifacts);
                blocking(move || artifacts.delete(&path)).await?;
                Ok(answer::json(StatusCode::OK, b"{}".to_vec()))
            }
            _ => Err(no_endpoint(rest)),
        };
    }
    let Some(rest) = path.strip_prefix("mpu/") else { return Err(no_endpoint(path)) };
    match (rest.split_once('/'), &parts.method) {
        (Some(("create", path)), &Method::POST) => begin_parts(state, ArtifactPath::decode(path)?, parts, body).await,
        (Some(("complete", path)), &Method::POST) => {
            complete_parts(state, ArtifactPath::decode(path)?, parts, body).await
        }
        (Some(("abort", path)), &Method::POST) => {
            let body = json_body(parts, body).await?;
            let (path, id) = (in_parts(ArtifactPath::decode(path)?, &body)?, body.required("upload_id")?);
            let artifacts = Arc::clone(&state.artifacts);
            blocking(move || artifacts.abort_parts(&path, &id)).await?;
            Ok(answer::json(StatusCode::OK, b"{}".to_vec()))
        }
        (Some(("part", rest)), &Method::PUT) => put_part(state, rest, body).await,
        _ => Err(no_endpoint(path)),
    }
}

/// Answers those of MLflow's calls that are about artifacts of a run or a model: listing and reading.
pub(crate) async fn of_call(state: &Arc<State>, path: &str, parts: &Parts) -> Option<Result<Response<Body>, ApiError>> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    if path == "artifacts/list" {
        return Some(list_of_run(state, parts).await);
    }
    let (model_id, what) = path.strip_prefix("logged-models/")?.split_once("/artifacts/")?;
    match what {
        "directories" => Some(list_of_model(state, model_id, parts).await),
        "files" => Some(file_of_model(state, model_id, parts).await),
        _ => None,
    }
}

fn query_of(parts: &Parts) -> Result<crate::request::Request, ApiError> {
    crate::request::Request::from_query(parts.uri.query().unwrap_or_default())
}

async fn list_of_run(state: &Arc<State>, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let query = query_of(parts)?;
    let run_id = query.run_id()?;
    let uri = state.read(move |store| Ok(runs::find(store, &run_id)?.1.artifact_uri)).await?;
    let below = ArtifactPath::new(&query.text("path")?.unwrap_or_default())?;
    list_below(state, &uri, &below).await
}

async fn list_of_model(state: &Arc<State>, model_id: &str, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let uri = uri_of_model(state, model_id).await?;
    let below = ArtifactPath::new(&query_of(parts)?.text("artifact_directory_path")?.unwrap_or_default())?;
    list_below(state, &uri, &below).await
}

async fn file_of_model(state: &Arc<State>, model_id: &str, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let uri = uri_of_model(state, model_id).await?;
    let path = kept_here(&uri)?.join(&query_of(parts)?.required("artifact_file_path")?)?;
    send(state, path, parts).await
}

async fn uri_of_model(state: &Arc<State>, model_id: &str) -> Result<String, ApiError> {
    let model_id = crate::request::decoded(model_id);
    state.read(move |store| logged_models::artifact_uri(store, &model_id)).await
}

async fn list_below(state: &Arc<State>, uri: &str, below: &ArtifactPath) -> Result<Response<Body>, ApiError> {
    let entries = list(state, kept_here(uri)?.join(below.as_str())?).await?;
    Ok(listing(json!({"root_uri": uri}), &entries, below.as_str()))
}

fn listing(mut answer: Value, entries: &[Entry], below: &str) -> Response<Body> {
    if !entries.is_empty() {
        answer["files"] = entries.iter().map(|entry| entry.to_json(below)).collect();
    }
    answer::json(StatusCode::OK, answer.to_string().into_bytes())
}

/// The path of an address that leads into this server's artifacts.
fn kept_here(uri: &str) -> Result<ArtifactPath, ApiError> {
    ArtifactPath::of_uri(uri).ok_or_else(|| {
        ApiError::new(Code::NotImplemented, format!("the artifacts are at {uri}, which clients reach themselves"))
    })
}

/// `/get-artifact?run_uuid=…&path=…` and `/model-versions/get-artifact?name=…&version=…&path=…`.
pub(crate) async fn by_query(state: &Arc<State>, which: &str, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let query = query_of(parts)?;
    let below = query.required("path")?;
    let uri = match which {
        "/get-artifact" => {
            let run_id = query.run_id()?;
            state.read(move |store| Ok(runs::find(store, &run_id)?.1.artifact_uri)).await?
        }
        _ => {
            let answer = state.read(move |store| versions::download_uri(store, &query)).await?;
            answer["artifact_uri"].as_str().unwrap_or_default().to_owned()
        }
    };
    let path = kept_here(&uri)?.join(&below)?;
    send(state, path, parts).await
}

/// `POST upload-artifact?run_uuid=…&path=…`: what MLflow's pages upload.
pub(crate) async fn upload_by_query(state: &Arc<State>, parts: &Parts, body: Body) -> Result<Response<Body>, ApiError> {
    let query = query_of(parts)?;
    let (run_id, below) = (query.run_id()?, query.required("path")?);
    let uri = state.read(move |store: &mut Store<'_>| Ok(runs::find(store, &run_id)?.1.artifact_uri)).await?;
    upload(state, kept_here(&uri)?.join(&below)?, body).await?;
    Ok(answer::json(StatusCode::OK, b"{}".to_vec()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(ApiError::internal("the server failed at this call")))
}

async fn list(state: &Arc<State>, path: ArtifactPath) -> Result<Vec<Entry>, ApiError> {
    let artifacts = Arc::clone(&state.artifacts);
    blocking(move || artifacts.list(&path)).await
}

/// Sends a file, or the bytes of it that are asked for.
async fn send(state: &Arc<State>, path: ArtifactPath, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let head = parts.method == Method::HEAD;
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let wanted = Wanted::parse(text(header::RANGE).as_deref());
    // A range of another version of the file would not fit what the client has.
    let condition = text(header::IF_RANGE);
    let artifacts = Arc::clone(&state.artifacts);
    let name = path.name().to_owned();
    let quoted = |mark: &str| format!("\"{mark}\"");
    let (download, wanted) = blocking(move || {
        let found = artifacts.get(&path, wanted)?;
        let same =
            condition.is_none_or(|condition| found.mark.as_deref().is_some_and(|mark| condition == quoted(mark)));
        match same {
            true => Ok((found, wanted)),
            false => Ok((artifacts.get(&path, Wanted::All)?, Wanted::All)),
        }
    })
    .await?;
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    let kind = answer::kind_of(&name);
    set(header::CONTENT_TYPE, kind.to_owned());
    set(header::CONTENT_SECURITY_POLICY, SANDBOX.to_owned());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CACHE_CONTROL, "no-cache".to_owned());
    set(header::CONTENT_LENGTH, (download.range.end - download.range.start).to_string());
    let active = ["text/html", "image/svg+xml", "text/xml", "text/javascript", "application/pdf", "application/wasm"];
    let way = if active.iter().any(|active| kind.starts_with(active)) { "attachment" } else { "inline" };
    set(header::CONTENT_DISPOSITION, format!("{way}; filename*=UTF-8''{}", encoded(&name)));
    if let Some(mark) = &download.mark {
        set(header::ETAG, quoted(mark));
    }
    let unchanged = text(header::IF_NONE_MATCH)
        .is_some_and(|given| download.mark.as_deref().is_some_and(|mark| given == quoted(mark)));
    let status = if unchanged && wanted == Wanted::All {
        StatusCode::NOT_MODIFIED
    } else if wanted == Wanted::All {
        StatusCode::OK
    } else {
        set(
            header::CONTENT_RANGE,
            format!("bytes {}-{}/{}", download.range.start, download.range.end - 1, download.length),
        );
        StatusCode::PARTIAL_CONTENT
    };
    if status == StatusCode::NOT_MODIFIED {
        headers.remove(header::CONTENT_LENGTH);
    }
    let body = if head || status == StatusCode::NOT_MODIFIED { Body::empty() } else { stream(download) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A name as it may stand in a header (RFC 8187).
fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A body that is read as fast as the client takes it.
fn stream(download: Download) -> Body {
    let mut left = download.range.end - download.range.start;
    let mut content = download.content;
    if left <= PIECE as u64 {
        let mut bytes = Vec::with_capacity(left as usize);
        return match content.read_to_end(&mut bytes) {
            Ok(_) => Body::from(bytes),
            Err(_) => Body::empty(),
        };
    }
    let (pieces, arriving) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        while left > 0 {
            let mut piece = vec![0; PIECE.min(left as usize)];
            let read = match content.read(&mut piece) {
                Ok(0) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                other => other,
            };
            let failed = read.is_err();
            if let Ok(count) = &read {
                piece.truncate(*count);
                left -= *count as u64;
            }
            if pieces.blocking_send(read.map(|_| Bytes::from(piece))).is_err() || failed {
                return;
            }
        }
    });
    let arriving =
        futures_util::stream::unfold(arriving, |mut arriving| async { Some((arriving.recv().await?, arriving)) });
    Body::from_stream(arriving)
}

/// Takes a body into a staged file.
async fn receive(state: &Arc<State>, body: Body) -> Result<tempfile::NamedTempFile, ApiError> {
    let artifacts = Arc::clone(&state.artifacts);
    let staged = blocking(move || artifacts.stage()).await?;
    let told = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => ApiError::unavailable("the disk that holds the artifacts is full"),
        _ => ApiError::unavailable(format!("the upload cannot be written: {error}")),
    };
    let mut file = tokio::fs::File::from_std(staged.reopen().map_err(told)?);
    let mut body = body.into_data_stream();
    let mut length = 0u64;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| ApiError::invalid("the upload broke off"))?;
        length += piece.len() as u64;
        if length > state.longest_upload {
            // A client that still sends when the connection closes may not see the answer.
            if length > state.longest_upload.saturating_add(PATIENCE) {
                break;
            }
            continue;
        }
        file.write_all(&piece).await.map_err(told)?;
    }
    if length > state.longest_upload {
        let most = state.longest_upload;
        let message = format!("an artifact may have {most} bytes at most; see --max-upload-bytes");
        return Err(ApiError::new(Code::TooLarge, message));
    }
    file.flush().await.map_err(told)?;
    Ok(staged)
}

async fn upload(state: &Arc<State>, path: ArtifactPath, body: Body) -> Result<(), ApiError> {
    let staged = receive(state, body).await?;
    let artifacts = Arc::clone(&state.artifacts);
    blocking(move || artifacts.put(&path, staged)).await
}

async fn json_body(parts: &Parts, body: Body) -> Result<crate::request::Request, ApiError> {
    if !api::is_json(parts) {
        return Err(ApiError::invalid("the body must have the type application/json"));
    }
    let body = to_bytes(body, LONGEST_BODY).await;
    crate::request::Request::from_json(&body.map_err(|_| ApiError::new(Code::TooLarge, "the body is too long"))?)
}

/// What an upload in parts is for: the address names the folder, and the body the client's own file, of which the name counts.
fn in_parts(folder: ArtifactPath, body: &crate::request::Request) -> Result<ArtifactPath, ApiError> {
    let local = body.text("path")?.unwrap_or_default();
    folder.join(local.rsplit(['/', '\\']).next().unwrap_or_default())
}

async fn begin_parts(
    state: &Arc<State>,
    path: ArtifactPath,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let origin = state.security.own_address(parts);
    let prefix = if parts.uri.path().starts_with("/ajax-api/") { "ajax-api" } else { "api" };
    let body = json_body(parts, body).await?;
    let path = in_parts(path, &body)?;
    let count = body.int("num_parts")?.unwrap_or(0);
    if !(1..=MOST_PARTS).contains(&count) {
        return Err(ApiError::invalid(format!("`num_parts` is {count}; it must be between 1 and {MOST_PARTS}")));
    }
    let artifacts = Arc::clone(&state.artifacts);
    let (id, addresses) = blocking(move || artifacts.begin_parts(&path, count as u64)).await?;
    let credential = |(number, address): (usize, PartAddress)| {
        let number = number + 1;
        let url = match address {
            PartAddress::Store(url) => url,
            PartAddress::Server => format!("{origin}/{prefix}/2.0/mlflow-artifacts/mpu/part/{id}/{number}"),
        };
        json!({"url": url, "part_number": number})
    };
    let credentials: Vec<Value> = addresses.into_iter().enumerate().map(credential).collect();
    Ok(answer::json(StatusCode::OK, json!({"upload_id": id, "credentials": credentials}).to_string().into_bytes()))
}

async fn put_part(state: &Arc<State>, rest: &str, body: Body) -> Result<Response<Body>, ApiError> {
    let (id, number) = rest.split_once('/').ok_or_else(|| no_endpoint(rest))?;
    let number = number.parse().ok().filter(|number| (1..=MOST_PARTS as u64).contains(number));
    let number: u64 = number.ok_or_else(|| ApiError::invalid("a part's number is between 1 and 10000"))?;
    let id = id.to_owned();
    let staged = receive(state, body).await?;
    let artifacts = Arc::clone(&state.artifacts);
    let mark = blocking(move || artifacts.put_part(&id, number, staged)).await?;
    let mut response = answer::json(StatusCode::OK, Vec::new());
    if let Ok(mark) = HeaderValue::from_str(&format!("\"{mark}\"")) {
        response.headers_mut().insert(header::ETAG, mark);
    }
    Ok(response)
}

async fn complete_parts(
    state: &Arc<State>,
    path: ArtifactPath,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let body = json_body(parts, body).await?;
    let path = in_parts(path, &body)?;
    let id = body.required("upload_id")?;
    let mut parts = Vec::new();
    for part in body.objects("parts")? {
        let number = part.int("part_number")?.filter(|number| (1..=MOST_PARTS).contains(number));
        let number = number.ok_or_else(|| ApiError::invalid("a part has no number"))? as u64;
        parts.push(Part { number, mark: part.text("etag")?.unwrap_or_default() });
    }
    parts.sort_by_key(|part| part.number);
    parts.dedup_by_key(|part| part.number);
    let artifacts = Arc::clone(&state.artifacts);
    blocking(move || artifacts.complete_parts(&path, &id, &parts)).await?;
    Ok(answer::json(StatusCode::OK, b"{}".to_vec()))
}
