//! Where experiments, runs and models are kept: SQLite in a file, or PostgreSQL.
//!
//! Both are used through [`Connection`], with statements that mean the same to both; whatever would differ (the comparison of names,
//! patterns, the order of search results) is done in Rust. One thread writes: it takes all calls that wait, runs each in a savepoint,
//! commits them together and only then lets them answer ([`writer`]). Reads go past it on connections of their own ([`readers`]).

pub mod migrations;
pub mod postgres;
pub mod readers;
pub mod sqlite;
pub mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{ApiError, Code};

/// A value in a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Real(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Blob(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// Values for a statement: `values![run, "name", None::<&str>]`.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::database::Value::from($value)),*] };
}

/// A row of an answer. A column that holds none, or another kind of value, reads as 0 or as empty text; the `optional` ones tell.
pub trait Row {
    /// A whole number, if there is one.
    fn optional_int(&self, column: usize) -> Option<i64>;
    /// A number; 0 for none.
    fn real(&self, column: usize) -> f64;
    /// Text, if there is one.
    fn optional_text(&self, column: usize) -> Option<&str>;
    /// Bytes; empty for none.
    fn blob(&self, column: usize) -> &[u8];

    /// A whole number; 0 for none.
    fn int(&self, column: usize) -> i64 {
        self.optional_int(column).unwrap_or(0)
    }

    /// Text; empty for none.
    fn text(&self, column: usize) -> &str {
        self.optional_text(column).unwrap_or("")
    }

    /// Text of one's own.
    fn string(&self, column: usize) -> String {
        self.text(column).to_owned()
    }

    /// Text of one's own, if there is one.
    fn optional_string(&self, column: usize) -> Option<String> {
        self.optional_text(column).map(str::to_owned)
    }
}

/// A connection to a database. Statements have `?` for each value.
pub trait Connection: Send {
    /// Runs a statement that answers nothing; how many rows it changed.
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, ApiError>;

    /// Runs a statement once for each row of values.
    fn run_many(&mut self, sql: &str, rows: &[Vec<Value<'_>>]) -> Result<(), ApiError>;

    /// Runs a statement and gives each row of its answer to `each`.
    fn read(&mut self, sql: &str, values: &[Value<'_>], each: &mut dyn FnMut(&dyn Row)) -> Result<(), ApiError>;

    /// Runs several statements without values.
    fn script(&mut self, sql: &str) -> Result<(), ApiError>;

    /// Begins a transaction: one that writes, or one that sees a single state of the database.
    fn begin(&mut self, writes: bool) -> Result<(), ApiError>;

    /// Ends it; an error means that nothing of it is kept.
    fn commit(&mut self) -> Result<(), ApiError>;

    /// Ends it without a trace.
    fn rollback(&mut self);

    /// Whether it is worth keeping for the next transaction.
    fn is_usable(&self) -> bool;

    /// Which database it leads to.
    fn dialect(&self) -> Dialect;
}

impl dyn Connection + '_ {
    /// All rows of an answer.
    pub fn all<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut each: impl FnMut(&dyn Row) -> T,
    ) -> Result<Vec<T>, ApiError> {
        let mut found = Vec::new();
        self.read(sql, values, &mut |row| found.push(each(row)))?;
        Ok(found)
    }

    /// The first row of an answer, if there is one.
    pub fn first<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut each: impl FnMut(&dyn Row) -> T,
    ) -> Result<Option<T>, ApiError> {
        let mut found = None;
        self.read(sql, values, &mut |row| {
            if found.is_none() {
                found = Some(each(row));
            }
        })?;
        Ok(found)
    }
}

/// The two kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Arc<postgres::Server>),
}

impl Location {
    /// From `sqlite:///path` (four slashes for an absolute path), a path alone, or `postgresql://user:password@host:port/database`.
    ///
    /// # Errors
    /// What is wrong with it, without the password in it.
    pub fn parse(uri: &str) -> Result<Location, String> {
        if let Some(rest) = uri.strip_prefix("sqlite:") {
            let path =
                rest.strip_prefix("///").ok_or("a SQLite address is sqlite:///relative or sqlite:////absolute")?;
            return match path {
                "" | ":memory:" => Err("a SQLite address names a file".to_owned()),
                path => Ok(Location::Sqlite(path.into())),
            };
        }
        let (scheme, rest) = match uri.split_once("://") {
            None => return Ok(Location::Sqlite(uri.into())),
            Some(parts) => parts,
        };
        // SQLAlchemy names the driver too: postgresql+psycopg2://.
        match scheme.split('+').next() {
            Some("postgresql" | "postgres") => Ok(Location::Postgres(postgres::Server::parse(rest)?)),
            _ => Err(format!("`{scheme}:` is neither sqlite nor postgresql")),
        }
    }

    /// A new connection. `runtime` carries the connection of a database server.
    ///
    /// # Errors
    /// The database cannot be opened or reached.
    pub fn connect(&self, runtime: &tokio::runtime::Handle) -> Result<Box<dyn Connection>, ApiError> {
        match self {
            Location::Sqlite(path) => Ok(Box::new(sqlite::Sqlite::open(path)?)),
            Location::Postgres(server) => Ok(Box::new(postgres::Postgres::connect(server.clone(), runtime.clone())?)),
        }
    }

    /// Its address as it may be shown: without a password.
    pub fn shown(&self) -> String {
        match self {
            Location::Sqlite(path) => path.display().to_string(),
            Location::Postgres(server) => server.shown(),
        }
    }
}

/// Whether an error comes from the database and not from the call.
pub(crate) fn is_fault(error: &ApiError) -> bool {
    matches!(error.code, Code::TemporarilyUnavailable | Code::Internal)
}
