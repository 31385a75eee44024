//! `yolo11 server`: the tracking server, in this terminal until it is stopped.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use yolo11_server::artifacts::Artifacts;
use yolo11_server::artifacts::folder::Folder;
use yolo11_server::artifacts::s3::S3;
use yolo11_server::auth::{self, Auth};
use yolo11_server::database::Location;
use yolo11_server::{Options, Server};

use crate::failure::Failure;
use crate::terminal;

/// The variable with a token.
const TOKEN: &str = "YOLO11_SERVER_TOKEN";

pub(crate) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("server")
        .about("Runs the tracking server with its pages, until Ctrl-C")
        .args([
            option("host", "ADDRESS", "Address to listen on").default_value("127.0.0.1"),
            option("port", "PORT", "Port to listen on; 0 for a free one").default_value("5000").value_parser(value_parser!(u16)),
            option("backend-store-uri", "URI", "Where runs are kept: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE [default: MLFLOW_BACKEND_STORE_URI, else sqlite:///tracking/tracking.db]"),
            option("artifacts-destination", "PLACE", "Where artifacts are kept: a folder or s3://BUCKET/PREFIX [default: MLFLOW_ARTIFACTS_DESTINATION, else tracking/artifacts]"),
            option("allowed-hosts", "NAMES", "More names under which it may be asked, with commas between; * for any"),
            option("auth-file", "FILE", "Who may ask: lines user:hash, made by --hash-password"),
            option("token-file", "FILE", "A token that lets one ask; the variable YOLO11_SERVER_TOKEN does too"),
            switch("insecure", "Let everybody ask who reaches it, on an address that is not this machine's alone"),
            option("max-upload-bytes", "BYTES", "The longest artifact").default_value("107374182400").value_parser(value_parser!(u64)),
            option("pid-file", "FILE", "Hold a file with the process's number as long as the server runs"),
            option("ui-dir", "FOLDER", "Serve other pages: those of MLflow's wheel, mlflow/server/js/build"),
            switch("hash-password", "Read a password from stdin, print its hash for --auth-file, and end"),
        ])
        .after_help(
            "  yolo11 server\n  yolo11 server --host 0.0.0.0 --token-file token.txt\n  \
             yolo11 server --backend-store-uri postgresql://mlflow@db/mlflow --artifacts-destination s3://artifacts\n\n\
             Clients find it by MLFLOW_TRACKING_URI=http://127.0.0.1:5000. `yolo11 services start` runs it in the background.",
        )
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// An option, else a variable, which may hold a password that no list of processes is to show, else what is usual.
fn setting(matches: &ArgMatches, name: &str, variable: &str, usual: &str) -> String {
    let given = matches.get_one::<String>(name).cloned();
    given.or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty())).unwrap_or_else(|| usual.to_owned())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    if matches.get_flag("hash-password") {
        return hash_password();
    }
    let database = Location::parse(&setting(
        matches,
        "backend-store-uri",
        "MLFLOW_BACKEND_STORE_URI",
        "sqlite:///tracking/tracking.db",
    ))
    .map_err(|problem| {
        Failure::usage(format!("--backend-store-uri: {problem}"), "for example sqlite:///tracking/tracking.db")
    })?;
    if let Location::Sqlite(path) = &database
        && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        make_folder(folder)?;
    }
    let artifacts =
        artifacts(&setting(matches, "artifacts-destination", "MLFLOW_ARTIFACTS_DESTINATION", "tracking/artifacts"))?;
    let auth = auth(matches)?;
    let host = text(matches, "host");
    let port = matches.get_one::<u16>("port").copied().unwrap_or(5000);
    let local = matches!(host, "localhost" | "::1") || host.starts_with("127.");
    if !local && auth.is_none() && !matches.get_flag("insecure") {
        return Err(Failure::usage(
            format!("on {host} everybody who reaches this machine could read and change every run"),
            "ask for a login with --token-file or --auth-file, or say --insecure",
        ));
    }
    let hosts =
        text(matches, "allowed-hosts").split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let options = Options {
        database,
        artifacts,
        allowed_hosts: hosts.collect(),
        auth,
        ui_folder: matches.get_one::<String>("ui-dir").map(PathBuf::from),
        longest_upload: matches.get_one::<u64>("max-upload-bytes").copied().unwrap_or(u64::MAX),
    };
    serve(options, host, port, matches.get_one::<String>("pid-file").map(Path::new))
}

