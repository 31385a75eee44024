//! A server: opened with its options, running until it is asked to stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::artifacts::Artifacts;
use crate::auth::Auth;
use crate::database::Location;
use crate::database::migrations;
use crate::database::readers::Readers;
use crate::database::writer::Writer;
use crate::error::ApiError;
use crate::http::security::Security;
use crate::http::{handle, session::Sessions};
use crate::store::Store;

/// How long requests that are under way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// What a server needs to know.
pub struct Options {
    /// Where it keeps runs.
    pub database: Location,
    /// Where it keeps artifacts.
    pub artifacts: Arc<dyn Artifacts>,
    /// More names of this server; see the option `--allowed-hosts`.
    pub allowed_hosts: Vec<String>,
    /// Who may ask; none for everybody.
    pub auth: Option<Auth>,
    /// A folder with other pages, laid out as those of MLflow's wheel.
    pub ui_folder: Option<PathBuf>,
    /// Bytes of an artifact at most.
    pub longest_upload: u64,
}

/// What every request shares.
pub(crate) struct State {
    writer: Mutex<Option<Writer>>,
    readers: Arc<Readers>,
    pub(crate) artifacts: Arc<dyn Artifacts>,
    pub(crate) security: Security,
    pub(crate) ui_folder: Option<PathBuf>,
    pub(crate) longest_upload: u64,
}

impl State {
    pub(crate) fn writer(&self) -> Result<Writer, ApiError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        writer.ok_or_else(|| ApiError::unavailable("the server is stopping"))
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let readers = Arc::clone(&self.readers);
        let reading = tokio::task::spawn_blocking(move || readers.read(|db| work(&mut Store::new(db))));
        reading.await.unwrap_or_else(|_| Err(ApiError::internal("the server failed at this call; its log says where")))
    }
}

/// An opened server.
pub struct Server {
    state: Arc<State>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    /// Opens the database and brings its tables to this version. To be called on a thread that may wait, with the runtime that will carry
    /// the server.
    ///
    /// # Errors
    /// The database cannot be opened, or is not one of this program's.
    pub fn open(options: Options, runtime: &Handle) -> Result<Server, ApiError> {
        let mut connection = migrations::open(&options.database, runtime)?;
        connection.begin(true)?;
        Store::new(&mut *connection).begin()?;
        connection.commit()?;
        let (writer, thread) = Writer::start(options.database.clone(), connection, runtime.clone())
            .map_err(|error| ApiError::internal(format!("no thread for the database: {error}")))?;
        let state = State {
            writer: Mutex::new(Some(writer)),
            readers: Arc::new(Readers::new(options.database, runtime.clone())),
            artifacts: options.artifacts,
            security: Security {
                hosts: options.allowed_hosts,
                auth: options.auth,
                sessions: Sessions::default(),
                own_pages: options.ui_folder.is_none(),
            },
            ui_folder: options.ui_folder,
            longest_upload: options.longest_upload,
        };
        Ok(Server { state: Arc::new(state), thread })
    }

    /// Answers until `stop` is there, then lets what is under way finish.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        use axum::serve::ListenerExt as _;
        // Answers are small: they are not to wait for more to be sent with them.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let state = Arc::clone(&self.state);
        let application =
            axum::Router::new().fallback(move |request: Request<Body>| handle(Arc::clone(&state), request));
        let (asked, gone) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(listener, application).with_graceful_shutdown(async move {
            stop.await;
            let _ = asked.send(());
        });
        let deadline = async {
            // Until it is asked to stop there is no deadline.
            if gone.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(FAREWELL).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = deadline => Ok(()),
        };
        self.state.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
        served
    }
}

/// The address as a client writes it: where the server listens on every address, this machine's own.
pub fn address(listening: SocketAddr) -> String {
    let mut shown = listening;
    if shown.ip().is_unspecified() {
        shown.set_ip(if shown.is_ipv6() {
            std::net::Ipv6Addr::LOCALHOST.into()
        } else {
            std::net::Ipv4Addr::LOCALHOST.into()
        });
    }
    format!("http://{shown}")
}
