//! 3×3 convolutions by Winograd's minimal filtering: with stride 1 F(4×4, 3×3), 36 products for 16 outputs instead of 144; with stride 2
//! 81 instead of 144. For inference: weights are transformed once, and the sums differ from the direct ones in the last digits.
//!
//! An image is cut into tiles of 4×4 outputs. A task takes some tiles through three stages in a working memory that fits the second-level
//! cache: input tiles to points, a product with the weights at each point, and back to 4×4 outputs with bias, activation and residual.
//!
//! With stride 2 an output reads odd pixels by the outer two taps and even pixels by the middle one, in each direction. So there are four
//! small convolutions with stride 1, of 2×2, 2×1, 1×2 and 1×1 taps, whose products are summed at the same points: F(4, 2) has five, and a
//! single tap needs four of them, with the same weight at each.
//!
//! Source: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016; for points and matrices, S. Winograd, Arithmetic
//! Complexity of Computations, 1980.

use yolo11_network::Convolution;

use super::convolution::{Panel, panels};
use super::kernels::Kernels;
use super::rows::{Destination, Source};
use super::simd::Simd;
use super::tiles::PixelTile;
use super::{Scratch, Shared, View};

/// Outputs of a tile in each direction.
const OUTPUTS: usize = 4;
/// Values of working memory that a task aims at.
const TASK_VALUES: usize = 128 * 1024;
/// Fewest tiles that a task aims at, as each reads all weights, and most.
const TASK_TILES: [usize; 2] = [12, 48];
/// Tiles of an image below which four times the weights cost more than the products save, by stride.
const LEAST_TILES: [usize; 2] = [20, 50];
/// Input channels below which the transforms cost more than the products save.
const LEAST_CHANNELS: usize = 32;

/// One direction of the pixels that belong together: all of them, or with stride 2 every other.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// The first input of a tile, counted from that of its first output's middle tap.
    first: isize,
    /// Inputs of a tile, and points.
    inputs: usize,
    /// What the three taps give at each point, or at all points alike where it is one row.
    filters: &'static [[f64; 3]],
}

/// Points 0, 1, −1, 2, −2 and ∞.
const EVERY: Side = Side {
    first: -1,
    inputs: 6,
    filters: &[
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ],
};
/// Points 0, 1, −1, 2 and ∞; what else these matrices hold is on the side of the inputs, so that the single tap has one weight.
const ODD: Side = Side {
    first: -1,
    inputs: 5,
    filters: &[[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [1.0, 0.0, 2.0], [0.0, 0.0, 1.0]],
};
/// Points 0, 1, −1 and 2.
const EVEN: Side = Side { first: 0, inputs: 4, filters: &[[0.0, 1.0, 0.0]] };

/// The plan of one convolution.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    stride: usize,
    size: [usize; 2],
    /// Outputs down and across.
    grid: [usize; 2],
    /// Tiles down and across.
    tiles: [usize; 2],
    input_channels: usize,
    output_channels: usize,
    panels: Vec<Panel>,
    /// Values of one matrix of weights.
    matrix: usize,
    /// Tiles of a task.
    task: usize,
}

impl Winograd {
    /// The plan of a convolution for images of `[height, width]`, where this way is the faster one.
    pub(crate) fn plan(kernels: &Kernels, convolution: &Convolution, size: [usize; 2]) -> Option<Winograd> {
        let Convolution { input_channels, output_channels, kernel, stride, .. } = *convolution;
        let grid = size.map(|side| side / stride);
        let tiles = grid.map(|side| side.div_ceil(OUTPUTS));
        let count = tiles[0] * tiles[1];
        let suits = kernel == 3 && stride <= 2 && !convolution.is_depthwise();
        if !suits
            || input_channels < LEAST_CHANNELS
            || output_channels < kernels.lanes
            || count < LEAST_TILES[stride - 1]
        {
            return None;
        }
        let panels = panels(kernels, output_channels, input_channels);
        let matrix = panels.iter().map(|panel| panel.vectors * kernels.lanes * input_channels).sum();
        let mut plan = Winograd { stride, size, grid, tiles, input_channels, output_channels, panels, matrix, task: 0 };
        let fitting = TASK_VALUES / (plan.points() * (input_channels + output_channels));
        let [least, most] = TASK_TILES;
        // As many for each thread.
        let tasks = count.div_ceil(fitting.clamp(least, most)).next_multiple_of(rayon::current_num_threads());
        let tasks = tasks.min(count.div_ceil(least));
        plan.task = count.div_ceil(tasks);
        Some(plan)
    }

