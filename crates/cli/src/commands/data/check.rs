//! `yolo11 data check`: what is wrong with a data set.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgMatches, Command};
use yolo11_config::Section;
use yolo11_dataset::annotations::WriteOptions;
use yolo11_dataset::doctor::{self, ExamineOptions};
use yolo11_dataset::{DatasetDescription, Examination, Finding, Severity};
use yolo11_pipeline::{Announcer, check, data};

use super::sets::{data_settings, link, link_option, link_word, path, switch};
use crate::arguments::{json_option, wants_json, with_settings};
use crate::failure::Failure;
use crate::terminal;

/// Places of a kind that are printed; `--json` and the page have all.
const SHOWN: usize = 5;

pub(super) fn command() -> Command {
    with_settings(Command::new("check"), &[Section::Dataset])
        .about("Says what is wrong with a data set; ends with 3 where it has errors")
        .args([
            Arg::new("html").long("html").value_name("FILE").help("Also write a page with pictures of the worst"),
            Arg::new("fix").long("fix").value_name("FOLDER").help("Write a corrected copy to a new folder"),
            switch("fast", "Do not decode pictures: as before every training"),
            link_option(),
            json_option(),
        ])
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = data_settings(matches)?;
    let description = data::open(&settings, &mut Announcer::new(), &AtomicBool::new(false))?.description;
    let options = ExamineOptions {
        imgsz: Some(settings.imgsz),
        thorough: !matches.get_flag("fast"),
        cache: doctor::default_cache_folder(),
    };
    let examination = description.examine(&options);
    let errors = check::count(&examination, Severity::Error);
    let mut report = check::to_json(&description, &examination);
    if !wants_json(matches) {
        terminal::print(&listed(&examination.findings))?;
    }
    let pictures: usize = examination.splits.iter().map(|split| split.images.len()).sum();
    terminal::say(&format!(
        "{}, {}, {} in {}",
        counted(errors, "error"),
        counted(check::count(&examination, Severity::Warning), "warning"),
        counted(check::count(&examination, Severity::Note), "note"),
        counted(pictures, "picture")
    ));
    if let Some(file) = matches.get_one::<String>("html") {
        let page = check::to_page(&description, &examination)?;
        write(Path::new(file), page.as_bytes())?;
        report["page"] = file.as_str().into();
        terminal::say(&format!("page       {file}"));
    }
    let mut left = errors;
    if let Some(folder) = path(matches, "fix") {
        let (file, again) = fix(&description, &examination, &folder, link(matches), &options)?;
        left = check::count(&again, Severity::Error);
        report["fixed"] = check::to_json(&DatasetDescription::read(&file)?, &again);
    }
    if wants_json(matches) {
        terminal::print_json(&report)?;
    }
    match left {
        0 => Ok(()),
        left => Err(Failure::FaultyData(left)),
    }
}

/// Writes the corrected copy and looks it over in turn.
fn fix(
    description: &DatasetDescription,
    examination: &Examination,
    folder: &Path,
    link: yolo11_dataset::annotations::Link,
    options: &ExamineOptions,
) -> Result<(PathBuf, Examination), Failure> {
    let corrected = doctor::correct(description, examination)?;
    let file = corrected.annotations.write(folder, WriteOptions { link, ..WriteOptions::default() })?;
    for (check, what, count) in &corrected.changes {
        terminal::say(&format!("{:26} {count} {what}", check.id()));
    }
    let again = DatasetDescription::read(&file)?.examine(options);
    terminal::say(&format!("corrected  {} ({})", file.display(), link_word(link)));
    for same in again.findings.chunk_by(|a, b| a.check == b.check) {
        if same[0].check.severity() < Severity::Note {
            let kind = format!("{} {}", same[0].check.severity(), same[0].check.id());
            terminal::say(&format!("left       {kind} ({})", same.len()));
        }
    }
    Ok((file, again))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        Failure::Write { path: path.display().to_string(), source, hint: "choose another file" }
    })
}

/// Each kind with its first places.
fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for same in findings.chunk_by(|a, b| a.check == b.check) {
        let check = same[0].check;
        let head = terminal::bold(&format!("{} {}", check.severity(), check.id()));
        text += &format!("{head}  {} ({})\n", check.title(), same.len());
        for finding in &same[..same.len().min(SHOWN)] {
            text += &format!("  {}: {}\n", finding.place(), finding.message);
        }
        if same.len() > SHOWN {
            text += &format!("  … and {} more\n", same.len() - SHOWN);
        }
        text += &format!("  fix: {}\n\n", check.fix());
    }
    text
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
