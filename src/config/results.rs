//! The budget of tools' results.

use std::{fmt, str::FromStr};

use epitome_compactor::{Budget, BudgetError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::Value;

/// The budget of tools' results: one of their own, or `"budget"`, as other texts have it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ResultsBudget {
    /// `plan.budget`.
    #[default]
    AsBudget,
    /// One of their own.
    Own(Budget),
}

/// The word for [`ResultsBudget::AsBudget`].
const AS_BUDGET: &str = "budget";

impl ResultsBudget {
    /// The budget of their own, if they have one.
    pub fn own(self) -> Option<Budget> {
        match self {
            Self::AsBudget => None,
            Self::Own(budget) => Some(budget),
        }
    }
}

impl FromStr for ResultsBudget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        if text.trim() == AS_BUDGET { Ok(Self::AsBudget) } else { text.parse().map(Self::Own) }
    }
}

impl fmt::Display for ResultsBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsBudget => f.write_str(AS_BUDGET),
            Self::Own(budget) => budget.fmt(f),
        }
    }
}

impl Serialize for ResultsBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsBudget => serializer.serialize_str(AS_BUDGET),
            Self::Own(budget) => budget.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ResultsBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match value.as_str() {
            Some(text) => text.parse().map_err(de::Error::custom),
            None => Budget::deserialize(value).map(Self::Own).map_err(de::Error::custom),
        }
    }
}
