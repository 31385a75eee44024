//! What reaches the terminal: data on stdout, talk on stderr, colour only where a person reads and NO_COLOR is not set.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// Writes text to stdout as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes one JSON value to stdout.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// A line of talk on stderr. That nobody can read it is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `error: …` and, where the text has that second line, `hint: …` on stderr.
pub(crate) fn say_error(text: &str) {
    let colour = wants_colour(&io::stderr());
    let (message, hint) = text.split_once("\nhint: ").map_or((text, None), |(message, hint)| (message, Some(hint)));
    say(&format!("{} {message}", style("error:", "1;31", colour)));
    if let Some(hint) = hint {
        say(&format!("{} {hint}", style("hint:", "1;36", colour)));
    }
}

/// Bold on a terminal's stdout.
pub(crate) fn bold(text: &str) -> String {
    style(text, "1", wants_colour(&io::stdout()))
}

fn wants_colour(stream: &impl IsTerminal) -> bool {
    // no-color.org: set and not empty.
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn style(text: &str, code: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::style;

    #[test]
    fn colour_is_asked_for() {
        assert_eq!(style("error:", "1;31", true), "\u{1b}[1;31merror:\u{1b}[0m");
        assert_eq!(style("error:", "1;31", false), "error:");
    }
}
