//! Scaled dot-product attention over the pixels of an image, forward and backward.

use super::kernels::Kernels;
use super::tiles::{PixelTile, WeightTile};
use super::{Scratch, Shared, View, parallel};

/// Widths of an attention block, as in [`Operation::Attention`](yolo11_network::Operation::Attention).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub heads: usize,
    pub key_width: usize,
    pub head_width: usize,
}

/// A matrix in the session's memory: first value, row stride; columns lie side by side.
#[derive(Clone, Copy)]
struct Matrix {
    data: *mut f32,
    row: usize,
}

/// The right side of a product, packed for the blocks: panels of columns, each with its rows one after another.
struct Packed {
    data: *const f32,
    rows: usize,
    columns: usize,
}

impl Packed {
    /// Values that a packed matrix takes.
    fn length(kernels: &Kernels, rows: usize, columns: usize) -> usize {
        rows * columns.next_multiple_of(kernels.lanes)
    }

    /// Packs `rows`×`columns` values; `row` and `column` are the steps between them.
    unsafe fn new(
        kernels: &Kernels,
        [rows, columns]: [usize; 2],
        (from, row, column): (*const f32, usize, usize),
        working: *mut f32,
    ) -> Packed {
        let panel = kernels.most_vectors * kernels.lanes;
        for first in (0..columns).step_by(panel) {
            let width = (columns - first).min(panel);
            let stride = width.next_multiple_of(kernels.lanes);
            // SAFETY: the caller gives a matrix of this size and `length` values to work in.
            unsafe {
                let to = working.add(first * rows);
                for r in 0..rows {
                    for c in 0..stride {
                        *to.add(r * stride + c) =
                            if c < width { *from.add(r * row + (first + c) * column) } else { 0.0 };
                    }
                }
            }
        }
        Packed { data: working, rows, columns }
    }

    /// to (+)= a · self, `a` having `rows` rows.
    unsafe fn multiply(&self, kernels: &Kernels, rows: usize, a: Matrix, to: Matrix, accumulate: bool) {
        let panel = kernels.most_vectors * kernels.lanes;
        for first in (0..self.columns).step_by(panel) {
            let columns = (self.columns - first).min(panel);
            let vectors = columns.div_ceil(kernels.lanes);
            let most = kernels.most_rows[vectors - 1];
            for row in (0..rows).step_by(most) {
                let count = most.min(rows - row);
                // SAFETY: the caller gives matrices of these sizes.
                unsafe {
                    let tile = PixelTile {
                        a: a.data.add(row * a.row),
                        a_pixel: a.row,
                        a_segment: 0,
                        segments: 1,
                        depth: self.rows,
                        b: self.data.add(first * self.rows),
                        c: to.data.add(row * to.row + first),
                        c_pixel: to.row,
                        columns,
                        accumulate,
                    };
                    kernels.pixel_tile(count, vectors)(&tile);
                }
            }
        }
    }
}

