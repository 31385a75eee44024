//! From the words of the command line to settings.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use yolo11_config::{Section, Settings, find, listing};
use yolo11_pipeline::compute::{Work, device_note};

use crate::failure::Failure;
use crate::terminal;

/// Options that are not settings.
const OPTIONS: [&str; 4] = ["--json", "--jsonl", "--help", "--version"];

/// Subcommands of `data` that take settings, and their options that are none.
const DATA_WITH_SETTINGS: [&str; 3] = ["check", "stats", "view"];
const DATA_OPTIONS: [&str; 9] = ["fast", "fix", "html", "link", "picture", "augmented", "count", "class", "epoch"];

/// Adds the settings to a subcommand: the arguments, and in its help the keys of `sections`.
pub(crate) fn with_settings(command: Command, sections: &[Section]) -> Command {
    let keys = listing::names(sections);
    command
        .arg(
            Arg::new("settings")
                .value_name("FILE.yaml | key=value")
                .num_args(0..)
                .help("A settings file, and settings that win over it"),
        )
        .after_help(format!(
            "Settings [default]:\n{keys}\n`yolo11 config KEY` says what a setting takes; `yolo11 config` lists all."
        ))
}

/// The option `--json`.
pub(crate) fn json_option() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON value to stdout")
}

/// Whether `--json` was given.
pub(crate) fn wants_json(matches: &ArgMatches) -> bool {
    matches.get_flag("json")
}

/// The words that [`with_settings`] took.
pub(crate) fn words(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("settings").into_iter().flatten().cloned().collect()
}

/// Settings from the words of a subcommand: the file first, then `key=value` in their order.
pub(crate) fn settings(words: &[String]) -> Result<Settings, Failure> {
    let mut file: Option<PathBuf> = None;
    let mut overrides = Vec::new();
    for word in words {
        let named = word.strip_prefix("config=").or_else(|| word.strip_prefix("cfg="));
        match named.or_else(|| is_file_word(word).then_some(word.as_str())) {
            Some(path) => {
                if let Some(first) = file.replace(path.into()) {
                    let message = format!("two settings files: `{}` and `{path}`", first.display());
                    return Err(Failure::usage(message, "give one file, and what differs from it as key=value"));
                }
            }
            None => overrides.push(word.clone()),
        }
    }
    Ok(Settings::load(file.as_deref(), &overrides)?)
}

/// Says on stderr that the CPU computes where a CUDA device was asked for. Errors: `strict_device` forbids that.
pub(crate) fn say_device_note(settings: &Settings, work: Work) -> Result<(), Failure> {
    if let Some(note) = device_note(settings, work)? {
        terminal::say(&format!("warning: {note}"));
    }
    Ok(())
}

/// Whether a word without `=` names a settings file.
fn is_file_word(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    !word.contains('=') && (lower.ends_with(".yaml") || lower.ends_with(".yml"))
}

/// The command line with `--key value`, `--key=value` and `--switch` written as `key=value`, so that there is one form to read.
pub(crate) fn normalised(words: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    let mut result = Vec::new();
    let mut words = words.peekable();
    // The program's own name says nothing and need not be text.
    if let Some(program) = words.next() {
        result.push(program.to_string_lossy().into_owned());
    }
    while let Some(word) = words.next() {
        let word = text(word)?;
        let option = word.strip_prefix("--").filter(|_| !OPTIONS.contains(&word.as_str()));
        // Before the subcommand there are no settings; `server` and `services` take none, and most of `data`.
        let takes_settings = match result.get(1).map(String::as_str) {
            None | Some("server" | "services") => false,
            Some("data") => {
                let name = option.map_or("", |option| option.split('=').next().unwrap_or_default());
                let inner = result.get(2).map_or("", String::as_str);
                DATA_WITH_SETTINGS.contains(&inner) && !DATA_OPTIONS.contains(&name)
            }
            _ => true,
        };
        let Some(option) = option.filter(|option| !option.is_empty() && takes_settings) else {
            result.push(word);
            continue;
        };
        if let Some((key, value)) = option.split_once('=') {
            result.push(format!("{}={value}", key.replace('-', "_")));
            continue;
        }
        let key = option.replace('-', "_");
        let Some(setting) = find(&key) else {
            result.push(word);
            continue;
        };
        let is_switch = setting.choices.first() == Some(&"true");
        let next = words.peek().and_then(|next| next.to_str());
        let takes_next = match next {
            None => false,
            Some(next) if is_switch => setting.choices.contains(&next),
            Some(next) => !next.starts_with("--"),
        };
        match (takes_next, is_switch) {
            (true, _) => result.push(format!("{key}={}", text(words.next().unwrap_or_default())?)),
            (false, true) => result.push(format!("{key}=true")),
            (false, false) => {
                return Err(Failure::usage(format!("`{word}` has no value"), format!("write {key}=value")));
            }
        }
    }
    Ok(result)
}

fn text(word: OsString) -> Result<String, Failure> {
    word.into_string().map_err(|word| {
        Failure::usage(format!("argument `{}` is not UTF-8", word.to_string_lossy()), "rename the file or folder")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalise(words: &[&str]) -> Result<String, String> {
        let words = ["yolo11"].iter().chain(words).map(OsString::from);
        normalised(words).map(|words| words[1..].join(" ")).map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_form_of_a_setting_becomes_key_value() {
        for (words, expected) in [
            (&["train", "--epochs", "3", "--batch-size=4"][..], "train epochs=3 batch_size=4"),
            (&["train", "--cos_lr", "data=x"], "train cos_lr=true data=x"),
            (&["train", "--cos-lr", "false", "--json"], "train cos_lr=false --json"),
            (&["train", "--resume", "a.yaml"], "train resume=true a.yaml"),
            (&["train", "--save_period", "-1"], "train save_period=-1"),
            (&["train", "--epoch=3"], "train epoch=3"),
            (&["train", "--nonsense", "3"], "train --nonsense 3"),
            (&["--version"], "--version"),
            (&["services", "start", "--stack=compose"], "services start --stack=compose"),
            (&["train", "--help"], "train --help"),
            (&["data", "check", "--data", "a.yaml", "--fix=b"], "data check data=a.yaml --fix=b"),
            (&["data", "split", "a", "b", "--seed", "3"], "data split a b --seed 3"),
        ] {
            assert_eq!(normalise(words).as_deref(), Ok(expected));
        }
        assert_eq!(
            normalise(&["train", "--epochs"]),
            Err("`--epochs` has no value\nhint: write epochs=value".to_owned())
        );
    }
}
