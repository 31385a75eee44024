//! Why a picture cannot be drawn or encoded.

/// What keeps a picture from being drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Sides and bytes do not go together.
    #[error("a picture of {width}×{height} pixels has {expected} bytes, not {found}")]
    Size {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes that these sides need.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The encoder refuses the picture.
    #[error("a picture of {width}×{height} pixels cannot be written as {format}: {reason}")]
    Encode {
        /// `JPEG` or `PNG`.
        format: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// The encoder's reason.
        reason: String,
    },
    /// A table of results cannot be read.
    #[error("results.csv, line {line}: {message}")]
    Results {
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}
