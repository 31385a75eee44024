//! Convolution by blocks of pixels and channels, without unfolding the image.
//!
//! For each band of output rows the input rows it needs are copied into a strip with zero borders, small enough for the cache.
//! There the taps of one kernel row lie side by side for every output pixel (channels-last), so a 3×3 convolution is three long
//! inner loops, and its weights' gradient reads the same strip. 1×1 convolutions read their input where it lies. The gradient of the
//! input is a convolution of the output's gradient with the weights turned round; with stride 2, four of them, one for each parity
//! of row and column.

use yolo11_network::Convolution;

use super::kernels::Kernels;
use super::tiles::{PixelTile, WeightTile};
use super::{Scratch, Shared, View, parallel};

/// Values of a strip that a band aims at, so that strip, weights and output share the second-level cache.
const STRIP_VALUES: usize = 40 * 1024;
/// Bytes that the partial sums of one weight gradient may take together.
const PARTIAL_BYTES: usize = 16 << 20;
/// Most partial sums of a weight gradient.
const MOST_PARTIALS: usize = 16;

/// The pictures themselves: bytes that become values in 0 … 1 when they are copied into a strip.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub *const u8);

// SAFETY: only read.
unsafe impl Send for Bytes {}
// SAFETY: only read.
unsafe impl Sync for Bytes {}

/// Where a pass reads its input.
#[derive(Clone, Copy)]
pub(crate) enum Input {
    /// Values in the session's memory.
    Values(Shared, View),
    /// RGB bytes `[image, height, width, 3]`.
    Images(Bytes, View),
}

impl Input {
    fn view(&self) -> &View {
        match self {
            Input::Values(_, view) | Input::Images(_, view) => view,
        }
    }
}

/// A range of output channels computed together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub first: usize,
    pub columns: usize,
    pub vectors: usize,
    /// Start of its packed weights.
    pub packed: usize,
}

/// What becomes of a sum right after it is computed, while it is in the first-level cache: `act(sum + bias) (+ residual)`.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// Bias of each channel.
    pub bias: *const f32,
    pub silu: bool,
    /// In the memory that the output lies in.
    pub residual: Option<View>,
}

impl Finish {
    /// Finishes `pixels` pixels from `pixel` on, channels `first .. first + channels`.
    unsafe fn run(
        &self,
        kernels: &Kernels,
        (memory, output): (Shared, &View),
        (image, pixel, pixels): (usize, usize, usize),
        (first, channels): (usize, usize),
    ) {
        // SAFETY: the caller has just written these pixels; the plan made bias and residual of the same extent.
        unsafe {
            let mut to = output.destination(memory, image, pixel);
            to.data = to.data.add(first);
            let residual = self.residual.map(|view| {
                let mut from = view.source(memory, image, pixel);
                from.data = from.data.add(first);
                from
            });
            (kernels.finish)(to, residual, pixels, channels, self.bias.add(first), self.silu);
        }
    }
}

/// Cuts `columns` output channels into panels of about equal width.
pub(super) fn panels(kernels: &Kernels, columns: usize, depth: usize) -> Vec<Panel> {
    let vectors = columns.div_ceil(kernels.lanes);
    let count = vectors.div_ceil(kernels.most_vectors);
    let mut panels = Vec::new();
    let (mut first, mut packed) = (0, 0);
    for index in 0..count {
        let share = (vectors * (index + 1)) / count - (vectors * index) / count;
        let width = (share * kernels.lanes).min(columns - first);
        panels.push(Panel { first, columns: width, vectors: share, packed });
        first += width;
        packed += share * kernels.lanes * depth;
    }
    panels
}

/// How many taps a kernel has in one direction and where they read.
#[derive(Clone, Debug)]
struct Taps {
    /// Kernel position of each tap, in the order in which it is met in the source.
    kernel: Vec<usize>,
    /// Source position of the first tap for output 0.
    first: isize,
}

/// One pass of pixels by weights over a grid of output pixels: a forward convolution, or (a parity of) a gradient of its input.
#[derive(Clone, Debug)]
pub(crate) struct PixelPass {
    rows: Taps,
    columns: Taps,
    /// Source pixels between outputs.
    step: usize,
    /// Outputs down and across.
    grid: [usize; 2],
    /// Pixels of the destination between outputs, and the first one.
    spread: usize,
    origin: [usize; 2],
    source_channels: usize,
    panels: Vec<Panel>,
    /// Length of the packed weights.
    pub packed: usize,
    /// Bands of an image.
    bands: usize,
    depthwise: bool,
    /// Steps in the weight tensor between channels of the destination, and of the source, in units of one tap row × tap column.
    weight_strides: [usize; 2],
    kernel: usize,
    output_channels: usize,
}

