//! COCO's figures against recordings of pycocotools.

mod oracle;

use serde_json::Value;
use yolo11_detection::coco_metrics::{CocoDetection, CocoEvaluator, CocoMetrics, CocoTruth};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn bbox(value: &Value) -> [f64; 4] {
    std::array::from_fn(|i| number(&value["bbox"][i]))
}

#[test]
fn all_cases_equal_pycocotools() {
    let Some(recorded) = oracle::json("coco_metrics.json") else { return };
    let cases = recorded["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    let mut greatest = 0f64;
    for case in cases {
        let truth = &case["ground_truth"];
        let classes = truth["categories"].as_array().unwrap().len();
        let mut evaluator = CocoEvaluator::new(classes);
        for image in truth["images"].as_array().unwrap() {
            let own = |list: &Value| -> Vec<Value> {
                list.as_array().unwrap().iter().filter(|entry| entry["image_id"] == image["id"]).cloned().collect()
            };
            let class = |entry: &Value| entry["category_id"].as_u64().unwrap() as usize;
            let truths: Vec<CocoTruth> = own(&truth["annotations"])
                .iter()
                .map(|entry| CocoTruth {
                    class: class(entry),
                    bbox: bbox(entry),
                    area: number(&entry["area"]),
                    crowd: entry["iscrowd"] == 1,
                })
                .collect();
            let detections: Vec<CocoDetection> = own(&case["detections"])
                .iter()
                .map(|entry| CocoDetection { class: class(entry), bbox: bbox(entry), score: number(&entry["score"]) })
                .collect();
            evaluator.add_image(&truths, &detections).unwrap();
        }
        let metrics = evaluator.finish();
        let mut compare = |what: &str, found: f64, expected: f64| {
            greatest = greatest.max((found - expected).abs());
            assert!((found - expected).abs() < 1e-6, "{}, {what}: {found}, recorded {expected}", case["name"]);
        };
        for (name, figure) in CocoMetrics::NAMES.iter().zip(metrics.figures()) {
            compare(name, figure, number(&case["coco_stats"][name]));
        }
        let per_class = case["per_class"].as_array().unwrap();
        assert_eq!(per_class.len(), classes);
        for (class, (found, expected)) in metrics.per_class.iter().zip(per_class).enumerate() {
            compare(&format!("AP of class {class}"), found.ap, number(&expected["ap50_95"]));
            compare(&format!("AP50 of class {class}"), found.ap50, number(&expected["ap50"]));
        }
    }
    eprintln!("greatest difference {greatest:.1e}");
}
