//! Loss, gradients and decoding against recorded reference numbers.

mod oracle;

use oracle::{Recorded, relative_error};
use yolo11_detection::decode::decode;
use yolo11_detection::{Gains, Heads, LossWorkspace, Target};

#[test]
fn loss_and_gradients_equal_the_recording() {
    for classes in [3, 80] {
        let Some(recorded) = Recorded::step(classes) else { return };
        let (boxes, scores) = (recorded.rows("train_boxes"), recorded.rows("train_scores"));
        let heads = Heads { boxes: &boxes, scores: &scores, images: 2, classes, size: [128, 160] };
        let targets: Vec<Target> = recorded
            .flat("targets")
            .chunks(6)
            .map(|row| Target {
                image: row[0] as usize,
                class: row[1] as usize,
                bbox: [row[2], row[3], row[4], row[5]],
            })
            .collect();
        let mut workspace = LossWorkspace::new();
        let loss = workspace.compute(&heads, &targets, &Gains::default()).unwrap();
        let items = recorded.flat("loss_items_box_cls_dfl");
        let totals = recorded.flat("loss_total");
        for item in 0..3 {
            let error = f64::from(loss.items[item] / items[item] - 1.0).abs();
            eprintln!("{classes} classes, item {item}: {} for {}, {error:.1e}", loss.items[item], items[item]);
            assert!(error < 1e-5);
            assert!((loss.items[item] * 2.0 / totals[item] - 1.0).abs() < 1e-5);
        }
        assert!((loss.total / totals.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let (box_gradient, score_gradient) = workspace.gradients();
        for (name, gradient) in [("grad_boxes", box_gradient), ("grad_scores", score_gradient)] {
            let error = relative_error(gradient, &recorded.rows(name));
            eprintln!("{classes} classes, {name}: {error:.1e} of the norm");
            assert!(error < 1e-5, "{name} {error}");
        }
    }
}

#[test]
fn decoded_boxes_and_probabilities_equal_the_recording() {
    for classes in [3, 80] {
        let Some(recorded) = Recorded::step(classes) else { return };
        let (boxes, scores) = (recorded.rows("eval_boxes"), recorded.rows("eval_scores"));
        let heads = Heads { boxes: &boxes, scores: &scores, images: 2, classes, size: [128, 160] };
        let decoded = decode(&heads).unwrap();
        let expected = recorded.rows("eval_output");
        let mut greatest = [0f32; 2];
        for (row, expected) in expected.chunks(4 + classes).enumerate() {
            for (found, expected) in decoded.boxes[row].iter().zip(expected) {
                greatest[0] = greatest[0].max((found - expected).abs() / expected.abs().max(1.0));
            }
            for (found, expected) in decoded.scores[row * classes..][..classes].iter().zip(&expected[4..]) {
                greatest[1] = greatest[1].max((found - expected).abs() / expected);
            }
        }
        eprintln!("{classes} classes: boxes within {:.1e}, probabilities within {:.1e}", greatest[0], greatest[1]);
        assert!(greatest[0] < 1e-5 && greatest[1] < 1e-5);
    }
}