/// The pass of a convolution of `kernel` 1 (stride 1) or 3 (stride 1 or 2) on an input of `[height, width]`.
pub(crate) fn forward_pass(kernels: &Kernels, convolution: &Convolution, size: [usize; 2]) -> PixelPass {
    let taps = || Taps { kernel: (0..convolution.kernel).collect(), first: -((convolution.kernel / 2) as isize) };
    let grid = size.map(|pixels| pixels / convolution.stride);
    PixelPass { step: convolution.stride, ..PixelPass::new(convolution, grid, taps(), taps()) }.plan(kernels)
}

impl PixelPass {
    /// A pass with the convolution's own channels; `plan` must follow.
    fn new(convolution: &Convolution, grid: [usize; 2], rows: Taps, columns: Taps) -> PixelPass {
        PixelPass {
            rows,
            columns,
            step: 1,
            grid,
            spread: 1,
            origin: [0, 0],
            source_channels: convolution.input_channels,
            panels: Vec::new(),
            packed: 0,
            bands: 0,
            depthwise: convolution.is_depthwise(),
            weight_strides: [convolution.input_channels_per_group(), 1],
            kernel: convolution.kernel,
            output_channels: convolution.output_channels,
        }
    }

    fn plan(mut self, kernels: &Kernels) -> PixelPass {
        let taps = self.rows.kernel.len() * self.columns.kernel.len();
        if self.depthwise {
            self.packed = taps * self.output_channels + kernels.lanes;
        } else {
            let depth = taps * self.source_channels;
            self.panels = panels(kernels, self.output_channels, depth);
            self.packed = self.panels.iter().map(|panel| panel.vectors * kernels.lanes * depth).sum();
        }
        self.bands = self.fitting_bands();
        self
    }

    /// Bands whose strip (or what is read directly) fits; a multiple of four, so that a few threads have as many each.
    fn fitting_bands(&self) -> usize {
        let row = self.strip_width() * self.source_channels;
        let rows = self.grid[0];
        let fitting = (STRIP_VALUES / row).saturating_sub(self.rows.kernel.len() - 1) / self.step;
        rows.div_ceil(fitting.max(1)).next_multiple_of(4).min(rows)
    }

    /// Whether every tap is the pixel itself, so that the source needs no strip.
    fn is_direct(&self) -> bool {
        self.rows.kernel.len() == 1 && self.columns.kernel.len() == 1 && self.step == 1 && !self.depthwise
    }

    fn strip_width(&self) -> usize {
        (self.grid[1] - 1) * self.step + self.columns.kernel.len()
    }

