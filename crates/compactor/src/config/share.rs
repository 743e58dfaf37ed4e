//! How much of a budget goes to summaries.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Share of the budget for summaries. In a configuration: `"auto"`, or a number from 0 to 1, in quotation marks or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SummaryShare {
    /// By the breadth of the query.
    Auto,
    /// The same for all, 0 to 1.
    Fixed(f64),
}

impl FromStr for SummaryShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "summarize.share: neither \"auto\" nor a number from 0 to 1".to_owned();
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let share = text.parse::<f64>().map_err(|_| wrong())?;
        if (0.0..=1.0).contains(&share) { Ok(Self::Fixed(share)) } else { Err(wrong()) }
    }
}

impl fmt::Display for SummaryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(share) => write!(f, "{share}"),
        }
    }
}

impl Serialize for SummaryShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SummaryShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(share) => share.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
        .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_text_or_number() {
        let read = |json: &str| serde_json::from_str::<SummaryShare>(json).ok();
        assert_eq!(read("\"auto\""), Some(SummaryShare::Auto));
        assert_eq!(read("\"0.25\""), Some(SummaryShare::Fixed(0.25)));
        assert_eq!(read("0.25"), Some(SummaryShare::Fixed(0.25)));
        assert_eq!(read("1"), Some(SummaryShare::Fixed(1.0)));
        for wrong in ["\"much\"", "1.5", "-0.1", "\"NaN\"", "true"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(serde_json::to_string(&SummaryShare::Fixed(0.25)).unwrap(), "\"0.25\"");
    }
}
