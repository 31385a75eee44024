//! The pickle that joins a module's class with its tensors.

use super::Weight;

/// An empty tuple: the code has no constants of its own.
pub(super) const NO_CONSTANTS: &[u8] = b"\x80\x02).";

/// The module: an object of `__torch__.Detector` with its attributes.
pub(super) fn module(weights: &[Weight]) -> Vec<u8> {
    let mut out = b"\x80\x02c__torch__\nDetector\n)\x81}(".to_vec();
    text(&mut out, "training");
    out.push(0x89);
    for (number, weight) in weights.iter().enumerate() {
        text(&mut out, &weight.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(if weight.half { &b"ctorch\nHalfStorage\n"[..] } else { b"ctorch\nFloatStorage\n" });
        text(&mut out, &number.to_string());
        text(&mut out, "cpu");
        int(&mut out, weight.values.len());
        out.extend(b"tQ");
        int(&mut out, 0);
        tuple(&mut out, &weight.shape);
        let strides: Vec<usize> =
            (0..weight.shape.len()).map(|axis| weight.shape[axis + 1..].iter().product()).collect();
        tuple(&mut out, &strides);
        // No gradient, no hooks.
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"ub.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: usize) {
    // A convolution's sizes are far below 2³¹.
    out.push(b'J');
    out.extend((value as u32).to_le_bytes());
}

fn tuple(out: &mut Vec<u8>, sizes: &[usize]) {
    out.push(b'(');
    sizes.iter().for_each(|&size| int(out, size));
    out.push(b't');
}
