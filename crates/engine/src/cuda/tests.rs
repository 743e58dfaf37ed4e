//! Tests of the kernels and the forward passes: always on the emulated machine, and on a GPU with
//! `cargo test -p epitome-engine --features cuda on_a_gpu -- --ignored`.
// Seeds and errors are printed for the reader.
#![allow(clippy::print_stdout)]

use std::{sync::Arc, time::SystemTime};

use super::{
    CudaError,
    check::check,
    device,
    heads::{IN_TURN, rows},
    machine::{Argument, Buffer, Machine, Product, Target, narrow, padded, widen},
};
use crate::kernels;

mod attention;
mod emulated;
mod models;
mod profile;

/// Fresh random numbers; the seed is printed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new() -> Self {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        println!("seed {seed}");
        Self(seed)
    }

    /// Between -1 and 1.
    fn value(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.value() * scale).collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.value();
        (self.0 >> 20) as usize % bound
    }
}

/// Generates two tests from each function: one on the emulated machine and one on a GPU.
macro_rules! on_machines {
    ($($test:ident),+ $(,)?) => {
        mod on_the_emulated_machine {
            $(
                #[test]
                fn $test() {
                    super::$test($crate::cuda::tests::emulated::machine());
                }
            )+
        }

        mod on_a_gpu {
            $(
                #[test]
                #[ignore = "needs an NVIDIA GPU"]
                fn $test() {
                    super::$test($crate::cuda::machine().unwrap());
                }
            )+
        }
    };
}
pub(super) use on_machines;

/// The greatest deviation, relative to the greatest exact value.
pub(super) fn error(ours: &[f32], exact: &[f32]) -> f32 {
    assert_eq!(ours.len(), exact.len());
    let most = exact.iter().fold(1e-20_f32, |most, value| most.max(value.abs()));
    let far = ours.iter().zip(exact).map(|(a, b)| (a - b).abs());
    far.fold(0.0, |most, value| if value > most || value.is_nan() { value } else { most }) / most
}

fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| widen(narrow(*value))).collect()
}

on_machines! {
    functions_of_rows_are_those_of_the_processor,
    the_greatest_is_the_first_of_equals_and_a_number,
    activations_are_those_of_the_processor,
    products_are_the_textbook_ones_and_do_not_depend_on_other_rows,
    a_sound_machine_passes_its_check,
}

fn a_sound_machine_passes_its_check(machine: Arc<dyn Machine>) {
    check(&machine).unwrap();
}

/// A machine with one fault.
struct Faulty {
    sound: Arc<dyn Machine>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Leaves out the last row of a product.
    Product,
    /// Ignores one kernel.
    Kernel(&'static str),
    /// Fails to read memory back.
    Read,
}

impl Machine for Faulty {
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError> {
        self.sound.allocate(bytes)
    }

    fn free(&self, address: u64) {
        self.sound.free(address);
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        self.sound.write(address, bytes)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        match self.fault {
            Fault::Read => Err(CudaError::Driver { at: "copying", reason: "on purpose".into() }),
            Fault::Product | Fault::Kernel(_) => self.sound.read(address, bytes),
        }
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        match self.fault {
            Fault::Kernel(broken) if broken == kernel => Ok(()),
            Fault::Kernel(_) | Fault::Product | Fault::Read => {
                self.sound.launch(kernel, grid, threads, arguments)
            }
        }
    }

