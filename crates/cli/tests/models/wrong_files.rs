//! Files that are no models: every command that takes one says what is wrong with it, in the same words and with exit code 3.

use crate::bench::{Bench, said};

#[test]
fn every_command_names_what_is_wrong_with_a_model() {
    let Some(bench) = Bench::new() else { return };
    bench.data(1, 1);
    let whole = std::fs::read(bench.weights()).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let onnx = bench.path("whole.onnx");
    let settings = [format!("model={}", bench.weights().display()), format!("file={}", onnx.display())];
    bench.run(&["export", "imgsz=64", "python=none", &settings[0], &settings[1]]);
    let cut = std::fs::read(onnx).unwrap();
    let files: [(&str, &[u8], &[&str]); 6] = [
        ("damaged.pt", &damaged, &["damaged.pt: data/", ": its checksum does not match its content\nhint: "]),
        ("cut.pt", &whole[..whole.len() / 2], &["cut.pt: zip directory: ", "the file is cut short\nhint: "]),
        ("note.pt", b"not a model", &["note.pt: neither a PyTorch zip archive nor safetensors\nhint: "]),
        ("page.safetensors", b"<html>", &["page.safetensors: a web page, not a checkpoint\nhint: "]),
        ("empty.pt", b"", &["empty.pt: the file is empty\nhint: "]),
        ("cut.onnx", &cut[..cut.len() / 2], &["cut.onnx: not an ONNX file that can be used: "]),
    ];
    for (name, content, _) in &files {
        std::fs::write(bench.path(name), content).unwrap();
    }
    let source = format!("source={}", bench.photos()[0].display());
    let commands: [&[&str]; 6] = [
        &["info"],
        &["predict", &source],
        &["val", "data=data.yaml"],
        &["export"],
        &["benchmark", "formats=all", "data=data.yaml"],
        &["train", "data=data.yaml", "epochs=1"],
    ];
    for command in commands {
        for (name, _, parts) in &files {
            let takes_onnx = ["predict", "val"].contains(&command[0]);
            if name.ends_with(".onnx") && !takes_onnx {
                continue;
            }
            let output = bench.command(&[command, &[&format!("model={name}")]].concat()).output().unwrap();
            let text = said(&output);
            assert_eq!(output.status.code(), Some(3), "{command:?} {name}: {text}");
            assert!(parts.iter().all(|part| text.contains(part)), "{command:?} {name}: {text}");
        }
        let output = bench.command(&[command, &["model=absent.pt"]].concat()).output().unwrap();
        let text = said(&output);
        assert!(output.status.code() == Some(3) && text.contains("absent.pt"), "{command:?}: {text}");
        assert!(text.contains("\nhint: "), "{command:?}: {text}");
    }
    // A data set that is not there is told before anything is written.
    let weights = format!("model={}", bench.weights().display());
    let output = bench.command(&["benchmark", "formats=pt", "data=absent.yaml", &weights]).output().unwrap();
    let text = said(&output);
    assert!(output.status.code() == Some(3) && text.contains("absent.yaml"), "{text}");
    assert!(!bench.path("runs/benchmark").exists(), "{text}");
}
