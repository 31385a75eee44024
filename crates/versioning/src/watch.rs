//! Asking long work to stop, and hearing how far it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Error, Result};

/// How a caller watches long work and stops it between two files.
pub struct Watch<'a> {
    stop: &'a AtomicBool,
    progress: &'a (dyn Fn(&str, u64, u64) + Sync),
}

impl<'a> Watch<'a> {
    /// `stop` becomes true when the work shall end; `progress` hears the step's name, files done and files in all, from any thread.
    pub fn new(stop: &'a AtomicBool, progress: &'a (dyn Fn(&str, u64, u64) + Sync)) -> Watch<'a> {
        Watch { stop, progress }
    }

    /// Work that nobody stops or watches.
    pub fn none() -> Watch<'static> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Watch { stop: &NEVER, progress: &|_, _, _| {} }
    }

    /// An error when the work shall end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// A step of `total` files.
    pub(crate) fn step(&self, name: &'static str, total: usize) -> Step<'_> {
        Step { watch: self, name, done: AtomicU64::new(0), total: total as u64 }
    }
}

/// A counter over the files of one step.
pub(crate) struct Step<'a> {
    watch: &'a Watch<'a>,
    name: &'static str,
    done: AtomicU64,
    total: u64,
}

impl Step<'_> {
    /// Before each file: whether to go on.
    pub fn check(&self) -> Result<()> {
        self.watch.check()
    }

    /// After each file.
    pub fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.watch.progress)(self.name, done, self.total);
    }
}
