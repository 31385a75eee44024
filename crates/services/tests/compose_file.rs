//! The compose file: what it must say, read as YAML, and by `docker compose config` where that is there.

use std::process::{Command, Stdio};

use saphyr::{LoadableYamlNode, Yaml};
use yolo11_services::compose::{SERVICES, file};

fn service<'a>(document: &'a Yaml<'a>, name: &str) -> &'a Yaml<'a> {
    document.as_mapping_get("services").and_then(|services| services.as_mapping_get(name)).unwrap()
}

fn list(service: &Yaml, key: &str) -> Vec<String> {
    let items = service.as_mapping_get(key).and_then(|value| value.as_sequence()).unwrap();
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn text<'a>(value: &'a Yaml<'a>, keys: &[&str]) -> &'a str {
    keys.iter().fold(value, |value, key| value.as_mapping_get(key).unwrap()).as_str().unwrap()
}

#[test]
fn it_keeps_the_facts_of_its_images() {
    let documents = Yaml::load_from_str(file::TEXT).unwrap();
    let document = &documents[0];
    assert!(document.as_mapping_get("version").is_none());
    for name in SERVICES {
        let service = service(document, name);
        for port in list(service, "ports") {
            assert!(port.starts_with("127.0.0.1:${"), "{port}");
        }
        assert!(text(service, &["image"]).starts_with(&format!("${{{}_IMAGE:-", name.to_uppercase())));
        assert!(service.as_mapping_get("healthcheck").is_some(), "{name}");
    }
    let postgres = service(document, "postgres");
    assert_eq!(list(postgres, "volumes"), ["postgres-data:/var/lib/postgresql"]);
    assert!(list(&postgres["healthcheck"], "test")[1].contains("pg_isready -h 127.0.0.1"));
    let mlflow = service(document, "mlflow");
    assert!(text(mlflow, &["image"]).ends_with("-full}"));
    let command = list(mlflow, "command");
    assert!(
        command.iter().any(|word| word.starts_with("--allowed-hosts=") && word.contains("mlflow:*")),
        "{command:?}"
    );
    assert_eq!(text(mlflow, &["depends_on", "postgres", "condition"]), "service_healthy");
    assert_eq!(text(mlflow, &["environment", "AWS_REQUEST_CHECKSUM_CALCULATION"]), "when_required");
    // No password on a command line or in an address, where a list of processes would show it.
    let words = file::TEXT.lines().filter(|line| line.contains("--") || line.contains("postgresql"));
    words.for_each(|line| assert!(!line.contains("PASSWORD") && !line.contains("SECRET"), "{line}"));
}

#[test]
fn docker_compose_takes_it() {
    let programs: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let of = |program: &[&str]| {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]);
        command
    };
    let works = |program: &[&str]| {
        let version = of(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let programs: Vec<_> = programs.into_iter().filter(|program| works(program)).collect();
    if programs.is_empty() {
        eprintln!("skipped: neither `docker compose` nor `docker-compose` is installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compose.yaml");
    std::fs::write(&path, file::TEXT).unwrap();
    for program in programs {
        let mut command = of(program);
        command.args(["-p", "test", "-f"]).arg(&path).arg("config");
        command.env("POSTGRES_PASSWORD", "a").env("AWS_ACCESS_KEY_ID", "b").env("AWS_SECRET_ACCESS_KEY", "c");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        let documents = Yaml::load_from_str(&text).unwrap();
        assert_eq!(list(service(&documents[0], "s3"), "command"), ["mini", "-dir=/data"], "{program:?}");
        assert_eq!(self::text(service(&documents[0], "postgres"), &["image"]), "postgres:18.6", "{program:?}");
        // As one word, or as a table.
        let local = |line: &&str| line.trim().starts_with("- 127.0.0.1:") || line.trim() == "host_ip: 127.0.0.1";
        assert_eq!(text.lines().filter(local).count(), 3, "{program:?}: {text}");
        // Without passwords there is no start.
        let refused = of(program).args(["-p", "test", "-f"]).arg(&path).arg("config").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("set it in .env"), "{program:?}: {said}");
    }
}
