//! Names, shapes, totals and GFLOPs against the recorded state dictionaries of the reference, for all five scales.

use yolo11_network::{Network, Scale};

#[test]
fn tensors_equal_the_recorded_state_dictionaries() {
    let Ok(shared) = std::env::var("YOLO11_SHARED") else {
        eprintln!("skipped: YOLO11_SHARED is not set");
        return;
    };
    let text = std::fs::read_to_string(format!("{shared}/oracle/yolo11_state_dicts.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    for scale in Scale::ALL {
        let expected = &recorded[scale.letter().to_string()];
        let network = Network::yolo11(scale, 80);
        let tensors: Vec<(String, Vec<u64>, bool)> = network
            .tensors()
            .iter()
            .map(|tensor| {
                let shape = tensor.shape.iter().map(|&size| size as u64).collect();
                (tensor.name.clone(), shape, tensor.kind.is_parameter())
            })
            .collect();
        let wanted: Vec<(String, Vec<u64>, bool)> = expected["state_dict"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let shape = row[1].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
                (row[0].as_str().unwrap().to_string(), shape, row[2] == "parameter")
            })
            .collect();
        assert_eq!(tensors, wanted, "{scale:?}");
        let parameters = network.parameters() as u64;
        assert_eq!(parameters, expected["parameters"].as_u64().unwrap(), "{scale:?}");
        let gflops = expected["gflops_640"].as_f64().unwrap();
        let ours = network.gflops([640, 640]);
        assert!((ours - gflops).abs() < 6e-4, "{scale:?}: {ours} instead of {gflops}");
    }
}