    /// The sides, down and across, of the pixels that belong together. The first ones have all points.
    fn phases(&self) -> &'static [[Side; 2]] {
        match self.stride {
            1 => &[[EVERY, EVERY]],
            _ => &[[ODD, ODD], [ODD, EVEN], [EVEN, ODD], [EVEN, EVEN]],
        }
    }

    /// Points of a tile in one direction.
    fn side(&self) -> usize {
        self.phases()[0][0].inputs
    }

    /// Points of a tile.
    fn points(&self) -> usize {
        self.side() * self.side()
    }

    /// Length of the packed weights.
    pub(crate) fn packed(&self) -> usize {
        self.phases().iter().map(|[down, across]| down.filters.len() * across.filters.len() * self.matrix).sum()
    }

    /// Values of the working memory of each thread.
    pub(crate) fn scratch(&self) -> usize {
        let [inputs, outputs] =
            [self.input_channels, self.output_channels].map(|channels| stretch(self.task * channels));
        self.points() * (inputs + outputs + self.input_channels) + 64
    }

    /// Tasks of an image.
    pub(crate) fn tasks(&self) -> usize {
        (self.tiles[0] * self.tiles[1]).div_ceil(self.task)
    }

    /// Transforms and packs a weight tensor `[out, in, 3, 3]`: matrix after matrix, each in panels as the register blocks read them.
    pub(crate) fn pack(&self, kernels: &Kernels, weights: &[f32], packed: &mut [f32]) {
        packed.fill(0.0);
        let matrices = self
            .phases()
            .iter()
            .flat_map(|[down, across]| down.filters.iter().flat_map(|y| across.filters.iter().map(move |x| (*y, *x))));
        for ((y, x), packed) in matrices.zip(packed.chunks_exact_mut(self.matrix)) {
            for panel in &self.panels {
                let width = panel.vectors * kernels.lanes;
                for column in 0..panel.columns {
                    let filters = &weights[(panel.first + column) * self.input_channels * 9..];
                    for (depth, filter) in filters.chunks_exact(9).take(self.input_channels).enumerate() {
                        let taps = filter.iter().enumerate();
                        let sum: f64 = taps.map(|(tap, value)| y[tap / 3] * f64::from(*value) * x[tap % 3]).sum();
                        packed[panel.packed + depth * width + column] = sum as f32;
                    }
                }
            }
        }
    }

    /// Computes one task of one image: `output = act(convolution(input) + bias) (+ residual)`.
    pub(crate) unsafe fn run_task(
        &self,
        kernels: &Kernels,
        memory: Shared,
        (input, output, residual): (&View, &View, Option<&View>),
        (packed, bias, silu): (*const f32, *const f32, bool),
        (image, task): (usize, usize),
        scratch: &Scratch,
    ) {
        let (inputs, outputs) = (self.input_channels, self.output_channels);
        let first = task * self.task;
        let count = self.task.min(self.tiles[0] * self.tiles[1] - first);
        let place = |tile: usize| {
            let index = first + tile;
            [index / self.tiles[1] * OUTPUTS, index % self.tiles[1] * OUTPUTS]
        };
        let (point_inputs, point_outputs) = (stretch(count * inputs), stretch(count * outputs));
        // SAFETY: the plan made working memory, weights and views for these extents; tasks write different pixels.
        unsafe {
            let points = scratch.mine();
            let products = points.add(self.points() * point_inputs);
            let border = products.add(self.points() * point_outputs);
            let mut packed = packed;
            for (number, phase) in self.phases().iter().enumerate() {
                let [down, across] = *phase;
                for tile in 0..count {
                    let (from, row) = self.input_tile(memory, input, image, phase, place(tile), border);
                    let sides = [down.inputs, across.inputs];
                    (kernels.winograd_input)(from, row, sides, inputs, points.add(tile * inputs), point_inputs);
                }
                for point in 0..down.inputs * across.inputs {
                    let [y, x] = [point / across.inputs, point % across.inputs];
                    let matrix = y.min(down.filters.len() - 1) * across.filters.len() + x.min(across.filters.len() - 1);
                    let product = products.add((y * self.side() + x) * point_outputs);
                    for panel in &self.panels {
                        let most = kernels.most_rows[panel.vectors - 1];
                        let blocks = count.div_ceil(most);
                        for block in 0..blocks {
                            let tile = block * count / blocks;
                            let rows = (block + 1) * count / blocks - tile;
                            let product = PixelTile {
                                a: points.add(point * point_inputs + tile * inputs),
                                a_pixel: inputs,
                                a_segment: 0,
                                segments: 1,
                                depth: inputs,
                                b: packed.add(matrix * self.matrix + panel.packed),
                                c: product.add(tile * outputs + panel.first),
                                c_pixel: outputs,
                                columns: panel.columns,
                                accumulate: number > 0,
                            };
                            kernels.pixel_tile(rows, panel.vectors)(&product);
                        }
                    }
                }
                packed = packed.add(down.filters.len() * across.filters.len() * self.matrix);
            }
            for tile in 0..count {
                let [y, x] = place(tile);
                let pixel = y * self.grid[1] + x;
                let whole = [(self.grid[0] - y).min(OUTPUTS), (self.grid[1] - x).min(OUTPUTS)];
                (kernels.winograd_output)(
                    products.add(tile * outputs),
                    self.side(),
                    point_outputs,
                    outputs,
                    output.destination(memory, image, pixel),
                    residual.map(|view| view.source(memory, image, pixel)),
                    [self.grid[1] * output.pixel, residual.map_or(0, |view| self.grid[1] * view.pixel)],
                    whole,
                    bias,
                    silu,
                );
            }
        }
    }

    /// The inputs of a tile and the values between their rows: where they lie, or for tiles at the border a copy with zeros outside the
    /// image.
    unsafe fn input_tile(
        &self,
        memory: Shared,
        input: &View,
        image: usize,
        [down, across]: &[Side; 2],
        [y, x]: [usize; 2],
        border: *mut f32,
    ) -> (Source, usize) {
        let [height, width] = self.size;
        let channels = self.input_channels;
        let at = |output: usize, side: &Side, index: usize| {
            (output * self.stride).wrapping_add_signed(side.first).wrapping_add(index * self.stride)
        };
        let is_inside = |output: usize, side: &Side, length: usize| {
            at(output, side, 0) < length && at(output, side, side.inputs - 1) < length
        };
        // SAFETY: pixels inside the view; the border has room for a tile.
        unsafe {
            if is_inside(y, down, height) && is_inside(x, across, width) {
                let from = input.source(memory, image, at(y, down, 0) * width + at(x, across, 0));
                let pixel = self.stride * from.pixel;
                return (Source { data: from.data, pixel }, width * pixel);
            }
            for row in 0..down.inputs {
                for column in 0..across.inputs {
                    let to = border.add((row * across.inputs + column) * channels);
                    let (sy, sx) = (at(y, down, row), at(x, across, column));
                    if sy < height && sx < width {
                        let from = input.source(memory, image, sy * width + sx);
                        std::ptr::copy_nonoverlapping(from.data, to, channels);
                    } else {
                        to.write_bytes(0, channels);
                    }
                }
            }
            (Source { data: border, pixel: channels }, across.inputs * channels)
        }
    }
}

