//! `yolo11 data` on data sets, as whole commands: what is wrong, what it holds, what a training sees, other formats.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

/// A folder with the demo set in `set`, and a cache of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        yolo11_dataset::demo::generate(&place.path("set"), 0).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_yolo11"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs, and it must end well.
    fn well(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }
}

#[test]
fn check_names_each_fault_and_writes_page_and_copy() {
    let place = Place::new();
    let sound = place.well(&["data", "check", "set", "--json"]);
    assert_eq!((&sound.json()["errors"], &sound.json()["pictures"]["train"]), (&Value::from(0), &Value::from(240)));
    assert!(sound.stderr.contains("0 errors, "), "{}", sound.stderr);

    let label = place.path("set/labels/train/0003.txt");
    let text = fs::read_to_string(&label).unwrap();
    let line = text.lines().count() + 1;
    fs::write(&label, format!("{text}7 0.5 0.5 0.1 0.1\n")).unwrap();
    let ran = place.run(&["data", "check", "data=set/dataset.yaml", "--html=page.html"]);
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stdout.starts_with(&format!(
            "error label-class  A class that the description does not name (1)\n  set/labels/train/0003.txt:{line}: class 7 is out of range: \
             dataset.yaml names classes 0 to 2\n  fix: correct the row, or name the class in dataset.yaml\n"
        )),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.ends_with("page       page.html\nerror: the data has errors: 1\n"), "{}", ran.stderr);
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains(&format!("<code>labels/train/0003.txt:{line}</code>")));
    assert!(page.contains("data:image/jpeg;base64,/9j/"));

    // A settings file may say which data; the corrected copy is sound.
    fs::write(place.path("settings.yaml"), "data: set/dataset.yaml\nimgsz: 320\n").unwrap();
    let fixed = place.well(&["data", "check", "settings.yaml", "--fix", "fixed", "--json"]).json();
    assert_eq!((&fixed["errors"], &fixed["fixed"]["errors"]), (&Value::from(1), &Value::from(0)));
    assert_eq!(fs::read_to_string(&label).unwrap().lines().count(), line, "the original stays");
    let copy = fs::read_to_string(place.path("fixed/labels/train/0003.txt")).unwrap();
    assert_eq!(copy.lines().count(), line - 1);
    let again = place.run(&["data", "check", "set", "--fix", "fixed"]);
    assert_eq!(again.code, Some(3));
    assert!(
        again
            .stderr
            .ends_with("error: fixed exists and is not empty\nhint: name a new folder; nothing is written over\n"),
        "{}",
        again.stderr
    );
}

