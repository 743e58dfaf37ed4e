//! Why lines failed open, counted.

use std::{collections::BTreeMap, fmt};

use epitome_compactor::{CompactError, RemoteError};
use epitome_engine::ModelError;
use epitome_work::Stopped;
use serde::{Deserialize, Serialize};

/// Why a line failed open, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The budget, in tokens, holds no piece of the text, or not all of its code.
    BudgetTooSmall,
    /// The text is longer than any that can be compacted.
    TooLarge,
    /// The time was up.
    Deadline,
    /// A model or a server has too much to do.
    Busy,
    /// A local model could not be had or run.
    Model,
    /// A model on a server could not be used.
    Server,
    /// A template could not be filled.
    Template,
    /// Ranking or summarising failed otherwise.
    Error,
    /// A fault of epitome itself.
    Internal,
}

impl Cause {
    /// The word of the output.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::BudgetTooSmall => "budget-too-small",
            Cause::TooLarge => "too-large",
            Cause::Deadline => "deadline",
            Cause::Busy => "busy",
            Cause::Model => "model",
            Cause::Server => "server",
            Cause::Template => "template",
            Cause::Error => "error",
            Cause::Internal => "internal",
        }
    }
}

impl From<&CompactError> for Cause {
    fn from(error: &CompactError) -> Self {
        match error {
            CompactError::BudgetTooSmall { .. } | CompactError::CodeTooLarge { .. } => Cause::BudgetTooSmall,
            CompactError::TooLong { .. } => Cause::TooLarge,
            CompactError::Stopped(Stopped::Deadline) => Cause::Deadline,
            CompactError::Model(ModelError::Busy { .. }) | CompactError::Remote(RemoteError::Busy { .. }) => {
                Cause::Busy
            }
            CompactError::Model(_) => Cause::Model,
            CompactError::Remote(_) => Cause::Server,
            CompactError::Template(_) => Cause::Template,
            // `Adapted` ends the run before its first line.
            CompactError::Stopped(Stopped::Cancelled) | CompactError::Rank(_) | CompactError::Adapted(_) => {
                Cause::Error
            }
        }
    }
}

/// How many lines failed open, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(BTreeMap<Cause, u64>);

impl Causes {
    /// Counts one more.
    pub fn add(&mut self, cause: Cause) {
        *self.0.entry(cause).or_default() += 1;
    }

    /// Counts one less.
    pub(super) fn take(&mut self, cause: Cause) {
        if let Some(count) = self.0.get_mut(&cause) {
            *count = count.saturating_sub(1);
        }
        self.0.retain(|_, count| *count > 0);
    }

    /// All of both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (cause, count) in &other.0 {
            *all.0.entry(*cause).or_default() += count;
        }
        all
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `2 budget-too-small, 1 busy`.
impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (cause, count)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {}", cause.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_output_and_counts_add_up() -> Result<(), serde_json::Error> {
        let mut causes = Causes::default();
        assert!(causes.is_empty() && causes.to_string().is_empty());
        for cause in [Cause::Server, Cause::BudgetTooSmall, Cause::Server, Cause::TooLarge] {
            assert_eq!(serde_json::to_value(cause)?, cause.as_str());
            causes.add(cause);
        }
        assert_eq!(causes.to_string(), "1 budget-too-small, 1 too-large, 2 server");
        let twice = causes.and(&causes);
        assert_eq!(
            (twice.total(), twice.to_string().as_str()),
            (8, "2 budget-too-small, 2 too-large, 4 server")
        );
        causes.take(Cause::TooLarge);
        causes.take(Cause::Deadline);
        assert_eq!(causes.to_string(), "1 budget-too-small, 2 server");
        Ok(())
    }
}
