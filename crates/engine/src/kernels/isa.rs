//! The instruction sets of this CPU.

/// The instruction sets with kernels, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Isa {
    /// The baseline of the architecture.
    Portable,
    /// AVX2 and FMA: x86-64 since 2013.
    Avx2,
    /// AVX-512 with its integer dot products (VNNI).
    Avx512,
}

impl Isa {
    /// Its common name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "AVX2",
            Isa::Avx512 => "AVX-512 VNNI",
        }
    }

    /// The sets that this CPU supports, in ascending order.
    pub(crate) fn present() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut present = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                present.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                {
                    present.push(Self::Avx512);
                }
            }
        }
        present
    }
}
