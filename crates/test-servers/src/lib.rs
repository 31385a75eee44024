//! Real servers on loopback for tests, on ports of their own, killed when they are dropped.
//!
//! MLflow, and moto as one S3 server, come from the Python that `YOLO11_PYTHON` names, PostgreSQL from the system; [`S3Server`] is a
//! second make of S3 that runs within the test. Where a program is missing a function says on stderr that its test is skipped and gives
//! none. `cargo run --release -p yolo11-test-servers --bin s3-server -- FOLDER PORT` starts [`S3Server`] as a process of its own.
#![cfg(unix)]

mod mlflow;
mod postgres;
mod program;
mod python;
mod s3;

pub use mlflow::{mlflow, mlflow_command};
pub use postgres::Postgres;
pub use program::{Server, free_port, until};
pub use python::{python, run_python};
pub use s3::{BUCKET, KEYS, S3Server, moto};
