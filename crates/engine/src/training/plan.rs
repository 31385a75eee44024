//! Where everything of a training step lies, decided before the first one.

use yolo11_network::{BINS, Network};

use super::TrainingSession;
use crate::arena::{Lifetime, Memory, place};
use crate::cpu::attention::Heads as AttentionHeads;
use crate::cpu::convolution::ConvolutionPlan;
use crate::cpu::kernels::Kernels;
use crate::cpu::{Scratch, View, chunks_of};
use crate::layout::{Layout, Region, Step};
use crate::{Error, check_size};

/// One step with its places in memory.
pub(super) struct Planned {
    pub step: Step,
    pub output: View,
    pub work: Work,
    /// Gradients: of the output, of the input and of the residual, the latter two with whether they are added to.
    pub gradient: View,
    pub input_gradient: Option<(View, bool)>,
    pub residual_gradient: Option<(View, bool)>,
    /// Gradient channels to clear before this step's backward.
    pub clear: Vec<View>,
}

/// What a step works with.
pub(super) enum Work {
    Convolution(Box<ConvolutionWork>),
    MaxPool { input: View, winners: View },
    Upsample { input: View },
    Attention { heads: AttentionHeads, input: View, probabilities: usize, working: usize },
    Copy { from: View },
}

pub(super) struct ConvolutionWork {
    pub plan: ConvolutionPlan,
    /// None for the first, which reads the pictures.
    pub input: Option<View>,
    pub residual: Option<View>,
    /// Output before batch norm, overwritten by its gradient on the way back. For plain convolutions the output itself.
    pub raw: View,
    /// Mean, scale, shift, inverse deviation, slope and offset, `output channels` values each.
    pub norms: usize,
    pub packed: usize,
    pub packed_backward: Vec<usize>,
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
