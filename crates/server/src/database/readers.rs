//! Connections for reading: as many as are asked for at once, kept for the next time.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{Connection, Location};
use crate::error::ApiError;

/// Reads that run at the same time.
const AT_ONCE: usize = 8;

/// Connections that are kept while nobody reads.
const KEPT: usize = 4;

/// The connections.
pub struct Readers {
    location: Location,
    runtime: Handle,
    idle: Mutex<Vec<Box<dyn Connection>>>,
    places: Semaphore,
}

impl Readers {
    /// None yet.
    pub fn new(location: Location, runtime: Handle) -> Readers {
        Readers { location, runtime, idle: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }

    /// Runs `work` in a transaction that sees one state of the database. To be called where waiting is allowed.
    ///
    /// # Errors
    /// Those of the work, and those of the database.
    pub fn read<T>(&self, work: impl FnOnce(&mut dyn Connection) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let _place = self.runtime.block_on(self.places.acquire());
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept.filter(|connection| connection.is_usable()) {
            Some(connection) => connection,
            None => self.location.connect(&self.runtime)?,
        };
        if let Err(error) = connection.begin(false) {
            // It may have been lost since the last time, with all others: a restarted database is met here.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            connection = self.location.connect(&self.runtime).map_err(|_| error)?;
            connection.begin(false)?;
        }
        let result = work(&mut *connection);
        match &result {
            Ok(_) => connection.commit()?,
            Err(_) => connection.rollback(),
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT && connection.is_usable() {
            idle.push(connection);
        }
        result
    }
}
