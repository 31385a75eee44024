//! The program that an exported file is for, where a Python with it is at hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::Error;

const SCRIPT: &str = include_str!("runtime.py");
/// The script leaves with this where the program is not installed.
const NOT_INSTALLED: i32 = 3;

/// An output: its shape and values.
pub(super) type Output = (Vec<usize>, Vec<f32>);

/// An exported file, running.
pub(super) struct Runtime {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    path: PathBuf,
    size: [usize; 2],
    /// What runs it, with its version.
    pub name: String,
}

impl Runtime {
    /// Starts what runs files of a format; none where `python` is missing or lacks it.
    ///
    /// # Errors
    /// The program is there and refuses the file.
    pub fn start(python: &Path, format: &str, path: &Path, size: [usize; 2]) -> Result<Option<Runtime>, Error> {
        let started = Command::new(python)
            .args(["-c", SCRIPT, format])
            .arg(path)
            .args(size.map(|side| side.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else { return Ok(None) };
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Ok(None) };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let read = output.read_line(&mut line);
        if read.is_err() || line.is_empty() {
            drop(input);
            let ended = child.wait_with_output();
            return match ended {
                Ok(ended) if ended.status.code() == Some(NOT_INSTALLED) => Ok(None),
                Ok(ended) => Err(refused(path, &String::from_utf8_lossy(&ended.stderr))),
                Err(_) => Ok(None),
            };
        }
        let about: Value = serde_json::from_str(&line).unwrap_or_default();
        let name = about["runtime"].as_str().unwrap_or(format).to_owned();
        Ok(Some(Runtime { child, input: Some(input), output, path: path.to_owned(), size, name }))
    }

    /// What comes out for pictures `[picture, height, width, 3]` of bytes.
    pub fn run(&mut self, pictures: &[u8]) -> Result<Vec<Output>, Error> {
        let [height, width] = self.size;
        self.exchange(pictures, pictures.len() / (height * width * 3)).map_err(|error| {
            let mut said = String::new();
            self.input = None;
            if let Some(mut stderr) = self.child.stderr.take() {
                let _ = stderr.read_to_string(&mut said);
            }
            refused(&self.path, if said.trim().is_empty() { &error } else { &said })
        })
    }

    fn exchange(&mut self, pictures: &[u8], count: usize) -> Result<Vec<Output>, String> {
        let input = self.input.as_mut().ok_or("it has ended")?;
        let sent = writeln!(input, "{count}").and_then(|()| input.write_all(pictures)).and_then(|()| input.flush());
        sent.map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        let shapes: Vec<Vec<usize>> = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let mut outputs = Vec::new();
        for shape in shapes {
            let mut bytes = vec![0; 4 * shape.iter().product::<usize>()];
            self.output.read_exact(&mut bytes).map_err(|error| error.to_string())?;
            let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            outputs.push((shape, values));
        }
        Ok(outputs)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // It ends when nothing more comes in.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// The last line that was said is the one that tells why.
fn refused(path: &Path, said: &str) -> Error {
    let reason = said.trim().lines().last().unwrap_or("it ended without a word").to_owned();
    Error::Verification { path: path.to_owned(), reason: format!("its runtime cannot run it: {reason}") }
}
