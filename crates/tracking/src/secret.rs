//! Keeps passwords, tokens and keys out of everything that is written or shown.

use crate::Environment;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Parts of names whose values are secrets.
const SECRET_WORDS: [&str; 9] =
    ["password", "passwd", "secret", "token", "api_key", "apikey", "access_key", "credential", "private_key"];

/// Whether a setting, tag or variable of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A value as it may be shown: masked where its name tells a secret, otherwise with the credentials of addresses in it masked.
pub fn masked(name: &str, value: &str) -> String {
    if is_secret_name(name) && !value.is_empty() { MASK.to_owned() } else { mask_addresses(value) }
}

/// The text with `user:password@` of every address replaced by `***@`.
pub fn mask_addresses(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        result += before;
        let end = after.find(|mark: char| "/?# \t\n\"'<>,".contains(mark)).unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rfind('@') {
            Some(at) => {
                result += MASK;
                result += &authority[at..];
            }
            None => result += authority,
        }
        rest = &after[end..];
    }
    result + rest
}

/// An address without its credentials, and those.
pub fn split_credentials(uri: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = uri.split_once("://") else { return (uri.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else { return (uri.to_owned(), None) };
    let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
    (format!("{scheme}://{}", &rest[at + 1..]), Some((percent_decoded(user), percent_decoded(password))))
}

pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Masks known secrets wherever they turn up, such as in what a server says.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Knows the secrets of an environment.
    pub fn of(environment: &Environment) -> Self {
        // A very short one would mask ordinary words.
        let mut secrets: Vec<String> =
            environment.secrets().filter(|secret| secret.len() >= 4).map(str::to_owned).collect();
        if let Some(uri) = environment.get("MLFLOW_TRACKING_URI")
            && let (_, Some((_, password))) = split_credentials(uri)
            && password.len() >= 4
        {
            secrets.push(password);
        }
        // The longest first: one may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Redactor { secrets }
    }

    /// The text without them.
    pub fn redact(&self, text: &str) -> String {
        let text = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK));
        mask_addresses(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        assert_eq!(mask_addresses("see https://ann:pw@h:1/x and http://h/y"), "see https://***@h:1/x and http://h/y");
        assert_eq!(mask_addresses("s3://bucket/a@b"), "s3://bucket/a@b");
        assert_eq!(masked("mlflow.tags.api_key", "k"), "***");
        assert_eq!(masked("AWS_SECRET_ACCESS_KEY", "k"), "***");
        assert_eq!(masked("epochs", "3"), "3");
        assert_eq!(
            split_credentials("https://ann:p%40w@h:1/x"),
            ("https://h:1/x".to_owned(), Some(("ann".to_owned(), "p@w".to_owned())))
        );
        assert_eq!(split_credentials("http://h/a@b"), ("http://h/a@b".to_owned(), None));
        let environment = Environment::from_pairs([
            ("MLFLOW_TRACKING_TOKEN", "abcdef"),
            ("MLFLOW_TRACKING_URI", "http://u:longpassword@h"),
            ("USER", "ann"),
        ]);
        let redactor = Redactor::of(&environment);
        assert_eq!(redactor.redact("ann sent Bearer abcdef, longpassword"), "ann sent Bearer ***, ***");
    }
}
