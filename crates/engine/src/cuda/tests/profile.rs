//! Profiles a GPU: times of a layer's kernels next to the memory traffic and arithmetic they need, and the
//! algorithms available for products, with whether their results are bit-identical. Run it with
//!
//!     cargo test -p epitome-engine --features cuda cuda::tests::profile -- --ignored --nocapture
#![allow(unsafe_code)]

use std::{ffi::c_void, mem::MaybeUninit, time::Instant};

use cudarc::{
    cublaslt::{result as lt, sys},
    driver::result as driver,
};

use super::*;
use crate::{
    cuda::{
        heads::{self, HeadShape, HeadWeights, Layout, Sees, Span},
        machine::NONE,
        pages::Pages,
        speed,
    },
    kernels::KV_BLOCK,
};

fn time(machine: &Arc<dyn Machine>, out: &Buffer, mut work: impl FnMut()) -> f64 {
    let wait = || {
        let mut byte = [0];
        machine.read(out.address(), &mut byte).unwrap();
    };
    work();
    work();
    wait();
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..10 {
            work();
        }
        wait();
        best = best.min(start.elapsed().as_secs_f64() / 10.0);
    }
    best * 1e6
}

fn cycled(values: &[f32], count: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(count).collect()
}

struct Shape {
    name: &'static str,
    dim: usize,
    heads: HeadShape,
    inner: usize,
    words: usize,
}

fn shapes() -> [Shape; 2] {
    let head =
        |heads, key_heads, width| HeadShape { heads, key_heads, width, epsilon: 1e-6, neighbours: false };
    [
        Shape { name: "135M", dim: 576, heads: head(9, 3, 64), inner: 1536, words: 49152 },
        Shape { name: "1.5B", dim: 1536, heads: head(12, 2, 128), inner: 8960, words: 151_936 },
    ]
}

