//! Asking long work to stop, and hearing how far it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Error, Result};

/// How far a step of long work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step's name.
    pub step: &'static str,
    /// Files that are done.
    pub done: u64,
    /// Files in all.
    pub total: u64,
    /// Of a transfer, bytes that have been moved, those of files that are not done yet included.
    pub moved: Option<u64>,
    /// Bytes in all, where that is known.
    pub size: Option<u64>,
}

impl Progress {
    /// Of a transfer, the bytes moved and in all: `30.0 of 60.0 MB`; nothing of other steps.
    pub fn bytes_text(&self) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        match (self.moved, self.size) {
            (Some(moved), Some(size)) => format!("{:.1} of {:.1} MB", megabytes(moved.min(size)), megabytes(size)),
            (Some(moved), None) => format!("{:.1} MB", megabytes(moved)),
            _ => String::new(),
        }
    }
}

/// How a caller watches long work and stops it between two files.
pub struct Watch<'a> {
    stop: &'a AtomicBool,
    progress: &'a (dyn Fn(&Progress) + Sync),
}

impl<'a> Watch<'a> {
    /// `stop` becomes true when the work shall end; `progress` is called from any thread.
    pub fn new(stop: &'a AtomicBool, progress: &'a (dyn Fn(&Progress) + Sync)) -> Watch<'a> {
        Watch { stop, progress }
    }

    /// Work that nobody stops or watches.
    pub fn none() -> Watch<'static> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Watch { stop: &NEVER, progress: &|_| {} }
    }

    /// An error when the work shall end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// A step of `total` files.
    pub(crate) fn step(&self, name: &'static str, total: usize) -> Step<'_> {
        let is_transfer = false;
        Step { watch: self, name, done: 0.into(), total: total as u64, is_transfer, moved: 0.into(), size: None }
    }

    /// A step that moves `total` files of so many bytes, where that is known.
    pub(crate) fn transfer(&self, name: &'static str, total: usize, size: Option<u64>) -> Step<'_> {
        Step { is_transfer: true, size, ..self.step(name, total) }
    }
}

/// A counter over the files of one step.
pub(crate) struct Step<'a> {
    watch: &'a Watch<'a>,
    name: &'static str,
    done: AtomicU64,
    total: u64,
    is_transfer: bool,
    moved: AtomicU64,
    size: Option<u64>,
}

impl<'a> Step<'a> {
    /// Whose step it is.
    pub fn watch(&self) -> &'a Watch<'a> {
        self.watch
    }

    /// Before each file: whether to go on.
    pub fn check(&self) -> Result<()> {
        self.watch.check()
    }

    /// After each file.
    pub fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    /// After some bytes.
    pub fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// Bytes that have to be moved once more.
    pub fn lost(&self, bytes: u64) {
        self.moved.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn tell(&self) {
        (self.watch.progress)(&Progress {
            step: self.name,
            done: self.done.load(Ordering::Relaxed),
            total: self.total,
            moved: self.is_transfer.then(|| self.moved.load(Ordering::Relaxed)),
            size: self.size,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_transfer_tells_of_bytes_and_takes_back_those_that_were_lost() {
        let heard = Mutex::new(Vec::new());
        let hear = |progress: &Progress| heard.lock().unwrap().push(*progress);
        let stop = AtomicBool::new(false);
        let watch = Watch::new(&stop, &hear);
        let step = watch.transfer("pushing", 2, Some(10));
        step.moved(4);
        step.lost(4);
        step.moved(6);
        step.advance();
        watch.step("reading", 1).advance();
        let heard: Vec<_> = heard.lock().unwrap().iter().map(|p| (p.step, p.done, p.total, p.moved, p.size)).collect();
        let expected = [
            ("pushing", 0, 2, Some(4), Some(10)),
            ("pushing", 0, 2, Some(6), Some(10)),
            ("pushing", 1, 2, Some(6), Some(10)),
            ("reading", 1, 1, None, None),
        ];
        assert_eq!(heard, expected);
        assert!(step.check().is_ok());
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(step.check(), Err(Error::Stopped)));
    }
}
