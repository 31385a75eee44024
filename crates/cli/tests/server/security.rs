//! Who may ask, from where, and what an uploaded file may do in a browser.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::web::{ask, call, get, serve};

fn yolo11(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
    command.arg("server").args(arguments).env_remove("YOLO11_SERVER_TOKEN").stdin(Stdio::null());
    command
}

#[test]
fn other_addresses_than_loopback_need_a_login_or_a_word() {
    let folder = tempfile::tempdir().unwrap();
    for host in ["0.0.0.0", "::", "192.168.1.2", "localhost.example"] {
        let output = yolo11(&["--host", host, "--port", "0"]).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{host}");
        let expected = format!(
            "error: on {host} everybody who reaches this machine could read and change every run\n\
             hint: ask for a login with --token-file or --auth-file, or say --insecure\n"
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    }
    let server = serve(folder.path(), &["--host", "0.0.0.0", "--insecure"], &[]);
    assert_eq!(call(server.port(), "experiments/search", &json!({})).unwrap().status, 200);
}

#[test]
fn tokens_and_passwords_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut hashing = yolo11(&["--hash-password"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    hashing.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let hash = String::from_utf8(hashing.wait_with_output().unwrap().stdout).unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    std::fs::write(folder.path().join("users"), format!("# the team\nann:{hash}")).unwrap();
    let token = "a-token-of-many-letters";
    let server =
        serve(folder.path(), &["--host", "0.0.0.0", "--auth-file", "users"], &[("YOLO11_SERVER_TOKEN", token)]);
    let port = server.port();
    let list = |headers: &[(&str, &str)]| {
        ask(port, "GET", "/api/2.0/mlflow/experiments/search?max_results=5", headers, b"").unwrap()
    };
    let refused = list(&[]);
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, Some("Basic realm=\"yolo11\", charset=\"UTF-8\""))
    );
    assert_eq!(refused.json()["error_code"], "UNAUTHENTICATED");
    // The pages hold nothing but a form for the login, and ask for it themselves.
    let page = ask(port, "GET", "/", &[], b"").unwrap();
    assert_eq!((page.status, page.header("set-cookie")), (200, None));
    for path in ["/ajax-api/2.0/mlflow/experiments/search?max_results=5", "/get-artifact?run_uuid=x&path=y", "/x"] {
        let refused = ask(port, "GET", path, &[("accept", "*/*")], b"").unwrap();
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, None), "{path}");
    }
    let opened = ask(port, "GET", "/get-artifact?run_uuid=x&path=y", &[("accept", "text/html,*/*")], b"").unwrap();
    assert!(opened.status == 401 && opened.header("www-authenticate").is_some());
    assert_eq!(ask(port, "GET", "/health", &[], b"").unwrap().body, b"OK");
    // ann:correct horse, x:a-token-of-many-letters, ann:wrong horse, bob:correct horse
    for (header, status) in [
        (format!("Bearer {token}"), 200),
        ("Basic YW5uOmNvcnJlY3QgaG9yc2U=".to_owned(), 200),
        ("Basic eDphLXRva2VuLW9mLW1hbnktbGV0dGVycw==".to_owned(), 200),
        ("Basic YW5uOndyb25nIGhvcnNl".to_owned(), 401),
        ("Basic Ym9iOmNvcnJlY3QgaG9yc2U=".to_owned(), 401),
        ("Bearer a-token".to_owned(), 401),
    ] {
        assert_eq!(list(&[("authorization", &header)]).status, status, "{header}");
    }
    let log = server.log();
    assert!(!log.contains(token) && !log.contains("correct horse"), "{log}");
    // A file that cannot be used is named.
    std::fs::write(folder.path().join("bad"), "ann:plain text").unwrap();
    let output = yolo11(&["--auth-file", "bad"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: bad: line 1 holds no argon2 hash\n"));
}

#[test]
fn a_session_begins_with_a_login_and_ends_when_it_is_signed_out_of() {
    let folder = tempfile::tempdir().unwrap();
    let token = "a-token-of-many-letters";
    let server = serve(folder.path(), &[], &[("YOLO11_SERVER_TOKEN", token)]);
    let port = server.port();
    let json_type = ("content-type", "application/json");
    let login = |headers: &[(&str, &str)], body: &str| ask(port, "POST", "/session", headers, body.as_bytes()).unwrap();
    let asked = |headers: &[(&str, &str)]| ask(port, "GET", "/session", headers, b"").unwrap().json();
    assert_eq!(asked(&[]), json!({"needed": true, "user": null, "users": false, "tokens": true}));
    let right = json!({"user": "", "password": token}).to_string();
    for (headers, body, status) in [
        (&[json_type][..], json!({"user": "", "password": "another-token-of-letters"}).to_string(), 401),
        (&[json_type], "{}".to_owned(), 401),
        (&[json_type], "[]".to_owned(), 400),
        (&[("content-type", "text/plain")], right.clone(), 400),
        (&[json_type, ("origin", "http://evil.example")], right.clone(), 403),
        (&[json_type], format!("{{\"password\": \"{}\"}}", "x".repeat(5000)), 413),
    ] {
        let refused = login(headers, &body);
        assert_eq!((refused.status, refused.header("set-cookie")), (status, None), "{body}");
    }
    let opened = login(&[json_type], &right);
    let cookie = opened.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with(&format!("yolo11-session-{port}=")), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let proxied = login(&[json_type, ("x-forwarded-proto", "https")], &right);
    assert!(proxied.header("set-cookie").unwrap().ends_with("; SameSite=Strict; Secure"));
    let pair = cookie.split(';').next().unwrap();
    let held = format!("theme=dark; {pair}");
    let status = |cookie: &str| {
        ask(port, "GET", "/api/2.0/mlflow/experiments/search?max_results=5", &[("cookie", cookie)], b"").unwrap().status
    };
    assert_eq!((status(&held), status(&format!("{pair}0")), status("yolo11-session=x")), (200, 401, 401));
    assert_eq!(asked(&[("cookie", &held)])["user"], "");
    // Who brings a login along, as a proxy may, needs no other.
    assert_eq!(asked(&[("authorization", &format!("Bearer {token}"))]), json!({"needed": false}));
    let over = ask(port, "DELETE", "/session", &[("cookie", &held)], b"").unwrap();
    assert!(over.status == 200 && over.header("set-cookie").unwrap().ends_with("; Max-Age=0"));
    assert_eq!(status(&held), 401);
    assert!(!server.log().contains(token) && !server.log().contains(pair));
    let open = serve(folder.path(), &["--backend-store-uri", "sqlite:///other.db"], &[]);
    assert_eq!(ask(open.port(), "GET", "/session", &[], b"").unwrap().json(), json!({"needed": false}));
    assert_eq!(ask(open.port(), "POST", "/session", &[json_type], right.as_bytes()).unwrap().status, 404);
}

#[test]
fn other_names_and_other_sites_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &["--allowed-hosts", "mlflow.example"], &[]);
    let port = server.port();
    let own = format!("127.0.0.1:{port}");
    let status = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        ask(port, method, path, headers, body).unwrap().status
    };
    let api = "/api/2.0/mlflow/experiments/search?max_results=1";
    assert_eq!(status("GET", api, &[("host", "mlflow.example:5000")], b""), 200);
    assert_eq!(status("GET", api, &[("host", "localhost:5000")], b""), 200);
    let rebound = ask(port, "GET", api, &[("host", "evil.example:5000")], b"").unwrap();
    assert_eq!(rebound.status, 403);
    let message = "invalid Host header: this server is not known as `evil.example:5000`; --allowed-hosts adds names";
    assert_eq!(rebound.json(), json!({"error_code": "PERMISSION_DENIED", "message": message}));
    let create = "/ajax-api/2.0/mlflow/experiments/create";
    let json_type = ("content-type", "application/json");
    let body = |name: &str| json!({"name": name}).to_string().into_bytes();
    let origin = format!("http://{own}");
    assert_eq!(
        status("POST", create, &[json_type, ("origin", &origin), ("sec-fetch-site", "same-origin")], &body("a")),
        200
    );
    assert_eq!(status("POST", create, &[json_type], &body("b")), 200);
    for headers in [
        &[json_type, ("origin", "http://evil.example")][..],
        &[json_type, ("origin", "null")],
        &[json_type, ("origin", "http://127.0.0.1:1")],
        &[json_type, ("sec-fetch-site", "cross-site")],
        &[json_type, ("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(status("POST", create, headers, &body("c")), 403, "{headers:?}");
        assert_eq!(status("PUT", "/api/2.0/mlflow-artifacts/artifacts/x", headers, b"x"), 403, "{headers:?}");
        assert_eq!(status("DELETE", "/api/2.0/mlflow-artifacts/artifacts/x", headers, b""), 403, "{headers:?}");
    }
    // What a form can send.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        assert_eq!(status("POST", create, &[("content-type", kind)], &body("c")), 400, "{kind}");
    }
    assert_eq!(get(port, "experiments/get-by-name?experiment_name=c").unwrap().status, 404);
}

