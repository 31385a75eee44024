//! Every instruction set's three products against sums written out in double precision.

use super::*;
use crate::arena::Memory;

/// A shape to try: input channels, output channels, kernel, stride, groups, height, width.
const SHAPES: [[usize; 7]; 9] = [
    [3, 16, 3, 2, 1, 32, 64],
    [8, 24, 3, 1, 1, 10, 14],
    [16, 8, 3, 2, 1, 6, 34],
    [40, 77, 1, 1, 1, 5, 7],
    [64, 3, 1, 1, 1, 4, 4],
    [80, 80, 3, 1, 80, 8, 6],
    [13, 13, 3, 1, 13, 2, 2],
    [72, 136, 3, 1, 1, 4, 26],
    [32, 64, 3, 2, 1, 2, 2],
];

fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn memory(content: &[f32]) -> Memory {
    let mut memory = Memory::new(content.len());
    let shared = memory.shared();
    for (index, &value) in content.iter().enumerate() {
        // SAFETY: inside the memory just made.
        unsafe { *shared.at(index) = value };
    }
    memory
}

struct Case {
    convolution: Convolution,
    size: [usize; 2],
    grid: [usize; 2],
    images: usize,
    input: Vec<f32>,
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

impl Case {
    fn new([input, output, kernel, stride, groups, height, width]: [usize; 7]) -> Case {
        let images = 2;
        let convolution = Convolution {
            input_channels: input,
            output_channels: output,
            kernel,
            stride,
            groups,
            weight: 0,
            norm: None,
            bias: None,
            silu: false,
        };
        let grid = [height / stride, width / stride];
        Case {
            convolution,
            size: [height, width],
            grid,
            images,
            input: values(1, images * height * width * input),
            weights: values(2, output * (input / groups) * kernel * kernel),
            gradient: values(3, images * grid[0] * grid[1] * output),
        }
    }

    /// Calls `visit(input index, weight index, output index)` for every product of the convolution.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Convolution { input_channels, output_channels, kernel, stride, .. } = self.convolution;
        let per_group = self.convolution.input_channels_per_group();
        let ([height, width], [rows, columns]) = (self.size, self.grid);
        for image in 0..self.images {
            for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                    let (sy, sx) = (y * stride + ky, x * stride + kx);
                    let half = kernel / 2;
                    if sy < half || sx < half || sy - half >= height || sx - half >= width {
                        continue;
                    }
                    let source = (image * height + sy - half) * width + sx - half;
                    let target = (image * rows + y) * columns + x;
                    for output in 0..output_channels {
                        for input in 0..per_group {
                            let channel = if self.convolution.is_depthwise() { output } else { input };
                            visit(
                                source * input_channels + channel,
                                ((output * per_group + input) * kernel + ky) * kernel + kx,
                                target * output_channels + output,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn assert_close(what: &str, ours: &[f32], expected: &[f64]) {
    let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        assert!((f64::from(*ours) - expected).abs() < 1e-5 * largest.max(1.0), "{what} at {index}: {ours} {expected}");
    }
}

#[test]
fn forward_and_both_gradients_equal_written_out_sums() {
    for kernels in Kernels::available() {
        for shape in SHAPES {
            let case = Case::new(shape);
            let plan = ConvolutionPlan::new(kernels, &case.convolution, case.size);
            let scratch = Scratch::new(plan.scratch());
            let (mut input, mut gradient) = (memory(&case.input), memory(&case.gradient));
            let from = View::dense(0, case.size, case.convolution.input_channels);
            let to = View::dense(0, case.grid, case.convolution.output_channels);
            let what = format!("{} {shape:?}", kernels.name);

            let mut expected = vec![0.0f64; case.gradient.len()];
            case.products(|i, w, o| expected[o] += f64::from(case.input[i]) * f64::from(case.weights[w]));
            let mut packed = vec![0.0; plan.forward.packed];
            plan.forward.pack(kernels, &case.weights, &mut packed);
            let mut output = memory(&vec![f32::NAN; case.gradient.len()]);
            let place = output.shared();
            let source = Input::Values(input.shared(), from);
            for image in 0..case.images {
                for band in 0..plan.forward.bands() {
                    let at = (image, band);
                    // SAFETY: all places were made for this plan.
                    unsafe {
                        plan.forward.run_band(
                            kernels,
                            &source,
                            packed.as_ptr(),
                            (place, &to),
                            at,
                            false,
                            None,
                            &scratch,
                        )
                    };
                }
            }
            assert_close(&format!("{what} forward"), output.slice(0, case.gradient.len()), &expected);

            // The input's gradient, added to ones.
            let mut expected = vec![1.0f64; case.input.len()];
            case.products(|i, w, o| expected[i] += f64::from(case.gradient[o]) * f64::from(case.weights[w]));
            let mut result = memory(&vec![1.0; case.input.len()]);
            let place = result.shared();
            let back = Input::Values(gradient.shared(), to);
            for pass in &plan.backward {
                let mut packed = vec![0.0; pass.packed];
                pass.pack(kernels, &case.weights, &mut packed);
                for (image, band) in (0..case.images).flat_map(|image| (0..pass.bands()).map(move |band| (image, band)))
                {
                    let at = (image, band);
                    // SAFETY: all places were made for this plan.
                    unsafe { pass.run_band(kernels, &back, packed.as_ptr(), (place, &from), at, true, None, &scratch) };
                }
            }
            assert_close(&format!("{what} input gradient"), result.slice(0, case.input.len()), &expected);

            let mut expected = vec![0.5f64; case.weights.len()];
            case.products(|i, w, o| expected[w] += f64::from(case.gradient[o]) * f64::from(case.input[i]));
            let mut weights = vec![0.5; case.weights.len()];
            let mut partials = Memory::new(plan.partial_values(case.images));
            let place = partials.shared();
            // SAFETY: all places were made for this plan.
            unsafe {
                let g = (gradient.shared(), &to);
                plan.weight_gradient(kernels, case.images, &source, g, place, &mut weights, &scratch);
            }
            assert_close(&format!("{what} weight gradient"), &weights, &expected);
        }
    }
}
