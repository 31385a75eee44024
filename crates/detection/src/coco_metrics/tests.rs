use super::*;

fn truth(class: usize, bbox: [f64; 4]) -> CocoTruth {
    CocoTruth { class, bbox, area: bbox[2] * bbox[3], crowd: false }
}

fn found(class: usize, bbox: [f64; 4], score: f64) -> CocoDetection {
    CocoDetection { class, bbox, score }
}

#[test]
fn thresholds_are_those_of_numpy() {
    assert_eq!(threshold(0), 0.5);
    assert!((threshold(5) - 0.75).abs() < 1e-15);
    assert_eq!(threshold(9), 0.95);
}

#[test]
fn one_right_and_one_wrong_detection() {
    let mut evaluator = CocoEvaluator::new(2);
    let bbox = [10.0, 10.0, 100.0, 100.0];
    // IoU 0.8 with the object: right up to the threshold .80, which is seven of ten; a better scored box is wrong.
    let close = [10.0, 10.0, 100.0, 80.0];
    evaluator.add_image(&[truth(0, bbox)], &[found(0, [300.0, 10.0, 50.0, 50.0], 0.9), found(0, close, 0.8)]).unwrap();
    let metrics = evaluator.finish();
    assert!((metrics.ap50 - 0.5).abs() < 1e-12 && (metrics.ap75 - 0.5).abs() < 1e-12);
    assert!((metrics.ap - 0.35).abs() < 1e-12, "{}", metrics.ap);
    // With one detection only the wrong one counts.
    assert_eq!(metrics.ar[0], 0.0);
    assert!((metrics.ar[1] - 0.7).abs() < 1e-12 && (metrics.ar[2] - 0.7).abs() < 1e-12);
    assert_eq!((metrics.ap_by_size[0], metrics.ap_by_size[1]), (-1.0, -1.0));
    // Among large objects the wrong detection of 50 x 50 pixels does not count, and what is right is all there is: but
    // where the close one fails its threshold it is wrong.
    assert!((metrics.ap_by_size[2] - 0.7).abs() < 1e-12);
    assert_eq!(metrics.per_class[1], ClassPrecision { ap: -1.0, ap50: -1.0, ap75: -1.0 });
    assert!((metrics.per_class[0].ap - 0.35).abs() < 1e-12);
}

#[test]
fn crowds_swallow_any_number_of_detections() {
    let crowd = CocoTruth { crowd: true, ..truth(0, [0.0, 0.0, 400.0, 400.0]) };
    let object = truth(0, [500.0, 0.0, 50.0, 50.0]);
    let inside = |x: f64, score| found(0, [x, 10.0, 30.0, 30.0], score);
    let mut evaluator = CocoEvaluator::new(1);
    let detections = [inside(10.0, 0.9), inside(50.0, 0.8), inside(100.0, 0.7), found(0, object.bbox, 0.5)];
    evaluator.add_image(&[crowd, object], &detections).unwrap();
    let metrics = evaluator.finish();
    assert!((metrics.ap - 1.0).abs() < 1e-12 && (metrics.ar[2] - 1.0).abs() < 1e-12);
}

#[test]
fn nothing_at_all_gives_minus_one_and_a_wrong_class_is_named() {
    let mut evaluator = CocoEvaluator::new(3);
    assert_eq!(evaluator.finish().figures(), [-1.0; 12]);
    evaluator.add_image(&[], &[found(1, [0.0, 0.0, 5.0, 5.0], 0.5)]).unwrap();
    assert_eq!(evaluator.finish().figures(), [-1.0; 12]);
    let error = evaluator.add_image(&[truth(0, [0.0; 4])], &[found(3, [0.0; 4], 0.5)]);
    assert_eq!(error, Err(Error::TargetClass { index: 0, class: 3, classes: 3 }));
    evaluator.add_image(&[truth(1, [0.0, 0.0, 5.0, 5.0])], &[]).unwrap();
    let metrics = evaluator.finish();
    assert_eq!((metrics.ap, metrics.ar[2], metrics.ap_by_size[0], metrics.ap_by_size[1]), (0.0, 0.0, 0.0, -1.0));
}

#[test]
fn the_last_limit_holds_for_each_image_and_class() {
    let objects: Vec<CocoTruth> = (0..4).map(|i| truth(0, [100.0 * i as f64, 0.0, 50.0, 50.0])).collect();
    let detections: Vec<CocoDetection> =
        objects.iter().enumerate().map(|(i, object)| found(0, object.bbox, 0.9 - 0.1 * i as f64)).collect();
    let mut evaluator = CocoEvaluator::with_max_detections(1, [1, 2, 3]);
    evaluator.add_image(&objects, &detections).unwrap();
    assert_eq!(evaluator.finish().ar, [0.25, 0.5, 0.75]);
}
