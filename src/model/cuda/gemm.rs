//! Matrix products by cuBLASLt.
//!
//! Left to itself the library takes another algorithm for another number of rows, and with it another order of
//! sums: a token would then depend on how many others are in the batch. So for each shape of weights
//! one algorithm is asked for once, at [`MANY`] rows, with all of the inner dimension in one block
//! (split-K 1, no reduction between blocks), and used for any number of rows. See "Defeating
//! Nondeterminism in LLM Inference" (He and Thinking Machines Lab, 2025). What that costs is speed where rows
//! are few.
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
    CudaError,
    device::at,
    machine::{Product, Target, padded},
};

type Result<T> = std::result::Result<T, CudaError>;

/// Rows that algorithms are chosen for.
const MANY: usize = 4096;
/// Rows are a multiple of this.
const STEP: usize = 16;
/// Algorithms that are looked at.
const CANDIDATES: usize = 16;
/// `CUBLAS_OP_T`, which the bindings of this library leave out.
const TRANSPOSED: i32 = 1;
/// Bytes that a product may use besides.
const WORKSPACE: usize = 32 << 20;

/// Algorithms for the products of one device.
pub(super) struct Products {
    handle: sys::cublasLtHandle_t,
    workspace: u64,
    plans: Mutex<HashMap<(usize, usize, bool), Plan>>,
}

struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
    /// Rows that it was found to work for, and others.
    fits: HashSet<usize>,
    unfit: HashSet<usize>,
}

/// A matrix as the library sees it, let go of when it is dropped.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    /// By columns: `height` values each.
    fn new(kind: sys::cudaDataType, height: usize, columns: usize) -> std::result::Result<Self, CublasError> {
        lt::create_matrix_layout(kind, height as u64, columns as u64, height as i64).map(Self)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { lt::destroy_matrix_layout(self.0) };
    }
}

impl Products {
    /// In the current context.
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
        let wide = into != Target::Narrow;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.entry((inputs, outputs, wide)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(self.plan(inputs, outputs, wide).map_err(failed)?)
            }
        };
        let tight = rows.next_multiple_of(STEP);
        let rows =
            if self.fits(plan, tight, inputs, outputs, wide).map_err(failed)? { tight } else { padded(rows) };
        let x = Layout::new(BF16, inputs, rows).map_err(failed)?;
        let out = Layout::new(kind_of(wide), outputs, rows).map_err(failed)?;
        let (one, more) = (1.0_f32, if into == Target::Sum { 1.0_f32 } else { 0.0 });
        let pointer = |address: u64| address as *mut c_void;
        // SAFETY: all handles are alive; the matrices have room for `padded(rows)` rows (see `Product`), which
        // is what the layouts say at most; the scales are read during the call.
        unsafe {
            lt::matmul(
                self.handle,
                plan.description,
                (&raw const one).cast(),
                (&raw const more).cast(),
                pointer(product.weight),
                plan.weight,
                pointer(product.x),
                x.0,
                pointer(product.out),
                out.0,
                pointer(product.out),
                out.0,
                &raw const plan.algorithm,
                pointer(self.workspace),
                WORKSPACE,
                driver::stream::null().cast(),
            )
        }
        .map_err(failed)
    }

    /// Whether the algorithm works for so many rows.
    fn fits(
        &self,
        plan: &mut Plan,
        rows: usize,
        inputs: usize,
        outputs: usize,
        wide: bool,
    ) -> std::result::Result<bool, CublasError> {
        if plan.fits.contains(&rows) {
            return Ok(true);
        }
        if plan.unfit.contains(&rows) {
            return Ok(false);
        }
        let (x, out) = (Layout::new(BF16, inputs, rows)?, Layout::new(kind_of(wide), outputs, rows)?);
        let mut found = MaybeUninit::uninit();
        // SAFETY: all handles are alive.
        let status = unsafe {
            sys::cublasLtMatmulAlgoCheck(
                self.handle,
                plan.description,
                plan.weight,
                x.0,
                out.0,
                out.0,
                &raw const plan.algorithm,
                found.as_mut_ptr(),
            )
        };
        // SAFETY: where the check succeeds it has written the result.
        let fits = status.result().is_ok() && unsafe { found.assume_init() }.workspaceSize <= WORKSPACE;
        if fits {
            plan.fits.insert(rows)
        } else {
            plan.unfit.insert(rows)
        };
        Ok(fits)
    }

    fn plan(&self, inputs: usize, outputs: usize, wide: bool) -> std::result::Result<Plan, CublasError> {
        use sys::{
            cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA as TRANSPOSE_A,
            cublasLtMatmulPreferenceAttributes_t::{
                CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES as MAX_WORKSPACE,
                CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK as REDUCTIONS,
            },
        };
        let weight = Layout::new(BF16, inputs, outputs)?;
        let (x, out) = (Layout::new(BF16, inputs, MANY)?, Layout::new(kind_of(wide), outputs, MANY)?);
        let description = lt::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let preference = lt::create_matmul_pref()?;
        // The library counts by columns: its first matrix is our weight, turned.
        let transposed = TRANSPOSED;
        let workspace = WORKSPACE;
        let none = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
        let mut found = [const { MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit() }; CANDIDATES];
        let mut count = 0;
        // SAFETY: all handles are alive; the attributes have the sizes that are given; there is room for
        // `CANDIDATES` results.
        unsafe {
            lt::set_matmul_desc_attribute(
                description,
                TRANSPOSE_A,
                (&raw const transposed).cast(),
                size_of_val(&transposed),
            )?;
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
                weight.0,
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
        // SAFETY: the library has written that many.
        let found = found.iter().take(count).map(|result| unsafe { result.assume_init_ref() });
        let mut whole = found.filter(|result| result.state.result().is_ok() && is_whole(&result.algo));
        let Some(best) = whole.next() else {
            return Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED));
        };
        let algorithm = best.algo;
        let weight = std::mem::ManuallyDrop::new(weight).0;
        Ok(Plan { description, weight, algorithm, fits: HashSet::new(), unfit: HashSet::new() })
    }
}

// SAFETY: the library's handles may be used from any thread, its descriptions are not changed once they are made.
unsafe impl Send for Plan {}

const BF16: sys::cudaDataType = sys::cudaDataType_t::CUDA_R_16BF;

fn kind_of(wide: bool) -> sys::cudaDataType {
    if wide { sys::cudaDataType_t::CUDA_R_32F } else { BF16 }
}

/// Whether an algorithm adds up the inner dimension in one block.
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
    // Kinds without a choice do not tell; they were asked for without reduction.
    read(SPLITS).is_none_or(|splits| splits <= 1) && read(REDUCTION).is_none_or(|scheme| scheme == 0)
}
