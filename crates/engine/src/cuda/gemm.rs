//! Matrix products by cuBLASLt.
//!
//! By default the library picks a different algorithm, and with it a different order of summation, for
//! different numbers of rows: a token's result would then depend on the size of the batch. So for each weight
//! shape one algorithm is queried, at [`MANY`] rows, that keeps the whole inner dimension in one block
//! (split-K 1, no reduction between blocks), and it is used for any number of rows. See "Defeating
//! Nondeterminism in LLM Inference" (He and Thinking Machines Lab, 2025).
//!
//! That algorithm's tiles are large and leave most of a GPU idle for few rows. So for up to [`FEW`] rows a
//! second algorithm is queried, and used only if it gives bit-identical results on noise. Two algorithms that
//! do not split the inner dimension both sum in the order of the instruction; if one does split it, thousands
//! of sums of hundreds of products do not come out alike.
#![allow(unsafe_code)]

use std::{
    collections::{HashMap, HashSet},
    ffi::c_void,
    mem::MaybeUninit,
    sync::{Mutex, PoisonError},
};

use cudarc::{
    cublaslt::{
        result::{self as lt, CublasError},
        sys,
    },
    driver::result as driver,
};

use super::{
    error::{CudaError, at},
    machine::{Product, Target, narrow, padded},
};

type Result<T> = std::result::Result<T, CudaError>;

/// Number of rows for which algorithms are chosen.
const MANY: usize = 4096;
/// Up to this many rows, a second algorithm is used if its results are identical.
const FEW: usize = 64;
/// Row counts are padded to a multiple of this.
const STEP: usize = 16;
/// Number of candidate algorithms to query.
const CANDIDATES: usize = 16;
/// `CUBLAS_OP_T`, which the bindings of this library omit.
const TRANSPOSED: i32 = 1;
/// Workspace of a product in bytes.
const WORKSPACE: usize = 32 << 20;

/// Algorithms for the products on one device.
pub(super) struct Products {
    handle: sys::cublasLtHandle_t,
    workspace: u64,
    plans: Mutex<HashMap<Sides, Plan>>,
}

struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    many: Algorithm,
    few: Option<Algorithm>,
}

struct Algorithm {
    algorithm: sys::cublasLtMatmulAlgo_t,
    /// Row counts for which the algorithm was found to work; those for which it was not are in `unfit`.
    fits: HashSet<usize>,
    unfit: HashSet<usize>,
}

/// The dimensions of a product except its rows, and whether the output is in 32-bit floats.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Sides {
    inputs: usize,
    outputs: usize,
    wide: bool,
}

/// The library's description of a matrix, destroyed on drop.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    /// Column-major, with `height` values per column.
    fn new(kind: sys::cudaDataType, height: usize, columns: usize) -> std::result::Result<Self, CublasError> {
        lt::create_matrix_layout(kind, height as u64, columns as u64, height as i64).map(Self)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed once.
        let _ = unsafe { lt::destroy_matrix_layout(self.0) };
    }
}

impl Products {
    /// Requires a current context.
    pub(super) fn new() -> Result<Self> {
        let handle = lt::create_handle()
            .map_err(|error| CudaError::Product { at: "opening it".into(), reason: error.to_string() })?;
        // SAFETY: never freed.
        let workspace = unsafe { driver::malloc_sync(WORKSPACE) }.map_err(at("taking memory"))?;
        Ok(Self { handle, workspace, plans: Mutex::default() })
    }

