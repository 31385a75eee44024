//! What the subcommands on data sets share: which set, where to, how pictures get there, what was found.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};
use yolo11_config::Settings;
use yolo11_dataset::annotations::{Link, WriteOptions};
use yolo11_dataset::{Annotations, DatasetDescription, Finding, SplitName};

use crate::arguments::{settings, wants_json, words};
use crate::failure::Failure;
use crate::terminal;

/// Findings of a kind that are shown.
const SHOWN: usize = 3;

/// Settings where a word may also be the data itself: a `dataset.yaml` or its folder.
pub(super) fn data_settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    let mut given = Vec::new();
    for word in words(matches) {
        let path = Path::new(&word);
        if !word.contains('=') && path.is_dir() {
            given.push(format!("data={}", DatasetDescription::find(path)?.file.display()));
        } else if !word.contains('=') && is_description(path) {
            given.push(format!("data={word}"));
        } else {
            given.push(word);
        }
    }
    let settings = settings(&given)?;
    settings.require_data()?;
    Ok(settings)
}

/// Whether a YAML file names classes: a settings file does not.
fn is_description(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.starts_with("names:") || line.starts_with("nc:"))
        && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

pub(super) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub(super) fn required(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).required(true).help(help)
}

const LINKS: [(&str, Link); 4] =
    [("hard", Link::Hard), ("copy", Link::Copy), ("symlink", Link::Symbolic), ("none", Link::None)];

pub(super) fn link_option() -> Arg {
    option("link", "HOW", "How pictures get to the new folder: hard links where possible, copy, symlink, or none")
        .value_parser(LINKS.map(|(word, _)| word))
        .default_value("hard")
}

pub(super) fn link(matches: &ArgMatches) -> Link {
    let word = matches.get_one::<String>("link").map_or("hard", String::as_str);
    LINKS.into_iter().find(|(known, _)| *known == word).map_or(Link::Hard, |(_, link)| link)
}

pub(super) fn link_word(link: Link) -> &'static str {
    match link {
        Link::Hard => "pictures linked",
        Link::Copy => "pictures copied",
        Link::Symbolic => "pictures as symbolic links",
        Link::None => "labels only",
    }
}

pub(super) fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<String>(name).map(PathBuf::from)
}

/// The words of an option, separated by commas or given several times.
pub(super) fn list(matches: &ArgMatches, name: &str) -> Vec<String> {
    let given = matches.get_many::<String>(name).into_iter().flatten();
    given
        .flat_map(|words| words.split(','))
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// A number of an option.
pub(super) fn number<T: std::str::FromStr>(matches: &ArgMatches, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = matches.get_one::<String>(name) else { return Ok(None) };
    let number =
        text.parse().map_err(|_| Failure::usage(format!("--{name} {text} is not such a number"), "write digits"));
    number.map(Some)
}

pub(super) fn split(word: &str) -> Result<SplitName, Failure> {
    SplitName::from_word(word).ok_or_else(|| Failure::usage(format!("no split `{word}`"), "write train, val or test"))
}

/// Reads a set in YOLO's layout, and says what was left out.
pub(super) fn read(data: &str) -> Result<Annotations, Failure> {
    let (annotations, findings) = Annotations::read(&DatasetDescription::find(data)?)?;
    say_findings(&findings);
    Ok(annotations)
}

/// Writes a set and says what it holds.
pub(super) fn write(
    annotations: &Annotations,
    folder: &Path,
    matches: &ArgMatches,
    findings: &[Finding],
) -> Result<(), Failure> {
    let link = link(matches);
    let file = annotations.write(folder, WriteOptions { link, ..WriteOptions::default() })?;
    summarise(annotations, findings, &file, matches)
}

/// What was made: on stderr for a person, with `--json` on stdout for a program.
pub(super) fn summarise(
    annotations: &Annotations,
    findings: &[Finding],
    made: &Path,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let splits = annotations.splits();
    if wants_json(matches) {
        let of_split = splits.iter().map(|(split, count)| (split.to_string(), json!(count)));
        let finding = |finding: &Finding| {
            json!({"id": finding.check.id(), "severity": finding.check.severity().name(),
                "file": finding.file.display().to_string(), "line": finding.line, "message": finding.message})
        };
        return terminal::print_json(&json!({
            "made": made.display().to_string(), "pictures": of_split.collect::<serde_json::Map<String, Value>>(),
            "objects": annotations.objects(), "classes": annotations.names,
            "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        }));
    }
    let counts: Vec<String> = splits.iter().map(|(split, count)| format!("{split} {count}")).collect();
    terminal::say(&format!(
        "{}: {} objects of {} classes; pictures: {}",
        made.display(),
        annotations.objects(),
        annotations.names.len(),
        counts.join(", ")
    ));
    Ok(())
}

/// The first findings of each kind.
pub(super) fn say_findings(findings: &[Finding]) {
    let mut findings: Vec<Finding> = findings.to_vec();
    yolo11_dataset::doctor::sort(&mut findings);
    for same in findings.chunk_by(|a, b| a.check == b.check) {
        for finding in &same[..same.len().min(SHOWN)] {
            terminal::say(&format!("{}: {finding}", finding.check.severity()));
        }
        if same.len() > SHOWN {
            terminal::say(&format!("{}: {} more {}", same[0].check.severity(), same.len() - SHOWN, same[0].check.id()));
        }
    }
}
