//! One epoch under way: threads that make samples, and the iterator that hands out batches in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use yolo11_detection::Target;

use crate::Error;
use crate::augment::{Composer, Scratch};
use crate::labels::Label;
use crate::letterbox::{Letterbox, paste};
use crate::loader::{Batch, Plan, Sample, Shared};
use crate::store::lock;

/// The batches of one epoch, in order. Ends its threads when dropped.
pub struct EpochIter {
    work: Arc<Work>,
    threads: Vec<JoinHandle<()>>,
    /// Room for working in the calling thread.
    scratch: Scratch,
    /// The next batch to hand out.
    next: usize,
    batches: usize,
}

/// What the threads of an epoch share.
struct Work {
    shared: Arc<Shared>,
    plan: Plan,
    progress: Mutex<Progress>,
    /// Something in `progress` changed.
    changed: Condvar,
    /// How many batches may be under way or waiting.
    ahead: usize,
}

#[derive(Default)]
struct Progress {
    /// The next position of the order that nobody works on yet.
    next: usize,
    /// Batches handed out.
    taken: usize,
    building: HashMap<usize, Arc<Mutex<Building>>>,
    ready: BTreeMap<usize, Result<Batch, Error>>,
    stop: bool,
    panicked: bool,
}

/// A batch some of whose samples are done.
struct Building {
    images: Vec<u8>,
    shape: [usize; 2],
    samples: Vec<Option<(Sample, Vec<Label>)>>,
    missing: usize,
    error: Option<Error>,
}

impl EpochIter {
    pub(crate) fn start(shared: Arc<Shared>, plan: Plan) -> Self {
        let settings = &shared.settings;
        let batches = shared.batches();
        let workers = settings.workers.min(plan.order.len());
        let ahead = 2.max(1 + workers.div_ceil(settings.batch));
        let work = Arc::new(Work { shared, plan, progress: Mutex::default(), changed: Condvar::new(), ahead });
        let spawn = |number: usize| {
            let work = work.clone();
            std::thread::Builder::new().name(format!("loader-{number}")).spawn(move || work.run()).ok()
        };
        // Where the system gives no thread, `next` works by itself.
        let threads = (0..workers).map_while(spawn).collect();
        Self { work, threads, scratch: Scratch::default(), next: 0, batches }
    }

    fn take(&mut self) -> Result<Batch, Error> {
        if self.threads.is_empty() {
            let building = Mutex::new(self.work.new_building(self.next));
            for position in self.work.shared.positions(self.next) {
                self.work.make(position, &building, &mut self.scratch);
            }
            return building.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
        }
        let mut progress = lock(&self.work.progress);
        loop {
            if let Some(batch) = progress.ready.remove(&self.next) {
                progress.taken = self.next + 1;
                drop(progress);
                self.work.changed.notify_all();
                return batch;
            }
            if progress.panicked {
                return Err(Error::Worker);
            }
            progress = self.work.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Iterator for EpochIter {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.batches {
            let batch = self.take();
            self.next = if batch.is_ok() { self.next + 1 } else { self.batches };
            match batch {
                // Every picture of it was unreadable.
                Ok(batch) if batch.count == 0 => self.work.shared.give_back(batch.images),
                batch => return Some(batch),
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.batches - self.next))
    }
}

impl Drop for EpochIter {
    fn drop(&mut self) {
        lock(&self.work.progress).stop = true;
        self.work.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in it was reported to `next` already.
            let _ = thread.join();
        }
    }
}

impl Work {
    fn run(&self) {
        let _guard = PanicGuard(self);
        let mut scratch = Scratch::default();
        while let Some((position, building)) = self.claim() {
            if self.make(position, &building, &mut scratch) {
                let number = position / self.shared.settings.batch;
                let mut progress = lock(&self.progress);
                progress.building.remove(&number);
                drop(progress);
                // No one else holds it: all its samples are done.
                let empty = Building::new(Vec::new(), [0, 0], 0);
                let batch = std::mem::replace(&mut *lock(&building), empty).finish();
                lock(&self.progress).ready.insert(number, batch);
                self.changed.notify_all();
            }
        }
    }