/// Values from one point to the next: an odd number of 64-byte lines, so that a tile's points do not all fall on the same lines of the
/// first-level cache.
fn stretch(values: usize) -> usize {
    (values.div_ceil(16) | 1) * 16
}

/// Bᵀ d B of one tile of inputs `[down, across]`: `from` is its first pixel, `row` the values between its rows; point p of channel c goes
/// to `to[p · point + c]`.
#[inline(always)]
pub(super) unsafe fn winograd_input<S: Simd>(
    from: Source,
    row: usize,
    sides: [usize; 2],
    channels: usize,
    to: *mut f32,
    point: usize,
) {
    // SAFETY: the caller describes a readable tile and as many writable stretches of `channels` values.
    unsafe {
        match sides {
            [6, _] => input_tile::<S, 6, 6>(from, row, channels, to, point),
            [5, 5] => input_tile::<S, 5, 5>(from, row, channels, to, point),
            [5, _] => input_tile::<S, 5, 4>(from, row, channels, to, point),
            [_, 5] => input_tile::<S, 4, 5>(from, row, channels, to, point),
            _ => input_tile::<S, 4, 4>(from, row, channels, to, point),
        }
    }
}

#[inline(always)]
unsafe fn input_tile<S: Simd, const Y: usize, const X: usize>(
    from: Source,
    row: usize,
    channels: usize,
    to: *mut f32,
    point: usize,
) {
    // SAFETY: as above.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            let mut half = [[S::splat(0.0); X]; Y];
            for x in 0..X {
                let column = from.data.add(x * from.pixel + channel);
                let column: [S::V; Y] = std::array::from_fn(|y| S::load_first(column.add(y * row), count));
                let column = input_points::<S, Y>(column);
                for y in 0..Y {
                    half[y][x] = column[y];
                }
            }
            for (y, row) in half.into_iter().enumerate() {
                for (x, value) in input_points::<S, X>(row).into_iter().enumerate() {
                    S::store_first(to.add((y * X + x) * point + channel), value, count);
                }
            }
            channel += S::LANES;
        }
    }
}

