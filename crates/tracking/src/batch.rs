//! Metrics, params and tags: as many as a call takes, several calls at once where much is left over from an outage.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::Error;
use crate::client::Client;
use crate::queue::Entry;
use crate::record::{MOST_METRICS, MOST_PAIRS, Metric, Record};
use crate::shipper::Shipper;

/// Calls on their way at the same time while a backlog of metrics is shipped: the server's workers share it.
const AT_ONCE: usize = 4;

/// Time between the first calls of a round. Connections that come at once are all taken in by the worker that wakes first, and the others
/// of the server have nothing to do; one that has begun to work is slower at the door.
const APART: Duration = Duration::from_millis(20);

/// Most batches of a round: what a crash of this process may send a second time.
const MOST_BATCHES: usize = 16;

/// A backlog of metrics that is sent as several batches. It outlives a call that fails, so that what came through is not sent again.
pub(crate) struct Round {
    batches: Vec<Vec<Metric>>,
    has_arrived: Vec<bool>,
    /// Records that it is made of.
    records: usize,
}

impl Round {
    /// Of the records ahead; nothing where they make fewer than two batches. A server locks the latest value of each metric of a batch
    /// until the batch is stored, so a batch holds few metrics, and neighbours hold different ones. Points carry their time and step:
    /// their order of arrival does not matter.
    fn gather(ahead: &VecDeque<Entry>) -> Option<Round> {
        let (mut points, mut records) = (Vec::<Metric>::new(), 0);
        for entry in ahead {
            let Some(Record::Metrics { metrics }) = &entry.record else { break };
            if points.len() + metrics.len() > MOST_BATCHES * MOST_METRICS {
                break;
            }
            points.extend_from_slice(metrics);
            records += 1;
        }
        if points.len() <= MOST_METRICS {
            return None;
        }
        points.sort_by(|one, other| one.key.cmp(&other.key));
        let cut: Vec<&[Metric]> = points.chunks(MOST_METRICS).collect();
        // Strides over the sorted batches: 0, 4, 8, 12, 1, 5, … for sixteen.
        let stride = cut.len().div_ceil(AT_ONCE);
        let order = (0..stride).flat_map(|first| (first..cut.len()).step_by(stride));
        let batches: Vec<_> = order.map(|index| cut[index].to_vec()).collect();
        Some(Round { has_arrived: vec![false; batches.len()], batches, records })
    }

    fn left(&self) -> Vec<usize> {
        (0..self.batches.len()).filter(|&index| !self.has_arrived[index]).collect()
    }

