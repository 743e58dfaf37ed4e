//! What the forward passes ask of a GPU: memory, kernels, products. One more machine, in the tests, runs
//! the same kernels on the processor.

use std::sync::Arc;

use super::CudaError;
use crate::kernels::Bf16;

type Result<T> = std::result::Result<T, CudaError>;

/// Memory of its own, a queue of work in order, and kernels by name.
pub(crate) trait Machine: Send + Sync {
    /// So many bytes, of whatever content, aligned to 256.
    fn allocate(&self, bytes: usize) -> Result<u64>;
    /// Gives them back, after the work that is queued.
    fn free(&self, address: u64);
    fn write(&self, address: u64, bytes: &[u8]) -> Result<()>;
    /// Waits for the work that is queued.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()>;
    /// Queues a kernel. The arguments must be what it declares, and the addresses in them memory of this
    /// machine that is as large as the kernel takes it to be: no one checks them.
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

/// An argument of a kernel, its bytes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument(pub(super) u64);

/// No memory: what a kernel leaves out.
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
    /// An `int` or a `long long` of the kernel.
    fn from(value: usize) -> Self {
        Self(value as u64)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self(u64::from(value.to_bits()))
    }
}

/// Products of rows in bf16 with a weight in bf16 of shape (outputs, inputs), added up in 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) x: u64,
    pub(crate) weight: u64,
    pub(crate) out: u64,
    /// All three may be read and written up to [`padded`] rows.
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) into: Target,
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// bf16.
    Narrow,
    /// 32-bit floats.
    Wide,
    /// Added to 32-bit floats.
    Sum,
}

/// Rows that matrices have room for.
pub(crate) fn padded(rows: usize) -> usize {
    rows.next_multiple_of(256)
}

/// Memory of a machine.
pub(crate) struct Buffer {
    machine: Arc<dyn Machine>,
    address: u64,
}

impl Buffer {
    /// Of whatever content.
    pub(crate) fn new(machine: &Arc<dyn Machine>, bytes: usize) -> Result<Self> {
        // No address is that of nothing.
        let address = machine.allocate(bytes.max(1))?;
        Ok(Self { machine: machine.clone(), address })
    }

    /// With these bytes.
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

    /// In bf16.
    pub(crate) fn of_narrowed(machine: &Arc<dyn Machine>, values: &[f32]) -> Result<Self> {
        Self::of(machine, &bytes_of(values, |value| narrow(value).to_le_bytes()))
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// The first `count` floats, once the work that is queued is done.
    pub(crate) fn floats(&self, count: usize) -> Result<Vec<f32>> {
        self.floats_behind(0, count)
    }

    /// `count` floats behind the first `skipped`, likewise.
    pub(crate) fn floats_behind(&self, skipped: usize, count: usize) -> Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; count * size_of::<f32>()];
        self.machine.read(self.address + (skipped * size_of::<f32>()) as u64, &mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }

    /// The first `count` values in bf16, likewise.
    pub(crate) fn narrowed(&self, count: usize) -> Result<Vec<f32>> {
        let mut bytes = vec![0; count * size_of::<u16>()];
        self.machine.read(self.address, &mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|value| widen(u16::from_le_bytes(*value))).collect())
    }

    /// The first `count` integers, likewise.
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

/// A float in bf16: to the nearest, ties to even.
pub(crate) fn narrow(value: f32) -> u16 {
    Bf16::nearest(value).to_bits()
}

/// The float that a bf16 is.
pub(crate) fn widen(value: u16) -> f32 {
    f32::from_bits(u32::from(value) << 16)
}
