//! `logs/training.log`: what happened, with times, one line an event.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::file::create_folder;
use crate::{Error, Event, Observer};

/// Appends a run's events to a log file. Lines of earlier runs stay.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file, and makes it and its folder where they are missing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(LogFile { path, file })
    }

    fn line(&mut self, level: &str, text: &str) -> Result<(), Error> {
        let mut record = String::new();
        for line in text.lines() {
            record += &format!("{} {level:<7} {line}\n", timestamp(SystemTime::now()));
        }
        // One write a record: lines of two processes do not mix.
        let written = self.file.write_all(record.as_bytes());
        written.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

impl Observer for LogFile {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::RunStarted(run) => {
                self.line("INFO", &format!("run started: {}", run.folder.display()))?;
                self.line("INFO", &format!("model: {}", run.model))?;
                self.line("INFO", &format!("optimiser: {}", run.optimiser))?;
                let (training, validation) = (run.training_pictures, run.validation_pictures);
                self.line("INFO", &format!("data: {}", run.data.display()))?;
                self.line("INFO", &format!("pictures: {training} for training, {validation} for validation"))?;
                let settings: Vec<String> =
                    run.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
                self.line("INFO", &format!("settings: {}", settings.join(" ")))
            }
            Event::EpochStarted { epoch, epochs, batches } => {
                self.line("INFO", &format!("epoch {epoch}/{epochs} started: {batches} batches"))
            }
            Event::EpochFinished { report, .. } => self.line("INFO", &super::progress::epoch_line(report)),
            Event::BestImproved(best) => {
                self.line("INFO", &format!("best so far: epoch {}, mAP50-95 {:.5}", best.epoch, best.fitness))
            }
            Event::CheckpointSaved { path } => self.line("INFO", &format!("saved {}", path.display())),
            Event::PictureSaved { path } => self.line("INFO", &format!("drew {}", path.display())),
            Event::Interrupted { .. } => self.line("WARNING", "stopped by the user"),
            Event::Note(text) | Event::Detail(text) => self.line("INFO", text),
            Event::Warning(text) => self.line("WARNING", text),
            Event::RunFinished(summary) => {
                let (epochs, seconds, ending) = (summary.epochs, summary.seconds, summary.ending);
                self.line("INFO", &format!("run finished: {epochs} epochs in {seconds:.1} s ({ending:?})"))
            }
            Event::RunFailed(text) => self.line("ERROR", text),
            Event::BatchLoaded { .. }
            | Event::StepFinished(_)
            | Event::ValidationStep { .. }
            | Event::DetectionsFound(_)
            | Event::DataMoved(_)
            | Event::DataRests
            | Event::ValidationFinished(_) => Ok(()),
        }
    }
}

/// `2026-11-23T15:59:15Z`, in universal time, as RFC 3339 writes it.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to the civil calendar, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_follow_the_calendar() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_449_555, "2026-11-23T15:59:15Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), wanted);
        }
    }

    #[test]
    fn lines_are_appended_with_their_level() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/training.log");
        for text in ["first", "second\nhint: more"] {
            LogFile::open(&path).unwrap().on(&Event::Warning(text)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| &line[21..]).collect();
        assert_eq!(lines, ["WARNING first", "WARNING second", "WARNING hint: more"]);
        let blocked = LogFile::open(path.join("x.log")).unwrap_err().to_string();
        assert!(blocked.starts_with(&format!("{}: cannot be written", path.display())), "{blocked}");
    }
}
