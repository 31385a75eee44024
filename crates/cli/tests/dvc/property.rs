//! Any tree, any sequence of commands, each by either tool.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::tools::*;

#[test]
fn both_tools_write_the_same_bytes() {
    if dvc().is_none() {
        return;
    }
    for seed in [1, 2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let mut targets = Vec::new();
        for (folder, tool) in [(&a, Tool::Dvc), (&b, Tool::Yolo11)] {
            repository(folder, tool);
            targets = plant(folder, seed);
            let mut words = vec!["add", "--"];
            words.extend(targets.iter().map(String::as_str));
            done(tool, folder, &words);
        }
        assert!(targets.len() > 8, "{targets:?}");
        assert_same(&a, &b);
        assert_eq!(agreed_status(&a), serde_json::json!({}));
        assert_eq!(agreed_status(&b), serde_json::json!({}));

        // Changed by the same hand, then taken in by the other tool: files become folders and the other way round too.
        for (folder, tool) in [(&a, Tool::Yolo11), (&b, Tool::Dvc)] {
            for (index, target) in targets.iter().enumerate() {
                let path = folder.join(target);
                match (index % 4, path.is_dir()) {
                    (0, true) => {
                        fs::remove_dir_all(&path).unwrap();
                        fs::write(&path, "a file now").unwrap();
                    }
                    (0, false) => {
                        fs::remove_file(&path).unwrap();
                        fs::create_dir(&path).unwrap();
                        fs::write(path.join("inside"), "a folder now").unwrap();
                    }
                    (1, true) => fs::write(path.join("new ü"), "new").unwrap(),
                    (1, false) => fs::write(&path, "changed").unwrap(),
                    (2, false) => fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap(),
                    _ => {}
                }
            }
            assert_ne!(agreed_status(folder), serde_json::json!({}));
            let mut words = vec!["add", "--"];
            words.extend(targets.iter().map(String::as_str));
            done(tool, folder, &words);
        }
        assert_same(&a, &b);
        assert_eq!(agreed_status(&a), serde_json::json!({}));
    }
}

#[test]
fn both_tools_take_turns_on_one_repository() {
    if dvc().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    repository(&root, Tool::Dvc);
    let mut random = Random(7);
    let data = root.join("data");
    fs::create_dir_all(data.join("images/train")).unwrap();
    for index in 0..40 {
        write(&data.join(format!("images/train/{index}.jpg")), &mut random);
    }
    done(Tool::Yolo11, &root, &["add", "data"]);
    done(Tool::Dvc, &root, &["remote", "add", "-d", "store", "../store"]);
    assert_eq!(
        fs::read_to_string(root.join(".dvc/config")).unwrap(),
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    );
    done(Tool::Yolo11, &root, &["remote", "remove", "store"]);
    done(Tool::Yolo11, &root, &["remote", "add", "-d", "store", "../store"]);
    assert_eq!(
        fs::read_to_string(root.join(".dvc/config")).unwrap(),
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    );

    for step in 0..6 {
        let (one, other) = if step % 2 == 0 { (Tool::Dvc, Tool::Yolo11) } else { (Tool::Yolo11, Tool::Dvc) };
        let victim = data.join(format!("images/train/{}.jpg", random.below(40)));
        match step / 2 {
            // Changed and taken in.
            0 => {
                fs::write(&victim, format!("step {step}")).unwrap();
                assert_eq!(
                    agreed_status(&root),
                    serde_json::json!({"data.dvc": [{"changed outs": {"data": "modified"}}]})
                );
                done(one, &root, &["add", "data"]);
            }
            // Lost and put back.
            1 => {
                fs::remove_dir_all(&data).unwrap();
                assert_eq!(
                    agreed_status(&root),
                    serde_json::json!({"data.dvc": [{"changed outs": {"data": "deleted"}}]})
                );
                done(one, &root, &["checkout"]);
            }
            // To the remote by one, from it by the other.
            _ => {
                done(one, &root, &["push"]);
                fs::remove_dir_all(root.join(".dvc/cache")).unwrap();
                fs::remove_dir_all(&data).unwrap();
                assert_eq!(
                    agreed_status(&root),
                    serde_json::json!({"data.dvc": [{"changed outs": {"data": "not in cache"}}]})
                );
                done(other, &root, &["pull"]);
                fs::remove_dir_all(folder.path().join("store")).unwrap();
            }
        }
        assert_eq!(agreed_status(&root), serde_json::json!({}), "step {step}");
        assert_eq!(fs::read_dir(data.join("images/train")).unwrap().count(), 40);
    }
}

