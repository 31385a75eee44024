//! The evaluation form: batch norm folded away, bias and activation applied while a band is in the cache, memory shared over time.

use yolo11_network::{BINS, Convolution, Model};

use crate::arena::{Lifetime, Memory, place};
use crate::cpu::attention::Heads as AttentionHeads;
use crate::cpu::convolution::{Bytes, Finish, Input, PixelPass, forward_pass};
use crate::cpu::kernels::Kernels;
use crate::cpu::winograd::Winograd;
use crate::cpu::{Scratch, Shared, View, parallel, pool};
use crate::layout::{Layout, Region, Step};
use crate::{Error, Heads, Images, check_size};

/// The evaluation form of a model for batches of up to `batch` images of one size.
pub struct InferenceSession {
    kernels: &'static Kernels,
    layout: Layout,
    batch: usize,
    picture: View,
    values: Memory,
    /// Packed weights and, for each convolution, bias.
    weights: Memory,
    scratch: Scratch,
    boxes: usize,
    scores: usize,
    steps: Vec<Planned>,
}

struct Planned {
    output: View,
    work: Work,
}

enum Work {
    Convolution(Box<ConvolutionWork>),
    MaxPool { kernel: usize, input: View },
    Upsample { input: View },
    Attention { heads: AttentionHeads, input: View, probabilities: usize },
    Copy { from: View },
}

struct ConvolutionWork {
    convolution: Convolution,
    pass: Pass,
    input: Option<View>,
    residual: Option<View>,
    packed: usize,
    bias: usize,
}

/// How a convolution is computed.
enum Pass {
    Direct(PixelPass),
    Winograd(Winograd),
}

impl Pass {
    /// The faster way for an input of `[height, width]`; the picture itself is bytes and goes the direct way.
    fn plan(kernels: &Kernels, convolution: &Convolution, size: [usize; 2]) -> Pass {
        match Winograd::plan(kernels, convolution, size) {
            Some(winograd) => Pass::Winograd(winograd),
            None => Pass::Direct(forward_pass(kernels, convolution, size)),
        }
    }

    /// Length of the packed weights.
    fn packed(&self) -> usize {
        match self {
            Pass::Direct(pass) => pass.packed,
            Pass::Winograd(winograd) => winograd.packed(),
        }
    }

    /// Values of the working memory of each thread.
    fn scratch(&self) -> usize {
        match self {
            Pass::Direct(pass) => pass.scratch(),
            Pass::Winograd(winograd) => winograd.scratch(),
        }
    }

    fn pack(&self, kernels: &Kernels, weights: &[f32], packed: &mut [f32]) {
        match self {
            Pass::Direct(pass) => pass.pack(kernels, weights, packed),
            Pass::Winograd(winograd) => winograd.pack(kernels, weights, packed),
        }
    }
}

impl InferenceSession {
    /// Folds batch norm into the convolutions and plans all memory. `size` is `[height, width]`, multiples of 32.
    pub fn plan(model: &Model, batch: usize, size: [usize; 2]) -> Result<Self, Error> {
        check_size(size)?;
        let kernels = Kernels::get();
        let layout = Layout::new(model.network(), size);
        let batch = batch.max(1);
        let (offsets, working, boxes, scores, total) = place_values(&layout, batch);
        let buffers: Vec<View> = (layout.buffers.iter().zip(&offsets))
            .map(|(buffer, &offset)| match buffer.head {
                Some(head) => {
                    let base = if head.boxes { boxes } else { scores };
                    let view = View::dense(base + head.first_anchor * buffer.channels, buffer.size, buffer.channels);
                    View { image: layout.anchors * buffer.channels, ..view }
                }
                None => View::dense(offset, buffer.size, buffer.channels),
            })
            .collect();
        let view = |region: Region| buffers[region.buffer].slice(region.first, region.channels);
        let (mut weights, mut scratch) = (0, 0);
        let steps = (layout.steps.iter().enumerate())
            .map(|(index, step)| {
                let work = match *step {
                    Step::Convolution { convolution, input, residual, .. } => {
                        let input = input.map(view);
                        let from = input.map_or(size, |view| [view.height, view.width]);
                        let pass = Pass::plan(kernels, &convolution, from);
                        scratch = scratch.max(pass.scratch());
                        let packed = weights;
                        let bias = packed + pass.packed().next_multiple_of(16);
                        weights = bias + convolution.output_channels.next_multiple_of(16);
                        let residual = residual.map(view);
                        Work::Convolution(Box::new(ConvolutionWork {
                            convolution,
                            pass,
                            input,
                            residual,
                            packed,
                            bias,
                        }))
                    }
                    Step::MaxPool { kernel, input, .. } => Work::MaxPool { kernel, input: view(input) },
                    Step::Upsample { input, .. } => Work::Upsample { input: view(input) },
                    Step::Attention { heads, key_width, head_width, input, .. } => {
                        let heads = AttentionHeads { heads, key_width, head_width };
                        let input = view(input);
                        scratch = scratch.max(heads.scratch(kernels, input.pixels()));
                        Work::Attention { heads, input, probabilities: working[index] }
                    }
                    Step::Copy { from, .. } => Work::Copy { from: view(from) },
                };
                Planned { output: view(step.output()), work }
            })
            .collect();
        let mut session = InferenceSession {
            kernels,
            batch,
            picture: View::dense(0, size, 3),
            values: Memory::new(total),
            weights: Memory::new(weights),
            scratch: Scratch::new(scratch),
            boxes,
            scores,
            steps,
            layout,
        };
        session.update(model);
        Ok(session)
    }

