//! Who listens to a run: the terminal, the log file, the results table, the checkpoints, the
//! pictures.

mod checkpoints;
mod log;
mod plots;
mod progress;
mod results;
pub mod tracking;

pub use checkpoints::{Checkpoints, STATE_FILE};
pub use log::LogFile;
pub use plots::{Plots, draw_validation};
pub use progress::Progress;
pub use results::ResultsTable;
