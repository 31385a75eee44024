//! `yolo11 data` and the real `dvc` on the same trees: the same bytes, the same opinion, in any order.
//!
//! YOLO11_PYTHON_DVC names the interpreter of a virtual environment with `dvc[s3]`; the tool is `dvc` beside it.
#![cfg(unix)]

mod drills;
mod elsewhere;
mod property;
mod remotes;
mod tools;
