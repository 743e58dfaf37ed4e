//! A machine on the CPU: the kernels' own sources, compiled as C++ against `emulation.h`.

use std::{
    collections::HashMap,
    ffi::c_void,
    fs,
    process::Command,
    sync::{Arc, LazyLock, Mutex},
};

use libloading::Library;

use crate::{
    cuda::{
        CudaError,
        device::KERNELS,
        machine::{Argument, Machine, Product, Target, narrow, widen},
    },
    kernels::{FloatMatrix, Panels},
};

type Run = unsafe extern "C" fn(i32, i32, i32, i32, *mut *mut c_void);

/// Its memory is this process's memory.
struct Emulated {
    library: Library,
    /// By address, in 16-byte words for alignment.
    memory: Mutex<HashMap<u64, Vec<u128>>>,
    /// Shared memory and thread indices are statics in the sources, so only one kernel may run at a time.
    turn: Mutex<()>,
}

/// Needs a C++ compiler; without one the tests fail rather than pass vacuously.
pub(super) fn machine() -> Arc<dyn Machine> {
    static MACHINE: LazyLock<Arc<Emulated>> = LazyLock::new(|| Arc::new(build()));
    MACHINE.clone()
}

fn build() -> Emulated {
    let names = KERNELS.split("__global__ void").skip(1).filter_map(|after| {
        let after = after.trim_start();
        let name = after.split('(').next()?.trim();
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| name.to_owned())
    });
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("__launch_bounds__")).collect();
    for width in [16, 32, 64, 128] {
        names.extend(["attention", "attention_split", "join"].map(|name| format!("{name}_{width}")));
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
    fs::write(folder.path().join("emulation.h"), include_str!("emulation.h")).unwrap();
    let exports: String =
        names.iter().filter(|name| *name != "join_").map(|name| format!("EXPORT({name})\n")).collect();
    fs::write(&source, format!("#include \"emulation.h\"\n{KERNELS}\n{exports}")).unwrap();
    let done = Command::new("c++")
        // No FMA contraction, as on the device.
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-Wno-attributes", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .expect("the emulated machine needs a C++ compiler that is called c++");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // SAFETY: the library was just built from our own sources, and opening it runs no code.
    #[allow(unsafe_code)]
    let library = unsafe { Library::new(&library) }.unwrap();
    Emulated { library, memory: Mutex::default(), turn: Mutex::default() }
}

/// A slice of this many values at an address.
///
/// # Safety
///
/// The memory must hold that many values, and nobody may write to them meanwhile.
#[allow(unsafe_code)]
unsafe fn at<'a, T>(address: u64, count: usize) -> &'a mut [T] {
    // SAFETY: as required of the caller.
    unsafe { std::slice::from_raw_parts_mut(address as *mut T, count) }
}

#[allow(unsafe_code)]
impl Machine for Emulated {
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError> {
        // Filled with NaN patterns of every format, so that reads of uninitialised memory show up.
        let memory = vec![u128::MAX; bytes.div_ceil(16)];
        let address = memory.as_ptr() as u64;
        self.memory.lock().unwrap().insert(address, memory);
        Ok(address)
    }

    fn free(&self, address: u64) {
        self.memory.lock().unwrap().remove(&address).unwrap();
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        // SAFETY: see `Machine::write`.
        unsafe { at::<u8>(address, bytes.len()) }.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        // SAFETY: see `Machine::read`.
        bytes.copy_from_slice(unsafe { at::<u8>(address, bytes.len()) });
        Ok(())
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        let _turn = self.turn.lock().unwrap();
        let mut values: Vec<u64> = arguments.iter().map(|argument| argument.0).collect();
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let [x, y, z] = grid.map(|size| i32::try_from(size).unwrap());
        // SAFETY: the sources export all kernels with this signature; for the arguments see
        // `Machine::launch`.
        unsafe {
            let run = self.library.get::<Run>(format!("run_{kernel}").as_bytes()).unwrap();
            run(x, y, z, threads as i32, pointers.as_mut_ptr());
        }
        Ok(())
    }

    fn product(&self, product: &Product) -> Result<(), CudaError> {
        let Product { rows, inputs, outputs, into, .. } = *product;
        // SAFETY: see `Product`.
        let (x, weight) =
            unsafe { (at::<u16>(product.x, rows * inputs), at::<u16>(product.weight, outputs * inputs)) };
        let wide = |values: &[u16]| values.iter().map(|value| widen(*value)).collect::<Vec<f32>>();
        let mut out = vec![0.0; rows * outputs];
        let (matrix, x) = (FloatMatrix::<f32>::new(&wide(weight), inputs), wide(x));
        matrix.product(&matrix.rows(&x), &mut out);
        // SAFETY: as above.
        unsafe {
            match into {
                Target::Narrow => {
                    let place = at::<u16>(product.out, out.len());
                    place.iter_mut().zip(&out).for_each(|(place, value)| *place = narrow(*value));
                }
                Target::Wide => at::<f32>(product.out, out.len()).copy_from_slice(&out),
                Target::Sum => {
                    let place = at::<f32>(product.out, out.len());
                    place.iter_mut().zip(&out).for_each(|(place, value)| *place += value);
                }
            }
        }
        Ok(())
    }
}
