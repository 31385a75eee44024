//! Several processes that train together, started as launchers start them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use yolo11_pipeline::state::{self, SavedTraining};
use yolo11_test_servers::{free_port, python};

/// A small training: batches of five pictures, which two or three processes cannot share equally, and a last one of three.
const TRAINING: [&str; 14] = [
    "train",
    "data=demo",
    "epochs=3",
    "batch=5",
    "imgsz=64",
    "fraction=0.12",
    "nbs=10",
    "optimizer=SGD",
    "lr0=0.01",
    "close_mosaic=1",
    "warmup_epochs=0",
    "workers=1",
    "plots=false",
    "tracking=off",
];
/// Patience with a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yolo11"));
    command.args(TRAINING).args(arguments).current_dir(folder).env("NO_COLOR", "1");
    command
}

/// One process of a training of `size`, as `torchrun` would start it.
fn start(folder: &Path, arguments: &[&str], (rank, size, port): (usize, usize, u16)) -> Child {
    let mut command = command(folder, arguments);
    for (name, value) in [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", size), ("LOCAL_WORLD_SIZE", size)] {
        command.env(name, value.to_string());
    }
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn start_all(folder: &Path, arguments: &[&str], size: usize) -> Vec<Child> {
    let port = free_port();
    (0..size).map(|rank| start(folder, arguments, (rank, size, port))).collect()
}

fn ends(children: Vec<Child>) -> Vec<Output> {
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn saved(folder: &Path, name: &str) -> SavedTraining {
    state::load(&folder.join("runs").join(name).join("weights/last.state.safetensors")).unwrap()
}

/// Losses and mAP50 of each epoch.
fn figures(folder: &Path, name: &str) -> Vec<Vec<f64>> {
    let table = std::fs::read_to_string(folder.join("runs").join(name).join("results.csv")).unwrap();
    let row = |line: &str| line.split(',').skip(2).take(3).map(|cell| cell.trim().parse().unwrap()).collect();
    table.lines().skip(1).map(row).collect()
}

/// Largest difference of the parameters, as a share of the largest parameter.
fn distance(a: &SavedTraining, b: &SavedTraining) -> f32 {
    let (mut largest, mut difference) = (0f32, 0f32);
    for (index, spec) in a.model.network().tensors().iter().enumerate() {
        if spec.kind.is_parameter() {
            for (one, other) in a.model.tensor(index).iter().zip(b.model.tensor(index)) {
                largest = largest.max(one.abs());
                difference = difference.max((one - other).abs());
            }
        }
    }
    difference / largest
}

#[test]
fn several_processes_learn_what_one_would() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let alone = command(folder, &["epochs=1", "name=alone"]).output().unwrap();
    assert!(alone.status.success(), "{}", text(&alone.stderr));
    let wanted = figures(folder, "alone");
    assert_eq!(wanted.len(), 1);
    for size in [2, 3] {
        let name = format!("of{size}");
        let ended = ends(start_all(folder, &["epochs=1", &format!("name={name}")], size));
        for (rank, output) in ended.iter().enumerate() {
            assert!(output.status.success(), "process {rank}: {}", text(&output.stderr));
            // Only the leader tells.
            assert_eq!(output.stdout.is_empty() && output.stderr.is_empty(), rank > 0, "process {rank}: {output:?}");
        }
        let told = text(&ended[0].stderr);
        assert!(told.contains(&format!("processes  {size}, each learns its share of a batch's 5 pictures")), "{told}");
        assert!(text(&ended[0].stdout).contains("mAP50"), "{}", text(&ended[0].stdout));
        for (epoch, (row, wanted)) in figures(folder, &name).iter().zip(&wanted).enumerate() {
            for (figure, wanted) in row.iter().zip(wanted) {
                // Sums in another order: an epoch agrees to rounding, which grows from there on.
                assert!((figure / wanted - 1.0).abs() < 5e-5, "epoch {epoch} with {size}: {row:?}, alone {wanted:?}");
            }
        }
        let distance = distance(&saved(folder, "alone"), &saved(folder, &name));
        assert!(distance < 2e-5, "{size} processes: parameters differ by {distance}");
    }
    // Without common statistics they learn something else: the comparison above can fail.
    let apart = ends(start_all(folder, &["epochs=1", "name=apart", "sync_bn=false"], 2));
    assert!(apart.iter().all(|output| output.status.success()));
    let distance = distance(&saved(folder, "alone"), &saved(folder, "apart"));
    assert!(distance > 5e-4, "with statistics of their own: {distance}");
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rows_of(folder: &Path, name: &str) -> usize {
    let table = folder.join("runs").join(name).join("results.csv");
    std::fs::read_to_string(table).map_or(0, |text| text.lines().count())
}

fn signal(name: &str, child: &Child) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_stop_of_one_stops_all_and_resuming_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let long = ["epochs=12", "name=straight"];
    assert!(ends(start_all(folder, &long, 2)).iter().all(|output| output.status.success()));
    let children = start_all(folder, &["epochs=12", "name=stopped"], 2);
    wait_for("the third row", || rows_of(folder, "stopped") >= 3);
    // The one that does not save is asked to stop.
    signal("-INT", &children[1]);
    let ended = ends(children);
    for (rank, output) in ended.iter().enumerate() {
        assert_eq!(output.status.code(), Some(130), "process {rank}: {}", text(&output.stderr));
    }
    let state = saved(folder, "stopped");
    assert!((2..12).contains(&state.counters.epoch), "stopped in epoch {}", state.counters.epoch);
    let resumed = ends(start_all(folder, &["epochs=12", "resume=runs/stopped"], 2));
    assert!(resumed.iter().all(|output| output.status.success()), "{}", text(&resumed[0].stderr));
    let (straight, resumed) = (saved(folder, "straight"), saved(folder, "stopped"));
    assert_eq!(resumed.counters.iteration, straight.counters.iteration);
    assert!(resumed.model == straight.model, "the weights differ");
    assert!(resumed.average == straight.average, "the average differs");
}

#[test]
fn a_process_that_dies_and_one_with_another_command_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut children = start_all(folder, &["epochs=500", "name=dies"], 2);
    wait_for("the first epoch", || rows_of(folder, "dies") >= 2);
    children[1].kill().unwrap();
    let ended = ends(children);
    let told = text(&ended[0].stderr);
    assert_eq!(ended[0].status.code(), Some(1), "{told}");
    assert!(told.contains("process 1 of 2 (127.0.0.1:"), "{told}");
    assert!(told.contains("hint: its own messages tell more; go on from what process 0 has saved"), "{told}");
    assert!(saved(folder, "dies").counters.epoch >= 1);

    let port = free_port();
    let leader = start(folder, &["name=other"], (0, 2, port));
    let ended = ends(vec![leader, start(folder, &["name=other", "epochs=9"], (1, 2, port))]);
    assert_eq!(ended[1].status.code(), Some(3));
    let told = text(&ended[1].stderr);
    assert!(
        told.contains("process 1: what it was asked for differs from that of process 0: epochs=9, there epochs=3"),
        "{told}"
    );
    assert_eq!(ended[0].status.code(), Some(1));
    assert!(text(&ended[0].stderr).contains("it ended: process 1: what it was asked for differs"), "{:?}", ended[0]);

    let few = ends(start_all(folder, &["batch=1", "name=few"], 2));
    let told = text(&few[0].stderr);
    assert_eq!(few[0].status.code(), Some(3), "{told}");
    assert!(told.contains("batch=1 cannot be shared by 2 processes\nhint: a batch is that of all"), "{told}");
}

/// An epoch of [`TRAINING`] by two processes of a launcher, under the name `launched`.
fn two_have_trained(output: &Output, folder: &Path) {
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("processes  2, each learns its share of a batch's 5 pictures"), "{told}");
    assert_eq!(saved(folder, "launched").counters.epoch, 1);
}

#[test]
fn torchrun_starts_them() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_yolo11"));
    let output = Command::new(python)
        .args(["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port", &port, "--no-python"])
        .arg(program)
        .args(TRAINING)
        .args(["epochs=1", "name=launched"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    two_have_trained(&output, folder.path());
}

#[test]
fn mpirun_starts_them() {
    if Command::new("mpirun").arg("--version").output().is_err() {
        eprintln!("skipped: `mpirun` is not installed (Debian's openmpi-bin)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = format!("MASTER_PORT={}", free_port());
    let output = Command::new("mpirun")
        .args(["-n", "2", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"])
        .args(["-x", "MASTER_ADDR=127.0.0.1", "-x", &port])
        .arg(env!("CARGO_BIN_EXE_yolo11"))
        .args(TRAINING)
        .args(["epochs=1", "name=launched"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    two_have_trained(&output, folder.path());
}
