//! The arithmetic of the models: element-wise functions, products with weights, attention.
//!
//! Every function has one order of operations, whatever the CPU: sums run sequentially over the inner
//! dimension, vector lanes correspond to outputs, and integers add exactly. So a result depends neither on
//! the rest of the batch nor on the instruction set, and the same input gives the same bytes on every
//! machine. Only the speed differs.
//!
//! On the CPU, `unsafe` is confined to this module: to call functions compiled for an instruction set after
//! checking that the CPU supports it, to load vectors from arrays, and to lend a piece of work to threads
//! that the caller waits for.

mod attention;
mod best;
mod causal;
mod float;
mod isa;
mod mass;
mod panels;
mod quantized;
mod rows;
mod speed;
mod team;

pub(crate) use attention::{Heads, attend};
pub(crate) use best::best;
pub(crate) use causal::{HeadBlock, KV_BLOCK, Query, attend_causal};
pub(crate) use float::{Bf16, FloatMatrix};
pub(crate) use isa::Isa;
pub(crate) use mass::attention_mass;
pub(crate) use panels::Panels;
pub(crate) use quantized::{BLOCK, Block4, Int4Matrix, Int8Matrix};
pub use speed::{Rates, rates};
pub(crate) use team::each_chunk;

pub(crate) use rows::{add_gelu, dot, layer_norm, rms_norm, silu_product};

/// Outputs computed in parallel: the lanes of one or two vectors.
pub(crate) const LANES: usize = 16;

/// Compiles a function once per instruction set and calls the best one that this machine supports.
macro_rules! for_each_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn portable($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $out)? {
                portable($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) $(-> $out)? {
                portable($($arg),*)
            }

            match $crate::kernels::best() {
                // SAFETY: `best` has detected these instructions on this CPU.
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                $crate::kernels::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                $crate::kernels::Isa::Avx512 => unsafe { avx512($($arg),*) },
                _ => portable($($arg),*),
            }
        }
    };
}
pub(crate) use for_each_isa;
