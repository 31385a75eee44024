//! One table of kernels for each instruction set, and the choice at run time.

use std::sync::OnceLock;

use super::rows::{Destination, Source};
use super::simd::{Portable, Simd};
use super::tiles::{MOST_ROWS, MOST_VECTORS, PixelTile, WeightTile, pixel_tile, weight_tile};

/// The kernels themselves, wherever they are written.
mod bodies {
    pub(super) use super::super::rows::*;
    pub(super) use super::super::winograd::{winograd_input, winograd_output};
}

type Tiles<T> = [[unsafe fn(&T); MOST_ROWS]; MOST_VECTORS];

/// Every kernel for one instruction set. Calling one is sound where the set is available and the memory it is given is.
#[allow(clippy::type_complexity)] // one line a kernel, each the kernel's own parameters
pub(crate) struct Kernels {
    /// What the set is called.
    pub name: &'static str,
    /// Values in a vector.
    pub lanes: usize,
    /// Most vectors of channels worth holding in a block.
    pub most_vectors: usize,
    /// Most pixels of a block by its number of vectors − 1.
    pub most_rows: [usize; MOST_VECTORS],
    pixel_tiles: Tiles<PixelTile>,
    weight_tiles: Tiles<WeightTile>,
    pub sums: unsafe fn(Source, usize, usize, *mut f32, *mut f32),
    pub activate: unsafe fn(Source, Destination, Option<Source>, usize, usize, *const f32, *const f32, bool),
    pub finish: unsafe fn(Destination, Option<Source>, usize, usize, *const f32, bool),
    pub winograd_input: unsafe fn(Source, usize, [usize; 2], usize, *mut f32, usize),
    pub winograd_output: unsafe fn(
        *const f32,
        usize,
        usize,
        usize,
        Destination,
        Option<Source>,
        [usize; 2],
        [usize; 2],
        *const f32,
        bool,
    ),
    pub norm_gradient_sums:
        unsafe fn(Source, Source, usize, usize, *const f32, *const f32, *const f32, bool, *mut f32, *mut f32),
    pub norm_gradient:
        unsafe fn(Destination, Source, usize, usize, *const f32, *const f32, *const f32, *const f32, bool),
    pub copy: unsafe fn(Source, Destination, usize, usize, bool),
    pub depthwise_row: unsafe fn(*const f32, usize, usize, usize, *const f32, Destination, usize, usize, bool),
    pub depthwise_weight_row: unsafe fn(*const f32, usize, usize, usize, Source, *mut f32, usize, usize),
    pub max_pool_row: unsafe fn(Source, [usize; 2], usize, usize, Destination, Option<Destination>, usize),
    pub softmax: unsafe fn(*mut f32, usize, f32),
}

impl Kernels {
    /// The best set of this machine. `YOLO11_INSTRUCTIONS` (`avx512`, `avx2`, `portable`) asks for a lesser one.
    pub(crate) fn get() -> &'static Kernels {
        static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
        CHOSEN.get_or_init(|| {
            let wanted = std::env::var("YOLO11_INSTRUCTIONS").unwrap_or_default();
            let available = Kernels::available();
            available.iter().copied().find(|kernels| kernels.name == wanted).unwrap_or(available[0])
        })
    }

    /// Every set this machine can run, best first.
    pub(crate) fn available() -> Vec<&'static Kernels> {
        let mut available: Vec<&'static Kernels> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                available.push(&avx512::KERNELS);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                available.push(&avx2::KERNELS);
            }
        }
        available.push(&portable::KERNELS);
        available
    }

    /// The block of pixels by channels for `rows` pixels and `vectors` vectors.
    pub(crate) fn pixel_tile(&self, rows: usize, vectors: usize) -> unsafe fn(&PixelTile) {
        self.pixel_tiles[vectors - 1][rows - 1]
    }

    /// The block of weights by channels for `rows` ks and `vectors` vectors.
    pub(crate) fn weight_tile(&self, rows: usize, vectors: usize) -> unsafe fn(&WeightTile) {
        self.weight_tiles[vectors - 1][rows - 1]
    }
}

/// Rows of a block so that its sums, one row of weights and one value fit the registers.
const fn rows_for<S: Simd>(vectors: usize) -> usize {
    let rows = (S::REGISTERS - 1 - vectors) / vectors;
    if rows > MOST_ROWS { MOST_ROWS } else { rows }
}

