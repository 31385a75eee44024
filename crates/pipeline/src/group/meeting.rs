//! How the processes of a training find each other: all come to process 0, which tells everyone where the others listen.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Group, Place};
use crate::Error;

/// How long the processes wait for each other.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long one that has come may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest message of a meeting in bytes: thousands of addresses.
const LONGEST: usize = 1 << 20;
/// Tells our processes from whoever else may come.
const FORMAT: &str = concat!("yolo11-group-1 ", env!("CARGO_PKG_VERSION"));

/// What a process says when it comes.
#[derive(Serialize, Deserialize)]
struct Greeting {
    format: String,
    job: String,
    rank: usize,
    size: usize,
    /// Where it listens for those with higher numbers.
    port: u16,
}

/// What it hears.
#[derive(Serialize, Deserialize)]
enum Answer {
    /// All are there; where each listens, by its number.
    Addresses(Vec<SocketAddr>),
    /// It does not belong to this training.
    Refused(String),
}

/// Waits for all processes of a training and connects each with each.
///
/// # Errors
/// The meeting point cannot be used, some do not come within ten minutes, do not belong together, or `stop` became true.
pub fn meet(place: &Place, stop: &AtomicBool) -> Result<Group, Error> {
    let wait = Wait { place, stop, until: Instant::now() + PATIENCE };
    let streams = if place.rank == 0 { wait.lead() } else { wait.follow() }?;
    Group::new(place, streams).map_err(|error| fault(format!("the connections cannot be used: {error}"), ""))
}

struct Wait<'a> {
    place: &'a Place,
    stop: &'a AtomicBool,
    until: Instant,
}

