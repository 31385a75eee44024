//! The training form: batch statistics, forward and backward over one plan.

use yolo11_network::{BINS, Convolution, Model, NORM_EPSILON, NORM_MOMENTUM, Network};

use crate::arena::{Lifetime, Memory, place};
use crate::cpu::attention::Heads as AttentionHeads;
use crate::cpu::convolution::{Bytes, ConvolutionPlan, Input};
use crate::cpu::kernels::Kernels;
use crate::cpu::{Scratch, Shared, View, parallel, pool};
use crate::layout::{Layout, Region, Step};
use crate::{Error, Gradients, Heads, Images, check_size};

/// Values that a task of an elementwise pass takes.
const CHUNK_VALUES: usize = 16 * 1024;

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

/// One step with its places in memory.
struct Planned {
    step: Step,
    output: View,
    work: Work,
    /// Gradients: of the output, of the input and of the residual, the latter two with whether they are added to.
    gradient: View,
    input_gradient: Option<(View, bool)>,
    residual_gradient: Option<(View, bool)>,
    /// Gradient channels to clear before this step's backward.
    clear: Vec<View>,
}

/// What a step works with.
enum Work {
    Convolution(Box<ConvolutionWork>),
    MaxPool { input: View, winners: View },
    Upsample { input: View },
    Attention { heads: AttentionHeads, input: View, probabilities: usize, working: usize },
    Copy { from: View },
}

struct ConvolutionWork {
    plan: ConvolutionPlan,
    /// None for the first, which reads the pictures.
    input: Option<View>,
    residual: Option<View>,
    /// Output before batch norm, overwritten by its gradient on the way back. For plain convolutions the output itself.
    raw: View,
    /// Mean, scale, shift, inverse deviation, slope and offset, `output channels` values each.
    norms: usize,
    packed: usize,
    packed_backward: Vec<usize>,
}

/// Hands out places one after another.
struct Bump(usize);

impl Bump {
    fn take(&mut self, length: usize) -> usize {
        let offset = self.0;
        self.0 += length.next_multiple_of(16);
        offset
    }
}

impl TrainingSession {
    /// Plans all memory. `size` is `[height, width]`, multiples of 32.
    pub fn plan(network: &Network, batch: usize, size: [usize; 2]) -> Result<Self, Error> {
        check_size(size)?;
        let kernels = Kernels::get();
        let layout = Layout::new(network, size);
        let batch = batch.max(1);
        let mut values = Bump(0);
        let boxes = values.take(batch * layout.anchors * 4 * BINS);
        let scores = values.take(batch * layout.anchors * layout.classes);
        let buffers: Vec<View> = (layout.buffers.iter())
            .map(|buffer| match buffer.head {
                Some(head) => {
                    let base = if head.boxes { boxes } else { scores };
                    let view = View::dense(base + head.first_anchor * buffer.channels, buffer.size, buffer.channels);
                    View { image: layout.anchors * buffer.channels, ..view }
                }
                None => {
                    let length = batch * buffer.size[0] * buffer.size[1] * buffer.channels;
                    View::dense(values.take(length), buffer.size, buffer.channels)
                }
            })
            .collect();
        let (gradient_buffers, gradient_values) = place_gradients(&layout, &buffers, batch);

        let mut planner = Planner {
            kernels,
            batch,
            values,
            buffers: &buffers,
            packed: Bump(0),
            packed_backward: Bump(0),
            scratch: 0,
            partials: 0,
            statistics: 0,
        };
        let mut steps: Vec<Planned> = (layout.steps.iter())
            .map(|step| {
                let work = planner.work(step, size);
                let view = |buffers: &[View], region: Region| slice(buffers, region);
                Planned {
                    step: *step,
                    output: view(&buffers, step.output()),
                    work,
                    gradient: view(&gradient_buffers, step.output()),
                    input_gradient: None,
                    residual_gradient: None,
                    clear: Vec::new(),
                }
            })
            .collect();
        plan_gradients(&layout, &gradient_buffers, &mut steps);

        let Planner { values, packed, packed_backward, scratch, partials, statistics, .. } = planner;
        Ok(TrainingSession {
            kernels,
            batch,
            images: 0,
            pictures: vec![0; batch * size[0] * size[1] * 3],
            picture_values: None,
            picture: View::dense(0, size, 3),
            values: Memory::new(values.0),
            gradients: Memory::new(gradient_values),
            packed: Memory::new(packed.0.max(packed_backward.0)),
            partials: Memory::new(partials),
            statistics: Memory::new(statistics),
            scratch: Scratch::new(scratch),
            boxes,
            scores,
            steps,
            layout,
        })
    }

