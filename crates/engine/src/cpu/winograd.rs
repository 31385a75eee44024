//! 3×3 convolutions with stride 1 by Winograd's minimal filtering, F(4×4, 3×3): 36 products for 16 outputs instead of 144. For inference:
//! weights are transformed once, and the sums differ from the direct ones in the last digits.
//!
//! An image is cut into tiles of 4×4 outputs. A task takes some tiles through three stages in a working memory that fits the second-level
//! cache: input tiles of 6×6 to 36 points, a product with the weights at each point, and back to 4×4 outputs with bias, activation
//! and residual.
//!
//! Source: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016.

use yolo11_network::Convolution;

use super::convolution::{Panel, panels};
use super::kernels::Kernels;
use super::rows::{Destination, Source};
use super::simd::Simd;
use super::tiles::PixelTile;
use super::{Scratch, Shared, View};

/// Outputs of a tile in each direction, and inputs.
const OUTPUTS: usize = 4;
const INPUTS: usize = OUTPUTS + 2;
/// Points of a transformed tile.
const POINTS: usize = INPUTS * INPUTS;
/// Values of working memory that a task aims at.
const TASK_VALUES: usize = 128 * 1024;
/// Tiles of a task come in multiples of this: whole register blocks.
const TILE_STEP: usize = 12;
/// Most tiles of a task.
const MOST_TILES: usize = 48;
/// Tiles of an image below which the larger weights cost more than the products save.
const LEAST_TILES: usize = 50;
/// Input channels below which the transforms cost more than the products save.
const LEAST_CHANNELS: usize = 32;

/// The plan of one convolution.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    size: [usize; 2],
    /// Tiles down and across.
    tiles: [usize; 2],
    input_channels: usize,
    output_channels: usize,
    panels: Vec<Panel>,
    /// Values of the weights of one point.
    point: usize,
    /// Tiles of a task.
    task: usize,
}

impl Winograd {
    /// The plan of a convolution for images of `[height, width]`, where this way is the faster one.
    pub(crate) fn plan(kernels: &Kernels, convolution: &Convolution, size: [usize; 2]) -> Option<Winograd> {
        let Convolution { input_channels, output_channels, kernel, stride, .. } = *convolution;
        let tiles = size.map(|side| side.div_ceil(OUTPUTS));
        let count = tiles[0] * tiles[1];
        let suits = kernel == 3 && stride == 1 && !convolution.is_depthwise();
        if !suits || input_channels < LEAST_CHANNELS || output_channels < kernels.lanes || count < LEAST_TILES {
            return None;
        }
        let panels = panels(kernels, output_channels, input_channels);
        let point = panels.iter().map(|panel| panel.vectors * kernels.lanes * input_channels).sum();
        let fitting = TASK_VALUES / (POINTS * (input_channels + output_channels));
        let most = (fitting / TILE_STEP * TILE_STEP).clamp(TILE_STEP, MOST_TILES);
        // At least four tasks, so that threads share them evenly.
        let tasks = count.div_ceil(most).max(4);
        let task = count.div_ceil(tasks).next_multiple_of(TILE_STEP).min(most);
        Some(Winograd { size, tiles, input_channels, output_channels, panels, point, task })
    }

    /// Length of the packed weights.
    pub(crate) fn packed(&self) -> usize {
        POINTS * self.point
    }

    /// Values of the working memory of each thread.
    pub(crate) fn scratch(&self) -> usize {
        POINTS * (self.task * (self.input_channels + self.output_channels) + self.input_channels) + 64
    }

    /// Tasks of an image.
    pub(crate) fn tasks(&self) -> usize {
        (self.tiles[0] * self.tiles[1]).div_ceil(self.task)
    }