    /// The next position to work on, once its batch is near enough; None at the end.
    fn claim(&self) -> Option<(usize, Arc<Mutex<Building>>)> {
        let mut progress = lock(&self.progress);
        let batch = self.shared.settings.batch;
        loop {
            let number = progress.next / batch;
            if progress.stop || number >= self.shared.batches() {
                return None;
            }
            let share = self.shared.positions(number);
            let position = progress.next.max(share.start);
            if position >= share.end {
                progress.next = (number + 1) * batch;
                continue;
            }
            if number < progress.taken + self.ahead {
                progress.next = position + 1;
                let new = || Arc::new(Mutex::new(self.new_building(number)));
                let building = progress.building.entry(number).or_insert_with(new).clone();
                return Some((position, building));
            }
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn new_building(&self, number: usize) -> Building {
        let shape = self.shared.shape(&self.plan, number);
        let count = self.shared.positions(number).len();
        Building::new(self.shared.buffer(count * shape[0] * shape[1] * 3), shape, count)
    }

    /// Makes the sample at a position and puts it into its batch; true when that was the batch's last.
    fn make(&self, position: usize, building: &Mutex<Building>, scratch: &mut Scratch) -> bool {
        let slot = position - self.shared.positions(position / self.shared.settings.batch).start;
        let shape = lock(building).shape;
        let bytes = shape[0] * shape[1] * 3;
        let mut pixels = std::mem::take(&mut scratch.sample);
        pixels.resize(bytes, 0);
        let made = self.sample(position, shape, &mut pixels, scratch);
        let mut building = lock(building);
        match made {
            Ok(Some(made)) => {
                building.images[slot * bytes..(slot + 1) * bytes].copy_from_slice(&pixels);
                building.samples[slot] = Some(made);
            }
            Ok(None) => {}
            Err(error) => building.error = Some(error),
        }
        building.missing -= 1;
        let last = building.missing == 0;
        drop(building);
        scratch.sample = pixels;
        last
    }

    /// One sample: augmented, or as it is; None for an unreadable picture of an evaluation.
    fn sample(
        &self,
        position: usize,
        shape: [usize; 2],
        out: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<Option<(Sample, Vec<Label>)>, Error> {
        let store = &self.shared.store;
        let index = self.plan.order[position] as usize;
        if let Some(settings) = &self.plan.augment {
            let composer = Composer {
                store,
                settings,
                size: self.shared.settings.size,
                partners: self.shared.partners(&self.plan, position),
            };
            let mut random = self.shared.random(&self.plan, position);
            let (index, labels) = composer.compose(index, &mut random, out, scratch)?;
            return Ok(Some((Sample { index, place: None }, labels)));
        }
        let settings = &self.shared.settings;
        // In training (shuffled) a batch keeps its size; in evaluation no picture may count twice.
        let (index, picture) = if settings.shuffle {
            store.readable(index)?
        } else {
            let Some(picture) = store.get(index) else { return Ok(None) };
            (index, picture)
        };
        let original = store.split.images[index].size;
        let place = Letterbox::of_batch(original, shape, settings.size, settings.scale_up);
        if picture.size() != place.scaled {
            // The file changed since the scan.
            let path = store.split.images[index].path.clone();
            let message = "the picture's size changed since the data set was read".into();
            return Err(Error::Picture { path, message });
        }
        paste(&picture, &place, shape, out);
        let moved = |label: &Label| Label { class: label.class, bbox: place.place(label.bbox, shape) };
        let labels = store.labels(index).iter().map(moved).collect();
        Ok(Some((Sample { index, place: Some(place) }, labels)))
    }
}

impl Building {
    fn new(images: Vec<u8>, shape: [usize; 2], count: usize) -> Self {
        Self { images, shape, samples: (0..count).map(|_| None).collect(), missing: count, error: None }
    }

    /// The batch, without the pictures that could not be read.
    fn finish(mut self) -> Result<Batch, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let bytes = self.shape[0] * self.shape[1] * 3;
        let mut batch = Batch { size: self.shape, ..Batch::default() };
        for (slot, sample) in self.samples.into_iter().enumerate() {
            let Some((sample, labels)) = sample else { continue };
            let image = batch.count;
            if image != slot {
                self.images.copy_within(slot * bytes..(slot + 1) * bytes, image * bytes);
            }
            batch.targets.extend(labels.iter().map(|label| Target { image, class: label.class, bbox: label.bbox }));
            batch.samples.push(sample);
            batch.count += 1;
        }
        self.images.truncate(batch.count * bytes);
        batch.images = self.images;
        Ok(batch)
    }
}

/// Tells the waiting iterator when a thread ends by panic.
struct PanicGuard<'a>(&'a Work);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.progress).panicked = true;
            self.0.changed.notify_all();
        }
    }
}
