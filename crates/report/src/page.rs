//! A page about a data set's faults: one HTML file with everything in it, for light and dark screens, without a network.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Image};

/// Places of one section that are shown at once; the others are behind a click.
const SHOWN: usize = 6;
/// Most places of one section that are listed at all.
const MOST: usize = 500;

/// What the page says.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// Below the heading: which data, looked at how.
    pub subtitle: String,
    /// Names of the splits.
    pub splits: Vec<String>,
    /// Pictures, backgrounds and objects of each split.
    pub totals: Vec<[usize; 3]>,
    /// Each class with its objects in each split.
    pub classes: Vec<(String, Vec<usize>)>,
    /// What was found, the serious first.
    pub sections: Vec<Section>,
}

/// Findings of one kind.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The check's name.
    pub id: String,
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// What it is.
    pub title: String,
    /// What would mend it.
    pub fix: String,
    /// Places with what is wrong there.
    pub entries: Vec<(String, String)>,
    /// Pictures of some of them.
    pub evidence: Vec<Evidence>,
}

/// What a finding looks like: a picture, or two that belong together.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// One or two.
    pub images: Vec<Image>,
    /// Which file, what is wrong.
    pub caption: String,
}

/// The page's text.
///
/// # Errors
/// A picture cannot be encoded.
pub fn render(page: &Page) -> Result<String, Error> {
    let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    html += "<meta name=\"color-scheme\" content=\"light dark\">\n";
    let _ = write!(html, "<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n", escaped(&page.title));
    let _ = writeln!(html, "<h1>{}</h1>\n<p class=\"quiet\">{}</p>", escaped(&page.title), escaped(&page.subtitle));
    verdict(&mut html, page);
    totals(&mut html, page);
    classes(&mut html, page);
    for section in &page.sections {
        write_section(&mut html, section)?;
    }
    html += "</main>\n</body>\n</html>\n";
    Ok(html)
}

fn verdict(html: &mut String, page: &Page) {
    let count = |severity: &str| -> usize {
        page.sections.iter().filter(|section| section.severity == severity).map(|section| section.entries.len()).sum()
    };
    html.push_str("<ul class=\"verdict\">\n");
    for (severity, one, many) in
        [("error", "error", "errors"), ("warning", "warning", "warnings"), ("note", "note", "notes")]
    {
        let count = count(severity);
        let class = if count == 0 { "none" } else { severity };
        let _ = writeln!(html, "<li class=\"{class}\"><b>{count}</b> {}</li>", if count == 1 { one } else { many });
    }
    html.push_str("</ul>\n");
    if page.sections.is_empty() {
        html.push_str("<p>Nothing to complain about.</p>\n");
        return;
    }
    html.push_str("<nav><ol>\n");
    for section in &page.sections {
        let _ = writeln!(
            html,
            "<li><a href=\"#{0}\"><span class=\"dot {1}\"></span>{2}</a> <span class=\"quiet\">{3}</span></li>",
            escaped(&section.id),
            escaped(&section.severity),
            escaped(&section.title),
            section.entries.len()
        );
    }
    html.push_str("</ol></nav>\n");
}

fn totals(html: &mut String, page: &Page) {
    html.push_str("<table>\n<thead><tr><th>split</th><th>pictures</th><th>without objects</th><th>objects</th></tr></thead>\n<tbody>\n");
    for (split, [pictures, backgrounds, objects]) in page.splits.iter().zip(&page.totals) {
        let _ = writeln!(
            html,
            "<tr><th>{}</th><td>{pictures}</td><td>{backgrounds}</td><td>{objects}</td></tr>",
            escaped(split)
        );
    }
    html.push_str("</tbody>\n</table>\n");
}

fn classes(html: &mut String, page: &Page) {
    let most = page.classes.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or(0).max(1);
    let open = if page.classes.len() <= 12 { " open" } else { "" };
    let _ = writeln!(
        html,
        "<details{open}><summary>Objects of each class</summary>\n<table class=\"classes\">\n<thead><tr><th>class</th>"
    );
    page.splits.iter().for_each(|split| {
        let _ = write!(html, "<th>{}</th>", escaped(split));
    });
    html.push_str("</tr></thead>\n<tbody>\n");
    for (name, counts) in &page.classes {
        let _ = write!(html, "<tr><th>{}</th>", escaped(name));
        for count in counts {
            // The root lets rare classes be seen beside frequent ones.
            let share = (*count as f64 / most as f64).sqrt() * 92.0;
            let _ =
                write!(html, "<td><span class=\"bar\" style=\"width:{share:.0}%\"></span><span>{count}</span></td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></details>\n");
}

fn write_section(html: &mut String, section: &Section) -> Result<(), Error> {
    let (id, severity) = (escaped(&section.id), escaped(&section.severity));
    let _ = writeln!(
        html,
        "<section id=\"{id}\">\n<h2>{} <small>{}</small></h2>",
        escaped(&section.title),
        section.entries.len()
    );
    let _ =
        writeln!(html, "<p class=\"quiet\"><span class=\"chip {severity}\">{severity}</span> <code>{id}</code></p>");
    let _ = writeln!(html, "<p>To mend it: {}.</p>", code(&section.fix));
    if !section.evidence.is_empty() {
        html.push_str("<div class=\"pictures\">\n");
        for evidence in &section.evidence {
            html.push_str("<figure><div>");
            for image in &evidence.images {
                let _ = write!(
                    html,
                    "<img width=\"{}\" height=\"{}\" alt=\"\" src=\"data:image/jpeg;base64,{}\">",
                    image.width,
                    image.height,
                    STANDARD.encode(image.to_jpeg()?)
                );
            }
            let _ = writeln!(html, "</div><figcaption>{}</figcaption></figure>", escaped(&evidence.caption));
        }
        html.push_str("</div>\n");
    }
    let list = |html: &mut String, entries: &[(String, String)]| {
        html.push_str("<ul class=\"places\">\n");
        for (place, message) in entries {
            let _ = writeln!(html, "<li><code>{}</code> {}</li>", escaped(place), escaped(message));
        }
        html.push_str("</ul>\n");
    };
    let entries = &section.entries[..section.entries.len().min(MOST)];
    let (first, rest) = entries.split_at(entries.len().min(SHOWN));
    list(html, first);
    if !rest.is_empty() {
        let _ = writeln!(html, "<details><summary>{} more</summary>", section.entries.len() - first.len());
        list(html, rest);
        if section.entries.len() > MOST {
            let _ = writeln!(html, "<p class=\"quiet\">and {} that `--json` lists</p>", section.entries.len() - MOST);
        }
        html.push_str("</details>\n");
    }
    html.push_str("</section>\n");
    Ok(())
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

/// Text with what stands between backquotes as code.
fn code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) })
        .collect()
}

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2430; --muted: #687080; --line: #e2e5eb; --card: #f6f7f9;
  --error: #c8323f; --warning: #a86400; --note: #2e6fde; --bar: #9db9ea; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14161b; --ink: #e6e8ee; --muted: #9aa3b2; --line: #2c313b; --card: #1c1f27;
    --error: #ff7680; --warning: #f0b252; --note: #86b1ff; --bar: #3d5a92; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 0; }
