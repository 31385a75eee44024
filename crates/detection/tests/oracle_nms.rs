//! Suppression against recorded rows.

mod oracle;

use std::collections::HashMap;

use oracle::Recorded;
use yolo11_detection::geometry::xywh_to_xyxy;
use yolo11_detection::nms::{detect_decoded, suppress};
use yolo11_detection::{Detection, Heads, NmsSettings, detect};

const ANCHORS: usize = 420;

/// Every candidate of the recorded decoded output, in the head's order.
fn candidates(output: &[f32], classes: usize, settings: &NmsSettings) -> Vec<Detection> {
    let mut found = Vec::new();
    for row in output.chunks(4 + classes) {
        let bbox = xywh_to_xyxy([row[0], row[1], row[2], row[3]]);
        let scores = &row[4..];
        let greatest = scores.iter().copied().fold(0.0, f32::max);
        for (class, &score) in scores.iter().enumerate() {
            if score > settings.confidence && (settings.multi_label || score == greatest) {
                found.push(Detection { bbox, score, class });
            }
        }
    }
    found
}

fn row(detection: &Detection) -> [f32; 6] {
    let [x1, y1, x2, y2] = detection.bbox;
    [x1, y1, x2, y2, detection.score, detection.class as f32]
}

/// The recorded outputs hold many equal scores, and the recording took those in the order in which PyTorch's unstable
/// vector sort left them, which differs from processor to processor. So of equal scores the recorded rows come first here,
/// as recorded: every other candidate must then be suppressed by one of them, and all rows must be equal bit by bit.
#[test]
fn rows_equal_the_recording() {
    for classes in [3, 80] {
        let Some(recorded) = Recorded::step(classes) else { return };
        let Some(expected) = oracle::json(&format!("yolo11n_nc{classes}_s0_nms.json")) else { return };
        let output = recorded.rows("eval_output");
        let settings = [
            ("conf0.25_iou0.7_multilabel0", NmsSettings::default()),
            ("conf0.001_iou0.7_multilabel1", NmsSettings::evaluation()),
            ("conf0.05_iou0.45_multilabel1", NmsSettings { confidence: 0.05, iou: 0.45, ..NmsSettings::evaluation() }),
        ];
        for (key, settings) in settings {
            for (image, output) in output.chunks(ANCHORS * (4 + classes)).enumerate() {
                let rows: Vec<[f32; 6]> = expected[key][image]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| std::array::from_fn(|i| row[i].as_f64().unwrap() as f32))
                    .collect();
                assert!(rows.len() >= 15);
                let place: HashMap<[u32; 6], usize> =
                    rows.iter().enumerate().map(|(place, row)| (row.map(f32::to_bits), place)).collect();
                let place = |detection: &Detection| place.get(&row(detection).map(f32::to_bits)).unwrap_or(&usize::MAX);
                let mut candidates = candidates(output, classes, &settings);
                candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| place(a).cmp(place(b))));
                let found: Vec<[f32; 6]> = suppress(candidates, &settings).iter().map(row).collect();
                assert_eq!(found, rows, "{classes} classes, {key}, image {image}");

                // Where the scores are all different, our own order gives the same rows.
                let boxes: Vec<[f32; 4]> =
                    output.chunks(4 + classes).map(|row| [row[0], row[1], row[2], row[3]]).collect();
                let scores: Vec<f32> = output.chunks(4 + classes).flat_map(|row| row[4..].to_vec()).collect();
                let found: Vec<[f32; 6]> =
                    detect_decoded(&boxes, &scores, classes, &settings).iter().map(row).collect();
                if (classes, key) == (3, "conf0.25_iou0.7_multilabel0") {
                    assert_eq!(found, rows);
                } else {
                    assert!(found.len().abs_diff(rows.len()) <= 5, "{} {}", found.len(), rows.len());
                }
            }
        }
    }
}

#[test]
fn detections_from_the_head_equal_the_recording_but_for_rounding() {
    let Some(recorded) = Recorded::step(3) else { return };
    let Some(expected) = oracle::json("yolo11n_nc3_s0_nms.json") else { return };
    let (boxes, scores) = (recorded.rows("eval_boxes"), recorded.rows("eval_scores"));
    let heads = Heads { boxes: &boxes, scores: &scores, images: 2, classes: 3, size: [128, 160] };
    for image in 0..2 {
        let found = detect(&heads, image, &NmsSettings::default());
        let rows = expected["conf0.25_iou0.7_multilabel0"][image].as_array().unwrap();
        assert_eq!(found.len(), rows.len());
        for (detection, row) in found.iter().zip(rows) {
            for (side, value) in detection.bbox.iter().enumerate() {
                assert!((f64::from(*value) - row[side].as_f64().unwrap()).abs() < 1e-3);
            }
            assert!((f64::from(detection.score) - row[4].as_f64().unwrap()).abs() < 1e-6);
            assert_eq!(Some(detection.class as f64), row[5].as_f64());
        }
    }
}
