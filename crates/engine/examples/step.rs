//! Times forward and backward of one training step on a random batch, and one inference, without the rest of the pipeline:
//! `cargo run --release -p yolo11-engine --example step -- [batch] [size] [scale letter] [threads]`.

use std::time::Instant;

use yolo11_engine::{Gradients, InferenceSession, TrainingSession};
use yolo11_network::{Model, Network, Scale};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let batch: usize = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let size: usize = arguments.next().map_or(Ok(640), |text| text.parse())?;
    let letter = arguments.next().and_then(|text| text.chars().next()).unwrap_or('n');
    let threads: usize = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let scale = Scale::from_letter(letter).ok_or("the scale is one of n, s, m, l, x")?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| {
        let network = Network::yolo11(scale, 80);
        let mut model = Model::initialise(&network, 0);
        let images: Vec<u8> = (0..batch * size * size * 3).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect();
        let mut session = TrainingSession::plan(&network, batch, [size, size])?;
        let mut gradients = Gradients::zeros(&network);
        let anchors = network.anchors([size, size]);
        let boxes = vec![1e-4; batch * anchors * 64];
        let scores = vec![1e-4; batch * anchors * 80];
        println!("{}, planned {} MB", yolo11_engine::instructions(), session.memory_bytes() >> 20);
        for _ in 0..7 {
            let start = Instant::now();
            session.forward(&mut model, &images)?;
            let forward = start.elapsed();
            session.backward(&model, &boxes, &scores, &mut gradients)?;
            let total = start.elapsed();
            println!(
                "forward {:.3} s, backward {:.3} s, step {:.3} s",
                forward.as_secs_f64(),
                (total - forward).as_secs_f64(),
                total.as_secs_f64()
            );
        }
        let mut session = InferenceSession::plan(&model, 1, [size, size])?;
        for _ in 0..7 {
            let start = Instant::now();
            session.forward(&images[..size * size * 3])?;
            println!("inference {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    })
}
