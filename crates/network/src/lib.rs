//! What a YOLO11 is.
