//! Whole command runs: exit code, stdout, stderr.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An empty folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("yolo11-cli-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug, PartialEq)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn yolo11_in(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_yolo11")).args(arguments).current_dir(folder).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn yolo11(arguments: &[&str]) -> Ran {
    yolo11_in(&std::env::temp_dir(), arguments)
}

fn refused(code: i32, stderr: &str) -> Ran {
    Ran { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() }
}

#[test]
fn help_lists_the_subcommands_and_says_how_settings_are_written() {
    let ran = yolo11(&["--help"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for word in [
        "train",
        "val",
        "predict",
        "export",
        "info",
        "init",
        "services",
        "config",
        "data",
        "benchmark",
        "doctor",
        "tracking",
        "completion",
        "version",
    ] {
        assert!(ran.stdout.lines().any(|line| line.trim_start().starts_with(&format!("{word} "))), "{word}");
    }
    assert!(ran.stdout.contains("yolo11 train configs/training_config.yaml epochs=3"), "{}", ran.stdout);

    let ran = yolo11(&["train", "--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("  epochs             Passes over the training pictures [100]\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("  mosaic             Chance of a mosaic of four pictures [1]\n"), "{}", ran.stdout);
}

#[test]
fn version_is_data() {
    assert_eq!(yolo11(&["--version"]).stdout, format!("yolo11 {}\n", env!("CARGO_PKG_VERSION")));
    assert!(yolo11(&["version"]).stdout.starts_with(&format!("yolo11 {} (", env!("CARGO_PKG_VERSION"))));
    let version: serde_json::Value = serde_json::from_str(&yolo11(&["version", "--json"]).stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn wrong_usage_ends_with_2() {
    assert_eq!(yolo11(&["trian"]), refused(2, "error: no subcommand `trian`\nhint: did you mean `yolo11 train`?\n"));
    assert_eq!(
        yolo11(&[]),
        refused(
            2,
            "error: no subcommand\nhint: `yolo11 --help` lists them; the first to try is `yolo11 train data=demo`\n"
        )
    );
    assert_eq!(
        yolo11(&["train", "--nonsense", "3"]),
        refused(
            2,
            "error: no option `--nonsense`\nhint: settings are written key=value; `yolo11 config` lists every key\n"
        )
    );
    assert_eq!(
        yolo11(&["train", "--epochs"]),
        refused(2, "error: `--epochs` has no value\nhint: write epochs=value\n")
    );
    assert_eq!(
        yolo11(&["train", "a.yaml", "cfg=b.yaml"]),
        refused(
            2,
            "error: two settings files: `a.yaml` and `b.yaml`\nhint: give one file, and what differs from it as key=value\n"
        )
    );
    let ran = yolo11(&["completion", "tcsh"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(2), "error: invalid value 'tcsh' for '<shell>'\nhint: add --help to see what the command takes\n")
    );
}

#[test]
fn wrong_settings_end_with_3_and_name_the_place() {
    assert_eq!(
        yolo11(&["train", "epoch=3"]),
        refused(3, "error: argument `epoch=3`: unknown key `epoch`\nhint: did you mean `epochs`?\n")
    );
    assert_eq!(
        yolo11(&["train", "--epoch=3"]),
        refused(3, "error: argument `epoch=3`: unknown key `epoch`\nhint: did you mean `epochs`?\n")
    );
    assert_eq!(
        yolo11(&["val", "iou=high"]),
        refused(3, "error: argument `iou=high`: `iou` must be a number, 0 to 1; got `high`\n")
    );
    assert_eq!(
        yolo11(&["train", "epochs", "3"]),
        refused(2, "error: argument `epochs` is neither key=value nor a YAML file\nhint: write epochs=value\n")
    );

    let folder = Folder::new("wrong");
    folder.write("c.yaml", "training:\n  epochs: 100\n  augmentation: {mosaic: 2}\n");
    assert_eq!(
        yolo11_in(&folder.0, &["train", "c.yaml"]),
        refused(3, "error: c.yaml:3:26: `mosaic` must be a number, 0 to 1; got `2`\n")
    );
    folder.write("c.yaml", "training:\n  epochs: 100\n  batchsize: 4\n");
    assert_eq!(
        yolo11_in(&folder.0, &["train", "config=c.yaml", "epochs=1"]),
        refused(3, "error: c.yaml:3:3: unknown key `batchsize`\nhint: did you mean `batch_size`?\n")
    );
    folder.write("c.yaml", "training:\n  epochs: [1\n");
    let ran = yolo11_in(&folder.0, &["train", "c.yaml"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.starts_with("error: c.yaml:3:1: "), "{}", ran.stderr);
    let ran = yolo11_in(&folder.0, &["train", "missing.yaml"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.starts_with("error: cannot read `missing.yaml`: "), "{}", ran.stderr);
}

#[test]
fn what_to_work_on_must_be_named() {
    let no_data = "error: no `data`: which pictures to use is not set\n\
                   hint: give data=path/to/dataset.yaml, or data=demo for a small set that is generated on the spot\n";
    assert_eq!(yolo11(&["train"]), refused(3, no_data));
    assert_eq!(yolo11(&["val", "model=yolo11n"]), refused(3, no_data));
    assert_eq!(
        yolo11(&["predict"]),
        refused(
            3,
            "error: no `source`: which pictures to look at is not set\n\
             hint: give source=PICTURE, a folder, a pattern such as 'photos/*.jpg', or a .txt list\n"
        )
    );
    assert_eq!(
        yolo11(&["train", "data=demo", "model=yolo11n.pt"]),
        refused(
            3,
            "error: no weights file `yolo11n.pt`; looked in ., models/\n\
             hint: weights are not downloaded; put the file there, or give model=yolo11n for a random start\n"
        )
    );
}

#[test]
fn config_lists_every_setting() {
    let ran = yolo11(&["config"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(
        ran.stdout.starts_with("training: the run itself\n  model             Network or weights: "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("default 0.01; a number, 0 to 1\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "no colour where nobody looks");

    let list: serde_json::Value = serde_json::from_str(&yolo11(&["config", "--json"]).stdout).unwrap();
    assert!(list.as_array().unwrap().iter().any(|setting| setting["name"] == "epochs" && setting["default"] == 100));
    assert_eq!(
        yolo11(&["config", "lr"]).stdout,
        "lr0: Learning rate at the start\n  default: 0.01; chosen by optimizer=auto\n  allowed: a number, 0 to 10\n  \
         section: training.optimizer\n  aliases: lr, learning_rate\n"
    );
}

#[test]
fn config_shows_what_a_run_would_see() {
    let folder = Folder::new("see");
    folder.write("c.yaml", "training: {epochs: 100, img_size: 320}\n");
    let ran = yolo11_in(&folder.0, &["config", "c.yaml", "--epochs", "3", "--cos-lr"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in ["epochs: 3\n", "imgsz: 320\n", "cos_lr: true\n", "given: [cos_lr, epochs, imgsz]\n"] {
        assert!(ran.stdout.contains(line), "{line:?} in {}", ran.stdout);
    }
    let values: serde_json::Value =
        serde_json::from_str(&yolo11_in(&folder.0, &["config", "c.yaml", "--json"]).stdout).unwrap();
    assert_eq!((&values["epochs"], &values["hsv_h"]), (&serde_json::json!(100), &serde_json::json!(0.015)));
}

#[test]
fn init_lays_out_a_project_and_keeps_what_is_there() {
    let folder = Folder::new("init");
    let ran = yolo11_in(&folder.0, &["init", "my-project"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.stderr.contains("wrote my-project/configs/training_config.yaml\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nNext:\n  cd my-project\n  yolo11 train data=demo"), "{}", ran.stderr);
    let project = folder.0.join("my-project");
    for name in ["configs", "data", "models", "runs", "logs"] {
        assert!(project.join(name).is_dir(), "{name}");
    }
    for name in [".env", ".gitignore", "data/dataset.yaml", "data/README.md", "services/compose.yaml"] {
        assert!(std::fs::read_to_string(project.join(name)).unwrap().len() > 40, "{name}");
    }
    let ran = yolo11_in(&project, &["config", "configs/training_config.yaml"]);
    assert!(ran.stdout.contains("optimizer: AdamW\nlr0: 0.001\n"), "{}", ran.stderr);

    std::fs::write(project.join(".env"), "MINE=1\n").unwrap();
    std::fs::remove_file(project.join("data/README.md")).unwrap();
    let ran = yolo11_in(&folder.0, &["init", "my-project"]);
    assert!(ran.stderr.contains("kept  my-project/.env\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("wrote my-project/data/README.md\n"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(project.join(".env")).unwrap(), "MINE=1\n");
    let ran = yolo11_in(&project, &["init"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.ends_with("everything was there already; nothing was changed\n"), "{}", ran.stderr);
}

#[test]
fn init_says_what_stands_in_its_way() {
    let folder = Folder::new("blocked");
    folder.write("taken", "a file");
    let ran = yolo11_in(&folder.0, &["init", "taken"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.starts_with("error: cannot write `taken/configs`: "), "{}", ran.stderr);
    assert!(
        ran.stderr.ends_with("hint: a file stands where a folder should; choose another folder\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn completion_scripts_name_every_key() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = yolo11(&["completion", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        for setting in yolo11_config::table() {
            assert!(ran.stdout.contains(setting.name), "{} for {shell}", setting.name);
        }
    }
}

#[test]
fn bash_completes_subcommands_keys_and_values() {
    let script = yolo11(&["completion", "bash"]).stdout;
    let folder = Folder::new("bash");
    folder.write("completion.bash", &script);
    folder.write("my.yaml", "");
    let complete = |line: &str, words: &[&str]| {
        let words_in_bash = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let program = format!(
            "source completion.bash; COMP_WORDS=({words_in_bash}); COMP_CWORD={}; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; \
             _yolo11; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let output = Command::new("bash").args(["--norc", "-c", &program]).current_dir(&folder.0).output();
        output.ok().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Some(subcommands) = complete("yolo11 tr", &["yolo11", "tr"]) else {
        eprintln!("skipped: no bash");
        return;
    };
    assert_eq!(subcommands, "train\ntracking\n");
    assert_eq!(complete("yolo11 train epo", &["yolo11", "train", "epo"]).unwrap(), "epochs=\n");
    assert_eq!(
        complete("yolo11 train optimizer=A", &["yolo11", "train", "optimizer", "=", "A"]).unwrap(),
        "Adam\nAdamW\n"
    );
    assert_eq!(complete("yolo11 train my", &["yolo11", "train", "my"]).unwrap(), "my.yaml\n");
    assert_eq!(complete("yolo11 train data=my", &["yolo11", "train", "data", "=", "my"]).unwrap(), "my.yaml\n");
    assert_eq!(complete("yolo11 completion z", &["yolo11", "completion", "z"]).unwrap(), "zsh\n");
}

#[test]
fn no_color_is_heard_and_pipes_are_never_coloured() {
    for value in ["1", ""] {
        let output = Command::new(env!("CARGO_BIN_EXE_yolo11"))
            .args(["train", "epoch=1"])
            .env("NO_COLOR", value)
            .output()
            .unwrap();
        assert!(!output.stderr.contains(&0x1b));
    }
    // A terminal of its own, where the system has a tool for that.
    let on_terminal = |no_color: &str| {
        let command = format!("{} train epoch=1", env!("CARGO_BIN_EXE_yolo11"));
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output();
        output
            .ok()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .filter(|text| text.contains("epoch"))
    };
    let Some(coloured) = on_terminal("") else {
        eprintln!("skipped: no `script`");
        return;
    };
    assert!(coloured.contains("\u{1b}[1;31merror:\u{1b}[0m argument"), "{coloured:?}");
    let plain = on_terminal("1").unwrap_or_default();
    assert!(plain.contains("error: argument") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[test]
fn a_reader_who_had_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_yolo11"))
        .args(["config"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn info_describes_every_scale_and_number_of_classes() {
    let info = |arguments: &[&str]| -> serde_json::Value {
        let ran = yolo11(&[&["info", "batch=1", "imgsz=64", "--json"], arguments].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        serde_json::from_str(&ran.stdout).unwrap()
    };
    for (model, parameters) in [("yolo11n", 2_624_080), ("yolov11s", 9_458_752)] {
        let found = info(&[&format!("model={model}")]);
        assert_eq!((&found["parameters"], &found["classes"]), (&parameters.into(), &80.into()));
    }
    assert_eq!(info(&["classes=3"])["classes"], 3);
    let ran = yolo11(&["info", "batch=1", "imgsz=64"]);
    assert!(ran.stdout.contains("\nparameters  2,624,080 in 499 tensors\n"), "{}", ran.stdout);
}

#[test]
fn benchmarks_are_a_table_or_json() {
    let arguments = ["benchmark", "infer", "batch=1", "imgsz=64", "--repeats", "2"];
    assert!(yolo11(&arguments).stdout.starts_with("infer yolo11n, batch 1, 64 px, "));
    let found: serde_json::Value =
        serde_json::from_str(&yolo11(&[&arguments[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(found["seconds"]["forward"]["repeats"], 2);
    assert!(found["seconds"]["forward"]["median"].as_f64().is_some_and(|median| median > 0.0));
}

#[test]
fn data_and_pictures_that_are_missing_are_named() {
    let folder = Folder::new("missing");
    let ran = yolo11_in(&folder.0, &["train", "data=nowhere.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("nowhere.yaml"), "{}", ran.stderr);
    let ran = yolo11_in(&folder.0, &["predict", "source=nowhere.jpg", "model=yolo11n"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert!(ran.stderr.contains("nowhere.jpg"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_ends_with_130() {
    let Some(shared) = std::env::var_os("YOLO11_SHARED") else {
        eprintln!("skipped: YOLO11_SHARED is not set");
        return;
    };
    let folder = Folder::new("stop");
    let data = format!("data={}", Path::new(&shared).join("data/bccd/dataset.yaml").display());
    let child = Command::new(env!("CARGO_BIN_EXE_yolo11"))
        .args(["train", &data, "imgsz=64", "batch=2", "epochs=1000", "workers=1"])
        .current_dir(&folder.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // args.yaml says that the training is about to begin.
    let started = std::time::Instant::now();
    while !folder.0.join("runs/train/args.yaml").exists() && started.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("\nstopping after this step and saving; Ctrl-C again stops at once\n"), "{stderr}");
    assert!(stderr.ends_with("hint: go on with resume=runs/train\n"), "{stderr}");
    assert!(folder.0.join("runs/train/weights/last.pt").metadata().unwrap().len() > 1_000_000);
}

#[test]
fn tracking_tells_where_nothing_was_tracked() {
    let folder = Folder::new("tracking");
    let ran = yolo11_in(&folder.0, &["tracking", "status"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", "no run here was tracked\n"));
    assert_eq!(yolo11_in(&folder.0, &["tracking", "status", "--json"]).stdout, "[]\n");
    std::fs::create_dir(folder.0.join("train")).unwrap();
    assert_eq!(
        yolo11_in(&folder.0, &["tracking", "sync", "train"]),
        refused(1, "error: train: nothing was tracked here\nhint: name a run's folder, such as runs/train\n")
    );
}
