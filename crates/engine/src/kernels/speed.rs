//! Peak rates of this machine: lower bounds to compare measured times with.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::{Int8Matrix, Panels, best};

/// Duration of each measurement.
const LONG_ENOUGH: Duration = Duration::from_millis(300);
/// Rows, inputs and outputs of a product that stays in the L1 cache.
const SMALL: (usize, usize, usize) = (24, 256, 16);
/// More bytes than any cache holds.
const LARGE: usize = 256 << 20;

/// The rates of all cores combined.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// The instruction set that the kernels use.
    pub instructions: &'static str,
    /// Multiply-adds per second in 8 bits, with all data in the L1 cache.
    pub multiply_adds: f64,
    /// Bytes read from memory per second.
    pub bytes: f64,
}

/// Measures the rates, which takes about half a second.
pub fn rates() -> Rates {
    Rates { instructions: best().name(), multiply_adds: multiply_adds(), bytes: bytes() }
}

fn multiply_adds() -> f64 {
    let (rows, inputs, outputs) = SMALL;
    let done: u64 = (0..rayon::current_num_threads())
        .into_par_iter()
        .map(|_| {
            let matrix = Int8Matrix::new(&vec![1.0; inputs * outputs], inputs, best());
            let x = matrix.rows(&vec![1.0; rows * inputs]);
            let mut out = vec![0.0; rows * outputs];
            let start = Instant::now();
            let mut rounds = 0;
            while start.elapsed() < LONG_ENOUGH {
                for _ in 0..100 {
                    matrix.product(&x, &mut out);
                    std::hint::black_box(&out);
                }
                rounds += 100;
            }
            rounds * (rows * inputs * outputs) as u64
        })
        .sum();
    done as f64 / LONG_ENOUGH.as_secs_f64()
}

fn bytes() -> f64 {
    let memory = vec![1u64; LARGE / size_of::<u64>()];
    let share = memory.len().div_ceil(rayon::current_num_threads());
    let read = || {
        let start = Instant::now();
        let sum: u64 = memory.par_chunks(share).map(|part| part.iter().sum::<u64>()).sum();
        std::hint::black_box(sum);
        LARGE as f64 / start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| read()).fold(0.0, f64::max)
}
