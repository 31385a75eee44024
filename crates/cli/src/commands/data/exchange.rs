//! `yolo11 data import` and `yolo11 data export`: annotations of other programs.

use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgMatches, Command};
use yolo11_dataset::annotations::Link;
use yolo11_dataset::formats::{Crowds, Format, ImportOptions, export, import};

use super::sets::{link, link_option, list, option, read, required, say_findings, split, summarise, switch, write};
use crate::arguments::json_option;
use crate::failure::Failure;

const CROWDS: [(&str, Crowds); 3] = [("apart", Crowds::Apart), ("keep", Crowds::Keep), ("drop", Crowds::Drop)];

fn format() -> clap::Arg {
    required("format", "FORMAT", "Of the annotations").value_parser(Format::ALL.map(|(word, _)| word))
}

pub(super) fn commands() -> [Command; 2] {
    [
        Command::new("import").about("Makes a data set of another program's annotations, in a new folder").args([
            format(),
            required("source", "SOURCE", "The annotation file, or the folder of them"),
            required("output", "FOLDER", "The new data set"),
            option("images", "FOLDER", "Where the pictures are; the source's own folder if not given")
                .action(ArgAction::Append),
            option("split", "SPLIT", "Everything belongs to this split; else names of files and folders tell"),
            option("names", "A,B,C", "Classes in this order, for formats that list none").action(ArgAction::Append),
            option("crowds", "HOW", "COCO's crowds: apart (only in origin.json), keep (as objects) or drop")
                .value_parser(CROWDS.map(|(word, _)| word))
                .default_value("apart"),
            switch("one-based", "VOC pixels are counted from 1, as its first tools did"),
            link_option(),
            json_option(),
        ]),
        Command::new("export").about("Writes a data set as another program's annotations, in a new folder").args([
            format(),
            required("data", "DATA", "A dataset.yaml or its folder"),
            required("output", "FOLDER", "The new folder"),
            link_option(),
            json_option(),
        ]),
    ]
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

pub(super) fn run_import(matches: &ArgMatches) -> Result<(), Failure> {
    let format = Format::from_word(text(matches, "format")).unwrap_or(Format::Yolo);
    let options = ImportOptions {
        images: matches.get_many::<String>("images").into_iter().flatten().map(PathBuf::from).collect(),
        split: matches.get_one::<String>("split").map(|word| split(word)).transpose()?,
        crowds: CROWDS
            .iter()
            .find(|(word, _)| *word == text(matches, "crowds"))
            .map_or(Crowds::Apart, |(_, crowds)| *crowds),
        one_based: matches.get_flag("one-based"),
        names: list(matches, "names"),
        labels_only: link(matches) == Link::None,
    };
    let (annotations, findings) = import(format, Path::new(text(matches, "source")), &options)?;
    say_findings(&findings);
    write(&annotations, Path::new(text(matches, "output")), matches, &findings)
}

pub(super) fn run_export(matches: &ArgMatches) -> Result<(), Failure> {
    let format = Format::from_word(text(matches, "format")).unwrap_or(Format::Yolo);
    let annotations = read(text(matches, "data"))?;
    let output = Path::new(text(matches, "output"));
    export(&annotations, format, output, link(matches))?;
    summarise(&annotations, &[], output, matches)
}
