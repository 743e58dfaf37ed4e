//! What produced the records, and whether two runs are the same.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    config::{self, Config},
    eval::{
        record::{DataSource, Header},
        suite::Suite,
    },
    measure::hardware,
};

/// The commit that the binary was built from, if the build environment named one.
const BUILT_FROM: Option<&str> = option_env!("EPITOME_COMMIT");

/// The header of a run that starts now. `suite` is the suite after the command line has selected tasks, arms
/// and rows; `files` is what arms and readers report as their dependencies.
pub fn make(
    suite: &Suite,
    config: &Config,
    mut models: Vec<String>,
    files: Vec<String>,
    data: Vec<DataSource>,
) -> Header {
    models.sort();
    models.dedup();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Header {
        suite: suite.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit(),
        command: command(),
        config: config.to_toml(),
        suite_toml: toml::to_string(suite).unwrap_or_default(),
        models,
        files,
        data,
        hardware: hardware::describe(Path::new(&config.measure.powercap)),
        seed: suite.seed,
        started,
    }
}

/// The command line, quoted for a shell.
fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%@+".contains(c);
    env::args_os()
        .enumerate()
        .map(|(index, argument)| {
            let argument = argument.to_string_lossy().into_owned();
            if index == 0 {
                let name = Path::new(&argument).file_name().map(|name| name.to_string_lossy().into_owned());
                return name.unwrap_or(argument);
            }
            if !argument.is_empty() && argument.chars().all(plain) {
                argument
            } else {
                format!("'{}'", argument.replace('\'', "'\\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The commit of the source tree that the command runs in, with `-dirty` if tracked files have changes;
/// outside a source tree, the commit of the build, if known.
fn commit() -> String {
    here().or_else(|| BUILT_FROM.map(str::to_owned)).unwrap_or_default()
}

fn here() -> Option<String> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let manifest = std::fs::read_to_string(Path::new(&root).join("Cargo.toml")).ok()?;
    let manifest: toml::Table = manifest.parse().ok()?;
    let ours = manifest.get("package")?.get("name")?.as_str()? == env!("CARGO_PKG_NAME");
    let head = git(&["rev-parse", "HEAD"]).filter(|_| ours)?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if dirty.is_empty() { head } else { format!("{head}-dirty") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The parts of a header that determine the records.
#[derive(Debug, PartialEq)]
pub(in crate::eval) struct Relevant {
    fields: [(&'static str, String); 8],
}

impl Relevant {
    /// The relevant parts of a header.
    pub(in crate::eval) fn of(header: &Header) -> Self {
        // Destructured, so that a new field cannot be forgotten. Command, machine and time may differ.
        let Header {
            suite: _,
            version,
            commit,
            command: _,
            config,
            suite_toml,
            models,
            files,
            data,
            hardware: _,
            seed,
            started: _,
        } = header;
        Self {
            fields: [
                ("suite, or selection of tasks, arms, readers and rows", suite_toml.clone()),
                ("version", version.clone()),
                ("commit", commit.clone()),
                ("configuration", relevant_config(config)),
                ("set of models", models.join("\n")),
                ("model file or template", files.join("\n")),
                ("set of rows", format!("{data:?}")),
                ("seed", seed.to_string()),
            ],
        }
    }
}

/// The names of the fields that differ.
pub(in crate::eval) fn differences(one: &Relevant, other: &Relevant) -> Vec<&'static str> {
    let pairs = one.fields.iter().zip(&other.fields);
    pairs.filter(|(one, other)| one.1 != other.1).map(|(one, _)| one.0).collect()
}

/// The configuration without settings that do not affect records.
fn relevant_config(text: &str) -> String {
    let Ok(config) = toml::from_str::<Config>(text) else { return text.to_owned() };
    let eval = config::Eval { prices: config.eval.prices.clone(), ..config::Eval::default() };
    let grid_gco2_per_kwh = config.measure.grid_gco2_per_kwh;
    let measure = config::Measure { grid_gco2_per_kwh, ..config::Measure::default() };
    let (serve, shadow, log) = Default::default();
    // Models are identified by their hashes, wherever their files are.
    let cache = config::CacheConfig { dir: String::new(), ..config.cache.clone() };
    let models = config::Models { dir: String::new(), ..config.models.clone() };
    Config { serve, shadow, measure, log, eval, cache, models, ..config }.to_toml()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_affect_records_must_match() {
        let mut config = Config::default();
        let header = |config: &Config| Header { config: config.to_toml(), ..Header::default() };
        let first = header(&config);
        config.log.level = "debug".into();
        config.eval.timeout_ms = 1;
        config.serve.deadline_ms = 5;
        config.cache.dir = "here".into();
        config.models.dir = "there".into();
        let mut second = Header { started: 7, command: "x".into(), hardware: "y".into(), ..header(&config) };
        assert!(differences(&Relevant::of(&first), &Relevant::of(&second)).is_empty());
        config.rank.cross_tokens = 0;
        second.config = config.to_toml();
        second.seed = 3;
        second.files = vec!["arm epitome: ranker 1".into()];
        assert_eq!(
            differences(&Relevant::of(&first), &Relevant::of(&second)),
            ["configuration", "model file or template", "seed"]
        );
    }
}
