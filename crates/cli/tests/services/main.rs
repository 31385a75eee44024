//! Runs of `yolo11 services`: exit code, stdout, stderr, and what the container engine was told, by a fake one.
#![cfg(unix)]

mod real;
mod servers;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use servers::serve;
use yolo11_test_servers::free_port;

/// A project's folder with a fake engine in front of the path.
struct Project {
    folder: tempfile::TempDir,
    ports: [u16; 3],
}

impl Project {
    fn new(engines: &[&str]) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let project = Project { folder, ports: [free_port(), free_port(), free_port()] };
        for name in ["bin", "fake", "project"] {
            fs::create_dir(project.path(name)).unwrap();
        }
        for engine in engines {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/engine.sh");
            std::os::unix::fs::symlink(script, project.path("bin").join(engine)).unwrap();
        }
        let [postgres, s3, mlflow] = project.ports;
        let text = format!("POSTGRES_PORT={postgres}\nS3_PORT={s3}\nMLFLOW_PORT={mlflow}\nCOMPOSE_PROJECT_NAME=test\n");
        fs::write(project.path("project/.env"), text).unwrap();
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mark(&self, name: &str) {
        fs::write(self.path("fake").join(name), "").unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("fake/calls")).unwrap_or_default();
        let told = text.lines().filter_map(|line| line.strip_prefix("compose -f services/compose.yaml -p test "));
        told.map(str::to_owned).collect()
    }

    fn env(&self) -> String {
        fs::read_to_string(self.path("project/.env")).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
        command.arg("services").args(arguments).current_dir(self.path("project")).env_clear();
        // The script needs a few tools of the system; a docker that may be among them is not to be found.
        let tools = self.path("tools");
        if !tools.exists() {
            fs::create_dir(&tools).unwrap();
            for tool in
                ["sh", "cat", "touch", "sleep", "rm", "mv", "grep", "printf", "mkdir", "kill", "chown", "runuser"]
            {
                if let Some(found) = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"]
                    .iter()
                    .map(|at| PathBuf::from(at).join(tool))
                    .find(|path| path.exists())
                {
                    std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
                }
            }
        }
        let path = format!("{}:{}", self.path("bin").display(), tools.display());
        command.env("PATH", path).env("FAKE", self.path("fake")).stdin(Stdio::null());
        command
    }

    fn services(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap(), self.ports)
    }
}

#[derive(Debug, PartialEq)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// With the ports that differ from run to run replaced.
    fn from(output: Output, ports: [u16; 3]) -> Ran {
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let text = text.replace(&format!(":{}", ports[0]), ":5432").replace(&format!(":{}", ports[1]), ":9000");
            text.replace(&format!(":{}", ports[2]), ":5000").replace(&format!("port {}", ports[2]), "port 5000")
        };
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

