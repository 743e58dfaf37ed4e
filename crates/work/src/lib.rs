//! Work that can be stopped and watched.
//!
//! [`Cancel`] asks work to stop, by hand or at a deadline, and carries [`Steps`], which say how far it is.
//! [`workers`] spreads pieces of work over threads, [`ordered`] puts their results back in order for one writer, and
//! [`progress`] is where long work reports to whoever shows it.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use epitome_work::{Cancel, Stopped, workers};
//!
//! let cancel = Cancel::at(Instant::now() + Duration::from_secs(60));
//! let squares: Result<Vec<usize>, Stopped> = workers::each(4, &cancel, |n| Ok(n * n));
//! assert_eq!(squares, Ok(vec![0, 1, 4, 9]));
//!
//! cancel.cancel();
//! assert_eq!(cancel.check(), Err(Stopped::Cancelled));
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cancel;
pub mod ordered;
pub mod progress;
mod steps;
pub mod workers;

pub use cancel::{Cancel, Stopped};
pub use steps::{Stage, Steps};
