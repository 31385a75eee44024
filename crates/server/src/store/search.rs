//! Searching runs. What a filter or an order looks at is read for all runs of the experiments, a few columns each; comparing, ordering
//! and paging is done here, so that every database gives the same answer. Only the runs of the page are read whole.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Store, View, datasets, experiments, numbers, page, runs};
use crate::entity::RunInfo;
use crate::error::ApiError;
use crate::filter::{Clause, Entity, Key, Kind, parse, parse_order};
use crate::request::Request;
use crate::values;

/// Runs on a page where nothing else is asked for.
const PAGE: i64 = 1000;

/// What is looked at beyond the run itself, by the run's number.
enum Column {
    Numbers(HashMap<i64, f64>),
    Texts(HashMap<i64, String>),
    Lists(HashMap<i64, Vec<String>>),
}

struct Candidate {
    run: i64,
    info: RunInfo,
}

/// `runs/search`, as the text of the answer: it may be long.
pub fn search(store: &mut Store<'_>, request: &Request) -> Result<Vec<u8>, ApiError> {
    let mut clauses = parse(&request.text("filter")?.unwrap_or_default())?;
    clauses.iter_mut().try_for_each(check)?;
    let view = View::parse(request.text("run_view_type")?.as_deref())?;
    let orders = orders(&request.texts("order_by")?)?;
    let most = request.max_results(PAGE)?;
    let mut ids = Vec::new();
    for id in request.texts("experiment_ids")? {
        ids.push(experiments::number(&id)?);
    }
    let ids = numbers(ids);
    let sql = format!("SELECT {} FROM runs r WHERE r.experiment {} ORDER BY r.id", runs::COLUMNS, store.among());
    let mut found = Vec::new();
    store.db.read(&sql, values![&ids], &mut |row| {
        if view.shows(row.text(9)) {
            let (run, info) = runs::read_info(row);
            found.push(Candidate { run, info });
        }
    })?;
    let mut columns: HashMap<Key, Column> = HashMap::new();
    for key in clauses.iter().map(|clause| &clause.key).chain(orders.iter().map(|(key, _)| key)) {
        if key.entity != Entity::Attribute && !columns.contains_key(key) {
            let column = read_column(store, key, &ids)?;
            columns.insert(key.clone(), column);
        }
    }
    found.retain(|candidate| clauses.iter().all(|clause| holds(candidate, clause, columns.get(&clause.key))));
    found.sort_by(|a, b| {
        let steps = orders.iter().map(|(key, ascending)| compare(a, b, key, *ascending, columns.get(key)));
        steps.fold(Ordering::Equal, Ordering::then).then_with(|| natural(a, b))
    });
    let token = request.text("page_token")?;
    let (page, next) = page::cut(found, token.as_deref(), most)?;
    let runs = runs::whole(store, page.into_iter().map(|candidate| (candidate.run, candidate.info)).collect())?;
    let mut answer = Vec::with_capacity(64 + runs.len() * 1024);
    answer.push(b'{');
    let failed = |error: serde_json::Error| ApiError::internal(error.to_string());
    if !runs.is_empty() {
        answer.extend_from_slice(b"\"runs\":");
        serde_json::to_writer(&mut answer, &runs).map_err(failed)?;
    }
    if let Some(token) = next {
        if !runs.is_empty() {
            answer.push(b',');
        }
        answer.extend_from_slice(format!("\"next_page_token\":\"{token}\"").as_bytes());
    }
    answer.push(b'}');
    Ok(answer)
}

/// The youngest first.
fn natural(a: &Candidate, b: &Candidate) -> Ordering {
    b.info.start_time.cmp(&a.info.start_time).then_with(|| a.info.run_id.cmp(&b.info.run_id))
}

/// Names under which attributes are asked for too.
fn attribute(name: &mut String) {
    if matches!(name.as_str(), "created" | "Created") {
        *name = "start_time".to_owned();
    }
    if matches!(name.as_str(), "run name" | "Run name" | "Run Name") {
        *name = "run_name".to_owned();
    }
}

fn check(clause: &mut Clause) -> Result<(), ApiError> {
    let entity = clause.key.entity;
    if entity == Entity::Attribute {
        attribute(&mut clause.key.name);
    }
    match (entity, clause.key.name.as_str()) {
        (Entity::Metric, _) | (Entity::Attribute, "start_time" | "end_time") => clause.check(Kind::Number),
        (Entity::Param | Entity::Tag, _) => clause.check(Kind::OptionalText),
        (Entity::Dataset, "name" | "digest" | "context") => clause.check(Kind::Text),
        (Entity::Dataset, name) => {
            Err(ApiError::invalid(format!("data sets have no `{name}`: name, digest or context")))
        }
        (Entity::Attribute, "run_id" | "run_name" | "user_id" | "status" | "artifact_uri") => clause.check(Kind::Text),
        (Entity::Attribute, name) => Err(ApiError::invalid(format!(
            "runs have no attribute `{name}`: run_id, run_name, user_id, status, artifact_uri, start_time or end_time"
        ))),
    }
}

