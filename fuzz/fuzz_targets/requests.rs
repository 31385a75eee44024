//! Bodies of every call, on a database that lives as long as the process: the first byte chooses the call, the rest is its body.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use yolo11_server::artifacts::{ArtifactPath, Wanted};
use yolo11_server::calls::{CALLS, Work};
use yolo11_server::database::{Connection, Location, migrations};
use yolo11_server::error::Code;
use yolo11_server::request::Request;
use yolo11_server::store::Store;

thread_local! {
    static DATABASE: RefCell<Box<dyn Connection>> = RefCell::new({
        let folder = tempfile::tempdir().expect("a folder").keep();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let location = Location::Sqlite(folder.join("runs.db"));
        let mut database = migrations::open(&location, runtime.handle()).expect("a database");
        database.script("PRAGMA synchronous=OFF").expect("a database");
        database.begin(true).expect("a transaction");
        Store::new(&mut *database).begin().expect("the first experiment");
        database.commit().expect("a commit");
        database
    });
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, body)) = bytes.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = ArtifactPath::decode(text).map(|path| path.join(text));
        let _ = Wanted::parse(Some(text)).of(1000);
        let _ = Request::from_query(text);
        let _ = yolo11_server::read_graphql(text);
    }
    let call = &CALLS[usize::from(which) % CALLS.len()];
    DATABASE.with_borrow_mut(|database| {
        database.begin(true).expect("a transaction");
        let mut store = Store::new(&mut **database);
        let result = match call.work {
            Work::Log(check) => check(body).and_then(|batch| batch.write(&mut store)).map(drop),
            Work::Read(work) | Work::Write(work) => Request::from_json(body).and_then(|given| work(&mut store, &given)).map(drop),
            Work::ReadText(work) => Request::from_json(body).and_then(|given| work(&mut store, &given)).map(drop),
        };
        match result {
            Ok(()) => database.commit().expect("a commit"),
            Err(error) => {
                assert!(error.code != Code::Internal, "{}: {error}", call.path);
                database.rollback();
            }
        }
    });
});