    fn strip_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.step + self.rows.kernel.len()
    }

    /// Values of the working memory a band needs.
    pub(crate) fn scratch(&self) -> usize {
        self.strip_rows(self.grid[0].div_ceil(self.bands)) * self.strip_width() * self.source_channels + 64
    }

    /// Bands of an image.
    pub(crate) fn bands(&self) -> usize {
        self.bands
    }

    /// First row and number of rows of a band.
    pub(crate) fn band(&self, band: usize) -> (usize, usize) {
        let first = |band: usize| band * self.grid[0] / self.bands;
        (first(band), first(band + 1) - first(band))
    }

    /// Packs a weight tensor `[out, in / groups, kernel, kernel]` for this pass.
    pub(crate) fn pack(&self, kernels: &Kernels, weights: &[f32], packed: &mut [f32]) {
        let area = self.kernel * self.kernel;
        let across = self.columns.kernel.len();
        let taps = (0..self.rows.kernel.len() * across)
            .map(|index| self.rows.kernel[index / across] * self.kernel + self.columns.kernel[index % across]);
        if self.depthwise {
            for (index, tap) in taps.enumerate() {
                for channel in 0..self.output_channels {
                    packed[index * self.output_channels + channel] = weights[channel * area + tap];
                }
            }
            return;
        }
        let [column_stride, depth_stride] = self.weight_strides;
        for panel in &self.panels {
            let width = panel.vectors * kernels.lanes;
            let mut at = panel.packed;
            for tap in taps.clone() {
                for depth in 0..self.source_channels {
                    let from = &weights[depth * depth_stride * area + tap..];
                    let to = &mut packed[at..at + width];
                    for (column, value) in to[..panel.columns].iter_mut().enumerate() {
                        *value = from[(panel.first + column) * column_stride * area];
                    }
                    to[panel.columns..].fill(0.0);
                    at += width;
                }
            }
        }
    }

    /// Copies the source rows of a band into the strip.
    unsafe fn fill_strip(
        &self,
        kernels: &Kernels,
        input: &Input,
        image: usize,
        first_row: usize,
        rows: usize,
        strip: *mut f32,
    ) {
        let view = input.view();
        let channels = view.channels;
        let width = self.strip_width();
        let left = (-self.columns.first).max(0) as usize;
        let from = self.columns.first.max(0) as usize;
        let count = (view.width - from).min(width - left);
        for row in 0..self.strip_rows(rows) {
            let y = (first_row * self.step) as isize + self.rows.first + row as isize;
            // SAFETY: the strip has `scratch()` values; source pixels are inside the view.
            unsafe {
                let to = strip.add(row * width * channels);
                if y < 0 || y >= view.height as isize {
                    to.write_bytes(0, width * channels);
                    continue;
                }
                to.write_bytes(0, left * channels);
                to.add((left + count) * channels).write_bytes(0, (width - left - count) * channels);
                let pixel = y as usize * view.width + from;
                let inner = to.add(left * channels);
                match input {
                    Input::Images(bytes, _) => {
                        let from = std::slice::from_raw_parts(bytes.0.add(view.at(image, pixel)), count * channels);
                        let inner = std::slice::from_raw_parts_mut(inner, count * channels);
                        for (value, &byte) in inner.iter_mut().zip(from) {
                            *value = f32::from(byte) * (1.0 / 255.0);
                        }
                    }
                    Input::Values(memory, _) => {
                        let source = view.source(*memory, image, pixel);
                        if view.pixel == channels {
                            std::ptr::copy_nonoverlapping(source.data, inner, count * channels);
                        } else {
                            let to = super::Destination { data: inner, pixel: channels };
                            (kernels.copy)(source, to, count, channels, false);
                        }
                    }
                }
            }
        }
    }

    /// Computes one band of one image into `output` (a view of the whole destination), and finishes it where that is asked for.
    pub(crate) unsafe fn run_band(
        &self,
        kernels: &Kernels,
        input: &Input,
        packed: *const f32,
        (memory, output): (Shared, &View),
        (image, band): (usize, usize),
        accumulate: bool,
        finish: Option<Finish>,
        scratch: &Scratch,
    ) {
        let (first_row, rows) = self.band(band);
        let taps = self.columns.kernel.len();
        let strip = scratch.mine();
        // SAFETY: the plan made strip, packed weights and views for these extents; bands write different rows.
        unsafe {
            let (a, a_pixel, a_row, a_segment);
            match input {
                Input::Values(memory, view) if self.is_direct() => {
                    let source = view.source(*memory, image, first_row * view.width);
                    (a, a_pixel, a_row, a_segment) = (source.data, view.pixel, view.width * view.pixel, 0);
                }
                _ => {
                    self.fill_strip(kernels, input, image, first_row, rows, strip);
                    let row = self.strip_width() * self.source_channels;
                    (a, a_pixel, a_row, a_segment) =
                        (strip.cast_const(), self.step * self.source_channels, self.step * row, row);
                }
            }
            let row_offset =
                |row: usize| ((first_row + row) * self.spread + self.origin[0]) * output.width + self.origin[1];
            if self.depthwise {
                for row in 0..rows {
                    let mut out = output.destination(memory, image, row_offset(row));
                    out.pixel *= self.spread;
                    (kernels.depthwise_row)(
                        a.add(row * a_row),
                        a_segment,
                        self.kernel,
                        self.step,
                        packed,
                        out,
                        self.grid[1],
                        self.output_channels,
                        accumulate,
                    );
                    if let Some(finish) = finish {
                        let place = (image, row_offset(row), self.grid[1]);
                        finish.run(kernels, (memory, output), place, (0, self.output_channels));
                    }
                }
                return;
            }
            // Rows that follow each other without a gap on both sides are one long row.
            let joined = self.is_direct() && self.spread == 1;
            let (runs, width) = if joined { (1, rows * self.grid[1]) } else { (rows, self.grid[1]) };
            for panel in &self.panels {
                let most = kernels.most_rows[panel.vectors - 1];
                let blocks = width.div_ceil(most);
                let weights = packed.add(panel.packed);
                for run in 0..runs {
                    let c = memory.at(output.at(image, row_offset(run)) + panel.first);
                    for block in 0..blocks {
                        let first = block * width / blocks;
                        let count = (block + 1) * width / blocks - first;
                        let tile = PixelTile {
                            a: a.add(run * a_row + first * a_pixel),
                            a_pixel,
                            a_segment,
                            segments: self.rows.kernel.len(),
                            depth: taps * self.source_channels,
                            b: weights,
                            c: c.add(first * self.spread * output.pixel),
                            c_pixel: self.spread * output.pixel,
                            columns: panel.columns,
                            accumulate,
                        };
                        kernels.pixel_tile(count, panel.vectors)(&tile);
                        if let Some(finish) = finish {
                            let place = (image, row_offset(run) + first, count);
                            finish.run(kernels, (memory, output), place, (panel.first, panel.columns));
                        }
                    }
                }
            }
        }
    }
}

