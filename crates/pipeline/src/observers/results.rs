//! `results.csv`: one row an epoch, in the columns that the field's tools read.

use std::path::{Path, PathBuf};

use crate::event::EpochReport;
use crate::file::write_atomically;
use crate::{Error, Event, Observer};

const HEADER: &str = "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),\
metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2";

/// Keeps a run's table of results. The whole small file is written anew each epoch, so that it is never half there.
#[derive(Debug)]
pub struct ResultsTable {
    path: PathBuf,
    rows: Vec<String>,
}

impl ResultsTable {
    /// A table that goes on after `finished_epochs` rows of an existing file: 0 for a new one. Rows of later epochs, which a
    /// resumed run does again, are left out.
    pub fn open(path: impl AsRef<Path>, finished_epochs: usize) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let mut rows = Vec::new();
        if finished_epochs > 0 && path.exists() {
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let kept = text.lines().skip(1).filter(|row| {
                let epoch = row.split(',').next().and_then(|epoch| epoch.trim().parse::<usize>().ok());
                epoch.is_some_and(|epoch| epoch <= finished_epochs)
            });
            rows = kept.map(str::to_owned).collect();
        }
        Ok(ResultsTable { path, rows })
    }
}

impl Observer for ResultsTable {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        let Event::EpochFinished { report, .. } = event else {
            return Ok(());
        };
        self.rows.push(row(report));
        let mut text = String::from(HEADER);
        text.push('\n');
        for row in &self.rows {
            text += row;
            text.push('\n');
        }
        write_atomically(&self.path, text.as_bytes())
    }
}

/// Six significant figures, as the field's own tables have them; nothing where there is no figure.
fn row(report: &EpochReport) -> String {
    let mut columns = vec![report.epoch.to_string(), significant(report.seconds)];
    columns.extend(report.losses.iter().map(|&loss| significant(loss)));
    match &report.validation {
        Some(validation) => {
            let summary = &validation.summary;
            let metrics = [summary.precision, summary.recall, summary.map50, summary.map50_95];
            columns.extend(metrics.into_iter().chain(validation.losses).map(significant));
        }
        None => columns.extend(std::iter::repeat_n(String::new(), 7)),
    }
    let rates = [report.rates.weights, report.rates.norms, report.rates.biases];
    columns.extend(rates.into_iter().map(significant));
    columns.join(",")
}

/// Six significant figures without trailing zeros: `0.000326923`, `1553.75`.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "nan".to_owned() };
    }
    let digits = (5 - value.abs().log10().floor() as i32).clamp(0, 30) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_look_like_the_fields() {
        for (value, wanted) in [
            (29.46791, "29.4679"),
            (0.000326923077, "0.000326923"),
            (1580.94, "1580.94"),
            (4.3e-5, "0.000043"),
            (0.0, "0"),
            (f64::NAN, "nan"),
            (1234567.8, "1234568"),
        ] {
            assert_eq!(significant(value), wanted);
        }
    }

    #[test]
    fn a_resumed_table_keeps_the_rows_of_finished_epochs_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        std::fs::write(&path, format!("{HEADER}\n1,a\n2,b\n3,c\n")).unwrap();
        assert_eq!(ResultsTable::open(&path, 2).unwrap().rows, ["1,a", "2,b"]);
        assert!(ResultsTable::open(&path, 0).unwrap().rows.is_empty());
    }
}
