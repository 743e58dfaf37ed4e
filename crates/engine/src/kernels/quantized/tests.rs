//! Kernels compared bit for bit with each other, and with products in 64 bits.

use proptest::prelude::*;

use super::*;
use crate::kernels::best;

fn exact(x: &[f32], weight: &[f32], inputs: usize) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    x.chunks(inputs).flat_map(|row| weight.chunks(inputs).map(move |weight| dot(row, weight))).collect()
}

fn product_of(matrix: &impl Panels, x: &[f32]) -> Vec<f32> {
    let rows = matrix.rows(x);
    let mut out = vec![0.0; matrix.count(&rows) * matrix.outputs()];
    matrix.product(&rows, &mut out);
    out
}

fn int4(weight: &[f32], inputs: usize, isa: Isa) -> Int4Matrix {
    Int4Matrix::new(&Block4::all(weight, inputs), inputs, isa)
}

fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-4.0f32..4.0, count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_kernel_gives_the_same_bits(
        (rows, inputs, outputs, x, weight) in (1usize..14, 1usize..100, 1usize..50).prop_flat_map(
            |(rows, inputs, outputs)| {
                (Just(rows), Just(inputs), Just(outputs), values(rows * inputs), values(outputs * inputs))
            },
        ),
    ) {
        let product = |isa| product_of(&Int8Matrix::new(&weight, inputs, isa), &x);
        let plain = product(Isa::Portable);
        let deinterleave = product_of(&int4(&weight, inputs, Isa::Portable), &x);
        prop_assert_eq!((plain.len(), deinterleave.len()), (rows * outputs, rows * outputs));
        for isa in Isa::present() {
            prop_assert_eq!(&product(isa), &plain, "{:?}", isa);
            prop_assert_eq!(&product_of(&int4(&weight, inputs, isa), &x), &deinterleave, "{:?}", isa);
        }
        // Compares with the weights after rounding to 4 bits, so only the rounding of the rows remains.
        let brought: Vec<f32> = Block4::all(&weight, inputs)
            .chunks(inputs.div_ceil(BLOCK))
            .flat_map(|row| {
                let values = row.iter().flat_map(|block| {
                    block.quants.map(|quant| f32::from(quant).mul_add(block.scale, block.least))
                });
                values.take(inputs).collect::<Vec<f32>>()
            })
            .collect();
        for (ours, exact) in deinterleave.iter().zip(exact(&x, &brought, inputs)) {
            let bound = inputs as f64 * 4.0 * 4.0 / 254.0 + 1e-4;
            prop_assert!((f64::from(*ours) - exact).abs() <= bound, "{} {}", ours, exact);
        }
        for (brought, weight) in brought.iter().zip(&weight) {
            prop_assert!((brought - weight).abs() <= 8.0 / 30.0 + 1e-5, "{} {}", brought, weight);
        }
        // Each value is off by at most half a step of its block, on both sides.
        for (at, (ours, exact)) in plain.iter().zip(exact(&x, &weight, inputs)).enumerate() {
            let (row, output) = (at / outputs, at % outputs);
            let greatest = |all: &[f32], at: usize| {
                f64::from(all[at * inputs..(at + 1) * inputs].iter().fold(0f32, |a, b| a.max(b.abs())))
            };
            let (a, b) = (greatest(&x, row), greatest(&weight, output));
            let bound = inputs as f64 * a * b * (1.0 / 127.0 + 1.0 / (4.0 * 127.0 * 127.0)) + 1e-4;
            prop_assert!((f64::from(*ours) - exact).abs() <= bound, "{} {}", ours, exact);
        }
    }

    #[test]
    fn threads_and_batch_do_not_change_results(
        rows in 1usize..80,
        x in values(80 * 64),
        weight in values(70 * 64),
    ) {
        let matrix = Int8Matrix::new(&weight, 64, best());
        let x = &x[..rows * 64];
        let alone: Vec<f32> = x.chunks(64).flat_map(|row| product_of(&matrix, row)).collect();
        prop_assert_eq!(&product_of(&matrix, x), &alone);
        prop_assert_eq!(&matrix.product_by_outputs(&matrix.rows(x)), &alone);
        let matrix = int4(&weight, 64, best());
        let alone: Vec<f32> = x.chunks(64).flat_map(|row| product_of(&matrix, row)).collect();
        prop_assert_eq!(&product_of(&matrix, x), &alone);
        prop_assert_eq!(&matrix.product_by_outputs(&matrix.rows(x)), &alone);
    }
}

#[test]
fn the_relative_error_of_a_long_product_is_below_a_percent() {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let (x, weight): (Vec<f32>, Vec<f32>) =
        ((0..9 * 576).map(|_| random()).collect(), (0..200 * 576).map(|_| random()).collect());
    let ours = product_of(&Int8Matrix::new(&weight, 576, best()), &x);
    let exact = exact(&x, &weight, 576);
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let error = square(&mut ours.iter().zip(&exact).map(|(ours, exact)| f64::from(*ours) - exact));
    let relative = (error / square(&mut exact.iter().copied())).sqrt();
    assert!(relative < 0.01, "{relative}");
}

#[test]
fn q8_0_weights_are_used_unchanged() {
    // A block as in a file: integers up to 127 and a scale.
    let scale = 0.031_25f32;
    let whole = |at: i32| if at % 32 == 0 { -127 } else { at * 4 - 127 };
    let weight: Vec<f32> = (0..64).map(|at| whole(at) as f32 * scale).collect();
    let identity: Vec<f32> = (0..64 * 64).map(|at| if at / 64 == at % 64 { 1.0 } else { 0.0 }).collect();
    let product = product_of(&Int8Matrix::new(&weight, 64, best()), &identity);
    for (ours, weight) in product.iter().zip(&weight) {
        assert!((ours - weight).abs() <= 1e-6 * weight.abs(), "{ours} {weight}");
    }
}

#[test]
fn nan_stays_nan() {
    let matrix = Int8Matrix::new(&[1.0; 64], 32, best());
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = [1.0; 32];
        x[7] = bad;
        assert!(product_of(&matrix, &x).iter().all(|value| value.is_nan()));
        assert!(product_of(&int4(&[1.0; 64], 32, best()), &x).iter().all(|value| value.is_nan()));
        assert!(product_of(&int4(&x, 32, best()), &[1.0; 32]).iter().all(|value| value.is_nan()));
    }
}

#[test]
fn zero_sizes_do_not_panic() {
    assert!(product_of(&Int8Matrix::new(&[], 32, best()), &[1.0; 32]).is_empty());
    assert!(product_of(&Int8Matrix::new(&[1.0; 32], 32, best()), &[]).is_empty());
    let nothing = Int8Matrix::new(&[], 0, best());
    assert!(nothing.product_by_outputs(&nothing.rows(&[])).is_empty());
    assert!(product_of(&int4(&[], 32, best()), &[1.0; 32]).is_empty());
}
