//! Searching runs. Their numbers are read in the order they have by themselves, the youngest first, and of what a filter or an order looks
//! at a column each; comparing and ordering is done here, so that every database gives the same answer. Only the runs of the page are read
//! whole.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{ACTIVE, DELETED, Store, View, datasets, experiments, numbers, page, runs};
use crate::database::Value;
use crate::entity::status_name;
use crate::error::ApiError;
use crate::filter::{Clause, Entity, Key, Kind, parse, parse_order};
use crate::request::Request;
use crate::values;

/// Runs on a page where nothing else is asked for.
const PAGE: i64 = 1000;

/// What is looked at, by the run's number.
enum Column {
    Numbers(HashMap<i64, f64>),
    Times(HashMap<i64, i64>),
    Texts(HashMap<i64, String>),
    Lists(HashMap<i64, Vec<String>>),
}

/// The runs that are looked at, as a condition on a column and its value: those of experiments, or few by their numbers.
#[derive(Clone, Copy)]
struct Searched<'a> {
    column: &'static str,
    condition: &'static str,
    value: Value<'a>,
}

impl<'a> Searched<'a> {
    /// Those of `left`, a list of numbers, unless it is empty; `among` is the condition for a list.
    fn narrowed(self, among: &'static str, left: &'a str) -> Searched<'a> {
        match left {
            "" => self,
            left => Searched { column: "r.id", condition: among, value: Value::Text(left) },
        }
    }
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
    let list = numbers(ids.iter().copied());
    let searched = match ids.as_slice() {
        // The database takes the runs of one in their order from an index.
        [one] => Searched { column: "r.experiment", condition: "= ?", value: Value::Int(*one) },
        _ => Searched { column: "r.experiment", condition: store.among(), value: Value::Text(&list) },
    };
    let token = request.text("page_token")?;
    let (page, next) = if clauses.is_empty() && orders.is_empty() {
        listed(store, searched, view, token.as_deref(), most)?
    } else {
        page::cut(found(store, searched, view, &clauses, &orders)?, token.as_deref(), most)?
    };
    let page = runs::infos(store, &page)?;
    let runs = runs::whole(store, page)?;
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

/// The statement for the numbers of all runs, the youngest first.
fn all(searched: Searched<'_>, view: View) -> String {
    let stage = match view {
        View::Active => format!("= '{ACTIVE}'"),
        View::Deleted => format!("= '{DELETED}'"),
        View::All => format!("IN ('{ACTIVE}', '{DELETED}')"),
    };
    format!(
        "SELECT r.id FROM runs r WHERE {} {} AND r.lifecycle_stage {stage} ORDER BY r.start_time DESC, r.run_id",
        searched.column, searched.condition
    )
}

/// A page of all runs, and the token of the next one where there is more.
fn listed(
    store: &mut Store<'_>,
    searched: Searched<'_>,
    view: View,
    token: Option<&str>,
    most: usize,
) -> Result<(Vec<i64>, Option<String>), ApiError> {
    let start = page::offset(token)?;
    let (limit, offset) = (most as i64 + 1, i64::try_from(start).unwrap_or(i64::MAX));
    let sql = format!("{} LIMIT ? OFFSET ?", all(searched, view));
    let mut found = store.db.all(&sql, values![searched.value, limit, offset], |row| row.int(0))?;
    let next = (found.len() > most).then(|| page::token(start + most));
    found.truncate(most);
    Ok((found, next))
}

