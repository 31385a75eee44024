//! From a network to steps over shared buffers: concatenations and splits vanish because neighbours write into one buffer, and an
//! addition joins the convolution before it.

use yolo11_network::{BINS, Convolution, Network, Operation, ValueId};

/// Memory for one image's worth of a value, or of several values that lie side by side in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer {
    /// Channels of a pixel.
    pub channels: usize,
    /// Pixels down and across.
    pub size: [usize; 2],
    /// Set for the head's outputs, which lie in the two output tensors.
    pub head: Option<HeadPlace>,
}

/// Place of a level in the head's output tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadPlace {
    /// Whether it belongs to the boxes; otherwise to the scores.
    pub boxes: bool,
    /// Anchors of the levels before it.
    pub first_anchor: usize,
}

/// Channels of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub buffer: usize,
    pub first: usize,
    pub channels: usize,
}

/// One step of running the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// output = act(norm(convolution(input))) + residual; the input of the first is the picture.
    Convolution { convolution: Convolution, input: Option<Region>, output: Region, residual: Option<Region> },
    /// Maximum over a window.
    MaxPool { kernel: usize, input: Region, output: Region },
    /// Every pixel doubled.
    Upsample { input: Region, output: Region },
    /// Attention over all pixels.
    Attention { heads: usize, key_width: usize, head_width: usize, input: Region, output: Region },
    /// Channels that must lie in two places.
    Copy { from: Region, to: Region },
}

impl Step {
    /// What it reads.
    pub(crate) fn inputs(&self) -> Vec<Region> {
        match *self {
            Step::Convolution { input, residual, .. } => input.into_iter().chain(residual).collect(),
            Step::MaxPool { input, .. } | Step::Upsample { input, .. } | Step::Attention { input, .. } => vec![input],
            Step::Copy { from, .. } => vec![from],
        }
    }

    /// What it writes.
    pub(crate) fn output(&self) -> Region {
        match *self {
            Step::Convolution { output, .. }
            | Step::MaxPool { output, .. }
            | Step::Upsample { output, .. }
            | Step::Attention { output, .. } => output,
            Step::Copy { to, .. } => to,
        }
    }
}

/// Steps and buffers for one input size.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Input height and width.
    pub size: [usize; 2],
    /// In the order of running.
    pub steps: Vec<Step>,
    /// What they write into.
    pub buffers: Vec<Buffer>,
    /// Cells of all levels.
    pub anchors: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Layout {
    /// Lays a network out for images of `[height, width]`, multiples of 32.
    pub(crate) fn new(network: &Network, size: [usize; 2]) -> Layout {
        Planner::new(network, size).plan()
    }
}

struct Planner<'a> {
    network: &'a Network,
    size: [usize; 2],
    buffers: Vec<Buffer>,
    /// Where each value lies.
    places: Vec<Option<Region>>,
    /// For a slice: what it is a slice of, and its first channel.
    parents: Vec<Option<(ValueId, usize)>>,
    /// Copies that make a concatenation whole: from a value to a region.
    copies: Vec<(ValueId, Region)>,
}

impl<'a> Planner<'a> {
    fn new(network: &'a Network, size: [usize; 2]) -> Self {
        let count = network.values.len();
        let mut parents = vec![None; count];
        for node in &network.nodes {
            if let Operation::Slice { first } = node.operation {
                parents[node.output] = Some((node.inputs[0], first));
            }
        }
        Planner { network, size, buffers: Vec::new(), places: vec![None; count], parents, copies: Vec::new() }
    }

    fn plan(mut self) -> Layout {
        self.place_head();
        self.place_concatenations();
        let absorbed = self.absorbed();
        for node in &self.network.nodes {
            let value = node.output;
            if self.places[value].is_none() && self.parents[value].is_none() && absorbed[value].is_none() {
                let channels = self.network.values[value].channels;
                self.places[value] = Some(self.buffer(value, channels));
            }
        }
        let steps = self.steps(&absorbed);
        let anchors = self.network.anchors(self.size);
        Layout { size: self.size, steps, buffers: self.buffers, anchors, classes: self.network.classes }
    }

    fn pixels(&self, value: ValueId) -> [usize; 2] {
        let stride = self.network.values[value].stride;
        [self.size[0] / stride, self.size[1] / stride]
    }

    /// A new buffer of the value's size.
    fn buffer(&mut self, value: ValueId, channels: usize) -> Region {
        self.buffers.push(Buffer { channels, size: self.pixels(value), head: None });
        Region { buffer: self.buffers.len() - 1, first: 0, channels }
    }

    fn place_head(&mut self) {
        let mut first_anchor = 0;
        for level in &self.network.head {
            let size = self.pixels(level.boxes);
            for (value, channels, boxes) in [(level.boxes, 4 * BINS, true), (level.scores, self.network.classes, false)]
            {
                self.buffers.push(Buffer { channels, size, head: Some(HeadPlace { boxes, first_anchor }) });
                self.places[value] = Some(Region { buffer: self.buffers.len() - 1, first: 0, channels });
            }
            first_anchor += size[0] * size[1];
        }
    }

