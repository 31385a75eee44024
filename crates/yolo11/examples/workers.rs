//! Several threads look at pictures, each with a detector of its own:
//! `cargo run --release -p yolo11 --example workers -- best.pt *.jpg`.

use std::sync::Mutex;

use yolo11::{Detector, Error, Image};

const WORKERS: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("give a model and pictures")?;
    let pictures = Mutex::new(arguments.collect::<Vec<_>>().into_iter());
    let next = || pictures.lock().ok().and_then(|mut pictures| pictures.next());
    std::thread::scope(|scope| {
        let work = || -> Result<(), Error> {
            let mut detector = Detector::builder().threads(1).confidence(0.4).load(&model)?;
            while let Some(picture) = next() {
                let found = detector.detect(&Image::open(&picture)?)?;
                println!("{picture}: {}", found.len());
            }
            Ok(())
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(())
}
