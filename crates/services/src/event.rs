//! What a stack says while it works.

use std::fmt;
use std::path::PathBuf;

/// A step of a start or stop. `Display` is the line, or lines, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something worth knowing that is not a step.
    Note(String),
    /// A file was written.
    Wrote(PathBuf),
    /// A file differs from the one this version lays down, and stays.
    Kept(PathBuf),
    /// Variables were added to a file.
    Added {
        /// The file.
        path: PathBuf,
        /// The names; values are not told.
        names: Vec<&'static str>,
    },
    /// An image that is not on this machine is pulled.
    Pulling {
        /// The service.
        service: &'static str,
        /// The image.
        image: String,
    },
    /// Containers are started.
    Starting(Vec<&'static str>),
    /// A service is not ready yet.
    Waiting {
        /// The service.
        service: &'static str,
        /// Seconds since it was started.
        elapsed: u64,
        /// Seconds it has.
        deadline: u64,
        /// What it answered last.
        answer: String,
    },
    /// A service does its work.
    Ready {
        /// The service.
        service: &'static str,
        /// Seconds since it was started.
        elapsed: u64,
    },
    /// The last lines of a service that failed.
    LastLines {
        /// The service.
        service: &'static str,
        /// The lines, without secrets.
        lines: Vec<String>,
    },
    /// What was started is being stopped.
    Stopping(Vec<&'static str>),
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Note(text) => write!(formatter, "{text}"),
            Event::Wrote(path) => write!(formatter, "wrote {}", path.display()),
            Event::Kept(path) => {
                write!(formatter, "kept  {} (yours: not the one this version lays down)", path.display())
            }
            Event::Added { path, names } => write!(formatter, "added to {}: {}", path.display(), names.join(", ")),
            Event::Pulling { service, image } => write!(formatter, "pulling {image} for {service}"),
            Event::Starting(services) => write!(formatter, "starting {}", services.join(", ")),
            Event::Waiting { service, elapsed: 0, deadline, .. } => {
                write!(formatter, "waiting for {service}, at most {deadline} s")
            }
            Event::Waiting { service, elapsed, deadline, answer } => {
                write!(formatter, "waiting for {service}, {elapsed} s of {deadline} s: {answer}")
            }
            Event::Ready { service, elapsed } => write!(formatter, "{service} is ready after {elapsed} s"),
            Event::LastLines { service, lines } if lines.is_empty() => {
                write!(formatter, "{service} has logged nothing")
            }
            Event::LastLines { service, lines } => {
                write!(formatter, "last lines of {service}:")?;
                lines.iter().try_for_each(|line| write!(formatter, "\n  {line}"))
            }
            Event::Stopping(services) => write!(formatter, "stopping {}", services.join(", ")),
        }
    }
}
