//! PostgreSQL. The tables lie in a schema of their own, so that a database may hold other things too.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future, pin_mut};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::Handle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Connection, Dialect, Row, Value};
use crate::error::ApiError;

/// How long to wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long a connection may hang before it counts as lost.
const SILENCE: Duration = Duration::from_secs(20);

/// The schema of the tables.
const SCHEMA: &str = "yolo11";

/// A database server, and as whom to ask it.
#[derive(Clone)]
pub struct Server {
    config: Config,
    authority: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown())
    }
}

impl Server {
    /// From what follows `postgresql://`. TLS: `sslmode=disable`, `prefer` (the default) or `require`; certificates are always
    /// verified, by the system's authorities or by `sslrootcert=FILE`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(rest: &str) -> Result<Arc<Server>, String> {
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut authority = None;
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslrootcert", path)) => {
                    authority = Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned());
                }
                Some(("sslmode", "verify-ca" | "verify-full")) => kept.push("sslmode=require"),
                _ => kept.push(pair),
            }
        }
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        let mut config: Config = format!("postgresql://{address}{query}")
            .parse()
            .map_err(|_| "not an address of the form postgresql://user:password@host:port/database".to_owned())?;
        if config.get_hosts().is_empty() {
            return Err("no host in the address: postgresql://user:password@host:port/database".to_owned());
        }
        // A database on this machine is not spoken to in TLS unless that is asked for.
        let local = |host: &Host| match host {
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
            #[cfg(unix)]
            Host::Unix(_) => true,
        };
        if config.get_ssl_mode() == SslMode::Prefer && config.get_hosts().iter().all(local) {
            config.ssl_mode(SslMode::Disable);
        }
        config.connect_timeout(CONNECT_WAIT).tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
        config.application_name("yolo11");
        Ok(Arc::new(Server { config, authority }))
    }

    /// Its address without the password.
    pub fn shown(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("postgresql://{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }

    fn tls(&self) -> Result<MakeRustlsConnect, ApiError> {
        let bad = |what: String| ApiError::unavailable(format!("TLS to {}: {what}", self.shown()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?;
        let config = match &self.authority {
            None => builder.with_platform_verifier().map_err(|error| bad(error.to_string()))?.with_no_client_auth(),
            Some(path) => {
                let mut roots = rustls::RootCertStore::empty();
                let certificates =
                    CertificateDer::pem_file_iter(path).map_err(|error| bad(format!("{path}: {error}")))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| bad(format!("{path}: {error}")))?;
                    roots.add(certificate).map_err(|error| bad(format!("{path}: {error}")))?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

/// A connection to a server.
pub struct Postgres {
    client: Client,
    runtime: Handle,
    server: Arc<Server>,
    statements: HashMap<String, Statement>,
    in_transaction: bool,
}

impl Postgres {
    /// Connects. Must not be called on a thread of `runtime`, which carries the connection.
    ///
    /// # Errors
    /// The server cannot be reached or does not let us in.
    pub fn connect(server: Arc<Server>, runtime: Handle) -> Result<Postgres, ApiError> {
        let client = runtime.block_on(async {
            if server.config.get_ssl_mode() == SslMode::Disable {
                let (client, connection) = server.config.connect(NoTls).await.map_err(|error| told(&error, &server))?;
                tokio::spawn(connection);
                return Ok(client);
            }
            let (client, connection) =
                server.config.connect(server.tls()?).await.map_err(|error| told(&error, &server))?;
            tokio::spawn(connection);
            Ok::<Client, ApiError>(client)
        })?;
        let mut postgres = Postgres { client, runtime, server, statements: HashMap::new(), in_transaction: false };
        postgres.script(&format!("SET search_path TO {SCHEMA}; SET client_min_messages TO warning"))?;
        Ok(postgres)
    }

    /// Makes the schema of the tables, where it is not there yet.
    pub(crate) fn create_schema(&mut self) -> Result<(), ApiError> {
        self.script(&format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, ApiError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.runtime.block_on(self.client.prepare(&numbered(sql)));
        let statement = statement.map_err(|error| told(&error, &self.server))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

fn told(error: &tokio_postgres::Error, server: &Server) -> ApiError {
    let shown = server.shown();
    let Some(problem) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(deeper) = source {
            text = format!("{text}: {deeper}");
            source = deeper.source();
        }
        return ApiError::unavailable(format!("the database {shown} does not answer: {text}"));
    };
    let passing = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::DISK_FULL,
        SqlState::OUT_OF_MEMORY,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::INVALID_PASSWORD,
    ];
    let message = format!("database {shown}: {} ({})", problem.message(), problem.code().code());
    match passing.contains(problem.code()) {
        true => ApiError::unavailable(message),
        false => ApiError::internal(message),
    }
}

/// `?` as `$1`, `$2` and so on, and lists of numbers in the form of this database.
fn numbered(sql: &str) -> String {
    let mut result = String::with_capacity(sql.len() + 16);
    let mut number = 0;
    for letter in sql.chars() {
        if letter == '?' {
            number += 1;
            result.push('$');
            result.push_str(&number.to_string());
        } else {
            result.push(letter);
        }
    }
    result
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(value) if *kind == Type::INT4 => (value as i32).to_sql(kind, out),
            Value::Int(value) => value.to_sql(kind, out),
            Value::Real(value) => value.to_sql(kind, out),
            Value::Text(value) => value.to_sql(kind, out),
            Value::Blob(value) => value.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Row for tokio_postgres::Row {
    fn optional_int(&self, column: usize) -> Option<i64> {
        match self.try_get::<_, Option<i64>>(column) {
            Ok(value) => value,
            Err(_) => self.try_get::<_, Option<i32>>(column).ok().flatten().map(i64::from),
        }
    }

    fn real(&self, column: usize) -> f64 {
        self.try_get::<_, Option<f64>>(column).ok().flatten().unwrap_or(0.0)
    }

    fn optional_text(&self, column: usize) -> Option<&str> {
        self.try_get::<_, Option<&str>>(column).ok().flatten()
    }

    fn blob(&self, column: usize) -> &[u8] {
        self.try_get::<_, Option<&[u8]>>(column).ok().flatten().unwrap_or_default()
    }
}

impl Connection for Postgres {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, ApiError> {
        let statement = self.prepared(sql)?;
        let changed = self.runtime.block_on(self.client.execute_raw(&statement, values.iter().copied()));
        changed.map_err(|error| told(&error, &self.server))
    }

    fn run_many(&mut self, sql: &str, rows: &[Vec<Value<'_>>]) -> Result<(), ApiError> {
        let statement = self.prepared(sql)?;
        // Sent one after the other without waiting for answers.
        for part in rows.chunks(256) {
            let sent = part.iter().map(|row| self.client.execute_raw(&statement, row.iter().copied()));
            self.runtime.block_on(future::try_join_all(sent)).map_err(|error| told(&error, &self.server))?;
        }
        Ok(())
    }

    fn read(&mut self, sql: &str, values: &[Value<'_>], each: &mut dyn FnMut(&dyn Row)) -> Result<(), ApiError> {
        let statement = self.prepared(sql)?;
        let reading = async {
            let rows = self.client.query_raw(&statement, values.iter().copied()).await?;
            pin_mut!(rows);
            while let Some(row) = rows.next().await {
                each(&row?);
            }
            Ok(())
        };
        self.runtime.block_on(reading).map_err(|error| told(&error, &self.server))
    }

    fn script(&mut self, sql: &str) -> Result<(), ApiError> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|error| told(&error, &self.server))
    }

    fn begin(&mut self, writes: bool) -> Result<(), ApiError> {
        self.script(if writes { "BEGIN" } else { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" })?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ApiError> {
        self.in_transaction = false;
        self.script("COMMIT")
    }

    fn rollback(&mut self) {
        self.in_transaction = self.script("ROLLBACK").is_err();
    }

    fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.in_transaction
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }
}
