//! Batches for training and validation: settings, what a batch holds, and what an epoch consists of.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use yolo11_detection::Target;

use crate::epoch::EpochIter;
use crate::letterbox::{Letterbox, batch_shape};
use crate::random::Random;
use crate::store::{Store, lock};
use crate::{Augmentation, Error, Finding, Split};

/// Where decoded pictures, scaled to the input, are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere: files are decoded each time (each once an epoch: mosaics share what was decoded lately).
    #[default]
    None,
    /// In memory, up to this many bytes; what does not fit is decoded each time.
    Ram {
        /// Most bytes of pixels that are kept.
        limit_bytes: u64,
    },
    /// In files of a folder, made when needed.
    Disk {
        /// The folder.
        folder: PathBuf,
    },
}

/// What batches are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderSettings {
    /// Pictures a batch; the last one may be smaller.
    pub batch: usize,
    /// Long side of the input in pixels, a multiple of `stride`.
    pub size: usize,
    /// Variation for training; None gives pictures as they are, letterboxed.
    pub augment: Option<Augmentation>,
    /// Batches of pictures of like shape, each batch in the smallest input that holds them (for validation); in order of
    /// their aspect. Else the input is square.
    pub rect: bool,
    /// Threads that work ahead; 0 works in the calling thread. Batches do not depend on it.
    pub workers: usize,
    /// Start of all random numbers.
    pub seed: u64,
    /// What is kept of decoded pictures.
    pub cache: Cache,
    /// A new order each epoch; else the order of the split.
    pub shuffle: bool,
    /// What input sides are a multiple of.
    pub stride: usize,
    /// Whether pictures smaller than the input are enlarged.
    pub scale_up: bool,
    /// Number of epochs of the whole training, to know when `close_mosaic` begins; None: never.
    pub epochs: Option<usize>,
    /// Which part of every batch is made here: all of it, unless others make the rest.
    pub share: Share,
}

/// One of the equal parts that a batch is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which one, from 0.
    pub part: usize,
    /// Of how many.
    pub of: usize,
}

impl Share {
    /// The whole batch.
    pub const ALL: Share = Share { part: 0, of: 1 };

    /// Where the part lies in a batch of `count` pictures.
    pub fn slots(self, count: usize) -> std::ops::Range<usize> {
        count * self.part / self.of..count * (self.part + 1) / self.of
    }
}

impl LoaderSettings {
    /// Shuffled, augmented by the defaults, square.
    pub fn training(batch: usize, size: usize) -> Self {
        Self { augment: Some(Augmentation::default()), shuffle: true, rect: false, ..Self::evaluation(batch, size) }
    }

    /// In fixed order, as they are, in rectangular batches.
    pub fn evaluation(batch: usize, size: usize) -> Self {
        Self {
            batch,
            size,
            augment: None,
            rect: true,
            workers: 2,
            seed: 0,
            cache: Cache::None,
            shuffle: false,
            stride: 32,
            scale_up: true,
            epochs: None,
            share: Share::ALL,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let fault = |message: String, hint: &str| Err(Error::Settings { message, hint: hint.into() });
        if self.batch == 0 {
            return fault("batch=0 is out of range".into(), "choose at least 1");
        }
        if self.batch < self.share.of {
            let message = format!("batch={} cannot be shared by {} processes", self.batch, self.share.of);
            return fault(message, "a batch is that of all processes together: choose one picture each at least");
        }
        if self.stride == 0 || self.size == 0 || !self.size.is_multiple_of(self.stride) {
            let nearest = self.size.div_ceil(self.stride.max(1)).max(1) * self.stride.max(1);
            let message = format!("imgsz={} is not a multiple of {}", self.size, self.stride);
            return fault(message, &format!("choose {nearest}"));
        }
        if self.rect && self.augment.is_some() {
            return fault("rect and augmentation exclude each other".into(), "set rect=false for training");
        }
        if self.rect && self.shuffle {
            return fault("rect and shuffle exclude each other".into(), "set shuffle=false with rect=true");
        }
        self.augment.as_ref().map_or(Ok(()), Augmentation::check)
    }
}

/// Pictures for one step, ready for the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `[count, height, width, 3]`, red, green, blue.
    pub images: Vec<u8>,
    /// Number of pictures.
    pub count: usize,
    /// `[height, width]` of the input.
    pub size: [usize; 2],
    /// All objects, in order of the pictures.
    pub targets: Vec<Target>,
    /// Where each picture comes from.
    pub samples: Vec<Sample>,
}

/// Where a picture of a batch comes from and lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Position in [`Split::images`]; of a mosaic its first picture.
    pub index: usize,
    /// How it lies in the input; none where it was augmented.
    pub place: Option<Letterbox>,
}