h2 small { color: var(--muted); font-weight: 400; }
p { margin: .35rem 0; }
a { color: inherit; }
code { font: .875em ui-monospace, monospace; overflow-wrap: anywhere; }
.quiet { color: var(--muted); }
.verdict { list-style: none; display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; margin: 1.25rem 0; }
.verdict li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; color: var(--muted); }
.verdict b { font-size: 1.5rem; margin-right: .25rem; color: var(--ink); }
.verdict .error b { color: var(--error); } .verdict .warning b { color: var(--warning); } .verdict .note b { color: var(--note); }
nav ol { list-style: none; padding: 0; margin: 0 0 1.5rem; columns: 20rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
.dot { display: inline-block; width: .6rem; height: .6rem; border-radius: 50%; margin-right: .5rem; }
.dot.error { background: var(--error); } .dot.warning { background: var(--warning); } .dot.note { background: var(--note); }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { text-align: right; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th:first-child { text-align: left; font-weight: 600; } thead th { color: var(--muted); font-weight: 400; }
.classes td { min-width: 9rem; position: relative; text-align: left; padding-left: .25rem; }
.classes thead th { text-align: left; padding-left: .25rem; }
.classes td span { position: relative; }
.classes .bar { position: absolute; left: 0; top: .3rem; bottom: .3rem; background: var(--bar); border-radius: 2px; opacity: .7; }
section { border-top: 1px solid var(--line); padding-top: 1.25rem; margin-top: 1.75rem; }
.chip { font-size: .8rem; border: 1px solid currentColor; border-radius: 1rem; padding: .05rem .6rem; }
.chip.error { color: var(--error); } .chip.warning { color: var(--warning); } .chip.note { color: var(--note); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin: .9rem 0; align-items: flex-start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem; width: fit-content; min-width: 14rem; max-width: 100%; }
figure div { display: flex; flex-wrap: wrap; gap: .4rem; }
figure img { max-width: 100%; height: auto; max-height: 15rem; width: auto; border-radius: .25rem; }
figcaption { color: var(--muted); font-size: .85rem; width: 0; min-width: 100%; margin-top: .35rem; overflow-wrap: anywhere; }
.places { padding-left: 1.1rem; margin: .5rem 0; } .places li { margin: .2rem 0; } .places code { color: var(--muted); }
summary { cursor: pointer; color: var(--muted); margin: .35rem 0; }
@media print { nav, summary { display: none; } }
";

#[cfg(test)]
mod tests {
    use super::*;

    fn section(entries: usize) -> Section {
        Section {
            id: "label-outside".into(),
            severity: "error".into(),
            title: "A box outside".into(),
            fix: "use `--fix`".into(),
            entries: (0..entries).map(|number| (format!("a{number}.txt:1"), "x < 0 & y".into())).collect(),
            evidence: vec![Evidence { images: vec![Image::new(8, 6, [9; 3])], caption: "<b>".into() }],
        }
    }

    #[test]
    fn the_page_stands_alone_and_says_everything() {
        let page = Page {
            title: "Cells <&>".into(),
            splits: vec!["train".into()],
            totals: vec![[3, 1, 7]],
            classes: vec![("a".into(), vec![7])],
            sections: vec![section(9)],
            ..Page::default()
        };
        let html = render(&page).unwrap();
        assert!(html.contains("<title>Cells &lt;&amp;&gt;</title>"));
        assert!(html.contains("<li class=\"error\"><b>9</b> errors</li>"));
        assert!(html.contains("To mend it: use <code>--fix</code>."));
        assert_eq!(html.matches("x &lt; 0 &amp; y").count(), 9);
        assert!(html.contains("<details><summary>3 more</summary>"));
        assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), 1);
        // Nothing is fetched, nothing is run.
        assert!(!html.contains("http") && !html.contains("<script") && !html.contains("@import"));
        assert!(html.contains("prefers-color-scheme: dark"));
        for tag in ["section", "ul", "details", "figure", "table", "main", "nav", "div"] {
            assert_eq!(html.matches(&format!("<{tag}")).count(), html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn nothing_found_is_said() {
        let html = render(&Page::default()).unwrap();
        assert!(html.contains("Nothing to complain about."));
    }
}
