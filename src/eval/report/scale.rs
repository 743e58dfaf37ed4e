//! Maps values to positions in a plot, with the ticks of an axis.

/// The vertical axis of shares, labelled in percent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    low: f64,
    high: f64,
    bottom: f64,
    top: f64,
    /// Position and label of each tick.
    pub ticks: Vec<(f64, String)>,
}

impl Linear {
    /// Covers `low..high`, widened to whole steps; `bottom` and `top` are the positions of its ends.
    pub(super) fn of_shares(low: f64, high: f64, bottom: f64, top: f64) -> Self {
        let span = (high - low).max(0.02);
        let step = match span {
            span if span > 0.5 => 0.2,
            span if span > 0.2 => 0.1,
            span if span > 0.1 => 0.05,
            _ => 0.02,
        };
        // A value exactly on a step, such as 0 or 1, needs no further step; rounding must not add one.
        let first = (low / step + 1e-9).floor().max(0.0);
        let last = (high / step - 1e-9).ceil().max(first + 1.0).min((1.0 / step).round());
        let first = first.min(last - 1.0);
        let mut axis = Self { low: first * step, high: last * step, bottom, top, ticks: Vec::new() };
        let count = (last - first).round() as usize;
        axis.ticks = (0..=count)
            .map(|tick| (first + tick as f64) * step)
            .map(|value| (axis.at(value), format!("{:.0}%", value * 100.0)))
            .collect();
        axis
    }

    /// The position of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.bottom + share.clamp(0.0, 1.0) * (self.top - self.bottom)
    }
}

/// The horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Horizontal {
    log: bool,
    low: f64,
    high: f64,
    left: f64,
    right: f64,
    /// Position and label of each tick.
    pub ticks: Vec<(f64, String)>,
    /// Positions of grid lines: at ticks, or between bins.
    pub grid: Vec<f64>,
    /// Width of a bin.
    pub step: f64,
}

impl Horizontal {
    /// A logarithmic axis around the positive values, with a tick at each power of two (`doublings`, for
    /// ratios) or at round decimal numbers.
    pub(super) fn log(values: &[f64], doublings: bool, left: f64, right: f64) -> Self {
        let positive = values.iter().filter(|value| **value > 0.0);
        let (low, high) = positive
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| (low.min(*value), high.max(*value)));
        let (low, high) = if low > high { (1.0, 2.0) } else { (low, high) };
        // Leave room beside the first and the last point, and avoid an empty range.
        let room = ((high / low).ln() * 0.06).max(0.08);
        let (low, high) = (low.ln() - room, high.ln() + room);
        let mut axis =
            Self { log: true, low, high, left, right, ticks: Vec::new(), grid: Vec::new(), step: 0.0 };
        let (low, high) = (low.exp(), high.exp());
        let unit = if doublings { "x" } else { "" };
        let values = if doublings { doubling_ticks(low, high) } else { decimal_ticks(low, high) };
        axis.ticks =
            values.into_iter().map(|value| (axis.at(value), format!("{}{unit}", label(value)))).collect();
        axis.grid = axis.ticks.iter().map(|(at, _)| *at).collect();
        axis
    }

    /// A linear axis of shares from 0, with a tick at each tenth.
    pub(super) fn shares(values: &[f64], left: f64, right: f64) -> Self {
        let high = values.iter().fold(0.0_f64, |high, value| high.max(*value)).clamp(0.05, 1.0);
        // Leave room beside the first and the last point.
        let room = high * 0.04;
        let (low, high) = (-room, high + room);
        let mut axis =
            Self { log: false, low, high, left, right, ticks: Vec::new(), grid: Vec::new(), step: 0.0 };
        let ticks = (0..=10).map(|tick| f64::from(tick) / 10.0).filter(|tick| *tick <= high);
        axis.ticks = ticks.map(|tick| (axis.at(tick), format!("{:.0}%", tick * 100.0))).collect();
        axis.grid = axis.ticks.iter().map(|(at, _)| *at).collect();
        axis
    }

    /// One equally wide bin per name.
    pub(super) fn bins(names: &[String], left: f64, right: f64) -> Self {
        let count = names.len().max(1) as f64;
        let mut axis = Self {
            log: false,
            low: -0.5,
            high: count - 0.5,
            left,
            right,
            ticks: Vec::new(),
            grid: Vec::new(),
            step: (right - left) / count,
        };
        axis.ticks = names.iter().enumerate().map(|(at, name)| (axis.at(at as f64), name.clone())).collect();
        axis.grid = (0..=names.len()).map(|edge| axis.at(edge as f64 - 0.5)).collect();
        axis
    }

    /// The position of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let share = (value - self.low) / (self.high - self.low);
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }
}

/// Powers of two within a range, every second one if there are many.
fn doubling_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log2().ceil() as i32, high.log2().floor() as i32);
    let step = if last - first > 8 { 2 } else { 1 };
    (first..=last).filter(|power| power % step == 0).map(|power| 2_f64.powi(power)).collect()
}

/// Round numbers within a range, as many per decade as fit.
fn decimal_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    let parts: &[f64] = match decades {
        decades if decades > 4.0 => &[1.0],
        decades if decades > 2.0 => &[1.0, 3.0],
        decades if decades > 0.8 => &[1.0, 2.0, 5.0],
        _ => &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
    };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last)
        .flat_map(|power| parts.iter().map(move |part| part * 10_f64.powi(power)))
        .filter(|value| (low..=high).contains(value))
        .collect()
}

fn label(value: f64) -> String {
    let short = |value: f64, unit: &str| {
        let text = format!("{value:.1}");
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    match value {
        value if value >= 1e6 => short(value / 1e6, "M"),
        value if value >= 1e3 => short(value / 1e3, "k"),
        value if value >= 1.0 => short(value, ""),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let axis = Linear::of_shares(0.43, 1.0, 100.0, 0.0);
        let labels: Vec<&str> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["40%", "60%", "80%", "100%"]);
        assert_eq!((axis.at(1.0), axis.at(0.4)), (0.0, 100.0));
        let axis = Linear::of_shares(1.0, 1.0, 100.0, 0.0);
        assert!(axis.ticks.len() >= 2 && axis.at(1.0).is_finite());
        let labels = |doublings| {
            let axis = Horizontal::log(&[1.0, 2.0, 16.0], doublings, 0.0, 100.0);
            axis.ticks.into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels(true), ["1x", "2x", "4x", "8x", "16x"]);
        assert_eq!(labels(false), ["1", "2", "5", "10"]);
        for values in [&[][..], &[0.0], &[3.0], &[0.001, 1e9]] {
            for doublings in [true, false] {
                let axis = Horizontal::log(values, doublings, 0.0, 100.0);
                assert!(axis.ticks.len() < 25 && axis.at(5.0).is_finite(), "{values:?}: {:?}", axis.ticks);
            }
        }
    }
}
