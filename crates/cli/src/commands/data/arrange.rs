//! `yolo11 data split`, `merge`, `filter`, `remap` and `sample`: new data sets from old ones.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use yolo11_dataset::Annotations;
use yolo11_dataset::annotations::{Filter, Grouping, Parts, Share};

use super::sets::{link_option, list, number, option, path, read, required, split, switch, write};
use crate::arguments::json_option;
use crate::failure::Failure;

/// Share of val where none is given.
const VAL: f64 = 0.2;

pub(super) fn commands() -> [Command; 5] {
    let data = || required("data", "DATA", "A dataset.yaml or its folder");
    let output = || required("output", "FOLDER", "The new data set");
    let seed = || option("seed", "N", "Start of the random numbers [0]");
    let with = |command: Command| command.args([link_option(), json_option()]);
    [
        with(
            Command::new("split")
                .about("Divides a data set into train, val and test anew, each with its share of every class")
                .args([
                    data(),
                    output(),
                    option("train", "SHARE", "Share of train [what val and test leave]"),
                    option("val", "SHARE", "Share of val [0.2]"),
                    option("test", "SHARE", "Share of test [0]"),
                    option(
                        "group-by",
                        "WHAT",
                        "Keep pictures together: folder, alike, or a pattern of names such as '^(.*)_[0-9]+'",
                    ),
                    switch("plain", "By number of pictures alone, whatever they show"),
                    seed(),
                ]),
        ),
        with(
            Command::new("merge").about("Joins data sets: classes by their names").arg(
                Arg::new("data")
                    .value_name("DATA… FOLDER")
                    .num_args(3..)
                    .required(true)
                    .help("The sets, and last the new one"),
            ),
        ),
        with(Command::new("filter").about("Keeps some classes, splits or sizes of objects").args([
            data(),
            output(),
            option("classes", "A,B", "These classes, by name or number, in this order").action(ArgAction::Append),
            option("splits", "A,B", "These splits").action(ArgAction::Append),
            option("min-side", "PIXELS", "Objects whose shorter side is at least so long"),
            option("max-side", "PIXELS", "Objects whose longer side is at most so long"),
            switch("no-backgrounds", "Only pictures with objects"),
        ])),
        with(
            Command::new("remap").about("Renames, joins and drops classes").args([
                data(),
                output(),
                Arg::new("classes")
                    .value_name("OLD=NEW")
                    .num_args(1..)
                    .required(true)
                    .help("By name or number; OLD= drops the class"),
            ]),
        ),
        with(Command::new("sample").about("Keeps a part of each split, with like shares of every class").args([
            data(),
            output(),
            option("count", "N", "So many pictures of each split").conflicts_with("fraction"),
            option("fraction", "SHARE", "This share of each split"),
            seed(),
        ])),
    ]
}

pub(super) fn run(name: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    if name == "merge" {
        let mut paths: Vec<&String> = matches.get_many::<String>("data").into_iter().flatten().collect();
        let output = paths.pop().map_or("", String::as_str);
        let sets = paths.into_iter().map(|data| read(data)).collect::<Result<Vec<_>, _>>()?;
        return write(&Annotations::merge(sets), Path::new(output), matches, &[]);
    }
    let mut set = read(text("data"))?;
    match name {
        "split" => divide(&mut set, matches)?,
        "filter" => set.filter(&Filter {
            classes: list(matches, "classes"),
            splits: list(matches, "splits").iter().map(|word| split(word)).collect::<Result<_, _>>()?,
            min_side: number(matches, "min-side")?.unwrap_or(0.0),
            max_side: number(matches, "max-side")?,
            no_backgrounds: matches.get_flag("no-backgrounds"),
        })?,
        "remap" => {
            let pairs = matches.get_many::<String>("classes").into_iter().flatten();
            let pair = |pair: &String| {
                let parts = pair.split_once('=').map(|(old, new)| (old.trim().to_owned(), new.trim().to_owned()));
                parts.ok_or_else(|| {
                    Failure::usage(format!("`{pair}` maps nothing"), "write OLD=NEW, or OLD= to drop a class")
                })
            };
            set.remap(&pairs.map(pair).collect::<Result<_, _>>()?)?;
        }
        _ => {
            let share = match (number(matches, "count")?, number(matches, "fraction")?) {
                (Some(count), _) => Share::Count(count),
                (None, Some(fraction)) => Share::Fraction(fraction),
                (None, None) => return Err(Failure::usage("how many?", "give --count N or --fraction SHARE")),
            };
            set.sample(share, number(matches, "seed")?.unwrap_or(0))?;
        }
    }
    let output = path(matches, "output").unwrap_or_default();
    write(&set, &output, matches, &[])
}

fn divide(set: &mut Annotations, matches: &ArgMatches) -> Result<(), Failure> {
    let [train, val, test] = [number(matches, "train")?, number(matches, "val")?, number(matches, "test")?];
    let test: f64 = test.unwrap_or(0.0);
    // What is not said follows from the rest.
    let val: f64 = val.unwrap_or(train.map_or(VAL, |train: f64| ((1.0 - train - test) * 1e9).round() / 1e9));
    let train = train.unwrap_or(((1.0 - val - test) * 1e9).round() / 1e9);
    let parts = Parts {
        shares: [train, val, test],
        seed: number(matches, "seed")?.unwrap_or(0),
        stratify: !matches.get_flag("plain"),
    };
    let grouping = matches.get_one::<String>("group-by").map(|word| Grouping::from_word(word)).transpose()?;
    Ok(set.divide(&parts, grouping.as_ref())?)
}
