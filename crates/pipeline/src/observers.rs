//! Who listens to a run: the terminal, the log file, the results table, the checkpoints.

mod checkpoints;
mod log;
mod progress;
mod results;

pub use checkpoints::{Checkpoints, STATE_FILE};
pub use log::LogFile;
pub use progress::Progress;
pub use results::ResultsTable;
