//! PostgreSQL, asked by its own protocol (version 3): a connection, a password if it wants one, a query.
//!
//! Format: PostgreSQL documentation, «Frontend/Backend Protocol»; SCRAM-SHA-256 by RFC 7677. Unencrypted: the stack's database listens on
//! this machine alone, and SCRAM does not send the password.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;

use super::http::io_fault;
use super::{Fault, LIMIT};
use crate::secret::Secret;

/// Where a database is and as whom to ask it.
#[derive(Debug, Clone)]
pub struct Database {
    /// Address of the server.
    pub address: SocketAddr,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// Name of the database.
    pub name: String,
}

/// Whether `SELECT 1` is answered. Errors: why not.
pub fn ready(database: &Database) -> Result<(), Fault> {
    match Connection::open(database)?.value("SELECT 1")? {
        Some(one) if one == "1" => Ok(()),
        other => Err(Fault::Other(format!("SELECT 1 gave {other:?}"))),
    }
}

/// The version of MLflow's tables, as Alembic notes it. Errors: [`Fault::NotMigrated`] where there are none.
pub fn tables_version(database: &Database) -> Result<String, Fault> {
    let version = Connection::open(database)?.value("SELECT version_num FROM alembic_version")?;
    version.ok_or_else(|| Fault::NotMigrated { detail: "alembic_version is empty".to_owned() })
}

/// A connection that has been accepted.
struct Connection {
    stream: TcpStream,
    address: String,
    received: BytesMut,
}

impl Connection {
    fn open(database: &Database) -> Result<Connection, Fault> {
        let address = database.address.to_string();
        let stream = TcpStream::connect_timeout(&database.address, LIMIT).and_then(|stream| {
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(Duration::from_secs(2)))?;
            Ok(stream)
        });
        let stream = stream.map_err(|error| io_fault(&error, address.clone()))?;
        let mut connection = Connection { stream, address, received: BytesMut::new() };
        let parameters = [("user", database.user.as_str()), ("database", database.name.as_str())];
        connection.send(|out| frontend::startup_message(parameters, out))?;
        connection.authenticate(database)?;
        Ok(connection)
    }

    /// Answers what the server asks for until it is ready for a query.
    fn authenticate(&mut self, database: &Database) -> Result<(), Fault> {
        let password = database.password.reveal().as_bytes();
        let mut scram = None;
        loop {
            match self.message()? {
                Message::AuthenticationCleartextPassword => {
                    self.send(|out| frontend::password_message(password, out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(database.user.as_bytes(), password, body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    let offered = body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256));
                    if !offered.map_err(|error| self.unreadable(&error))? {
                        return Err(Fault::Other(format!("{} wants a login other than SCRAM-SHA-256", self.address)));
                    }
                    let started = ScramSha256::new(password, ChannelBinding::unsupported());
                    self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, started.message(), out))?;
                    scram = Some(started);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(|| self.unexpected())?;
                    scram.update(body.data()).map_err(|error| self.unreadable(&error))?;
                    let answer = scram.message().to_vec();
                    self.send(|out| frontend::sasl_response(&answer, out))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let scram = scram.as_mut().ok_or_else(|| self.unexpected())?;
                    // The server proves that it knows the password too.
                    scram.finish(body.data()).map_err(|error| self.unreadable(&error))?;
                }
                Message::AuthenticationOk
                | Message::ParameterStatus(_)
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_) => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(refusal(&body, database)),
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// The first value of the first row of a query's answer.
    fn value(&mut self, sql: &str) -> Result<Option<String>, Fault> {
        self.send(|out| frontend::query(sql, out))?;
        let (mut value, mut error) = (None, None);
        loop {
            match self.message()? {
                Message::DataRow(row) if value.is_none() => {
                    let range = row.ranges().next().map_err(|error| self.unreadable(&error))?.flatten();
                    value = range.map(|range| String::from_utf8_lossy(&row.buffer()[range]).into_owned());
                }
                Message::ErrorResponse(body) => error = Some(query_error(&body)),
                Message::ReadyForQuery(_) => {
                    // A goodbye spares the server a line in its log; that it does not arrive is no matter.
                    let _ = self.send(|out| {
                        frontend::terminate(out);
                        Ok(())
                    });
                    return error.map_or(Ok(value), Err);
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Fault> {
        let mut out = BytesMut::new();
        write(&mut out)
            .and_then(|()| self.stream.write_all(&out))
            .map_err(|error| io_fault(&error, self.address.clone()))
    }

    fn message(&mut self) -> Result<Message, Fault> {
        loop {
            if let Some(message) = Message::parse(&mut self.received).map_err(|error| self.unreadable(&error))? {
                return Ok(message);
            }
            let mut chunk = [0_u8; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Fault::Other(format!("{} closed the connection", self.address))),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_fault(&error, self.address.clone())),
            }
        }
    }

    fn unreadable(&self, error: &io::Error) -> Fault {
        Fault::Other(format!("{} does not speak PostgreSQL's protocol: {error}", self.address))
    }

    fn unexpected(&self) -> Fault {
        Fault::Other(format!("{} does not speak PostgreSQL's protocol: unexpected message", self.address))
    }
}

/// SQLSTATE and message of an error.
fn parts(body: &ErrorResponseBody) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = text(),
            b'M' => message = text(),
            _ => {}
        }
    }
    (code, message)
}

/// Why a connection was refused, by SQLSTATE (PostgreSQL documentation, appendix A).
fn refusal(body: &ErrorResponseBody, database: &Database) -> Fault {
    let (code, message) = parts(body);
    match code.as_str() {
        "28P01" | "28000" => Fault::WrongKey { detail: format!("PostgreSQL user `{}`", database.user) },
        _ => Fault::Other(message),
    }
}

fn query_error(body: &ErrorResponseBody) -> Fault {
    let (code, message) = parts(body);
    match code.as_str() {
        // Undefined table.
        "42P01" => Fault::NotMigrated { detail: message },
        _ => Fault::Other(message),
    }
}
