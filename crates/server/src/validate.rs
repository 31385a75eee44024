//! What names and values may be; the limits are those of MLflow's own server.

use crate::error::ApiError;

/// Letters of a metric's, param's or tag's name.
const KEY: usize = 250;
/// Letters of a param's value; more are cut off.
const PARAM_VALUE: usize = 6000;
/// Letters of a tag's value; more are cut off.
const TAG_VALUE: usize = 8000;
/// Letters of an experiment's name.
const EXPERIMENT_NAME: usize = 500;
/// Letters of a value of an experiment's tag.
const EXPERIMENT_TAG_VALUE: usize = 20_000;
/// Letters of a value of a tag in the registry.
const REGISTRY_TAG_VALUE: usize = 100_000;
/// Letters of a registered model's name, and of an alias.
const REGISTRY_NAME: usize = 255;

/// Checks the name of a metric, param or tag: letters of words and `/ . - : space`, and a path in its simplest form.
///
/// # Errors
/// It may not be used; `what` says for which kind of thing.
pub fn key(what: &str, name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid(format!("a {what} has no name")));
    }
    longest(what, name, KEY)?;
    let allowed = |letter: char| letter.is_alphanumeric() || "_/.- :".contains(letter);
    if let Some(letter) = name.chars().find(|&letter| !allowed(letter)) {
        return Err(ApiError::invalid(format!(
            "the name `{name}` of a {what} holds `{letter}`; letters, digits and _ / . - : and spaces are allowed"
        )));
    }
    let simplest = !name.starts_with('/') && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !simplest {
        return Err(ApiError::invalid(format!("the name `{name}` of a {what} is not a path in its simplest form")));
    }
    Ok(())
}

fn longest(what: &str, text: &str, letters: usize) -> Result<(), ApiError> {
    if text.len() > letters && text.chars().count() > letters {
        let start: String = text.chars().take(40).collect();
        return Err(ApiError::invalid(format!("`{start}…`: a {what} may have {letters} letters at most")));
    }
    Ok(())
}

/// The beginning of a text, so many letters of it.
fn cut(text: &str, letters: usize) -> &str {
    match text.len() > letters {
        false => text,
        true => text.char_indices().nth(letters).map_or(text, |(end, _)| &text[..end]),
    }
}

/// A param's value as it is kept.
pub fn param_value(value: &str) -> &str {
    cut(value, PARAM_VALUE)
}

/// A tag's value as it is kept.
pub fn tag_value(value: &str) -> &str {
    cut(value, TAG_VALUE)
}

/// Checks an experiment's name.
///
/// # Errors
/// It is empty or too long.
pub fn experiment_name(name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::invalid("an experiment's name may not be empty"));
    }
    longest("experiment's name", name, EXPERIMENT_NAME)
}

/// Checks a tag of an experiment.
///
/// # Errors
/// Its name or value may not be used.
pub fn experiment_tag(name: &str, value: &str) -> Result<(), ApiError> {
    key("tag", name)?;
    longest("value of an experiment's tag", value, EXPERIMENT_TAG_VALUE)
}

/// Checks a tag of a registered model or a version.
///
/// # Errors
/// Its name or value may not be used.
pub fn registry_tag(name: &str, value: &str) -> Result<(), ApiError> {
    key("tag", name)?;
    longest("value of a tag", value, REGISTRY_TAG_VALUE)
}

/// Checks a registered model's name.
///
/// # Errors
/// It is empty, too long, or holds a letter that addresses of models use.
pub fn model_name(name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::invalid("a registered model's name may not be empty"));
    }
    if name.contains(['/', ':']) {
        return Err(ApiError::invalid(format!("the model name `{name}` may not hold / or :")));
    }
    longest("registered model's name", name, REGISTRY_NAME)
}

/// Checks an alias.
///
/// # Errors
/// It is empty, too long, reads like a version, or holds other letters than a word's.
pub fn alias(name: &str) -> Result<(), ApiError> {
    longest("alias", name, REGISTRY_NAME)?;
    let word = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "_-".contains(letter));
    let version = name
        .strip_prefix(['v', 'V'])
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|letter| letter.is_ascii_digit()));
    if !word || version || name.eq_ignore_ascii_case("latest") {
        return Err(ApiError::invalid(format!(
            "the alias `{name}` cannot be used: letters, digits, _ and - are allowed, and neither `latest` nor what reads like a version"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_on_other_servers() {
        for name in ["lr", "metrics/mAP50-95B", "system/cpu usage", "a:b", "Größe"] {
            assert_eq!(key("metric", name), Ok(()), "{name}");
        }
        for name in ["", "metrics/mAP50(B)", "/a", "a//b", "a/../b", "a/", "./a", &"x".repeat(251)] {
            assert!(key("metric", name).is_err(), "{name}");
        }
        assert_eq!(param_value(&"ä".repeat(7000)).chars().count(), 6000);
        assert!(alias("champion").is_ok() && alias("v1").is_err() && alias("latest").is_err() && alias("a b").is_err());
        assert!(model_name("a/b").is_err() && model_name("det 1").is_ok());
    }
}
