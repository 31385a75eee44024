//! What a repository refuses, keeps and mends.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use yolo11_versioning::{Level, Repository, State, Watch, init};

/// The object of "bar".
const BAR: &str = "files/md5/37/b51d194a7513e45b56f6524f2d51f2";

fn repository(settings: &[(&str, &str)]) -> (tempfile::TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), true).unwrap();
    let mut repository = Repository::open(folder.path()).unwrap();
    for (key, value) in settings {
        repository.config.set(Level::Repository, "cache", key, value).unwrap();
    }
    drop(repository);
    let repository = Repository::open(folder.path()).unwrap();
    (folder, repository)
}

fn plant(root: &Path) -> PathBuf {
    let data = root.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("foo"), "foo").unwrap();
    fs::write(data.join("sub/bar"), "bar").unwrap();
    data
}

fn states(repository: &Repository) -> Vec<State> {
    repository.status(&[], &Watch::none()).unwrap().into_iter().map(|status| status.state).collect()
}

#[test]
fn every_link_type_adds_and_checks_out() {
    for (setting, is_shared) in [("copy", false), ("reflink,copy", false), ("hardlink", true), ("symlink", true)] {
        let (_folder, repository) = repository(&[("type", setting)]);
        let data = plant(repository.root());
        repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
        assert_eq!(states(&repository), [State::Clean], "{setting}");
        fs::remove_dir_all(&data).unwrap();
        assert_eq!(states(&repository), [State::Deleted], "{setting}");
        let done = repository.checkout(&[], false, &Watch::none()).unwrap();
        assert_eq!((done[0].written, done[0].removed), (2, 0), "{setting}");
        assert_eq!(fs::read_to_string(data.join("sub/bar")).unwrap(), "bar");
        let object = fs::metadata(repository.root().join(".dvc/cache").join(BAR)).unwrap();
        let file = fs::metadata(data.join("sub/bar")).unwrap();
        assert_eq!(object.permissions().mode() & 0o777, 0o444);
        assert_eq!(object.ino() == file.ino(), is_shared, "{setting}");
        assert_eq!(data.join("foo").is_symlink(), setting == "symlink");
    }
}

