//! What stands for the Hugging Face hub in a build without the feature `hub`: files come from elsewhere.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{FileSpec, ModelSpec};

const REASON: &str = "this build does not ask the hub: enable the cargo feature `hub`, or name a local file";

/// Never finds anything.
pub(crate) fn cached(_: &ModelSpec, _: &FileSpec) -> Option<PathBuf> {
    None
}

/// Never finds anything.
pub(crate) fn cached_name(_: &ModelSpec, _: &str) -> Option<PathBuf> {
    None
}

/// Refuses everything.
#[derive(Debug)]
pub(crate) struct Hub;

impl Hub {
    pub(crate) fn from_env(_: Duration) -> Self {
        Self
    }

    pub(crate) fn fetch(&self, _: &ModelSpec, _: &FileSpec, _: &Path) -> Result<(), String> {
        Err(REASON.into())
    }

    pub(crate) fn fetch_unlisted(&self, _: &ModelSpec, _: &str, _: &Path) -> Result<(), String> {
        Err(REASON.into())
    }

    pub(crate) fn list(&self, _: &ModelSpec) -> Result<Vec<String>, String> {
        Err(REASON.into())
    }
}