/// to += aᵀ · g, with `rows` rows in `a` and `g`, `depth` columns in `a` and `columns` in `g`, whole vectors.
unsafe fn multiply_transposed(kernels: &Kernels, [rows, depth, columns]: [usize; 3], a: Matrix, g: Matrix, to: Matrix) {
    let panel = kernels.most_vectors * kernels.lanes;
    for first in (0..columns).step_by(panel) {
        let vectors = (columns - first).min(panel) / kernels.lanes;
        let most = kernels.most_rows[vectors - 1];
        for k in (0..depth).step_by(most) {
            let count = most.min(depth - k);
            // SAFETY: the caller gives matrices of these sizes.
            unsafe {
                let tile = WeightTile {
                    a: a.data.add(k),
                    a_pixel: a.row,
                    a_row: 0,
                    g: g.data.add(first),
                    g_pixel: g.row,
                    g_row: 0,
                    rows: 1,
                    width: rows,
                    c: to.data.add(k * to.row + first),
                    c_stride: to.row,
                };
                kernels.weight_tile(count, vectors)(&tile);
            }
        }
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

    /// Working memory of each thread.
    pub(crate) fn scratch(&self, kernels: &Kernels, pixels: usize) -> usize {
        let widest = self.head_width.max(self.key_width);
        Packed::length(kernels, pixels, widest).max(Packed::length(kernels, widest, pixels))
    }

    /// output = softmax(q·kᵀ / √width) · v for each image and head. The probabilities stay in `probabilities`.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels,
        images: usize,
        (memory, qkv): (Shared, &View),
        output: &View,
        probabilities: usize,
        scratch: &Scratch,
    ) {
        let Heads { heads, key_width, head_width } = *self;
        let pixels = qkv.pixels();
        let factor = 1.0 / (key_width as f32).sqrt();
        parallel(images * heads, |task| {
            let (image, head) = (task / heads, task % heads);
            let working = scratch.mine();
            // SAFETY: each task has its own probabilities and output channels, each thread its own working memory.
            unsafe {
                let [q, k, v] = self.matrices(memory, qkv, image, head);
                let scores = Matrix { data: memory.at(probabilities + task * pixels * pixels), row: pixels };
                let k_turned = Packed::new(kernels, [key_width, pixels], (k.data, 1, k.row), working);
                k_turned.multiply(kernels, pixels, q, scores, false);
                for row in 0..pixels {
                    (kernels.softmax)(scores.data.add(row * pixels), pixels, factor);
                }
                let to = Matrix { data: memory.at(output.at(image, 0) + head * head_width), row: output.pixel };
                let v = Packed::new(kernels, [pixels, head_width], (v.data, v.row, 1), working);
                v.multiply(kernels, pixels, scores, to, false);
            }
        });
    }

    /// Adds the gradients of q, k and v; `working` takes the gradient of the scores.
    pub(crate) fn backward(
        &self,
        kernels: &Kernels,
        images: usize,
        (values, qkv): (Shared, &View),
        (memory, qkv_gradient, gradient): (Shared, &View, &View),
        [probabilities, working]: [usize; 2],
        scratch: &Scratch,
    ) {
        let Heads { heads, key_width, head_width } = *self;
        let pixels = qkv.pixels();
        let factor = 1.0 / (key_width as f32).sqrt();
        parallel(images * heads, |task| {
            let (image, head) = (task / heads, task % heads);
            let packed = scratch.mine();
            // SAFETY: each task has its own probabilities, working memory and channels, each thread its own packed matrix.
            unsafe {
                let [q, k, v] = self.matrices(values, qkv, image, head);
                let [dq, dk, dv] = self.matrices(memory, qkv_gradient, image, head);
                let out = memory.at(gradient.at(image, 0) + head * head_width);
                let d_out = Matrix { data: out, row: gradient.pixel };
                let p = Matrix { data: values.at(probabilities + task * pixels * pixels), row: pixels };
                let d_p = Matrix { data: values.at(working + task * pixels * pixels), row: pixels };
                multiply_transposed(kernels, [pixels, pixels, head_width], p, d_out, dv);
                let v_turned = Packed::new(kernels, [head_width, pixels], (v.data, 1, v.row), packed);
                v_turned.multiply(kernels, pixels, d_out, d_p, false);
                for row in 0..pixels {
                    let p = std::slice::from_raw_parts(p.data.add(row * pixels), pixels);
                    let d_p = std::slice::from_raw_parts_mut(d_p.data.add(row * pixels), pixels);
                    softmax_gradient(p, d_p, factor);
                }
                let k = Packed::new(kernels, [pixels, key_width], (k.data, k.row, 1), packed);
                k.multiply(kernels, pixels, d_p, dq, true);
                multiply_transposed(kernels, [pixels, pixels, key_width], d_p, q, dk);
            }
        });
    }

    /// Query, key and value `[pixel, channel]` of one head.
    unsafe fn matrices(&self, memory: Shared, view: &View, image: usize, head: usize) -> [Matrix; 3] {
        let first = view.at(image, 0) + head * self.block();
        [0, self.key_width, 2 * self.key_width].map(|channel| {
            // SAFETY: the channels of this head lie inside the view.
            Matrix { data: unsafe { memory.at(first + channel) }, row: view.pixel }
        })
    }
}

/// The gradient before softmax(x · factor), in place of the one after: factor · p · (dp − Σ p·dp).
fn softmax_gradient(p: &[f32], d_p: &mut [f32], factor: f32) {
    let mut lanes = [0.0f32; 16];
    for (p, d_p) in p.chunks(16).zip(d_p.chunks(16)) {
        for (lane, (p, d_p)) in p.iter().zip(d_p).enumerate() {
            lanes[lane] += p * d_p;
        }
    }
    let dot: f32 = lanes.iter().sum();
    for (d_p, p) in d_p.iter_mut().zip(p) {
        *d_p = factor * p * (*d_p - dot);
    }
}
