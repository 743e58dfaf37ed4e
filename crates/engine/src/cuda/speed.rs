//! What a GPU does at most: the floors that measured times stand beside.

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

/// How long each measurement takes.
const LONG_ENOUGH: Duration = Duration::from_millis(300);
/// Rows, inputs and outputs of a product that keeps all multiprocessors busy.
const LARGE: usize = 8192;
/// Rows and columns of the floats that go through memory: more than any cache holds.
const FLOATS: (usize, usize) = (16_384, 8192);

/// Multiplications with addition in bf16, and bytes read or written, a second.
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
    // Each pass reads all and writes all.
    let bytes = 2 * count * width * size_of::<f32>();
    Ok((products * (LARGE as f64).powi(3), passes * bytes as f64))
}

/// How often a second some work is done; `out` is what it writes to.
fn a_second(out: &Buffer, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    // The first one loads and chooses.
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
