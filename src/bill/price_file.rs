//! A price list as a file, and what may be wrong with it.

use std::{collections::BTreeMap, io};

use serde::Deserialize;
use thiserror::Error;

use super::rates::{MIN_PREFIX, Rates, Tariff};
use crate::measure::cost;

/// A price list cannot be used.
#[derive(Debug, Error)]
pub enum PricesError {
    /// It could not be read.
    #[error("the price list {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// It is not a price list.
    #[error("the price list {path} is not as expected: {reason}")]
    Format {
        /// Which file.
        path: String,
        /// What the parser says, with line and key.
        reason: String,
    },
    /// A name in it is a provider's alone, and would be every model's.
    #[error("the price list {path}: models.{model:?} names no model")]
    Name {
        /// Which file.
        path: String,
        /// Which entry.
        model: String,
    },
    /// A number in it cannot be a price.
    #[error("the price list {path}: models.{model:?}.{key} must be a number that is not negative")]
    Value {
        /// Which file.
        path: String,
        /// Which entry.
        model: String,
        /// Which key.
        key: &'static str,
    },
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileFormat {
    /// Whether the built-in list holds for all other models.
    #[serde(default = "yes")]
    pub(super) builtin: bool,
    #[serde(default)]
    /// By name.
    pub(super) models: BTreeMap<String, EntryFormat>,
}

fn yes() -> bool {
    true
}

/// The table of a model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryFormat {
    input: f64,
    cached: Option<f64>,
    written_5m: Option<f64>,
    written_1h: Option<f64>,
    output: f64,
    min_prefix: Option<u64>,
    #[serde(default)]
    date: String,
    #[serde(default)]
    source: String,
    long: Option<LongFormat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongFormat {
    over: u64,
    input: f64,
    cached: Option<f64>,
    written_5m: Option<f64>,
    written_1h: Option<f64>,
    output: f64,
}

impl PricesError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "give the path of a TOML file; without one the built-in list holds".into(),
            Self::Name { .. } => {
                "models are known by their names alone, without the provider's: write the name, or how several \
                 names begin, as [models.\"house-*\"] for mycorp/house-small and mycorp/house-large"
                    .into()
            }
            Self::Format { .. } | Self::Value { .. } => {
                "a price list has tables such as [models.\"gpt-4o\"] with input and output, and where they differ \
                 from input cached, written_5m and written_1h, in USD for a million tokens"
                    .into()
            }
        }
    }

    /// Whether the file itself is wrong, rather than the machine.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Read { source, .. } => crate::exit::is_bad_path(source),
            Self::Format { .. } | Self::Name { .. } | Self::Value { .. } => true,
        }
    }
}

impl FileFormat {
    /// Parses the text of the file at `path`.
    pub(super) fn parse(text: &str, path: &str) -> Result<Self, PricesError> {
        toml::from_str(text).map_err(|error| PricesError::Format {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })
    }
}

impl EntryFormat {
    /// What it says of `model` in the file at `path`.
    pub(super) fn checked(self, path: &str, model: &str) -> Result<Tariff, PricesError> {
        let plain = checked(
            path,
            model,
            [Some(self.input), self.cached, self.written_5m, self.written_1h, Some(self.output)],
        )?;
        let long = match self.long {
            None => None,
            Some(long) => {
                let prices =
                    [Some(long.input), long.cached, long.written_5m, long.written_1h, Some(long.output)];
                Some((long.over, checked(path, model, prices)?))
            }
        };
        Ok(Tariff {
            rates: plain,
            long,
            min_prefix: self.min_prefix.unwrap_or(MIN_PREFIX),
            date: self.date,
            source: self.source,
        })
    }
}

/// Rates from input, cached, written_5m, written_1h and output. A class without a price costs what input costs.
fn checked(path: &str, model: &str, prices: [Option<f64>; 5]) -> Result<Rates, PricesError> {
    let keys = ["input", "cached", "written_5m", "written_1h", "output"];
    for (price, key) in prices.into_iter().zip(keys) {
        if price.is_some_and(|price| !(price.is_finite() && price >= 0.0)) {
            return Err(PricesError::Value { path: path.to_owned(), model: model.to_owned(), key });
        }
    }
    let [input, cached, written_5m, written_1h, output] = prices;
    let input = input.unwrap_or(0.0);
    let written_5m = written_5m.unwrap_or(input);
    Ok(Rates {
        base: cost::Price { input, output: output.unwrap_or(0.0), cached_input: cached },
        written_5m,
        written_1h: written_1h.unwrap_or(written_5m),
    })
}
