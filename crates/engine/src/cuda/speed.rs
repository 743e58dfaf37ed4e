//! Peak rates of a GPU: lower bounds to compare measured times with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CudaError,
    heads::rows,
    machine::{Buffer, Machine, Product, Target},
};

type Result<T> = std::result::Result<T, CudaError>;

/// Duration of each measurement.
const LONG_ENOUGH: Duration = Duration::from_millis(300);
/// Rows, inputs and outputs of a product that keeps all multiprocessors busy.
const LARGE: usize = 8192;
/// Rows and columns of floats for the memory test: larger than any cache.
const FLOATS: (usize, usize) = (16_384, 8192);

/// Multiply-adds in bf16 per second, and bytes read or written per second.
pub(super) fn rates(machine: &Arc<dyn Machine>) -> Result<(f64, f64)> {
    let matrix = |bytes: usize| Buffer::new(machine, LARGE * LARGE * bytes);
    let (x, weight, out) = (matrix(2)?, matrix(2)?, matrix(2)?);
    let (x_at, weight_at, out_at) = (x.address(), weight.address(), out.address());
    let product = Product {
        x: x_at,
        weight: weight_at,
        out: out_at,
        rows: LARGE,
        inputs: LARGE,
        outputs: LARGE,
        into: Target::Narrow,
    };
    let products = a_second(&out, || machine.product(&product))?;
    drop((x, weight, out));
    let (count, width) = FLOATS;
    let floats = Buffer::new(machine, count * width * size_of::<f32>())?;
    let bias = Buffer::of_floats(machine, &vec![0.0; width])?;
    let arguments = [(&floats).into(), (&bias).into(), width.into()];
    let passes = a_second(&floats, || rows(machine, "add_bias", count, &arguments))?;
    // Each pass reads and writes everything once.
    let bytes = 2 * count * width * size_of::<f32>();
    Ok((products * (LARGE as f64).powi(3), passes * bytes as f64))
}

/// How often per second `work` runs; `out` is what it writes to.
fn a_second(out: &Buffer, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    // Warm-up: the first run loads kernels and chooses algorithms.
    work()?;
    out.floats(1)?;
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < LONG_ENOUGH {
        for _ in 0..10 {
            work()?;
        }
        out.floats(1)?;
        done += 10;
    }
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}
