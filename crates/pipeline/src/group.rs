//! Processes that train together, on one machine or on many: each learns its share of every batch, and what they found is added up.
//!
//! Every process is connected with every other one. A sum is cut into as many pieces as there are processes; each adds up one piece, in
//! the order of the processes' numbers and in float64, and gives it to the others. So all hold the same bits, the same as in any other
//! run with as many processes. Process 0 leads: it alone reads the starting weights, validates, saves and tells.
//!
//! The connections are plain TCP without any secret: they belong into a network that is trusted, as those of other trainers do.

mod launch;
mod meeting;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

pub use launch::{Place, place};
pub use meeting::meet;

use yolo11_config::Settings;

use crate::Error;

/// Settings in which the processes of a training may differ: what concerns a machine, and what only the leader uses.
const OWN: [&str; 14] = [
    "data",
    "threads",
    "workers",
    "cache",
    "device",
    "strict_device",
    "project",
    "name",
    "exist_ok",
    "resume",
    "verbose",
    "plots",
    "auto_pull",
    "tracking",
];

/// How long a process that ends waits for its last word to be sent.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Bytes before the content of every message: kind, number, length.
const HEADER: usize = 13;

/// What a message holds.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// A part of a sum.
    Sum = 1,
    /// Bytes that the leader gives to all.
    Given = 2,
    /// The sender ends: why, in its own words.
    End = 3,
    /// The sender was stopped by its user.
    Stopped = 4,
}

/// The processes of a training, seen from one of them.
pub struct Group {
    rank: usize,
    size: usize,
    /// By number; none for this process itself.
    peers: Vec<Option<Peer>>,
    /// Messages so far, the same for all: tells where they would no longer speak of the same thing.
    number: u32,
    /// What went wrong in a sum that could not say so itself.
    failure: Option<Error>,
}

/// The connection with another process.
struct Peer {
    rank: usize,
    address: String,
    stream: TcpStream,
    outbox: Option<mpsc::Sender<Vec<u8>>>,
    /// Hears when all was sent.
    sent: mpsc::Receiver<()>,
}

