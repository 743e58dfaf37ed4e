//! The target size of a compaction: an absolute number of tokens, or a share of the input's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// How large the compacted context may be. A hard ceiling in tokens of the target's tokenizer,
/// template included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many tokens.
    Tokens(usize),
    /// So large a share of the input's tokens, in (0, 1].
    Share(f64),
}

/// A budget that could not be read.
#[derive(Debug, Error, PartialEq)]
#[error("budget {0:?} is neither a number of tokens (1500) nor a share of the input (25%)")]
pub struct BudgetError(pub String);

impl Budget {
    /// The ceiling in tokens for an input of `input_tokens`.
    pub fn resolve(self, input_tokens: usize) -> usize {
        match self {
            Budget::Tokens(tokens) => tokens,
            Budget::Share(share) => (input_tokens as f64 * share).floor() as usize,
        }
    }
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BudgetError(text.to_owned());
        let trimmed = text.trim();
        match trimmed.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| bad())?;
                if percent > 0.0 && percent <= 100.0 {
                    Ok(Budget::Share(percent / 100.0))
                } else {
                    Err(bad())
                }
            }
            None => match trimmed.parse::<usize>() {
                Ok(tokens) if tokens > 0 => Ok(Budget::Tokens(tokens)),
                _ => Err(bad()),
            },
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::Tokens(tokens) => write!(f, "{tokens}"),
            Budget::Share(share) => write!(f, "{}%", (share * 1e6).round() / 1e4),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Budget::Tokens(tokens) => serializer.serialize_u64(*tokens as u64),
            Budget::Share(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens or a share such as \"25%\"")
            }

            fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<Budget, E> {
                tokens.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, tokens: i64) -> Result<Budget, E> {
                tokens.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Budget, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tokens_and_shares() {
        assert_eq!("1500".parse(), Ok(Budget::Tokens(1500)));
        assert_eq!(" 25% ".parse(), Ok(Budget::Share(0.25)));
        assert_eq!("12.5%".parse(), Ok(Budget::Share(0.125)));
        for bad in ["", "0", "-3", "0%", "101%", "many", "NaN%", "25 percent"] {
            assert!(bad.parse::<Budget>().is_err(), "{bad:?} was taken");
        }
        assert_eq!(Budget::Share(0.25).to_string(), "25%");
        assert_eq!(Budget::Share(0.25).resolve(999), 249);
    }
}
