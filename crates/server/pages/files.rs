//! The pages, embedded: HTML, styles and JavaScript modules as they stand in this folder, built by nothing.

/// One file of the pages.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Where it is served, without a leading slash.
    pub path: &'static str,
    /// Its Content-Type.
    pub kind: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

/// The Content-Security-Policy of every page: nothing from elsewhere, no script or style in the markup, in no frame.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! files {
    ($($kind:ident $path:literal,)*) => {
        &[$(File { path: $path, kind: $kind, bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/pages/", $path)) }),*]
    };
}

/// Every file of the pages; `index.html` is also what `/` answers.
pub const FILES: &[File] = files![
    HTML "index.html",
    PICTURE "icon.svg",
    STYLE "style/base.css",
    STYLE "style/pages.css",
    STYLE "style/parts.css",
    SCRIPT "app.js",
    SCRIPT "lib/api.js",
    SCRIPT "lib/dom.js",
    SCRIPT "lib/format.js",
    SCRIPT "lib/history.js",
    SCRIPT "lib/images.js",
    SCRIPT "lib/markdown.js",
    SCRIPT "lib/metrics.js",
    SCRIPT "lib/palette.js",
    SCRIPT "lib/poll.js",
    SCRIPT "lib/prefs.js",
    SCRIPT "lib/progress.js",
    SCRIPT "lib/route.js",
    SCRIPT "lib/runs.js",
    SCRIPT "pages/compare.js",
    SCRIPT "pages/models.js",
    SCRIPT "pages/run.js",
    SCRIPT "pages/runs.js",
    SCRIPT "parts/board.js",
    SCRIPT "parts/chart.js",
    SCRIPT "parts/columns.js",
    SCRIPT "parts/dialog.js",
    SCRIPT "parts/empty.js",
    SCRIPT "parts/files.js",
    SCRIPT "parts/gallery.js",
    SCRIPT "parts/log.js",
    SCRIPT "parts/matrix.js",
    SCRIPT "parts/notes.js",
    SCRIPT "parts/parallel.js",
    SCRIPT "parts/plot.js",
    SCRIPT "parts/scale.js",
    SCRIPT "parts/search.js",
    SCRIPT "parts/series.js",
    SCRIPT "parts/settings.js",
    SCRIPT "parts/table.js",
];
