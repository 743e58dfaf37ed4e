//! The tokens that an answer reports, by price class.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Dialect;

/// Tokens of one request and its answer. The classes do not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt that were neither read from the provider's cache nor written to it.
    pub input: u64,
    /// Tokens of the prompt that were read from the cache.
    #[serde(default)]
    pub cached: u64,
    /// Tokens of the prompt that were written to the cache for the shorter time: 5 minutes at Anthropic, 30 at
    /// OpenAI, whose earlier models (before GPT-5.6) do not report writes.
    #[serde(default)]
    pub written_5m: u64,
    /// Tokens of the prompt that were written to the cache for an hour.
    #[serde(default)]
    pub written_1h: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
}

impl Usage {
    /// All tokens of the prompt.
    pub fn prompt(&self) -> u64 {
        [self.input, self.cached, self.written()].into_iter().fold(0, u64::saturating_add)
    }

    /// Tokens written to the cache.
    pub fn written(&self) -> u64 {
        self.written_5m.saturating_add(self.written_1h)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let sum = |one: &mut u64, other: u64| *one = one.saturating_add(other);
        sum(&mut self.input, other.input);
        sum(&mut self.cached, other.cached);
        sum(&mut self.written_5m, other.written_5m);
        sum(&mut self.written_1h, other.written_1h);
        sum(&mut self.output, other.output);
    }
}

/// What an answer has reported so far, in the dialect's own terms. A later report replaces an earlier one field
/// by field: Anthropic's `message_delta` is cumulative and may leave out what `message_start` has said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reported {
    prompt: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    written: Option<u64>,
    written_5m: Option<u64>,
    written_1h: Option<u64>,
    output: Option<u64>,
}

impl Reported {
    /// Takes in the JSON of one usage object; what cannot be read is left out.
    pub(super) fn add(&mut self, dialect: Dialect, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
        let later = |field: &mut Option<u64>, paths: &[&str]| {
            let found = paths.iter().find_map(|path| value.pointer(path).and_then(Value::as_u64));
            *field = found.or(*field);
        };
        match dialect {
            Dialect::Chat => {
                later(&mut self.prompt, &["/prompt_tokens"]);
                // The second is DeepSeek's.
                later(
                    &mut self.cached,
                    &["/prompt_tokens_details/cached_tokens", "/prompt_cache_hit_tokens"],
                );
                later(
                    &mut self.written,
                    &["/prompt_tokens_details/cache_write_tokens", "/cache_write_tokens"],
                );
                later(&mut self.output, &["/completion_tokens"]);
                later(&mut self.total, &["/total_tokens"]);
            }
            Dialect::Messages => {
                later(&mut self.prompt, &["/input_tokens"]);
                later(&mut self.cached, &["/cache_read_input_tokens"]);
                later(&mut self.written, &["/cache_creation_input_tokens"]);
                later(&mut self.written_5m, &["/cache_creation/ephemeral_5m_input_tokens"]);
                later(&mut self.written_1h, &["/cache_creation/ephemeral_1h_input_tokens"]);
                later(&mut self.output, &["/output_tokens"]);
            }
            Dialect::Responses => {
                later(&mut self.prompt, &["/input_tokens"]);
                later(&mut self.cached, &["/input_tokens_details/cached_tokens"]);
                later(&mut self.written, &["/input_tokens_details/cache_write_tokens"]);
                later(&mut self.output, &["/output_tokens"]);
            }
        }
    }

