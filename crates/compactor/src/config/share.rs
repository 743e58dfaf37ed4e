//! How much of a budget goes to summaries.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// Share of the budget for summaries. In a configuration: `"auto"`, or a number from 0 to 1, in quotation marks or not.
#[derive(Clone, Copy, PartialEq)]
pub enum SummaryShare {
    /// By the breadth of the query.
    Auto,
    /// The same for all, 0 to 1.
    Fixed(f64),
}

impl FromStr for SummaryShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "neither \"auto\" nor a number from 0 to 1".to_owned();
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

/// As it is written: the journal of a batch goes by it.
impl fmt::Debug for SummaryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl<'de> Deserialize<'de> for SummaryShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads text and numbers.
struct Written;

impl Visitor<'_> for Written {
    type Value = SummaryShare;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a number from 0 to 1 for summarize.share")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SummaryShare, E> {
        text.parse().map_err(|error| E::custom(format!("summarize.share: {error}")))
    }

    fn visit_f64<E: de::Error>(self, share: f64) -> Result<SummaryShare, E> {
        self.visit_str(&share.to_string())
    }

    fn visit_i64<E: de::Error>(self, share: i64) -> Result<SummaryShare, E> {
        self.visit_str(&share.to_string())
    }

    fn visit_u64<E: de::Error>(self, share: u64) -> Result<SummaryShare, E> {
        self.visit_str(&share.to_string())
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
        let fixed = SummaryShare::Fixed(0.25);
        assert_eq!(serde_json::to_string(&fixed).unwrap(), "\"0.25\"");
        assert_eq!(
            (format!("{fixed:?}"), format!("{:?}", SummaryShare::Auto)),
            ("\"0.25\"".into(), "\"auto\"".into())
        );
    }
}
