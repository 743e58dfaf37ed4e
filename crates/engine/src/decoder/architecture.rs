//! The architectures of GGUF files that can be run, and what runs each.

/// Those that the engine runs itself.
const OWN: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Those that run on candle.
#[cfg(feature = "more-decoders")]
pub(super) const ON_CANDLE: [&str; 4] = ["gemma3", "glm4", "phi2", "phi3"];
#[cfg(not(feature = "more-decoders"))]
pub(super) const ON_CANDLE: [&str; 1] = ["gemma3"];

/// Those of them that need the feature `more-decoders`.
const WITH_FEATURE: [&str; 3] = ["glm4", "phi2", "phi3"];

/// What runs a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunBy {
    /// The engine's own forward pass.
    Engine,
    /// Candle: on the processor only, one sequence after the other, without prefixes shared between prompts,
    /// prompt lookup or attention.
    Candle,
}

impl RunBy {
    /// `engine` or `candle`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Candle => "candle",
        }
    }

    /// What runs a file of this architecture, or why nothing does.
    pub(crate) fn of(architecture: &str) -> Result<Self, String> {
        if OWN.contains(&architecture) {
            return Ok(Self::Engine);
        }
        if ON_CANDLE.contains(&architecture) {
            return Ok(Self::Candle);
        }
        let known = [&OWN[..], &ON_CANDLE].concat().join(", ");
        Err(if WITH_FEATURE.contains(&architecture) {
            format!(
                "the architecture is {architecture}, which needs a build with the cargo feature more-decoders; \
                 without it, {known} are supported"
            )
        } else {
            format!("the architecture is {architecture}; {known} are supported")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_supported() {
        assert_eq!(RunBy::of("qwen3"), Ok(RunBy::Engine));
        assert_eq!(RunBy::of("gemma3"), Ok(RunBy::Candle));
        let refused = RunBy::of("mamba").unwrap_err();
        assert!(refused.contains("mamba; llama, qwen2, qwen3, gemma3"), "{refused}");
        match RunBy::of("phi3") {
            Ok(by) => assert!(cfg!(feature = "more-decoders") && by == RunBy::Candle),
            Err(refused) => assert!(refused.contains("cargo feature more-decoders"), "{refused}"),
        }
    }
}
