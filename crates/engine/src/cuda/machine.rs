//! The interface between the forward passes and a GPU: memory, kernels, products. The tests implement it a
//! second time to run the same kernels on the CPU.

use std::sync::Arc;

use super::CudaError;
use crate::kernels::Bf16;

type Result<T> = std::result::Result<T, CudaError>;

/// A device with its own memory, an ordered queue of work, and kernels by name.
pub(crate) trait Machine: Send + Sync {
    /// Allocates uninitialised memory, aligned to 256 bytes.
    fn allocate(&self, bytes: usize) -> Result<u64>;
    /// Frees it, after the queued work.
    fn free(&self, address: u64);
    fn write(&self, address: u64, bytes: &[u8]) -> Result<()>;
    /// Reads memory after waiting for the queued work.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()>;
    /// Queues a kernel. The arguments must match its declaration, and the addresses in them must point to
    /// memory of this machine of the size that the kernel assumes: nothing checks them.
    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()>;
    /// Queues a product.
    fn product(&self, product: &Product) -> Result<()>;
}

/// A kernel argument, in its leading bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument(pub(super) u64);

/// A null address: the kernel skips the optional input.
pub(crate) const NONE: Argument = Argument(0);

impl Argument {
    /// An address within a buffer.
    pub(super) fn at(address: u64) -> Self {
        Self(address)
    }
}

impl From<&Buffer> for Argument {
    fn from(buffer: &Buffer) -> Self {
        Self(buffer.address)
    }
}

impl From<Option<&Buffer>> for Argument {
    fn from(buffer: Option<&Buffer>) -> Self {
        buffer.map_or(NONE, Self::from)
    }
}

impl From<i32> for Argument {
    fn from(value: i32) -> Self {
        Self(u64::from(value.cast_unsigned()))
    }
}

impl From<usize> for Argument {
    /// Converts to an `int` or a `long long` of the kernel.
    fn from(value: usize) -> Self {
        Self(value as u64)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self(u64::from(value.to_bits()))
    }
}

/// The product of bf16 rows with a bf16 weight of shape (outputs, inputs), accumulated in 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) x: u64,
    pub(crate) weight: u64,
    pub(crate) out: u64,
    /// All three matrices must be accessible up to [`padded`] rows.
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) into: Target,
}

/// What to do with the result of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Store as bf16.
    Narrow,
    /// Store as 32-bit floats.
    Wide,
    /// Add to the 32-bit floats already there.
    Sum,
}

/// The number of rows to allocate for matrices.
pub(crate) fn padded(rows: usize) -> usize {
    rows.next_multiple_of(256)
}

/// Memory of a machine, freed on drop.
pub(crate) struct Buffer {
    machine: Arc<dyn Machine>,
    address: u64,
}

impl Buffer {
    /// Uninitialised memory.
    pub(crate) fn new(machine: &Arc<dyn Machine>, bytes: usize) -> Result<Self> {
        // A zero-byte allocation would have no address.
        let address = machine.allocate(bytes.max(1))?;
        Ok(Self { machine: machine.clone(), address })
    }

    /// Memory initialised with these bytes.
    fn of(machine: &Arc<dyn Machine>, bytes: &[u8]) -> Result<Self> {
        let buffer = Self::new(machine, bytes.len())?;
        if !bytes.is_empty() {
            machine.write(buffer.address, bytes)?;
        }
        Ok(buffer)
    }

    pub(crate) fn of_floats(machine: &Arc<dyn Machine>, values: &[f32]) -> Result<Self> {
        Self::of(machine, &bytes_of(values, f32::to_le_bytes))
    }

    pub(crate) fn of_ints(machine: &Arc<dyn Machine>, values: &[i32]) -> Result<Self> {
        Self::of(machine, &bytes_of(values, i32::to_le_bytes))
    }

    /// Memory initialised with these values in bf16.
    pub(crate) fn of_narrowed(machine: &Arc<dyn Machine>, values: &[f32]) -> Result<Self> {
        Self::of(machine, &bytes_of(values, |value| narrow(value).to_le_bytes()))
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// The first `count` floats. Waits for the queued work.
    pub(crate) fn floats(&self, count: usize) -> Result<Vec<f32>> {
        self.floats_behind(0, count)
    }

    /// `count` floats after the first `skipped`. Waits for the queued work.
    pub(crate) fn floats_behind(&self, skipped: usize, count: usize) -> Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; count * size_of::<f32>()];
        self.machine.read(self.address + (skipped * size_of::<f32>()) as u64, &mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }

    /// The first `count` bf16 values. Waits for the queued work.
    pub(crate) fn narrowed(&self, count: usize) -> Result<Vec<f32>> {
        let mut bytes = vec![0; count * size_of::<u16>()];
        self.machine.read(self.address, &mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|value| widen(u16::from_le_bytes(*value))).collect())
    }

    /// The first `count` integers. Waits for the queued work.
    pub(crate) fn ints(&self, count: usize) -> Result<Vec<i32>> {
        let mut bytes = vec![0; count * size_of::<i32>()];
        self.machine.read(self.address, &mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|value| i32::from_le_bytes(*value)).collect())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.machine.free(self.address);
    }
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut all = Vec::with_capacity(values.len() * N);
    values.iter().for_each(|value| all.extend_from_slice(&bytes(*value)));
    all
}

/// Converts a float to bf16: to the nearest, ties to even.
pub(crate) fn narrow(value: f32) -> u16 {
    Bf16::nearest(value).to_bits()
}

/// Converts a bf16 to a float.
pub(crate) fn widen(value: u16) -> f32 {
    f32::from_bits(u32::from(value) << 16)
}