    /// Transforms and packs a weight tensor `[out, in, 3, 3]`: for each point the panels as the register blocks read them.
    pub(crate) fn pack(&self, kernels: &Kernels, weights: &[f32], packed: &mut [f32]) {
        packed.fill(0.0);
        for panel in &self.panels {
            let width = panel.vectors * kernels.lanes;
            for column in 0..panel.columns {
                for depth in 0..self.input_channels {
                    let filter = &weights[((panel.first + column) * self.input_channels + depth) * 9..][..9];
                    let points = transformed_filter(filter);
                    for (index, value) in points.iter().flatten().enumerate() {
                        packed[index * self.point + panel.packed + depth * width + column] = *value as f32;
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
        // SAFETY: the plan made working memory, weights and views for these extents; tasks write different pixels.
        unsafe {
            let points = scratch.mine();
            let products = points.add(POINTS * count * inputs);
            let border = products.add(POINTS * count * outputs);
            for tile in 0..count {
                let from = self.input_tile(memory, input, image, place(tile), border);
                (kernels.winograd_input)(
                    from,
                    input_row(from, input, border),
                    inputs,
                    points.add(tile * inputs),
                    count * inputs,
                );
            }
            for point in 0..POINTS {
                for panel in &self.panels {
                    let most = kernels.most_rows[panel.vectors - 1];
                    let blocks = count.div_ceil(most);
                    for block in 0..blocks {
                        let tile = block * count / blocks;
                        let rows = (block + 1) * count / blocks - tile;
                        let product = PixelTile {
                            a: points.add((point * count + tile) * inputs),
                            a_pixel: inputs,
                            a_segment: 0,
                            segments: 1,
                            depth: inputs,
                            b: packed.add(point * self.point + panel.packed),
                            c: products.add((point * count + tile) * outputs + panel.first),
                            c_pixel: outputs,
                            columns: panel.columns,
                            accumulate: false,
                        };
                        kernels.pixel_tile(rows, panel.vectors)(&product);
                    }
                }
            }
            for tile in 0..count {
                let [y, x] = place(tile);
                let pixel = y * self.size[1] + x;
                let whole = [(self.size[0] - y).min(OUTPUTS), (self.size[1] - x).min(OUTPUTS)];
                (kernels.winograd_output)(
                    products.add(tile * outputs),
                    count * outputs,
                    outputs,
                    output.destination(memory, image, pixel),
                    residual.map(|view| view.source(memory, image, pixel)),
                    [self.size[1] * output.pixel, residual.map_or(0, |view| self.size[1] * view.pixel)],
                    whole,
                    bias,
                    silu,
                );
            }
        }
    }

    /// The 6×6 inputs of a tile: where they lie, or for tiles at the border a copy with zeros outside the image.
    unsafe fn input_tile(
        &self,
        memory: Shared,
        input: &View,
        image: usize,
        [y, x]: [usize; 2],
        border: *mut f32,
    ) -> Source {
        let [height, width] = self.size;
        let channels = self.input_channels;
        // SAFETY: pixels inside the view; the border has room for a tile.
        unsafe {
            if y > 0 && x > 0 && y + INPUTS - 1 <= height && x + INPUTS - 1 <= width {
                return input.source(memory, image, (y - 1) * width + x - 1);
            }
            for row in 0..INPUTS {
                for column in 0..INPUTS {
                    let to = border.add((row * INPUTS + column) * channels);
                    let (sy, sx) = ((y + row).wrapping_sub(1), (x + column).wrapping_sub(1));
                    if sy < height && sx < width {
                        let from = input.source(memory, image, sy * width + sx);
                        std::ptr::copy_nonoverlapping(from.data, to, channels);
                    } else {
                        to.write_bytes(0, channels);
                    }
                }
            }
            Source { data: border, pixel: channels }
        }
    }
}

/// Values between rows of a tile's inputs.
fn input_row(from: Source, input: &View, border: *mut f32) -> usize {
    if std::ptr::eq(from.data, border) { INPUTS * from.pixel } else { input.width * from.pixel }
}

/// G g Gᵀ of a 3×3 filter.
fn transformed_filter(filter: &[f32]) -> [[f64; INPUTS]; INPUTS] {
    const G: [[f64; 3]; INPUTS] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    std::array::from_fn(|y| {
        std::array::from_fn(|x| {
            let taps = (0..9).map(|tap| G[y][tap / 3] * f64::from(filter[tap]) * G[x][tap % 3]);
            taps.sum()
        })
    })
}

/// Bᵀ d B of one tile: `from` is its first pixel, `row` the values between its rows; point p of channel c goes to `to[p · point + c]`.
#[inline(always)]
pub(super) unsafe fn winograd_input<S: Simd>(from: Source, row: usize, channels: usize, to: *mut f32, point: usize) {
    // SAFETY: the caller describes a readable tile and 36 writable stretches of `channels` values.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            let mut half = [[S::splat(0.0); INPUTS]; INPUTS];
            for x in 0..INPUTS {
                let column = from.data.add(x * from.pixel + channel);
                let column: [S::V; INPUTS] = std::array::from_fn(|y| S::load_first(column.add(y * row), count));
                let column = input_points::<S>(column);
                for y in 0..INPUTS {
                    half[y][x] = column[y];
                }
            }
            for (y, row) in half.into_iter().enumerate() {
                for (x, value) in input_points::<S>(row).into_iter().enumerate() {
                    S::store_first(to.add((y * INPUTS + x) * point + channel), value, count);
                }
            }
            channel += S::LANES;
        }
    }
}

/// Bᵀ d in one direction.
#[inline(always)]
unsafe fn input_points<S: Simd>([a, b, c, d, e, f]: [S::V; INPUTS]) -> [S::V; INPUTS] {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
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
    }
}

/// Aᵀ m A of one tile, plus bias, activation and residual: `from[p · point + c]` to the `whole` pixels `[down, across]` that lie in the image.
#[inline(always)]
pub(super) unsafe fn winograd_output<S: Simd>(
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
    // SAFETY: the caller describes 36 readable stretches of `channels` values, and writable pixels.
    unsafe {
        let mut channel = 0;
        while channel < channels {
            let count = (channels - channel).min(S::LANES);
            let bias = S::load_first(bias.add(channel), count);
            let mut half = [[S::splat(0.0); INPUTS]; OUTPUTS];
            for x in 0..INPUTS {
                let column = from.add(x * point + channel);
                let column: [S::V; INPUTS] =
                    std::array::from_fn(|y| S::load_first(column.add(y * INPUTS * point), count));
                let column = outputs::<S>(column);
                for y in 0..OUTPUTS {
                    half[y][x] = column[y];
                }
            }
            for (y, half) in half.into_iter().enumerate().take(whole[0]) {
                for (x, value) in outputs::<S>(half).into_iter().enumerate().take(whole[1]) {
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

/// Aᵀ m in one direction.
#[inline(always)]
unsafe fn outputs<S: Simd>([a, b, c, d, e, f]: [S::V; INPUTS]) -> [S::V; OUTPUTS] {
    // SAFETY: lane-wise arithmetic only.
    unsafe {
        let (near, near_odd) = (S::add(b, c), S::sub(b, c));
        let (far, far_odd) = (S::add(d, e), S::sub(d, e));
        [
            S::add(a, S::add(near, far)),
            S::mul_add(far_odd, S::splat(2.0), near_odd),
            S::mul_add(far, S::splat(4.0), near),
            S::mul_add(far_odd, S::splat(8.0), S::add(near_odd, f)),
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
            for ([inputs, outputs], size, silu, residual) in [
                ([32, 16], [32, 28], true, false),
                ([40, 77], [30, 31], true, true),
                ([64, 64], [33, 45], false, false),
                ([128, 32], [80, 80], true, true),
            ] {
                let convolution = Convolution {
                    input_channels: inputs,
                    output_channels: outputs,
                    kernel: 3,
                    stride: 1,
                    groups: 1,
                    weight: 0,
                    norm: None,
                    bias: None,
                    silu,
                };
                let winograd = Winograd::plan(kernels, &convolution, size).unwrap();
                let direct = forward_pass(kernels, &convolution, size);
                let (images, pixels) = (2, size[0] * size[1]);
                let mut lengths = [inputs, outputs, outputs, outputs].map(|channels| images * pixels * channels);
                let total: usize = lengths.iter().sum();
                let mut memory = Memory::new(total);
                let shared = memory.shared();
                for (at, value) in values(7, total).into_iter().enumerate() {
                    // SAFETY: inside the memory just made.
                    unsafe { *shared.at(at) = value };
                }
                let mut first = 0;
                let views: Vec<View> = [inputs, outputs, outputs, outputs]
                    .into_iter()
                    .zip(&mut lengths)
                    .map(|(channels, length)| {
                        first += *length;
                        View::dense(first - *length, size, channels)
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
                    "{} {inputs}→{outputs} {size:?}: {apart} of {most}",
                    kernels.name
                );
            }
        }
    }
}
