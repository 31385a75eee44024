//! Outputs, gradients and running statistics against the recorded reference numbers.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use yolo11_engine::{Gradients, Images, InferenceSession, TrainingSession};
use yolo11_network::{Model, Network, Scale};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(path: &str) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let value = |name: &str| {
        let view = file.tensor(name).unwrap();
        let values = match view.dtype() {
            safetensors::Dtype::F32 => {
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
            }
            safetensors::Dtype::I64 => {
                view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
            }
            other => panic!("{name}: {other:?}"),
        };
        (view.shape().to_vec(), values)
    };
    file.names().into_iter().map(|name| (name.to_string(), value(name))).collect()
}

/// The two recorded sets, or nothing where the shared folder is not given.
fn sets() -> Vec<(String, usize)> {
    let Ok(shared) = std::env::var("YOLO11_SHARED") else {
        eprintln!("skipped: YOLO11_SHARED is not set");
        return Vec::new();
    };
    [80, 3].into_iter().map(|classes| (format!("{shared}/oracle/yolo11n_nc{classes}_s0"), classes)).collect()
}

fn model(prefix: &str, classes: usize) -> Model {
    let network = Network::yolo11(Scale::Nano, classes);
    let mut model = Model::initialise(&network, 0);
    let weights = read(&format!("{prefix}_weights.safetensors"));
    for (index, spec) in network.tensors().iter().enumerate() {
        model.tensor_mut(index).copy_from_slice(&weights[&spec.name].1);
    }
    model
}

/// `[image, channel, pixel]` → `[image, pixel, channel]`.
fn channels_last((shape, values): &(Vec<usize>, Vec<f32>)) -> Vec<f32> {
    let (images, channels) = (shape[0], shape[1]);
    let pixels: usize = shape[2..].iter().product();
    let mut result = Vec::with_capacity(values.len());
    for image in 0..images {
        for pixel in 0..pixels {
            result.extend((0..channels).map(|channel| values[(image * channels + channel) * pixels + pixel]));
        }
    }
    result
}

fn pictures(step: &Tensors) -> Vec<f32> {
    channels_last(&step["images"])
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// ‖a − b‖ / ‖b‖
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(b)
}

/// Largest |a − b| relative to the largest |b|.
fn relative(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn evaluation_form_gives_the_recorded_outputs() {
    for (prefix, classes) in sets() {
        let model = model(&prefix, classes);
        let step = read(&format!("{prefix}_step.safetensors"));
        let mut session = InferenceSession::plan(&model, 2, [128, 160]).unwrap();
        let heads = session.forward(Images::Values(&pictures(&step))).unwrap();
        let boxes = relative(heads.boxes, &channels_last(&step["eval_boxes"]));
        let scores = relative(heads.scores, &channels_last(&step["eval_scores"]));
        eprintln!("{classes} classes: boxes {boxes:.1e}, scores {scores:.1e}");
        assert!(boxes < 1e-4 && scores < 1e-4, "{boxes} {scores}");
    }
}

#[test]
fn training_form_gives_the_recorded_outputs_gradients_and_statistics() {
    for (prefix, classes) in sets() {
        let mut model = model(&prefix, classes);
        let network = model.network().clone();
        let step = read(&format!("{prefix}_step.safetensors"));
        let mut session = TrainingSession::plan(&network, 2, [128, 160]).unwrap();
        let heads = session.forward(&mut model, Images::Values(&pictures(&step))).unwrap();
        let boxes = relative(heads.boxes, &channels_last(&step["train_boxes"]));
        let scores = relative(heads.scores, &channels_last(&step["train_scores"]));
        eprintln!("{classes} classes: boxes {boxes:.1e}, scores {scores:.1e}");
        assert!(boxes < 1e-4 && scores < 1e-4, "{boxes} {scores}");

        let expected = read(&format!("{prefix}_bn_after_one_train_forward.safetensors"));
        for (name, (_, values)) in &expected {
            let index = network.tensor_index(name).unwrap();
            let difference = relative(model.tensor(index), values);
            assert!(difference < 1e-4, "{name}: {difference}");
        }

        let mut gradients = Gradients::zeros(&network);
        let (boxes, scores) = (channels_last(&step["grad_boxes"]), channels_last(&step["grad_scores"]));
        session.backward(&model, &boxes, &scores, &mut gradients).unwrap();
        let expected = read(&format!("{prefix}_grads.safetensors"));
        let mut worst = (0.0, "");
        for (name, (_, values)) in &expected {
            let index = network.tensor_index(name).unwrap();
            if norm(values) < 1e-5 {
                // What feeds only another batch norm has no gradient but rounding.
                assert!(norm(gradients.tensor(index)) < 1e-5, "{name}");
                continue;
            }
            let difference = distance(gradients.tensor(index), values);
            if difference > worst.0 {
                worst = (difference, name);
            }
        }
        eprintln!("{classes} classes: gradients within {:.1e} ({})", worst.0, worst.1);
        assert!(worst.0 < 1e-3, "{worst:?}");
        assert_eq!(expected.len(), network.tensors().iter().filter(|spec| spec.kind.is_parameter()).count());
    }
}