fn serve(options: Options, host: &str, port: u16, pid_file: Option<&Path>) -> Result<(), Failure> {
    let failed = |message: String, hint: &str| Failure::Server { message, hint: hint.to_owned() };
    let kept = format!("runs in {}, artifacts in {}", options.database.shown(), options.artifacts.shown());
    let pid_file = pid_file.map(PidFile::hold).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8)))
        .enable_all()
        .build()?;
    let server =
        Server::open(options, runtime.handle()).map_err(|error| failed(error.message, "see docs/server.md"))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((host.trim_matches(['[', ']']), port)).await.map_err(|error| {
            failed(
                format!("cannot listen on {host}:{port}: {error}"),
                "stop the program that listens there, or choose another --port",
            )
        })?;
        let address = yolo11_server::address(listener.local_addr()?);
        if let Some(file) = &pid_file {
            file.write(&address)?;
        }
        terminal::say(&format!("tracking server at {address}, {kept}"));
        server.run(listener, stopped()).await?;
        terminal::say("tracking server stopped");
        Ok(())
    })
}

/// A file with this process's number and address, locked as long as it runs: whoever finds it unlocked knows that the server is gone.
struct PidFile {
    file: File,
    path: PathBuf,
}

impl PidFile {
    fn hold(path: &Path) -> Result<PidFile, Failure> {
        let failed = |source| Failure::Write {
            path: path.display().to_string(),
            source,
            hint: "--pid-file names a file in a folder that you may write to",
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folder(folder)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        file.try_lock().map_err(|_| Failure::Server {
            message: format!("a server runs already; it holds `{}`", path.display()),
            hint: "`yolo11 services status` says where, `yolo11 services stop` ends it".to_owned(),
        })?;
        Ok(PidFile { file, path: path.to_owned() })
    }

    fn write(&self, address: &str) -> io::Result<()> {
        let text = format!("{}\n{address}\n", std::process::id());
        self.file.set_len(0)?;
        (&self.file).write_all(text.as_bytes())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Ready when the program is asked to stop.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        {
            // A server in the background outlives the terminal that started it.
            let hangup = signal(SignalKind::hangup());
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            drop(hangup);
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|source| Failure::Write {
        path: folder.display().to_string(),
        source,
        hint: "run it in a folder that you may write to",
    })
}

fn artifacts(place: &str) -> Result<Arc<dyn Artifacts>, Failure> {
    let path = place.strip_prefix("file://").unwrap_or(place);
    if path.starts_with("s3://") {
        let store = S3::new(path, &|name| std::env::var(name).ok());
        let hint = "MLFLOW_S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION say where and as whom";
        return Ok(Arc::new(
            store.map_err(|problem| Failure::usage(format!("--artifacts-destination: {problem}"), hint))?,
        ));
    }
    if path.contains("://") {
        return Err(Failure::usage(
            format!("--artifacts-destination {place}: neither a folder nor s3://"),
            "for example tracking/artifacts",
        ));
    }
    let folder = Folder::new(Path::new(path)).map_err(|source| Failure::Write {
        path: path.to_owned(),
        source,
        hint: "--artifacts-destination names a folder that you may write to",
    })?;
    Ok(Arc::new(folder))
}

fn read(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read {
        path: path.to_owned(),
        source,
        hint: "it must be a UTF-8 text file that you may read",
    })
}

fn auth(matches: &ArgMatches) -> Result<Option<Auth>, Failure> {
    let (users, file) = (text(matches, "auth-file"), text(matches, "token-file"));
    let mut tokens = Vec::new();
    if !file.is_empty() {
        tokens.push(read(file)?.trim().to_owned());
    }
    if let Ok(token) = std::env::var(TOKEN) {
        tokens.push(token);
    }
    if users.is_empty() && tokens.is_empty() {
        return Ok(None);
    }
    let lines = if users.is_empty() { String::new() } else { read(users)? };
    let place = if users.is_empty() { format!("{TOKEN} or --token-file") } else { users.to_owned() };
    let auth = Auth::new(&lines, &tokens).map_err(|problem| {
        Failure::usage(
            format!("{place}: {problem}"),
            "`yolo11 server --hash-password` makes a hash for a line user:hash",
        )
    })?;
    Ok(Some(auth))
}

fn hash_password() -> Result<(), Failure> {
    let mut password = String::new();
    io::stdin().read_to_string(&mut password)?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.len() < 8 {
        return Err(Failure::usage(
            "a password has 8 letters at least",
            "echo -n PASSWORD | yolo11 server --hash-password",
        ));
    }
    let hash = auth::hash(password).map_err(|problem| Failure::usage(problem, "try again"))?;
    terminal::print(&format!("{hash}\n"))
}
