//! `yolo11 data stats`: what a data set holds.

use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgMatches, Command};
use yolo11_config::Section;
use yolo11_dataset::{Shapes, Split, SplitName, Statistics};
use yolo11_pipeline::{Announcer, data};

use super::sets::data_settings;
use crate::arguments::{json_option, wants_json, with_settings};
use crate::failure::Failure;
use crate::terminal;

pub(super) fn command() -> Command {
    with_settings(Command::new("stats"), &[Section::Dataset])
        .about("Counts and measures pictures and objects, by class and split")
        .args([
            Arg::new("picture")
                .long("picture")
                .value_name("FILE.jpg")
                .help("Also draw the training labels, as every run does"),
            json_option(),
        ])
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = data_settings(matches)?;
    let mut announcer = Announcer::new();
    let description = data::open(&settings, &mut announcer, &AtomicBool::new(false))?.description;
    let mut splits = Vec::new();
    for name in SplitName::ALL.into_iter().filter(|&name| description.has(name)) {
        splits.push(data::scan(&description, name, &settings, &mut announcer)?);
    }
    if let (Some(file), Some(split)) = (matches.get_one::<String>("picture"), splits.first()) {
        data::draw_labels(split, std::path::Path::new(file))?;
        terminal::say(&format!("picture    {file}"));
    }
    let named: Vec<(String, &Split)> = splits.iter().map(|split| (split.name.to_string(), split.as_ref())).collect();
    if wants_json(matches) {
        let named: Vec<(&str, &Split)> = named.iter().map(|(name, split)| (name.as_str(), *split)).collect();
        return terminal::print_json(&data::statistics(&named));
    }
    let figures: Vec<(String, Statistics)> =
        named.iter().map(|(name, split)| (name.clone(), split.statistics())).collect();
    terminal::print(&table(&figures, &description.names))
}

fn table(splits: &[(String, Statistics)], names: &[String]) -> String {
    let mut text = format!(
        "{:8}{:>9}{:>13}{:>9}  {:22}{}\n",
        "", "pictures", "backgrounds", "objects", "per picture", "sizes of pictures"
    );
    for (name, found) in splits {
        let sizes: Vec<String> = found
            .image_sizes
            .iter()
            .take(3)
            .map(|([height, width], count)| format!("{width}×{height} ({count})"))
            .collect();
        let [least, _, median, _, most] = found.boxes_per_image.0;
        let each = format!("{least:.0} to {most:.0}, median {median:.0}");
        text += &format!(
            "{name:8}{:>9}{:>13}{:>9}  {each:22}{}\n",
            found.images,
            found.backgrounds,
            found.boxes,
            sizes.join(", ")
        );
    }
    for (name, found) in splits {
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(5, 24);
        text += &format!(
            "\n{}\n{:width$}  {:>8}{:>9}  {:22}{:20}{}\n",
            terminal::bold(name),
            "class",
            "objects",
            "pictures",
            "side in pixels",
            "width : height",
            "small, medium, large"
        );
        let mut row = |label: &str, objects: usize, pictures: usize, shapes: &Shapes| {
            let label: String = label.chars().take(width).collect();
            let shapes = if objects == 0 { String::new() } else { shown(shapes) };
            text += format!("{label:width$}  {objects:>8}{pictures:>9}  {shapes}").trim_end();
            text.push('\n');
        };
        for (class, label) in names.iter().enumerate() {
            let objects = found.boxes_per_class[class];
            row(label, objects, found.images_per_class[class], &found.shapes_per_class[class]);
        }
        row("all", found.boxes, found.images - found.backgrounds, &found.shapes);
    }
    text
}

fn shown(shapes: &Shapes) -> String {
    let [least, _, median, _, most] = shapes.side.0;
    let side = format!("{median:.0} ({least:.0} to {most:.0})");
    let [low, _, middle, _, high] = shapes.aspect.0;
    let aspect = format!("{middle:.2} ({low:.2} to {high:.2})");
    let [small, medium, large] = shapes.areas;
    format!("{side:22}{aspect:20}{small}, {medium}, {large}")
}