impl Wait<'_> {
    /// Process 0: takes in all others and tells them of each other.
    fn lead(&self) -> Result<Vec<Option<TcpStream>>, Error> {
        let place = self.place;
        let listener = listen(place)?;
        let mut streams: Vec<Option<TcpStream>> = (0..place.size).map(|_| None).collect();
        let mut addresses = vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0); place.size];
        while streams.iter().flatten().count() + 1 < place.size {
            let (mut stream, address) = self.accept(&listener, || {
                let missing: Vec<String> =
                    (1..place.size).filter(|&rank| streams[rank].is_none()).map(|rank| rank.to_string()).collect();
                fault(
                    format!(
                        "process {} of {} did not come within {} minutes",
                        missing.join(", "),
                        place.size,
                        minutes()
                    ),
                    "look at their messages; they must reach the host and port that MASTER_ADDR and MASTER_PORT name",
                )
            })?;
            // Whoever else comes by is sent away and does no harm.
            let Ok(greeting) = read_message::<Greeting>(&mut stream) else { continue };
            match self.refusal(&greeting, &streams) {
                Some(reason) => {
                    let _ = write_message(&mut stream, &Answer::Refused(reason));
                }
                None => {
                    addresses[greeting.rank] = SocketAddr::new(address.ip(), greeting.port);
                    streams[greeting.rank] = Some(stream);
                }
            }
        }
        for (rank, stream) in streams.iter_mut().enumerate() {
            let Some(stream) = stream else { continue };
            write_message(stream, &Answer::Addresses(addresses.clone())).map_err(|error| {
                fault(format!("process {rank} of {} is gone: {error}", place.size), "look at its messages")
            })?;
        }
        Ok(streams)
    }

    /// Why a process does not belong here.
    fn refusal(&self, greeting: &Greeting, streams: &[Option<TcpStream>]) -> Option<String> {
        let (rank, size) = (greeting.rank, self.place.size);
        if greeting.format != FORMAT {
            return Some(format!("it is {}, process 0 is {FORMAT}", greeting.format));
        }
        if greeting.job != self.place.job {
            return Some(format!("it belongs to job {}, process 0 to job {}", greeting.job, self.place.job));
        }
        if greeting.size != size {
            return Some(format!("it counts {} processes, process 0 counts {size}", greeting.size));
        }
        match streams.get(rank) {
            Some(None) if rank > 0 => None,
            Some(_) => Some(format!("number {rank} is there already")),
            None => Some(format!("there is no number {rank}")),
        }
    }

    /// Any other process: comes to process 0, then to those with lower numbers, and takes in those with higher ones.
    fn follow(&self) -> Result<Vec<Option<TcpStream>>, Error> {
        let place = self.place;
        let mut leader =
            self.connect(0, || (place.host.as_str(), place.port).to_socket_addrs().map(Iterator::collect))?;
        let unusable = |error: io::Error| {
            fault(format!("process 0 at {}:{} is gone: {error}", place.host, place.port), "look at its messages")
        };
        let here = leader.local_addr().map_err(unusable)?.ip();
        let there = leader.peer_addr().map_err(unusable)?.ip();
        // On the way that leads to the leader the others come as well; if that is this machine alone, they may come from elsewhere.
        let listener = TcpListener::bind((any_like(here), 0)).map_err(unusable)?;
        let port = listener.local_addr().map_err(unusable)?.port();
        write_message(&mut leader, &self.greeting(port)).map_err(unusable)?;
        leader.set_read_timeout(Some(PATIENCE + GREETING)).map_err(unusable)?;
        let addresses = match read_message(&mut leader).map_err(unusable)? {
            Answer::Addresses(addresses) if addresses.len() == place.size => addresses,
            Answer::Addresses(_) => {
                return Err(fault("process 0 counts otherwise".into(), "give all the same number of processes"));
            }
            Answer::Refused(reason) => {
                return Err(fault(
                    format!(
                        "process {} is refused by process 0 at {}:{}: {reason}",
                        place.rank, place.host, place.port
                    ),
                    "start all processes of a training with the same program and variables, and each training at a port of its own",
                ));
            }
        };
        let mut streams: Vec<Option<TcpStream>> = (0..place.size).map(|_| None).collect();
        streams[0] = Some(leader);
        for (rank, &address) in addresses.iter().enumerate().take(place.rank).skip(1) {
            // Beside the leader it is seen under an address that means something there only.
            let address = if address.ip().is_loopback() { SocketAddr::new(there, address.port()) } else { address };
            let mut stream = self.connect(rank, || Ok(vec![address]))?;
            write_message(&mut stream, &self.greeting(port)).map_err(|error| {
                fault(format!("process {rank} of {} is gone: {error}", place.size), "look at its messages")
            })?;
            streams[rank] = Some(stream);
        }
        while streams.iter().flatten().count() + 1 < place.size {
            let (mut stream, _) = self.accept(&listener, || {
                fault(
                    format!("not all processes came to process {} within {} minutes", place.rank, minutes()),
                    "the machines must reach each other, not only process 0",
                )
            })?;
            let Ok(greeting) = read_message::<Greeting>(&mut stream) else { continue };
            if greeting.rank > place.rank && self.refusal(&greeting, &streams).is_none() {
                streams[greeting.rank] = Some(stream);
            }
        }
        Ok(streams)
    }

    fn greeting(&self, port: u16) -> Greeting {
        let Place { rank, size, job, .. } = self.place;
        Greeting { format: FORMAT.to_owned(), job: job.clone(), rank: *rank, size: *size, port }
    }

    /// The next that comes.
    fn accept(&self, listener: &TcpListener, late: impl Fn() -> Error) -> Result<(TcpStream, SocketAddr), Error> {
        let unusable = |error: io::Error| fault(format!("the processes cannot meet here: {error}"), "");
        listener.set_nonblocking(true).map_err(unusable)?;
        loop {
            match listener.accept() {
                Ok((stream, address)) => {
                    stream.set_nonblocking(false).map_err(unusable)?;
                    stream.set_read_timeout(Some(GREETING)).map_err(unusable)?;
                    return Ok((stream, address));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.pause(&late)?,
                Err(error) => return Err(unusable(error)),
            }
        }
    }

    /// A connection with a process that may not be there yet.
    fn connect(&self, rank: usize, addresses: impl Fn() -> io::Result<Vec<SocketAddr>>) -> Result<TcpStream, Error> {
        loop {
            let mut reason = "its name has no address".to_owned();
            match addresses() {
                Ok(addresses) => {
                    for address in addresses {
                        match TcpStream::connect_timeout(&address, GREETING) {
                            Ok(stream) => return Ok(stream),
                            Err(error) => reason = format!("{address}: {error}"),
                        }
                    }
                }
                Err(error) => reason = format!("{}: {error}", self.place.host),
            }
            self.pause(&|| {
                fault(
                    format!(
                        "process {rank} of {} was not there within {} minutes: {reason}",
                        self.place.size,
                        minutes()
                    ),
                    "start it, or correct MASTER_ADDR and MASTER_PORT",
                )
            })?;
        }
    }

    fn pause(&self, late: &impl Fn() -> Error) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted { folder: None });
        }
        if Instant::now() > self.until {
            return Err(late());
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

/// Process 0 listens to its own machine only where the name says that; the name of a host may stand for another address there.
fn listen(place: &Place) -> Result<TcpListener, Error> {
    let is_local = place.host == "localhost" || place.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let bound = match is_local {
        true => TcpListener::bind((place.host.as_str(), place.port)),
        false => TcpListener::bind((Ipv6Addr::UNSPECIFIED, place.port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, place.port))),
    };
    bound.map_err(|error| {
        fault(
            format!("port {}, where the {} processes are to meet, cannot be used: {error}", place.port, place.size),
            "set MASTER_PORT to a free port, the same for all processes",
        )
    })
}

