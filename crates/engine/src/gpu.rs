//! What is known of a GPU.

/// A GPU that models can run on.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// The highest CUDA version that its driver supports.
    pub driver: (i32, i32),
    /// The versions of libnvrtc and libcublasLt.
    pub libraries: [String; 2],
    /// Free memory in bytes.
    pub free: usize,
    /// Total memory in bytes.
    pub total: usize,
    /// Multiply-adds per second in bf16.
    pub multiply_adds: f64,
    /// Bytes read from or written to memory per second.
    pub bytes: f64,
    /// Whether its results match the CPU's; the error describes the difference.
    pub check: Result<(), String>,
}
