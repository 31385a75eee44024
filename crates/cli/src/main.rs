//! The command `yolo11`.
fn main() {}
