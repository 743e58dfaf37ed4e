//! Which kernels this processor gets.

use std::sync::OnceLock;

use super::{Isa, quantized};

/// The best instructions that this processor has. A set whose products of small matrices are not exactly the plain
/// ones, on a processor or an emulator that computes wrong, is passed over.
pub(crate) fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(|| {
        for isa in Isa::present().into_iter().rev() {
            if quantized::agree_with_the_plain_ones(isa) {
                return isa;
            }
            tracing::warn!("the {isa:?} instructions of this processor give wrong results; not used");
        }
        Isa::Portable
    })
}