    /// Gives every concatenation a buffer and places its inputs in it, so that their producers write there.
    fn place_concatenations(&mut self) {
        for node in self.network.nodes.iter().filter(|node| node.operation == Operation::Concat) {
            let whole = self.buffer(node.output, self.network.values[node.output].channels);
            self.places[node.output] = Some(whole);
            let mut first = 0;
            let mut index = 0;
            while index < node.inputs.len() {
                let input = node.inputs[index];
                let covered = self.slices_of_one(&node.inputs[index..]);
                let (value, inputs) = match covered {
                    Some((parent, count)) => (parent, count),
                    None => (input, 1),
                };
                let channels = self.network.values[value].channels;
                let region = Region { buffer: whole.buffer, first, channels };
                if self.parents[value].is_none() && self.places[value].is_none() {
                    self.places[value] = Some(region);
                } else {
                    self.copies.push((value, region));
                }
                first += channels;
                index += inputs;
            }
        }
    }

    /// The value of which the first inputs are all slices, one after another, and how many there are.
    fn slices_of_one(&self, inputs: &[ValueId]) -> Option<(ValueId, usize)> {
        let (parent, _) = self.parents[inputs[0]]?;
        let mut channels = 0;
        for (index, &input) in inputs.iter().enumerate() {
            if self.parents[input] != Some((parent, channels)) {
                return None;
            }
            channels += self.network.values[input].channels;
            if channels == self.network.values[parent].channels {
                return Some((parent, index + 1));
            }
        }
        None
    }

    /// For each value that is only the second term of an addition right after its convolution: that addition's node.
    fn absorbed(&self) -> Vec<Option<usize>> {
        let mut uses = vec![0; self.network.values.len()];
        self.network.nodes.iter().flat_map(|node| &node.inputs).for_each(|&input| uses[input] += 1);
        let mut absorbed = vec![None; self.network.values.len()];
        for (index, node) in self.network.nodes.iter().enumerate() {
            if node.operation == Operation::Add && uses[node.inputs[1]] == 1 {
                absorbed[node.inputs[1]] = Some(index);
            }
        }
        absorbed
    }

    fn region(&self, value: ValueId) -> Region {
        if let Some(region) = self.places[value] {
            return region;
        }
        let (parent, first) = self.parents[value].expect("every value is placed or a slice");
        let parent = self.region(parent);
        Region { buffer: parent.buffer, first: parent.first + first, channels: self.network.values[value].channels }
    }

    fn steps(&self, absorbed: &[Option<usize>]) -> Vec<Step> {
        let mut steps = Vec::new();
        for node in &self.network.nodes {
            let input = || self.region(node.inputs[0]);
            match node.operation {
                Operation::Convolution(convolution) => {
                    let picture = node.inputs[0] == 0;
                    let input = (!picture).then(input);
                    let (output, residual) = match absorbed[node.output] {
                        Some(addition) => {
                            let addition = &self.network.nodes[addition];
                            (addition.output, Some(self.region(addition.inputs[0])))
                        }
                        None => (node.output, None),
                    };
                    steps.push(Step::Convolution { convolution, input, output: self.region(output), residual });
                }
                Operation::MaxPool { kernel } => {
                    steps.push(Step::MaxPool { kernel, input: input(), output: self.region(node.output) });
                }
                Operation::Upsample => steps.push(Step::Upsample { input: input(), output: self.region(node.output) }),
                Operation::Attention { heads, key_width, head_width } => {
                    let output = self.region(node.output);
                    steps.push(Step::Attention { heads, key_width, head_width, input: input(), output });
                }
                Operation::AttentionValues { heads, key_width, head_width } => {
                    let (from, to) = (input(), self.region(node.output));
                    for head in 0..heads {
                        let first = from.first + head * (2 * key_width + head_width) + 2 * key_width;
                        steps.push(Step::Copy {
                            from: Region { first, channels: head_width, ..from },
                            to: Region { first: to.first + head * head_width, channels: head_width, ..to },
                        });
                    }
                }
                Operation::Concat => {
                    let buffer = self.region(node.output).buffer;
                    let here = self.copies.iter().filter(|(_, to)| to.buffer == buffer);
                    steps.extend(here.map(|&(value, to)| Step::Copy { from: self.region(value), to }));
                }
                // A slice is a region of its parent; an addition was joined to its convolution.
                Operation::Slice { .. } | Operation::Add => {}
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_network::Scale;

    #[test]
    fn concatenations_cost_one_small_copy_at_most() {
        for scale in Scale::ALL {
            let network = Network::yolo11(scale, 3);
            let layout = Layout::new(&network, [64, 96]);
            let copies = layout.steps.iter().filter(|step| matches!(step, Step::Copy { .. })).count();
            let (mut heads, mut blocks) = (0, 0);
            for node in &network.nodes {
                if let Operation::AttentionValues { heads: count, .. } = node.operation {
                    heads += count;
                    blocks += 1;
                }
            }
            assert!(blocks > 0);
            // One for each head's values and one for the half that C2PSA sets aside.
            assert_eq!(copies, heads + 1, "{scale:?}");
        }
    }

    #[test]
    fn every_channel_is_written_once_and_before_it_is_read() {
        for scale in Scale::ALL {
            let layout = Layout::new(&Network::yolo11(scale, 3), [64, 96]);
            let mut written: Vec<Vec<bool>> =
                layout.buffers.iter().map(|buffer| vec![false; buffer.channels]).collect();
            for step in &layout.steps {
                for region in step.inputs() {
                    let channels = &written[region.buffer][region.first..region.first + region.channels];
                    assert!(channels.iter().all(|&written| written), "{step:?}");
                }
                let output = step.output();
                for written in &mut written[output.buffer][output.first..output.first + output.channels] {
                    assert!(!*written, "{step:?}");
                    *written = true;
                }
            }
            assert!(written.iter().flatten().all(|&written| written));
        }
    }
}
