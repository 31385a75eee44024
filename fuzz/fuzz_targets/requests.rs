//! Bodies of every call. An input is a few calls, one a line: its first byte chooses the call, the rest is its body. They run one after the
//! other on a database that holds the same before every input, so what is found can be found again.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use yolo11_fuzz::life;
use yolo11_server::artifacts::{ArtifactPath, Wanted};
use yolo11_server::calls::{CALLS, Call, Work};
use yolo11_server::database::{Connection, Location, migrations};
use yolo11_server::error::{ApiError, Code};
use yolo11_server::request::Request;
use yolo11_server::store::Store;

/// Calls in an input that are run.
const MOST: usize = 6;

thread_local! {
    static DATABASE: RefCell<Box<dyn Connection>> = RefCell::new({
        let folder = tempfile::tempdir().expect("a folder").keep();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let location = Location::Sqlite(folder.join("runs.db"));
        let mut database = migrations::open(&location, runtime.handle()).expect("a database");
        database.script("PRAGMA synchronous=OFF").expect("a database");
        database.begin(true).expect("a transaction");
        Store::new(&mut *database).begin().expect("the first experiment");
        for (method, path, body) in life::FIRST {
            let call = CALLS.iter().find(|call| call.method == *method && call.path == *path).expect("a call");
            run(&mut *database, call, life::body(body).as_bytes()).expect("an answer");
        }
        database.commit().expect("a commit");
        database
    });
}

fn run(database: &mut dyn Connection, call: &Call, body: &[u8]) -> Result<(), ApiError> {
    let mut store = Store::new(database);
    match call.work {
        Work::Log(check) => check(body)?.write(&mut store).map(drop),
        Work::Read(work) | Work::Write(work) => work(&mut store, &Request::from_json(body)?).map(drop),
        Work::ReadText(work) => {
            let answer = work(&mut store, &Request::from_json(body)?)?;
            assert!(serde_json::from_slice::<serde_json::Value>(&answer).is_ok(), "{}: no JSON", call.path);
            Ok(())
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    DATABASE.with_borrow_mut(|database| {
        database.begin(true).expect("a transaction");
        for line in bytes.split(|byte| *byte == b'\n').take(MOST) {
            let Some((&which, body)) = line.split_first() else { continue };
            if let Ok(text) = std::str::from_utf8(body) {
                let _ = ArtifactPath::decode(text).map(|path| path.join(text));
                let _ = Wanted::parse(Some(text)).of(1000);
                let _ = Request::from_query(text);
                let _ = yolo11_server::read_graphql(text);
            }
            let call = &CALLS[usize::from(which) % CALLS.len()];
            database.script("SAVEPOINT call").expect("a savepoint");
            if let Err(error) = run(&mut **database, call, body) {
                assert!(error.code != Code::Internal, "{}: {error}", call.path);
                database.script("ROLLBACK TO SAVEPOINT call").expect("a savepoint");
            }
        }
        database.rollback();
    });
});
