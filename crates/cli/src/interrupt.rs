//! Ctrl-C: the first asks the work to stop after its step, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;
use crate::terminal;

/// The exit code of a program that a signal ended, by the shells' custom 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// A flag that becomes true at the first Ctrl-C or request to terminate, which is answered with `words`.
pub(crate) fn stop_flag(words: &'static str) -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let handle = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if handle.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        terminal::say(&format!("\n{words}; Ctrl-C again stops at once"));
    })?;
    Ok(flag)
}