    /// Takes over new weights of the same network.
    pub fn update(&mut self, model: &Model) {
        let weights = self.weights.shared();
        let kernels = self.kernels;
        let steps = &self.steps;
        parallel(steps.len(), |index| {
            let Work::Convolution(work) = &steps[index].work else { return };
            let folded = model.fold(&work.convolution);
            let channels = work.convolution.output_channels;
            // SAFETY: every convolution has places of its own.
            let (packed, bias) = unsafe {
                (
                    std::slice::from_raw_parts_mut(weights.at(work.packed), work.pass.packed()),
                    std::slice::from_raw_parts_mut(weights.at(work.bias), channels),
                )
            };
            work.pass.pack(kernels, &folded.weight, packed);
            bias.copy_from_slice(&folded.bias);
        });
    }

    /// Bytes of the planned memory.
    pub fn memory_bytes(&self) -> usize {
        self.values.bytes() + self.weights.bytes() + self.scratch.bytes()
    }

    /// Runs on as many images as there are, at most the planned batch.
    pub fn forward<'a>(&mut self, images: impl Into<Images<'a>>) -> Result<Heads<'_>, Error> {
        let images = images.into();
        let count = images.count(self.layout.size, self.batch)?;
        self.scratch.fit();
        let values = self.values.shared();
        let weights = self.weights.shared();
        for Planned { output, work } in &self.steps {
            match work {
                Work::Convolution(work) => {
                    let input = match (work.input, images) {
                        (Some(view), _) => Input::Values(values, view),
                        (None, Images::Bytes(bytes)) => Input::Images(Bytes(bytes.as_ptr()), self.picture),
                        (None, Images::Values(pictures)) => {
                            Input::Values(Shared(pictures.as_ptr().cast_mut()), self.picture)
                        }
                    };
                    self.convolve(work, &input, output, count, values, weights);
                }
                Work::MaxPool { kernel, input } => {
                    pool::max_pool(self.kernels, *kernel, count, (values, input), output, None)
                }
                Work::Upsample { input } => pool::upsample(count, (values, input), output),
                Work::Attention { heads, input, probabilities } => {
                    heads.forward(self.kernels, count, (values, input), output, *probabilities, &self.scratch);
                }
                Work::Copy { from } => parallel(count, |image| {
                    // SAFETY: inside both views; each task has its own image.
                    unsafe {
                        let (from, to) = (from.source(values, image, 0), output.destination(values, image, 0));
                        (self.kernels.copy)(from, to, output.pixels(), output.channels, false);
                    }
                }),
            }
        }
        Ok(Heads {
            boxes: self.values.slice(self.boxes, count * self.layout.anchors * 4 * BINS),
            scores: self.values.slice(self.scores, count * self.layout.anchors * self.layout.classes),
            images: count,
        })
    }

    fn convolve(
        &self,
        work: &ConvolutionWork,
        input: &Input,
        output: &View,
        count: usize,
        values: Shared,
        weights: Shared,
    ) {
        let kernels = self.kernels;
        let silu = work.convolution.silu;
        match &work.pass {
            Pass::Direct(pass) => {
                let bands = pass.bands();
                parallel(count * bands, |task| {
                    let place = (task / bands, task % bands);
                    // SAFETY: tasks write different rows; the plan made all places.
                    unsafe {
                        let finish = Finish { bias: weights.at(work.bias), silu, residual: work.residual };
                        let packed = weights.at(work.packed);
                        let to = (values, output);
                        pass.run_band(kernels, input, packed, to, place, false, Some(finish), &self.scratch);
                    }
                });
            }
            Pass::Winograd(winograd) => {
                // Only the first convolution, which strides, reads pictures.
                let Input::Values(memory, from) = input else { return };
                let tasks = winograd.tasks();
                parallel(count * tasks, |task| {
                    let place = (task / tasks, task % tasks);
                    // SAFETY: tasks write different tiles; the plan made all places.
                    unsafe {
                        let factors = (weights.at(work.packed).cast_const(), weights.at(work.bias).cast_const(), silu);
                        let views = (from, output, work.residual.as_ref());
                        winograd.run_task(kernels, *memory, views, factors, place, &self.scratch);
                    }
                });
            }
        }
    }
}

/// Offsets of the buffers, of each step's working memory, of the boxes and of the scores, and the total length.
fn place_values(layout: &Layout, batch: usize) -> (Vec<usize>, Vec<usize>, usize, usize, usize) {
    let last = layout.steps.len();
    let mut pieces: Vec<Lifetime> = (layout.buffers.iter())
        .map(|buffer| {
            let length = batch * buffer.size[0] * buffer.size[1] * buffer.channels;
            let length = if buffer.head.is_some() { 0 } else { length.next_multiple_of(16) };
            Lifetime { length, first: last, last: 0 }
        })
        .collect();
    for (time, step) in layout.steps.iter().enumerate() {
        for region in step.inputs().into_iter().chain([step.output()]) {
            let piece = &mut pieces[region.buffer];
            piece.first = piece.first.min(time);
            piece.last = piece.last.max(time);
        }
    }
    let buffers = pieces.len();
    for (time, step) in layout.steps.iter().enumerate() {
        let length = match *step {
            Step::Attention { heads, key_width, head_width, input, .. } => {
                let [height, width] = layout.buffers[input.buffer].size;
                batch * AttentionHeads { heads, key_width, head_width }.probabilities(height * width)
            }
            _ => 0,
        };
        pieces.push(Lifetime { length, first: time, last: time });
    }
    for channels in [4 * BINS, layout.classes] {
        let length = (batch * layout.anchors * channels).next_multiple_of(16);
        pieces.push(Lifetime { length, first: 0, last });
    }
    let (mut offsets, total) = place(&pieces);
    let scores = offsets.pop().unwrap_or(0);
    let boxes = offsets.pop().unwrap_or(0);
    let working = offsets.split_off(buffers);
    (offsets, working, boxes, scores, total)
}
