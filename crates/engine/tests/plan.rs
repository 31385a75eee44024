//! What the plan promises: the same bits for any number of threads and any planned batch.

use yolo11_engine::{Error, Gradients, InferenceSession, TrainingSession};
use yolo11_network::{Model, Network, Operation, Scale};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn pictures(count: usize, [height, width]: [usize; 2]) -> Vec<u8> {
    (0..count * height * width * 3).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Bits of head outputs, gradients and running statistics after two steps.
fn two_steps(threads: usize, batch: usize, planned: usize, classes: usize) -> Vec<u32> {
    let size = [96, 64];
    pool(threads).install(|| {
        let network = Network::yolo11(Scale::Nano, classes);
        let mut model = Model::initialise(&network, 1);
        let mut session = TrainingSession::plan(&network, planned, size).unwrap();
        let mut gradients = Gradients::zeros(&network);
        let mut bits = Vec::new();
        for _ in 0..2 {
            let heads = session.forward(&mut model, &pictures(batch, size)).unwrap();
            let slope = |values: &[f32]| values.iter().map(|value| value * 1e-3).collect::<Vec<f32>>();
            let (boxes, scores) = (slope(heads.boxes), slope(heads.scores));
            bits.extend(heads.boxes.iter().chain(heads.scores).map(|value| value.to_bits()));
            session.backward(&model, &boxes, &scores, &mut gradients).unwrap();
        }
        for index in 0..network.tensors().len() {
            bits.extend(gradients.tensor(index).iter().chain(model.tensor(index)).map(|value| value.to_bits()));
        }
        bits
    })
}

#[test]
fn threads_and_planned_batch_do_not_change_a_bit() {
    let one = two_steps(1, 3, 3, 5);
    assert!(one.iter().all(|&bits| f32::from_bits(bits).is_finite()));
    for threads in [2, 3, 7] {
        assert!(one == two_steps(threads, 3, 3, 5), "{threads} threads");
    }
    assert!(one == two_steps(2, 3, 8, 5), "a larger plan");
}

#[test]
fn inference_on_a_share_of_the_planned_batch_is_the_same() {
    let size = [64, 96];
    let model = Model::initialise(&Network::yolo11(Scale::Nano, 80), 3);
    let images = pictures(3, size);
    let run = |batch: usize, images: &[u8]| {
        let mut session = InferenceSession::plan(&model, batch, size).unwrap();
        session.forward(images).unwrap().boxes.to_vec()
    };
    let all = run(3, &images);
    let image = size[0] * size[1] * 3;
    assert_eq!(run(8, &images[..image]), all[..all.len() / 3]);
    assert_eq!(run(1, &images[2 * image..]), all[2 * all.len() / 3..]);
}

#[test]
fn every_scale_runs_both_forms() {
    for scale in Scale::ALL {
        let network = Network::yolo11(scale, 2);
        let mut model = Model::initialise(&network, 3);
        let images = pictures(1, [64, 64]);
        let mut session = TrainingSession::plan(&network, 1, [64, 64]).unwrap();
        let trained = session.forward(&mut model, &images).unwrap().boxes.to_vec();
        assert!(trained.iter().all(|value| value.is_finite()), "{scale:?}");
        let mut gradients = Gradients::zeros(&network);
        session.backward(&model, &vec![1e-3; 84 * 64], &vec![1e-3; 84 * 2], &mut gradients).unwrap();
        let first = network.tensor_index("model.0.conv.weight").unwrap();
        assert!(gradients.tensor(first).iter().any(|&value| value != 0.0), "{scale:?}");
        let heads = InferenceSession::plan(&model, 1, [64, 64]).unwrap().forward(&images).unwrap().scores.len();
        assert_eq!(heads, 84 * 2);
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let network = Network::yolo11(Scale::Nano, 3);
    let message = TrainingSession::plan(&network, 1, [100, 64]).err().map(|error| error.to_string()).unwrap();
    assert!(message.starts_with("image size 100×64 is not a multiple of 32"), "{message}");
    let mut model = Model::initialise(&network, 0);
    let mut session = TrainingSession::plan(&network, 1, [64, 64]).unwrap();
    let message = session.forward(&mut model, &pictures(2, [64, 64])).err().unwrap();
    assert!(matches!(message, Error::Length { given: 24576, wanted: 12288, .. }), "{message}");
}

#[test]
fn observed_ranges_are_those_of_the_values() {
    let network = Network::yolo11(Scale::Nano, 3);
    let model = Model::initialise(&network, 1);
    let mut session = InferenceSession::plan(&model, 2, [64, 96]).unwrap();
    let images: Vec<u8> = (0..2 * 64 * 96 * 3).map(|place| (place * 31 % 251) as u8).collect();
    let heads = session.forward(&images).unwrap();
    let span = |values: &[f32]| values.iter().fold([f32::MAX, f32::MIN], |[a, b], &v| [a.min(v), b.max(v)]);
    let scores = span(heads.scores);
    let observed = session.observe(&images).unwrap();
    let convolutions = network.nodes.iter().filter(|node| matches!(node.operation, Operation::Convolution(_)));
    assert_eq!(observed.len(), convolutions.count());
    assert_eq!(observed[0].input, [0.0, 1.0]);
    // The head's last convolutions have no activation: their sums are the outputs.
    let last = |level: usize| {
        let weight = network.tensor_index(&format!("model.23.cv3.{level}.2.weight")).unwrap();
        observed.iter().find(|ranges| ranges.weight == weight).unwrap().sum
    };
    let levels = [0, 1, 2].map(last);
    let all = levels.iter().fold([f32::MAX, f32::MIN], |[a, b], level| [a.min(level[0]), b.max(level[1])]);
    assert!((all[0] - scores[0]).abs() < 1e-5 && (all[1] - scores[1]).abs() < 1e-5, "{all:?} {scores:?}");
    // What a SiLU makes is never below its minimum.
    assert!(observed[1].input[0] >= -0.2785 && observed[1].input[1] <= observed[0].sum[1]);
}
