//! A server of the program's own, and requests to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use yolo11_test_servers::{Server, free_port};

/// Starts `yolo11 server` in a folder; with its own SQLite file and folder of artifacts there unless `arguments` say otherwise.
pub fn serve(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
    let port = free_port();
    let mut command =
        vec![env!("CARGO_BIN_EXE_yolo11").to_owned(), "server".to_owned(), "--port".to_owned(), port.to_string()];
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Server::new(&command, environment, folder, port, Some("/health"))
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header's value, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends one request on a connection of its own. None where the server goes away meanwhile.
pub fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str(&format!("host: 127.0.0.1:{port}\r\n"));
    }
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    // A body that is refused may not be read to its end.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut body = bytes[end + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunked(&body)?;
    } else {
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ").map(|text| text.trim().parse::<usize>())
        });
        if let Some(Ok(length)) = length
            && method != "HEAD"
            && body.len() != length
        {
            return None;
        }
    }
    Some(Answer { status, headers: head, body })
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(bytes.get(end + 2..end + 2 + size)?);
        bytes = bytes.get(end + 4 + size..)?;
    }
}

/// A call of MLflow's interface.
pub fn call(port: u16, path: &str, body: &Value) -> Option<Answer> {
    let json = [("content-type", "application/json")];
    ask(port, "POST", &format!("/api/2.0/mlflow/{path}"), &json, body.to_string().as_bytes())
}

/// A call that reads.
pub fn get(port: u16, path: &str) -> Option<Answer> {
    ask(port, "GET", &format!("/api/2.0/mlflow/{path}"), &[], b"")
}
