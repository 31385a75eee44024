//! Files that are not what they should be get a message that names them, the part, and what would mend it.

mod common;

use std::path::Path;

use common::{checkpoint, zip, zip_in};
use yolo11_checkpoint::{Error, StateArray, StateFile, from_bytes, load, save_pt, save_safetensors, save_state};

fn error(bytes: &[u8]) -> Error {
    from_bytes(bytes, Path::new("weights/best.pt")).unwrap_err()
}

fn message(bytes: &[u8]) -> String {
    error(bytes).to_string()
}

fn pickled(pickle: &[u8]) -> Vec<u8> {
    zip(&[("archive/data.pkl", pickle), ("archive/byteorder", b"little"), ("archive/version", b"3\n")])
}

fn our_pt() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.pt");
    save_pt(&path, &checkpoint(3)).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn code_is_refused_by_name() {
    let refused = |name: &str| {
        format!(
            "weights/best.pt: the file names code to run (`{name}`); it was refused and nothing was executed\n\
             hint: use weights from a source you trust, best as safetensors or a plain state dict"
        )
    };
    // Each would create a file if anything were run.
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("executed");
    let command = format!("touch {}", marker.display());
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let command = text(&command);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("os.system", [b"\x80\x02cos\nsystem\n(".as_slice(), &command, b"tR."].concat()),
        (
            "posix.system",
            [
                b"\x80\x04\x95\0\0\0\0\0\0\0\0".as_slice(),
                &short("posix"),
                &short("system"),
                b"\x93",
                &command,
                b"\x85R.",
            ]
            .concat(),
        ),
        ("builtins.eval", [b"\x80\x03cbuiltins\neval\n".as_slice(), &command, b"\x85R."].concat()),
        ("subprocess.Popen", [b"\x80\x02csubprocess\nPopen\n".as_slice(), &command, b"\x85\x81."].concat()),
        // Through a module that is expected, by a dotted name.
        (
            "torch.serialization.os.system",
            [b"\x80\x04".as_slice(), &short("torch.serialization"), &short("os.system"), b"\x93", &command, b"\x85R."]
                .concat(),
        ),
        ("torch.storage._load_from_bytes", b"\x80\x02ctorch.storage\n_load_from_bytes\n.".to_vec()),
        (
            "getattr(…, system)",
            [b"\x80\x02cbuiltins\ngetattr\nctorch.nn\nModule\n".as_slice(), &text("system"), b"\x86R."].concat(),
        ),
        // Protocol 0, instruction INST.
        ("os.popen", b"(S'id'\nios\npopen\n.".to_vec()),
    ];
    for (name, pickle) in cases {
        if name != "os.popen" {
            assert_eq!(message(&pickled(&pickle)), refused(name));
        }
        if pickle.starts_with(b"\x80") {
            assert_eq!(message(&pickle), refused(name), "bare");
        }
    }
    assert_eq!(message(&pickled(b"ios\npopen\n.")), refused("os.popen"));
    assert_eq!(message(b"cos\nsystem\n(S'id'\ntR."), refused("os.system"));
    assert!(!marker.exists());
}

#[test]
fn truncated_and_foreign_files_say_so() {
    let whole = our_pt();
    let damaged = "\nhint: the file is damaged or incomplete; copy or download it again";
    assert_eq!(
        message(&whole[..whole.len() / 2]),
        format!(
            "weights/best.pt: zip directory: the directory at the file's end is missing: the file is cut short{damaged}"
        )
    );
    assert_eq!(message(b""), "weights/best.pt: the file is empty\nhint: download or write it again");
    for (bytes, expected) in [
        (
            b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".as_slice(),
            "PyTorch's old format (before 1.6)",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x80\x02}.", "a bare pickle"),
        (b"hello", "neither a PyTorch zip archive nor safetensors"),
        (&zip(&[("readme.txt", b"hello")]), "a zip file without `data.pkl`"),
        (&zip(&[("m/data.pkl", b"\x80\x02}."), ("m/constants.pkl", b"\x80\x02).")]), "a TorchScript export"),
        (&pickled(b"\x80\x02}."), "holds neither a model nor a state dict"),
        (&pickled(b"\x80\x02K"), "data.pkl: it ends in the middle of an instruction (byte 3)"),
        (&pickled(b"\x80\x02."), "data.pkl: it takes a value that is not there (byte 3)"),
        (&pickled(b"\x80\x07."), "pickle protocol 7 is unknown (byte 2)"),
        (&pickled(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7f."), "it ends in the middle of an instruction"),
        (&pickled(b"\x80\x02h\x05."), "it refers to a value that it never stored"),
        (&pickled(b"\x80\x02\xff."), "instruction 0xff is not one of protocols 2 to 5"),
    ] {
        let message = message(bytes);
        assert!(message.contains(expected) && message.contains("\nhint: "), "{message} / {expected}");
    }
    let oldest = [vec![b'.'; 257], b"ustar\0".to_vec()].concat();
    assert!(message(&oldest).contains("PyTorch's old format (before 1.6)"));
}

#[test]
fn a_missing_short_or_changed_storage_is_named() {
    let whole = our_pt();
    let rename = |from: &[u8], to: &[u8]| {
        let mut bytes = whole.clone();
        for at in 0..bytes.len() - from.len() {
            if &bytes[at..at + from.len()] == from {
                bytes[at..at + from.len()].copy_from_slice(to);
            }
        }
        bytes
    };
    let missing = message(&rename(b"archive/data/17", b"archive/gone/17"));
    assert!(missing.starts_with("weights/best.pt: data/17: the archive has no such entry\nhint: "), "{missing}");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let changed = message(&changed);
    assert!(changed.contains(": its checksum does not match its content\nhint: "), "{changed}");
    let pickle = tensor_pickle("FloatStorage", &[4], &[1]);
    for large in [false, true] {
        let short = zip_in(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 12])], large);
        assert_eq!(
            message(&short).lines().next().unwrap(),
            "weights/best.pt: data/0: tensor `model.0.conv.weight`: its storage is too short: 3 elements of 4",
            "ZIP64: {large}"
        );
    }
    let complex = zip(&[("a/data.pkl", &tensor_pickle("ComplexFloatStorage", &[1], &[1])), ("a/data/0", &[0; 8])]);
    assert!(message(&complex).contains("its element type is not one of"));
}

