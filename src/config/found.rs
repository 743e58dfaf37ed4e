//! What a file may set that was found in the working directory.
//!
//! Whoever wrote a checkout wrote that file too, and a command run in it reads it unasked. So it may
//! say how texts are compacted and how much work is done, but name no file, host, variable with a key
//! or model, open no port, spend nobody's money, and neither hide warnings nor log what passes
//! through. What is not listed here is refused, so that a new key is safe until somebody has thought
//! about it.

use toml::{Table, Value};

/// Sections that are about texts alone.
const SECTIONS: [&str; 3] = ["plan", "text", "place"];

/// Single keys of other sections.
const KEYS: [&str; 33] = [
    "serve.body_limit_bytes",
    "serve.bodies_bytes",
    "serve.body_wait_ms",
    "serve.deadline_ms",
    "serve.max_concurrent",
    "serve.shutdown_grace_ms",
    "serve.connect_timeout_ms",
    "rank.dense",
    "rank.dense_tokens",
    "rank.cross_tokens",
    "rank.fusion",
    "rank.lexical",
    "rank.lexical_block",
    "rank.dense_span",
    "rank.dense_block",
    "rank.cross_span",
    "rank.cross_window",
    "summarize.kind",
    "summarize.share",
    "summarize.leaf_tokens",
    "summarize.grounded_decoding",
    "cache.enabled",
    "cache.memory_mb",
    "models.precision",
    "models.decoder_precision",
    "models.prompt_lookup",
    "models.connect_timeout_ms",
    "eval.keep_answers",
    "eval.timeout_ms",
    "eval.attempts",
    "eval.prices",
    "measure.grid_gco2_per_kwh",
    "log.json",
];

/// Values that lead to a host although their keys may be set: a server that the environment names
/// would get the texts.
const REFUSED_VALUES: [(&str, &str); 2] = [("rank.dense", "openai"), ("summarize.kind", "openai")];

/// What `table`, the content of `file`, may not set, a line each.
pub(super) fn refused(table: &Table, file: &str) -> Vec<String> {
    let mut refused = Vec::new();
    for (section, value) in table {
        if SECTIONS.contains(&section.as_str()) {
            continue;
        }
        // What is no section is an error of its own.
        let Value::Table(keys) = value else { continue };
        for (key, value) in keys {
            let key = format!("{section}.{key}");
            let worded =
                REFUSED_VALUES.iter().find(|(own, word)| *own == key && value.as_str() == Some(word));
            let what = match worded {
                Some((_, word)) => format!("{key} = \"{word}\""),
                None if KEYS.contains(&key.as_str()) => continue,
                None => key,
            };
            refused.push(format!(
                "{file}: {what} may not be set by a file that was found in the working directory, whoever put it \
                 there; if you trust the file, give it: --config {file}"
            ));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Every key, whether a file that was found may set it. A new key needs a line here.
    #[test]
    fn every_key_has_been_thought_about() {
        let all = Table::try_from(Config::default()).unwrap();
        let refused: Vec<String> = refused(&all, "f").into_iter().map(|line| key_of(&line)).collect();
        let expected = [
            "bill.log",
            "bill.prices",
            "cache.dir",
            "cache.disk_mb",
            "embedder.concurrency",
            "embedder.deadline_ms",
            "embedder.key_env",
            "embedder.model",
            "embedder.url",
            "log.level",
            "measure.powercap",
            "models.cache",
            "models.decoder",
            "models.decoder_lora",
            "models.device",
            "models.dir",
            "models.embedder",
            "models.hub",
            "models.pip",
            "models.ranker",
            "rank.model",
            "render.templates",
            "serve.keys_env",
            "serve.listen",
            "serve.mcp",
            "serve.open",
            "serve.responses_compact",
            "serve.routes",
            "serve.tenants",
            "serve.upstream",
            "serve.websockets",
            "shadow.cooldown_s",
            "shadow.deadline_ms",
            "shadow.floor",
            "shadow.judge",
            "shadow.max_concurrent",
            "shadow.min_samples",
            "shadow.net_window",
            "shadow.reference",
            "shadow.sample",
            "shadow.window",
            "summarizer.concurrency",
            "summarizer.deadline_ms",
            "summarizer.key_env",
            "summarizer.model",
            "summarizer.url",
        ];
        assert_eq!(refused, expected);
        // No name on the list is that of a key that is gone.
        for key in KEYS {
            let (section, name) = key.split_once('.').unwrap();
            assert!(all[section].as_table().unwrap().contains_key(name), "{key}");
        }
        assert!(SECTIONS.iter().all(|section| all.contains_key(*section)));
    }

    fn key_of(line: &str) -> String {
        line.strip_prefix("f: ").unwrap().split(' ').next().unwrap().to_owned()
    }

    #[test]
    fn values_that_lead_to_a_host_are_refused_and_others_are_not() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let lines = refused(&table("[rank]\ndense = \"openai\"\n[summarize]\nkind = \"openai\""), "f");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("rank.dense = \"openai\" may not") && lines[0].ends_with("--config f"));
        let harmless =
            "[rank]\ndense = \"none\"\n[summarize]\nkind = \"none\"\n[plan]\nbudget = 700\nnew = 1";
        assert!(refused(&table(harmless), "f").is_empty());
        assert_eq!(refused(&table("[models]\nnew = 1\n[new]\nx = 1"), "f").len(), 2);
    }
}
