//! Histories of metrics.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Store, log, page, runs};
use crate::entity::number_json;
use crate::error::ApiError;
use crate::metric_block::{Point, in_order, pack, unpack};
use crate::request::Request;
use crate::values;

/// Points of a page where nothing else is asked for: all there are.
const ALL: i64 = 50_000;

/// Points of one run in a sampled answer.
const SAMPLED: i64 = 2500;

/// Runs in one call.
const RUNS: usize = 100;

/// Points in a merged block.
const MERGED: usize = 4096;

/// The points of a metric, in order, each once.
fn points(store: &mut Store<'_>, run: i64, name: &str) -> Result<Vec<Point>, ApiError> {
    let mut found = Vec::new();
    let mut whole = true;
    store.db.read(
        "SELECT points FROM metric_blocks WHERE run = ? AND name = ? ORDER BY number",
        values![run, name],
        &mut |row| whole &= unpack(row.blob(0), &mut found),
    )?;
    if !whole {
        return Err(ApiError::internal(format!("the history of the metric `{name}` is damaged in the database")));
    }
    in_order(&mut found);
    Ok(found)
}

/// `metrics/get-history`, as the text of the answer: it may be long.
pub fn get(store: &mut Store<'_>, request: &Request) -> Result<Vec<u8>, ApiError> {
    let (run_id, name) = (request.run_id()?, request.required("metric_key")?);
    let token = request.text("page_token")?;
    let start = page::offset(token.as_deref())?;
    let most = match request.int("max_results")? {
        None | Some(0) => usize::MAX,
        Some(_) => request.max_results(ALL)?,
    };
    let run = store.db.first("SELECT id FROM runs WHERE run_id = ?", values![&run_id], |row| row.int(0))?;
    let points = match run {
        // As the real server does: no run, no points.
        None => Vec::new(),
        Some(run) => points(store, run, &name)?,
    };
    let end = start.saturating_add(most).min(points.len());
    let next = (end < points.len()).then(|| page::token(end));
    let shown = points.get(start..end).unwrap_or_default();
    let mut text = String::with_capacity(64 + shown.len() * 90);
    let key = Value::from(name).to_string();
    text.push('{');
    for (place, point) in shown.iter().enumerate() {
        text.push_str(if place == 0 { "\"metrics\":[" } else { "," });
        write_point(&mut text, &key, point, None);
    }
    if !shown.is_empty() {
        text.push(']');
    }
    if let Some(token) = next {
        let comma = if shown.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}\"next_page_token\":\"{token}\"");
    }
    text.push('}');
    Ok(text.into_bytes())
}

fn write_point(text: &mut String, key: &str, point: &Point, run_id: Option<&str>) {
    let value = number_json(point.value);
    let _ = write!(text, "{{\"key\":{key},\"value\":{value},\"timestamp\":{},\"step\":{}", point.timestamp, point.step);
    if let Some(run_id) = run_id {
        let _ = write!(text, ",\"run_id\":\"{run_id}\"");
    }
    text.push('}');
}

/// `metrics/get-history-bulk-interval`: the points of several runs in an interval of steps, so many of each run at most, spread evenly
/// with the first and the last among them. `metric_key` may stand several times; each point names its metric.
pub fn bulk(store: &mut Store<'_>, request: &Request) -> Result<Vec<u8>, ApiError> {
    let run_ids = request.texts("run_ids")?;
    let names = request.texts("metric_key")?;
    if run_ids.is_empty() || names.is_empty() {
        return Err(ApiError::invalid("the required parameters `run_ids` and `metric_key` are missing"));
    }
    if run_ids.len() > RUNS || names.len() > RUNS {
        return Err(ApiError::invalid(format!("at most {RUNS} runs and {RUNS} metrics in one call")));
    }
    let most = request.int("max_results")?.unwrap_or(SAMPLED);
    if !(1..=SAMPLED).contains(&most) {
        return Err(ApiError::invalid(format!("`max_results` is {most}; it must be between 1 and {SAMPLED}")));
    }
    let interval = match (request.int("start_step")?, request.int("end_step")?) {
        (None, None) => i64::MIN..=i64::MAX,
        (Some(start), Some(end)) if start <= end => start..=end,
        (Some(start), Some(end)) => {
            return Err(ApiError::invalid(format!("`end_step` {end} is before `start_step` {start}")));
        }
        _ => return Err(ApiError::invalid("`start_step` and `end_step` need each other")),
    };
    let mut text = String::from("{");
    for run_id in &run_ids {
        let (run, info) = runs::find(store, run_id)?;
        for name in &names {
            let mut found = points(store, run, name)?;
            found.retain(|point| interval.contains(&point.step));
            let key = Value::from(name.as_str()).to_string();
            for place in sample(found.len(), most as usize) {
                text.push_str(if text.len() == 1 { "\"metrics\":[" } else { "," });
                write_point(&mut text, &key, &found[place], Some(&info.run_id));
            }
        }
    }
    text.push_str(if text.len() == 1 { "}" } else { "]}" });
    Ok(text.into_bytes())
}

