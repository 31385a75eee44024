//! Completion for the shells, from the table of settings: `key=`, then the words or files that the key takes.

use std::fmt::Write as _;

use yolo11_config::{Setting, table};

use crate::commands;

/// Keys whose value is a file or folder, and those that name the settings file.
const FILES: &[&str] = &["config", "cfg", "data", "file", "model", "pretrained", "project", "resume", "source"];

/// Words that follow a subcommand that takes no settings.
const FIXED: &[(&str, &str)] = &[
    ("completion", "bash zsh fish"),
    ("version", "--json"),
    ("init", ""),
    ("services", SERVICES),
    ("tracking", "status sync --json"),
    (
        "data",
        "check stats view import export split merge filter remap sample init add status diff checkout commit push fetch pull remote gc",
    ),
];
/// What `services` does, and its options.
const SERVICES: &str = "start stop status logs doctor postgres s3 mlflow --stack compose embedded --timeout --volumes --yes --follow --json";
/// What `benchmark` measures.
const BENCHMARKS: &str = "train infer loader";

/// For bash, which cuts words at `=`: only the part behind it is answered there.
pub(crate) fn bash() -> String {
    let mut text = String::from(
        "# Completion of yolo11 for bash.\n_yolo11() {\n    local line=\"${COMP_LINE:0:COMP_POINT}\" word key value files=\n    word=\"${line##* }\"\n    COMPREPLY=()\n",
    );
    let _ = writeln!(
        text,
        "    if [[ $COMP_CWORD -eq 1 ]]; then\n        COMPREPLY=($(compgen -W \"{} --help --version\" -- \"$word\"))\n        return\n    fi",
        subcommands()
    );
    let _ = writeln!(text, "    case \"${{COMP_WORDS[1]}}\" in");
    for (name, words) in FIXED {
        let answer = if words.is_empty() {
            "$(compgen -d -- \"$word\")".to_owned()
        } else {
            format!("$(compgen -W \"{words}\" -- \"$word\")")
        };
        let _ = writeln!(text, "        {name}) COMPREPLY=({answer}); return ;;");
    }
    text.push_str("    esac\n    if [[ $word == *=* ]]; then\n        key=\"${word%%=*}\" value=\"${word#*=}\"\n        case \"$key\" in\n");
    for setting in table().filter(|setting| !setting.choices.is_empty()) {
        let _ = writeln!(
            text,
            "            {}) COMPREPLY=($(compgen -W \"{}\" -- \"$value\")) ;;",
            spellings(setting).join("|"),
            setting.choices.join(" ")
        );
    }
    let _ = writeln!(
        text,
        "        esac\n        case \"$key\" in\n            {}) files=1 ;;\n        esac",
        file_keys().join("|")
    );
    text.push_str(
        "        [[ -z $files ]] || COMPREPLY+=($(compgen -f -- \"$value\"))\n        [[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=(\"${COMPREPLY[@]/#/$key=}\")\n        return\n    fi\n",
    );
    let _ = writeln!(
        text,
        "    [[ ${{COMP_WORDS[1]}} != benchmark ]] || COMPREPLY=($(compgen -W \"{BENCHMARKS}\" -- \"$word\"))"
    );
    let _ = writeln!(text, "    COMPREPLY+=($(compgen -S = -W \"{}\" -- \"$word\"))", keys().join(" "));
    text.push_str(
        "    COMPREPLY+=($(compgen -W \"--json --help\" -- \"$word\") $(compgen -f -X '!*.y*ml' -- \"$word\"))\n    [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null\n}\ncomplete -o filenames -F _yolo11 yolo11\n",
    );
    text
}

/// For zsh.
pub(crate) fn zsh() -> String {
    let mut text = String::from("#compdef yolo11\n# Completion of yolo11 for zsh.\n_yolo11() {\n");
    let _ = writeln!(
        text,
        "    if (( CURRENT == 2 )); then\n        compadd -- {} --help --version\n        return\n    fi",
        subcommands()
    );
    text.push_str("    case ${words[2]} in\n");
    for (name, words) in FIXED {
        let answer = if words.is_empty() { "_files -/".to_owned() } else { format!("compadd -- {words}") };
        let _ = writeln!(text, "        {name}) {answer}; return ;;");
    }
    text.push_str("    esac\n    if compset -P '*='; then\n        case ${IPREFIX%=} in\n");
    for setting in table().filter(|setting| !setting.choices.is_empty()) {
        let _ =
            writeln!(text, "            {}) compadd -- {} ;;", spellings(setting).join("|"), setting.choices.join(" "));
    }
    let _ = writeln!(
        text,
        "        esac\n        case ${{IPREFIX%=}} in\n            {}) _files ;;\n        esac\n        return\n    fi",
        file_keys().join("|")
    );
    let _ = writeln!(text, "    [[ ${{words[2]}} != benchmark ]] || compadd -- {BENCHMARKS}");
    let _ = writeln!(
        text,
        "    compadd -S = -- {}\n    compadd -- --json --help\n    _files -g '*.y*ml'\n}}",
        keys().join(" ")
    );
    text.push_str("if [[ $funcstack[1] == _yolo11 ]]; then _yolo11 \"$@\"; else compdef _yolo11 yolo11; fi\n");
    text
}

/// For fish, which shows the help beside each key.
pub(crate) fn fish() -> String {
    let mut text = String::from("# Completion of yolo11 for fish.\n");
    for subcommand in commands::ALL {
        let about = (subcommand.command)().get_about().map(ToString::to_string).unwrap_or_default();
        let (name, about) = (subcommand.name, quoted(&about));
        let _ = writeln!(text, "complete -c yolo11 -f -n __fish_use_subcommand -a {name} -d {about}");
    }
    let _ = writeln!(text, "complete -c yolo11 -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'");
    let _ = writeln!(text, "complete -c yolo11 -f -n '__fish_seen_subcommand_from benchmark' -a '{BENCHMARKS}'");
    let _ = writeln!(text, "complete -c yolo11 -f -n '__fish_seen_subcommand_from services' -a '{SERVICES}'");
    let takes: Vec<_> =
        commands::ALL.iter().map(|subcommand| subcommand.name).filter(|name| takes_settings(name)).collect();
    let condition = format!("-n '__fish_seen_subcommand_from {}'", takes.join(" "));
    for setting in table() {
        let (name, help) = (setting.name, quoted(setting.help.trim()));
        let _ = writeln!(text, "complete -c yolo11 {condition} -a {name}= -d {help}");
        for choice in setting.choices {
            let _ = writeln!(text, "complete -c yolo11 {condition} -a {name}={choice} -d {help}");
        }
    }
    text
}

fn takes_settings(subcommand: &str) -> bool {
    FIXED.iter().all(|(name, _)| *name != subcommand)
}

fn subcommands() -> String {
    commands::ALL.iter().map(|subcommand| subcommand.name).collect::<Vec<_>>().join(" ")
}

/// Names that are offered: one a setting, so that the list stays short.
fn keys() -> Vec<&'static str> {
    table().map(|setting| setting.name).chain(["config"]).collect()
}

/// Every name of a setting: its values complete under an alias too.
fn spellings(setting: &Setting) -> Vec<&'static str> {
    std::iter::once(setting.name).chain(setting.aliases.iter().copied()).collect()
}

fn file_keys() -> Vec<&'static str> {
    let aliases =
        table().filter(|setting| FILES.contains(&setting.name)).flat_map(|setting| setting.aliases.iter().copied());
    FILES.iter().copied().chain(aliases).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
