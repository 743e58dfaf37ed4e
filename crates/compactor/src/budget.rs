//! The target size of a compaction: an absolute number of tokens, a share of the input's, or the
//! smallest that keeps what the query needs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use thiserror::Error;

/// How large the compacted context may be. A hard ceiling in tokens of the target's tokenizer,
/// template included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many tokens.
    Tokens(usize),
    /// So large a share of the input's tokens, in (0, 1].
    Share(f64),
    /// As few as keep the predicted retention at this floor, in (0, 1): the share of like texts whose
    /// compaction still holds what the query needs.
    Floor(f64),
}

/// A budget that could not be read.
#[derive(Debug, Error, PartialEq)]
#[error(
    "budget {0:?} is not a number of tokens (1500; 1 or more), a share of the input (25%; above 0, up to 100%) or a \
     floor of retention (floor=0.98; between 0 and 1)"
)]
pub struct BudgetError(pub String);

impl Budget {
    /// The ceiling in tokens for an input of `input_tokens`.
    pub fn resolve(self, input_tokens: usize) -> usize {
        match self {
            Budget::Tokens(tokens) => tokens,
            Budget::Share(share) => (input_tokens as f64 * share).floor() as usize,
            // The ranking decides; anything shorter will do.
            Budget::Floor(_) => input_tokens.saturating_sub(1),
        }
    }
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BudgetError(text.to_owned());
        let trimmed = text.trim();
        if let Some(floor) = trimmed.strip_prefix("floor") {
            let floor = floor.trim_start().strip_prefix('=').ok_or_else(bad)?;
            let floor: f64 = floor.trim().parse().map_err(|_| bad())?;
            return if floor > 0.0 && floor < 1.0 { Ok(Budget::Floor(floor)) } else { Err(bad()) };
        }
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
            Budget::Floor(floor) => write!(f, "floor={floor}"),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Budget::Tokens(tokens) => serializer.serialize_u64(*tokens as u64),
            Budget::Share(_) => serializer.collect_str(self),
            Budget::Floor(floor) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("floor", floor)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'map> de::Visitor<'map> for Visitor {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens, a share such as \"25%\", or { floor = 0.98 }")
            }

            fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<Budget, E> {
                tokens.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, tokens: i64) -> Result<Budget, E> {
                tokens.to_string().parse().map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'map>>(self, mut map: A) -> Result<Budget, A::Error> {
                let wrong = || de::Error::custom("a budget as a table is { floor = F }, F between 0 and 1");
                let Some((key, floor)) = map.next_entry::<String, f64>()? else { return Err(wrong()) };
                let more = map.next_key::<String>()?.is_some();
                let floors = floor > 0.0 && floor < 1.0;
                if key == "floor" && floors && !more { Ok(Budget::Floor(floor)) } else { Err(wrong()) }
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
        assert_eq!("floor=0.98".parse(), Ok(Budget::Floor(0.98)));
        assert_eq!("floor = 0.9".parse(), Ok(Budget::Floor(0.9)));
        for bad in [
            "floor",
            "floor=1",
            "floor=0",
            "floor=x",
            "",
            "0",
            "-3",
            "0%",
            "101%",
            "many",
            "NaN%",
            "25 percent",
        ] {
            assert!(bad.parse::<Budget>().is_err(), "{bad:?} was taken");
        }
        assert_eq!(Budget::Share(0.25).to_string(), "25%");
        assert_eq!(Budget::Share(0.25).resolve(999), 249);
        assert_eq!(Budget::Floor(0.98).to_string(), "floor=0.98");
        assert_eq!(Budget::Floor(0.98).resolve(999), 998);
    }
}
