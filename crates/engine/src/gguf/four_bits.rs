//! The 4-bit types of GGUF files, block by block (ggml-common.h of llama.cpp).

use candle_core::quantized::GgmlDType;

use crate::kernels::{BLOCK, Block4};

/// Bytes per block of Q4_0, of Q4_1, and of 256 values of Q4_K.
const Q4_0: usize = 2 + BLOCK / 2;
const Q4_1: usize = 4 + BLOCK / 2;
const Q4_K: usize = 4 + 12 + 128;

/// The values of Q4_0 blocks.
pub(crate) fn q4_0_values(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes
        .as_chunks::<Q4_0>()
        .0
        .iter()
        .map(q4_0)
        .flat_map(|Block4 { scale, quants, .. }| quants.map(|quant| (f32::from(quant) - 8.0) * scale))
}

/// Bytes of a row of so many values in Q4_0; `None` if they are no whole blocks.
pub(crate) fn q4_0_bytes(values: usize) -> Option<usize> {
    values.is_multiple_of(BLOCK).then_some(values / BLOCK * Q4_0)
}

/// Whether [`blocks`] supports the type.
pub(super) fn knows(kind: GgmlDType) -> bool {
    matches!(kind, GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q4K)
}

/// The blocks in a tensor's bytes; `None` for an unsupported type.
pub(super) fn blocks(kind: GgmlDType, bytes: &[u8]) -> Option<Vec<Block4>> {
    match kind {
        GgmlDType::Q4_0 => Some(bytes.as_chunks::<Q4_0>().0.iter().map(q4_0).collect()),
        GgmlDType::Q4_1 => Some(bytes.as_chunks::<Q4_1>().0.iter().map(q4_1).collect()),
        GgmlDType::Q4K => Some(bytes.as_chunks::<Q4_K>().0.iter().flat_map(q4_k).collect()),
        _ => None,
    }
}

fn half(low: u8, high: u8) -> f32 {
    half::f16::from_le_bytes([low, high]).to_f32()
}

/// The low nibbles of all bytes, then the high ones.
fn halves(bytes: &[u8; BLOCK / 2]) -> [u8; BLOCK] {
    std::array::from_fn(|at| if at < BLOCK / 2 { bytes[at] & 15 } else { bytes[at - BLOCK / 2] >> 4 })
}

fn q4_0([d0, d1, quants @ ..]: &[u8; Q4_0]) -> Block4 {
    let scale = half(*d0, *d1);
    Block4 { scale, least: -8.0 * scale, quants: halves(quants) }
}

fn q4_1([d0, d1, m0, m1, quants @ ..]: &[u8; Q4_1]) -> Block4 {
    Block4 { scale: half(*d0, *d1), least: half(*m0, *m1), quants: halves(quants) }
}

/// Eight blocks whose scales and minimums are 6-bit integers times two common factors.
fn q4_k([d0, d1, m0, m1, rest @ ..]: &[u8; Q4_K]) -> [Block4; 8] {
    let (scale, least) = (half(*d0, *d1), half(*m0, *m1));
    let (packed, quants) = rest.split_at(12);
    std::array::from_fn(|block| {
        let (own_scale, own_least) = if block < 4 {
            (packed[block] & 63, packed[block + 4] & 63)
        } else {
            (
                packed[block + 4] & 15 | packed[block - 4] >> 6 << 4,
                packed[block + 4] >> 4 | packed[block] >> 6 << 4,
            )
        };
        let start = block / 2 * BLOCK;
        let own = |at: usize| {
            if block.is_multiple_of(2) { quants[start + at] & 15 } else { quants[start + at] >> 4 }
        };
        Block4 {
            scale: scale * f32::from(own_scale),
            least: -(least * f32::from(own_least)),
            quants: std::array::from_fn(own),
        }
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, quantized::QTensor};

    use super::*;

    #[test]
    fn values_match_those_read_by_candle() {
        let values: Vec<f32> = (0..2048).map(|at| ((at * 7919) % 1009) as f32 / 300.0 - 1.0).collect();
        let tensor = Tensor::from_slice(&values, (4, 512), &Device::Cpu).unwrap();
        for kind in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q4K] {
            let quantized = QTensor::quantize(&tensor, kind).unwrap();
            let theirs: Vec<f32> =
                quantized.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let blocks = blocks(kind, &quantized.data().unwrap()).unwrap();
            let ours = blocks.iter().flat_map(|block| {
                block.quants.map(|quant| f32::from(quant).mul_add(block.scale, block.least))
            });
            assert_eq!(blocks.len() * BLOCK, theirs.len());
            for (ours, theirs) in ours.zip(&theirs) {
                assert!((ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0), "{kind:?}: {ours} {theirs}");
            }
        }
        assert!(!knows(GgmlDType::Q6K) && blocks(GgmlDType::Q6K, &[]).is_none());
    }
}
