//! What `yolo11 data` prints.

use serde_json::{Map, Value, json};
use yolo11_versioning::{Added, Change, CheckedOut, Difference, Repository, State, Status, Transferred};

use crate::failure::Failure;
use crate::terminal;

pub(super) fn added(repository: &Repository, added: &[Added], nothing: &str) -> Result<(), Failure> {
    let mut files = Vec::new();
    for item in added {
        terminal::print(&format!("{}\t{}\n", item.id, repository.shown(&item.path)))?;
        files.push(repository.shown(&item.pointer));
        files.extend(item.gitignore.iter().map(|file| repository.shown(file)));
    }
    files.sort();
    files.dedup();
    let quoted: Vec<_> = files.iter().map(|file| format!("'{}'", file.replace('\'', r"'\''"))).collect();
    if added.is_empty() {
        terminal::say(nothing);
    } else {
        terminal::say(&format!(
            "\nTo record it with git, in {}:\n  git add {}",
            repository.root().display(),
            quoted.join(" ")
        ));
    }
    Ok(())
}

/// As `dvc status`: by the file that tracks, what has changed there.
pub(super) fn status(repository: &Repository, found: &[Status], as_json: bool) -> Result<(), Failure> {
    let changed: Vec<&Status> = found.iter().filter(|status| status.state != State::Clean).collect();
    let mut files: Vec<(String, Map<String, Value>)> = Vec::new();
    for status in &changed {
        let file = shown_here(repository, &status.tracked.file);
        let name = match &status.tracked.stage {
            None => file,
            Some(stage) if file == "dvc.lock" => stage.clone(),
            Some(stage) => format!("{}:{stage}", file.replace("dvc.lock", "dvc.yaml")),
        };
        let path = shown_here(repository, &status.tracked.path);
        match files.iter_mut().find(|(other, _)| *other == name) {
            Some((_, outputs)) => outputs.insert(path, status.state.name().into()),
            None => {
                files.push((name, Map::from_iter([(path, Value::from(status.state.name()))])));
                None
            }
        };
    }
    if as_json {
        let files = files.into_iter().map(|(name, outputs)| (name, json!([{ "changed outs": outputs }])));
        return terminal::print_json(&Value::Object(files.collect()));
    }
    if files.is_empty() {
        return terminal::print("Data and cache are as recorded.\n");
    }
    for (name, outputs) in &files {
        terminal::print(&format!("{name}:\n"))?;
        for (path, state) in outputs {
            terminal::print(&format!("    {:14}{path}\n", format!("{}:", state.as_str().unwrap_or_default())))?;
        }
    }
    let any = |state| changed.iter().any(|status| status.state == state);
    terminal::say("");
    for (state, words) in [
        (State::Modified, "modified: `yolo11 data add PATH` records it, `yolo11 data checkout PATH` goes back"),
        (State::Deleted, "deleted: `yolo11 data checkout PATH` puts it back"),
        (
            State::NotInCache,
            "not in cache: `yolo11 data pull PATH` fetches it; if the data is whole here, `yolo11 data add PATH`",
        ),
        (State::New, "new: `yolo11 data commit PATH` takes it in"),
    ] {
        if any(state) {
            terminal::say(words);
        }
    }
    Ok(())
}

/// A path relative to the working folder, as `dvc` shows it.
fn shown_here(repository: &Repository, path: &std::path::Path) -> String {
    let here =
        std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_else(|_| repository.root().to_owned());
    let shared = here.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let mut parts = vec!["..".to_owned(); here.components().count() - shared];
    parts.extend(path.components().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned()));
    parts.join("/")
}

pub(super) fn differences(differences: &[Difference], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let mut groups: Map<String, Value> = Map::new();
        for name in ["added", "deleted", "modified", "renamed"] {
            let items: Vec<Value> = differences.iter().filter_map(|item| one(item, name)).collect();
            groups.insert(name.to_owned(), items.into());
        }
        return terminal::print_json(&Value::Object(groups));
    }
    for item in differences {
        let line = match &item.change {
            Change::Added => format!("added     {}", item.path),
            Change::Deleted => format!("deleted   {}", item.path),
            Change::Modified => format!("modified  {}", item.path),
            Change::Renamed(old) => format!("renamed   {old} -> {}", item.path),
        };
        terminal::print(&format!("{line}\n"))?;
    }
    terminal::say(&format!("{} changes", differences.len()));
    Ok(())
}

fn one(item: &Difference, group: &str) -> Option<Value> {
    match (&item.change, group) {
        (Change::Added, "added") | (Change::Deleted, "deleted") | (Change::Modified, "modified") => {
            Some(json!({ "path": item.path }))
        }
        (Change::Renamed(old), "renamed") => Some(json!({ "path": { "old": old, "new": item.path } })),
        _ => None,
    }
}

pub(super) fn checked_out(repository: &Repository, done: &[CheckedOut]) -> Result<(), Failure> {
    for item in done {
        let path = repository.shown(&item.path);
        terminal::print(&format!("{path}: {} files written, {} removed\n", item.written, item.removed))?;
    }
    if done.is_empty() {
        terminal::say("everything is as recorded");
    }
    Ok(())
}

pub(super) fn transferred(words: &str, done: &Transferred) -> Result<(), Failure> {
    terminal::say(&format!("{} objects {words} `{}`, {} were there already", done.moved, done.remote, done.present));
    Ok(())
}