impl Group {
    /// Streams by the numbers of their processes, as [`meet`] has connected them.
    fn new(place: &Place, streams: Vec<Option<TcpStream>>) -> io::Result<Self> {
        let peers = streams
            .into_iter()
            .enumerate()
            .map(|(rank, stream)| stream.map(|stream| Peer::new(rank, stream)).transpose());
        Ok(Group {
            rank: place.rank,
            size: place.size,
            peers: peers.collect::<io::Result<_>>()?,
            number: 0,
            failure: None,
        })
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds up values over all processes: afterwards all have the same sums, to the bit.
    ///
    /// # Errors
    /// A process ended, or is at another point of the training.
    pub fn sum(&mut self, values: &mut [f32]) -> Result<(), Error> {
        self.number += 1;
        let (length, size) = (values.len(), self.size);
        let piece = |rank: usize| length * rank / size..length * (rank + 1) / size;
        for peer in self.peers.iter().flatten() {
            peer.send(Kind::Sum, self.number, &bytes_of(&values[piece(peer.rank)]));
        }
        let mut total = vec![0f64; piece(self.rank).len()];
        for rank in 0..size {
            match self.receive(rank, Kind::Sum, Some(total.len() * 4))? {
                Some(bytes) => add(&mut total, floats(&bytes)),
                None => add(&mut total, values[piece(rank)].iter().copied()),
            }
        }
        for (value, total) in values[piece(self.rank)].iter_mut().zip(total) {
            *value = total as f32;
        }
        self.number += 1;
        let own = bytes_of(&values[piece(self.rank)]);
        self.peers.iter().flatten().for_each(|peer| peer.send(Kind::Sum, self.number, &own));
        for rank in 0..size {
            let place = piece(rank);
            if let Some(bytes) = self.receive(rank, Kind::Sum, Some(place.len() * 4))? {
                values[place].iter_mut().zip(floats(&bytes)).for_each(|(value, given)| *value = given);
            }
        }
        Ok(())
    }

    /// The same for a few figures in float64.
    ///
    /// # Errors
    /// As of [`Group::sum`].
    pub fn sum_figures(&mut self, figures: &mut [f64]) -> Result<(), Error> {
        self.number += 1;
        let own: Vec<u8> = figures.iter().flat_map(|figure| figure.to_le_bytes()).collect();
        self.peers.iter().flatten().for_each(|peer| peer.send(Kind::Sum, self.number, &own));
        let mut total = vec![0f64; figures.len()];
        for rank in 0..self.size {
            let given = self.receive(rank, Kind::Sum, Some(own.len()))?;
            let (pieces, _) = given.as_ref().unwrap_or(&own).as_chunks::<8>();
            total.iter_mut().zip(pieces).for_each(|(total, piece)| *total += f64::from_le_bytes(*piece));
        }
        figures.copy_from_slice(&total);
        Ok(())
    }

    /// Gives the leader's bytes to all; the others' own are passed over.
    ///
    /// # Errors
    /// As of [`Group::sum`].
    pub fn give(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.number += 1;
        if self.rank == 0 {
            self.peers.iter().flatten().for_each(|peer| peer.send(Kind::Given, self.number, &bytes));
            return Ok(bytes);
        }
        Ok(self.receive(0, Kind::Given, None)?.unwrap_or_default())
    }

    /// Checks that this process holds the same lines as the leader.
    ///
    /// # Errors
    /// It does not: `what` says what differs.
    pub fn check_same(&mut self, what: &str, own: &str) -> Result<(), Error> {
        let given = self.give(own.as_bytes().to_vec())?;
        if given == own.as_bytes() {
            return Ok(());
        }
        let given = String::from_utf8_lossy(&given).into_owned();
        let lines = own.lines().zip(given.lines()).find(|(own, given)| own != given);
        let (own, given) = lines.unwrap_or((own, &given));
        Err(Error::Setup {
            message: format!("process {}: {what} differs from that of process 0: {own}, there {given}", self.rank),
            hint: "start all processes with the same command, on the same version of the data".into(),
        })
    }

    /// The error of a sum that the engine asked for, if there was one.
    pub fn take_failure(&mut self) -> Result<(), Error> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Tells the others why this process ends before the training does.
    pub fn leave(&mut self, error: &Error) {
        let kind = if matches!(error, Error::Interrupted { .. }) { Kind::Stopped } else { Kind::End };
        let text = error.to_string();
        let headline = text.lines().next().unwrap_or_default();
        self.peers.iter().flatten().for_each(|peer| peer.send(kind, self.number, headline.as_bytes()));
    }

    /// The next message of a process; `None` where that is this one.
    fn receive(&mut self, rank: usize, kind: Kind, length: Option<usize>) -> Result<Option<Vec<u8>>, Error> {
        let (size, number) = (self.size, self.number);
        let Some(peer) = &mut self.peers[rank] else { return Ok(None) };
        let fault = |problem: String| Error::Peer { rank, size, address: peer.address.clone(), problem };
        let mut header = [0; HEADER];
        let closed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it ended without a word".to_owned(),
            _ => error.to_string(),
        };
        peer.stream.read_exact(&mut header).map_err(|error| fault(closed(error)))?;
        let [found, rest @ ..] = header;
        let (count, bytes) = rest.split_at(4);
        let count = u32::from_le_bytes(count.try_into().unwrap_or_default());
        let bytes = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let is_end = found == Kind::End as u8 || found == Kind::Stopped as u8;
        let fits = found == kind as u8 && count == number && length.is_none_or(|length| length as u64 == bytes);
        if !is_end && !fits {
            return Err(fault("it is at another point of the training".into()));
        }
        let mut content = Vec::new();
        // Grows with what arrives, whatever the length says.
        let read = (&mut peer.stream).take(bytes).read_to_end(&mut content).map_err(|error| fault(closed(error)))?;
        if (read as u64) < bytes {
            return Err(fault("it ended without a word".into()));
        }
        if found == Kind::Stopped as u8 {
            return Err(Error::Interrupted { folder: None });
        }
        if is_end {
            return Err(fault(format!("it ended: {}", String::from_utf8_lossy(&content))));
        }
        Ok(Some(content))
    }
}

/// What the engine adds up within a step.
impl yolo11_engine::Peers for Group {
    fn sum(&mut self, figures: &mut [f64]) {
        if self.failure.is_none() {
            self.failure = self.sum_figures(figures).err();
        }
    }
}

impl Peer {
    fn new(rank: usize, stream: TcpStream) -> io::Result<Self> {
        let address = stream.peer_addr()?.to_string();
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(None)?;
        // A machine that is gone says nothing: the system notices within some minutes.
        let alive =
            socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(20));
        socket2::SockRef::from(&stream).set_tcp_keepalive(&alive)?;
        let (outbox, messages) = mpsc::channel::<Vec<u8>>();
        let (done, sent) = mpsc::channel();
        let mut to = stream.try_clone()?;
        // Sending never waits for the other side, or two that send to each other would wait for ever.
        std::thread::Builder::new().name(format!("to-process-{rank}")).spawn(move || {
            while let Ok(message) = messages.recv() {
                if to.write_all(&message).is_err() {
                    // Whoever reads from it next learns what is wrong.
                    break;
                }
            }
            drop(done);
        })?;
        Ok(Peer { rank, address, stream, outbox: Some(outbox), sent })
    }

    fn send(&self, kind: Kind, number: u32, content: &[u8]) {
        let mut message = Vec::with_capacity(HEADER + content.len());
        message.push(kind as u8);
        message.extend(number.to_le_bytes());
        message.extend((content.len() as u64).to_le_bytes());
        message.extend(content);
        if let Some(outbox) = &self.outbox {
            // Where the connection is gone, the next reading from it says so.
            let _ = outbox.send(message);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.outbox = None;
        let _ = self.sent.recv_timeout(LAST_WORD);
    }
}

