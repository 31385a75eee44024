//! Tokens and passwords. A password is kept as its argon2 hash; a token, which is random, is compared by its SHA-256.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::PasswordVerifier as _;
use argon2::{Argon2, PasswordHash};
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::error::{ApiError, Code};

/// Logins that are remembered as right, so that not every request costs a hash.
const REMEMBERED: usize = 1024;

/// Who may ask.
pub struct Auth {
    users: Vec<(String, String)>,
    tokens: Vec<[u8; 32]>,
    right: Mutex<HashSet<[u8; 32]>>,
    salt: [u8; 16],
    one_at_a_time: Semaphore,
}

impl Auth {
    /// From lines of a file, `user:hash` each with a hash that [`hash`] made, and from tokens. Errors: a line that is none, by its number.
    ///
    /// # Errors
    /// Neither a user nor a token, a token that is too short, or a line that is not understood.
    pub fn new(users: &str, tokens: &[String]) -> Result<Auth, String> {
        let mut known = Vec::new();
        for (number, line) in (1..).zip(users.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line.split_once(':').ok_or(format!("line {number} is not user:hash"))?;
            PasswordHash::new(hash).map_err(|_| format!("line {number} holds no argon2 hash"))?;
            known.push((user.to_owned(), hash.to_owned()));
        }
        if tokens.iter().any(|token| token.len() < 16) {
            return Err("a token has 16 letters at least".to_owned());
        }
        let tokens: Vec<[u8; 32]> = tokens.iter().map(|token| Sha256::digest(token.as_bytes()).into()).collect();
        if known.is_empty() && tokens.is_empty() {
            return Err("neither a user nor a token".to_owned());
        }
        let salt = crate::store::names::random().map_err(|error| error.message)?;
        Ok(Auth { users: known, tokens, right: Mutex::default(), salt, one_at_a_time: Semaphore::new(1) })
    }

    /// Whether a header `Authorization` is right. A token may be sent as `Bearer`, or as the password of any user, which is what a
    /// browser asks for.
    pub(crate) async fn check(&self, header: Option<&HeaderValue>) -> Result<(), ApiError> {
        let header = header.and_then(|value| value.to_str().ok()).ok_or_else(wrong)?;
        let (scheme, given) = header.split_once(' ').ok_or_else(wrong)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return if self.is_token(given.trim()) { Ok(()) } else { Err(wrong()) };
        }
        let decoded = BASE64_STANDARD.decode(given.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.filter(|_| scheme.eq_ignore_ascii_case("basic")).ok_or_else(wrong)?;
        let (user, password) = pair.split_once(':').ok_or_else(wrong)?;
        self.check_password(user, password).await
    }

    /// Whether a password is a user's, or a token.
    pub(crate) async fn check_password(&self, user: &str, password: &str) -> Result<(), ApiError> {
        if self.is_token(password) {
            return Ok(());
        }
        let mut mark = Sha256::new();
        mark.update(self.salt);
        for part in [user, "\0", password] {
            mark.update(part.as_bytes());
        }
        let mark: [u8; 32] = mark.finalize().into();
        if self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(&mark) {
            return Ok(());
        }
        // One guess at a time, whoever guesses.
        let _place = self.one_at_a_time.acquire().await;
        // An unknown user takes as long as a known one.
        let hash =
            self.users.iter().find(|(known, _)| known == user).or(self.users.first()).map(|(_, hash)| hash.clone());
        let known = self.users.iter().any(|(known, _)| known == user);
        let password = password.to_owned();
        let verified = tokio::task::spawn_blocking(move || hash.is_some_and(|hash| verify(&hash, &password)))
            .await
            .unwrap_or(false);
        if !(known && verified) {
            return Err(wrong());
        }
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED {
            right.clear();
        }
        right.insert(mark);
        Ok(())
    }

    /// Whether there are users with passwords.
    pub(crate) fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether there are tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    fn is_token(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        // Comparing hashes tells nothing of how much of a token was right.
        self.tokens.contains(&given)
    }
}

fn wrong() -> ApiError {
    ApiError::new(Code::Unauthenticated, "who asks? a token, or a user and a password, are needed here, and right ones")
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// The argon2 hash of a password, for a line `user:hash`.
///
/// # Errors
/// The system gives no random numbers.
pub fn hash(password: &str) -> Result<String, String> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).unwrap()
    }

    #[tokio::test]
    async fn only_right_logins_pass() {
        let users = format!("# team\nann:{}\n", hash("secret: word").unwrap());
        let auth = Auth::new(&users, &["0123456789abcdef".to_owned()]).unwrap();
        for _ in 0..2 {
            assert_eq!(auth.check(Some(&basic("ann:secret: word"))).await, Ok(()));
        }
        for right in [basic("anyone:0123456789abcdef"), HeaderValue::from_static("Bearer 0123456789abcdef")] {
            assert_eq!(auth.check(Some(&right)).await, Ok(()));
        }
        for wrong in [
            basic("ann:secret"),
            basic("bob:secret: word"),
            basic("ann"),
            HeaderValue::from_static("Bearer x"),
            HeaderValue::from_static("Basic %"),
        ] {
            assert_eq!(auth.check(Some(&wrong)).await.unwrap_err().code, Code::Unauthenticated);
        }
        assert_eq!(auth.check(None).await.unwrap_err().code, Code::Unauthenticated);
    }

    #[test]
    fn files_and_tokens_that_cannot_be_used_are_named() {
        for (users, tokens, message) in [
            ("", &[][..], "neither a user nor a token"),
            ("\nann", &[], "line 2 is not user:hash"),
            ("ann:secret", &[], "line 1 holds no argon2 hash"),
            ("", &["short".to_owned()], "a token has 16 letters at least"),
        ] {
            assert_eq!(Auth::new(users, tokens).err().as_deref(), Some(message));
        }
    }
}
