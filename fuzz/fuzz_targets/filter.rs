//! MLflow's language for filters and orders, as a search gets it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yolo11_server::filter;

fuzz_target!(|text: &str| {
    let number = |value: f64| Some(value);
    for clause in filter::parse(text).into_iter().flatten() {
        let _ = clause.check(filter::Kind::Number);
        let _ = clause.check(filter::Kind::OptionalText);
        let _ = clause.matches_text(Some(text));
        let _ = clause.matches_text(None);
        let _ = clause.matches_number(number(0.5));
    }
    let _ = filter::parse_order(text);
});