/// The settings that must be the same for all processes, as text.
pub fn what_counts(settings: &Settings) -> String {
    let counts = |name: &str| !OWN.contains(&name) && !name.starts_with("mlflow");
    let values = settings.values().filter(|(name, _)| counts(name));
    values.map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn add(total: &mut [f64], values: impl Iterator<Item = f32>) {
    total.iter_mut().zip(values).for_each(|(total, value)| *total += f64::from(value));
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// As many threads as there are processes, each with its group.
    fn together<T: Send>(size: usize, work: impl Fn(Group) -> T + Sync) -> Vec<T> {
        let port = yolo11_test_servers::free_port();
        std::thread::scope(|scope| {
            let start = |rank| {
                let place = Place { rank, size, on_machine: size, host: "127.0.0.1".into(), port, job: "j".into() };
                let work = &work;
                scope.spawn(move || work(meet(&place, &AtomicBool::new(false)).unwrap()))
            };
            let threads: Vec<_> = (0..size).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn sums_are_the_same_bits_for_all() {
        for size in [2, 3, 5] {
            let sums = together(size, |mut group| {
                let rank = group.rank() as f32;
                // More values than a socket takes at once, not a multiple of the processes; and fewer than processes.
                let mut values: Vec<f32> = (0..1_000_003).map(|at| 0.1 * rank + at as f32 * 1e-3).collect();
                group.sum(&mut values).unwrap();
                let mut few = [rank + 0.5];
                group.sum(&mut few).unwrap();
                let mut figures = [f64::from(rank), 1.0];
                group.sum_figures(&mut figures).unwrap();
                let given = group.give(vec![group.rank() as u8 + 7; 3]).unwrap();
                group.check_same("the data", "same").unwrap();
                (values, few, figures, given)
            });
            let wanted =
                |at: usize| (0..size).map(|rank| f64::from(0.1 * rank as f32 + at as f32 * 1e-3)).sum::<f64>() as f32;
            let (values, few, figures, given) = &sums[0];
            for at in [0, 1, 499_999, 1_000_002] {
                assert_eq!(values[at].to_bits(), wanted(at).to_bits());
            }
            let ranks = (size * (size - 1) / 2) as f64;
            assert_eq!(f64::from(few[0]), ranks + 0.5 * size as f64);
            assert_eq!((figures, given), (&[ranks, size as f64], &vec![7; 3]));
            assert!(sums.iter().all(|other| other == &sums[0]));
        }
    }

    #[test]
    fn who_ends_tells_the_others_why() {
        let ends = together(3, |mut group| match group.rank() {
            1 => {
                let error = Error::Setup { message: "no data here".into(), hint: "x".into() };
                group.leave(&error);
                error.to_string()
            }
            _ => group.sum(&mut [1.0; 9]).unwrap_err().to_string(),
        });
        for rank in [0, 2] {
            assert!(ends[rank].starts_with("process 1 of 3 (127.0.0.1:"), "{}", ends[rank]);
            assert!(ends[rank].contains("): it ended: no data here\nhint: "), "{}", ends[rank]);
        }
        let stopped = together(2, |mut group| match group.rank() {
            0 => {
                group.leave(&Error::Interrupted { folder: None });
                130
            }
            _ => group.give(Vec::new()).unwrap_err().exit_code(),
        });
        assert_eq!(stopped, [130, 130]);
        let silent = together(2, |mut group| match group.rank() {
            0 => String::new(),
            _ => group.sum_figures(&mut [1.0]).unwrap_err().to_string(),
        });
        assert!(silent[1].contains("): it ended without a word\nhint: "), "{}", silent[1]);
    }

    #[test]
    fn different_commands_are_found_out() {
        let ends = together(2, |mut group| {
            let text = format!("epochs {}", group.rank());
            let first = group.check_same("what it learns", &text).err();
            if let Some(error) = &first {
                group.leave(error);
            }
            first.or_else(|| group.sum(&mut [1.0; 3]).err()).unwrap().to_string()
        });
        assert_eq!(
            ends[1],
            "process 1: what it learns differs from that of process 0: epochs 1, there epochs 0\nhint: start all processes with the same command, on the same version of the data"
        );
        assert!(ends[0].contains("it ended: process 1: what it learns differs"), "{}", ends[0]);
        let ends = together(2, |mut group| {
            let result = match group.rank() {
                0 => group.sum(&mut [1.0; 8]),
                _ => group.sum(&mut [1.0; 6]),
            };
            result.unwrap_err().to_string()
        });
        assert!(ends.iter().all(|text| text.contains("it is at another point of the training")), "{ends:?}");
    }
}
