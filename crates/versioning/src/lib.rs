//! Data versions in DVC's own format, so that `dvc` and `yolo11 data` may take turns on one repository.
//!
//! From the formats up: [`Pointer`] is a `.dvc` file, [`Directory`] the list of a folder's files, [`Config`] the settings in `.dvc/`.
//! [`Repository`] puts them together: add, status, checkout, commit, diff, push, fetch, garbage collection, one file each.
//!
//! Long work asks [`Watch`] whether to stop and tells it how far it is.

mod add;
mod adopt;
mod cache;
mod checkout;
mod config;
mod diff;
mod directory;
mod elsewhere;
mod error;
mod garbage;
mod git;
mod hash;
mod ignored;
mod import;
mod init;
mod intake;
mod lanes;
mod link;
mod lock;
mod pointer;
mod remote;
mod remotes;
mod repository;
mod s3;
mod scalar;
mod state;
mod status;
mod transfer;
mod tree;
mod watch;
mod workspace;
mod write;

pub use add::Added;
pub use checkout::CheckedOut;
pub use config::{Config, Level};
pub use diff::{Change, Difference};
pub use directory::{Directory, Entry};
pub use elsewhere::{Address, Fetched, fetch_once, get};
pub use error::Error;
pub use garbage::Garbage;
pub use init::init;
pub use pointer::{Output, Pointer};
pub use repository::{Repository, Tracked};
pub use status::{Covering, State, Status};
pub use transfer::Transferred;
pub use watch::{Progress, Watch};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
