//! The training form: batch statistics, forward and backward over one plan.

mod plan;

use yolo11_network::{BINS, Convolution, Model, NORM_EPSILON, NORM_MOMENTUM};

use crate::arena::Memory;
use crate::cpu::convolution::{Bytes, Input, PixelPass};
use crate::cpu::kernels::Kernels;
use crate::cpu::{Scratch, Shared, View, chunks, parallel, pool};
use crate::layout::{Layout, Step};
use crate::{Error, Gradients, Heads, Images, Peers};

use plan::{ConvolutionWork, Planned, Work};

/// The training form of a network for batches of up to `batch` images of one size.
pub struct TrainingSession {
    kernels: &'static Kernels,
    layout: Layout,
    batch: usize,
    /// Images of the last forward.
    images: usize,
    /// Its pictures, which the first convolution's gradient needs: bytes, or values where values were given.
    pictures: Vec<u8>,
    picture_values: Option<Vec<f32>>,
    picture: View,
    /// Activations, convolution outputs (their gradients after the backward pass), statistics, head outputs.
    values: Memory,
    gradients: Memory,
    packed: Memory,
    /// Partial sums of weight gradients.
    partials: Memory,
    /// Partial sums of statistics, a part for each task.
    statistics: Memory,
    scratch: Scratch,
    boxes: usize,
    scores: usize,
    steps: Vec<Planned>,
}

impl TrainingSession {
    /// Bytes of the planned memory.
    pub fn memory_bytes(&self) -> usize {
        let memories = [&self.values, &self.gradients, &self.packed, &self.partials, &self.statistics];
        memories.iter().map(|memory| memory.bytes()).sum::<usize>() + self.scratch.bytes() + self.pictures.len()
    }

