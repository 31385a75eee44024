//! The real MLflow server.

use std::path::Path;

use crate::program::{Server, free_port};

/// The command line of a server on `port` that keeps its tables at `backend` (`sqlite:///…`, `postgresql+psycopg2://…`).
pub fn mlflow_command(python: &Path, port: u16, backend: &str, arguments: &[&str]) -> Vec<String> {
    let (python, port) = (python.display().to_string(), port.to_string());
    let own =
        [&python, "-m", "mlflow", "server", "--backend-store-uri", backend, "--host", "127.0.0.1", "--port", &port];
    own.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
}

/// A server with two workers that answers. `arguments`: more of its command line, such as `--artifacts-destination`.
pub fn mlflow(python: &Path, folder: &Path, backend: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
    let port = free_port();
    let arguments = [&["--workers", "2"], arguments].concat();
    let environment = [&[("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")], environment].concat();
    Server::new(&mlflow_command(python, port, backend, &arguments), &environment, folder, port, Some("/health"))
}
