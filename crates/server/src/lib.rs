//! The MLflow-compatible tracking server with its own pages.
//!
//! A request's journey: `http` looks who asks (`http/security.rs`) and where the address leads; a call of MLflow's interface is found in
//! [`calls`]; its body becomes a [`request`]; the work is done in [`store`] within a transaction of a [`database`], SQLite or PostgreSQL;
//! writes go through one thread that commits many of them together. Artifacts lie in a folder or in S3 ([`artifacts`]). The pages are
//! plain files in `pages/`, embedded when the program is compiled.

pub mod artifacts;
pub mod auth;
pub mod calls;
pub mod database;
pub mod entity;
pub mod error;
pub mod filter;
mod http;
pub mod metric_block;
pub mod request;
mod server;
pub mod store;
pub mod validate;

/// Reads a question in GraphQL and forgets it: for the fuzzer.
///
/// # Errors
/// It is not understood.
pub fn read_graphql(text: &str) -> Result<(), error::ApiError> {
    http::graphql::parse(text).map(drop)
}

pub use server::{Options, Server, address};

/// The version of MLflow whose interface this is; official clients ask for it.
pub const MLFLOW_VERSION: &str = "3.18.0";
