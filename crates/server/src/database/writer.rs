//! The thread that writes. It takes every call that waits, runs each in a savepoint of one transaction, and commits once for all of
//! them: the disk is asked to sync once, however many clients wait. No call is answered before that commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Connection, Location, is_fault};
use crate::error::ApiError;

/// The most calls in one transaction.
const TOGETHER: usize = 64;

/// The most calls that wait; more are told to come back.
const WAITING: usize = 4096;

/// A call on its way through the writer.
trait Job: Send {
    /// Does the work; whether it is to be kept.
    fn run(&mut self, connection: &mut dyn Connection) -> Result<(), ApiError>;
    /// Answers, after the commit.
    fn answer(self: Box<Self>, committed: Result<(), ApiError>);
}

struct Call<T, F> {
    work: Option<F>,
    result: Option<Result<T, ApiError>>,
    reply: oneshot::Sender<Result<T, ApiError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut dyn Connection) -> Result<T, ApiError> + Send,
{
    fn run(&mut self, connection: &mut dyn Connection) -> Result<(), ApiError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = catch_unwind(AssertUnwindSafe(|| work(connection)))
            .unwrap_or_else(|_| Err(ApiError::internal("the server failed at this call; its log says where")));
        let outcome = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, committed: Result<(), ApiError>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            // What went wrong with the call itself says more than that nothing was kept.
            (Err(_), Some(Err(error))) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(ApiError::internal("the call was not run")),
        };
        // Nobody may be waiting any more.
        let _ = self.reply.send(result);
    }
}

/// A handle to the thread. It ends, with everything that waits done, when the last handle is dropped.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::SyncSender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread on a connection.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        location: Location,
        connection: Box<dyn Connection>,
        runtime: Handle,
    ) -> std::io::Result<(Writer, std::thread::JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            let mut connection = Some(connection);
            while let Ok(first) = waiting.recv() {
                let mut jobs = vec![first];
                jobs.extend(waiting.try_iter().take(TOGETHER - 1));
                let committed = together(&mut connection, &location, &runtime, &mut jobs);
                jobs.into_iter().for_each(|job| job.answer(committed.clone()));
            }
        })?;
        Ok((Writer { jobs }, thread))
    }

    /// Runs `work` and answers when what it did is kept.
    ///
    /// # Errors
    /// Those of the work, and those of the database.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Connection) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Call { work: Some(work), result: None, reply });
        self.jobs
            .try_send(call)
            .map_err(|_| ApiError::unavailable("too many writes wait for the database; try again"))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::unavailable("the server is stopping")))
    }
}

/// One transaction.
fn together(
    connection: &mut Option<Box<dyn Connection>>,
    location: &Location,
    runtime: &Handle,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), ApiError> {
    if connection.as_ref().is_none_or(|connection| !connection.is_usable()) {
        *connection = None;
        *connection = Some(location.connect(runtime)?);
    }
    let Some(database) = connection.as_deref_mut() else { return Err(ApiError::internal("no connection")) };
    database.begin(true)?;
    let mut savepoint = "SAVEPOINT call";
    for job in jobs {
        database.script(savepoint).inspect_err(|_| database.rollback())?;
        savepoint = "RELEASE SAVEPOINT call; SAVEPOINT call";
        let Err(error) = job.run(database) else { continue };
        let undone = database.script("ROLLBACK TO SAVEPOINT call");
        if let Err(fault) = undone {
            database.rollback();
            return Err(if is_fault(&error) { error } else { fault });
        }
    }
    database.commit()
}
