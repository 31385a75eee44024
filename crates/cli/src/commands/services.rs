//! `yolo11 services`: what a pipeline needs beside it, started, watched and stopped.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;
use yolo11_services::doctor::{self, Finding};
use yolo11_services::{Compose, Embedded, Error, Event, Service, Stack, StackName, StartOptions, Volumes};

use crate::arguments::{json_option, wants_json};
use crate::failure::Failure;
use crate::interrupt::stop_flag;
use crate::terminal;

/// The variable that says which stack is meant where `--stack` does not.
const STACK_VARIABLE: &str = "YOLO11_STACK";

pub(crate) fn command() -> Command {
    let stack = || {
        let help = "Which services: those in this program, or containers [default: YOLO11_STACK, else embedded]";
        Arg::new("stack").long("stack").value_parser(["embedded", "compose"]).help(help)
    };
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let timeout = Arg::new("timeout").long("timeout").value_name("SECONDS").default_value("180");
    let start = Command::new("start")
        .about("Starts what does not run yet and returns when all of it is ready")
        .arg(timeout.value_parser(value_parser!(u64).range(1..)).help("How long each service may take to be ready"))
        .arg(stack());
    let stop = Command::new("stop")
        .about("Stops the services; their data stays")
        .arg(switch("volumes", "Delete their data too, after a question"))
        .arg(switch("yes", "Answer that question with yes"))
        .arg(stack());
    let status = Command::new("status").about("Lists each service, its state and its address");
    let logs = Command::new("logs")
        .about("Prints what the services logged")
        .arg(Arg::new("service").help("One of them alone: postgres, s3 or mlflow"))
        .arg(switch("follow", "Go on until Ctrl-C"));
    let doctor = Command::new("doctor")
        .about("Looks for the common faults and says what mends each; `yolo11 doctor` looks at the machine itself");
    Command::new("services")
        .about("Starts, watches and stops what a pipeline needs beside it")
        .after_help("  yolo11 services start\n  yolo11 services start --stack compose\n  yolo11 services status --json\n  yolo11 services logs mlflow --follow")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([
            start,
            stop,
            status.arg(stack()).arg(json_option()),
            logs.arg(stack()),
            doctor.arg(stack()).arg(json_option()),
        ])
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("start", matches)) => start(&*stack(matches)?, matches),
        Some(("stop", matches)) => stop(&*stack(matches)?, matches),
        Some(("status", matches)) => status(&*stack(matches)?, matches),
        Some(("logs", matches)) => logs(&*stack(matches)?, matches),
        Some(("doctor", matches)) => diagnose(&*stack(matches)?, matches),
        _ => Err(Failure::usage("`services` does nothing by itself", "start, stop, status, logs or doctor")),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn stack(matches: &ArgMatches) -> Result<Box<dyn Stack>, Failure> {
    let asked = matches.get_one::<String>("stack").cloned();
    let named = asked.or_else(|| variable(STACK_VARIABLE)).unwrap_or_else(|| StackName::Embedded.as_str().to_owned());
    match StackName::parse(&named) {
        Some(StackName::Embedded) => Ok(Box::new(Embedded::new(".", Box::new(variable)))),
        Some(StackName::Compose) => Ok(Box::new(Compose::new(".", Box::new(variable)))),
        None => {
            let expected = "expected embedded or compose";
            Err(Failure::Services(Error::Variable { name: STACK_VARIABLE, value: named, expected }))
        }
    }
}

fn announce(event: Event) {
    terminal::say(&event.to_string());
}

fn start(stack: &dyn Stack, matches: &ArgMatches) -> Result<(), Failure> {
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(180);
    let options = StartOptions { deadline: Duration::from_secs(seconds) };
    let flag = stop_flag("stopping what was started")?;
    let services = stack.start(&options, &mut announce, &flag)?;
    initialise_data_repository();
    terminal::print(&table(&services))?;
    terminal::say(
        "\nNext:\n  yolo11 train …            # with .env in this folder runs are tracked here\n  yolo11 services stop      # the data stays",
    );
    Ok(())
}

/// The last step of a start: the project's data can be versioned from now on. That it cannot be set up is no reason to fail.
fn initialise_data_repository() {
    if Path::new(".dvc").exists() {
        return terminal::say("data repository: .dvc is there already");
    }
    match yolo11_versioning::init(Path::new("."), !Path::new(".git").exists()) {
        Ok(()) => terminal::say("data repository: made in .dvc; next `yolo11 data add data`"),
        Err(error) => terminal::say(&format!("data repository: not made: {error}")),
    }
}

fn stop(stack: &dyn Stack, matches: &ArgMatches) -> Result<(), Failure> {
    let volumes = match matches.get_flag("volumes") {
        false => Volumes::Keep,
        true if matches.get_flag("yes") || confirmed()? => Volumes::Delete,
        true => {
            terminal::say("nothing was stopped or deleted");
            return Ok(());
        }
    };
    Ok(stack.stop(volumes, &mut announce)?)
}

/// Asks whether the data may go. Errors: nobody is there to ask.
fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let hint = "add --yes to delete every run, artifact and data version in this stack for good";
        return Err(Failure::usage("--volumes asks first, and there is no terminal to ask on", hint));
    }
    terminal::say("This deletes every tracked run and artifact of this stack for good. Type yes to go on:");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn status(stack: &dyn Stack, matches: &ArgMatches) -> Result<(), Failure> {
    let services = stack.status()?;
    if wants_json(matches) {
        let services: Vec<_> = services.iter().map(Service::to_json).collect();
        return terminal::print_json(&json!({"stack": stack.name().as_str(), "services": services}));
    }
    terminal::print(&table(&services))
}

fn table(services: &[Service]) -> String {
    let row = |service: &Service| {
        let row = format!("{:<9} {:<10} {}", service.name, service.state_word(), service.url);
        let detail = service.detail();
        if detail.is_empty() { format!("{row}\n") } else { format!("{row}  ({detail})\n") }
    };
    services.iter().map(row).collect()
}

fn logs(stack: &dyn Stack, matches: &ArgMatches) -> Result<(), Failure> {
    let service = matches.get_one::<String>("service").map(String::as_str);
    match stack.logs(service, matches.get_flag("follow"), &mut io::stdout().lock()) {
        // As in `yolo11 services logs | head`.
        Err(Error::Run { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn diagnose(stack: &dyn Stack, matches: &ArgMatches) -> Result<(), Failure> {
    let mut findings = doctor::environment(&variable);
    findings.extend(stack.diagnose());
    match wants_json(matches) {
        true => terminal::print_json(&findings.iter().map(Finding::to_json).collect())?,
        false => terminal::print(&findings.iter().map(Finding::to_string).collect::<String>())?,
    }
    match findings.iter().filter(|finding| finding.is_fault()).count() {
        0 => Ok(()),
        faults => Err(Failure::Faults(faults)),
    }
}
