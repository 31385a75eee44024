//! Letters: DejaVu Sans, built into the program, so that every machine draws the same.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};

use crate::image::{Colour, Image};

/// Smallest letters that are drawn, in pixels.
pub(crate) const SMALLEST: f32 = 11.0;

/// Height of capital letters as a share of the size, to centre a line by.
pub(crate) const CAPITALS: f32 = 0.729;

static REGULAR: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");
static BOLD: &[u8] = include_bytes!("../fonts/DejaVuSans-Bold.ttf");

/// Size, weight and colour of letters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Pixels of an em.
    pub size: f32,
    /// Whether they are heavy.
    pub bold: bool,
    /// Their colour.
    pub colour: Colour,
}

impl Style {
    pub(crate) fn regular(size: f32, colour: Colour) -> Self {
        Style { size, bold: false, colour }
    }

    pub(crate) fn bold(size: f32, colour: Colour) -> Self {
        Style { size, bold: true, colour }
    }
}

/// Where a text lies about its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

fn font(bold: bool) -> Option<&'static FontRef<'static>> {
    static FONTS: OnceLock<[Option<FontRef<'static>>; 2]> = OnceLock::new();
    FONTS.get_or_init(|| [REGULAR, BOLD].map(|bytes| FontRef::try_from_slice(bytes).ok()))[usize::from(bold)].as_ref()
}

/// The glyphs of a line that begins at `(0, 0)` on its baseline, and where it ends.
fn lay_out(font: &FontRef<'static>, text: &str, size: f32) -> (Vec<Glyph>, f32) {
    let units = font.units_per_em().unwrap_or(2048.0);
    let scale = PxScale::from(size * font.height_unscaled() / units);
    let scaled = font.as_scaled(scale);
    let (mut x, mut last) = (0f32, None);
    let mut glyphs = Vec::new();
    for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        let id = scaled.glyph_id(letter);
        if let Some(last) = last {
            x += scaled.kern(last, id);
        }
        glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
        x += scaled.h_advance(id);
        last = Some(id);
    }
    (glyphs, x)
}

/// Pixels that a line takes from left to right.
pub fn width(text: &str, style: Style) -> f32 {
    font(style.bold).map_or(0.0, |font| lay_out(font, text, style.size).1)
}

/// The text, or as much of its beginning as fits into these pixels, with an ellipsis.
pub fn fit(text: &str, style: Style, pixels: f32) -> String {
    if width(text, style) <= pixels {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let shortened = |count: usize| letters[..count].iter().collect::<String>().trim_end().to_owned() + "…";
    // The longest beginning that fits, by halving: names may be thousands of letters long.
    let (mut fits, mut too_long) = (0, letters.len());
    while too_long - fits > 1 {
        let middle = (fits + too_long) / 2;
        if width(&shortened(middle), style) <= pixels { fits = middle } else { too_long = middle }
    }
    shortened(fits)
}

/// Draws a line on its baseline, from left to right.
pub(crate) fn draw(image: &mut Image, text: &str, at: [f32; 2], align: Align, style: Style) {
    let at = [at[0], at[1].round()];
    place(text, at[0], align, style, |x, y, share| image.blend(x, y + at[1] as i64, style.colour, share));
}

/// Draws a line from bottom to top; `at` is on its baseline, which is to the right of the letters.
pub(crate) fn draw_upwards(image: &mut Image, text: &str, at: [f32; 2], align: Align, style: Style) {
    let at = [at[0].round(), at[1]];
    // The line's way runs against the rows.
    place(text, -at[1], align, style, |x, y, share| image.blend(at[0] as i64 + y, -1 - x, style.colour, share));
}

/// Tells of every pixel that the letters touch: its place along the line, its place across the baseline, its coverage.
fn place(text: &str, start: f32, align: Align, style: Style, mut pixel: impl FnMut(i64, i64, f32)) {
    let Some(font) = font(style.bold) else {
        return;
    };
    let (glyphs, length) = lay_out(font, text, style.size);
    let start = match align {
        Align::Start => start,
        Align::Middle => start - length / 2.0,
        Align::End => start - length,
    };
    for mut glyph in glyphs {
        glyph.position.x += start;
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
            outline.draw(|x, y, share| pixel(left + i64::from(x), top + i64::from(y), share.clamp(0.0, 1.0)));
        }
    }
}

/// Baseline that centres capital letters about `y`.
pub(crate) fn baseline(y: f32, size: f32) -> f32 {
    y + size * CAPITALS / 2.0
}

