//! `yolo11 data`: data versions in DVC's own format; and data sets: checked, counted, looked at, converted, arranged.

mod arrange;
mod check;
mod exchange;
mod report;
mod sets;
mod stats;
mod view;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use yolo11_versioning::{Level, Progress, Repository, Watch};

use crate::arguments::{json_option, wants_json};
use crate::failure::Failure;
use crate::{interrupt, terminal};

pub(crate) fn command() -> Command {
    let targets =
        || Arg::new("targets").value_name("PATH").num_args(0..).help("Data or .dvc files; all where none is given");
    let remote = || {
        Arg::new("remote").short('r').long("remote").value_name("NAME").help("Which remote; core.remote if not given")
    };
    let force = |help| switch("force", 'f', help);
    let name = || Arg::new("name").value_name("NAME").required(true);
    let local = || switch("local", 'l', "In .dvc/config.local, which stays out of git");
    let remotes = Command::new("remote")
        .about("Lists and changes the places that data is pushed to")
        .subcommand_required(true)
        .subcommands([
            Command::new("add")
                .about("Adds a remote")
                .args([name(), Arg::new("url").value_name("URL").required(true).help("A folder or s3://bucket/prefix")])
                .args([switch("default", 'd', "Make it the default"), force("Replace one of that name"), local()]),
            Command::new("list").about("Lists the remotes").arg(json_option()),
            Command::new("modify")
                .about("Changes a setting of a remote, such as endpointurl")
                .args([
                    name(),
                    Arg::new("option").value_name("OPTION").required(true),
                    Arg::new("value").value_name("VALUE"),
                ])
                .args([switch("unset", 'u', "Remove the setting"), local()]),
            Command::new("remove").about("Forgets a remote; what is there stays").args([name(), local()]),
            Command::new("default").about("Says or sets the default").args([name().required(false), local()]),
        ]);
    Command::new("data")
        .about("Checks and converts data sets; versions data in DVC's own format")
        .subcommand_required(true)
        .after_help("The repository is DVC's own: `dvc` and `yolo11 data` may take turns on it.")
        .subcommands([check::command(), stats::command(), view::command()])
        .subcommands(exchange::commands())
        .subcommands(arrange::commands())
        .subcommands([
            Command::new("init").about("Makes this folder a repository").arg(switch_long("no-scm", "Without git")),
            Command::new("add")
                .about("Tracks files and folders, or takes in what changed")
                .arg(targets().required(true)),
            Command::new("status").about("Says what differs from what is recorded").args([targets(), json_option()]),
            Command::new("diff")
                .about("Lists the files that changed since a git revision")
                .args([
                    Arg::new("from").value_name("REVISION").default_value("HEAD"),
                    Arg::new("to").value_name("REVISION").help("The workspace if not given"),
                ])
                .arg(json_option()),
            Command::new("checkout")
                .about("Makes the data as recorded")
                .args([targets(), force("Also overwrite and remove what is not in the cache")]),
            Command::new("commit").about("Records what changed in tracked data").arg(targets()),
            Command::new("push").about("Sends data to a remote").args([targets(), remote()]),
            Command::new("fetch").about("Fetches data into the cache").args([targets(), remote()]),
            Command::new("pull").about("Fetches data and checks it out").args([
                targets(),
                remote(),
                force("Also overwrite and remove what is not in the cache"),
            ]),
            Command::new("get")
                .about("Copies data out of another repository, at a revision; needs no repository here")
                .args([
                    Arg::new("url").value_name("REPOSITORY").required(true).help("What `git clone` takes"),
                    Arg::new("path").value_name("PATH").required(true).help("What git or DVC has there"),
                    Arg::new("rev").long("rev").value_name("REVISION").help("The main branch if not given"),
                    Arg::new("out").short('o').long("out").value_name("PATH").help("Where to; its name if not given"),
                ]),
            Command::new("import-url")
                .about("Copies data from an address, tracks it and records where it is from")
                .args([
                    Arg::new("url").value_name("URL").required(true).help("A path, s3:// or http(s)://"),
                    Arg::new("out").value_name("PATH").help("Where to; its name if not given"),
                ]),
            remotes,
            Command::new("gc")
                .about("Lists, and with --yes deletes, objects of the cache that the workspace does not need")
                .args([
                    switch("workspace", 'w', "Keep what the .dvc files here name; needed"),
                    switch("yes", 'y', "Delete"),
                ])
                .arg(force("Same as --yes")),
        ])
}