    /// Sends what is left, several batches at once, until one does not come through; gives what became of each that was sent.
    fn send(&self, client: &Client, run_id: &str) -> Vec<(usize, Result<(), Error>)> {
        let (left, next) = (self.left(), AtomicUsize::new(0));
        let results = Mutex::new(Vec::new());
        let work = || {
            while let Some(&index) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = client.log_batch(run_id, &self.batches[index], &[], &[]);
                if result.as_ref().is_err_and(|error| !error.is_refusal()) {
                    next.store(left.len(), Ordering::Relaxed);
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            }
        };
        std::thread::scope(|scope| {
            for number in 1..AT_ONCE.min(left.len()) {
                scope.spawn(move || {
                    std::thread::sleep(APART * number as u32);
                    work();
                });
            }
            work();
        });
        results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shipper {
    /// A backlog of metrics, several batches at once; nothing where there is none. Right after a failure only one batch goes: no record is
    /// done with then, but one batch less is left.
    fn ship_backlog(&mut self) -> Result<Option<usize>, Error> {
        if self.round.is_none() {
            self.round = Round::gather(&self.ahead);
        }
        if self.round.is_none() {
            return Ok(None);
        }
        let (client, run_id) = self.run_client()?;
        let Some(mut round) = self.round.take() else { return Ok(None) };
        let sent = if std::mem::take(&mut self.may_hurry) {
            round.send(&client, &run_id)
        } else {
            round
                .left()
                .first()
                .map(|&index| (index, self.send_batch(&round.batches[index], &[], &[])))
                .into_iter()
                .collect()
        };
        let mut failed = None;
        for (index, result) in sent {
            let result = match result {
                Err(error) if error.is_refusal() => self.send_batch(&round.batches[index], &[], &[]),
                result => result,
            };
            match result {
                Ok(()) => {
                    round.has_arrived[index] = true;
                    self.state.counts.metrics += round.batches[index].len() as u64;
                }
                Err(error) => failed = Some(error),
            }
        }
        let is_done = round.left().is_empty();
        let records = round.records;
        if !is_done {
            self.round = Some(round);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Some(if is_done { records } else { 0 })),
        }
    }

    /// Metrics, params and tags of the records ahead, as many as one call takes.
    pub(crate) fn ship_batch(&mut self) -> Result<usize, Error> {
        if let Some(taken) = self.ship_backlog()? {
            return Ok(taken);
        }
        let (mut metrics, mut params, mut tags, mut taken) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for entry in &self.ahead {
            let (added_metrics, added_params, added_tags) = match &entry.record {
                Some(Record::Metrics { metrics }) => (metrics.len(), 0, 0),
                // A param that differs becomes a tag.
                Some(Record::Params { params }) => (0, params.len(), params.len()),
                Some(Record::Tags { tags }) => (0, 0, tags.len()),
                _ => break,
            };
            let total = metrics.len() + params.len() + tags.len() + added_metrics + added_params + added_tags;
            let fits = total <= MOST_METRICS
                && params.len() + added_params <= MOST_PAIRS
                && tags.len() + added_tags <= MOST_PAIRS;
            if taken > 0 && !fits {
                break;
            }
            match &entry.record {
                Some(Record::Metrics { metrics: more }) => metrics.extend_from_slice(more),
                Some(Record::Tags { tags: more }) => tags.extend_from_slice(more),
                Some(Record::Params { params: more }) => {
                    for (name, value) in more {
                        match self.state.params.get(name) {
                            None => params.push((name.clone(), value.clone())),
                            Some(known) if known == value => {}
                            // Params cannot be changed: a resumed run's new value stands beside the first one.
                            Some(_) => tags.push((format!("resumed.{name}"), value.clone())),
                        }
                    }
                }
                _ => {}
            }
            taken += 1;
        }
        if metrics.len() + params.len() + tags.len() > 0 {
            self.send_batch(&metrics, &params, &tags)?;
        }
        self.state.counts.metrics += metrics.len() as u64;
        self.state.counts.params += params.len() as u64;
        self.state.counts.tags += tags.len() as u64;
        self.state.params.extend(params);
        Ok(taken)
    }

    /// Sends a batch; one that is refused is halved until the entries are found that the server does not take.
    fn send_batch(
        &mut self,
        metrics: &[Metric],
        params: &[(String, String)],
        tags: &[(String, String)],
    ) -> Result<(), Error> {
        let (client, run_id) = self.run_client()?;
        let error = match client.log_batch(&run_id, metrics, params, tags) {
            Err(error) if error.is_refusal() => error,
            Err(error) if error.is_missing() => return Err(self.check_run().err().unwrap_or(error)),
            sent => return sent,
        };
        // A run that was deleted refuses everything; that is no reason to give anything up.
        self.check_run()?;
        if metrics.len() + params.len() + tags.len() <= 1 {
            return self.refuse(&error, json!({"metrics": metrics, "params": params, "tags": tags}));
        }
        fn halves<T>(items: &[T]) -> (&[T], &[T]) {
            items.split_at(items.len().div_ceil(2))
        }
        let kinds = [metrics.len(), params.len(), tags.len()].iter().filter(|&&count| count > 0).count();
        if kinds > 1 {
            self.send_unless_empty(metrics, &[], &[])?;
            self.send_unless_empty(&[], params, &[])?;
            return self.send_unless_empty(&[], &[], tags);
        }
        let (metrics, params, tags) = (halves(metrics), halves(params), halves(tags));
        self.send_unless_empty(metrics.0, params.0, tags.0)?;
        self.send_unless_empty(metrics.1, params.1, tags.1)
    }

    fn send_unless_empty(
        &mut self,
        metrics: &[Metric],
        params: &[(String, String)],
        tags: &[(String, String)],
    ) -> Result<(), Error> {
        if metrics.is_empty() && params.is_empty() && tags.is_empty() {
            return Ok(());
        }
        self.send_batch(metrics, params, tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Position;

    fn ahead(keys: &[&str], steps: i64) -> VecDeque<Entry> {
        let entry = |step: i64| {
            let metric = |key: &&str| Metric { key: (*key).into(), value: step as f64, timestamp: step, step };
            let record = Record::Metrics { metrics: keys.iter().map(metric).collect() };
            Entry { record: Some(record), end: Position::default() }
        };
        (0..steps).map(entry).collect()
    }

    #[test]
    fn a_backlog_becomes_batches_whose_neighbours_share_no_metric() {
        let round = Round::gather(&ahead(&["a", "b", "c", "d"], 5000)).unwrap();
        assert_eq!((round.batches.len(), round.records), (MOST_BATCHES, MOST_BATCHES * MOST_METRICS / 4));
        let keys: Vec<_> = round.batches.iter().map(|batch| batch[0].key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "c", "d"].repeat(4));
        let mut points: Vec<_> = round.batches.concat().iter().map(|point| (point.key.clone(), point.step)).collect();
        points.sort();
        points.dedup();
        assert_eq!(points.len(), MOST_BATCHES * MOST_METRICS);
    }

    #[test]
    fn what_fits_into_one_call_is_no_backlog() {
        assert!(Round::gather(&ahead(&["a"], 1000)).is_none());
        assert_eq!(Round::gather(&ahead(&["a"], 1001)).unwrap().batches.len(), 2);
    }
}
