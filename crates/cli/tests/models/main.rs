//! Models in every form: exported files in the hands of the programs they are for, checkpoints on their way to the reference trainer and
//! back, pictures and videos through every back end. Needs the reference data (`YOLO11_SHARED`), Pythons with what `.ci` lists
//! (`YOLO11_PYTHON`, `YOLO11_PYTHON_EXPORT`), and ffmpeg for videos; tests say what they lack.

mod bench;
mod exports;
mod onnx;
mod predict;
mod round_trip;
mod wrong_files;
