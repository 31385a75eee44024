//! Passwords and keys: made, carried and kept out of everything that is printed.

use std::fmt;

/// A password or key. It prints as `***`; [`Secret::reveal`] gives the text to those who must send it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// 32 letters and digits from the system's random source, 190 bits. Errors: the source fails.
    pub fn random() -> Result<Secret, getrandom::Error> {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::with_capacity(32);
        while text.len() < 32 {
            let mut bytes = [0_u8; 64];
            getrandom::fill(&mut bytes)?;
            // 248 is the last multiple of 62 in a byte: beyond it some letters would be likelier than others.
            let letters =
                bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
            text.extend(letters.take(32 - text.len()));
        }
        Ok(Secret(text))
    }

    /// The text itself, for the one who must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// A text with every secret in it replaced by `***`: for the lines of others' logs.
pub fn redacted(text: &str, secrets: &[Secret]) -> String {
    // Longest first, so that a secret that contains another goes as a whole; short ones are words of any log.
    let mut known: Vec<&str> = secrets.iter().map(Secret::reveal).filter(|secret| secret.len() >= 4).collect();
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    known.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::new("correct horse");
        assert_eq!((format!("{secret:?}"), format!("{secret}")), ("***".to_owned(), "***".to_owned()));
        assert_eq!(redacted("password=correct horse!", &[secret]), "password=***!");
        assert_eq!(redacted("abcdef", &[Secret::new("abcd"), Secret::new("abcdef")]), "***");
        assert_eq!(redacted("as is", &[Secret::new("")]), "as is");
    }

    #[test]
    fn random_secrets_differ_and_need_no_quotes() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 32);
        assert!(one.reveal().chars().all(|letter| letter.is_ascii_alphanumeric()));
    }
}
