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
    /// Whether nothing is limited.
    pub fn are_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the figures.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Missed`] names all that is missed. What is not known is missed.
    pub fn check(&self, figures: &[Figures]) -> Result<(), ReplayError> {
        let mut missed = Vec::new();
        let own: Vec<&Figures> = figures.iter().filter(|own| own.arm == EPITOME).collect();
        if !self.are_empty() {
            if own.is_empty() {
                missed.push(format!("{EPITOME} was not played"));
            }
            let idle = own.iter().filter(|own| own.steps == 0);
            missed.extend(idle.map(|own| format!("no step was played at {}", own.size)));
        }
        for own in own {
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
            steps: 2,
            prefix_same: 95,
            prefix_all: 100,
            price_full: price(100.0),
            price: price(80.0),
            ..Played::default()
        };
        let of = |arms: Vec<Played>| figures(&[Cell { session: "s".into(), group: "g".into(), arms }]);
        let idle = of(vec![Played { steps: 0, ..played.clone() }]);
        let other = of(vec![Played { arm: "untouched".into(), ..played.clone() }]);
        let figures = of(vec![played]);
        let limits = |min_retention, min_prefix, max_cost| Limits { min_retention, min_prefix, max_cost };
        assert!(Limits::default().check(&figures).is_ok());
        assert!(limits(None, Some(0.95), Some(0.8)).check(&figures).is_ok());
        let told = limits(Some(0.5), Some(0.96), Some(0.79)).check(&figures).unwrap_err().to_string();
        for part in
            ["retention at 25% is unknown", "prefix kept at 25% is 95.0, not 96.0 %", "by openai is 0.800"]
        {
            assert!(told.contains(part), "{told}");
        }
        // What was not played is not within its limits.
        let costs = limits(None, None, Some(0.9));
        for (figures, says) in [
            (idle.as_slice(), "no step was played at 25%"),
            (other.as_slice(), "epitome was not played"),
            (&[], "epitome was not played"),
        ] {
            assert!(Limits::default().check(figures).is_ok());
            let told = costs.check(figures).unwrap_err().to_string();
            assert!(told.contains(says), "{told}");
        }
    }
}