#[test]
fn a_copy_takes_the_place_of_a_file_that_became_an_object() {
    let (_folder, repository) = repository(&[("type", "copy")]);
    let data = plant(repository.root());
    let then = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_000_000);
    fs::File::options().write(true).open(data.join("foo")).unwrap().set_modified(then).unwrap();
    let before = fs::metadata(data.join("foo")).unwrap();
    // What a copy could not stand for stays where it is.
    for name in ["private", "program", "twice", "open"] {
        fs::write(data.join(name), name).unwrap();
    }
    fs::set_permissions(data.join("private"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::set_permissions(data.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::hard_link(data.join("twice"), repository.root().join("elsewhere")).unwrap();
    let mut writer = fs::File::options().append(true).open(data.join("open")).unwrap();
    let inode = |name: &str| fs::metadata(data.join(name)).unwrap().ino();
    let kept: Vec<u64> = ["private", "program", "twice", "open"].map(inode).into();
    repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();

    let after = fs::metadata(data.join("foo")).unwrap();
    assert_eq!((after.modified().unwrap(), after.mode(), after.nlink()), (then, before.mode(), 1));
    let object =
        fs::metadata(repository.root().join(".dvc/cache/files/md5/ac/bd18db4cc2f85cedef654fccc4a4d8")).unwrap();
    assert_eq!((object.mode() & 0o777, object.nlink()), (0o444, 1));
    assert_eq!(["private", "program", "twice", "open"].map(inode).to_vec(), kept);
    let mode = |name: &str| fs::metadata(data.join(name)).unwrap().mode() & 0o777;
    assert_eq!(["private", "program"].map(mode), [0o600, 0o755]);
    assert_eq!(states(&repository), [State::Clean]);
    if cfg!(target_os = "linux") {
        assert_eq!(object.ino(), before.ino(), "the file itself became the object");
    }
    // Who had a file open goes on writing to the workspace's, and the object stays as it was.
    std::io::Write::write_all(&mut writer, b" and more").unwrap();
    assert_eq!(fs::read_to_string(data.join("open")).unwrap(), "open and more");
    assert_eq!(states(&repository), [State::Modified]);
    fs::write(data.join("open"), "open").unwrap();
    assert_eq!(states(&repository), [State::Clean]);
}

/// A link cannot become an object, the file beside it can: who gives up must not take away what the other has put there.
#[test]
fn files_and_links_of_the_same_content_do_not_disturb_each_other() {
    for round in 0..20 {
        let (_folder, repository) = repository(&[("type", "copy")]);
        let [data, outside] = ["data", "outside"].map(|name| repository.root().join(name));
        fs::create_dir(&data).unwrap();
        fs::create_dir(&outside).unwrap();
        for content in 0..60 {
            let text = format!("{round} {content}");
            let target = outside.join(content.to_string());
            fs::write(&target, &text).unwrap();
            for number in 0..3 {
                fs::write(data.join(format!("{content} file {number}")), &text).unwrap();
                std::os::unix::fs::symlink(&target, data.join(format!("{content} link {number}"))).unwrap();
            }
        }
        repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
        assert_eq!(states(&repository), [State::Clean]);
        fs::remove_dir_all(&data).unwrap();
        let done = repository.checkout(&[], false, &Watch::none()).unwrap();
        assert_eq!(done[0].written, 360);
        assert_eq!(fs::read_to_string(data.join("59 link 2")).unwrap(), format!("{round} 59"));
    }
}

#[test]
fn what_a_power_cut_left_of_a_copy_is_not_recorded() {
    let (_folder, first) = repository(&[("type", "copy")]);
    let data = plant(first.root());
    first.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
    let recorded = fs::read_to_string(first.root().join("data.dvc")).unwrap();
    fs::write(data.join("foo"), "\0\0\0").unwrap();
    assert_eq!(states(&first), [State::Modified]);
    let root = first.root().to_owned();
    drop(first);
    // As if these bytes had come of a power cut: remembered is the content that was written, in another boot.
    let state = root.join(".dvc/tmp/yolo11-state");
    let mut bytes = fs::read(&state).unwrap();
    let (zeros, foo) = (b"693e9af84d3dfcc71e640e005bdc5e2e", b"acbd18db4cc2f85cedef654fccc4a4d8");
    let place = bytes.windows(32).position(|window| window == zeros).unwrap();
    bytes[place..place + 32].copy_from_slice(foo);
    let boot = b"yolo11-state-2\n".len();
    bytes[boot] = if bytes[boot] == b'0' { b'1' } else { b'0' };
    fs::write(&state, bytes).unwrap();

    let repository = Repository::open(&root).unwrap();
    assert_eq!(states(&repository), [State::Modified]);
    let error = repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap_err().to_string();
    assert!(error.starts_with("`data/foo` has lost its content when the machine went down"), "{error}");
    assert_eq!(fs::read_to_string(root.join("data.dvc")).unwrap(), recorded);
    let done = repository.checkout(&[], false, &Watch::none()).unwrap();
    assert_eq!((done[0].written, done[0].removed), (1, 0));
    assert_eq!(fs::read_to_string(data.join("foo")).unwrap(), "foo");
    assert_eq!(states(&repository), [State::Clean]);
}

#[test]
fn nothing_is_lost_without_force() {
    let (_folder, repository) = repository(&[]);
    let data = plant(repository.root());
    repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
    fs::write(data.join("foo"), "precious").unwrap();
    fs::write(data.join("extra"), "new").unwrap();
    fs::remove_file(data.join("sub/bar")).unwrap();
    assert_eq!(states(&repository), [State::Modified]);
    let error = repository.checkout(&[], false, &Watch::none()).unwrap_err().to_string();
    assert_eq!(
        error,
        "`data/extra` and 1 more would be lost: the content is not in the cache\nhint: `yolo11 data add data` keeps it, `--force` drops it"
    );
    assert!(!data.join("sub/bar").exists(), "nothing is touched before all is planned");
    let done = repository.checkout(&[], true, &Watch::none()).unwrap();
    assert_eq!((done[0].written, done[0].removed), (2, 1));
    assert_eq!(fs::read_to_string(data.join("foo")).unwrap(), "foo");
    assert_eq!(states(&repository), [State::Clean]);
}

#[test]
fn damaged_objects_are_found_and_mended() {
    let (_folder, repository) = repository(&[]);
    let data = plant(repository.root());
    repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
    let object = repository.root().join(".dvc/cache").join(BAR);
    fs::set_permissions(&object, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&object, "bad").unwrap();
    assert_eq!(states(&repository), [State::NotInCache]);
    let error = repository.checkout(&[], false, &Watch::none()).unwrap_err().to_string();
    assert!(error.starts_with("the cache does not have the content of data\nhint: `yolo11 data pull`"), "{error}");
    repository.add(&[data], &Watch::none()).unwrap();
    assert_eq!(fs::read_to_string(&object).unwrap(), "bar");
    assert_eq!(states(&repository), [State::Clean]);
}

#[test]
fn a_remote_that_lies_is_refused() {
    let (folder, mut repository) = repository(&[]);
    let data = plant(repository.root());
    let store = folder.path().join("store");
    repository.add(&[data], &Watch::none()).unwrap();
    repository.add_remote(Level::Repository, "store", store.to_str().unwrap(), true, false).unwrap();
    let pushed = repository.push(&[], None, &Watch::none()).unwrap();
    assert_eq!((pushed.moved, pushed.present), (3, 0));
    let again = repository.push(&[], None, &Watch::none()).unwrap();
    assert_eq!((again.moved, again.present), (0, 1));
    let object = store.join(BAR);
    fs::remove_file(&object).unwrap();
    fs::write(&object, "longer than it should be").unwrap();
    fs::remove_dir_all(repository.root().join(".dvc/cache")).unwrap();
    let error = repository.fetch(&[], None, &Watch::none()).unwrap_err().to_string();
    assert!(error.contains("the content has md5 ") && error.contains(BAR), "{error}");
    assert!(!repository.root().join(".dvc/cache").join(BAR).exists());
    // What was right is kept; the next fetch asks for the rest alone.
    fs::write(&object, "bar").unwrap();
    let fetched = repository.fetch(&[], None, &Watch::none()).unwrap();
    assert_eq!((fetched.moved, fetched.present), (1, 2));
    fs::remove_file(&object).unwrap();
    fs::remove_file(repository.root().join(".dvc/cache").join(BAR)).unwrap();
    let error = repository.fetch(&[], None, &Watch::none()).unwrap_err().to_string();
    assert!(error.contains("the remote does not have it\nhint: "), "{error}");
}

#[test]
fn targets_that_make_no_sense_are_refused() {
    let (_folder, repository) = repository(&[]);
    let data = plant(repository.root());
    repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
    let refused = |path: &Path| repository.add(&[path.to_owned()], &Watch::none()).unwrap_err().to_string();
    assert!(refused(&data.join("foo")).contains("which is tracked already, lie in one another"));
    assert!(refused(&repository.root().join("none")).ends_with("does not exist\nhint: check the path"));
    assert!(refused(Path::new("/etc/hostname")).contains("is outside the repository"));
    let evil = "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: ../../evil\n";
    fs::write(repository.root().join("evil.dvc"), evil).unwrap();
    let error = repository.status(&[], &Watch::none()).unwrap_err().to_string();
    assert!(error.contains("tracks `../../evil`, which is outside the repository"), "{error}");
}

#[test]
fn a_held_lock_is_named() {
    let (folder, repository) = repository(&[]);
    let error = Repository::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("is held by another command (process {})", std::process::id())), "{error}");
    drop(repository);
    Repository::open(folder.path()).unwrap();
}