    /// Queues a product in the default stream.
    pub(super) fn queue(&self, product: &Product) -> Result<()> {
        let Product { rows, inputs, outputs, into, .. } = *product;
        let failed = |error: CublasError| CudaError::Product {
            at: format!("{rows} rows of {inputs} values to {outputs}"),
            reason: error.to_string(),
        };
        if rows == 0 {
            return Ok(());
        }
        let sides = Sides { inputs, outputs, wide: into != Target::Narrow };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.entry(sides) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let mut plan = self.plan(sides).map_err(failed)?;
                // Without it products are slower, but correct.
                plan.few = self.for_few(&plan, sides, product.weight).unwrap_or_else(|error| {
                    tracing::debug!(%error, "no algorithm of its own for few rows");
                    None
                });
                place.insert(plan)
            }
        };
        let Plan { description, weight, many, few } = plan;
        let (description, weight) = (*description, *weight);
        let tight = rows.next_multiple_of(STEP);
        let check = |algorithm: &mut Algorithm| self.fits(description, weight, algorithm, tight, sides);
        let for_few = few.as_mut().filter(|_| tight <= FEW).map(check).transpose().map_err(failed)?;
        let (algorithm, rows) = match (few, for_few) {
            (Some(few), Some(true)) => (few.algorithm, tight),
            _ if check(many).map_err(failed)? => (many.algorithm, tight),
            _ => (many.algorithm, padded(rows)),
        };
        let addresses = (product.x, product.weight, product.out);
        // SAFETY: the matrices have room for `padded(rows)` rows (see `Product`).
        unsafe { self.run(description, weight, &algorithm, sides, rows, addresses, into == Target::Sum) }
            .map_err(failed)
    }

    /// Queues a product in the default stream.
    ///
    /// # Safety
    ///
    /// The addresses must be those of matrices on the device with room for this many rows.
    #[allow(clippy::too_many_arguments)]
    unsafe fn run(
        &self,
        description: sys::cublasLtMatmulDesc_t,
        weight: sys::cublasLtMatrixLayout_t,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        sides: Sides,
        rows: usize,
        (x_at, weight_at, out_at): (u64, u64, u64),
        add: bool,
    ) -> std::result::Result<(), CublasError> {
        let x = Layout::new(BF16, sides.inputs, rows)?;
        let out = Layout::new(kind_of(sides.wide), sides.outputs, rows)?;
        let (one, more) = (1.0_f32, if add { 1.0_f32 } else { 0.0 });
        let pointer = |address: u64| address as *mut c_void;
        // SAFETY: all handles are alive; for the matrices see the caller; the scales are read during the
        // call.
        unsafe {
            lt::matmul(
                self.handle,
                description,
                (&raw const one).cast(),
                (&raw const more).cast(),
                pointer(weight_at),
                weight,
                pointer(x_at),
                x.0,
                pointer(out_at),
                out.0,
                pointer(out_at),
                out.0,
                &raw const *algorithm,
                pointer(self.workspace),
                WORKSPACE,
                driver::stream::null().cast(),
            )
        }
    }

    /// An algorithm for few rows that is bit-identical to the plan's; `None` if there is none.
    fn for_few(&self, plan: &Plan, sides: Sides, weight: u64) -> Result<Option<Algorithm>> {
        let failed = |error: CublasError| CudaError::Product {
            at: format!("choosing for few rows of {} values", sides.inputs),
            reason: error.to_string(),
        };
        let width = if sides.wide { size_of::<f32>() } else { size_of::<u16>() };
        let noise: Vec<u8> = noise(FEW * sides.inputs).flat_map(u16::to_le_bytes).collect();
        let place = Scratch::new(noise.len() + FEW * sides.outputs * width)?;
        let (x, out) = (place.0, place.0 + noise.len() as u64);
        // SAFETY: the destination is as large as the bytes, which are read before the call returns.
        unsafe { driver::memcpy_htod_sync(x, &noise) }.map_err(at("copying to the device"))?;
        let made = |algorithm: &sys::cublasLtMatmulAlgo_t| {
            // SAFETY: the destination has room for these rows; the weight belongs to the current product.
            let run = unsafe {
                self.run(plan.description, plan.weight, algorithm, sides, FEW, (x, weight, out), false)
            };
            if run.is_err() {
                return Ok(None);
            }
            let mut bytes = vec![0_u8; FEW * sides.outputs * width];
            // SAFETY: as large as what was written; the copy waits for the product.
            unsafe { driver::memcpy_dtoh_sync(&mut bytes, out) }.map_err(at("copying from the device"))?;
            Ok::<_, CudaError>(Some(bytes))
        };
        let expected = made(&plan.many.algorithm)?;
        // If all outputs are equal, the comparison proves nothing.
        if expected.as_ref().is_none_or(|bytes| bytes.chunks_exact(width).all(|own| own == &bytes[..width])) {
            return Ok(None);
        }
        for algorithm in self.found(plan.description, plan.weight, sides, FEW).map_err(failed)? {
            if made(&algorithm)? == expected {
                return Ok(Some(Algorithm::new(algorithm)));
            }
        }
        Ok(None)
    }

    /// Whether the algorithm works for this many rows.
    fn fits(
        &self,
        description: sys::cublasLtMatmulDesc_t,
        weight: sys::cublasLtMatrixLayout_t,
        algorithm: &mut Algorithm,
        rows: usize,
        sides: Sides,
    ) -> std::result::Result<bool, CublasError> {
        if algorithm.fits.contains(&rows) {
            return Ok(true);
        }
        if algorithm.unfit.contains(&rows) {
            return Ok(false);
        }
        let x = Layout::new(BF16, sides.inputs, rows)?;
        let out = Layout::new(kind_of(sides.wide), sides.outputs, rows)?;
        let mut found = MaybeUninit::uninit();
        // SAFETY: all handles are alive.
        let status = unsafe {
            sys::cublasLtMatmulAlgoCheck(
                self.handle,
                description,
                weight,
                x.0,
                out.0,
                out.0,
                &raw const algorithm.algorithm,
                found.as_mut_ptr(),
            )
        };
        // SAFETY: a successful check has written the result.
        let fits = status.result().is_ok() && unsafe { found.assume_init() }.workspaceSize <= WORKSPACE;
        if fits {
            algorithm.fits.insert(rows)
        } else {
            algorithm.unfit.insert(rows)
        };
        Ok(fits)
    }

    fn plan(&self, sides: Sides) -> std::result::Result<Plan, CublasError> {
        use sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA as TRANSPOSE_A;
        let weight = Layout::new(BF16, sides.inputs, sides.outputs)?;
        let description = lt::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        // The library is column-major: its first matrix is our weight, transposed.
        let transposed = TRANSPOSED;
        // SAFETY: the handle is alive; the attribute has the given size.
        unsafe {
            lt::set_matmul_desc_attribute(
                description,
                TRANSPOSE_A,
                (&raw const transposed).cast(),
                size_of_val(&transposed),
            )?;
        }
        let Some(best) = self.found(description, weight.0, sides, MANY)?.into_iter().next() else {
            return Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED));
        };
        let weight = std::mem::ManuallyDrop::new(weight).0;
        Ok(Plan { description, weight, many: Algorithm::new(best), few: None })
    }

    /// Algorithms for this many rows that sum the inner dimension in one block, the fastest (estimated)
    /// first.
    fn found(
        &self,
        description: sys::cublasLtMatmulDesc_t,
        weight: sys::cublasLtMatrixLayout_t,
        sides: Sides,
        rows: usize,
    ) -> std::result::Result<Vec<sys::cublasLtMatmulAlgo_t>, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t::{
            CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES as MAX_WORKSPACE,
            CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK as REDUCTIONS,
        };
        let x = Layout::new(BF16, sides.inputs, rows)?;
        let out = Layout::new(kind_of(sides.wide), sides.outputs, rows)?;
        let preference = lt::create_matmul_pref()?;
        let workspace = WORKSPACE;
        let none = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
        let mut found = [const { MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit() }; CANDIDATES];
        let mut count = 0;
        // SAFETY: all handles are alive; the attributes have the given sizes; there is room for `CANDIDATES`
        // results.
        unsafe {
            lt::set_matmul_pref_attribute(
                preference,
                MAX_WORKSPACE,
                (&raw const workspace).cast(),
                size_of_val(&workspace),
            )?;
            lt::set_matmul_pref_attribute(
                preference,
                REDUCTIONS,
                (&raw const none).cast(),
                size_of_val(&none),
            )?;
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle,
                description,
                weight,
                x.0,
                out.0,
                out.0,
                preference,
                CANDIDATES as i32,
                found.as_mut_ptr().cast(),
                &raw mut count,
            )
            .result()?;
            lt::destroy_matmul_pref(preference)?;
        }
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the library has initialised the first `count` results.
        let found = found.iter().take(count).map(|result| unsafe { result.assume_init_ref() });
        let whole = found.filter(|result| result.state.result().is_ok() && is_whole(&result.algo));
        Ok(whole.map(|result| result.algo).collect())
    }
}