fn switch(name: &'static str, short: char, help: &'static str) -> Arg {
    switch_long(name, help).short(short)
}

fn switch_long(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::usage("no subcommand", "`yolo11 data --help` lists them"));
    };
    match name {
        "check" => return check::run(matches),
        "stats" => return stats::run(matches),
        "view" => return view::run(matches),
        "import" => return exchange::run_import(matches),
        "export" => return exchange::run_export(matches),
        "split" | "merge" | "filter" | "remap" | "sample" => return arrange::run(name, matches),
        _ => {}
    }
    let here = Path::new(".");
    if name == "init" {
        yolo11_versioning::init(here, matches.get_flag("no-scm"))?;
        terminal::say("made .dvc/, .dvcignore\n\nNext:\n  yolo11 data add data/        # track a folder");
        return Ok(());
    }
    if name == "get" {
        return get(matches);
    }
    let mut repository = Repository::open(here)?;
    if name == "remote" {
        return remote(&mut repository, matches);
    }
    let stop = interrupt::stop_flag("stopping after the files at hand")?;
    let shown = Mutex::new(Instant::now());
    let progress = |progress: &Progress| show_progress(&shown, progress);
    let watch = Watch::new(&stop, &progress);
    work(name, matches, &repository, &watch)
}

fn work(name: &str, matches: &ArgMatches, repository: &Repository, watch: &Watch) -> Result<(), Failure> {
    let text = |id: &str| matches.try_get_one::<String>(id).ok().flatten().map(String::as_str);
    let targets: Vec<PathBuf> = match matches.try_get_many::<String>("targets") {
        Ok(Some(targets)) => targets.map(PathBuf::from).collect(),
        _ => Vec::new(),
    };
    match name {
        "add" => report::added(repository, &repository.add(&targets, watch)?, "nothing to add"),
        "commit" => report::added(repository, &repository.commit(&targets, watch)?, "nothing has changed"),
        "status" => report::status(repository, &repository.status(&targets, watch)?, wants_json(matches)),
        "diff" => {
            let from = text("from").unwrap_or("HEAD");
            report::differences(&repository.diff(from, text("to"), watch)?, wants_json(matches))
        }
        "checkout" => {
            report::checked_out(repository, &repository.checkout(&targets, matches.get_flag("force"), watch)?)
        }
        "import-url" => {
            let added = repository.import_url(text("url").unwrap_or_default(), text("out").map(Path::new), watch)?;
            report::added(repository, &[added], "")
        }
        "push" => report::transferred("sent to", &repository.push(&targets, text("remote"), watch)?),
        "fetch" => report::transferred("fetched from", &repository.fetch(&targets, text("remote"), watch)?),
        "pull" => {
            report::transferred("fetched from", &repository.fetch(&targets, text("remote"), watch)?)?;
            report::checked_out(repository, &repository.checkout(&targets, matches.get_flag("force"), watch)?)
        }
        _ => collect_garbage(repository, matches, watch),
    }
}

fn get(matches: &ArgMatches) -> Result<(), Failure> {
    let text = |id: &str| matches.get_one::<String>(id).map(String::as_str);
    let (url, path) = (text("url").unwrap_or_default(), text("path").unwrap_or_default());
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let target = Path::new(text("out").unwrap_or(name));
    let stop = interrupt::stop_flag("stopping after the files at hand")?;
    let shown = Mutex::new(Instant::now());
    let progress = |progress: &Progress| show_progress(&shown, progress);
    let watch = Watch::new(&stop, &progress);
    let done = yolo11_versioning::get(url, path, text("rev"), target, &watch)?;
    let commit = done.revision.unwrap_or_default();
    terminal::print(&format!("{}\n", done.path.display()))?;
    terminal::say(&format!("{} files of commit {}", done.fetched, commit.get(..10).unwrap_or(&commit)));
    Ok(())
}