    /// Runs forward on as many images as there are, at most the planned batch, and moves the model's running statistics.
    pub fn forward<'a>(&mut self, model: &mut Model, images: impl Into<Images<'a>>) -> Result<Heads<'_>, Error> {
        self.forward_among(model, images.into(), None)
    }

    /// The same for a share of a batch whose other shares are learnt by `peers`: batch norm takes its statistics over all of it.
    pub fn forward_among(
        &mut self,
        model: &mut Model,
        images: Images,
        mut peers: Option<&mut dyn Peers>,
    ) -> Result<Heads<'_>, Error> {
        self.images = images.count(self.layout.size, self.batch)?;
        match images {
            Images::Bytes(bytes) => {
                self.picture_values = None;
                self.pictures[..bytes.len()].copy_from_slice(bytes);
            }
            Images::Values(values) => self.picture_values = Some(values.to_vec()),
        }
        self.scratch.fit();
        self.pack(model, false);
        let values = self.values.shared();
        let count = self.images;
        for planned in &self.steps {
            match &planned.work {
                Work::Convolution(work) => {
                    let Step::Convolution { convolution, .. } = planned.step else { continue };
                    self.convolve(
                        work,
                        &convolution,
                        model,
                        planned.output,
                        values,
                        self.packed_at(),
                        self.statistics_at(),
                        again(&mut peers),
                    );
                }
                Work::MaxPool { input, winners } => {
                    let Step::MaxPool { kernel, .. } = planned.step else { continue };
                    pool::max_pool(self.kernels, kernel, count, (values, input), &planned.output, Some(winners));
                }
                Work::Upsample { input } => pool::upsample(count, (values, input), &planned.output),
                Work::Attention { heads, input, probabilities, .. } => {
                    heads.forward(self.kernels, count, (values, input), &planned.output, *probabilities, &self.scratch);
                }
                Work::Copy { from } => copy(self.kernels, count, (values, from), &planned.output, false),
            }
        }
        Ok(Heads {
            boxes: self.values.slice(self.boxes, count * self.layout.anchors * 4 * BINS),
            scores: self.values.slice(self.scores, count * self.layout.anchors * self.layout.classes),
            images: count,
        })
    }

    /// Adds to `gradients` the gradient of what has the gradients `boxes` and `scores` at the head's outputs of the last forward.
    pub fn backward(
        &mut self,
        model: &Model,
        boxes: &[f32],
        scores: &[f32],
        gradients: &mut Gradients,
    ) -> Result<(), Error> {
        self.backward_among(model, boxes, scores, gradients, None)
    }

    /// The same after [`TrainingSession::forward_among`]. The gradients are those of this share: over the peers they are to be added up.
    pub fn backward_among(
        &mut self,
        model: &Model,
        boxes: &[f32],
        scores: &[f32],
        gradients: &mut Gradients,
        mut peers: Option<&mut dyn Peers>,
    ) -> Result<(), Error> {
        let count = self.images;
        let wanted = count * self.layout.anchors;
        for (what, given, wanted) in [
            ("the gradient of the boxes", boxes.len(), wanted * 4 * BINS),
            ("the gradient of the scores", scores.len(), wanted * self.layout.classes),
        ] {
            if given != wanted {
                return Err(Error::Length { what, given, wanted });
            }
        }
        self.scratch.fit();
        self.pack(model, true);
        let values = self.values.shared();
        let memory = self.gradients.shared();
        for planned in self.steps.iter().rev() {
            for view in &planned.clear {
                clear(count, memory, view);
            }
            match &planned.work {
                Work::Convolution(work) => {
                    let Step::Convolution { convolution, output, .. } = planned.step else { continue };
                    let external = self.layout.buffers[output.buffer].head.map(|head| {
                        let slice = if head.boxes { boxes } else { scores };
                        let view = View { offset: head.first_anchor * planned.output.pixel, ..planned.output };
                        (Shared(slice.as_ptr().cast_mut()), view)
                    });
                    let places = (values, memory);
                    self.convolve_back(work, &convolution, planned, external, places, gradients, again(&mut peers));
                }
                Work::MaxPool { winners, .. } => {
                    let Step::MaxPool { kernel, .. } = planned.step else { continue };
                    let Some((input, _)) = &planned.input_gradient else { continue };
                    pool::max_pool_gradient(kernel, count, (memory, &planned.gradient), input, (values, winners));
                }
                Work::Upsample { .. } => {
                    let Some((input, accumulate)) = &planned.input_gradient else { continue };
                    pool::upsample_gradient(count, (memory, &planned.gradient), input, *accumulate);
                }
                Work::Attention { heads, input, probabilities, working } => {
                    let Some((input_gradient, _)) = &planned.input_gradient else { continue };
                    let gradients = (memory, input_gradient, &planned.gradient);
                    let places = [*probabilities, *working];
                    heads.backward(self.kernels, count, (values, input), gradients, places, &self.scratch);
                }
                Work::Copy { .. } => {
                    let Some((input, accumulate)) = &planned.input_gradient else { continue };
                    copy(self.kernels, count, (memory, &planned.gradient), input, *accumulate);
                }
            }
        }
        Ok(())
    }

    fn packed_at(&self) -> Shared {
        Shared(self.packed.slice(0, 0).as_ptr().cast_mut())
    }

    fn statistics_at(&self) -> Shared {
        Shared(self.statistics.slice(0, 0).as_ptr().cast_mut())
    }

    /// Brings all weights into the order in which the forward or the backward passes read them.
    fn pack(&mut self, model: &Model, backward: bool) {
        let packed = self.packed.shared();
        let kernels = self.kernels;
        let steps = &self.steps;
        parallel(steps.len(), |index| {
            let (Work::Convolution(work), Step::Convolution { convolution, .. }) =
                (&steps[index].work, steps[index].step)
            else {
                return;
            };
            let weights = model.tensor(convolution.weight);
            let forward = [(&work.plan.forward, work.packed)];
            let back = work.plan.backward.iter().zip(work.packed_backward.iter().copied());
            let pack = |pass: &PixelPass, offset: usize| {
                // SAFETY: every pass has a place of its own, `packed` values long.
                let to = unsafe { std::slice::from_raw_parts_mut(packed.at(offset), pass.packed) };
                pass.pack(kernels, weights, to);
            };
            if backward {
                back.for_each(|(pass, offset)| pack(pass, offset));
            } else {
                forward.into_iter().for_each(|(pass, offset)| pack(pass, offset));
            }
        });
    }

    // One reason holds for all of it: tasks write rows, chunks and sums of their own, and the plan made every place.
    #[allow(clippy::undocumented_unsafe_blocks)]
    fn convolve(
        &self,
        work: &ConvolutionWork,
        convolution: &Convolution,
        model: &mut Model,
        output: View,
        values: Shared,
        packed: Shared,
        statistics: Shared,
        peers: Option<&mut dyn Peers>,
    ) {
        let (kernels, count) = (self.kernels, self.images);
        let input = self.input(work, values);
        let pass = &work.plan.forward;
        let (raw, channels) = (work.raw, convolution.output_channels);
        let bands = pass.bands();
        parallel(count * bands, |task| unsafe {
            let place = (task / bands, task % bands);
            pass.run_band(kernels, &input, packed.at(work.packed), (values, &raw), place, false, None, &self.scratch);
            if convolution.norm.is_some() {
                let (row, rows) = pass.band(place.1);
                let sums = statistics.at(task * 2 * channels);
                let from = raw.source(values, place.0, row * raw.width);
                (kernels.sums)(from, rows * raw.width, channels, sums, sums.add(channels));
            }
        });
        let norms = unsafe { std::slice::from_raw_parts_mut(values.at(work.norms), 6 * channels) };
        let (mean, rest) = norms.split_at_mut(channels);
        let (scale, rest) = rest.split_at_mut(channels);
        let (shift, rest) = rest.split_at_mut(channels);
        let inverse = &mut rest[..channels];
        match convolution.norm {
            Some(norm) => {
                let own_pixels = (count * raw.pixels()) as f64;
                let own = |channel: usize| {
                    let (sum, mut squares) = total(statistics, count * bands, channels, channel);
                    let average = sum / own_pixels;
                    for task in 0..count * bands {
                        let part = (pass.band(task % bands).1 * raw.width) as f64;
                        let sum = unsafe { f64::from(*statistics.at(task * 2 * channels + channel)) };
                        squares += part * (sum / part - average).powi(2);
                    }
                    (average, squares / own_pixels)
                };
                let moments = peers.map(|peers| {
                    // Sums of values and of squares can be added up over shares of any size.
                    let sums = (0..channels).map(own).flat_map(|(average, variance)| {
                        [average * own_pixels, (variance + average * average) * own_pixels]
                    });
                    let mut sums: Vec<f64> = sums.chain([own_pixels]).collect();
                    peers.sum(&mut sums);
                    sums
                });
                let pixels = moments.as_ref().map_or(own_pixels, |sums| sums[2 * channels]);
                for channel in 0..channels {
                    let (average, variance) = match &moments {
                        Some(sums) => {
                            let average = sums[2 * channel] / pixels;
                            (average, (sums[2 * channel + 1] / pixels - average * average).max(0.0))
                        }
                        None => own(channel),
                    };
                    let deviation = 1.0 / (variance + f64::from(NORM_EPSILON)).sqrt();
                    let factor = f64::from(model.tensor(norm)[channel]) * deviation;
                    mean[channel] = average as f32;
                    inverse[channel] = deviation as f32;
                    scale[channel] = factor as f32;
                    shift[channel] = (f64::from(model.tensor(norm + 1)[channel]) - average * factor) as f32;
                    let unbiased = variance * pixels / (pixels - 1.0).max(1.0);
                    for (tensor, value) in [(norm + 2, average), (norm + 3, unbiased)] {
                        let running = &mut model.tensor_mut(tensor)[channel];
                        *running = (1.0 - NORM_MOMENTUM) * *running + NORM_MOMENTUM * value as f32;
                    }
                }
                model.tensor_mut(norm + 4)[0] += 1.0;
            }
            None => {
                scale.fill(1.0);
                match convolution.bias {
                    Some(bias) => shift.copy_from_slice(model.tensor(bias)),
                    None => shift.fill(0.0),
                }
            }
        }
        let (scale, shift) = (Shared(scale.as_mut_ptr()), Shared(shift.as_mut_ptr()));
        chunks(count, &raw, |image, pixel, pixels, _| unsafe {
            let residual = work.residual.map(|view| view.source(values, image, pixel));
            (kernels.activate)(
                raw.source(values, image, pixel),
                output.destination(values, image, pixel),
                residual,
                pixels,
                channels,
                scale.at(0),
                shift.at(0),
                convolution.silu,
            );
        });
    }

    // One reason holds for all of it: tasks write chunks, bands and sums of their own, and the plan made every place.
    #[allow(clippy::undocumented_unsafe_blocks)]
    fn convolve_back(
        &self,
        work: &ConvolutionWork,
        convolution: &Convolution,
        planned: &Planned,
        external: Option<(Shared, View)>,
        (values, memory): (Shared, Shared),
        gradients: &mut Gradients,
        peers: Option<&mut dyn Peers>,
    ) {
        let (kernels, count) = (self.kernels, self.images);
        let (raw, channels) = (work.raw, convolution.output_channels);
        let statistics = self.statistics_at();
        let (gradient_memory, gradient) = external.unwrap_or((memory, planned.gradient));
        let at = |index: usize| unsafe { values.at(work.norms + index * channels) };
        let [mean, scale, shift, inverse, slope, offset] = [0, 1, 2, 3, 4, 5].map(|index| Shared(at(index)));
        let tasks = chunks(count, &raw, |image, pixel, pixels, task| unsafe {
            let from = gradient.source(gradient_memory, image, pixel);
            if let Some((view, accumulate)) = &planned.residual_gradient {
                (kernels.copy)(from, view.destination(memory, image, pixel), pixels, channels, *accumulate);
            }
            let sums = statistics.at(task * 2 * channels);
            if convolution.norm.is_some() {
                let y = raw.source(values, image, pixel);
                (kernels.norm_gradient_sums)(
                    y,
                    from,
                    pixels,
                    channels,
                    scale.at(0),
                    shift.at(0),
                    mean.at(0),
                    convolution.silu,
                    sums,
                    sums.add(channels),
                );
            } else {
                (kernels.sums)(from, pixels, channels, sums, sums.add(channels));
            }
        });
        let (gradient_memory, gradient) = match (convolution.norm, convolution.bias) {
            (Some(norm), _) => {
                let own = |channel| total(statistics, tasks, channels, channel);
                let own_pixels = (count * raw.pixels()) as f64;
                let whole = peers.map(|peers| {
                    let sums = (0..channels).map(own).flat_map(|(sum, product)| [sum, product]);
                    let mut sums: Vec<f64> = sums.chain([own_pixels]).collect();
                    peers.sum(&mut sums);
                    sums
                });
                let pixels = whole.as_ref().map_or(own_pixels, |sums| sums[2 * channels]);
                for channel in 0..channels {
                    let (own_sum, own_product) = own(channel);
                    let (sum, product) = match &whole {
                        Some(sums) => (sums[2 * channel], sums[2 * channel + 1]),
                        None => (own_sum, own_product),
                    };
                    let [mean, factor, inverse] =
                        [mean, scale, inverse].map(|value| unsafe { f64::from(*value.at(channel)) });
                    gradients.tensor_mut(norm)[channel] += (own_product * inverse) as f32;
                    gradients.tensor_mut(norm + 1)[channel] += own_sum as f32;
                    let a = -factor * inverse * inverse * product / pixels;
                    unsafe {
                        *slope.at(channel) = a as f32;
                        *offset.at(channel) = (-mean * a - factor * sum / pixels) as f32;
                    }
                }
                chunks(count, &raw, |image, pixel, pixels, _| unsafe {
                    (kernels.norm_gradient)(
                        raw.destination(values, image, pixel),
                        gradient.source(gradient_memory, image, pixel),
                        pixels,
                        channels,
                        scale.at(0),
                        shift.at(0),
                        slope.at(0),
                        offset.at(0),
                        convolution.silu,
                    );
                });
                (values, raw)
            }
            (None, bias) => {
                if let Some(bias) = bias {
                    for channel in 0..channels {
                        gradients.tensor_mut(bias)[channel] += total(statistics, tasks, channels, channel).0 as f32;
                    }
                }
                (gradient_memory, gradient)
            }
        };
        let input = self.input(work, values);
        let partials = Shared(self.partials.slice(0, 0).as_ptr().cast_mut());
        let weights = gradients.tensor_mut(convolution.weight);
        unsafe {
            work.plan.weight_gradient(
                kernels,
                count,
                &input,
                (gradient_memory, &gradient),
                partials,
                weights,
                &self.scratch,
            );
        }
        let Some((input_gradient, accumulate)) = planned.input_gradient else { return };
        let from = Input::Values(gradient_memory, gradient);
        let packed = self.packed_at();
        let passes = &work.plan.backward;
        let bands: usize = passes.iter().map(|pass| pass.bands()).sum();
        parallel(count * bands, |task| unsafe {
            let (image, mut band) = (task / bands, task % bands);
            for (pass, &place) in passes.iter().zip(&work.packed_backward) {
                if band < pass.bands() {
                    let to = (memory, &input_gradient);
                    pass.run_band(kernels, &from, packed.at(place), to, (image, band), accumulate, None, &self.scratch);
                    return;
                }
                band -= pass.bands();
            }
        });
    }

    fn input(&self, work: &ConvolutionWork, values: Shared) -> Input {
        match (work.input, &self.picture_values) {
            (Some(view), _) => Input::Values(values, view),
            (None, Some(pictures)) => Input::Values(Shared(pictures.as_ptr().cast_mut()), self.picture),
            (None, None) => Input::Images(Bytes(self.pictures.as_ptr()), self.picture),
        }
    }
}