    fn product(&self, product: &Product) -> Result<(), CudaError> {
        let left_out = usize::from(matches!(self.fault, Fault::Product));
        self.sound.product(&Product { rows: product.rows - left_out, ..*product })
    }
}

#[test]
fn a_faulty_machine_fails_its_check() {
    let kernels = ["layer_norm", "finish_heads", "attention_32", "attention_64", "gelu_bias"];
    let faults = kernels.map(Fault::Kernel).into_iter().chain([Fault::Product, Fault::Read]);
    for fault in faults {
        let machine: Arc<dyn Machine> = Arc::new(Faulty { sound: emulated::machine(), fault });
        let error = check(&machine).expect_err(&format!("{fault:?}")).to_string();
        let words = match fault {
            Fault::Product => "a product of matrices is",
            Fault::Kernel(_) => "a window of an encoder is",
            Fault::Read => "on purpose",
        };
        assert!(error.contains(words), "{fault:?}: {error}");
    }
}

#[test]
#[ignore = "needs libnvrtc"]
fn the_sources_compile_for_gpus() {
    for arch in ["sm_80", "sm_90"] {
        let image = device::compile(arch).unwrap();
        assert_eq!(image.get(..4), Some(b"\x7fELF".as_slice()), "{arch}");
    }
    assert!(device::compile("sm_1").is_err());
}

#[test]
fn gpu_is_found_or_the_error_says_what_is_missing() {
    match super::machine() {
        Ok(_) => assert!(device::describe().unwrap().capability >= (8, 0)),
        Err(error) => {
            let error = error.to_string();
            let missing = ["libcuda", "libnvrtc", "libcublasLt", "driver", "capability"];
            assert!(missing.iter().any(|word| error.contains(word)), "{error}");
        }
    }
}

fn functions_of_rows_are_those_of_the_processor(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    for (count, dim) in [(1, 32), (3, 33), (5, 576), (2, 1500)] {
        let hidden = random.values(count * dim, 4.0);
        let (weight, bias) = (random.values(dim, 1.0), random.values(dim, 1.0));
        let floats = |values: &[f32]| Buffer::of_floats(&machine, values).unwrap();
        let (on_weight, on_bias) = (floats(&weight), floats(&bias));
        let out = Buffer::new(&machine, 2 * count * dim).unwrap();
        let stream = floats(&hidden);

        let which: Vec<i32> = (0..count).map(|_| random.below(count) as i32).collect();
        let which_on = Buffer::of_ints(&machine, &which).unwrap();
        for picked in [None, Some(&which_on)] {
            let arguments = [
                (&out).into(),
                (&stream).into(),
                picked.map_or(IN_TURN, Argument::from),
                (&on_weight).into(),
                dim.into(),
                1e-5_f32.into(),
            ];
            rows(&machine, "rms_norm", count, &arguments).unwrap();
            let mut exact: Vec<f32> = match picked {
                None => hidden.clone(),
                Some(_) => which
                    .iter()
                    .flat_map(|row| &hidden[*row as usize * dim..(*row as usize + 1) * dim])
                    .copied()
                    .collect(),
            };
            kernels::rms_norm(&mut exact, &weight, 1e-5);
            assert!(error(&out.narrowed(count * dim).unwrap(), &exact) < 4e-3);
        }

        let arguments = [
            Argument::from(&out),
            (&stream).into(),
            (&on_bias).into(),
            (&on_weight).into(),
            (&on_bias).into(),
            dim.into(),
            1e-6_f32.into(),
            1.into(),
        ];
        rows(&machine, "layer_norm", count, &arguments).unwrap();
        let mut exact = hidden.clone();
        exact.chunks_mut(dim).for_each(|row| row.iter_mut().zip(&bias).for_each(|(x, bias)| *x += bias));
        let summed = exact.clone();
        kernels::layer_norm(&mut exact, &weight, &bias, 1e-6);
        assert!(error(&out.narrowed(count * dim).unwrap(), &exact) < 4e-3);
        assert!(error(&stream.floats(count * dim).unwrap(), &exact) < 1e-5);
        // Without weights and without keeping, only the sum remains.
        let stream = floats(&hidden);
        let arguments = [
            Argument::from(&out),
            (&stream).into(),
            (&on_bias).into(),
            None.into(),
            None.into(),
            dim.into(),
            1e-6_f32.into(),
            0.into(),
        ];
        rows(&machine, "layer_norm", count, &arguments).unwrap();
        assert_eq!(stream.floats(count * dim).unwrap(), summed);
        assert_eq!(out.narrowed(count * dim).unwrap(), rounded(&summed));
        let stream = floats(&hidden);
        rows(&machine, "add_bias", count, &[(&stream).into(), (&on_bias).into(), dim.into()]).unwrap();
        assert_eq!(stream.floats(count * dim).unwrap(), summed);

        let table = random.values(7 * dim, 1.0);
        let ids: Vec<i32> = (0..count).map(|_| random.below(7) as i32).collect();
        let on_table = Buffer::of_narrowed(&machine, &table).unwrap();
        let on_ids = Buffer::of_ints(&machine, &ids).unwrap();
        let arguments = [(&stream).into(), (&on_table).into(), (&on_ids).into(), dim.into()];
        rows(&machine, "embed", count, &arguments).unwrap();
        let exact: Vec<f32> =
            ids.iter().flat_map(|id| rounded(&table[*id as usize * dim..(*id as usize + 1) * dim])).collect();
        assert_eq!(stream.floats(count * dim).unwrap(), exact);
    }
}

fn the_greatest_is_the_first_of_equals_and_a_number(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    for width in [1, 5, 1000, 5000] {
        let mut rows = random.values(6 * width, 2.0);
        rows[width..2 * width].fill(1.5);
        rows[2 * width..3 * width].fill(f32::NAN);
        rows[3 * width] = f32::NAN;
        rows[4 * width..5 * width].fill(f32::NEG_INFINITY);
        let on = Buffer::of_floats(&machine, &rows).unwrap();
        let found = super::last::greatest(&machine, &on, 6, width).unwrap();
        let first = |row: &[f32]| {
            let numbers = (0..).zip(row).filter(|(_, value)| !value.is_nan());
            numbers.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(place, _)| place)
        };
        assert_eq!(found, rows.chunks(width).map(first).collect::<Vec<_>>(), "{width}");
    }
}

