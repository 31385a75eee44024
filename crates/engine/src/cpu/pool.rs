//! Max pooling and nearest upsampling.

use super::kernels::Kernels;
use super::{Shared, View, parallel};

/// Channels handled together; compilers turn loops over so many into vectors.
const GROUP: usize = 16;

/// Maximum over a `kernel`×`kernel` window, step 1, same size. `winners`, where given, receives for each output value the number of
/// the first window position that held the maximum.
pub(crate) fn max_pool(
    kernels: &Kernels,
    kernel: usize,
    images: usize,
    (memory, input): (Shared, &View),
    output: &View,
    winners: Option<&View>,
) {
    parallel(images * input.height, |task| {
        let (image, y) = (task / input.height, task % input.height);
        let first = y * input.width;
        // SAFETY: views inside the memory; each task writes its own row of output and winners.
        unsafe {
            let winners = winners.map(|view| view.destination(memory, image, first));
            let (from, to) = (input.source(memory, image, 0), output.destination(memory, image, first));
            (kernels.max_pool_row)(from, [input.height, input.width], kernel, y, to, winners, input.channels);
        }
    });
}

/// Adds the gradient of [`max_pool`]'s output to the input pixels that won.
pub(crate) fn max_pool_gradient(
    kernel: usize,
    images: usize,
    (memory, gradient): (Shared, &View),
    input_gradient: &View,
    (winners_memory, winners): (Shared, &View),
) {
    let half = (kernel / 2) as isize;
    let width = gradient.width as isize;
    let groups = gradient.channels.div_ceil(GROUP);
    parallel(images * groups, |task| {
        let (image, first) = (task / groups, task % groups * GROUP);
        let group = GROUP.min(gradient.channels - first);
        for pixel in 0..gradient.pixels() {
            let (y, x) = (pixel as isize / width, pixel as isize % width);
            for channel in first..first + group {
                // SAFETY: winners are positions inside the image; each task has channels of its own.
                unsafe {
                    let position = *winners_memory.at(winners.at(image, pixel) + channel) as isize;
                    let (sy, sx) = (y + position / kernel as isize - half, x + position % kernel as isize - half);
                    let to = memory.at(input_gradient.at(image, (sy * width + sx) as usize) + channel);
                    *to += *memory.at(gradient.at(image, pixel) + channel);
                }
            }
        }
    });
}

/// Every pixel doubled in both directions.
pub(crate) fn upsample(images: usize, (memory, input): (Shared, &View), output: &View) {
    parallel(images * output.height, |task| {
        let (image, y) = (task / output.height, task % output.height);
        for x in 0..output.width {
            // SAFETY: within both views; each task writes its own row.
            unsafe {
                let from = memory.at(input.at(image, y / 2 * input.width + x / 2));
                let to = memory.at(output.at(image, y * output.width + x));
                std::ptr::copy_nonoverlapping(from, to, input.channels);
            }
        }
    });
}

/// The gradient of [`upsample`]'s input: the sum over its four copies, written or added.
pub(crate) fn upsample_gradient(
    images: usize,
    (memory, gradient): (Shared, &View),
    input_gradient: &View,
    accumulate: bool,
) {
    parallel(images * input_gradient.height, |task| {
        let (image, y) = (task / input_gradient.height, task % input_gradient.height);
        let channels = input_gradient.channels;
        for x in 0..input_gradient.width {
            // SAFETY: within both views; each task writes its own row.
            unsafe {
                let corner = 2 * y * gradient.width + 2 * x;
                let [a, b, c, d] = [corner, corner + 1, corner + gradient.width, corner + gradient.width + 1]
                    .map(|pixel| std::slice::from_raw_parts(memory.at(gradient.at(image, pixel)), channels));
                let to = memory.at(input_gradient.at(image, y * input_gradient.width + x));
                let to = std::slice::from_raw_parts_mut(to, channels);
                for channel in 0..channels {
                    let sum = (a[channel] + b[channel]) + (c[channel] + d[channel]);
                    to[channel] = if accumulate { to[channel] + sum } else { sum };
                }
            }
        }
    });
}