#[test]
#[ignore = "measures a GPU"]
fn profile_layer_kernels() {
    let machine = super::super::machine().unwrap();
    println!("{:?}", super::super::device::describe().unwrap());
    let (matrix, bytes) = speed::rates(&machine).unwrap();
    println!("matrix {:.0} TFLOP/s, memory {:.0} GB/s", 2.0 * matrix / 1e12, bytes / 1e9);
    let mut random = Random::new();
    let noise = random.values(1 << 20, 1.0);
    for Shape { name, dim, heads: shape, inner, words } in shapes() {
        let queries = shape.heads * shape.width;
        let keys = shape.key_heads * shape.width;
        let qkv_width = queries + 2 * keys;
        for (what, sequences, before, tokens) in [
            ("prefill", 10_usize, 0_usize, 1500_usize),
            ("decode", 64, 1500, 1),
            ("decode", 1, 1500, 1),
            ("decode", 8, 1500, 1),
        ] {
            let count = sequences * tokens;
            let each = (before + tokens).div_ceil(KV_BLOCK);
            let pages = Pages::new(&machine, 1, keys, sequences * each).unwrap();
            let bytes = pages.count() * pages.stride() * 2;
            let filled: Vec<u8> =
                cycled(&noise, bytes / 2).iter().flat_map(|value| narrow(*value).to_le_bytes()).collect();
            machine.write(pages.memory().address(), &filled).unwrap();
            let spans: Vec<Span> = (0..sequences)
                .map(|at| Span {
                    before,
                    tokens,
                    pages: (at * each..(at + 1) * each).map(|page| page as u32).collect(),
                })
                .collect();
            let start = Instant::now();
            let layout = Layout::new(&machine, &spans, &shape, true).unwrap();
            let layout_time = start.elapsed().as_secs_f64() * 1e6;
            let floats = |count: usize| Buffer::of_floats(&machine, &cycled(&noise, count)).unwrap();
            let narrowed = |count: usize| Buffer::of_narrowed(&machine, &cycled(&noise, count)).unwrap();
            let room = padded(count);
            let hidden = floats(room * dim);
            let normed = narrowed(room * dim);
            let qkv = floats(room * qkv_width);
            let asked = narrowed(room * queries);
            let attended = narrowed(room * queries);
            let gate_up = narrowed(room * 2 * inner);
            let thin = narrowed(room * inner);
            let weight = floats(dim);
            let turns = floats(2048 * shape.width);
            let total = std::cell::Cell::new(0.0);
            let report = |part: &str, us: f64, flops: f64, bytes: f64| {
                total.set(total.get() + us);
                println!(
                    "{name} {what} {sequences}x{tokens} {part}: {us:.1} us, {:.0} TFLOP/s, {:.0} GB/s",
                    flops / us / 1e6,
                    bytes / us / 1e3
                );
            };
            let rows_f = count as f64;
            let us = time(&machine, &normed, || {
                let arguments =
                    [(&normed).into(), (&hidden).into(), NONE, (&weight).into(), dim.into(), 1e-6_f32.into()];
                rows(&machine, "rms_norm", count, &arguments).unwrap();
            });
            report("rms_norm", us, 0.0, rows_f * dim as f64 * 6.0);
            let us = time(&machine, &asked, || {
                let weights = HeadWeights { turns: Some(&turns), ..HeadWeights::default() };
                heads::finish(&machine, &shape, weights, &layout, (&qkv, &asked), (&pages, 0)).unwrap();
            });
            report("finish", us, 0.0, rows_f * qkv_width as f64 * 6.0);
            let us = time(&machine, &attended, || {
                heads::attend(&machine, &shape, Sees::Past, &layout, (&asked, &attended), (&pages, 0))
                    .unwrap();
            });
            let seen = if before == 0 { tokens as f64 / 2.0 } else { (before + tokens) as f64 };
            report(
                "attend",
                us,
                4.0 * rows_f * seen * queries as f64,
                sequences as f64 * (before + tokens) as f64 * keys as f64 * 4.0,
            );
            let us = time(&machine, &thin, || {
                rows(&machine, "silu_product", count, &[(&thin).into(), (&gate_up).into(), inner.into()])
                    .unwrap();
            });
            report("silu", us, 0.0, rows_f * inner as f64 * 6.0);
            let product = |part: &str,
                           x: &Buffer,
                           out: &Buffer,
                           inputs: usize,
                           outputs: usize,
                           into: Target,
                           rows: usize| {
                let weight = narrowed(inputs * outputs);
                let us = time(&machine, out, || {
                    let (x, weight, out) = (x.address(), weight.address(), out.address());
                    machine.product(&Product { x, weight, out, rows, inputs, outputs, into }).unwrap();
                });
                let (r, i, o) = (rows as f64, inputs as f64, outputs as f64);
                report(part, us, 2.0 * r * i * o, 2.0 * i * o + 2.0 * r * i + 4.0 * r * o);
            };
            product("qkv", &normed, &qkv, dim, qkv_width, Target::Wide, count);
            product("out", &attended, &hidden, queries, dim, Target::Sum, count);
            product("gate_up", &normed, &gate_up, dim, 2 * inner, Target::Narrow, count);
            product("down", &thin, &hidden, inner, dim, Target::Sum, count);
            println!(
                "{name} {what} {sequences}x{tokens} layer: {:.1} us (second norm not counted); layout {layout_time:.0} us",
                total.get()
            );
            let last = sequences;
            let logits = Buffer::new(&machine, padded(last) * words * 4).unwrap();
            product("head", &normed, &logits, dim, words, Target::Wide, last);
            let start = Instant::now();
            let all = logits.floats(last * words).unwrap();
            println!("logits read: {:.0} us", start.elapsed().as_secs_f64() * 1e6);
            drop(all);
        }
    }
}

struct Lay(sys::cublasLtMatrixLayout_t);