/// A state dict with one tensor.
fn tensor_pickle(class: &str, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple =
        |sizes: &[u8]| [b"(".to_vec(), sizes.iter().flat_map(|&size| [b'K', size]).collect(), b"t".to_vec()].concat();
    [
        b"\x80\x02}X\x13\0\0\0model.0.conv.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"
            .as_slice(),
        class.as_bytes(),
        b"\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0",
        &tuple(shape),
        &tuple(strides),
        b"\x89}tRs.",
    ]
    .concat()
}

#[test]
fn modules_without_end_and_memory_without_bound_are_errors() {
    // A module that holds itself: d = {"_modules": {"m": module}}.
    let module = b"\x80\x02ctorch.nn\nModule\n)\x81q\0}X\x08\0\0\0_modules}X\x01\0\0\0mh\0ssb.";
    assert!(message(&pickled(module)).contains("modules lie more than 32 deep in each other"));
    // Twenty modules, each holding the next twice: a million paths.
    let mut bomb = b"\x80\x02ctorch.nn\nModule\n)\x81q\0}X\x08\0\0\0_modules}sb".to_vec();
    for level in 1..31u8 {
        bomb.extend(b"0ctorch.nn\nModule\n)\x81q");
        bomb.extend([level]);
        bomb.extend(b"}X\x08\0\0\0_modules}(X\x01\0\0\0ah");
        bomb.extend([level - 1]);
        bomb.extend(b"X\x01\0\0\0bh");
        bomb.extend([level - 1]);
        bomb.extend(b"usb");
    }
    bomb.push(b'.');
    assert!(message(&pickled(&bomb)).contains("would take more memory than a file of this size can need"));
    // A byte makes a dictionary; a file of nothing else would take many times its size.
    let dictionaries = [b"\x80\x02".to_vec(), vec![b'}'; 1_000_000], b".".to_vec()].concat();
    assert!(message(&pickled(&dictionaries)).contains("would take more memory than a file of this size can need"));
    // Lists in lists are deep, but nothing here walks them.
    let deep = [b"\x80\x02".to_vec(), vec![b']'; 300], vec![b'a'; 299], b".".to_vec()].concat();
    assert!(message(&pickled(&deep)).contains("holds neither a model nor a state dict"));
}

#[test]
fn weights_of_another_architecture_name_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yolov8n.safetensors");
    // The first tensors of another family, under its own names and shapes.
    let values = vec![0.0; 80 * 80];
    let arrays = [
        ("model.0.conv.weight", vec![16, 3, 3, 3]),
        ("model.2.cv2.conv.weight", vec![32, 48, 1, 1]),
        ("model.22.cv3.0.2.weight", vec![80, 80, 1, 1]),
    ]
    .map(|(name, shape)| StateArray { name: name.into(), values: &values[..shape.iter().product()], shape });
    save_state(&path, &Default::default(), &arrays).unwrap();
    let error = load(&path).unwrap_err();
    assert!(matches!(error, Error::Architecture { .. }));
    let message = error.to_string();
    for part in [
        "yolov8n.safetensors: these are not the weights of a YOLO11 detector: 1 of 499 tensors fit the nearest, yolo11n with 80 classes: ",
        "`model.2.cv2.conv.weight` is [32, 48, 1, 1] where [64, 48, 1, 1] was expected",
        "`model.0.bn.weight` [16] is missing",
        "`model.22.cv3.0.2.weight` was not expected",
        "; and ",
        "\nhint: name the weights of a YOLO11 detector (n, s, m, l or x)",
    ] {
        assert!(message.contains(part), "{message} / {part}");
    }
}

#[test]
fn damaged_safetensors_and_states_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    save_safetensors(&path, &checkpoint(3)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let cut = message(&whole[..whole.len() - 1]);
    assert!(cut.starts_with("weights/best.pt: safetensors header: ") && cut.contains("\nhint: "), "{cut}");
    assert!(message(&whole[..100]).contains("it is longer than the file: the file is cut short"));
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = StateFile::open(&path).err().unwrap().to_string();
    assert!(error.contains("best.safetensors: safetensors header: "), "{error}");
    std::fs::write(&path, b"hello").unwrap();
    assert!(StateFile::open(&path).err().unwrap().to_string().contains("not a training state"));
    let absent = load(&folder.path().join("absent.pt")).unwrap_err().to_string();
    assert!(absent.contains("absent.pt: cannot read: ") && absent.ends_with("\nhint: check the path"), "{absent}");
}
