//! Answers, and the headers that keep them harmless in a browser.

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};

use crate::error::{ApiError, Code};

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    with(status, "application/json", Body::from(body))
}

/// An answer in plain text.
pub(crate) fn text(body: &'static str) -> Response<Body> {
    with(StatusCode::OK, "text/plain; charset=utf-8", Body::from(body))
}

/// An answer of some type.
pub(crate) fn with(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An error. `challenge`: where a login is missing, the browser is to ask for it.
pub(crate) fn error(error: &ApiError, challenge: bool) -> Response<Body> {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, error.body());
    match error.code {
        Code::Unauthenticated if challenge => {
            let challenge = HeaderValue::from_static("Basic realm=\"yolo11\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Code::TemporarilyUnavailable => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// Headers of every answer, unless it has its own.
pub(crate) fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The type of a file, by its name's end.
pub(crate) fn kind_of(name: &str) -> &'static str {
    let end = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "bmp" => "image/bmp",
        "ico" => "image/x-icon",
        "avif" => "image/avif",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "txt" | "log" | "md" | "yaml" | "yml" | "toml" | "py" | "cfg" | "ini" | "sh" | "rs" | "jsonl" | "tsv"
        | "conf" | "mlmodel" => "text/plain; charset=utf-8",
        _ => match name.ends_with("MLmodel") || name.ends_with("mlmodel") {
            true => "text/plain; charset=utf-8",
            false => "application/octet-stream",
        },
    }
}