#[test]
fn paths_lead_nowhere_else_and_uploads_stay_harmless() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let server = serve(folder.path(), &["--max-upload-bytes", "1000000"], &[]);
    let port = server.port();
    let made = call(port, "runs/create", &json!({"experiment_id": "0"})).unwrap().json();
    let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let artifacts = "/api/2.0/mlflow-artifacts/artifacts";
    for path in [
        "../secret",
        "..%2f..%2fsecret",
        "%2e%2e/%2e%2e/secret",
        "a/../../secret",
        "..%5c..%5csecret",
        "%252e%252e/secret",
        ".uploads/x",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = ask(port, method, &format!("{artifacts}/{path}"), &[], b"x").unwrap();
            assert!(matches!(answer.status, 400 | 404), "{method} {path}: {}", answer.status);
        }
        for address in [
            format!("/get-artifact?run_uuid={run}&path={path}"),
            format!("{artifacts}?path={path}"),
            format!("/{path}"),
        ] {
            let answer = ask(port, "GET", &address, &[], b"").unwrap();
            assert!(matches!(answer.status, 400 | 404), "{address}: {}", answer.status);
        }
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
    let root = format!("{artifacts}/0/{run}/artifacts");
    for (name, kind, way) in [
        ("page.html", "text/html; charset=utf-8", "attachment"),
        ("picture.svg", "image/svg+xml", "attachment"),
        ("script.js", "text/javascript; charset=utf-8", "attachment"),
        ("picture.png", "image/png", "inline"),
        ("log.txt", "text/plain; charset=utf-8", "inline"),
        ("unknown", "application/octet-stream", "inline"),
    ] {
        assert_eq!(ask(port, "PUT", &format!("{root}/{name}"), &[], b"<script>alert(1)</script>").unwrap().status, 200);
        for address in [format!("{root}/{name}"), format!("/get-artifact?run_uuid={run}&path={name}")] {
            let answer = ask(port, "GET", &address, &[], b"").unwrap();
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{address}");
            assert!(answer.header("content-security-policy").unwrap().starts_with("sandbox; default-src 'none'"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert!(answer.header("content-disposition").unwrap().starts_with(way), "{name}");
        }
    }
    let long = ask(port, "PUT", &format!("{root}/long"), &[], &vec![0; 1_000_001]).unwrap();
    assert_eq!(long.status, 413);
    assert_eq!(ask(port, "GET", &format!("{root}/long"), &[], b"").unwrap().status, 404);
    // The pages allow nothing from elsewhere.
    let page = ask(port, "GET", "/", &[], b"").unwrap();
    assert!(
        page.header("content-security-policy").unwrap().starts_with("default-src 'none'; script-src 'self';"),
        "{}",
        page.headers
    );
}