    /// The tokens by class; `None` if none were reported.
    pub(super) fn usage(&self, dialect: Dialect) -> Option<Usage> {
        if *self == Self::default() {
            return None;
        }
        let prompt = self.prompt.unwrap_or(0);
        let cached = self.cached.unwrap_or(0);
        let output = self.output.unwrap_or(0);
        // xAI counts reasoning in the total alone.
        let output = match self.total {
            Some(total) if self.prompt.is_some() && total >= output => {
                output.max(total.saturating_sub(prompt))
            }
            _ => output,
        };
        // Without a breakdown all writes are of the shorter time, which is the default of the API.
        let written_1h = self.written_1h.unwrap_or(0);
        let written_5m = match self.written {
            Some(written) => written.saturating_sub(written_1h),
            None => self.written_5m.unwrap_or(0),
        };
        Some(match dialect {
            // `input_tokens` counts only what is behind the last cache breakpoint.
            Dialect::Messages => Usage { input: prompt, cached, written_5m, written_1h, output },
            // The prompt includes what was read and written; a server that says otherwise counts nothing twice.
            Dialect::Chat | Dialect::Responses => {
                let cached = cached.min(prompt);
                let written_5m = written_5m.min(prompt.saturating_sub(cached));
                let input = prompt.saturating_sub(cached).saturating_sub(written_5m);
                Usage { input, cached, written_5m, written_1h: 0, output }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: Dialect, reports: &[&str]) -> Option<Usage> {
        let mut reported = Reported::default();
        reports.iter().for_each(|report| reported.add(dialect, report.as_bytes()));
        reported.usage(dialect)
    }

    #[test]
    fn openai_counts_the_cache_within_the_prompt() {
        let chat = r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
            "prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0,"cache_write_tokens":80},
            "completion_tokens_details":{"reasoning_tokens":128}}"#;
        let expected = Usage { input: 6, cached: 1920, written_5m: 80, written_1h: 0, output: 300 };
        assert_eq!(read(Dialect::Chat, &[chat]), Some(expected));
        assert_eq!(expected.prompt(), 2006);
        let responses =
            r#"{"input_tokens":2006,"input_tokens_details":{"cached_tokens":1920},"output_tokens":5}"#;
        let expected = Usage { input: 86, cached: 1920, output: 5, ..Usage::default() };
        assert_eq!(read(Dialect::Responses, &[responses]), Some(expected));
        let deepseek = r#"{"prompt_tokens":10,"prompt_cache_hit_tokens":4,"completion_tokens":1}"#;
        assert_eq!(read(Dialect::Chat, &[deepseek]).unwrap().cached, 4);
        // xAI, with 200 tokens of reasoning beside the completion.
        let grok = r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":241,
            "completion_tokens_details":{"reasoning_tokens":200}}"#;
        assert_eq!(read(Dialect::Chat, &[grok]).unwrap().output, 209);
        for odd in [
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":5}"#,
            r#"{"completion_tokens":9,"total_tokens":241}"#,
        ] {
            assert_eq!(read(Dialect::Chat, &[odd]).unwrap().output, 9, "{odd}");
        }
        // A server whose numbers do not fit together.
        let odd =
            r#"{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":20,"cache_write_tokens":7}}"#;
        assert_eq!(read(Dialect::Chat, &[odd]).unwrap().prompt(), 10);
    }

    #[test]
    fn anthropic_counts_the_cache_beside_the_input() {
        let start = r#"{"input_tokens":4,"cache_creation_input_tokens":1500,"cache_read_input_tokens":20000,
            "cache_creation":{"ephemeral_5m_input_tokens":1000,"ephemeral_1h_input_tokens":500},"output_tokens":1,
            "service_tier":"standard"}"#;
        let delta = r#"{"output_tokens":89}"#;
        let expected = Usage { input: 4, cached: 20_000, written_5m: 1000, written_1h: 500, output: 89 };
        assert_eq!(read(Dialect::Messages, &[start, delta]), Some(expected));
        // Without the breakdown, and with null.
        let plain = r#"{"input_tokens":4,"cache_creation_input_tokens":7,"cache_read_input_tokens":null}"#;
        let expected = Usage { input: 4, written_5m: 7, ..Usage::default() };
        assert_eq!(read(Dialect::Messages, &[plain]), Some(expected));
        assert_eq!(read(Dialect::Messages, &["null", "{}", "{", "[1]"]), None);
    }
}
