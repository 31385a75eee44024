//! Paths of artifacts: names between slashes that lead down and nowhere else.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// The folder within a store that is this server's own.
pub(crate) const RESERVED: &str = ".uploads";

/// Bytes of a path.
const LONGEST: usize = 2048;

/// A path below the root of a store; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// From text as a client writes it, without percent signs for letters.
    ///
    /// # Errors
    /// It leads up, is absolute, or holds what a name may not.
    pub fn new(text: &str) -> Result<ArtifactPath, ApiError> {
        let path = text.trim_matches('/');
        let bad = |why: &str| ApiError::invalid(format!("invalid path `{text}`: {why}"));
        if path.len() > LONGEST {
            return Err(bad("it is too long"));
        }
        if path.is_empty() {
            return Ok(ArtifactPath(String::new()));
        }
        for name in path.split('/') {
            if matches!(name, "" | "." | "..") {
                return Err(bad("it may not hold . or .. or nothing between slashes"));
            }
            if name.len() > 255 {
                return Err(bad("a name in it is longer than 255 bytes"));
            }
            if name.chars().any(|letter| letter == '\\' || letter.is_control()) {
                return Err(bad("it may not hold \\ or control characters"));
            }
        }
        // A drive of Windows'.
        if path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic() {
            return Err(bad("it must be relative"));
        }
        if path.split('/').next() == Some(RESERVED) {
            return Err(bad("that folder is the server's own"));
        }
        // Whoever decodes it once more must not be led up either.
        let again = percent_decode_str(path).decode_utf8_lossy();
        if again.split(['/', '\\']).any(|name| matches!(name, "." | "..")) {
            return Err(bad("it is encoded twice"));
        }
        Ok(ArtifactPath(path.to_owned()))
    }

    /// From the path of a request's address. It is decoded once.
    ///
    /// # Errors
    /// As [`ArtifactPath::new`].
    pub fn decode(text: &str) -> Result<ArtifactPath, ApiError> {
        let decoded = percent_decode_str(text)
            .decode_utf8()
            .map_err(|_| ApiError::invalid(format!("invalid path `{text}`: it is not UTF-8")))?;
        ArtifactPath::new(&decoded)
    }

    /// The path of an address such as `mlflow-artifacts:/1/…`, if it is one that this server keeps.
    pub fn of_uri(uri: &str) -> Option<ArtifactPath> {
        let rest = uri.strip_prefix("mlflow-artifacts:")?;
        let path = match rest.strip_prefix("//") {
            // A host, which is this one.
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        };
        ArtifactPath::new(path).ok()
    }

    /// A path below this one.
    ///
    /// # Errors
    /// As [`ArtifactPath::new`].
    pub fn join(&self, text: &str) -> Result<ArtifactPath, ApiError> {
        let below = ArtifactPath::new(text)?;
        let parts = [self.0.as_str(), below.as_str()];
        Ok(ArtifactPath(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last name in it.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_up_are_refused() {
        for text in [
            "../x",
            "a/../../b",
            "a/./b",
            "a//b",
            "..",
            "a\\..\\b",
            "C:/x",
            "a\0b",
            ".uploads/x",
            "%2e%2e/x",
            "a/%2E%2E/b",
            "%252e%252e/x",
            "..%2fx",
            "a/%5c..%5cb",
            "%ff",
        ] {
            assert!(ArtifactPath::decode(text).is_err(), "{text}");
        }
        for (text, path) in [
            ("/1/a b/c.png", "1/a b/c.png"),
            ("x%20y+z~1%25", "x y+z~1%"),
            ("", ""),
            ("a...b/..c", "a...b/..c"),
            ("/etc/passwd", "etc/passwd"),
        ] {
            assert_eq!(ArtifactPath::decode(text).unwrap().as_str(), path);
        }
        assert_eq!(ArtifactPath::of_uri("mlflow-artifacts:/1/r/artifacts").unwrap().as_str(), "1/r/artifacts");
        assert_eq!(ArtifactPath::of_uri("mlflow-artifacts://host:5000/1/r").unwrap().as_str(), "1/r");
        assert_eq!(ArtifactPath::of_uri("s3://bucket/1"), None);
    }
}