/// The plan of one convolution's three products.
#[derive(Clone, Debug)]
pub(crate) struct ConvolutionPlan {
    /// Output from input.
    pub forward: PixelPass,
    /// The input's gradient from the output's: one pass, or one for each parity.
    pub backward: Vec<PixelPass>,
    /// Values between ks of a partial weight gradient.
    weight_stride: usize,
    /// Panels of the weight gradient.
    weight_panels: Vec<Panel>,
}

impl ConvolutionPlan {
    /// Plans a convolution of `kernel` 1 (stride 1) or 3 (stride 1 or 2) on an input of `[height, width]`, even where halved.
    pub(crate) fn new(kernels: &Kernels, convolution: &Convolution, size: [usize; 2]) -> ConvolutionPlan {
        let (kernel, outputs) = (convolution.kernel, convolution.output_channels);
        let depthwise = convolution.is_depthwise();
        let grid = size.map(|pixels| pixels / convolution.stride);
        let back = |rows: Taps, columns: Taps| PixelPass {
            source_channels: outputs,
            output_channels: convolution.input_channels,
            weight_strides: [1, convolution.input_channels_per_group()],
            ..PixelPass::new(convolution, grid, rows, columns)
        };
        let turned = || Taps { kernel: (0..kernel).rev().collect(), first: -((kernel / 2) as isize) };
        let backward = if convolution.stride == 1 {
            vec![back(turned(), turned()).plan(kernels)]
        } else {
            // Row 2r is met by the middle tap of output row r; row 2r + 1 by the last tap of r and the first of r + 1.
            let parity = |odd: usize| Taps { kernel: if odd == 0 { vec![1] } else { vec![2, 0] }, first: 0 };
            let phase = |y: usize, x: usize| {
                PixelPass { spread: 2, origin: [y, x], ..back(parity(y), parity(x)) }.plan(kernels)
            };
            vec![phase(0, 0), phase(0, 1), phase(1, 0), phase(1, 1)]
        };
        let forward = forward_pass(kernels, convolution, size);
        let weight_panels = if depthwise { Vec::new() } else { panels(kernels, outputs, 0) };
        let weight_stride = if depthwise { outputs } else { outputs.div_ceil(kernels.lanes) * kernels.lanes };
        ConvolutionPlan { forward, backward, weight_stride, weight_panels }
    }

    /// Working memory of each thread.
    pub(crate) fn scratch(&self) -> usize {
        self.backward.iter().map(PixelPass::scratch).max().unwrap_or(0).max(self.forward.scratch())
    }

    /// Values of one partial weight gradient.
    fn partial(&self) -> usize {
        let pass = &self.forward;
        let taps = pass.kernel * pass.kernel;
        let depth = if pass.depthwise { taps } else { taps * pass.source_channels };
        depth * self.weight_stride + 64
    }

    /// Partial sums of the weight gradient for a batch: fixed by the work, not by the threads.
    pub(crate) fn partials(&self, images: usize) -> usize {
        let most = (PARTIAL_BYTES / 4 / self.partial()).clamp(4, MOST_PARTIALS);
        most.min(images * self.forward.bands())
    }

    /// Values of all partial weight gradients for a batch.
    pub(crate) fn partial_values(&self, images: usize) -> usize {
        self.partials(images) * self.partial()
    }

