//! Sources of model files.
//!
//! A failed source gives its reason in one line; the store collects these lines into one error.

#[cfg(feature = "hub")]
pub(super) mod hub;
#[cfg(not(feature = "hub"))]
#[path = "no_hub.rs"]
pub(super) mod hub;
pub(super) mod pip;
