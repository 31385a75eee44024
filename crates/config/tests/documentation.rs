//! docs/configuration.md and the table of settings say the same. `UPDATE_DOCS=1 cargo test -p yolo11-config` writes the page's tables anew.

use std::path::Path;

const BEGIN: &str = "<!-- settings: written by the tests of crates/config with UPDATE_DOCS=1 -->\n";
const END: &str = "<!-- end of settings -->";

#[test]
fn the_page_lists_every_setting_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("docs/configuration.md can be read");
    let (head, rest) = page.split_once(BEGIN).expect("the page marks where the tables begin");
    let (tables, tail) = rest.split_once(END).expect("the page marks where the tables end");
    let expected = yolo11_config::listing::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{expected}{END}{tail}")).expect("the page can be written");
        return;
    }
    assert_eq!(tables, expected, "run UPDATE_DOCS=1 cargo test -p yolo11-config");
}

#[test]
fn listings_name_every_setting_with_its_default_and_range() {
    let text = yolo11_config::listing::text(str::to_owned);
    assert!(text.contains(
        "  epochs            Passes over the training pictures\n                    default 100; a whole number, 1 to 1000000\n"
    ));
    let list = yolo11_config::listing::json();
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), yolo11_config::table().count());
    let lr0 = list.iter().find(|setting| setting["name"] == "lr0").expect("lr0");
    assert_eq!((lr0["least"].as_i64(), lr0["most"].as_i64(), lr0["default"].as_f64()), (Some(0), Some(10), Some(0.01)));
    assert_eq!(lr0["aliases"], serde_json::json!(["lr", "learning_rate"]));
}