#[test]
fn stats_are_those_that_a_run_keeps_and_view_shows_what_it_sees() {
    let place = Place::new();
    let settings = ["data=set/dataset.yaml", "imgsz=64", "batch=8", "fraction=0.2", "seed=5", "epochs=1", "workers=1"];
    place.well(&[&["train"], &settings[..], &["tracking=false"]].concat());
    let run: Value =
        serde_json::from_str(&fs::read_to_string(place.path("runs/train/data_statistics.json")).unwrap()).unwrap();
    let stats = place.well(&[&["data", "stats", "--json", "--picture", "labels.jpg"], &settings[..]].concat()).json();
    assert_eq!((&stats["train"], &stats["val"]), (&run["training"], &run["validation"]));
    assert_eq!(
        (&stats["train"]["pictures"], &stats["train"]["classes"][1]["name"]),
        (&Value::from(48), &Value::from("coin"))
    );
    let same = |one: &str, other: &str| {
        let read = |name: &str| fs::read(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(read(one) == read(other), "{one} differs from {other}");
    };
    same("labels.jpg", "runs/train/labels.jpg");

    let shown = place.well(&[&["data", "view", "--augmented", "--count", "24"], &settings[..]].concat());
    let expected: String = (0..3).map(|number| format!("runs/view/train_batch{number}.jpg\n")).collect();
    assert_eq!(shown.stdout, expected);
    for number in 0..3 {
        same(&format!("runs/view/train_batch{number}.jpg"), &format!("runs/train/train_batch{number}.jpg"));
    }
    let plain = place.well(&["data", "view", "set", "split=val", "--class", "leaf", "--count", "20", "--json"]).json();
    assert_eq!(plain, serde_json::json!(["runs/view2/val_000.jpg", "runs/view2/val_001.jpg"]));
    let none = place.run(&["data", "view", "set", "--class", "tree"]);
    assert_eq!(none.code, Some(3));
    assert_eq!(
        none.stderr,
        "error: no class `tree`\nhint: the set has bottle, coin, leaf; a number from 0 serves too\n"
    );
}

#[test]
fn sets_go_to_other_formats_and_come_back() {
    let place = Place::new();
    let rows = |folder: &str| {
        let mut all: Vec<(PathBuf, Vec<String>)> = Vec::new();
        for split in ["train", "val"] {
            for entry in fs::read_dir(place.path(folder).join("labels").join(split)).unwrap() {
                let path = entry.unwrap().path();
                let text = fs::read_to_string(&path).unwrap();
                // To four digits: a thousandth of a pixel is rounded to whole ones.
                let rounded = |row: &str| {
                    let columns = row.split(' ').map(|column| format!("{:.4}", column.parse::<f64>().unwrap() + 1e-9));
                    columns.collect::<Vec<_>>().join(" ")
                };
                all.push((Path::new(split).join(path.file_name().unwrap()), text.lines().map(rounded).collect()));
            }
        }
        all.sort();
        all
    };
    let original: usize = rows("set").iter().map(|(_, rows)| rows.len()).sum();
    for format in ["coco", "voc", "labelme", "cvat", "csv", "roboflow", "yolo"] {
        let (out, back) = (format!("{format}-out"), format!("{format}-back"));
        let made = place.well(&["data", "export", format, "set", &out, "--json"]).json();
        assert_eq!(made["objects"], original, "{format}");
        let made = place.well(&["data", "import", format, &out, &back, "--names", "bottle,coin,leaf", "--json"]).json();
        assert_eq!((&made["objects"], &made["findings"]), (&Value::from(original), &serde_json::json!([])), "{format}");
        assert_eq!(made["classes"], serde_json::json!(["bottle", "coin", "leaf"]), "{format}");
        if format != "voc" {
            assert_eq!(rows(&back).len(), rows("set").len(), "{format}");
        }
    }
    let ran = place
        .well(&["data", "split", "set", "parts", "--val", "0.25", "--test", "0.25", "--seed", "3", "--link", "copy"]);
    assert!(ran.stderr.starts_with("parts/dataset.yaml: "), "{}", ran.stderr);
    let counted = place.well(&["data", "stats", "parts", "--json"]).json();
    let pictures = ["train", "val", "test"].map(|split| counted[split]["pictures"].as_u64().unwrap());
    assert_eq!(pictures.iter().sum::<u64>(), 300);
    assert!(pictures[0].abs_diff(150) <= 6, "{pictures:?}");
    place.well(&["data", "filter", "parts", "coins", "--classes", "coin", "--splits", "train,val", "--no-backgrounds"]);
    place.well(&["data", "remap", "coins", "money", "coin=money"]);
    place.well(&["data", "sample", "money", "few", "--count", "5"]);
    let few = place.well(&["data", "merge", "few", "set", "all", "--json"]).json();
    assert_eq!(
        (&few["classes"], &few["pictures"]),
        (&serde_json::json!(["money", "bottle", "coin", "leaf"]), &serde_json::json!({"train": 245, "val": 65}))
    );

    let usage = |arguments: &[&str], message: &str| {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message), "{arguments:?}");
    };
    usage(&["data", "sample", "set", "x"], "error: how many?\nhint: give --count N or --fraction SHARE\n");
    usage(
        &["data", "remap", "set", "x", "coin"],
        "error: `coin` maps nothing\nhint: write OLD=NEW, or OLD= to drop a class\n",
    );
    let ran = place.run(&["data", "import", "voc", "nowhere", "x"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.starts_with("error: cannot read nowhere: "), "{}", ran.stderr);
    assert!(!place.path("x").exists());
}
