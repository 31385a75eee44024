//! The least that PostgreSQL, S3 and MLflow must answer for a start, each on a port that is taken only once its container is «up».

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Answers connections on `port` as soon as `fake` holds the mark that the service was started; ends with the test's process.
pub fn serve(service: &'static str, port: u16, fake: &Path) {
    let mark: PathBuf = fake.join(format!("up-{service}"));
    let bucket = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        while !mark.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        for stream in listener.incoming().flatten() {
            let bucket = Arc::clone(&bucket);
            std::thread::spawn(move || match service {
                "postgres" => postgres(stream),
                "s3" => http(stream, |method| match method {
                    "PUT" => {
                        bucket.store(true, Ordering::SeqCst);
                        (200, "")
                    }
                    _ if bucket.load(Ordering::SeqCst) => (200, ""),
                    _ => (404, ""),
                }),
                _ => http(stream, |_| (200, "{}")),
            });
        }
    });
}

fn http(stream: TcpStream, answer: impl Fn(&str) -> (u16, &'static str)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
    }
    let (status, body) = answer(first.split(' ').next().unwrap_or_default());
    let length = body.len();
    let _ = write!(&stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
}

/// Trusts everyone and answers every query with one row of one column: 1.
fn postgres(mut stream: TcpStream) {
    let mut chunk = [0_u8; 1024];
    let _ = stream.read(&mut chunk);
    let ready = b"Z\0\0\0\x05I";
    let _ = stream.write_all(&[&b"R\0\0\0\x08\0\0\0\0"[..], ready].concat());
    let _ = stream.read(&mut chunk);
    let row = b"D\0\0\0\x0b\0\x01\0\0\0\x011";
    let _ = stream.write_all(&[&row[..], b"C\0\0\0\x0dSELECT 1\0", ready].concat());
    let _ = stream.read(&mut chunk);
}
