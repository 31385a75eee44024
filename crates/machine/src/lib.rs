//! What this machine has: [`system`] its processor, memory, limits and disk, [`python`] its Python environments, [`nvidia`] NVIDIA's
//! driver, devices and libraries. Nothing is linked, nothing computes here; a [`Finding`] says how something is, what it is for and what
//! would mend it.

mod finding;
pub mod nvidia;
pub mod python;
pub mod system;

pub use finding::{Finding, Verdict};
