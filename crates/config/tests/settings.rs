//! Settings from files and arguments: values, precedence, and the messages for what is wrong.

use std::path::{Path, PathBuf};

use yolo11_config::{
    Batch, Cache, Device, Freeze, ModelScale, ModelSource, OptimizerName, Pretrained, Resume, Settings, table,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn from_yaml(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    settings.apply_yaml(text, Path::new("c.yaml")).map_err(|error| error.to_string())?;
    Ok(settings)
}

fn from_arguments(arguments: &[&str]) -> Result<Settings, String> {
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Settings::load(None, &arguments).map_err(|error| error.to_string())
}

/// The settings file as users of the project bring it, word for word.
const AS_IT_STANDS: &str = "training:
  model_name: yolov11n
  epochs: 100
  batch_size: 4
  img_size: 640
  device: cuda            # where there is none: a clear note, then the CPU, unless strict_device is set
  workers: 4
  optimizer: {name: AdamW, lr: 0.001, weight_decay: 0.0005}
  augmentation: {hsv_h: 0.015, hsv_s: 0.7, hsv_v: 0.4, degrees: 0.0, translate: 0.1, scale: 0.5, shear: 0.0, fliplr: 0.5, mosaic: 0.0, mixup: 0.0}
dataset: {data_yaml: data/dataset.yaml}
mlflow: {experiment_name: yolov11-training, run_name: first, tags: {team: vision}}
";

#[test]
fn the_file_of_the_repository_works_as_it_stands() {
    let path = repository().join("configs/training_config.yaml");
    let settings = Settings::load(Some(&path), &["epochs=3".to_owned()]).unwrap();
    let mut expected = from_yaml(AS_IT_STANDS).unwrap();
    expected.apply_argument("epochs=3").unwrap();
    assert_eq!(settings, expected);

    assert_eq!(settings.model, ModelSource::Scale(ModelScale::Nano));
    assert_eq!((settings.epochs, settings.batch, settings.imgsz), (3, Batch::Images(4), 640));
    assert_eq!((&settings.device, settings.strict_device, settings.workers), (&Device::Cuda(vec![0]), false, 4));
    assert_eq!((settings.optimizer, settings.lr0, settings.weight_decay), (OptimizerName::AdamW, 0.001, 0.0005));
    assert_eq!((settings.augmentation.mosaic, settings.augmentation.hsv_s), (0.0, 0.7));
    assert_eq!(settings.data.as_deref(), Some("data/dataset.yaml"));
    assert_eq!(settings.mlflow.run_name.as_deref(), Some("first"));
    assert_eq!(settings.name, None, "the run's name on the server is not the run's folder");
    assert_eq!(settings.mlflow.tags["team"], "vision");
    assert!(settings.is_given("lr0") && settings.is_given("epochs") && !settings.is_given("lrf"));
}

#[test]
fn defaults_are_those_of_the_reference() {
    let settings = Settings::default();
    assert_eq!((settings.epochs, settings.batch, settings.imgsz, settings.nbs), (100, Batch::Images(16), 640, 64));
    assert_eq!((settings.lr0, settings.lrf, settings.momentum, settings.weight_decay), (0.01, 0.01, 0.937, 0.0005));
    assert_eq!((settings.warmup_epochs, settings.warmup_momentum, settings.warmup_bias_lr), (3.0, 0.8, 0.1));
    assert_eq!((settings.gains.bbox, settings.gains.cls, settings.gains.dfl), (7.5, 0.5, 1.5));
    assert_eq!((settings.patience, settings.save_period, settings.close_mosaic), (100, -1, 10));
    assert_eq!((settings.iou, settings.max_det, settings.conf), (0.7, 300, None));
    assert!((1..=8).contains(&settings.workers) && settings.threads >= 1);
    assert!(table().all(|setting| !settings.is_given(setting.name)));
}

#[test]
fn flat_files_in_the_style_of_the_reference_work() {
    let text = "task: detect\nmode: train\nmodel: yolo11s.yaml\ndata: a.yaml\nimgsz: 320\nbatch: -1\nlr0: 1e-3\ndevice:\nfreeze: 10\n\
                cache: True\nname: exp 1\nbox: 7\nmosaic: 0\noverlap_mask: true\nresume: false\ntime: null\ncopy_paste: 0.0\n";
    let settings = from_yaml(text).unwrap();
    assert_eq!(settings.model, ModelSource::Scale(ModelScale::Small));
    assert_eq!((settings.imgsz, settings.batch, settings.lr0), (320, Batch::Automatic, 0.001));
    assert_eq!((&settings.device, settings.cache, settings.gains.bbox), (&Device::Auto, Cache::Ram, 7.0));
    assert_eq!((settings.name.as_deref(), settings.freeze.modules().len()), (Some("exp 1"), 10));
    assert!(!settings.is_given("device") && !settings.is_given("time"));
    let untracked = from_yaml("mlflow: off\n").unwrap();
    assert!(untracked.is_given("tracking") && !untracked.tracking);
}

#[test]
fn arguments_win_over_the_file_and_later_ones_over_earlier() {
    let mut settings = from_yaml("epochs: 5\ntraining: {imgsz: 320}\n").unwrap();
    for argument in ["epochs=6", "training.epochs=7", "optimizer.lr=0.5", "mlflow.run_name=b", "classes=[0, 2]"] {
        settings.apply_argument(argument).unwrap();
    }
    assert_eq!((settings.epochs, settings.imgsz, settings.lr0), (7, 320, 0.5));
    assert_eq!((settings.mlflow.run_name.as_deref(), settings.classes.as_slice()), (Some("b"), [0, 2].as_slice()));
    settings.apply_argument("classes=None").unwrap();
    assert!(settings.classes.is_empty() && !settings.is_given("classes"));
}

#[test]
fn a_device_is_read_in_every_form_people_write_and_an_argument_means_it() {
    for (text, numbers, shown) in [
        ("cuda", vec![0], "cuda:0"),
        ("gpu", vec![0], "cuda:0"),
        ("cuda:0", vec![0], "cuda:0"),
        ("CUDA:3", vec![3], "cuda:3"),
        ("0", vec![0], "cuda:0"),
        ("[1]", vec![1], "cuda:1"),
        ("0,1", vec![0, 1], "cuda:0,1"),
        ("[0, 1]", vec![0, 1], "cuda:0,1"),
        ("cuda:0,1", vec![0, 1], "cuda:0,1"),
        ("cuda:1, cuda:0", vec![1, 0], "cuda:1,0"),
    ] {
        let argued = from_arguments(&[&format!("device={text}")]).unwrap();
        assert_eq!((&argued.device, argued.strict_device), (&Device::Cuda(numbers.clone()), true), "{text}");
        let filed = from_yaml(&format!("device: {text}\n")).unwrap();
        assert_eq!((&filed.device, filed.strict_device), (&Device::Cuda(numbers), false), "{text}");
        assert_eq!(filed.device.to_string(), shown);
        // What args.yaml holds is the same again.
        assert_eq!(from_yaml(&filed.to_yaml()).unwrap(), filed);
        assert_eq!(from_yaml(&argued.to_yaml()).unwrap(), argued);
    }
    for arguments in [&["strict_device=false", "device=cuda"], &["device=cuda", "strict_device=false"]] {
        assert!(!from_arguments(arguments).unwrap().strict_device);
    }
    assert!(!from_arguments(&["device=cpu"]).unwrap().strict_device);
    let mut resumed = from_yaml("device: cuda\n").unwrap();
    resumed.overlay(&from_arguments(&["device=1"]).unwrap());
    assert_eq!((resumed.device, resumed.strict_device), (Device::Cuda(vec![1]), true));
    for text in ["0,0", "cuda:", "0,", "-1", "tpu"] {
        assert!(from_arguments(&[&format!("device={text}")]).is_err(), "{text}");
    }
}

#[test]
fn values_are_read_in_every_form_people_write() {
    let settings = from_arguments(&[
        "classes=1,2",
        "freeze=[0, 3]",
        "device=1",
        "cache=disk",
        "resume=runs/train/weights/last.pt",
        "pretrained=False",
        "optimizer=adamw",
        "tracking=on",
        "source=a, b.jpg",
        "name=0123",
        "mlflow.tags={team: vision, n: 3}",
        "iou=.5",
    ])
    .unwrap();
    assert_eq!((settings.classes.as_slice(), settings.freeze), ([1, 2].as_slice(), Freeze::Modules(vec![0, 3])));
    assert_eq!((settings.device, settings.cache), (Device::Cuda(vec![1]), Cache::Disk));
    assert_eq!(settings.resume, Resume::From("runs/train/weights/last.pt".into()));
    assert_eq!((settings.pretrained, settings.optimizer), (Pretrained::No, OptimizerName::AdamW));
    assert_eq!((settings.tracking, settings.iou, settings.name.as_deref()), (true, 0.5, Some("0123")));
    assert_eq!(settings.source, ["a, b.jpg"]);
    assert_eq!(settings.mlflow.tags["n"], "3");
}

#[test]
fn args_yaml_gives_the_same_settings_back() {
    let mut settings = from_yaml(AS_IT_STANDS).unwrap();
    for argument in [
        "name=true",
        "project=a: b #c",
        "conf=0.1",
        "classes=3",
        "freeze=2",
        "source=[x.jpg, 'y, z']",
        "batch=-1",
        "seed=7",
    ] {
        settings.apply_argument(argument).unwrap();
    }
    let text = settings.to_yaml();
    for line in ["lr0: 0.001\n", "hsv_h: 0.015\n", "name: \"true\"\n", "mlflow.tags: {team: vision}\n", "time: null\n"]
    {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert_eq!(from_yaml(&text).unwrap(), settings);
    assert!(settings.values().any(|pair| pair == ("name", "true".to_owned())));
    assert_eq!(from_yaml(&Settings::default().to_yaml()).unwrap(), Settings::default());
}

#[test]
fn a_resumed_run_keeps_its_settings_but_for_those_given_anew() {
    let mut saved = from_arguments(&["epochs=50", "imgsz=320"]).unwrap();
    saved.overlay(&from_arguments(&["epochs=60", "resume=true"]).unwrap());
    assert_eq!((saved.epochs, saved.imgsz, saved.resume), (60, 320, Resume::Latest));
}

#[test]
fn every_fault_of_a_file_names_its_line_and_what_would_mend_it() {
    for (text, message) in [
        ("training:\n  epoch: 3\n", "c.yaml:2:3: unknown key `epoch`\nhint: did you mean `epochs`?"),
        ("zzzzzz: 3\n", "c.yaml:1:1: unknown key `zzzzzz`\nhint: `yolo11 config` lists every key"),
        ("training:\n  epochs: ten\n", "c.yaml:2:11: `epochs` must be a whole number, 1 to 1000000; got `ten`"),
        ("epochs: 0\n", "c.yaml:1:9: `epochs` must be a whole number, 1 to 1000000; got `0`"),
        ("training: {augmentation: {mosaic: 1.5}}\n", "c.yaml:1:35: `mosaic` must be a number, 0 to 1; got `1.5`"),
        ("lr0: .nan\n", "c.yaml:1:6: `lr0` must be a number, 0 to 10; got `.nan`"),
        ("lr0: [1, 2]\n", "c.yaml:1:6: `lr0` must be a number, 0 to 10; got `[1, 2]`"),
        (
            "imgsz: 500\n",
            "c.yaml:1:8: `imgsz` must be a whole number, 32 to 8192, a multiple of 32; got `500`\nhint: the next one is 512",
        ),
        ("training: {optimizer: RMS}\n", "c.yaml:1:23: `optimizer` must be one of auto, SGD, Adam, AdamW; got `RMS`"),
        (
            "model: yolo12n\n",
            "c.yaml:1:8: `model` must be yolo11n, yolo11s, yolo11m, yolo11l, yolo11x or the path of a .pt, .safetensors or .onnx file; got `yolo12n`",
        ),
        (
            "device: 0,0\n",
            "c.yaml:1:9: `device` must be auto, cpu, cuda, cuda:N or N (a CUDA device's number, or several as 0,1); got `0,0`\nhint: name each device once",
        ),
        ("epochs: 1\nepochs: 2\n", "c.yaml:2:1: `epochs` is given twice; first on line 1"),
        (
            "batch: 1\ntraining:\n  batch_size: 2\n",
            "c.yaml:3:3: `batch_size` was given already, as `batch` on line 1\nhint: keep one of the two",
        ),
        (
            "mlflow:\n  name: x\n",
            "c.yaml:2:3: `name` does not belong in `mlflow`\nhint: `name` is a setting of `output`",
        ),
        ("mlflow: 5\n", "c.yaml:1:9: `mlflow` must be true or false; got `5`"),
        ("training: 5\n", "c.yaml:1:11: `training` is a section: its settings stand below it, indented"),
        ("just text\n", "c.yaml:1:1: a settings file holds `key: value` lines"),
        ("task: segment\n", "c.yaml:1:7: `task=segment` is not supported\nhint: leave it out, or give detect"),
    ] {
        assert_eq!(from_yaml(text).unwrap_err(), message, "{text}");
    }
    assert!(from_yaml("a: [1,\nb: 2\n").unwrap_err().starts_with("c.yaml:2:"));
}

#[test]
fn every_fault_of_an_argument_names_it() {
    for (argument, message) in [
        ("epoch=3", "argument `epoch=3`: unknown key `epoch`\nhint: did you mean `epochs`?"),
        ("epochs=1.5", "argument `epochs=1.5`: `epochs` must be a whole number, 1 to 1000000; got `1.5`"),
        ("epochs", "argument `epochs` is neither key=value nor a YAML file\nhint: write epochs=value"),
        (
            "hello",
            "argument `hello` is neither key=value nor a YAML file\nhint: settings are written key=value, as in epochs=3",
        ),
        (
            "multi_scale=0.5",
            "argument `multi_scale=0.5`: `multi_scale=0.5` is not supported\nhint: leave it out, or give false or 0 or 0.0",
        ),
    ] {
        assert_eq!(from_arguments(&[argument]).unwrap_err(), message);
    }
    assert!(from_arguments(&["classes=[1"]).unwrap_err().starts_with("argument `classes=[1`: "));
    assert_eq!(
        Settings::default().require_data().unwrap_err().to_string(),
        "no `data`: which pictures to use is not set\n\
         hint: give data=path/to/dataset.yaml, or data=demo for a small set that is generated on the spot"
    );
}

#[test]
fn every_default_lies_in_its_own_range() {
    let mut settings = Settings::default();
    for setting in table() {
        let value = setting.value(&Settings::default());
        let argument = format!("{}={}", setting.name, value.as_str().map_or(value.to_string(), str::to_owned));
        // Empty lists and maps are the one form that only YAML can write.
        settings.apply_argument(&argument).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn any_text_survives_args_yaml() {
    let texts = [
        "1e3",
        "~",
        "null",
        "None",
        "- a",
        "a: b",
        "# x",
        "é 日本",
        "two\nlines",
        "it's",
        "\"",
        "back\\slash",
        " lead",
        "end ",
        "[x]",
        "{",
        "*a",
        "&a",
        "!t",
        "%",
        "@",
        "`",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\t",
        "a\tb",
        "0x1F",
        "y",
        "=",
        "<<",
    ];
    for text in texts.iter().filter(|text| !text.trim().is_empty()) {
        let mut settings = Settings::default();
        settings.name = Some((*text).to_owned());
        settings.mlflow.tags.insert((*text).to_owned(), (*text).to_owned());
        settings.source = vec![(*text).to_owned(); 2];
        assert_eq!(from_yaml(&settings.to_yaml()).as_ref(), Ok(&settings), "{text:?}");
    }
}

#[test]
fn the_demo_set_gets_settings_of_its_own_where_the_user_gave_none() {
    let arguments = ["data=demo".to_owned(), "epochs=3".to_owned()];
    let mut settings = Settings::load(None, &arguments).unwrap();
    let changed = settings.suit_demo().unwrap();
    assert_eq!(changed, ["imgsz=320", "batch=8", "nbs=16", "optimizer=AdamW", "lr0=0.002"]);
    assert_eq!((settings.epochs, settings.imgsz), (3, 320));
    let mut other = Settings::load(None, &["data=my.yaml".to_owned()]).unwrap();
    assert!(other.suit_demo().unwrap().is_empty());
    assert_eq!((other.epochs, other.imgsz), (100, 640));
}
