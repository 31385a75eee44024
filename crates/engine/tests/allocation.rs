//! A step allocates nothing once the first has been made. Alone in its file: the count is of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use yolo11_engine::{Gradients, TrainingSession};
use yolo11_network::{Model, Network, Scale};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as asked of us.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as asked of us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_step_allocates_nothing_after_the_first() {
    let size = [64, 64];
    // One thread: other threads' sleep and wake are the pool's own affair.
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| {
        let network = Network::yolo11(Scale::Nano, 3);
        let mut model = Model::initialise(&network, 1);
        let mut session = TrainingSession::plan(&network, 2, size).unwrap();
        let mut gradients = Gradients::zeros(&network);
        let images: Vec<u8> = (0..2 * 64 * 64 * 3).map(|i| (i % 251) as u8).collect();
        let anchors = network.anchors(size);
        let (boxes, scores) = (vec![1e-3; 2 * anchors * 64], vec![1e-3; 2 * anchors * 3]);
        let mut allocations = Vec::new();
        for _ in 0..3 {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            session.forward(&mut model, &images).unwrap();
            session.backward(&model, &boxes, &scores, &mut gradients).unwrap();
            allocations.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
        }
        eprintln!("allocations a step: {allocations:?}");
        assert_eq!(allocations[2], 0, "{allocations:?}");
    });
}
