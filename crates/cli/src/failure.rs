//! Why a command ended without its work, what it says then, and its exit code.

use std::io;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::terminal;

/// Why a command could not do its work. `Display` is one line, and where something would mend it a second that begins with `hint: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is not understood.
    #[error("{message}\nhint: {hint}")]
    Usage { message: String, hint: String },
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] yolo11_config::Error),
    /// The work itself could not be done.
    #[error(transparent)]
    Pipeline(#[from] yolo11_pipeline::Error),
    /// A run cannot be brought to its tracking server.
    #[error(transparent)]
    Tracking(#[from] yolo11_tracking::Error),
    /// A step with versioned data could not be done.
    #[error(transparent)]
    Data(#[from] yolo11_versioning::Error),
    /// A file or folder cannot be written.
    #[error("cannot write `{path}`: {source}\nhint: {hint}")]
    Write { path: String, source: io::Error, hint: &'static str },
    /// Services could not be started, stopped or read.
    #[error(transparent)]
    Services(#[from] yolo11_services::Error),
    /// The tracking server cannot run.
    #[error("{message}\nhint: {hint}")]
    Server { message: String, hint: String },
    /// A doctor found faults and has listed them.
    #[error("faults found: {0}")]
    Faults(usize),
    /// A data set cannot be used, read or written.
    #[error(transparent)]
    Dataset(#[from] yolo11_dataset::Error),
    /// `data check` found errors and has listed them.
    #[error("the data has errors: {0}")]
    FaultyData(usize),
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}\nhint: {hint}")]
    Read { path: String, source: io::Error, hint: &'static str },
    /// A line of `.env` is not understood. Its text may be a password and stays out.
    #[error("`{path}`, line {line}: expected NAME=value\nhint: put a value with spaces, quotes or # between ' and '")]
    EnvironmentFile { path: String, line: usize },
    /// Nobody reads stdout any more, as in `yolo11 config | head`.
    #[error("stdout: {0}")]
    Output(#[from] io::Error),
    /// The Ctrl-C handler cannot be set.
    #[error("Ctrl-C cannot be caught: {0}")]
    Interrupt(#[from] ctrlc::Error),
}

impl Failure {
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Usage { message: message.into(), hint: hint.into() }
    }

    /// 2 for wrong usage, 3 for settings and data, 1 for the rest; those of the pipeline say their own.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage { .. } => 2,
            Failure::Settings(yolo11_config::Error::Argument { .. }) => 2,
            Failure::Dataset(yolo11_dataset::Error::Write { .. }) => 1,
            Failure::Settings(_)
            | Failure::Read { .. }
            | Failure::EnvironmentFile { .. }
            | Failure::Dataset(_)
            | Failure::FaultyData(_) => 3,
            Failure::Services(error) => error.exit_code(),
            Failure::Faults(_) => 1,
            Failure::Pipeline(error) => error.exit_code(),
            Failure::Data(yolo11_versioning::Error::Stopped) | Failure::Tracking(yolo11_tracking::Error::Stopped) => {
                130
            }
            Failure::Data(yolo11_versioning::Error::Malformed { .. }) => 3,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Tracking(_)
            | Failure::Data(_)
            | Failure::Write { .. }
            | Failure::Server { .. }
            | Failure::Output(_)
            | Failure::Interrupt(_) => 1,
        }
    }

    /// Says it on stderr, but for a reader of stdout who simply had enough.
    pub fn report(&self) {
        if self.exit_code() != 0 {
            terminal::say_error(&self.to_string());
        }
    }
}

/// What clap has to say: help and version go to stdout, everything else is wrong usage.
pub(crate) fn from_clap(error: &clap::Error) -> Result<(), Failure> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => terminal::print(&error.to_string()),
        ErrorKind::InvalidSubcommand => {
            let given = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let suggested = match error.get(ContextKind::SuggestedSubcommand) {
                Some(ContextValue::Strings(names)) => names.clone(),
                Some(ContextValue::String(name)) => vec![name.clone()],
                _ => Vec::new(),
            };
            let hint = match suggested.into_iter().min_by_key(|name| strsim::osa_distance(name, &given)) {
                Some(name) => format!("did you mean `yolo11 {name}`?"),
                None => "`yolo11 --help` lists them".to_owned(),
            };
            Err(Failure::usage(format!("no subcommand `{given}`"), hint))
        }
        ErrorKind::UnknownArgument => {
            let given = context(ContextKind::InvalidArg).unwrap_or_default();
            Err(Failure::usage(
                format!("no option `{given}`"),
                "settings are written key=value; `yolo11 config` lists every key",
            ))
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Err(Failure::usage(line, "add --help to see what the command takes"))
        }
    }
}
