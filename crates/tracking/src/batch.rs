//! Metrics, params and tags: as many as a call takes, several calls at once where much is left over from an outage.

use serde_json::json;

use crate::Error;
use crate::record::{MOST_METRICS, MOST_PAIRS, Metric, Record};
use crate::shipper::Shipper;

/// Calls on their way at the same time while a backlog of metrics is shipped: the server's workers share it.
const AT_ONCE: usize = 4;

impl Shipper {
    /// Several full batches of metrics at once; nothing where fewer than two are ahead. Points carry their time and step: their order
    /// of arrival does not matter.
    fn ship_backlog(&mut self) -> Result<Option<usize>, Error> {
        let (mut batches, mut taken) = (vec![Vec::<Metric>::new()], 0);
        for entry in &self.ahead {
            let Some(Record::Metrics { metrics }) = &entry.record else { break };
            let is_full = batches.last().is_some_and(|batch| batch.len() + metrics.len() > MOST_METRICS);
            if is_full && batches.len() == AT_ONCE {
                break;
            }
            if is_full {
                batches.push(Vec::new());
            }
            if let Some(batch) = batches.last_mut() {
                batch.extend_from_slice(metrics);
            }
            taken += 1;
        }
        if batches.len() < 2 || !self.may_hurry {
            return Ok(None);
        }
        let (client, run_id) = self.run_client()?;
        // Whatever goes wrong, the next try takes one batch after the other.
        self.may_hurry = false;
        let sent: Vec<Result<(), Error>> = std::thread::scope(|scope| {
            let calls: Vec<_> =
                batches.iter().map(|batch| scope.spawn(|| client.log_batch(&run_id, batch, &[], &[]))).collect();
            calls.into_iter().map(|call| call.join().unwrap_or_else(|_| Err(broke_off(client.base())))).collect()
        });
        for (batch, result) in batches.iter().zip(sent) {
            match result {
                Err(error) if error.is_refusal() => self.send_batch(batch, &[], &[])?,
                result => result?,
            }
        }
        self.state.counts.metrics += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        self.may_hurry = true;
        Ok(Some(taken))
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

fn broke_off(url: &str) -> Error {
    Error::Unreachable { url: url.to_owned(), reason: "the call broke off".to_owned() }
}
