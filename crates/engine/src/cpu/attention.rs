//! Scaled dot-product attention over the pixels of an image, forward and backward.

use gemm::{Parallelism, gemm};

use super::kernels::Kernels;
use super::{Shared, View, parallel};

/// Widths of an attention block, as in [`Operation::Attention`](yolo11_network::Operation::Attention).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub heads: usize,
    pub key_width: usize,
    pub head_width: usize,
}

/// A matrix in the session's memory: first value, row stride, column stride.
#[derive(Clone, Copy)]
struct Matrix(*mut f32, isize, isize);

impl Matrix {
    fn transposed(self) -> Matrix {
        Matrix(self.0, self.2, self.1)
    }
}

/// to = from·(keep) + alpha · a · b, for `rows`×`columns` with inner length `depth`.
unsafe fn product([rows, columns, depth]: [usize; 3], to: Matrix, keep: bool, a: Matrix, b: Matrix, alpha: f32) {
    // SAFETY: the caller describes matrices inside its memory; `to` overlaps neither `a` nor `b`.
    unsafe {
        gemm(
            rows,
            columns,
            depth,
            to.0,
            to.2,
            to.1,
            keep,
            a.0.cast_const(),
            a.2,
            a.1,
            b.0.cast_const(),
            b.2,
            b.1,
            1.0,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

impl Heads {
    /// Channels of query, key and value of one head.
    fn block(&self) -> usize {
        2 * self.key_width + self.head_width
    }

    /// Probabilities that the backward pass needs: values for each image.
    pub(crate) fn probabilities(&self, pixels: usize) -> usize {
        self.heads * pixels * pixels
    }

    /// output = softmax(q·kᵀ / √width) · v for each image and head. The probabilities stay in `probabilities`.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels,
        images: usize,
        (memory, qkv): (Shared, &View),
        output: &View,
        probabilities: usize,
    ) {
        let pixels = qkv.pixels();
        let factor = 1.0 / (self.key_width as f32).sqrt();
        parallel(images * self.heads, |task| {
            let (image, head) = (task / self.heads, task % self.heads);
            // SAFETY: each task has its own probabilities and output channels.
            unsafe {
                let [q, k, v] = self.matrices(memory, qkv, image, head);
                let scores = memory.at(probabilities + task * pixels * pixels);
                let s = Matrix(scores, pixels as isize, 1);
                product([pixels, pixels, self.key_width], s, false, q, k.transposed(), 1.0);
                for row in 0..pixels {
                    (kernels.softmax)(scores.add(row * pixels), pixels, factor);
                }
                let out = memory.at(output.at(image, 0) + head * self.head_width);
                let o = Matrix(out, output.pixel as isize, 1);
                product([pixels, self.head_width, pixels], o, false, s, v, 1.0);
            }
        });
    }

    /// Adds the gradients of q, k and v. The probabilities are overwritten by the scores' gradient.
    pub(crate) fn backward(
        &self,
        images: usize,
        (values, qkv): (Shared, &View),
        (memory, qkv_gradient, gradient): (Shared, &View, &View),
        [probabilities, working]: [usize; 2],
    ) {
        let pixels = qkv.pixels();
        let factor = 1.0 / (self.key_width as f32).sqrt();
        parallel(images * self.heads, |task| {
            let (image, head) = (task / self.heads, task % self.heads);
            // SAFETY: each task has its own probabilities, working memory and channels.
            unsafe {
                let [q, k, v] = self.matrices(values, qkv, image, head);
                let [dq, dk, dv] = self.matrices(memory, qkv_gradient, image, head);
                let out = memory.at(gradient.at(image, 0) + head * self.head_width);
                let d_out = Matrix(out, gradient.pixel as isize, 1);
                let p = Matrix(values.at(probabilities + task * pixels * pixels), pixels as isize, 1);
                let d_p = Matrix(values.at(working + task * pixels * pixels), pixels as isize, 1);
                product([pixels, self.head_width, pixels], dv, true, p.transposed(), d_out, 1.0);
                product([pixels, pixels, self.head_width], d_p, false, d_out, v.transposed(), 1.0);
                // Softmax: ds = p · (dp − Σ p·dp)
                for row in 0..pixels {
                    let p = std::slice::from_raw_parts(p.0.add(row * pixels), pixels);
                    let d_p = std::slice::from_raw_parts_mut(d_p.0.add(row * pixels), pixels);
                    let mut lanes = [0.0f32; 16];
                    for (p, d_p) in p.chunks(16).zip(d_p.chunks(16)) {
                        for (lane, (p, d_p)) in p.iter().zip(d_p).enumerate() {
                            lanes[lane] += p * d_p;
                        }
                    }
                    let dot: f32 = lanes.iter().sum();
                    for (d_p, p) in d_p.iter_mut().zip(p) {
                        *d_p = p * (*d_p - dot);
                    }
                }
                product([pixels, self.key_width, pixels], dq, true, d_p, k, factor);
                product([pixels, self.key_width, pixels], dk, true, d_p.transposed(), q, factor);
            }
        });
    }

    /// Query, key and value `[pixel, channel]` of one head.
    unsafe fn matrices(&self, memory: Shared, view: &View, image: usize, head: usize) -> [Matrix; 3] {
        let first = view.at(image, 0) + head * self.block();
        [0, self.key_width, 2 * self.key_width].map(|channel| {
            // SAFETY: the channels of this head lie inside the view.
            Matrix(unsafe { memory.at(first + channel) }, view.pixel as isize, 1)
        })
    }
}
