//! The architectures of GGUF files that can be run, and what runs each.

/// Those that the engine runs itself.
const OWN: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Those that run on candle, with the feature `more-decoders`.
pub(super) const ON_CANDLE: [&str; 4] = ["gemma3", "glm4", "phi2", "phi3"];

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
    pub(super) fn of(architecture: &str) -> Result<Self, String> {
        if OWN.contains(&architecture) {
            return Ok(Self::Engine);
        }
        let is_on_candle = ON_CANDLE.contains(&architecture);
        if is_on_candle && cfg!(feature = "more-decoders") {
            return Ok(Self::Candle);
        }
        let (own, others) = (OWN.join(", "), ON_CANDLE.join(", "));
        Err(match (is_on_candle, cfg!(feature = "more-decoders")) {
            (true, _) => format!(
                "the architecture is {architecture}, which needs a build with the cargo feature more-decoders; \
                 without it, {own} are supported"
            ),
            (false, true) => {
                format!("the architecture is {architecture}; {own} are supported, and on candle {others}")
            }
            (false, false) => format!(
                "the architecture is {architecture}; {own} are supported, and with the cargo feature \
                 more-decoders also {others}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_supported() {
        assert_eq!(RunBy::of("qwen3"), Ok(RunBy::Engine));
        let refused = RunBy::of("mamba").unwrap_err();
        for part in ["mamba", "llama, qwen2, qwen3", "gemma3, glm4, phi2, phi3"] {
            assert!(refused.contains(part), "{refused}");
        }
        match RunBy::of("gemma3") {
            Ok(by) => assert!(cfg!(feature = "more-decoders") && by == RunBy::Candle),
            Err(refused) => assert!(refused.contains("cargo feature more-decoders"), "{refused}"),
        }
    }
}