    /// Adds the weights' gradient `[out, in / groups, kernel, kernel]`: `partials` is working memory of
    /// [`partial_values`](Self::partial_values).
    pub(crate) unsafe fn weight_gradient(
        &self,
        kernels: &Kernels,
        images: usize,
        input: &Input,
        (memory, gradient): (Shared, &View),
        partials: Shared,
        weights: &mut [f32],
        scratch: &Scratch,
    ) {
        let pass = &self.forward;
        let count = self.partials(images);
        let units = images * pass.bands();
        let partial = self.partial();
        parallel(count, |task| {
            // SAFETY: each task has a partial sum of its own and only reads the rest.
            unsafe {
                let sums = partials.at(task * partial);
                sums.write_bytes(0, partial);
                for unit in task * units / count..(task + 1) * units / count {
                    let place = (unit / pass.bands(), unit % pass.bands());
                    self.weight_band(kernels, input, (memory, gradient), place, sums, scratch);
                }
            }
        });
        self.reduce(count, partial, partials, weights);
    }

    /// Adds one band's share to a partial sum.
    unsafe fn weight_band(
        &self,
        kernels: &Kernels,
        input: &Input,
        (memory, gradient): (Shared, &View),
        (image, band): (usize, usize),
        sums: *mut f32,
        scratch: &Scratch,
    ) {
        let pass = &self.forward;
        let (first_row, rows) = pass.band(band);
        let channels = pass.source_channels;
        // SAFETY: the plan made strip, sums and views for these extents.
        unsafe {
            let g = gradient.source(memory, image, first_row * gradient.width);
            let (a, a_pixel, row) = match input {
                Input::Values(memory, view) if pass.is_direct() => {
                    (view.source(*memory, image, first_row * view.width).data, view.pixel, view.width * view.pixel)
                }
                _ => {
                    let strip = scratch.mine();
                    pass.fill_strip(kernels, input, image, first_row, rows, strip);
                    (strip.cast_const(), pass.step * channels, pass.strip_width() * channels)
                }
            };
            if pass.depthwise {
                for y in 0..rows {
                    let source = super::Source { data: g.data.add(y * gradient.width * g.pixel), pixel: g.pixel };
                    let from = a.add(y * pass.step * row);
                    (kernels.depthwise_weight_row)(
                        from,
                        row,
                        pass.kernel,
                        pass.step,
                        source,
                        sums,
                        pass.grid[1],
                        pass.output_channels,
                    );
                }
                return;
            }
            let (runs, width) = if pass.is_direct() { (1, rows * pass.grid[1]) } else { (rows, pass.grid[1]) };
            let depth = pass.kernel * channels;
            for tap_row in 0..pass.kernel {
                for panel in &self.weight_panels {
                    let most = kernels.most_rows[panel.vectors - 1];
                    let blocks = depth.div_ceil(most);
                    for block in 0..blocks {
                        let first = block * depth / blocks;
                        let count = (block + 1) * depth / blocks - first;
                        let tile = WeightTile {
                            a: a.add(tap_row * row + first),
                            a_pixel,
                            a_row: pass.step * row,
                            g: g.data.add(panel.first),
                            g_pixel: g.pixel,
                            g_row: gradient.width * g.pixel,
                            rows: runs,
                            width,
                            c: sums.add((tap_row * depth + first) * self.weight_stride + panel.first),
                            c_stride: self.weight_stride,
                        };
                        kernels.weight_tile(count, panel.vectors)(&tile);
                    }
                }
            }
        }
    }

    /// Sums the partials in their order into the weight tensor's own layout.
    fn reduce(&self, count: usize, partial: usize, partials: Shared, weights: &mut [f32]) {
        let pass = &self.forward;
        let area = pass.kernel * pass.kernel;
        let (inputs, outputs) =
            if pass.depthwise { (1, pass.output_channels) } else { (pass.source_channels, pass.output_channels) };
        let to = Shared(weights.as_mut_ptr());
        let stride = self.weight_stride;
        // A task takes a block of output channels, whose weights lie together.
        let block = 16;
        parallel(outputs.div_ceil(block), |task| {
            let first = task * block;
            let width = block.min(outputs - first);
            for k in 0..area * inputs {
                let (tap, input) = (k / inputs, k % inputs);
                let mut sums = [0.0f32; 16];
                for part in 0..count {
                    // SAFETY: within the partial sums; `stride` is at least `outputs`.
                    let from =
                        unsafe { std::slice::from_raw_parts(partials.at(part * partial + k * stride + first), width) };
                    for (sum, value) in sums.iter_mut().zip(from) {
                        *sum += value;
                    }
                }
                for (channel, sum) in sums[..width].iter().enumerate() {
                    // SAFETY: within the weight tensor; tasks take different output channels.
                    unsafe { *to.at(((first + channel) * inputs + input) * area + tap) += sum };
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