/// Places of at most `most` of `count` points, spread evenly, with the first and the last; the last alone where one is wanted.
fn sample(count: usize, most: usize) -> Vec<usize> {
    match (count, most) {
        (0, _) => Vec::new(),
        (count, 1) => vec![count - 1],
        (count, most) if count <= most => (0..count).collect(),
        (count, most) => (0..most).map(|place| place * (count - 1) / (most - 1)).collect(),
    }
}

/// `metrics/get-history-bulk`: the whole histories of several runs.
pub fn bulk_whole(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let run_ids = request.texts("run_id")?;
    let name = request.required("metric_key")?;
    if run_ids.is_empty() || run_ids.len() > RUNS {
        return Err(ApiError::invalid(format!("between 1 and {RUNS} of `run_id` are needed")));
    }
    let most = request.int("max_results")?.unwrap_or(25_000).clamp(0, 25_000) as usize;
    let mut metrics = Vec::new();
    for run_id in &run_ids {
        let run = store.db.first("SELECT id FROM runs WHERE run_id = ?", values![run_id], |row| row.int(0))?;
        let Some(run) = run else { continue };
        for point in points(store, run, &name)? {
            if metrics.len() == most {
                break;
            }
            metrics.push(json!({
                "key": name, "value": number_json(point.value), "timestamp": point.timestamp, "step": point.step, "run_id": run_id,
            }));
        }
    }
    Ok(json!({"metrics": metrics}))
}

/// Joins the many small blocks of a run that has ended into few large ones.
///
/// # Errors
/// Those of the database.
pub(crate) fn merge(store: &mut Store<'_>, run: i64) -> Result<(), ApiError> {
    let names = store.db.all(
        "SELECT name, count(*) FROM metric_blocks WHERE run = ? GROUP BY name HAVING count(*) > 8 ORDER BY name",
        values![run],
        |row| row.string(0),
    )?;
    for name in names {
        let points = points(store, run, &name)?;
        store.db.run("DELETE FROM metric_blocks WHERE run = ? AND name = ?", values![run, &name])?;
        let blocks: Vec<(i64, Vec<u8>)> = points.chunks(MERGED).map(|part| (log::block_number(), pack(part))).collect();
        let rows: Vec<_> = blocks
            .iter()
            .map(|(number, bytes)| vec![run.into(), (&name).into(), (*number).into(), bytes.as_slice().into()])
            .collect();
        store.db.run_many("INSERT INTO metric_blocks (run, name, number, points) VALUES (?, ?, ?, ?)", &rows)?;
    }
    Ok(())
}

/// `experiments/metric-names` of this server's own pages: every metric of the runs of some experiments.
pub fn names(store: &mut Store<'_>, request: &Request) -> Result<Value, ApiError> {
    let mut names = Map::new();
    for id in request.texts("experiment_ids")? {
        let id = super::experiments::number(&id)?;
        let sql = "SELECT DISTINCT m.name FROM runs r JOIN latest_metrics m ON m.run = r.id WHERE r.experiment = ?";
        store.db.read(sql, values![id], &mut |row| {
            names.insert(row.string(0), Value::Null);
        })?;
    }
    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
    names.sort();
    Ok(json!({"names": names}))
}

#[cfg(test)]
mod tests {
    use super::sample;

    #[test]
    fn samples_have_both_ends() {
        assert_eq!(sample(0, 5), Vec::<usize>::new());
        assert_eq!(sample(3, 5), [0, 1, 2]);
        assert_eq!(sample(100, 5), [0, 24, 49, 74, 99]);
        assert_eq!(sample(100, 1), [99]);
    }
}