/// The runs that every clause holds for, in order.
fn found(
    store: &mut Store<'_>,
    searched: Searched<'_>,
    view: View,
    clauses: &[Clause],
    orders: &[(Key, bool)],
) -> Result<Vec<i64>, ApiError> {
    let mut found = store.db.all(&all(searched, view), values![searched.value], |row| row.int(0))?;
    let few = found.len() / 4;
    for clause in clauses {
        let left = if found.len() < few { numbers(found.iter().copied()) } else { String::new() };
        let column = read_column(store, &clause.key, searched.narrowed(store.among(), &left))?;
        found.retain(|run| holds(*run, clause, &column));
    }
    let left = if found.len() < few { numbers(found.iter().copied()) } else { String::new() };
    let mut columns = Vec::new();
    for (key, ascending) in orders {
        columns.push((read_column(store, key, searched.narrowed(store.among(), &left))?, *ascending));
    }
    // Where orders leave runs alike, they stay as they were.
    found.sort_by(|a, b| {
        let steps = columns.iter().map(|(column, ascending)| compare(*a, *b, *ascending, column));
        steps.fold(Ordering::Equal, Ordering::then)
    });
    Ok(found)
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
    // The order that runs have by themselves.
    if let [(key, false)] = orders.as_slice()
        && key.entity == Entity::Attribute
        && key.name == "start_time"
    {
        orders.clear();
    }
    Ok(orders)
}

fn read_column(store: &mut Store<'_>, key: &Key, searched: Searched<'_>) -> Result<Column, ApiError> {
    let condition = format!("{} {}", searched.column, searched.condition);
    let values = values![searched.value, &key.name];
    let joined = |columns: &str, table: &str| {
        format!("SELECT t.run, {columns} FROM runs r JOIN {table} t ON t.run = r.id WHERE {condition} AND t.name = ?")
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
        Entity::Attribute => read_attribute(store, &key.name, searched),
        Entity::Dataset => {
            let mut column: HashMap<i64, Vec<String>> = HashMap::new();
            let sql = format!("{} JOIN runs r ON r.id = i.run WHERE {condition}", datasets::INPUTS);
            store.db.read(&sql, values![searched.value], &mut |row| {
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

/// An attribute; `name` is one that [`attribute`] gives and [`check`] or [`orders`] let pass.
fn read_attribute(store: &mut Store<'_>, name: &str, searched: Searched<'_>) -> Result<Column, ApiError> {
    let column = if name == "run_name" { "name" } else { name };
    let sql = format!("SELECT r.id, r.{column} FROM runs r WHERE {} {}", searched.column, searched.condition);
    let values = values![searched.value];
    if matches!(name, "start_time" | "end_time") {
        let mut times = HashMap::new();
        store.db.read(&sql, values, &mut |row| times.extend(row.optional_int(1).map(|time| (row.int(0), time))))?;
        return Ok(Column::Times(times));
    }
    let mut texts = HashMap::new();
    store.db.read(&sql, values, &mut |row| {
        let text = if name == "status" { status_name(row.int(1)).to_owned() } else { row.string(1) };
        texts.insert(row.int(0), text);
    })?;
    Ok(Column::Texts(texts))
}

fn holds(run: i64, clause: &Clause, column: &Column) -> bool {
    match column {
        Column::Numbers(values) => clause.matches_number(values.get(&run).copied()),
        Column::Times(values) => clause.matches_number(values.get(&run).map(|time| *time as f64)),
        Column::Texts(values) => clause.matches_text(values.get(&run).map(String::as_str)),
        Column::Lists(values) => {
            values.get(&run).is_some_and(|values| values.iter().any(|value| clause.matches_text(Some(value))))
        }
    }
}

/// Those without a value are last whatever the direction, after those whose value is NaN.
fn compare(a: i64, b: i64, ascending: bool, column: &Column) -> Ordering {
    let turned = |order: Ordering| if ascending { order } else { order.reverse() };
    match column {
        Column::Numbers(values) => {
            let (a, b) = (values.get(&a).copied(), values.get(&b).copied());
            let rank = |value: Option<f64>| value.map_or(2, |value| i32::from(value.is_nan()));
            let order = a.zip(b).and_then(|(a, b)| a.partial_cmp(&b)).unwrap_or(Ordering::Equal);
            rank(a).cmp(&rank(b)).then(turned(order))
        }
        Column::Times(values) => by_presence(values.get(&a), values.get(&b), turned),
        Column::Texts(values) => by_presence(values.get(&a), values.get(&b), turned),
        Column::Lists(_) => Ordering::Equal,
    }
}

fn by_presence<T: Ord>(a: Option<T>, b: Option<T>, turned: impl Fn(Ordering) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => turned(a.cmp(&b)),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}