fn collect_garbage(repository: &Repository, matches: &ArgMatches, watch: &Watch) -> Result<(), Failure> {
    if !matches.get_flag("workspace") {
        return Err(Failure::usage(
            "`gc` needs to know what to keep",
            "`yolo11 data gc -w` keeps what the .dvc files here name",
        ));
    }
    let garbage = repository.garbage(watch)?;
    let count = garbage.objects.len();
    for object in &garbage.objects {
        terminal::print(&format!("{}\n", object.display()))?;
    }
    let words = format!("{count} objects, {} bytes, that no .dvc file here names", garbage.bytes);
    if count == 0 {
        terminal::say("every object is needed");
    } else if matches.get_flag("yes") || matches.get_flag("force") {
        repository.delete(&garbage, watch)?;
        terminal::say(&format!("deleted {words}"));
    } else {
        terminal::say(&format!("{words}; other branches and commits may need them. `--yes` deletes them"));
    }
    Ok(())
}

fn remote(repository: &mut Repository, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((action, matches)) = matches.subcommand() else {
        return Err(Failure::usage("no subcommand", "`yolo11 data remote --help` lists them"));
    };
    let text = |id: &str| matches.try_get_one::<String>(id).ok().flatten().map_or("", String::as_str);
    let flag = |id: &str| matches.try_get_one::<bool>(id).ok().flatten() == Some(&true);
    let level = if flag("local") { Level::Local } else { Level::Repository };
    match action {
        "add" => repository.add_remote(level, text("name"), text("url"), flag("default"), flag("force"))?,
        "modify" => {
            let value = (!flag("unset")).then(|| text("value"));
            if value == Some("") {
                return Err(Failure::usage("no value", "give one after the option, or --unset to remove the setting"));
            }
            repository.modify_remote(level, text("name"), text("option"), value)?;
        }
        "remove" => repository.remove_remote(level, text("name"))?,
        "default" if !text("name").is_empty() => repository.set_default_remote(level, text("name"))?,
        "default" => match repository.config.get("core", "remote") {
            Some(name) => terminal::print(&format!("{name}\n"))?,
            None => terminal::say("no default is set"),
        },
        _ if flag("json") => terminal::print_json(&repository.remotes().into_iter().collect())?,
        _ => {
            for (name, url) in repository.remotes() {
                terminal::print(&format!("{name}\t{url}\n"))?;
            }
        }
    }
    Ok(())
}

/// A line that is written over, a few times a second, where a person reads.
fn show_progress(shown: &Mutex<Instant>, progress: &Progress) {
    let Ok(mut last) = shown.try_lock() else { return };
    let is_done = progress.done == progress.total;
    if last.elapsed() < Duration::from_millis(100) && !is_done {
        return;
    }
    *last = Instant::now();
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let end = if is_done { "\r\x1b[K" } else { "" };
    // That nobody can read it is no reason to stop.
    let _ = write!(stderr, "\r\x1b[K{}{end}", progress_line(progress));
    let _ = stderr.flush();
}

/// A bar over bytes where they are known, else over files, and both in figures.
fn progress_line(progress: &Progress) -> String {
    let Progress { step, done, total, moved, size } = *progress;
    let (part, whole) = moved.zip(size).unwrap_or((done, total));
    let filled = (part.min(whole) as u128 * 24 / whole.max(1) as u128) as usize;
    let bytes = progress.bytes_text();
    let comma = if bytes.is_empty() { "" } else { ", " };
    format!("{step} [{:24}] {done}/{total}{comma}{bytes}", "#".repeat(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_shows_its_bytes() {
        let mut progress =
            Progress { step: "pushing", done: 1, total: 4, moved: Some(30_000_000), size: Some(60_000_000) };
        assert_eq!(progress_line(&progress), "pushing [############            ] 1/4, 30.0 of 60.0 MB");
        progress.size = None;
        assert_eq!(progress_line(&progress), "pushing [######                  ] 1/4, 30.0 MB");
        progress.moved = None;
        assert_eq!(progress_line(&progress), "pushing [######                  ] 1/4");
    }
}
