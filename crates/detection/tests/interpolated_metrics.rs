//! The interpolated figures, the curves and the confusion matrix against `data/interpolated_metrics.json`: made-up images,
//! and what the reference's own functions, run as a black box, make of them.

use serde_json::Value;
use yolo11_detection::Detection;
use yolo11_detection::detection_metrics::{DetectionMetrics, TrueBox};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn figures_curves_and_confusion_equal_the_recording() {
    let recorded: Value = serde_json::from_str(include_str!("data/interpolated_metrics.json")).unwrap();
    let classes = recorded["number_of_classes"].as_u64().unwrap() as usize;
    for case in recorded["cases"].as_array().unwrap() {
        let mut metrics = DetectionMetrics::new(classes);
        for image in case["images"].as_array().unwrap() {
            let rows = |key: &str| image[key].as_array().unwrap().iter().map(numbers).collect::<Vec<_>>();
            let bbox = |row: &[f64]| std::array::from_fn(|side| row[1 + side] as f32);
            let targets: Vec<TrueBox> =
                rows("targets").iter().map(|row| TrueBox { class: row[0] as usize, bbox: bbox(row) }).collect();
            let detections: Vec<Detection> = rows("detections")
                .iter()
                .map(|row| Detection { class: row[0] as usize, bbox: bbox(row), score: row[5] as f32 })
                .collect();
            metrics.add_image(&detections, &targets).unwrap();
        }
        let summary = metrics.finish();
        let name = &case["name"];
        let close = |what: &str, found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-6, "{name}, {what}: {found}, recorded {expected}");
        };
        let present: Vec<usize> = numbers(&case["classes"]).iter().map(|&class| class as usize).collect();
        assert_eq!(summary.curves.classes, present);
        for (row, &class) in present.iter().enumerate() {
            let own = &summary.classes[class];
            close(&format!("precision of {class}"), own.precision, numbers(&case["precision"])[row]);
            close(&format!("recall of {class}"), own.recall, numbers(&case["recall"])[row]);
            close(&format!("F1 of {class}"), own.f1, numbers(&case["f1"])[row]);
            let average = numbers(&case["ap"][row]);
            close(&format!("AP50 of {class}"), own.interpolated_ap50, average[0]);
            close(&format!("AP of {class}"), own.interpolated_ap50_95, average.iter().sum::<f64>() / 10.0);
            let curves = &summary.curves;
            for (key, curve) in [
                ("precision_curve", &curves.precision),
                ("recall_curve", &curves.recall),
                ("f1_curve", &curves.f1),
                ("precision_by_recall", &curves.precision_by_recall),
            ] {
                for (&point, expected) in numbers(&case["points"]).iter().zip(numbers(&case[key][row])) {
                    close(&format!("{key} of {class} at {point}"), curve[row][point as usize], expected);
                }
            }
        }
        for predicted in 0..=classes {
            let counts: Vec<u64> = (0..=classes).map(|actual| summary.confusion.count(predicted, actual)).collect();
            let expected: Vec<u64> = numbers(&case["confusion"][predicted]).iter().map(|&count| count as u64).collect();
            assert_eq!(counts, expected, "{name}, predicted {predicted}");
        }
    }
}
