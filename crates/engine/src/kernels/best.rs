//! Selects the kernels for this CPU.

use std::sync::OnceLock;

use super::{Isa, quantized};

/// The best instruction set of this CPU. Sets whose small products differ from the portable ones, because the
/// CPU or an emulator computes wrong results, are skipped.
pub(crate) fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(|| {
        for isa in Isa::present().into_iter().rev() {
            if quantized::matches_portable_kernels(isa) {
                return isa;
            }
            tracing::warn!("the {isa:?} instructions of this processor give wrong results; not used");
        }
        Isa::Portable
    })
}
