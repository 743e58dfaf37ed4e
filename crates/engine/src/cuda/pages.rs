//! Memory for keys and values on a GPU: one allocation, divided into reusable pages.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    CudaError,
    machine::{Buffer, Machine},
};
use crate::kernels::KV_BLOCK;

/// Pages of [`KV_BLOCK`] tokens across all layers.
pub(crate) struct Pages {
    memory: Buffer,
    /// Size of a page in bf16 values.
    stride: usize,
    count: usize,
    free: Mutex<Vec<u32>>,
}

/// A page of a sequence, returned to the pool on drop.
pub(crate) struct Page {
    index: u32,
    pages: Arc<Pages>,
}

impl Pages {
    /// `count` pages for layers with `width` key values and as many value values per token.
    pub(super) fn new(
        machine: &Arc<dyn Machine>,
        layers: usize,
        width: usize,
        count: usize,
    ) -> Result<Self, CudaError> {
        let stride = Self::stride_of(layers, width);
        let count = count.clamp(1, i32::MAX as usize / KV_BLOCK);
        let memory = Buffer::new(machine, count * stride * size_of::<u16>())?;
        let free = (0..count as u32).rev().collect();
        Ok(Self { memory, stride, count, free: Mutex::new(free) })
    }

    /// Size of a page in bf16 values.
    pub(super) fn stride_of(layers: usize, width: usize) -> usize {
        layers * 2 * KV_BLOCK * width
    }

    pub(super) fn memory(&self) -> &Buffer {
        &self.memory
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes a free page.
    pub(super) fn take(self: &Arc<Self>) -> Result<Page, CudaError> {
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match index {
            Some(index) => Ok(Page { index, pages: self.clone() }),
            None => Err(CudaError::NoPage { pages: self.count }),
        }
    }
}

impl Page {
    pub(crate) fn index(&self) -> u32 {
        self.index
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "page {}", self.index)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.pages.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}