macro_rules! instruction_set {
    ($module:ident, $set:ty, $name:literal, $most_vectors:literal $(, $feature:literal)?) => {
        mod $module {
            use super::*;

            // SAFETY of all of these: each only forwards to the kernel of the same name; what that asks of its caller, this asks too,
            // and that the processor has the features, which `Kernels::available` has made sure of.
            $(#[target_feature(enable = $feature)])?
            unsafe fn pixel<const M: usize, const N: usize>(tile: &PixelTile) {
                if M <= const { rows_for::<$set>(N) } {
                    // SAFETY: as above.
                    unsafe { pixel_tile::<$set, M, N>(tile) }
                }
            }

            $(#[target_feature(enable = $feature)])?
            unsafe fn weight<const M: usize, const N: usize>(tile: &WeightTile) {
                if M <= const { rows_for::<$set>(N) } {
                    // SAFETY: as above.
                    unsafe { weight_tile::<$set, M, N>(tile) }
                }
            }

            forward!($set $(, $feature)?;
                fn sums(x: Source, pixels: usize, channels: usize, sums: *mut f32, squares: *mut f32);
                fn activate(y: Source, out: Destination, residual: Option<Source>, pixels: usize, channels: usize, scale: *const f32, shift: *const f32, silu: bool);
                fn finish(y: Destination, residual: Option<Source>, pixels: usize, channels: usize, bias: *const f32, act: bool);
                fn winograd_input(from: Source, row: usize, sides: [usize; 2], channels: usize, to: *mut f32, point: usize);
                fn winograd_output(from: *const f32, side: usize, point: usize, channels: usize, to: Destination, residual: Option<Source>, rows: [usize; 2], whole: [usize; 2], bias: *const f32, silu: bool);
                fn norm_gradient_sums(y: Source, gradient: Source, pixels: usize, channels: usize, scale: *const f32, shift: *const f32, mean: *const f32, silu: bool, sums: *mut f32, products: *mut f32);
                fn norm_gradient(y: Destination, gradient: Source, pixels: usize, channels: usize, scale: *const f32, shift: *const f32, slope: *const f32, offset: *const f32, silu: bool);
                fn copy(from: Source, to: Destination, pixels: usize, channels: usize, accumulate: bool);
                fn depthwise_row(from: *const f32, row: usize, kernel: usize, step: usize, weights: *const f32, out: Destination, width: usize, channels: usize, accumulate: bool);
                fn depthwise_weight_row(from: *const f32, row: usize, kernel: usize, step: usize, gradient: Source, weights: *mut f32, width: usize, channels: usize);
                fn max_pool_row(image: Source, size: [usize; 2], kernel: usize, y: usize, out: Destination, winners: Option<Destination>, channels: usize);
                fn softmax(row: *mut f32, length: usize, factor: f32);
            );

            macro_rules! tiles {
                ($tile:ident) => {
                    [tiles!($tile, 1), tiles!($tile, 2), tiles!($tile, 3), tiles!($tile, 4)]
                };
                ($tile:ident, $n:literal) => {
                    [
                        $tile::<1, $n>, $tile::<2, $n>, $tile::<3, $n>, $tile::<4, $n>, $tile::<5, $n>, $tile::<6, $n>,
                        $tile::<7, $n>, $tile::<8, $n>, $tile::<9, $n>, $tile::<10, $n>, $tile::<11, $n>, $tile::<12, $n>,
                    ]
                };
            }

            pub(super) static KERNELS: Kernels = Kernels {
                name: $name,
                lanes: <$set>::LANES,
                most_vectors: $most_vectors,
                most_rows: [rows_for::<$set>(1), rows_for::<$set>(2), rows_for::<$set>(3), rows_for::<$set>(4)],
                pixel_tiles: tiles!(pixel),
                weight_tiles: tiles!(weight),
                sums,
                activate,
                finish,
                winograd_input,
                winograd_output,
                norm_gradient_sums,
                norm_gradient,
                copy,
                depthwise_row,
                depthwise_weight_row,
                max_pool_row,
                softmax,
            };
        }
    };
}

macro_rules! forward {
    ($set:ty; $(fn $name:ident($($arg:ident: $type:ty),*);)*) => {
        $(
            unsafe fn $name($($arg: $type),*) {
                // SAFETY: see the head of this module.
                unsafe { bodies::$name::<$set>($($arg),*) }
            }
        )*
    };
    ($set:ty, $feature:literal; $(fn $name:ident($($arg:ident: $type:ty),*);)*) => {
        $(
            #[target_feature(enable = $feature)]
            unsafe fn $name($($arg: $type),*) {
                // SAFETY: see the head of this module.
                unsafe { bodies::$name::<$set>($($arg),*) }
            }
        )*
    };
}

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, Avx512, "avx512", 4, "avx512f,avx2,fma");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, Avx2, "avx2", 3, "avx2,fma");
instruction_set!(portable, Portable, "portable", 3);
