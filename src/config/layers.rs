//! The layers of the configuration: file, environment and flags over the defaults; and what is wrong
//! with the result.

use std::{env, ffi::OsString, fs, path::Path, path::PathBuf};

use epitome_compactor::Budget;
use epitome_compactor::config::failed;
use epitome_engine::config::DEFAULT_DECODER;
use thiserror::Error;
use toml::{Table, Value};

use super::{Config, DenseKind, FusionKind, ResultsBudget, SummarizerKind, SummaryShare, found};

/// What is wrong with the configuration, all of it at once.
#[derive(Debug, Error)]
#[error("the configuration has {} problem(s):\n{}", .0.len(), .0.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// The prefix of every environment variable.
const PREFIX: &str = "EPITOME_";
/// The table whose keys are the user's own.
const OPEN: &str = "eval.prices";
/// Variables that are no configuration keys; the image takes the keys of clients from the second.
const OTHER_VARIABLES: [&str; 2] = ["EPITOME_CONFIG", "EPITOME_KEYS"];
/// The file that is read where none is given.
const FOUND: &str = "epitome.toml";

impl Config {
    /// Reads `file` (or `epitome.toml` in the working directory, if it is there), then the
    /// environment, then `flags` (pairs of a dotted key and a value), and validates the whole. The file
    /// in the working directory may set only what leads to no file, no host and no expense.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every unknown key, unreadable value and value out of range, and what a file
    /// that was not given may not set.
    pub fn load(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self, ConfigError> {
        // A name that is not UTF-8 is none of ours; a value that is not is refused by its key.
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        let text = |(name, value): (String, OsString)| (name, value.to_string_lossy().into_owned());
        Self::load_with(file, env::vars_os().filter_map(named).map(text).collect(), flags)
    }

    /// As [`Config::load`], with the environment given.
    pub fn load_with(
        file: Option<&Path>,
        environment: Vec<(String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let defaults = table_of(&Config::default());
        let mut merged = defaults.clone();

        let found = file.is_none();
        let default_file = PathBuf::from(FOUND);
        let file = file.map(Path::to_owned).or_else(|| default_file.exists().then_some(default_file));
        if let Some(path) = file {
            match fs::read_to_string(&path) {
                Ok(text) => match text.parse::<Table>() {
                    Ok(table) => {
                        if found {
                            problems.extend(found::refused(&table, FOUND));
                        }
                        overlay(&mut merged, &table, "", &path.display().to_string(), &mut problems);
                    }
                    Err(error) => {
                        problems.push(format!("{}: {}", path.display(), error.to_string().trim_end()))
                    }
                },
                Err(error) => problems.push(format!("{}: {error}", path.display())),
            }
        }

        let keys = keys_of(&defaults);
        let sections: Vec<String> =
            defaults.keys().map(|section| variable_of(&format!("{section}."))).collect();
        let mut environment = environment;
        environment.sort();
        for (name, value) in environment {
            if !name.starts_with(PREFIX) || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            match keys.iter().find(|key| variable_of(key) == name) {
                Some(key) => set(&mut merged, &defaults, key, &value, &name, &mut problems),
                // A container platform sets variables of its own for a service named `epitome`.
                None if !sections.iter().any(|section| name.starts_with(section)) => {}
                None => problems.push(format!("{name}: no key has this variable")),
            }
        }
        for (key, value) in flags {
            if keys.contains(key) {
                set(&mut merged, &defaults, key, value, key, &mut problems);
            } else {
                problems.push(format!("{key}: no such key"));
            }
        }

        let config = match merged.try_into::<Config>() {
            Ok(config) => config,
            Err(error) => {
                problems.push(error.to_string().trim_end().to_owned());
                return Err(ConfigError(problems));
            }
        };
        problems.extend(config.problems());
        if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
    }

    /// Values out of range, each with its key.
    fn problems(&self) -> Vec<String> {
        let (summarizer, embedder) = (self.uses_summarizer(), self.rank.dense == DenseKind::OpenAi);
        let sections = [
            self.serve.problems(),
            self.text.problems(),
            self.summarize.problems(),
            self.place.problems(),
            self.rank.problems(),
            self.shadow.problems(),
            self.eval.problems(),
            self.measure.problems(),
            self.plan.problems(),
            self.models_problems(),
        ];
        let servers = [
            self.summarizer.problems("summarizer", "summarize.kind", summarizer),
            self.embedder.problems("embedder", "rank.dense", embedder),
        ];
        sections.into_iter().flatten().map(str::to_owned).chain(servers.into_iter().flatten()).collect()
    }

    /// Whether the server in `summarizer` writes.
    fn uses_summarizer(&self) -> bool {
        match self.summarize.kind {
            SummarizerKind::OpenAi => true,
            SummarizerKind::Auto => !self.summarizer.url.is_empty(),
            SummarizerKind::Extractive | SummarizerKind::Abstractive | SummarizerKind::None => false,
        }
    }

    fn models_problems(&self) -> Vec<&'static str> {
        let models = &self.models;
        let fitted = models.decoder == DEFAULT_DECODER && models.decoder_lora.is_empty();
        failed([
            (
                models.decoder_lora.iter().all(|path| !path.is_empty()),
                "models.decoder_lora: an empty path; name the directories of the adapters",
            ),
            (
                self.rank.fusion != FusionKind::Attention || fitted,
                "rank.fusion: \"attention\" goes by a probe that was fitted to the default of models.decoder, without \
                 adapters",
            ),
        ])
    }

    /// The effective configuration as TOML, each key with its environment variable.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for (section, value) in &table_of(self) {
            out.push_str(&format!("[{section}]\n"));
            if let Value::Table(table) = value {
                for (key, value) in table {
                    let variable = variable_of(&format!("{section}.{key}"));
                    out.push_str(&format!("{key} = {}  # {variable}\n", printed(value)));
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Numbers of 32 bits as they were written, not as 64 bits hold them.
fn printed(value: &Value) -> String {
    match value {
        Value::Float(wide) if f64::from(*wide as f32) == *wide => format!("{:?}", *wide as f32),
        value => value.to_string(),
    }
}

fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn table_of(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

fn keys_of(defaults: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (section, value) in defaults {
        if let Value::Table(table) = value {
            keys.extend(table.keys().map(|key| format!("{section}.{key}")));
        }
    }
    keys
}

fn overlay(base: &mut Table, over: &Table, path: &str, file: &str, problems: &mut Vec<String>) {
    for (key, value) in over {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (base.get_mut(key), value) {
            (Some(slot @ Value::Table(_)), Value::Table(_)) if full == OPEN => *slot = value.clone(),
            (Some(Value::Table(inner)), Value::Table(over)) => overlay(inner, over, &full, file, problems),
            (Some(Value::Table(_)), _) => problems.push(format!("{file}: {full} is a section, not a value")),
            (Some(slot), value) => *slot = value.clone(),
            (None, _) => problems.push(format!("{file}: {full}: no such key")),
        }
    }
}

/// Reads `text` as the type that `key` has by default.
fn set(merged: &mut Table, defaults: &Table, key: &str, text: &str, from: &str, problems: &mut Vec<String>) {
    let Some((section, name)) = key.split_once('.') else { return };
    let default = defaults.get(section).and_then(|table| table.get(name));
    let parsed = match default {
        // The budget is a number or a string.
        _ if key == "plan.budget" => match text.parse::<Budget>() {
            Ok(_) => Ok(Value::String(text.to_owned())),
            Err(error) => Err(error.to_string()),
        },
        _ if key == "plan.results" => match text.parse::<ResultsBudget>() {
            Ok(_) => Ok(Value::String(text.trim().to_owned())),
            Err(error) => Err(error.to_string()),
        },
        _ if key == "summarize.share" => {
            text.parse::<SummaryShare>().map(|share| Value::String(share.to_string()))
        }
        // Its elements are tables.
        _ if key == "serve.routes" => match format!("it = {text}").parse::<Table>() {
            Ok(mut table) => Ok(table.remove("it").unwrap_or(Value::Array(Vec::new()))),
            Err(error) => Err(format!("not an array of inline tables of TOML: {}", error.message())),
        },
        Some(Value::Integer(_)) => {
            text.parse().map(Value::Integer).map_err(|_| "not a whole number".to_owned())
        }
        Some(Value::Float(_)) => text.parse().map(Value::Float).map_err(|_| "not a number".to_owned()),
        Some(Value::Boolean(_)) => {
            text.parse().map(Value::Boolean).map_err(|_| "neither true nor false".to_owned())
        }
        Some(Value::Table(_)) => match format!("it = {text}").parse::<Table>() {
            Ok(mut table) => Ok(table.remove("it").unwrap_or(Value::Table(Table::new()))),
            Err(error) => Err(format!("not an inline table of TOML: {}", error.message())),
        },
        // As a file has it, and as the command `config` prints it.
        Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
            match format!("it = {text}").parse::<Table>() {
                Ok(mut table) => Ok(table.remove("it").unwrap_or(Value::Array(Vec::new()))),
                Err(error) => Err(format!("not an array of TOML: {}", error.message())),
            }
        }
        Some(Value::Array(_)) => Ok(Value::Array(
            text.split(',').filter(|s| !s.is_empty()).map(|s| Value::String(s.trim().to_owned())).collect(),
        )),
        _ => Ok(Value::String(text.to_owned())),
    };
    match (parsed, merged.get_mut(section)) {
        (Ok(value), Some(Value::Table(table))) => {
            table.insert(name.to_owned(), value);
        }
        (Err(error), _) => problems.push(format!("{from}: {error}: {text:?}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn later_layers_win() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("c.toml");
        fs::write(&file, "[plan]\nmin_tokens = 7\nbudget = 1200\n[place]\nhead = 11\n")?;
        let config = Config::load_with(
            Some(&file),
            vars(&[("EPITOME_PLAN_MIN_TOKENS", "8"), ("EPITOME_PLAN_ROLES", "user, system"), ("PATH", "x")]),
            &vars(&[("plan.min_tokens", "9")]),
        )?;
        assert_eq!(config.plan.min_tokens, 9);
        assert_eq!(config.place.head, 11);
        assert_eq!(config.plan.budget, Budget::Tokens(1200));
        assert_eq!(config.plan.roles, ["user", "system"]);
        Ok(())
    }

    #[test]
    fn every_problem_is_listed() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("c.toml");
        fs::write(&file, "[plan]\nmin_token = 7\n[nope]\nx = 1\n")?;
        let error = Config::load_with(
            Some(&file),
            vars(&[
                ("EPITOME_SERVE_LISTEN", "here"),
                ("EPITOME_PLAN_NO_SUCH", "1"),
                ("EPITOME_PORT", "tcp://1.2.3.4"),
                ("EPITOME_CACHE_DISK_MB", "big"),
            ]),
            &vars(&[("plan.budget", "0")]),
        )
        .err()
        .ok_or("taken")?;
        let named = [
            "min_token: no such key",
            "nope: no such key",
            "EPITOME_PLAN_NO_SUCH: no key has this variable",
            "EPITOME_CACHE_DISK_MB: ",
            "plan.budget: ",
            "serve.listen: ",
        ];
        for problem in named {
            assert!(error.0.iter().any(|told| told.contains(problem)), "{problem:?} is not in:\n{error}");
        }
        assert_eq!(error.0.len(), named.len(), "{error}");
        Ok(())
    }

    #[test]
    fn prices_are_the_users_own_keys() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("c.toml");
        fs::write(&file, "[eval.prices.\"gpt-4o\"]\ninput = 2.5\noutput = 10\n")?;
        let config = Config::load_with(Some(&file), vec![], &[])?;
        assert!((config.eval.prices["gpt-4o"].input - 2.5).abs() < 1e-9);
        assert_eq!(config.to_toml().parse::<Table>()?.try_into::<Config>()?, config);
        let flags =
            vars(&[("eval.prices", "{ \"m 1\" = { input = 1.0, output = 2.0, cached_input = 0.5 } }")]);
        let config = Config::load_with(Some(&file), vec![], &flags)?;
        assert_eq!(config.eval.prices.keys().collect::<Vec<_>>(), ["m 1"]);
        for bad in ["{", "7", "{ m = { input = -1.0, output = 0.0 } }", "{ m = { inputs = 1.0 } }"] {
            let flags = vars(&[("eval.prices", bad)]);
            let error = Config::load_with(Some(&file), vec![], &flags).err().ok_or(bad)?.to_string();
            assert!(error.contains("prices") || error.contains("inputs"), "{bad}: {error}");
        }
        Ok(())
    }

    #[test]
    fn results_have_a_budget_of_their_own_from_every_source() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("c.toml");
        assert_eq!(Config::default().plan.results.own(), None);
        for (written, wanted) in [
            ("\"budget\"", None),
            ("\"40%\"", Some(Budget::Share(0.4))),
            ("900", Some(Budget::Tokens(900))),
            ("{ floor = 0.97 }", Some(Budget::Floor(0.97))),
        ] {
            fs::write(&file, format!("[plan]\nresults = {written}\n"))?;
            let config = Config::load_with(Some(&file), vec![], &[])?;
            assert_eq!(config.plan.results.own(), wanted, "{written}");
            assert_eq!(config.to_toml().parse::<Table>()?.try_into::<Config>()?, config);
        }
        let flags = vars(&[("plan.results", "floor=0.9")]);
        let config = Config::load_with(Some(&file), vars(&[("EPITOME_PLAN_RESULTS", "30%")]), &flags)?;
        assert_eq!(config.plan.results.own(), Some(Budget::Floor(0.9)));
        let config = Config::load_with(Some(&file), vars(&[("EPITOME_PLAN_RESULTS", "30%")]), &[])?;
        assert_eq!(config.plan.results.own(), Some(Budget::Share(0.3)));
        for bad in ["110%", "much", "floor=2"] {
            let error =
                Config::load_with(None, vec![], &vars(&[("plan.results", bad)])).unwrap_err().to_string();
            assert!(error.contains("plan.results"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn the_largest_body_has_room() -> Result<(), Box<dyn std::error::Error>> {
        let load = |bodies: &str, body: &str| {
            let flags = [("serve.bodies_bytes", bodies), ("serve.body_limit_bytes", body)];
            Config::load_with(None, vec![], &vars(&flags))
        };
        assert_eq!(Config::default().serve.bodies_bytes, 256 << 20);
        assert_eq!(load("100", "100")?.serve.bodies_bytes, 100);
        let error = load("100", "101").unwrap_err().to_string();
        assert!(error.contains("serve.bodies_bytes: must be at least serve.body_limit_bytes"), "{error}");
        assert!(load("-1", "0").is_err());
        Ok(())
    }

    #[test]
    fn the_grid_is_unknown_or_a_number() -> Result<(), Box<dyn std::error::Error>> {
        let load =
            |value: &str| Config::load_with(None, vars(&[("EPITOME_MEASURE_GRID_GCO2_PER_KWH", value)]), &[]);
        assert!(Config::default().measure.grid_gco2_per_kwh.abs() < f64::EPSILON);
        assert!((load("251.5")?.measure.grid_gco2_per_kwh - 251.5).abs() < 1e-9);
        for bad in ["-1", "NaN", "inf", "clean"] {
            let error = load(bad).err().ok_or(bad)?.to_string();
            assert!(error.to_lowercase().contains("grid_gco2_per_kwh"), "{bad}: {error}");
        }
        let error = Config::load_with(None, vec![], &vars(&[("measure.powercap", "")]));
        let error = error.err().ok_or("taken")?.to_string();
        assert!(error.contains("measure.powercap: must be a folder"), "{error}");
        Ok(())
    }

    #[test]
    fn adapters_are_a_list_of_paths() -> Result<(), Box<dyn std::error::Error>> {
        let config = Config::load_with(None, vars(&[("EPITOME_MODELS_DECODER_LORA", "a/b, c")]), &[])?;
        assert_eq!(config.models.decoder_lora, ["a/b", "c"]);
        let config = Config::load_with(None, vec![], &vars(&[("models.decoder_lora", "d")]))?;
        assert_eq!(config.models.decoder_lora, ["d"]);
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("c.toml");
        fs::write(&file, "[models]\ndecoder_lora = [\"\"]\n")?;
        let error = Config::load_with(Some(&file), vec![], &[]).unwrap_err().to_string();
        assert!(error.contains("models.decoder_lora: an empty path"), "{error}");
        Ok(())
    }

    #[test]
    fn what_is_printed_can_be_read() -> Result<(), Box<dyn std::error::Error>> {
        let config = Config::default();
        assert_eq!(config.to_toml().parse::<Table>()?.try_into::<Config>()?, config);
        Ok(())
    }
}