/// The peers for one call more.
fn again<'a>(peers: &'a mut Option<&mut dyn Peers>) -> Option<&'a mut dyn Peers> {
    match peers {
        Some(peers) => Some(&mut **peers),
        None => None,
    }
}

fn copy(kernels: &Kernels, images: usize, (memory, from): (Shared, &View), to: &View, accumulate: bool) {
    chunks(images, from, |image, pixel, pixels, _| {
        // SAFETY: chunks are different pixels of views inside the memory.
        unsafe {
            let (from, to_here) = (from.source(memory, image, pixel), to.destination(memory, image, pixel));
            (kernels.copy)(from, to_here, pixels, to.channels, accumulate);
        }
    });
}

fn clear(images: usize, memory: Shared, view: &View) {
    for image in 0..images {
        for pixel in 0..view.pixels() {
            // SAFETY: inside the view.
            unsafe { memory.at(view.at(image, pixel)).write_bytes(0, view.channels) };
        }
    }
}

/// Sums a channel's two statistics over all tasks, in their order.
fn total(statistics: Shared, tasks: usize, channels: usize, channel: usize) -> (f64, f64) {
    let (mut first, mut second) = (0.0, 0.0);
    for task in 0..tasks {
        // SAFETY: every task wrote `2 · channels` values.
        unsafe {
            first += f64::from(*statistics.at((task * 2) * channels + channel));
            second += f64::from(*statistics.at((task * 2 + 1) * channels + channel));
        }
    }
    (first, second)
}