/// All addresses of this machine where `here` is one of them that others see, else that alone.
fn any_like(here: IpAddr) -> IpAddr {
    match here {
        IpAddr::V4(address) if address.is_loopback() => Ipv4Addr::UNSPECIFIED.into(),
        address => address,
    }
}

fn minutes() -> u64 {
    PATIENCE.as_secs() / 60
}

fn fault(message: String, hint: &str) -> Error {
    Error::Setup { message, hint: hint.to_owned() }
}

fn write_message(stream: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = (text.len() as u32).to_le_bytes();
    stream.write_all(&[&length[..], &text].concat())
}

fn read_message<T: for<'de> Deserialize<'de>>(stream: &mut TcpStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rank: usize, size: usize, port: u16, job: &str) -> Place {
        Place { rank, size, on_machine: size, host: "127.0.0.1".into(), port, job: job.into() }
    }

    #[test]
    fn who_does_not_belong_is_sent_away_and_the_others_meet() {
        let port = yolo11_test_servers::free_port();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| meet(&place(0, 2, port, "a"), &stop).map(|group| group.size()));
            for (other, reason) in [
                (place(1, 2, port, "b"), "it belongs to job b, process 0 to job a"),
                (place(1, 3, port, "a"), "it counts 3 processes, process 0 counts 2"),
            ] {
                let error = meet(&other, &stop).err().unwrap();
                assert!(
                    error.to_string().starts_with(&format!(
                        "process 1 is refused by process 0 at 127.0.0.1:{port}: {reason}\nhint: "
                    )),
                    "{error}"
                );
                assert_eq!(error.exit_code(), 3);
            }
            // Someone who only looks which ports are open.
            drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
            let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            assert_eq!(meet(&place(1, 2, port, "a"), &stop).unwrap().rank(), 1);
            assert_eq!(leader.join().unwrap().unwrap(), 2);
        });
    }

    #[test]
    fn a_port_that_is_taken_and_a_stop_are_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = meet(&place(0, 2, port, ""), &AtomicBool::new(false)).err().unwrap();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("port {port}, where the 2 processes are to meet, cannot be used: ")),
            "{text}"
        );
        assert!(text.ends_with("\nhint: set MASTER_PORT to a free port, the same for all processes"), "{text}");
        let stopped = meet(&place(0, 2, yolo11_test_servers::free_port(), ""), &AtomicBool::new(true)).err().unwrap();
        assert_eq!(stopped.exit_code(), 130);
    }
}
