//! What the calls do, on any database: experiments, runs, metrics, models. Every function here runs within one transaction.

pub mod datasets;
pub mod experiments;
pub mod history;
pub mod log;
pub mod logged_models;
pub mod names;
mod order;
pub mod page;
pub mod registry;
pub mod runs;
pub mod search;
pub mod versions;

use crate::database::{Connection, Dialect};
use crate::error::ApiError;

/// Where a server keeps artifacts unless an experiment says otherwise; the path follows.
pub const ARTIFACT_ROOT: &str = "mlflow-artifacts:/";

/// A transaction, and the time at which the call came.
pub struct Store<'a> {
    /// The database.
    pub db: &'a mut dyn Connection,
    /// Milliseconds since 1970.
    pub now: i64,
}

impl<'a> Store<'a> {
    /// A transaction, now.
    pub fn new(db: &'a mut dyn Connection) -> Store<'a> {
        Store { db, now: now() }
    }

    /// A condition on a column to be one of a list of numbers, which is given as the text of [`numbers`].
    pub(crate) fn among(&self) -> &'static str {
        match self.db.dialect() {
            Dialect::Sqlite => "IN (SELECT value FROM json_each(?))",
            Dialect::Postgres => "IN (SELECT value::bigint FROM json_array_elements_text(?::text::json))",
        }
    }

    /// Puts in place what every database begins with: the experiment `Default`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn begin(&mut self) -> Result<(), ApiError> {
        experiments::create_default(self)
    }
}

/// A list of numbers as the statements take it.
pub(crate) fn numbers(ids: impl IntoIterator<Item = i64>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("[{}]", ids.join(","))
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as i64)
}

/// The states a thing may be asked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Those that are not deleted.
    Active,
    /// Those that are deleted.
    Deleted,
    /// Both.
    All,
}

impl View {
    /// By its name on the wire; nothing means active.
    ///
    /// # Errors
    /// No such view.
    pub fn parse(name: Option<&str>) -> Result<View, ApiError> {
        match name {
            None | Some("" | "ACTIVE_ONLY" | "1") => Ok(View::Active),
            Some("DELETED_ONLY" | "2") => Ok(View::Deleted),
            Some("ALL" | "3") => Ok(View::All),
            Some(other) => Err(ApiError::invalid(format!("no view type `{other}`: ACTIVE_ONLY, DELETED_ONLY or ALL"))),
        }
    }

    /// Whether a state is among them.
    pub fn shows(self, stage: &str) -> bool {
        match self {
            View::Active => stage == ACTIVE,
            View::Deleted => stage == DELETED,
            View::All => true,
        }
    }
}

/// The state of what is there.
pub(crate) const ACTIVE: &str = "active";

/// The state of what was deleted and can be restored.
pub(crate) const DELETED: &str = "deleted";