#[test]
fn garbage_is_what_no_pointer_names() {
    let (_folder, repository) = repository(&[]);
    let data = plant(repository.root());
    repository.add(std::slice::from_ref(&data), &Watch::none()).unwrap();
    assert_eq!(repository.garbage(&Watch::none()).unwrap().objects.len(), 0);
    fs::write(data.join("foo"), "other").unwrap();
    repository.commit(&[], &Watch::none()).unwrap();
    let garbage = repository.garbage(&Watch::none()).unwrap();
    assert_eq!(garbage.objects.len(), 2, "the old file and the old list");
    repository.delete(&garbage, &Watch::none()).unwrap();
    assert_eq!(repository.garbage(&Watch::none()).unwrap().objects.len(), 0);
    assert_eq!(states(&repository), [State::Clean]);
}

#[test]
fn caches_of_dvc_2_and_lock_files_are_read() {
    let (_folder, repository) = repository(&[]);
    let md5 = "acbd18db4cc2f85cedef654fccc4a4d8";
    let folder = repository.root().join(".dvc/cache").join(&md5[..2]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&md5[2..]), "foo").unwrap();
    fs::write(repository.root().join("old.dvc"), format!("outs:\n- md5: {md5}\n  size: 3\n  path: old\n")).unwrap();
    let lock =
        format!("schema: '2.0'\nstages:\n  make:\n    cmd: make\n    outs:\n    - path: made\n      md5: {md5}\n");
    fs::write(repository.root().join("dvc.lock"), lock).unwrap();
    assert_eq!(states(&repository), [State::Deleted, State::Deleted]);
    repository.checkout(&[], false, &Watch::none()).unwrap();
    assert_eq!(fs::read_to_string(repository.root().join("old")).unwrap(), "foo");
    assert_eq!(fs::read_to_string(repository.root().join("made")).unwrap(), "foo");
    assert_eq!(states(&repository), [State::Clean, State::Clean]);
}
