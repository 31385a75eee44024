//! Prints what is on a picture: `cargo run --release -p yolo11 --example detect -- best.pt photo.jpg`.

use yolo11::{Detector, Image};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("give a model and a picture".into());
    };
    let mut detector = Detector::load(model)?;
    for detection in detector.detect(&Image::open(picture)?)? {
        let bbox = detection.bbox;
        println!(
            "{} {:.3} {:.0} {:.0} {:.0} {:.0}",
            detection.name, detection.score, bbox.x1, bbox.y1, bbox.x2, bbox.y2
        );
    }
    Ok(())
}
