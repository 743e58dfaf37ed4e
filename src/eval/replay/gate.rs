//! Limits that a replay must keep, for an exit code in CI.

use super::{ReplayError, arms::EPITOME, figures::Figures};
use crate::eval::report::format;

/// Limits for epitome, at every size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Least used-later retention, as a share.
    pub min_retention: Option<f64>,
    /// Least share of the prefix that is kept.
    pub min_prefix: Option<f64>,
    /// Highest price against untouched, by every price rule.
    pub max_cost: Option<f64>,
}

impl Limits {
    /// Checks the figures.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Missed`] names all that is missed. What is not known is missed.
    pub fn check(&self, figures: &[Figures]) -> Result<(), ReplayError> {
        let mut missed = Vec::new();
        for own in figures.iter().filter(|own| own.arm == EPITOME) {
            let retained = own.retained.map(|estimate| estimate.mean);
            for (what, value, least) in
                [("retention", retained, self.min_retention), ("prefix kept", own.prefix, self.min_prefix)]
            {
                if let Some(least) = least
                    && value.is_none_or(|value| value < least)
                {
                    let value = value.map_or_else(|| format::UNKNOWN.to_owned(), format::percent);
                    missed.push(format!(
                        "{what} at {} is {value}, not {} %",
                        own.size,
                        format::percent(least)
                    ));
                }
            }
            for (rule, cost) in &own.cost {
                if let Some(most) = self.max_cost.filter(|most| cost > most) {
                    missed.push(format!("cost at {} by {rule} is {cost:.3}, not {most} or less", own.size));
                }
            }
        }
        if missed.is_empty() { Ok(()) } else { Err(ReplayError::Missed(missed.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            figures::figures,
            record::{Cell, Played},
        },
        *,
    };

    #[test]
    fn what_is_missed_is_named() {
        let price = |value: f64| [("openai".to_owned(), value)].into();
        let played = Played {
            arm: EPITOME.into(),
            size: "25%".into(),
            prefix_same: 95,
            prefix_all: 100,
            price_full: price(100.0),
            price: price(80.0),
            ..Played::default()
        };
        let figures = figures(&[Cell { session: "s".into(), group: "g".into(), arms: vec![played] }]);
        let limits = |min_retention, min_prefix, max_cost| Limits { min_retention, min_prefix, max_cost };
        assert!(Limits::default().check(&figures).is_ok());
        assert!(limits(None, Some(0.95), Some(0.8)).check(&figures).is_ok());
        let told = limits(Some(0.5), Some(0.96), Some(0.79)).check(&figures).unwrap_err().to_string();
        for part in
            ["retention at 25% is unknown", "prefix kept at 25% is 95.0, not 96.0 %", "by openai is 0.800"]
        {
            assert!(told.contains(part), "{told}");
        }
    }
}
