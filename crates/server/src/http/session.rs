//! Signing in from the pages: a session, which a cookie names and this process remembers. It ends when it is signed out of, when it is not
//! used for a week, or with the server. Programs need none, they send their login with each request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::security::{Security, host};
use super::{answer, api, no_endpoint};
use crate::error::{ApiError, Code};
use crate::request::Request;
use crate::store::names;

/// Where the pages ask who is signed in (GET), sign in (POST) and out (DELETE).
pub(crate) const PATH: &str = "/session";

/// How long a session may lie unused.
const IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions at a time; the one that was not used for the longest makes room.
const MOST: usize = 1024;
/// Bytes of a login.
const LONGEST: usize = 4096;

/// Who is signed in. Of what the cookies hold only the hashes are kept.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    user: String,
    used: Instant,
}

impl Sessions {
    /// Who is signed in with this request's cookie.
    pub(crate) fn user(&self, parts: &Parts) -> Option<String> {
        let key = key(&cookie(parts)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.used.elapsed() < IDLE);
        let session = open.get_mut(&key)?;
        session.used = Instant::now();
        Some(session.user.clone())
    }

    /// A new session: what its cookie holds.
    fn begin(&self, user: &str) -> Result<String, ApiError> {
        let secret: String = names::random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key)
        {
            open.remove(&oldest);
        }
        open.insert(key(&secret), Session { user: user.to_owned(), used: Instant::now() });
        Ok(secret)
    }

    fn end(&self, parts: &Parts) {
        if let Some(secret) = cookie(parts) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(&secret));
        }
    }
}

/// Answers what is asked at [`PATH`].
pub(crate) async fn serve(security: &Security, parts: &Parts, body: Body) -> Result<Response<Body>, ApiError> {
    let told = |value: serde_json::Value| answer::json(StatusCode::OK, value.to_string().into_bytes());
    let with_cookie = |mut response: Response<Body>, secret: &str, rest: &str| {
        let secure = if security.own_address(parts).starts_with("https") { "; Secure" } else { "" };
        let text = format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{rest}", cookie_name(parts));
        let value = HeaderValue::from_str(&text).map_err(|_| ApiError::invalid("the Host header cannot be used"))?;
        response.headers_mut().insert(header::SET_COOKIE, value);
        Ok(response)
    };
    match (&parts.method, &security.auth) {
        (&Method::GET, None) => Ok(told(json!({"needed": false}))),
        (&Method::GET, Some(auth)) => {
            // Somebody who brings a login along, as a proxy may, needs no session.
            if auth.check(parts.headers.get(header::AUTHORIZATION)).await.is_ok() {
                return Ok(told(json!({"needed": false})));
            }
            let user = security.sessions.user(parts);
            Ok(told(json!({"needed": true, "user": user, "users": auth.has_users(), "tokens": auth.has_tokens()})))
        }
        (&Method::POST, Some(auth)) => {
            if !api::is_json(parts) {
                return Err(ApiError::invalid("the body must have the type application/json"));
            }
            let body = to_bytes(body, LONGEST).await;
            let body = body.map_err(|_| ApiError::new(Code::TooLarge, "that is too long for a login"))?;
            let given = Request::from_json(&body)?;
            let user = given.text("user")?.unwrap_or_default();
            auth.check_password(&user, &given.text("password")?.unwrap_or_default()).await?;
            with_cookie(told(json!({"user": user})), &security.sessions.begin(&user)?, "")
        }
        (&Method::DELETE, Some(_)) => {
            security.sessions.end(parts);
            with_cookie(told(json!({})), "", "; Max-Age=0")
        }
        _ => Err(no_endpoint(PATH)),
    }
}

fn key(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Cookies are shared by all servers of a host, whatever their port: each has a name of its own.
fn cookie_name(parts: &Parts) -> String {
    let host = host(parts);
    let port =
        host.rsplit(':').next().filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    format!("yolo11-session-{}", port.unwrap_or("0"))
}

fn cookie(parts: &Parts) -> Option<String> {
    let name = cookie_name(parts);
    let headers = parts.headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = headers.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}
