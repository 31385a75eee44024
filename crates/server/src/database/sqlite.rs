//! SQLite in a file, with its write-ahead log: readers do not wait for the writer.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, ToSql};

use super::{Connection, Dialect, Row, Value};
use crate::error::ApiError;

/// How long to wait for another process that writes.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A connection to a file.
pub struct Sqlite {
    connection: rusqlite::Connection,
    path: String,
}

impl Sqlite {
    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    /// It cannot be opened, or is no database.
    pub fn open(path: &Path) -> Result<Sqlite, ApiError> {
        let shown = path.display().to_string();
        let connection = rusqlite::Connection::open(path).map_err(|error| told(&error, &shown))?;
        let sqlite = Sqlite { connection, path: shown };
        sqlite.connection.busy_timeout(LOCK_WAIT).map_err(|error| sqlite.told(&error))?;
        sqlite.connection.set_prepared_statement_cache_capacity(256);
        // FULL: an answered write survives a power cut too.
        sqlite
            .connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-4096; PRAGMA journal_size_limit=67108864;")
            .map_err(|error| sqlite.told(&error))?;
        Ok(sqlite)
    }

    fn told(&self, error: &rusqlite::Error) -> ApiError {
        told(error, &self.path)
    }
}

fn told(error: &rusqlite::Error, path: &str) -> ApiError {
    let code = error.sqlite_error_code();
    match code {
        Some(ErrorCode::DiskFull) => ApiError::unavailable(format!("the disk that holds {path} is full")),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ApiError::unavailable(format!("the database {path} is locked by another program"))
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            ApiError::unavailable(format!("the database {path} cannot be used: {error}"))
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ApiError::internal(format!("{path} is damaged, or no database of SQLite's: {error}"))
        }
        _ => ApiError::internal(format!("database {path}: {error}")),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(value),
            Value::Real(value) => ValueRef::Real(value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn optional_int(&self, column: usize) -> Option<i64> {
        match self.get_ref(column) {
            Ok(ValueRef::Integer(value)) => Some(value),
            _ => None,
        }
    }

    fn real(&self, column: usize) -> f64 {
        match self.get_ref(column) {
            Ok(ValueRef::Real(value)) => value,
            Ok(ValueRef::Integer(value)) => value as f64,
            _ => 0.0,
        }
    }

    fn optional_text(&self, column: usize) -> Option<&str> {
        match self.get_ref(column) {
            Ok(ValueRef::Text(value)) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    fn blob(&self, column: usize) -> &[u8] {
        match self.get_ref(column) {
            Ok(ValueRef::Blob(value)) => value,
            _ => &[],
        }
    }
}

fn bound<'a, 'b>(values: &'a [Value<'b>]) -> rusqlite::ParamsFromIter<&'a [Value<'b>]> {
    rusqlite::params_from_iter(values)
}

impl Connection for Sqlite {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, ApiError> {
        let changed = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(bound(values)));
        changed.map(|rows| rows as u64).map_err(|error| self.told(&error))
    }

    fn run_many(&mut self, sql: &str, rows: &[Vec<Value<'_>>]) -> Result<(), ApiError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.told(&error))?;
        for row in rows {
            statement.execute(bound(row)).map_err(|error| self.told(&error))?;
        }
        Ok(())
    }

    fn read(&mut self, sql: &str, values: &[Value<'_>], each: &mut dyn FnMut(&dyn Row)) -> Result<(), ApiError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.told(&error))?;
        let mut rows = statement.query(bound(values)).map_err(|error| self.told(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.told(&error))? {
            each(row);
        }
        Ok(())
    }

    fn script(&mut self, sql: &str) -> Result<(), ApiError> {
        self.connection.execute_batch(sql).map_err(|error| self.told(&error))
    }

    fn begin(&mut self, writes: bool) -> Result<(), ApiError> {
        self.script(if writes { "BEGIN IMMEDIATE" } else { "BEGIN" })
    }

    fn commit(&mut self) -> Result<(), ApiError> {
        // Some faults, such as a full disk, make SQLite undo the transaction by itself.
        if self.connection.is_autocommit() {
            return Err(ApiError::unavailable(format!("the database {} undid the transaction", self.path)));
        }
        self.script("COMMIT").inspect_err(|_| self.rollback())
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn is_usable(&self) -> bool {
        self.connection.is_autocommit()
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
}
