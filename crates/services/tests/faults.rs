//! What the probes make of answers that real servers give only when something is wrong with them.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use url::Url;
use yolo11_services::probe::http::Trust;
use yolo11_services::probe::mlflow::{self, Login, Server};
use yolo11_services::probe::s3::{self, Store};
use yolo11_services::probe::{Fault, postgres};
use yolo11_services::secret::Secret;
use yolo11_test_servers as servers;

/// A server that answers each request by method, with status, headers and body; gives its port.
fn scripted(answer: impl Fn(&str, &str) -> (u16, String, String) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let head = head(&stream);
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (status, headers, body) = answer(method, path);
            let body = if method == "HEAD" { String::new() } else { body };
            let length = body.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    port
}

fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn store(scheme: &str, port: u16, trust: Trust) -> Store {
    Store {
        endpoint: Url::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap(),
        region: "us-east-1".to_owned(),
        key: "key".to_owned(),
        secret: Secret::new("a secret that stays one"),
        bucket: "runs".to_owned(),
        trust,
    }
}

fn server(port: u16, login: Login) -> Server {
    Server { url: Url::parse(&format!("http://127.0.0.1:{port}")).unwrap(), login, trust: Trust::default() }
}

#[test]
fn the_codes_of_s3_are_told_apart() {
    for (status, code, expected) in [
        (403, "InvalidAccessKeyId", "wrong credentials: the store does not know AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "wrong credentials: AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", "wrong credentials: the key may not use bucket `runs` (AccessDenied)"),
        (403, "NotSignedUp", "wrong credentials: the store answers 403 NotSignedUp"),
        (503, "SlowDown", "status 503: SlowDown"),
    ] {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        let port = scripted(move |_, _| (status, String::new(), body.clone()));
        assert_eq!(s3::ready(&store("http", port, Trust::default())).unwrap_err().to_string(), expected);
    }
    let port = scripted(|_, _| (403, String::new(), String::new()));
    let fault = s3::ready(&store("http", port, Trust::default())).unwrap_err();
    assert_eq!(fault, Fault::WrongKey { detail: "the store answers 403".to_owned() });
}

#[test]
fn clocks_that_differ_are_told_with_the_difference() {
    let behind = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(3600));
    let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    let port = scripted(move |_, _| (403, format!("date: {behind}\r\n"), body.to_owned()));
    let fault = s3::ready(&store("http", port, Trust::default())).unwrap_err();
    let Fault::ClockSkew { seconds: Some(seconds), .. } = fault else { panic!("{fault}") };
    // The answer was made before it was asked for, on a busy machine some seconds.
    assert!((-3660..=-3600).contains(&seconds), "{seconds}");
    assert_eq!(
        Fault::ClockSkew { address: "a:1".to_owned(), seconds: Some(-3600) }.to_string(),
        "clock skew: the clock of a:1 is 3600 s behind this machine's"
    );

    let ahead = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(7200));
    let port = scripted(move |_, _| (200, format!("date: {ahead}\r\n"), "{}".to_owned()));
    assert!(matches!(
        mlflow::ready(&server(port, Login::Anonymous)),
        Err(Fault::ClockSkew { seconds: Some(7000..), .. })
    ));
}

#[test]
fn a_tracking_server_may_miss_tables_logins_or_be_none() {
    let ready_but = |status: u16, body: &'static str| {
        let port = scripted(move |_, path| match path {
            "/health" => (200, String::new(), "OK".to_owned()),
            _ => (status, String::new(), body.to_owned()),
        });
        mlflow::ready(&server(port, Login::Anonymous)).unwrap_err()
    };
    let missing =
        ready_but(500, "{\"error_code\":\"INTERNAL_ERROR\",\"message\":\"(psycopg2.errors.UndefinedTable) relation\"}");
    assert!(matches!(&missing, Fault::NotMigrated { .. }), "{missing}");
    assert!(missing.fix().contains("mlflow db upgrade"));
    assert!(matches!(ready_but(401, ""), Fault::WrongKey { .. }));
    assert!(matches!(ready_but(403, "Invalid Host header"), Fault::HostNotAllowed { .. }));
    let page = ready_but(200, "<html>");
    assert!(page.to_string().ends_with("answers, but not as an MLflow server does"), "{page}");
}

#[test]
fn user_password_and_token_go_into_the_header() {
    for (login, header) in [
        (Login::Basic("me".to_owned(), Secret::new("pass")), "authorization: Basic bWU6cGFzcw=="),
        (Login::Token(Secret::new("abc")), "authorization: Bearer abc"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = std::thread::spawn(move || head(&listener.accept().unwrap().0));
        assert!(mlflow::ready(&server(port, login)).is_err());
        let seen = seen.join().unwrap();
        assert!(seen.contains(header), "{seen}");
    }
}

#[test]
fn https_to_a_server_without_is_a_fault_of_tls() {
    let port = scripted(|_, _| (200, String::new(), String::new()));
    let fault = s3::ready(&store("https", port, Trust::default())).unwrap_err();
    let words =
        format!("TLS: 127.0.0.1:{port}: the server does not speak TLS here; is it http:// instead of https://?");
    assert_eq!(fault.to_string(), words);
    let trust = Trust { authority: Some("/nowhere.pem".to_owned()), insecure: false };
    let fault = s3::ready(&store("https", port, trust)).unwrap_err();
    assert!(fault.to_string().starts_with("TLS: certificates in `/nowhere.pem`: "), "{fault}");
}

#[test]
fn an_unknown_authority_is_a_fault_of_tls_until_it_is_waived() {
    let Some(python) = servers::python() else { return };
    let (folder, port) = (tempfile::tempdir().unwrap(), servers::free_port());
    let arguments = ["moto.server", "-H", "127.0.0.1", "-s", "-p", &port.to_string()];
    let _server = servers::Server::module(&python, &arguments, &[], folder.path(), port);
    let insecure = Trust { authority: None, insecure: true };
    servers::until(|| s3::store_ready(&store("https", port, insecure.clone()))).unwrap();
    let fault = s3::ready(&store("https", port, Trust::default())).unwrap_err();
    assert!(matches!(&fault, Fault::Tls { .. }), "{fault}");
}

#[test]
fn what_is_no_database_is_told_as_such() {
    let port = scripted(|_, _| (200, String::new(), String::new()));
    let database = postgres::Database {
        address: (Ipv4Addr::LOCALHOST, port).into(),
        user: "mlflow".to_owned(),
        password: Secret::new("x"),
        name: "mlflow".to_owned(),
    };
    let fault = postgres::ready(&database).unwrap_err();
    assert!(matches!(&fault, Fault::Other(_) | Fault::Timeout { .. }), "{fault}");
    let nowhere = postgres::Database { address: (Ipv4Addr::LOCALHOST, servers::free_port()).into(), ..database };
    assert!(matches!(postgres::ready(&nowhere), Err(Fault::Refused { .. })));
}
