//! The first GPU of this machine, opened once.
#![allow(unsafe_code)]

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_void},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cudarc::{
    cublaslt::sys as lt,
    driver::{result as driver, sys},
    nvrtc::{result as compiler, sys as nvrtc},
};

use super::{
    error::{CudaError, at},
    gemm::Products,
    machine::{Argument, Machine, Product},
};

type Result<T> = std::result::Result<T, CudaError>;

/// The source of all kernels, without the primitives that precede it.
pub(super) const KERNELS: &str = concat!(
    include_str!("kernels/rows.cu"),
    include_str!("kernels/heads.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/last.cu")
);
const PRIMITIVES: &str = include_str!("kernels/primitives.cu");
const DRIVER_HINT: &str =
    "there is no NVIDIA driver (libcuda.so.1), or LD_LIBRARY_PATH does not name its folder";
const COMPILER_HINT: &str = "install CUDA's libnvrtc (of 12 or 13, as the driver has it), for example from the Python package nvidia-cuda-nvrtc, and name its folder in LD_LIBRARY_PATH";
const PRODUCTS_HINT: &str = "install CUDA's libcublasLt (of 12 or 13, as the driver has it), for example from the Python package nvidia-cublas, and name its folder in LD_LIBRARY_PATH";

/// Divisor of the free memory: the share that an encoder's activations may use.
const ACTIVATIONS_SHARE: usize = 8;

/// Properties of a GPU.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) name: String,
    /// Compute capability.
    pub(crate) capability: (i32, i32),
    /// The highest CUDA version that the driver supports.
    pub(crate) driver: (i32, i32),
    /// The versions of libnvrtc and libcublasLt.
    pub(crate) libraries: [String; 2],
    /// Free memory in bytes.
    pub(crate) free: usize,
    pub(crate) total: usize,
}

/// Opens the machine on first use. It stays open until the process ends.
///
/// # Errors
///
/// [`CudaError`]; the same one on every call.
pub(crate) fn machine() -> Result<Arc<dyn Machine>> {
    device().map(|device| device as Arc<dyn Machine>)
}

/// Describes the GPU.
///
/// # Errors
///
/// As [`machine`].
pub(crate) fn describe() -> Result<Description> {
    device()?.describe()
}

/// Bytes of the free memory that an encoder's activations may use.
///
/// # Errors
///
/// As [`describe`].
pub(crate) fn for_activations() -> Result<usize> {
    Ok(describe()?.free / ACTIVATIONS_SHARE)
}

fn device() -> Result<Arc<Device>> {
    static DEVICE: OnceLock<Result<Arc<Device>>> = OnceLock::new();
    DEVICE.get_or_init(|| Device::open().map(Arc::new)).clone()
}

/// A GPU with its kernels. All work is queued on its default stream and therefore runs in submission order.
pub(super) struct Device {
    id: sys::CUdevice,
    context: sys::CUcontext,
    module: sys::CUmodule,
    functions: Mutex<HashMap<&'static str, Function>>,
    products: Products,
}

#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: the driver's context, module and function handles may be used from any thread; the context is made
// current in each thread before use.
unsafe impl Send for Device {}
// SAFETY: as above; mutable state is behind a mutex.
unsafe impl Sync for Device {}
// SAFETY: as above.
unsafe impl Send for Function {}

impl Device {
    fn open() -> Result<Self> {
        let missing = |library, hint| CudaError::Library { library, hint };
        // The bindings panic if a library is missing, so probe for it first.
        // SAFETY: opening these libraries runs nothing but their own initialisation.
        unsafe {
            if !sys::is_culib_present() {
                return Err(missing("libcuda", DRIVER_HINT));
            }
            if !nvrtc::is_culib_present() {
                return Err(missing("libnvrtc", COMPILER_HINT));
            }
            if !lt::is_culib_present() {
                return Err(missing("libcublasLt", PRODUCTS_HINT));
            }
        }
        // Fails here if the driver library is present but the driver is not.
        driver::init().map_err(at("initialisation"))?;
        if driver::device::get_count().map_err(at("counting devices"))? == 0 {
            return Err(CudaError::NoDevice);
        }
        let id = driver::device::get(0).map_err(at("opening the device"))?;
        let (major, minor) = capability(id)?;
        if major < 8 {
            let name = driver::device::get_name(id).map_err(at("the device's name"))?;
            return Err(CudaError::TooOld { name, major, minor });
        }
        let arch = format!("sm_{major}{minor}");
        let image = compile(&arch)?;
        // SAFETY: `id` is a device; its primary context is retained until the process ends; `image` is a
        // complete cubin.
        let (context, module) = unsafe {
            let context = driver::primary_ctx::retain(id).map_err(at("making a context"))?;
            driver::ctx::set_current(context).map_err(at("making the context current"))?;
            keep_freed_memory(id)?;
            let module = driver::module::load_data(image.as_ptr().cast::<c_void>())
                .map_err(at("loading the kernels"))?;
            (context, module)
        };
        let products = Products::new()?;
        Ok(Self { id, context, module, functions: Mutex::default(), products })
    }

    fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as the process.
        unsafe { driver::ctx::set_current(self.context) }.map_err(at("making the context current"))
    }

    fn describe(&self) -> Result<Description> {
        self.bind()?;
        let name = driver::device::get_name(self.id).map_err(at("the device's name"))?;
        let (free, total) = driver::mem_get_info().map_err(at("its memory"))?;
        let mut version = 0;
        // SAFETY: writes one number through the pointer it is given.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(at("the driver's version"))?;
        let driver = (version / 1000, version % 1000 / 10);
        let (mut major, mut minor) = (0, 0);
        // SAFETY: writes two numbers through the pointers it is given.
        let known = unsafe { nvrtc::nvrtcVersion(&raw mut major, &raw mut minor) }.result();
        let compiler = known.map_or_else(|error| error.to_string(), |()| format!("{major}.{minor}"));
        // SAFETY: has no preconditions.
        let products = unsafe { lt::cublasLtGetVersion() };
        let products = format!("{}.{}.{}", products / 10_000, products / 100 % 100, products % 100);
        let libraries = [compiler, products];
        Ok(Description { name, capability: capability(self.id)?, driver, libraries, free, total })
    }

    fn function(&self, name: &'static str) -> Result<sys::CUfunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = functions.get(name) {
            return Ok(known.0);
        }
        let unknown = |reason: String| CudaError::Driver { at: "finding a kernel", reason };
        let symbol = CString::new(name).map_err(|error| unknown(error.to_string()))?;
        // SAFETY: the module is loaded and never unloaded.
        let found = unsafe { driver::module::get_function(self.module, symbol) }
            .map_err(|error| unknown(format!("{name}: {error}")))?;
        functions.insert(name, Function(found));
        Ok(found)
    }
}

fn capability(id: sys::CUdevice) -> Result<(i32, i32)> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    // SAFETY: `id` is a device.
    let of =
        |attribute| unsafe { driver::device::get_attribute(id, attribute) }.map_err(at("its capability"));
    Ok((of(MAJOR)?, of(MINOR)?))
}

/// Freed memory stays in the process's pool, because every pass allocates and frees its activations.
///
/// # Safety
///
/// `id` must be a device.
unsafe fn keep_freed_memory(id: sys::CUdevice) -> Result<()> {
    let mut most = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is a 64-bit number, read during the call.
    unsafe {
        let pool = driver::device::get_default_mem_pool(id).map_err(at("its memory pool"))?;
        driver::mem_pool::set_attribute(pool, threshold, (&raw mut most).cast())
            .map_err(at("its memory pool"))
    }
}

impl Machine for Device {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        // SAFETY: the default stream always exists.
        unsafe { driver::malloc_async(driver::stream::null(), bytes) }.map_err(at("taking memory"))
    }

    fn free(&self, address: u64) {
        // SAFETY: `address` came from `allocate` and is freed once; work that uses it was queued before.
        let freed = self.bind().and_then(|()| {
            unsafe { driver::free_async(address, driver::stream::null()) }.map_err(at("freeing"))
        });
        if let Err(error) = freed {
            tracing::warn!(%error, "memory of the GPU is not given back");
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's memory is as large as the bytes; pageable memory is read before this returns.
        unsafe { driver::memcpy_htod_async(address, bytes, driver::stream::null()) }
            .map_err(at("copying to the device"))
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's memory is as large as the bytes, which stay borrowed until the copy is done.
        unsafe {
            driver::memcpy_dtoh_async(bytes, address, driver::stream::null())
                .map_err(at("copying from the device"))?;
            driver::stream::synchronize(driver::stream::null()).map_err(at("waiting for the device"))
        }
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        self.bind()?;
        let function = self.function(kernel)?;
        let mut values: Vec<u64> = arguments.iter().map(|argument| argument.0).collect();
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let [x, y, z] = grid.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        // SAFETY: the arguments match the kernel's declaration (see `Machine::launch`), 8 bytes each, of
        // which the driver reads as many as the parameter has; little-endian, as on all hosts of NVIDIA GPUs.
        unsafe {
            driver::launch_kernel(
                function,
                (x, y, z),
                (threads, 1, 1),
                0,
                driver::stream::null(),
                &mut pointers,
            )
        }
        .map_err(at(kernel))
    }

    fn product(&self, product: &Product) -> Result<()> {
        self.bind()?;
        self.products.queue(product)
    }
}

/// Compiles all kernels for one GPU architecture to a cubin. FMA contraction is off: see `attention.cu`.
pub(super) fn compile(arch: &str) -> Result<Vec<u8>> {
    let failed = |log: String| CudaError::Compile { arch: arch.to_owned(), log };
    let source = CString::new(format!("{PRIMITIVES}{KERNELS}")).map_err(|error| failed(error.to_string()))?;
    let program =
        compiler::create_program(&source, Some(c"epitome.cu")).map_err(|error| failed(error.to_string()))?;
    let options = [format!("--gpu-architecture={arch}"), "--fmad=false".to_owned()];
    // SAFETY: `program` was just created and is destroyed at the end; the buffer has the size that was
    // queried.
    unsafe {
        let compiled = match compiler::compile_program(program, &options) {
            Ok(()) => {
                let mut size = 0;
                let sized = nvrtc::nvrtcGetCUBINSize(program, &raw mut size).result();
                let mut image = vec![0; size];
                sized
                    .and_then(|()| nvrtc::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result())
                    .map(|()| image)
                    .map_err(|error| failed(error.to_string()))
            }
            Err(error) => {
                let log = compiler::get_program_log(program).unwrap_or_default();
                let bytes: Vec<u8> = log.iter().map(|c| c.cast_unsigned()).collect();
                let log = CStr::from_bytes_until_nul(&bytes).unwrap_or_default().to_string_lossy();
                Err(failed(format!("{error}: {log}")))
            }
        };
        let destroyed = compiler::destroy_program(program);
        destroyed.map_err(|error| failed(error.to_string()))?;
        compiled
    }
}