/// A class's name as it can be shown: its own where the built-in letters have it, `class 7` where they do not (most letters are of
/// another script) or where there is none. Single letters that are missing become `□`.
pub fn class_name(names: &[String], class: usize) -> String {
    let number = || format!("class {class}");
    names.get(class).filter(|name| !name.trim().is_empty()).map_or_else(number, |name| {
        let shown = shown(name);
        let missing = shown.chars().filter(|&letter| letter == '□').count();
        if missing * 3 > shown.chars().count() { number() } else { shown }
    })
}

/// A text with `□` for every letter that the built-in font lacks.
pub fn shown(text: &str) -> String {
    let Some(font) = font(false) else {
        return text.to_owned();
    };
    let known = |letter: char| letter.is_control() || letter == '□' || font.glyph_id(letter).0 != 0;
    text.chars().map(|letter| if known(letter) { letter } else { '□' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::WHITE;

    fn style(size: f32) -> Style {
        Style::regular(size, [0; 3])
    }

    /// `[left, top, right, bottom)` of everything darker than half.
    fn dark(image: &Image) -> [usize; 4] {
        let mut around = [usize::MAX, usize::MAX, 0, 0];
        for y in 0..image.height {
            for x in (0..image.width).filter(|&x| image.pixel(x, y)[0] < 128) {
                around = [around[0].min(x), around[1].min(y), around[2].max(x + 1), around[3].max(y + 1)];
            }
        }
        around
    }

    #[test]
    fn letters_stand_on_their_baseline_with_their_size() {
        let mut image = Image::new(200, 100, WHITE);
        draw(&mut image, "HHHH", [10.0, 60.0], Align::Start, style(40.0));
        let [left, top, right, bottom] = dark(&image);
        // DejaVu's capitals are 1493 of 2048 units high, its H 1540 wide with 201 before the stem.
        assert_eq!((bottom, bottom - top), (60, 29));
        assert!((13..=15).contains(&left), "{left}");
        let expected = 10.0 + 4.0 * 40.0 * 1540.0 / 2048.0;
        assert!((width("HHHH", style(40.0)) - (expected - 10.0)).abs() < 0.1);
        assert!((right as f32) < expected && right as f32 > expected - 6.0, "{right}");
    }

    #[test]
    fn a_line_upwards_is_the_level_one_turned() {
        let mut level = Image::new(120, 120, WHITE);
        draw(&mut level, "Rg", [20.0, 50.0], Align::Start, style(30.0));
        let mut upwards = Image::new(120, 120, WHITE);
        draw_upwards(&mut upwards, "Rg", [50.0, 100.0], Align::Start, style(30.0));
        for y in 0..120 {
            for x in 20..120 {
                assert_eq!(level.pixel(x, y), upwards.pixel(y, 119 - x), "{x} {y}");
            }
        }
    }

    #[test]
    fn texts_end_and_centre_where_they_should() {
        for (align, expected) in [(Align::Start, 100.0), (Align::Middle, 85.0), (Align::End, 70.0)] {
            let mut image = Image::new(200, 50, WHITE);
            let size = 30.0 / (1540.0 / 2048.0);
            draw(&mut image, "H", [100.0, 45.0], align, style(size));
            let [left, _, right, _] = dark(&image);
            let middle = (left + right) as f32 / 2.0;
            assert!((middle - (expected + 15.0)).abs() <= 1.0, "{align:?}: {middle}");
        }
    }

    #[test]
    fn long_texts_are_cut_to_the_room() {
        let long = "a very long name of a class ".repeat(400);
        let cut = fit(&long, style(14.0), 120.0);
        assert!(cut.starts_with("a very long") && cut.ends_with('…'), "{cut}");
        assert!(width(&cut, style(14.0)) <= 120.0);
        assert_eq!(fit("cat", style(14.0), 120.0), "cat");
        assert_eq!(fit("cat", style(14.0), 1.0), "…");
        assert_eq!(fit("", style(14.0), 0.0), "");
    }

    #[test]
    fn names_in_other_scripts_are_shown_as_something_sensible() {
        let names = ["Größe", "кошка", "γάτα", "猫", "", "cat 猫", "mèo trắng"].map(String::from);
        let shown: Vec<String> = (0..8).map(|class| class_name(&names, class)).collect();
        assert_eq!(shown, ["Größe", "кошка", "γάτα", "class 3", "class 4", "cat □", "mèo trắng", "class 7"]);
    }
}
