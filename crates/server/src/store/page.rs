//! Pages of long answers: a token says where the next one begins.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::error::ApiError;

/// Where a page begins.
///
/// # Errors
/// A token that this server did not make.
pub fn offset(token: Option<&str>) -> Result<usize, ApiError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(0) };
    let bytes = BASE64_STANDARD.decode(token).ok();
    let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let offset = value.and_then(|value| value.get("offset")?.as_u64());
    offset
        .map(|offset| offset as usize)
        .ok_or_else(|| ApiError::invalid(format!("`{token}` is not a page token of this server")))
}

/// The token of the page that begins at `offset`.
pub fn token(offset: usize) -> String {
    BASE64_STANDARD.encode(format!("{{\"offset\": {offset}}}"))
}

/// A page of `all`, and the token of the next one where there is more.
pub fn cut<T>(all: Vec<T>, token_given: Option<&str>, most: usize) -> Result<(Vec<T>, Option<String>), ApiError> {
    let start = offset(token_given)?;
    let next = start.saturating_add(most);
    let more = all.len() > next;
    Ok((all.into_iter().skip(start).take(most).collect(), more.then(|| token(next))))
}

/// An answer with a list, which is left out where it is empty, and the token of the next page.
pub fn answer(name: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = json!({});
    if !items.is_empty() {
        answer[name] = items.into();
    }
    if let Some(token) = next {
        answer["next_page_token"] = token.into();
    }
    answer
}
