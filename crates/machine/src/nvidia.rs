//! What there is of NVIDIA on this machine: [`driver`] with its devices, and the [`libraries`] that programs for its GPUs load at run
//! time. Both work where there is no GPU: they say what is missing.

mod driver;
mod libraries;
mod load;

use std::fmt;

pub use driver::{Device, Driver, Ready, devices_on_bus, driver};
pub use libraries::{Kind, Library, State, libraries};

/// A version of NVIDIA's, such as 12.4 or 9.26.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// What programs are built for.
    pub major: u32,
    /// Newer ones run programs for older ones.
    pub minor: u32,
    /// None where the library tells no third number.
    pub patch: Option<u32>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}
