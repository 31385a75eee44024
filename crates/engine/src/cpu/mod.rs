//! The engine for processors: kernels for each instruction set and the operations made of them.

pub(crate) mod attention;
pub(crate) mod convolution;
pub(crate) mod kernels;
pub(crate) mod pool;
mod rows;
mod simd;
mod tiles;
pub(crate) mod winograd;

pub(crate) use rows::{Destination, Source};

use rayon::prelude::*;

/// A pointer that tasks on several threads may use, each on its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *mut f32);

// SAFETY: every use cuts the memory behind it into parts that no two tasks share for writing.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer `offset` values on. (A method, so that closures take the whole wrapper.)
    pub(crate) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller stays within the memory.
        unsafe { self.0.add(offset) }
    }
}

/// Runs `task` for 0 … `count` − 1 on all threads of the current pool.
pub(crate) fn parallel(count: usize, task: impl Fn(usize) + Sync + Send) {
    match count {
        0 => {}
        1 => task(0),
        _ => (0..count).into_par_iter().with_max_len(1).for_each(task),
    }
}

/// Working memory of each thread.
pub(crate) struct Scratch {
    length: usize,
    threads: Vec<Vec<f32>>,
}

impl Scratch {
    /// `length` values for each thread of the current pool.
    pub(crate) fn new(length: usize) -> Self {
        let mut scratch = Scratch { length, threads: Vec::new() };
        scratch.fit();
        scratch
    }

    /// Makes sure every thread of the current pool has its own.
    pub(crate) fn fit(&mut self) {
        let length = self.length;
        let threads = rayon::current_num_threads().max(1);
        if self.threads.len() < threads {
            self.threads.resize_with(threads, || vec![0.0; length]);
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.threads.len() * self.length * size_of::<f32>()
    }

    /// The calling thread's own part. Each thread runs one task at a time, so nobody else uses it meanwhile.
    pub(crate) fn mine(&self) -> *mut f32 {
        let thread = rayon::current_thread_index().unwrap_or(0);
        self.threads[thread].as_ptr().cast_mut()
    }
}

/// Where a value lies in memory: channels-last, pixels row by row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// First image's first value, counted from the start of its memory.
    pub offset: usize,
    /// Values between images.
    pub image: usize,
    /// Values between pixels.
    pub pixel: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
}

impl View {
    /// A view of memory that holds nothing else.
    pub(crate) fn dense(offset: usize, [height, width]: [usize; 2], channels: usize) -> View {
        View { offset, image: height * width * channels, pixel: channels, channels, height, width }
    }

    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Offset of an image's pixel.
    pub(crate) fn at(&self, image: usize, pixel: usize) -> usize {
        self.offset + image * self.image + pixel * self.pixel
    }

    /// The channels `first .. first + channels`.
    pub(crate) fn slice(&self, first: usize, channels: usize) -> View {
        View { offset: self.offset + first, channels, ..*self }
    }

    /// To read from a pixel on.
    pub(crate) unsafe fn source(&self, memory: Shared, image: usize, pixel: usize) -> Source {
        // SAFETY: the plan keeps views within their memory.
        Source { data: unsafe { memory.at(self.at(image, pixel)) }, pixel: self.pixel }
    }

    /// To write from a pixel on.
    pub(crate) unsafe fn destination(&self, memory: Shared, image: usize, pixel: usize) -> Destination {
        // SAFETY: the plan keeps views within their memory.
        Destination { data: unsafe { memory.at(self.at(image, pixel)) }, pixel: self.pixel }
    }
}

/// Values that a task of an elementwise pass takes.
const CHUNK_VALUES: usize = 16 * 1024;

/// Pixels of a chunk.
fn chunk_pixels(view: &View) -> usize {
    (CHUNK_VALUES / view.channels).clamp(1, view.pixels())
}

/// Chunks of an image.
pub(crate) fn chunks_of(view: &View) -> usize {
    view.pixels().div_ceil(chunk_pixels(view))
}

/// Runs `task(image, first pixel, pixels, number of the task)` over all chunks of all images; gives the number of tasks.
pub(crate) fn chunks(images: usize, view: &View, task: impl Fn(usize, usize, usize, usize) + Sync + Send) -> usize {
    let (size, count) = (chunk_pixels(view), chunks_of(view));
    parallel(images * count, |index| {
        let (image, first) = (index / count, index % count * size);
        task(image, first, size.min(view.pixels() - first), index);
    });
    images * count
}