/// Makes batches of a split, ahead on its own threads. Bits depend on split, settings and epoch only: not on the number of
/// workers, nor on what is cached.
pub struct Loader {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub settings: LoaderSettings,
    pub store: Store,
    /// Positions of the pictures in fixed order; of rectangular batches by aspect.
    fixed_order: Vec<u32>,
    /// How many pictures of the order's near past a mosaic takes its partners from.
    window: usize,
    /// Buffers given back.
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// What one epoch consists of.
pub(crate) struct Plan {
    pub epoch: usize,
    pub order: Vec<u32>,
    pub augment: Option<Augmentation>,
}

impl Loader {
    /// Prepares; nothing is read yet.
    ///
    /// # Errors
    /// A setting is out of range, the split is empty, or the cache folder cannot be made.
    pub fn new(split: Arc<Split>, settings: LoaderSettings) -> Result<Self, Error> {
        settings.check()?;
        if split.images.is_empty() {
            let message = format!("the {} split has no pictures", split.name);
            return Err(Error::Settings { message, hint: "check the data set".into() });
        }
        let mut fixed_order: Vec<u32> = (0..split.images.len() as u32).collect();
        if settings.rect {
            let aspect = |&index: &u32| aspect(split.images[index as usize].size);
            fixed_order.sort_by(|a, b| aspect(a).total_cmp(&aspect(b)));
        }
        let mixes = settings.augment.as_ref().is_some_and(Augmentation::mixes);
        let window = (settings.batch * 8).clamp(32, 256).min(split.images.len());
        // Those at work hold pictures before and behind the window.
        let recent = if mixes { window + 4 * (settings.workers + 1) } else { 0 };
        let store = Store::new(split, settings.size, settings.scale_up, settings.cache.clone(), recent)?;
        let shared = Shared { settings, store, fixed_order, window, buffers: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Number of batches of an epoch. An evaluation may give fewer where pictures turn out unreadable.
    pub fn batches(&self) -> usize {
        self.shared.batches()
    }

    /// Pictures of a batch, counted from 0, over all its shares.
    pub fn pictures(&self, batch: usize) -> usize {
        self.shared.pictures(batch)
    }

    /// The split that batches are made of.
    pub fn split(&self) -> &Split {
        &self.shared.store.split
    }

    /// Starts an epoch (from 0): work ahead begins at once. Dropping the iterator ends it.
    pub fn epoch(&self, epoch: usize) -> EpochIter {
        EpochIter::start(self.shared.clone(), self.shared.plan(epoch))
    }

    /// Gives a batch's memory back, so that the next one needs none.
    pub fn recycle(&self, batch: Batch) {
        self.shared.give_back(batch.images);
    }

    /// What was found while loading: pictures whose damage shows only when decoded. An evaluation leaves them out,
    /// training takes the next picture instead.
    pub fn findings(&self) -> Vec<Finding> {
        self.shared.store.findings()
    }

    /// Number of picture files decoded so far.
    pub fn decoded(&self) -> usize {
        self.shared.store.decoded()
    }
}

impl Shared {
    pub fn plan(&self, epoch: usize) -> Plan {
        let mut order = self.fixed_order.clone();
        if self.settings.shuffle {
            Random::new(&[self.settings.seed, epoch as u64, 0]).shuffle(&mut order);
        }
        let augment = self.settings.augment.map(|augment| {
            let closing = self.settings.epochs.is_some_and(|epochs| epoch + augment.close_mosaic >= epochs);
            if closing { augment.closed() } else { augment }
        });
        Plan { epoch, order, augment }
    }

    /// The generator of the sample at this position of the order.
    pub fn random(&self, plan: &Plan, position: usize) -> Random {
        Random::new(&[self.settings.seed, plan.epoch as u64, 1 + position as u64])
    }

    /// Pictures that a mosaic at this position may be made of: those just before it, which are likely still decoded.
    pub fn partners<'a>(&self, plan: &'a Plan, position: usize) -> &'a [u32] {
        let start = (position + 1).saturating_sub(self.window);
        &plan.order[start..start + self.window]
    }

    /// `[height, width]` of a batch's input.
    pub fn shape(&self, plan: &Plan, batch: usize) -> [usize; 2] {
        let settings = &self.settings;
        if !settings.rect {
            return [settings.size; 2];
        }
        let images = &self.store.split.images;
        let ratios: Vec<f64> = self.positions(batch).map(|at| aspect(images[plan.order[at] as usize].size)).collect();
        batch_shape(&ratios, settings.size, settings.stride)
    }

    /// Number of batches. A last one that has not a picture for every share is left out.
    pub fn batches(&self) -> usize {
        let (pictures, settings) = (self.fixed_order.len(), &self.settings);
        let rest = pictures % settings.batch;
        pictures / settings.batch + usize::from(rest > 0 && rest >= settings.share.of)
    }

    fn pictures(&self, batch: usize) -> usize {
        self.settings.batch.min(self.fixed_order.len().saturating_sub(batch * self.settings.batch))
    }

    /// Positions in the order that the share of a batch covers.
    pub fn positions(&self, batch: usize) -> std::ops::Range<usize> {
        let start = batch * self.settings.batch;
        let slots = self.settings.share.slots(self.pictures(batch));
        start + slots.start..start + slots.end
    }

    /// A buffer of this many bytes, with any content.
    pub fn buffer(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = lock(&self.buffers).pop().unwrap_or_default();
        buffer.resize(bytes, 0);
        buffer
    }

    pub fn give_back(&self, buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffers.len() < 8 {
            buffers.push(buffer);
        }
    }
}

fn aspect([height, width]: [usize; 2]) -> f64 {
    height as f64 / width as f64
}
