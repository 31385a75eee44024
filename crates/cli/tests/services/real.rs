//! A whole start against real servers: the fake engine starts PostgreSQL of the system, moto's S3 and MLflow where a real one would
//! start their containers, with the variables of the compose file.

use std::fs;
use std::path::{Path, PathBuf};

use super::Project;

/// What the engine does for a service, in the script's own shell.
const UP: &str = r#"
case "$service" in
postgres)
    mkdir -p "$FAKE/cluster"
    echo "$POSTGRES_PASSWORD" > "$FAKE/cluster/password"
    as=""
    [ -z "$ROOT" ] || { chown -R postgres "$FAKE/cluster"; as="runuser -u postgres --"; }
    cd /
    $as "$BINARIES/initdb" -D "$FAKE/cluster/data" -U "$POSTGRES_USER" "--pwfile=$FAKE/cluster/password" -A scram-sha-256 --no-sync >/dev/null || exit 1
    $as "$BINARIES/pg_ctl" -D "$FAKE/cluster/data" -o "-p $POSTGRES_PORT -k $FAKE/cluster -c listen_addresses=127.0.0.1" -l "$FAKE/cluster/log" -w start >/dev/null || exit 1
    PGPASSWORD=$POSTGRES_PASSWORD "$BINARIES/createdb" -h 127.0.0.1 -p "$POSTGRES_PORT" -U "$POSTGRES_USER" "$POSTGRES_DB" || exit 1
    cd "$OLDPWD" ;;
s3)
    "$YOLO11_PYTHON" -m moto.server -H 127.0.0.1 -p "$S3_PORT" >/dev/null 2>&1 &
    echo $! > "$FAKE/pid-s3" ;;
mlflow)
    MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2://127.0.0.1:$POSTGRES_PORT PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD PGDATABASE=$POSTGRES_DB \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    "$YOLO11_PYTHON" -m mlflow server --host 127.0.0.1 --port "$MLFLOW_PORT" --workers 1 --artifacts-destination "s3://$MLFLOW_S3_BUCKET_NAME" \
        --allowed-hosts 'localhost:*,127.0.0.1:*,mlflow:*' >/dev/null 2>&1 &
    echo $! > "$FAKE/pid-mlflow" ;;
esac
"#;

const DOWN: &str = r#"
for service in mlflow s3; do kill "$(cat "$FAKE/pid-$service")"; done
as=""
[ -z "$ROOT" ] || as="runuser -u postgres --"
(cd / && $as "$BINARIES/pg_ctl" -D "$FAKE/cluster/data" -m immediate stop >/dev/null)
"#;

#[test]
fn a_start_against_real_servers() {
    let Some(python) = std::env::var_os("YOLO11_PYTHON") else {
        eprintln!("skipped: YOLO11_PYTHON is not set");
        return;
    };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let Some(binaries) = versions.map(|version| version.path().join("bin")).find(|path| path.join("initdb").exists())
    else {
        eprintln!("skipped: no PostgreSQL below /usr/lib/postgresql");
        return;
    };
    let project = Project::new(&["docker"]);
    open_for_all(&project.folder.path().to_owned());
    fs::write(project.path("fake/real"), UP).unwrap();
    fs::write(project.path("fake/real-down"), DOWN).unwrap();
    let root = if is_root() { "yes" } else { "" };
    let run = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command
            .env("YOLO11_PYTHON", &python)
            .env("BINARIES", &binaries)
            .env("ROOT", root)
            .env("HOME", project.path("fake"));
        super::Ran::from(command.output().unwrap(), project.ports)
    };
    let ran = run(&["start", "--stack", "compose", "--timeout", "120"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("\ncreated bucket mlflow\n"), "{}", ran.stderr);
    let table = "postgres  ready      postgresql://127.0.0.1:5432/mlflow\n\
        s3        ready      http://127.0.0.1:9000/mlflow\n\
        mlflow    ready      http://127.0.0.1:5000\n";
    assert_eq!(ran.stdout, table);
    let doctor = run(&["doctor"]);
    let lines: Vec<_> = doctor.stdout.lines().collect();
    assert_eq!(doctor.code, Some(0), "{}", doctor.stdout);
    assert_eq!(lines[0], "well    tracking server: 127.0.0.1:5000 answers");
    assert_eq!(lines[1], "well    artifact store: bucket mlflow at 127.0.0.1:9000 answers");
    assert_eq!(lines[2], "well    containers: postgres, s3, mlflow run under docker compose");
    assert!(lines[3].starts_with("well    database: tables of version "), "{}", lines[3]);
    let stopped = run(&["stop"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert_eq!(run(&["doctor"]).code, Some(1));
}

/// The server's own user must be able to reach the folder.
fn open_for_all(folder: &PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    for path in [folder, &folder.join("fake")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn is_root() -> bool {
    fs::metadata(Path::new("/proc/self")).is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