/// Bᵀ d in one direction: of [`EVERY`], [`ODD`] or [`EVEN`].
#[inline(always)]
unsafe fn input_points<S: Simd, const N: usize>(inputs: [S::V; N]) -> [S::V; N] {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
        let mut all = [S::splat(0.0); 6];
        all[..N].copy_from_slice(&inputs);
        let [a, b, c, d, e, f] = all;
        let points = if N == 6 {
            let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(-5.0));
            let minus_four = S::splat(-4.0);
            // Sums that two points share.
            let even = S::mul_add(c, minus_four, e);
            let odd = S::mul_add(b, minus_four, d);
            let high = S::sub(e, c);
            let twice = S::mul(two, S::sub(d, b));
            [
                S::mul_add(c, five, S::mul_add(a, four, e)),
                S::add(even, odd),
                S::sub(even, odd),
                S::add(high, twice),
                S::sub(high, twice),
                S::mul_add(d, five, S::mul_add(b, four, f)),
            ]
        } else {
            let (half, sixth) = (S::splat(0.5), S::splat(1.0 / 6.0));
            let odd = S::sub(d, b);
            [
                S::mul_add(odd, half, S::sub(a, c)),
                S::mul_add(S::sub(c, d), half, b),
                S::mul_add(c, half, S::mul_add(d, S::splat(-1.0 / 6.0), S::mul(b, S::splat(-1.0 / 3.0)))),
                S::mul(odd, sixth),
                S::mul_add(odd, S::splat(-2.0), S::sub(e, c)),
                f,
            ]
        };
        std::array::from_fn(|point| points[point])
    }
}

/// Aᵀ m A of one tile of `side`² points, plus bias, activation and residual: `from[p · point + c]` to the `whole` pixels `[down, across]`
/// that lie in the image.
#[inline(always)]
pub(super) unsafe fn winograd_output<S: Simd>(
    from: *const f32,
    side: usize,
    point: usize,
    channels: usize,
    to: Destination,
    residual: Option<Source>,
    rows: [usize; 2],
    whole: [usize; 2],
    bias: *const f32,
    silu: bool,
) {
    // SAFETY: the caller describes `side`² readable stretches of `channels` values, and writable pixels.
    unsafe {
        match side {
            6 => output_tile::<S, 6>(from, point, channels, to, residual, rows, whole, bias, silu),
            _ => output_tile::<S, 5>(from, point, channels, to, residual, rows, whole, bias, silu),
        }
    }
}

#[inline(always)]
unsafe fn output_tile<S: Simd, const N: usize>(
    from: *const f32,
    point: usize,
    channels: usize,
    to: Destination,
    residual: Option<Source>,
    [row, residual_row]: [usize; 2],
    whole: [usize; 2],
    bias: *const f32,
    silu: bool,
) {
    // SAFETY: as above.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            let bias = S::load_first(bias.add(channel), count);
            let mut half = [[S::splat(0.0); N]; OUTPUTS];
            for x in 0..N {
                let column = from.add(x * point + channel);
                let column: [S::V; N] = std::array::from_fn(|y| S::load_first(column.add(y * N * point), count));
                let column = outputs::<S, N>(column);
                for y in 0..OUTPUTS {
                    half[y][x] = column[y];
                }
            }
            for (y, half) in half.into_iter().enumerate().take(whole[0]) {
                for (x, value) in outputs::<S, N>(half).into_iter().enumerate().take(whole[1]) {
                    let mut value = S::add(value, bias);
                    if silu {
                        value = super::rows::silu::<S>(value);
                    }
                    if let Some(residual) = residual {
                        let from = residual.data.add(y * residual_row + x * residual.pixel + channel);
                        value = S::add(value, S::load_first(from, count));
                    }
                    S::store_first(to.data.add(y * row + x * to.pixel + channel), value, count);
                }
            }
            channel += S::LANES;
        }
    }
}

