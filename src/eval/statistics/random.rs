//! Random numbers for resampling: small, and identical on every machine.

/// SplitMix64: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Seeds the generator with a number.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeds the generator with names: different names give independent streams.
    pub fn named(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            // The length before each part keeps ("a", "bc") and ("ab", "c") apart.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let mut seed = [0; 8];
        hasher.finalize_xof().fill(&mut seed);
        Self(u64::from_le_bytes(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0. Uses multiplication and shift, with a bias below `bound` in
    /// 2^64 (Lemire, Fast Random Integer Generation in an Interval, ACM TOMACS 2019).
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_matches_the_reference() {
        // First outputs for seed 1234567, as listed with the reference implementations.
        let mut random = SplitMix64::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn draws_are_even_and_below_the_bound() {
        let mut random = SplitMix64::named(&["a", "b"]);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
        assert_ne!(SplitMix64::named(&["a", "bc"]).next_u64(), SplitMix64::named(&["ab", "c"]).next_u64());
    }
}