/// Changes data by the same hand in every repository it is called for: the same seed makes the same changes.
fn disturb(root: &Path, seed: u64) {
    let mut random = Random(seed);
    let data = root.join("data");
    let path = data.join(format!("{}/{}", ["a", "b ü", "a/deep"][random.below(3)], NAMES[random.below(NAMES.len())]));
    match random.below(6) {
        // New, or another content.
        0 | 1 => {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
            write(&path, &mut random);
        }
        2 => drop(fs::remove_file(&path)),
        3 => drop(fs::remove_dir_all(path.parent().unwrap())),
        // The same content under another name, and a link that is followed.
        4 => {
            fs::create_dir_all(data.join("a")).unwrap();
            fs::write(data.join("a/copy"), "twice").unwrap();
            let _ = fs::remove_file(data.join("a/link"));
            std::os::unix::fs::symlink("copy", data.join("a/link")).unwrap();
        }
        _ => {
            let long = data.join(["long folder name of many letters"; 6].join("/"));
            fs::create_dir_all(&long).unwrap();
            fs::write(long.join("x".repeat(200)), format!("{seed}")).unwrap();
        }
    }
    // A single tracked file, and its right to be executed.
    if random.below(3) == 0 {
        let _ = fs::remove_file(root.join("single"));
        write(&root.join("single"), &mut random);
    }
}

#[test]
fn any_sequence_by_either_tool_leaves_the_same_bytes() {
    if dvc().is_none() {
        return;
    }
    for seed in [11, 12] {
        let folder = tempfile::tempdir().unwrap();
        let roots = ["one/root", "two/root"].map(|name| folder.path().join(name));
        let mut random = Random(seed);
        for root in &roots {
            repository(root, Tool::Dvc);
            fs::create_dir_all(root.join("data/a/deep")).unwrap();
            fs::create_dir_all(root.join("data/b ü")).unwrap();
            let mut random = Random(seed);
            for name in NAMES {
                let place = ["a", "b ü", "a/deep"][random.below(3)];
                write(&root.join("data").join(place).join(name), &mut random);
            }
            fs::write(root.join("single"), "one").unwrap();
            done(Tool::Yolo11, root, &["remote", "add", "-d", "store", "../store"]);
            done(Tool::Yolo11, root, &["add", "data", "single"]);
        }
        for step in 0..9 {
            let hand = random.below(1 << 20) as u64;
            let kind = random.below(6);
            let first = random.below(2);
            for (index, root) in roots.iter().enumerate() {
                // The two repositories see the same step by different tools.
                let tool = if (index + first).is_multiple_of(2) { Tool::Dvc } else { Tool::Yolo11 };
                disturb(root, hand);
                match kind {
                    0 | 1 => drop(done(tool, root, &["add", "data", "single"])),
                    2 => drop(done(tool, root, if tool == Tool::Dvc { &["commit", "-f"] } else { &["commit"] })),
                    3 => drop(done(tool, root, &["checkout", "--force"])),
                    4 => {
                        done(tool, root, &["add", "data", "single"]);
                        done(tool, root, &["push"]);
                        fs::remove_dir_all(root.join(".dvc/cache")).unwrap();
                        fs::remove_dir_all(root.join("data")).unwrap();
                        done(if tool == Tool::Dvc { Tool::Yolo11 } else { Tool::Dvc }, root, &["pull"]);
                    }
                    _ => {
                        done(tool, root, &["add", "data", "single"]);
                        done(tool, root, if tool == Tool::Dvc { &["gc", "-w", "-f"] } else { &["gc", "-w", "--yes"] });
                    }
                }
            }
            let state = agreed_status(&roots[step % 2]);
            assert_eq!(state, status(Tool::Yolo11, &roots[1 - step % 2]), "seed {seed}, step {step}, kind {kind}");
            assert_eq!(state, serde_json::json!({}), "seed {seed}, step {step}, kind {kind}");
            assert_same(&roots[0], &roots[1]);
        }
    }
}

#[test]
fn ten_thousand_small_files_are_the_same_bytes() {
    if dvc().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let roots = ["a", "b"].map(|name| folder.path().join(name));
    for (root, tool) in roots.iter().zip([Tool::Dvc, Tool::Yolo11]) {
        repository(root, tool);
        for index in 0..10_000 {
            let place = root.join(format!("data/{}", index % 16));
            if index < 16 {
                fs::create_dir_all(&place).unwrap();
            }
            fs::write(place.join(format!("{index}.txt")), format!("0 0.{index:04} 0.5 0.25 0.25\n")).unwrap();
        }
        done(tool, root, &["add", "data"]);
    }
    assert_same(&roots[0], &roots[1]);
    assert_eq!(agreed_status(&roots[1]), serde_json::json!({}));
}
