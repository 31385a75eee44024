//! A training step's loss allocates nothing once its workspace has seen the shapes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use yolo11_detection::anchors::anchor_count;
use yolo11_detection::{Gains, Heads, LossWorkspace, Target};

struct Counting;

thread_local! {
    /// By thread: the test harness has threads of its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; only a counter is added,
// which neither allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_workspace_allocates_nothing() {
    let (images, classes, size) = (2, 10, [128, 160]);
    let anchors = anchor_count(size);
    let wave = |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin() * 2.0).collect::<Vec<f32>>();
    let (boxes, scores) = (wave(images * anchors * 64, 0.7), wave(images * anchors * classes, 0.3));
    let heads = Heads { boxes: &boxes, scores: &scores, images, classes, size };
    let targets: Vec<Target> = (0..12)
        .map(|i| Target {
            image: i % images,
            class: i % classes,
            bbox: [0.1 + 0.07 * i as f32, 0.5, 0.2 + 0.05 * i as f32, 0.6],
        })
        .collect();
    // Inside a pool of one, so that what rayon allocates to hand work from thread to thread does not count.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (first, last, allocations) = pool.install(|| {
        let mut workspace = LossWorkspace::new();
        let mut run = || workspace.compute(&heads, &targets, &Gains::default()).unwrap();
        let first = run();
        run();
        let before = ALLOCATIONS.get();
        let last = (0..5).map(|_| run()).last();
        (first, last, ALLOCATIONS.get() - before)
    });
    assert!(first.is_finite() && first.foreground > 20);
    assert_eq!((last, allocations), (Some(first), 0));
}
