//! Files of other formats, run by the programs they are for in a Python that has them: to verify exports with.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::onnx::{Onnx, Output, Runtime};
use crate::{Backend, Error, LastRun, ModelInfo};

const SCRIPT: &str = include_str!("python.py");
/// The script leaves with this where the program is not installed.
const NOT_INSTALLED: i32 = 3;
/// More outputs of more values than any detector has are none.
const MOST_VALUES: usize = 1 << 30;

/// Opens a file of the format `torchscript`, `openvino`, `ncnn` or `tflite` in `python`; none where that is missing or lacks the
/// program. `info` says what the file is, `threads` on how many it runs.
///
/// # Errors
/// The program is there and cannot run the file.
pub fn open_in_python(
    python: &Path,
    format: &str,
    info: ModelInfo,
    threads: usize,
) -> Result<Option<Box<dyn Backend>>, Error> {
    let failed = |reason| Error::Run { path: info.path.clone(), backend: Python::NAME, reason };
    match Python::start(python, format, &info.path, threads).map_err(failed)? {
        Some((runtime, name)) => Ok(Some(Box::new(Onnx::new(runtime, info, name)?))),
        None => Ok(None),
    }
}

/// The script, running.
struct Python {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last_run: Option<LastRun>,
}

impl Python {
    /// With what runs the file and its version.
    fn start(python: &Path, format: &str, path: &Path, threads: usize) -> Result<Option<(Python, String)>, String> {
        let started = Command::new(python)
            .args(["-c", SCRIPT, format])
            .arg(path)
            .arg(threads.max(1).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else { return Ok(None) };
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Ok(None) };
        let mut python = Python { child, input: Some(input), output: BufReader::new(output), last_run: None };
        let mut line = String::new();
        let about: Option<Value> = match python.output.read_line(&mut line) {
            Ok(_) => serde_json::from_str(&line).ok(),
            Err(_) => None,
        };
        if let Some(name) = about.as_ref().and_then(|about| about["runtime"].as_str()) {
            return Ok(Some((python, name.to_owned())));
        }
        let said = python.last_words();
        match python.child.wait() {
            Ok(status) if status.code() == Some(NOT_INSTALLED) => Ok(None),
            _ => Err(said),
        }
    }

    fn exchange(&mut self, values: &[f32], shape: [usize; 4]) -> std::io::Result<Vec<Output>> {
        let input = self.input.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        writeln!(input, "{shape:?}")?;
        input.write_all(&bytes)?;
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let about: Value = serde_json::from_str(&line)?;
        self.last_run =
            about["seconds"].as_f64().map(|seconds| LastRun { seconds, peak_memory: about["memory"].as_u64() });
        let shapes: Vec<Vec<usize>> = serde_json::from_value(about["shapes"].clone())?;
        let mut outputs = Vec::new();
        for shape in shapes {
            let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
            let count = count.filter(|count| *count <= MOST_VALUES).ok_or(std::io::ErrorKind::InvalidData)?;
            let mut bytes = vec![0; 4 * count];
            self.output.read_exact(&mut bytes)?;
            outputs.push((shape, bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()));
        }
        Ok(outputs)
    }

    /// The last line that it said: the one that tells why it ended.
    fn last_words(&mut self) -> String {
        self.input = None;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        said.trim().lines().last().unwrap_or("it ended without a word").to_owned()
    }
}

impl Runtime for Python {
    const NAME: &'static str = "its runtime";

    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, String> {
        self.exchange(input, shape).map_err(|error| format!("{} ({error})", self.last_words()))
    }

    fn last_run(&self) -> Option<LastRun> {
        self.last_run
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It ends when nothing more comes in.
        self.input = None;
        let _ = self.child.wait();
    }
}