fn orders(texts: &[String]) -> Result<Vec<(Key, bool)>, ApiError> {
    let mut orders: Vec<(Key, bool)> = Vec::new();
    for text in texts {
        let (mut key, ascending) = parse_order(text)?;
        if key.entity == Entity::Attribute {
            attribute(&mut key.name);
            if !matches!(
                key.name.as_str(),
                "run_id" | "run_name" | "user_id" | "status" | "artifact_uri" | "start_time" | "end_time"
            ) {
                return Err(ApiError::invalid(format!("runs cannot be ordered by `{}`", key.name)));
            }
        }
        if key.entity == Entity::Dataset {
            return Err(ApiError::invalid("runs cannot be ordered by data sets"));
        }
        if orders.iter().any(|(other, _)| *other == key) {
            return Err(ApiError::invalid(format!("the order names `{}` twice", key.name)));
        }
        orders.push((key, ascending));
    }
    Ok(orders)
}

fn read_column(store: &mut Store<'_>, key: &Key, experiments: &str) -> Result<Column, ApiError> {
    let among = store.among();
    let values = values![experiments, &key.name];
    let joined = |columns: &str, table: &str| {
        format!(
            "SELECT t.run, {columns} FROM runs r JOIN {table} t ON t.run = r.id WHERE r.experiment {among} AND t.name = ?"
        )
    };
    match key.entity {
        Entity::Metric => {
            let mut column = HashMap::new();
            store.db.read(&joined("t.value, t.is_nan", "latest_metrics"), values, &mut |row| {
                column.insert(row.int(0), if row.int(2) == 1 { f64::NAN } else { row.real(1) });
            })?;
            Ok(Column::Numbers(column))
        }
        Entity::Param | Entity::Tag => {
            let mut column = HashMap::new();
            let table = if key.entity == Entity::Param { "params" } else { "tags" };
            store.db.read(&joined("t.value", table), values, &mut |row| {
                column.insert(row.int(0), row.string(1));
            })?;
            Ok(Column::Texts(column))
        }
        Entity::Dataset | Entity::Attribute => {
            let mut column: HashMap<i64, Vec<String>> = HashMap::new();
            let sql = format!("{} JOIN runs r ON r.id = i.run WHERE r.experiment {among}", datasets::INPUTS);
            store.db.read(&sql, values![experiments], &mut |row| {
                let input = datasets::read_input(row);
                let context =
                    || input.tags.iter().find(|tag| tag.key == datasets::CONTEXT).map(|tag| tag.value.clone());
                let value = match key.name.as_str() {
                    "name" => Some(input.dataset.name.clone()),
                    "digest" => Some(input.dataset.digest.clone()),
                    _ => context(),
                };
                column.entry(row.int(0)).or_default().extend(value);
            })?;
            Ok(Column::Lists(column))
        }
    }
}

fn text_of<'a>(candidate: &'a Candidate, name: &str) -> &'a str {
    let info = &candidate.info;
    match name {
        "run_id" => &info.run_id,
        "run_name" => &info.run_name,
        "user_id" => &info.user_id,
        "status" => info.status,
        _ => &info.artifact_uri,
    }
}

fn time_of(candidate: &Candidate, name: &str) -> Option<i64> {
    match name {
        "start_time" => Some(candidate.info.start_time),
        "end_time" => candidate.info.end_time,
        _ => None,
    }
}

fn holds(candidate: &Candidate, clause: &Clause, column: Option<&Column>) -> bool {
    match column {
        Some(Column::Numbers(values)) => clause.matches_number(values.get(&candidate.run).copied()),
        Some(Column::Texts(values)) => clause.matches_text(values.get(&candidate.run).map(String::as_str)),
        Some(Column::Lists(values)) => {
            values.get(&candidate.run).is_some_and(|values| values.iter().any(|value| clause.matches_text(Some(value))))
        }
        None => match clause.key.name.as_str() {
            name @ ("start_time" | "end_time") => {
                clause.matches_number(time_of(candidate, name).map(|time| time as f64))
            }
            name => clause.matches_text(Some(text_of(candidate, name))),
        },
    }
}

/// Those without a value are last whatever the direction, after those whose value is NaN.
fn compare(a: &Candidate, b: &Candidate, key: &Key, ascending: bool, column: Option<&Column>) -> Ordering {
    let turned = |order: Ordering| if ascending { order } else { order.reverse() };
    match column {
        Some(Column::Numbers(values)) => {
            let (a, b) = (values.get(&a.run).copied(), values.get(&b.run).copied());
            let rank = |value: Option<f64>| value.map_or(2, |value| i32::from(value.is_nan()));
            let order = a.zip(b).and_then(|(a, b)| a.partial_cmp(&b)).unwrap_or(Ordering::Equal);
            rank(a).cmp(&rank(b)).then(turned(order))
        }
        Some(Column::Texts(values)) => by_presence(values.get(&a.run), values.get(&b.run), turned),
        Some(Column::Lists(_)) => Ordering::Equal,
        None => match key.name.as_str() {
            name @ ("start_time" | "end_time") => by_presence(time_of(a, name), time_of(b, name), turned),
            name => turned(text_of(a, name).cmp(text_of(b, name))),
        },
    }
}

fn by_presence<T: Ord>(a: Option<T>, b: Option<T>, turned: impl Fn(Ordering) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => turned(a.cmp(&b)),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}
