//! `yolo11 init`: the folders and commented files of a project.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, ArgMatches, Command};

use crate::failure::Failure;
use crate::terminal;

/// Folders of a project, whether or not a file stands in them.
const FOLDERS: &[&str] = &["configs", "data", "models", "runs", "logs", "services"];

/// Files of a project and what they say.
const FILES: &[(&str, &str)] = &[
    ("configs/training_config.yaml", include_str!("../../../../configs/training_config.yaml")),
    ("data/dataset.yaml", include_str!("../../templates/dataset.yaml")),
    ("data/README.md", include_str!("../../templates/data_readme.md")),
    (yolo11_services::compose::file::PLACE, yolo11_services::compose::file::TEXT),
    (".env", include_str!("../../templates/env")),
    (".gitignore", include_str!("../../templates/gitignore")),
];

pub(crate) fn command() -> Command {
    Command::new("init")
        .about("Lays out a project: configs/ data/ models/ runs/ logs/ services/ .env")
        .arg(Arg::new("folder").default_value(".").help("Where; made if it does not exist"))
        .after_help("Files that exist are kept as they are.")
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let folder = Path::new(matches.get_one::<String>("folder").map_or(".", String::as_str));
    for name in FOLDERS {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(|source| failed(&path, source))?;
    }
    let mut written = 0;
    for (name, text) in FILES {
        let path = folder.join(name);
        let is_new = write_new(&path, text).map_err(|source| failed(&path, source))?;
        written += usize::from(is_new);
        terminal::say(&format!("{} {}", if is_new { "wrote" } else { "kept " }, path.display()));
    }
    if written == 0 {
        terminal::say("everything was there already; nothing was changed");
        return Ok(());
    }
    terminal::say("\nNext:");
    if folder != Path::new(".") {
        terminal::say(&format!("  cd {}", folder.display()));
    }
    terminal::say(
        "  yolo11 train data=demo                           # a first training, on pictures made on the spot",
    );
    terminal::say("  put your pictures and labels into data/ and name the classes in data/dataset.yaml");
    terminal::say("  yolo11 train configs/training_config.yaml        # then train on them");
    Ok(())
}

/// Writes a file that does not exist yet and says whether it did; half a file is never left behind.
fn write_new(path: &Path, text: &str) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // The one file that will hold passwords.
    #[cfg(unix)]
    if path.ends_with(".env") {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        file => file?,
    };
    let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if done.is_err() {
        let _ = fs::remove_file(path);
    }
    done.map(|()| true)
}

fn failed(path: &Path, source: io::Error) -> Failure {
    let hint = match source.kind() {
        io::ErrorKind::StorageFull => "free some space and run it again",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "a file stands where a folder should; choose another folder"
        }
        _ => "choose a folder that you may write to",
    };
    Failure::Write { path: path.display().to_string(), source, hint }
}