#[test]
#[ignore = "measures a GPU"]
fn compare_product_algorithms() {
    let machine = super::super::machine().unwrap();
    let mut random = Random::new();
    let noise = random.values(1 << 20, 1.0);
    let narrowed = |count: usize| Buffer::of_narrowed(&machine, &cycled(&noise, count)).unwrap();
    let handle = lt::create_handle().unwrap();
    const WORKSPACE: usize = 32 << 20;
    let space = Buffer::new(&machine, WORKSPACE).unwrap();
    let lay = |kind, height: usize, columns: usize| {
        Lay(lt::create_matrix_layout(kind, height as u64, columns as u64, height as i64).unwrap())
    };
    let bf16 = sys::cudaDataType_t::CUDA_R_16BF;
    let describe = || {
        let d = lt::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )
        .unwrap();
        let transposed = 1_i32;
        unsafe {
            lt::set_matmul_desc_attribute(
                d,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const transposed).cast(),
                4,
            )
            .unwrap();
        }
        d
    };
    let description = describe();
    for (inputs, outputs, wide) in [
        (1536, 2048, true),
        (1536, 1536, true),
        (1536, 17920, false),
        (8960, 1536, true),
        (576, 960, true),
        (1536, 576, true),
        (576, 49152, true),
    ] {
        let kind = if wide { sys::cudaDataType_t::CUDA_R_32F } else { bf16 };
        let weight_on = narrowed(inputs * outputs);
        let room = 16384;
        let x_on = narrowed(room * inputs);
        let out = Buffer::new(&machine, room * outputs * 4).unwrap();
        let weight = lay(bf16, inputs, outputs);
        let found = |rows: usize, most: usize, no_split: bool| {
            let preference = lt::create_matmul_pref().unwrap();
            let mut found = vec![MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit(); most];
            let mut count = 0;
            let (x, o) = (lay(bf16, inputs, rows), lay(kind, outputs, rows));
            unsafe {
                let space = WORKSPACE;
                lt::set_matmul_pref_attribute(
                    preference,
                    sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                    (&raw const space).cast(),
                    8,
                )
                .unwrap();
                if no_split {
                    let none = 0_u32;
                    lt::set_matmul_pref_attribute(
                        preference,
                        sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                        (&raw const none).cast(),
                        4,
                    )
                    .unwrap();
                }
                sys::cublasLtMatmulAlgoGetHeuristic(
                    handle,
                    description,
                    weight.0,
                    x.0,
                    o.0,
                    o.0,
                    preference,
                    most as i32,
                    found.as_mut_ptr().cast(),
                    &raw mut count,
                )
                .result()
                .unwrap();
                found
                    .iter()
                    .take(count as usize)
                    .map(|f| f.assume_init())
                    .filter(|f| f.state.result().is_ok())
                    .collect::<Vec<_>>()
            }
        };
        let run = |algo: &sys::cublasLtMatmulAlgo_t, rows: usize| {
            let (x, o) = (lay(bf16, inputs, rows), lay(kind, outputs, rows));
            let (one, zero) = (1.0_f32, 0.0_f32);
            unsafe {
                lt::matmul(
                    handle,
                    description,
                    (&raw const one).cast(),
                    (&raw const zero).cast(),
                    weight_on.address() as *mut c_void,
                    weight.0,
                    x_on.address() as *mut c_void,
                    x.0,
                    out.address() as *mut c_void,
                    o.0,
                    out.address() as *mut c_void,
                    o.0,
                    algo,
                    space.address() as *mut c_void,
                    WORKSPACE,
                    driver::stream::null().cast(),
                )
            }
            .is_ok()
        };
        let bits = |rows: usize| {
            let mut bytes = vec![0; rows * outputs * if wide { 4 } else { 2 }];
            machine.read(out.address(), &mut bytes).unwrap();
            blake3::hash(&bytes).to_hex()[..8].to_string()
        };
        let many = found(4096, 1, true).remove(0);
        for rows in [16, 64, 256, 4096, 16384] {
            let few = rows.min(16);
            assert!(run(&many.algo, rows));
            let reference = bits(few);
            let us = time(&machine, &out, || {
                run(&many.algo, rows);
            });
            println!(
                "{inputs}->{outputs} rows {rows}: the one for 4096 rows {us:.1} us, {reference} {}",
                config(&many.algo)
            );
            for (at, candidate) in found(rows, 12, rows > 64).into_iter().enumerate() {
                if at > 5 && rows > 256 {
                    break;
                }
                if !run(&candidate.algo, rows) {
                    continue;
                }
                let own = bits(few);
                let us = time(&machine, &out, || {
                    run(&candidate.algo, rows);
                });
                let same = own == reference;
                println!("    {at}: {us:.1} us same {same} {}", config(&candidate.algo));
            }
        }
    }
}

fn config(algo: &sys::cublasLtMatmulAlgo_t) -> String {
    use sys::cublasLtMatmulAlgoConfigAttributes_t as A;
    let mut all = String::new();
    for (name, attribute) in [
        ("id", A::CUBLASLT_ALGO_CONFIG_ID),
        ("tile", A::CUBLASLT_ALGO_CONFIG_TILE_ID),
        ("split", A::CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
        ("red", A::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME),
        ("swz", A::CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING),
        ("custom", A::CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION),
        ("stages", A::CUBLASLT_ALGO_CONFIG_STAGES_ID),
        ("inner", A::CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID),
        ("cluster", A::CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID),
    ] {
        let (mut value, mut written) = (0_u32, 0);
        let status = unsafe {
            sys::cublasLtMatmulAlgoConfigGetAttribute(
                algo,
                attribute,
                (&raw mut value).cast(),
                4,
                &raw mut written,
            )
        };
        match status.result() {
            Ok(()) => all.push_str(&format!("{name}={value} ")),
            Err(_) => all.push_str(&format!("{name}=? ")),
        }
    }
    all
}
