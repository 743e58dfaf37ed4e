//! What produced the results: every report states it, so that they can be reproduced.

use serde::Serialize;

use super::format;
use crate::eval::record::{DataSource, Header};

/// Hash digits shown to people.
const DIGITS: usize = 16;

/// A run's header, with hashes in place of long texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// BLAKE3 of the suite's text.
    pub suite_hash: String,
    /// Version of epitome.
    pub version: &'a str,
    /// Commit of the source tree; empty if unknown.
    pub commit: &'a str,
    /// The command line.
    pub command: &'a str,
    /// BLAKE3 of the effective configuration.
    pub config_hash: String,
    /// `name@hash` of every model.
    pub models: &'a [String],
    /// Data, with hashes.
    pub data: &'a [DataSource],
    /// CPU, cores, memory, GPU.
    pub hardware: &'a str,
    /// Seed.
    pub seed: u64,
    /// Start of the run, in Unix seconds.
    pub started: u64,
}

impl<'a> Provenance<'a> {
    /// The provenance of a header's run.
    pub fn of(header: &'a Header) -> Self {
        let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        Self {
            suite: &header.suite,
            suite_hash: hash(&header.suite_toml),
            version: &header.version,
            commit: &header.commit,
            command: &header.command,
            config_hash: hash(&header.config),
            models: &header.models,
            data: &header.data,
            hardware: &header.hardware,
            seed: header.seed,
            started: header.started,
        }
    }

    /// Name and value pairs for people.
    pub fn facts(&self) -> Vec<(String, String)> {
        let known = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        let mut facts = vec![
            ("suite".into(), format!("{} ({})", known(self.suite), short(&self.suite_hash))),
            ("command".into(), known(self.command)),
            ("epitome".into(), format!("{}, commit {}", known(self.version), known(self.commit))),
            ("configuration".into(), short(&self.config_hash).to_owned()),
            ("hardware".into(), known(self.hardware)),
            ("seed".into(), self.seed.to_string()),
            ("started".into(), format::date(self.started)),
        ];
        let models: Vec<String> = self.models.iter().map(|model| short_model(model)).collect();
        facts.push(("models".into(), if models.is_empty() { "none".into() } else { models.join(", ") }));
        for source in self.data {
            let DataSource { task, path, hash, rows } = source;
            let hash = if hash.is_empty() { "hash unknown" } else { short(hash) };
            facts.push((format!("data {task}"), format!("{path} ({hash}), {rows} rows")));
        }
        facts
    }
}

fn short(hash: &str) -> &str {
    hash.get(..DIGITS).unwrap_or(hash)
}

fn short_model(model: &str) -> String {
    match model.rsplit_once('@') {
        Some((name, hash)) => format!("{name}@{}", short(hash)),
        None => model.to_owned(),
    }
}
