//! The terminal: a bar that moves with the batches, or one plain line an epoch where there is no terminal. All on stderr; stdout is
//! for data. No colours are used.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::{Ending, EpochReport, StepReport};
use crate::{Error, Event, Observer};

/// How often a second the bar is drawn at most.
const DRAWS_A_SECOND: u8 = 10;

/// Shows a run to the person in front of it.
pub struct Progress {
    terminal: bool,
    verbose: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar where stderr is a terminal, lines elsewhere. Without `verbose` only warnings and the end are told.
    pub fn new(verbose: bool) -> Self {
        Progress { terminal: std::io::stderr().is_terminal(), verbose, bar: None }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn start_bar(&mut self, title: String, length: usize) {
        if !self.terminal || !self.verbose {
            return;
        }
        self.finish_bar();
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND);
        let bar = ProgressBar::with_draw_target(Some(length as u64), target);
        let template = "{prefix} {bar:24} {pos}/{len} {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(title);
        bar.enable_steady_tick(Duration::from_secs(1));
        self.bar = Some(bar);
    }

    /// A bar over files for each step of fetching data, with the bytes beside it.
    fn show_data(&mut self, progress: &yolo11_versioning::Progress) {
        if self.bar.as_ref().is_none_or(|bar| bar.prefix() != progress.step) {
            self.start_bar(progress.step.to_owned(), progress.total as usize);
        }
        let Some(bar) = &self.bar else { return };
        bar.set_position(progress.done);
        bar.set_message(progress.bytes_text());
    }

    fn finish_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::RunStarted(run) if self.verbose => {
                self.say(&format!("model      {}", run.model));
                self.say(&format!("optimiser  {}", run.optimiser));
                let (training, validation) = (run.training_pictures, run.validation_pictures);
                self.say(&format!("pictures   {training} for training, {validation} for validation"));
                self.say(&format!("run        {}", run.folder.display()));
            }
            Event::EpochStarted { epoch, epochs, batches } => {
                self.start_bar(format!("epoch {epoch}/{epochs}"), *batches)
            }
            Event::StepFinished(report) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(report.batch as u64);
                    bar.set_message(step_text(report));
                }
            }
            Event::ValidationStep { batch, batches } => {
                if *batch == 1 {
                    self.start_bar("validation".to_owned(), *batches);
                }
                if let Some(bar) = &self.bar {
                    bar.set_position(*batch as u64);
                }
            }
            Event::ValidationFinished(_) => self.finish_bar(),
            Event::EpochFinished { report, improved, .. } => {
                self.finish_bar();
                if self.verbose {
                    self.say(&format!("{}{}", epoch_line(report), if *improved { "  best" } else { "" }));
                }
            }
            Event::DataMoved(progress) => self.show_data(progress),
            Event::DataRests => self.finish_bar(),
            Event::Note(text) if self.verbose => self.say(text),
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            Event::Interrupted { .. } | Event::RunFailed(_) => self.finish_bar(),
            Event::RunFinished(summary) => {
                self.finish_bar();
                let why = match summary.ending {
                    Ending::Complete => "",
                    Ending::Patience => " (no better fitness within `patience` epochs)",
                    Ending::Time => " (the time is used up)",
                };
                self.say(&format!("done       {} epochs in {}{why}", summary.epochs, duration(summary.seconds)));
                if let Some(best) = summary.best {
                    self.say(&format!("best       epoch {}, mAP50-95 {:.4}", best.epoch, best.fitness));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn step_text(report: &StepReport) -> String {
    let [boxes, classes, dfl] = report.mean_losses;
    format!("box {boxes:.3}  cls {classes:.3}  dfl {dfl:.3}  {} objects", report.instances)
}

/// An epoch on one line.
pub(crate) fn epoch_line(report: &EpochReport) -> String {
    let [boxes, classes, dfl] = report.losses;
    let mut line = format!("epoch {}/{}  box {boxes:.4}  cls {classes:.4}  dfl {dfl:.4}", report.epoch, report.epochs);
    if let Some(validation) = &report.validation {
        let summary = &validation.summary;
        line += &format!(
            "  precision {:.4}  recall {:.4}  mAP50 {:.4}  mAP50-95 {:.4}",
            summary.precision, summary.recall, summary.map50, summary.map50_95
        );
    }
    line += &format!("  lr {:.3e}  {:.1} images/s", report.rates.weights, report.images_per_second);
    if let Some(memory) = report.memory {
        line += &format!("  {:.0} MB", memory as f64 / 1e6);
    }
    line
}

/// `8 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_engine::Rates;

    #[test]
    fn an_epoch_is_one_line_with_its_figures() {
        let report = EpochReport {
            epoch: 3,
            epochs: 60,
            seconds: 86.5,
            losses: [3.21316, 2.24403, 2.53803],
            rates: Rates { weights: 0.001, norms: 0.001, biases: 0.001, momentum: 0.9 },
            validation: None,
            images_per_second: 14.25,
            memory: Some(512_000_000),
        };
        assert_eq!(
            epoch_line(&report),
            "epoch 3/60  box 3.2132  cls 2.2440  dfl 2.5380  lr 1.000e-3  14.2 images/s  512 MB"
        );
        assert_eq!(duration(59.2), "59.2 s");
        assert_eq!(duration(200.4), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
    }
}