/// Aᵀ m in one direction; −2 is a point only where there are six.
#[inline(always)]
unsafe fn outputs<S: Simd, const N: usize>(points: [S::V; N]) -> [S::V; OUTPUTS] {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
        let [a, b, c, d] = [points[0], points[1], points[2], points[3]];
        let (near, near_odd) = (S::add(b, c), S::sub(b, c));
        let (far, far_odd) = if N == 6 { (S::add(d, points[4]), S::sub(d, points[4])) } else { (d, d) };
        [
            S::add(a, S::add(near, far)),
            S::mul_add(far_odd, S::splat(2.0), near_odd),
            S::mul_add(far, S::splat(4.0), near),
            S::mul_add(far_odd, S::splat(8.0), S::add(near_odd, points[N - 1])),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Memory;
    use crate::cpu::convolution::{Finish, Input, forward_pass};

    fn values(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn it_gives_what_the_direct_way_gives() {
        for kernels in Kernels::available() {
            for ([inputs, outputs], stride, size, silu, residual) in [
                ([32, 16], 1, [32, 28], true, false),
                ([40, 77], 1, [30, 31], true, true),
                ([64, 64], 1, [33, 45], false, false),
                ([128, 32], 1, [80, 80], true, true),
                ([256, 128], 1, [20, 20], true, false),
                ([32, 64], 2, [64, 60], true, false),
                ([40, 77], 2, [62, 54], true, true),
                ([64, 128], 2, [80, 80], false, false),
            ] {
                let convolution = Convolution {
                    input_channels: inputs,
                    output_channels: outputs,
                    kernel: 3,
                    stride,
                    groups: 1,
                    weight: 0,
                    norm: None,
                    bias: None,
                    silu,
                };
                let winograd = Winograd::plan(kernels, &convolution, size).unwrap();
                let direct = forward_pass(kernels, &convolution, size);
                let images = 2;
                let grid = size.map(|side| side / stride);
                let shapes = [(inputs, size), (outputs, grid), (outputs, grid), (outputs, grid)];
                let lengths = shapes.map(|(channels, [height, width])| images * height * width * channels);
                let total: usize = lengths.iter().sum();
                let mut memory = Memory::new(total);
                let shared = memory.shared();
                for (at, value) in values(7, total).into_iter().enumerate() {
                    // SAFETY: inside the memory just made.
                    unsafe { *shared.at(at) = value };
                }
                let mut first = 0;
                let views: Vec<View> = (shapes.into_iter().zip(lengths))
                    .map(|((channels, size), length)| {
                        first += length;
                        View::dense(first - length, size, channels)
                    })
                    .collect();
                let residual = residual.then_some(views[1]);
                let weights: Vec<f32> = values(3, outputs * inputs * 9).iter().map(|value| value * 0.1).collect();
                let bias = values(5, outputs.next_multiple_of(16));
                let scratch = Scratch::new(winograd.scratch().max(direct.scratch()));
                let mut packed = [vec![0.0; winograd.packed()], vec![0.0; direct.packed]];
                winograd.pack(kernels, &weights, &mut packed[0]);
                direct.pack(kernels, &weights, &mut packed[1]);
                for image in 0..images {
                    for task in 0..winograd.tasks() {
                        let views = (&views[0], &views[2], residual.as_ref());
                        let factors = (packed[0].as_ptr(), bias.as_ptr(), silu);
                        // SAFETY: all places were made for this plan.
                        unsafe { winograd.run_task(kernels, shared, views, factors, (image, task), &scratch) };
                    }
                    for band in 0..direct.bands() {
                        let input = Input::Values(shared, views[0]);
                        let to = (shared, &views[3]);
                        let finish = Some(Finish { bias: bias.as_ptr(), silu, residual });
                        // SAFETY: all places were made for this plan.
                        unsafe {
                            direct.run_band(
                                kernels,
                                &input,
                                packed[1].as_ptr(),
                                to,
                                (image, band),
                                false,
                                finish,
                                &scratch,
                            );
                        }
                    }
                }
                let [ours, theirs] = [2, 3].map(|place| memory.slice(views[place].offset, lengths[place]));
                let most = theirs.iter().fold(0f32, |most, value| most.max(value.abs()));
                let apart = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(
                    apart < 1e-5 * most.max(1.0),
                    "{} {inputs}→{outputs} /{stride} {size:?}: {apart} of {most}",
                    kernels.name
                );
            }
        }
    }
}