#[test]
fn the_embedded_stack_is_a_server_in_the_background() {
    let project = Project::new(&[]);
    let before = project.services(&["status", "--json"]);
    let state =
        |ran: &Ran| serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["services"][0]["state"].clone();
    assert_eq!(state(&before), "stopped");
    let ran = project.services(&["start", "--timeout=120"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("mlflow    ready      http://127.0.0.1:5000\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("starting mlflow\nmlflow is ready after "), "{}", ran.stderr);
    let address = format!("http://127.0.0.1:{}", project.ports[2]);
    let written = fs::read_to_string(project.path("project/.env")).unwrap();
    assert!(written.ends_with(&format!("MLFLOW_TRACKING_URI={address}\n")), "{written}");
    let pid = fs::read_to_string(project.path("project/tracking/server.pid")).unwrap();
    assert_eq!(pid.lines().nth(1), Some(address.as_str()));
    assert_eq!(state(&project.services(&["status", "--json"])), "ready");
    let again = project.services(&["start"]);
    assert!(again.code == Some(0) && again.stderr.contains("the tracking server runs already"), "{}", again.stderr);
    let logs = project.services(&["logs"]);
    assert!(logs.stdout.starts_with("tracking server at http://127.0.0.1:5000, runs in "), "{}", logs.stdout);
    let stopped = project.services(&["stop"]);
    assert_eq!((stopped.code, stopped.stderr.as_str()), (Some(0), "stopping mlflow\n"));
    assert_eq!(state(&project.services(&["status", "--json"])), "stopped");
    assert!(!project.path("project/tracking/server.pid").exists());
    assert!(project.path("project/tracking/tracking.db").exists());
    assert!(project.services(&["logs", "mlflow"]).stdout.ends_with("tracking server stopped\n"));
    // A pid file that a killed server left behind, with a number that another process has now, names no server.
    fs::write(project.path("project/tracking/server.pid"), format!("{}\n{address}\n", std::process::id())).unwrap();
    assert_eq!(state(&project.services(&["status", "--json"])), "stopped");
    let deleted = project.services(&["stop", "--volumes", "--yes"]);
    assert!(deleted.code == Some(0) && !project.path("project/tracking").exists(), "{}", deleted.stderr);
}

#[test]
fn a_port_that_is_taken_and_a_server_that_ends_are_told() {
    let project = Project::new(&[]);
    let listener = std::net::TcpListener::bind(("127.0.0.1", project.ports[2])).unwrap();
    let ran = project.services(&["start"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("error: port 5000 for mlflow is taken by "), "{}", ran.stderr);
    drop(listener);
    fs::create_dir_all(project.path("project/tracking")).unwrap();
    fs::write(
        project.path("project/tracking/tracking.db"),
        "not a database, but a text that is long enough to be read",
    )
    .unwrap();
    let ran = project.services(&["start"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("last lines of mlflow:\n  error: tracking/tracking.db is damaged"), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: mlflow is ended with exit code 1 instead of ready\n"), "{}", ran.stderr);
}

#[test]
fn a_start_goes_from_engine_to_bucket_and_a_stop_keeps_the_data() {
    let project = Project::new(&["docker"]);
    for (service, port) in ["postgres", "s3", "mlflow"].into_iter().zip(project.ports) {
        serve(service, port, &project.path("fake"));
    }
    let ran = project.services(&["start", "--stack=compose", "--timeout=20"]);
    let said = "using docker compose\n\
        added to .env: YOLO11_STACK, POSTGRES_IMAGE, POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, S3_IMAGE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, MLFLOW_IMAGE, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_S3_ENDPOINT_URL, MLFLOW_S3_BUCKET_NAME\n\
        wrote services/compose.yaml\n\
        starting postgres, s3\n\
        waiting for postgres, at most 20 s\n\
        postgres is ready after 0 s\n\
        waiting for s3, at most 20 s\n\
        s3 is ready after 0 s\n\
        created bucket mlflow\n\
        starting mlflow\n\
        waiting for mlflow, at most 20 s\n\
        mlflow is ready after 0 s\n\
        data repository: made in .dvc; next `yolo11 data add data`\n";
    // A busy machine takes its seconds.
    let mut stderr = ran.stderr.clone();
    (1..20).for_each(|seconds| stderr = stderr.replace(&format!("after {seconds} s\n"), "after 0 s\n"));
    assert!(stderr.starts_with(said), "{}", ran.stderr);
    let table = "postgres  ready      postgresql://127.0.0.1:5432/mlflow\n\
        s3        ready      http://127.0.0.1:9000/mlflow\n\
        mlflow    ready      http://127.0.0.1:5000\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), table));
    assert_eq!(project.calls(), ["up --detach postgres s3", "up --detach mlflow"]);
    let env = project.env();
    assert!(env.contains("\nYOLO11_STACK=compose\n") && env.starts_with("POSTGRES_PORT="), "{env}");

    // .env names the stack from here on; what runs is not started again.
    let again = project.services(&["start"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), table), "{}", again.stderr);
    assert_eq!(project.calls().len(), 2);
    assert_eq!(project.env(), env);
    let status = project.services(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["services"][2]["state"], "ready");
    assert_eq!(status["services"][2]["url"], "http://127.0.0.1:5000");

    let logs = project.services(&["logs", "mlflow", "--follow"]);
    assert_eq!(logs.stdout, "mlflow-1  | FATAL: cannot log in with ***\nmlflow-1  | giving up\n");
    let wrong = project.services(&["logs", "redis"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (Some(2), "error: no service `redis`\nhint: there are postgres, s3, mlflow\n")
    );

    let stopped = project.services(&["stop"]);
    assert_eq!((stopped.code, stopped.stderr.as_str()), (Some(0), "stopping postgres, s3, mlflow\n"));
    let refused = project.services(&["stop", "--volumes"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.starts_with("error: --volumes asks first, and there is no terminal to ask on\nhint: add --yes")
    );
    assert_eq!(project.services(&["stop", "--volumes", "--yes"]).code, Some(0));
    assert_eq!(project.calls()[2..], ["logs --follow mlflow", "down", "down --volumes"]);
}

#[test]
fn a_changed_compose_file_stays() {
    let project = Project::new(&["docker"]);
    fs::create_dir(project.path("project/services")).unwrap();
    fs::write(project.path("project/services/compose.yaml"), "services: {}\n").unwrap();
    project.mark("fails-postgres");
    let ran = project.services(&["start", "--stack", "compose"]);
    assert!(
        ran.stderr.contains("kept  services/compose.yaml (yours: not the one this version lays down)\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(project.path("project/services/compose.yaml")).unwrap(), "services: {}\n");
}

#[test]
fn without_an_engine_it_says_what_to_install() {
    let none = Project::new(&[]).services(&["start", "--stack", "compose"]);
    let hint = "hint: install Docker (https://docs.docker.com/engine/install) or Podman with podman-compose, and start it; or do without: `yolo11 services start` needs no container\n";
    let said = format!("error: no container engine: `docker` is not installed; `podman` is not installed\n{hint}");
    assert_eq!(none, Ran { code: Some(1), stdout: String::new(), stderr: said });

    let project = Project::new(&["docker"]);
    project.mark("no-daemon");
    let ran = project.services(&["start", "--stack", "compose"]);
    let why = "`docker` is installed but its engine does not answer (Cannot connect to the Docker daemon at unix:///var/run/docker.sock.)";
    assert_eq!(ran.stderr, format!("error: no container engine: {why}; `podman` is not installed\n{hint}"));
    // Nothing is laid down where nothing can be started.
    assert!(!project.path("project/services").exists());

    let podman = Project::new(&["podman"]);
    podman.mark("fails-postgres");
    assert!(podman.services(&["start", "--stack", "compose"]).stderr.starts_with("using podman compose\n"));
}

#[test]
fn a_taken_port_names_its_holder_before_anything_is_started() {
    let project = Project::new(&["docker"]);
    let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, project.ports[2])).unwrap();
    let ran = project.services(&["start", "--stack", "compose"]);
    let name = if cfg!(target_os = "linux") {
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        format!("{} (process {})", name.trim(), std::process::id())
    } else {
        "another program".to_owned()
    };
    let said = format!(
        "error: port 5000 for mlflow is taken by {name}\nhint: stop that program, or set MLFLOW_PORT in .env to a free port\n"
    );
    assert!(ran.stderr.ends_with(&said), "{}", ran.stderr);
    assert_eq!((ran.code, project.calls()), (Some(1), vec![]));
}

#[test]
fn a_service_that_ends_shows_its_last_lines_and_all_is_stopped() {
    let project = Project::new(&["docker"]);
    for (service, port) in ["postgres", "s3"].into_iter().zip(project.ports) {
        serve(service, port, &project.path("fake"));
    }
    project.mark("ends-mlflow");
    let ran = project.services(&["start", "--stack", "compose", "--timeout", "30"]);
    let said = "last lines of mlflow:\n  mlflow-1  | FATAL: cannot log in with ***\n  mlflow-1  | giving up\n\
        stopping postgres, s3, mlflow\n\
        error: mlflow is Exited (1) 1 second ago instead of ready\n\
        hint: its last lines stand above; `yolo11 services doctor` looks for the common causes\n";
    assert!(ran.stderr.ends_with(said), "{}", ran.stderr);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    // Once to look for its cause, once to be shown.
    assert_eq!(project.calls()[2..], ["logs --tail 20 mlflow", "logs --tail 20 mlflow", "down"]);
    let secret = project.env().lines().find_map(|line| line.strip_prefix("POSTGRES_PASSWORD=")).unwrap().to_owned();
    assert!(!ran.stderr.contains(&secret));
}

#[test]
fn tables_of_an_older_mlflow_are_told_with_what_brings_them_up_to_date() {
    let project = Project::new(&["docker"]);
    for (service, port) in ["postgres", "s3"].into_iter().zip(project.ports) {
        serve(service, port, &project.path("fake"));
    }
    project.mark("ends-mlflow");
    project.mark("old-tables");
    let ran = project.services(&["start", "--stack", "compose", "--timeout", "120"]);
    let said = "error: mlflow: database not migrated: Detected out-of-date database schema (found a, but expected b).\n\
        hint: back the database up, then: docker compose --env-file .env -f services/compose.yaml run --rm mlflow sh -c 'mlflow db upgrade";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn images_are_pulled_before_anything_is_started() {
    let project = Project::new(&["docker"]);
    project.mark("no-images");
    project.mark("fails-pull-mlflow");
    let ran = project.services(&["start", "--stack", "compose"]);
    let said = "wrote services/compose.yaml\n\
        pulling postgres:18.6 for postgres\npulling chrislusf/seaweedfs:4.47 for s3\n\
        pulling ghcr.io/mlflow/mlflow:v3.18.0-full for mlflow\npull access denied for mlflow\n\
        error: image ghcr.io/mlflow/mlflow:v3.18.0-full for mlflow cannot be pulled\n\
        hint: correct MLFLOW_IMAGE in .env, or look whether its registry can be reached and asks for a login\n";
    assert!(ran.stderr.ends_with(said), "{}", ran.stderr);
    assert_eq!(
        (ran.code, project.calls()),
        (Some(1), ["pull postgres", "pull s3", "pull mlflow"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_container_that_is_started_over_and_over_is_not_waited_for() {
    let project = Project::new(&["docker"]);
    fs::write(project.path("fake/restarts-id-postgres"), "2\n").unwrap();
    let ran = project.services(&["start", "--stack", "compose"]);
    let said = "error: postgres is in a loop of restarts (2 so far) instead of ready\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_start_that_the_engine_refuses_and_a_deadline_end_with_1() {
    let project = Project::new(&["docker"]);
    project.mark("fails-s3");
    let ran = project.services(&["start", "--stack", "compose"]);
    let said = "starting postgres, s3\nno room for s3\nstopping postgres, s3\n\
        error: `docker compose up --detach postgres s3` failed with exit code 18\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!((ran.code, project.calls().last().map(String::as_str)), (Some(1), Some("down")));

    let slow = Project::new(&["docker"]);
    let ran = slow.services(&["start", "--stack", "compose", "--timeout", "1"]);
    let said = "error: postgres was not ready after 1 s: connection refused by 127.0.0.1:5432\nhint: its last lines stand above; --timeout SECONDS waits longer\n";
    assert!(ran.stderr.ends_with(said), "{}", ran.stderr);
    assert_eq!((ran.code, slow.calls().last().map(String::as_str)), (Some(1), Some("down")));
}

#[test]
fn ctrl_c_stops_what_was_started_and_no_more() {
    let project = Project::new(&["docker"]);
    // The database ran before; it is not this start's to stop.
    serve("postgres", project.ports[0], &project.path("fake"));
    project.mark("up-postgres");
    let before = "postgres\trunning\tUp 2 hours\tid-postgres\n";
    fs::write(project.path("fake/containers"), before).unwrap();
    let mut command = project.command(&["start", "--stack", "compose", "--timeout", "60"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !project.path("fake/up-s3").exists() && started.elapsed() < Duration::from_secs(240) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap(), project.ports);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let said = "\nstopping what was started; Ctrl-C again stops at once\nstopping s3\nerror: interrupted; what was started has been stopped\n";
    assert!(ran.stderr.ends_with(said), "{}", ran.stderr);
    assert_eq!(project.calls(), ["up --detach s3", "stop s3"]);
    assert_eq!(fs::read_to_string(project.path("fake/containers")).unwrap(), before);
}

#[test]
fn the_doctor_explains_what_the_variables_lead_to() {
    let project = Project::new(&["docker"]);
    let absent = project.services(&["doctor"]);
    let said = "absent  tracking server: MLFLOW_TRACKING_URI is not set: runs keep what is to be tracked in their outboxes\nabsent  artifact store: MLFLOW_S3_ENDPOINT_URL is not set\nabsent  embedded server: not started\n";
    assert_eq!(absent, Ran { code: Some(0), stdout: said.to_owned(), stderr: String::new() });

    let [_, s3, mlflow] = project.ports;
    fs::write(project.path("project/.env"), format!("MLFLOW_TRACKING_URI=http://me:hidden@127.0.0.1:{mlflow}\nMLFLOW_S3_ENDPOINT_URL=http://127.0.0.1:{s3}\nAWS_ACCESS_KEY_ID=a\n")).unwrap();
    let faulty = project.services(&["doctor"]);
    let lines: Vec<_> = faulty.stdout.lines().collect();
    assert_eq!(lines[0], "FAULTY  tracking server: connection refused by 127.0.0.1:5000");
    assert!(lines[1].starts_with("        fix: start the service (`yolo11 services start`)"), "{}", lines[1]);
    assert_eq!(lines[2], "FAULTY  artifact store: wrong credentials: AWS_SECRET_ACCESS_KEY is not set");
    assert_eq!((faulty.code, faulty.stderr.as_str()), (Some(1), "error: faults found: 2\n"));
    assert!(!faulty.stdout.contains("hidden"));
}

#[test]
fn env_is_read_the_environment_wins_and_a_bad_line_is_named_by_its_number() {
    let project = Project::new(&[]);
    fs::write(project.path("project/.env"), "# stack\nYOLO11_STACK=swarm\n").unwrap();
    let ran = project.services(&["status"]);
    let said =
        "error: YOLO11_STACK=swarm: expected embedded or compose\nhint: change it in .env or in the environment\n";
    assert_eq!(ran, Ran { code: Some(3), stdout: String::new(), stderr: said.to_owned() });
    let wins = project.command(&["status"]).env("YOLO11_STACK", "embedded").output().unwrap();
    assert_eq!(wins.status.code(), Some(0));

    fs::write(project.path("project/.env"), "A=1\nAWS_SECRET_ACCESS_KEY hidden word\n").unwrap();
    let ran = project.services(&["status"]);
    let said =
        "error: `.env`, line 2: expected NAME=value\nhint: put a value with spaces, quotes or # between ' and '\n";
    assert_eq!(ran, Ran { code: Some(3), stdout: String::new(), stderr: said.to_owned() });
}
