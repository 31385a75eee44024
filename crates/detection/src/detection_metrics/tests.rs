use super::*;

fn found(class: usize, bbox: [f32; 4], score: f32) -> Detection {
    Detection { bbox, score, class }
}

#[test]
fn an_image_with_one_right_one_wrong_and_one_missed() {
    let mut metrics = DetectionMetrics::new(3);
    let a = [10.0, 10.0, 60.0, 60.0];
    let b = [100.0, 100.0, 160.0, 160.0];
    let nowhere = [300.0, 300.0, 350.0, 350.0];
    let targets = [TrueBox { class: 0, bbox: a }, TrueBox { class: 1, bbox: b }];
    metrics.add_image(&[found(0, a, 0.9), found(0, nowhere, 0.5)], &targets).unwrap();
    let summary = metrics.finish();
    assert_eq!((summary.images, summary.targets), (1, 2));
    // Class 0 is found first of all, class 1 not at all.
    assert!((summary.map50 - 0.5).abs() < 1e-12 && (summary.map50_95 - 0.5).abs() < 1e-12);
    // Its interpolated curve falls to the closing point within the last of a hundred steps.
    assert!((summary.interpolated_map50 - 0.995 / 2.0).abs() < 1e-12, "{}", summary.interpolated_map50);
    // The wrong detection has confidence .5: the best F1 is read above it, where precision is 1 and recall 1 of class 0.
    assert!(summary.confidence > 0.5 && summary.confidence < 0.9, "{}", summary.confidence);
    assert_eq!((summary.classes[0].targets, summary.classes[0].images), (1, 1));
    assert!((summary.classes[0].recall - 1.0).abs() < 1e-9 && summary.classes[0].precision > 0.5);
    assert_eq!((summary.classes[1].recall, summary.classes[1].f1, summary.classes[1].ap50), (0.0, 0.0, 0.0));
    assert_eq!((summary.classes[2].targets, summary.classes[2].ap50_95), (0, 0.0));
    assert_eq!(summary.curves.classes, [0, 1]);
    let confusion = &summary.confusion;
    assert_eq!((confusion.count(0, 0), confusion.count(0, 3), confusion.count(3, 1)), (1, 1, 1));
    assert_eq!((confusion.share(3, 1), confusion.share(2, 2)), (1.0, 0.0));
}

#[test]
fn interpolated_figures_are_of_boxes_before_they_were_clipped() {
    let mut metrics = DetectionMetrics::new(1);
    // An object at the image's edge, found with a sixth of its width beyond it: an overlap of 5/6.
    let bbox = [0.0, 0.0, 50.0, 60.0];
    let targets = [TrueBox { class: 0, bbox }];
    metrics.add_clipped_image(&[found(0, bbox, 0.9)], &[[-10.0, 0.0, 50.0, 60.0]], &targets).unwrap();
    let summary = metrics.finish();
    assert!((summary.map50_95 - 1.0).abs() < 1e-12, "{}", summary.map50_95);
    assert!((summary.interpolated_map50 - 0.995).abs() < 1e-12, "{}", summary.interpolated_map50);
    // Right at .50 to .80, seven of the ten.
    assert!((summary.interpolated_map50_95 - 0.995 * 0.7).abs() < 1e-12, "{}", summary.interpolated_map50_95);
}

#[test]
fn confusion_pairs_whatever_the_classes_and_leaves_out_the_unsure() {
    let mut metrics = DetectionMetrics::new(2);
    let bbox = [10.0, 10.0, 60.0, 60.0];
    let targets = [TrueBox { class: 1, bbox }];
    metrics.add_image(&[found(0, bbox, 0.8), found(1, bbox, 0.2)], &targets).unwrap();
    let confusion = metrics.finish().confusion;
    assert_eq!(
        (confusion.count(0, 1), confusion.count(1, 1), confusion.count(2, 1), confusion.count(1, 2)),
        (1, 0, 0, 0)
    );
}

#[test]
fn nothing_seen_gives_zeros() {
    let summary = DetectionMetrics::new(2).finish();
    let figures = [summary.map50, summary.map50_95, summary.precision, summary.recall, summary.f1, summary.confidence];
    assert_eq!(figures, [0.0; 6]);
    let mut metrics = DetectionMetrics::new(2);
    metrics.add_image(&[found(1, [0.0, 0.0, 5.0, 5.0], 0.9)], &[]).unwrap();
    assert_eq!(metrics.finish().map50, 0.0);
    let error = metrics.add_image(&[found(2, [0.0; 4], 0.9)], &[]);
    assert_eq!(error, Err(Error::TargetClass { index: 0, class: 2, classes: 2 }));
    assert_eq!(metrics.finish().images, 1);
}

#[test]
fn detections_choose_in_the_order_of_their_scores() {
    let targets = [[0.0, 0.0, 100.0, 100.0], [0.0, 50.0, 100.0, 150.0]].map(|bbox| TrueBox { class: 0, bbox });
    let detections = [found(0, [0.0; 4], 0.9), found(0, [0.0; 4], 0.5), found(1, [0.0; 4], 0.4)];
    // The first takes target 0 up to its own .65 and leaves target 1 to the second, at .55; above .65 the second gets
    // target 0 at .92. The third is of another class.
    let overlaps = [0.65, 0.3, 0.92, 0.55, 1.0, 1.0];
    assert_eq!(match_image(&detections, &targets, &overlaps), [0b1111, 0b1_1111_0011, 0]);
}

#[test]
fn the_order_in_which_detections_are_given_does_not_matter() {
    let bbox = [10.0, 10.0, 60.0, 60.0];
    let close = [10.0, 10.0, 60.0, 50.0];
    let run = |detections: [Detection; 2]| {
        let mut metrics = DetectionMetrics::new(1);
        metrics.add_image(&detections, &[TrueBox { class: 0, bbox }]).unwrap();
        metrics.finish()
    };
    let (a, b) = (found(0, bbox, 0.5), found(0, close, 0.9));
    assert_eq!(run([a, b]), run([b, a]));
    assert!((run([a, b]).map50 - 1.0).abs() < 1e-12);
}