impl Algorithm {
    fn new(algorithm: sys::cublasLtMatmulAlgo_t) -> Self {
        Self { algorithm, fits: HashSet::new(), unfit: HashSet::new() }
    }
}

/// Device memory, freed on drop.
struct Scratch(u64);

impl Scratch {
    /// Requires a current context.
    fn new(bytes: usize) -> Result<Self> {
        // SAFETY: the default stream always exists; freed once, by `drop`.
        unsafe { driver::malloc_async(driver::stream::null(), bytes) }.map(Self).map_err(at("taking memory"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`; freed after the queued work.
        let _ = unsafe { driver::free_async(self.0, driver::stream::null()) };
    }
}

/// bf16 values between -1 and 1.
fn noise(count: usize) -> impl Iterator<Item = u16> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        narrow((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
    })
}

// SAFETY: the library's handles may be used from any thread, and its descriptors are immutable once created.
unsafe impl Send for Plan {}

const BF16: sys::cudaDataType = sys::cudaDataType_t::CUDA_R_16BF;

fn kind_of(wide: bool) -> sys::cudaDataType {
    if wide { sys::cudaDataType_t::CUDA_R_32F } else { BF16 }
}

/// Whether an algorithm sums the inner dimension in one block.
fn is_whole(algorithm: &sys::cublasLtMatmulAlgo_t) -> bool {
    use sys::cublasLtMatmulAlgoConfigAttributes_t::{
        CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME as REDUCTION, CUBLASLT_ALGO_CONFIG_SPLITK_NUM as SPLITS,
    };
    let read = |attribute| {
        let (mut value, mut written) = (0_u32, 0);
        // SAFETY: both attributes are 32-bit numbers.
        let status = unsafe {
            sys::cublasLtMatmulAlgoConfigGetAttribute(
                algorithm,
                attribute,
                (&raw mut value).cast(),
                size_of_val(&value),
                &raw mut written,
            )
        };
        status.result().ok().map(|()| value)
    };
    // Algorithms without this choice do not report it; they were queried with reduction disabled.
    read(SPLITS).is_none_or(|splits| splits <= 1) && read(REDUCTION).is_none_or(|scheme| scheme == 0)
}