    /// Bytes of the planned memory.
    pub fn memory_bytes(&self) -> usize {
        let memories = [&self.values, &self.gradients, &self.packed, &self.partials, &self.statistics];
        memories.iter().map(|memory| memory.bytes()).sum::<usize>() + self.scratch.bytes() + self.pictures.len()
    }

    /// Runs forward on as many images as there are, at most the planned batch, and moves the model's running statistics.
    pub fn forward<'a>(&mut self, model: &mut Model, images: impl Into<Images<'a>>) -> Result<Heads<'_>, Error> {
        let images = images.into();
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
                    );
                }
                Work::MaxPool { input, winners } => {
                    let Step::MaxPool { kernel, .. } = planned.step else { continue };
                    pool::max_pool(kernel, count, (values, input), &planned.output, Some((values, winners)));
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
                    self.convolve_back(work, &convolution, planned, external, values, memory, gradients);
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
            let pack = |pass: &crate::cpu::convolution::PixelPass, offset: usize| {
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
    ) {
        let (kernels, count) = (self.kernels, self.images);
        let input = self.input(work, values);
        let pass = &work.plan.forward;
        let (raw, channels) = (work.raw, convolution.output_channels);
        let bands = pass.bands();
        parallel(count * bands, |task| unsafe {
            let place = (task / bands, task % bands);
            pass.run_band(kernels, &input, packed.at(work.packed), (values, &raw), place, false, &self.scratch);
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
                let pixels = (count * raw.pixels()) as f64;
                for channel in 0..channels {
                    let (sum, mut squares) = total(statistics, count * bands, channels, channel);
                    let average = sum / pixels;
                    for task in 0..count * bands {
                        let part = (pass.band(task % bands).1 * raw.width) as f64;
                        let sum = unsafe { f64::from(*statistics.at(task * 2 * channels + channel)) };
                        squares += part * (sum / part - average).powi(2);
                    }
                    let variance = squares / pixels;
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
        values: Shared,
        memory: Shared,
        gradients: &mut Gradients,
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
                let pixels = (count * raw.pixels()) as f64;
                for channel in 0..channels {
                    let (sum, product) = total(statistics, tasks, channels, channel);
                    let [mean, factor, inverse] =
                        [mean, scale, inverse].map(|value| unsafe { f64::from(*value.at(channel)) });
                    gradients.tensor_mut(norm)[channel] += (product * inverse) as f32;
                    gradients.tensor_mut(norm + 1)[channel] += sum as f32;
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
                    pass.run_band(kernels, &from, packed.at(place), to, (image, band), accumulate, &self.scratch);
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

struct Planner<'a> {
    kernels: &'static Kernels,
    batch: usize,
    values: Bump,
    buffers: &'a [View],
    packed: Bump,
    packed_backward: Bump,
    scratch: usize,
    partials: usize,
    statistics: usize,
}

impl Planner<'_> {
    fn work(&mut self, step: &Step, size: [usize; 2]) -> Work {
        let view = |region: Region| slice(self.buffers, region);
        match *step {
            Step::Convolution { convolution, input, output, residual } => {
                let input = input.map(view);
                let from = input.map_or(size, |view| [view.height, view.width]);
                let plan = ConvolutionPlan::new(self.kernels, &convolution, from);
                let to = view(output);
                let channels = convolution.output_channels;
                let raw = match convolution.norm {
                    Some(_) => {
                        let offset = self.values.take(self.batch * to.pixels() * channels);
                        View::dense(offset, [to.height, to.width], channels)
                    }
                    None => to,
                };
                self.scratch = self.scratch.max(plan.scratch());
                self.partials = self.partials.max(plan.partial_values(self.batch));
                let tasks = (self.batch * plan.forward.bands()).max(self.batch * chunks_of(&raw));
                self.statistics = self.statistics.max(tasks * 2 * channels);
                Work::Convolution(Box::new(ConvolutionWork {
                    input,
                    residual: residual.map(view),
                    raw,
                    norms: self.values.take(6 * channels),
                    packed: self.packed.take(plan.forward.packed),
                    packed_backward: plan.backward.iter().map(|pass| self.packed_backward.take(pass.packed)).collect(),
                    plan,
                }))
            }
            Step::MaxPool { input, output, .. } => {
                let to = view(output);
                let offset = self.values.take(self.batch * to.pixels() * to.channels);
                let winners = View::dense(offset, [to.height, to.width], to.channels);
                Work::MaxPool { input: view(input), winners }
            }
            Step::Upsample { input, .. } => Work::Upsample { input: view(input) },
            Step::Attention { heads, key_width, head_width, input, .. } => {
                let heads = AttentionHeads { heads, key_width, head_width };
                let input = view(input);
                self.scratch = self.scratch.max(heads.scratch(self.kernels, input.pixels()));
                let length = self.batch * heads.probabilities(input.pixels());
                let (probabilities, working) = (self.values.take(length), self.values.take(length));
                Work::Attention { heads, input, probabilities, working }
            }
            Step::Copy { from, .. } => Work::Copy { from: view(from) },
        }
    }
}

fn slice(buffers: &[View], region: Region) -> View {
    buffers[region.buffer].slice(region.first, region.channels)
}

/// Places for the gradient of every buffer, alive from its first reader's backward step to its first writer's.
fn place_gradients(layout: &Layout, buffers: &[View], batch: usize) -> (Vec<View>, usize) {
    let last = layout.steps.len();
    let mut lifetimes: Vec<Lifetime> = (layout.buffers.iter())
        .map(|buffer| {
            let length = batch * buffer.size[0] * buffer.size[1] * buffer.channels;
            // The head's gradients come from outside.
            let length = if buffer.head.is_some() { 0 } else { length.next_multiple_of(16) };
            Lifetime { length, first: last, last: 0 }
        })
        .collect();
    for (index, step) in layout.steps.iter().enumerate() {
        let time = last - 1 - index;
        for region in step.inputs().into_iter().chain([step.output()]) {
            let lifetime = &mut lifetimes[region.buffer];
            lifetime.first = lifetime.first.min(time);
            lifetime.last = lifetime.last.max(time);
        }
    }
    let (offsets, total) = place(&lifetimes);
    let views = (buffers.iter().zip(&layout.buffers).zip(offsets))
        .map(|((_, buffer), offset)| View::dense(offset, buffer.size, buffer.channels))
        .collect();
    (views, total)
}

/// Decides for every gradient whether it is written or added to, and what must be cleared first.
fn plan_gradients(layout: &Layout, buffers: &[View], steps: &mut [Planned]) {
    let mut written: Vec<Vec<bool>> = layout.buffers.iter().map(|buffer| vec![false; buffer.channels]).collect();
    for planned in steps.iter_mut().rev() {
        let mut clear = Vec::new();
        let mut claim = |region: Region, always_add: bool| {
            let channels = &mut written[region.buffer][region.first..region.first + region.channels];
            let fresh = channels.iter().all(|&written| !written);
            if !fresh || always_add {
                let mut first = 0;
                while first < channels.len() {
                    let length = channels[first..].iter().take_while(|&&written| !written).count();
                    if length > 0 {
                        clear.push(buffers[region.buffer].slice(region.first + first, length));
                    }
                    first += length.max(1);
                }
            }
            channels.fill(true);
            (slice(buffers, region), !fresh || always_add)
        };
        match planned.step {
            Step::Convolution { input, residual, .. } => {
                // The residual is claimed first: its gradient is taken before the convolution's.
                planned.residual_gradient = residual.map(|region| claim(region, false));
                planned.input_gradient = input.map(|region| claim(region, false));
            }
            Step::MaxPool { input, .. } | Step::Attention { input, .. } => {
                planned.input_gradient = Some(claim(input, true));
            }
            Step::Upsample { input, .. } => planned.input_gradient = Some(claim(input, false)),
            Step::Copy { from, .. } => planned.input_gradient = Some(claim(from, false)),
        }
        planned.clear = clear;
    }
}

/// Pixels of a chunk.
fn chunk_pixels(view: &View) -> usize {
    (CHUNK_VALUES / view.channels).clamp(1, view.pixels())
}

/// Chunks of an image.
fn chunks_of(view: &View) -> usize {
    view.pixels().div_ceil(chunk_pixels(view))
}

/// Runs `task(image, first pixel, pixels, number of the task)` over all chunks of all images; gives the number of tasks.
fn chunks(images: usize, view: &View, task: impl Fn(usize, usize, usize, usize) + Sync + Send) -> usize {
    let (size, count) = (chunk_pixels(view), chunks_of(view));
    parallel(images * count, |index| {
        let (image, first) = (index / count, index % count * size);
        task(image, first, size.min(view.pixels() - first), index);
    });
    images * count
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
