//! The S3 server of the tests as a process: `s3-server FOLDER [PORT]`. It prints its address once it serves, and runs until it is killed.
//! Its bucket and keys are those of `yolo11_test_servers::{BUCKET, KEYS}`.

use std::path::Path;
use std::process::ExitCode;

use yolo11_test_servers::S3Server;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.get(1).map_or(Some(0), |text| text.parse().ok());
    let (Some(folder), Some(port)) = (arguments.first(), port) else {
        eprintln!("usage: s3-server FOLDER [PORT]");
        return ExitCode::from(2);
    };
    match S3Server::start(Path::new(folder), port) {
        Ok(server) => {
            println!("{}", server.uri());
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