fn activations_are_those_of_the_processor(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    for (count, width) in [(1, 1), (3, 40), (2, 1536)] {
        let wide = rounded(&random.values(count * 2 * width, 5.0));
        let bias = random.values(2 * width, 1.0);
        let on = Buffer::of_narrowed(&machine, &wide).unwrap();
        let on_bias = Buffer::of_floats(&machine, &bias).unwrap();
        let out = Buffer::new(&machine, 2 * count * 2 * width).unwrap();

        rows(&machine, "silu_product", count, &[(&out).into(), (&on).into(), width.into()]).unwrap();
        let exact: Vec<f32> = wide
            .chunks(2 * width)
            .flat_map(|row| {
                let mut gate = row[..width].to_vec();
                kernels::silu_product(&mut gate, &row[width..]);
                gate
            })
            .collect();
        assert!(error(&out.narrowed(count * width).unwrap(), &exact) < 4e-3);

        let all = 2 * width;
        let arguments = [(&out).into(), (&on).into(), (&on_bias).into(), all.into()];
        rows(&machine, "gelu_bias", count, &arguments).unwrap();
        let mut exact = vec![0.0; wide.len()];
        kernels::add_gelu(&wide, &bias, &mut exact);
        assert!(error(&out.narrowed(count * all).unwrap(), &exact) < 4e-3);

        let arguments = [(&out).into(), (&on).into(), (&on_bias).into(), width.into()];
        rows(&machine, "gelu_product", count, &arguments).unwrap();
        let product: Vec<f32> = exact
            .chunks(all)
            .zip(wide.chunks(all))
            .flat_map(|(gelu, row)| {
                let gate = row[width..].iter().zip(&bias[width..]).map(|(gate, bias)| gate + bias);
                gelu[..width].iter().zip(gate).map(|(a, b)| a * b).collect::<Vec<f32>>()
            })
            .collect();
        assert!(error(&out.narrowed(count * width).unwrap(), &product) < 4e-3);
    }
}

fn products_are_the_textbook_ones_and_do_not_depend_on_other_rows(machine: Arc<dyn Machine>) {
    let mut random = Random::new();
    for (count, inputs, outputs) in [(1, 64, 96), (17, 576, 960), (300, 192, 64)] {
        let x = rounded(&random.values(count * inputs, 1.0));
        let weight = rounded(&random.values(outputs * inputs, 1.0));
        let start = random.values(count * outputs, 1.0);
        let on_weight = Buffer::of_narrowed(&machine, &weight).unwrap();
        let run = |x: &[f32], start: &[f32], into: Target| {
            let rows = x.len() / inputs;
            let room = |values: &[f32], width: usize| {
                let mut values = values.to_vec();
                values.resize(padded(rows) * width, 0.0);
                values
            };
            let on = Buffer::of_narrowed(&machine, &room(x, inputs)).unwrap();
            let out = Buffer::of_floats(&machine, &room(start, outputs)).unwrap();
            let (x, weight, to) = (on.address(), on_weight.address(), out.address());
            machine.product(&Product { x, weight, out: to, rows, inputs, outputs, into }).unwrap();
            match into {
                Target::Narrow => out.narrowed(rows * outputs).unwrap(),
                _ => out.floats(rows * outputs).unwrap(),
            }
        };
        let dots = |x: &[f32]| {
            weight.chunks(inputs).map(|w| w.iter().zip(x).map(|(a, b)| a * b).sum()).collect::<Vec<f32>>()
        };
        let exact: Vec<f32> = x.chunks(inputs).flat_map(dots).collect();
        let sums: Vec<f32> = exact.iter().zip(&start).map(|(a, b)| a + b).collect();
        assert!(error(&run(&x, &start, Target::Wide), &exact) < 1e-5);
        assert!(error(&run(&x, &start, Target::Sum), &sums) < 1e-5);
        assert!(error(&run(&x, &start, Target::Narrow), &exact) < 4e-3);
        let alone = run(&x[..inputs], &start, Target::Wide);
        assert_eq!(alone, run(&x, &start, Target::Wide)[..outputs]);
    }
}
